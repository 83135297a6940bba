//! Content that is a list of typed parts.

use std::sync::Arc;

use sftprep_template::{Data, Map};

use super::row::{At, Row, shown, wrong_type};
use super::tools;
use crate::error::{Code, Reject};

/// What a part is, by its `type`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Reasoning,
    ToolCall,
    Media,
    Unknown,
}

fn kind(part: &Data) -> Kind {
    let Data::Map(part) = part else {
        return match part {
            Data::Str(_) => Kind::Text,
            _ => Kind::Unknown,
        };
    };
    match part.get("type").and_then(Data::as_str) {
        Some("text" | "input_text" | "output_text") => Kind::Text,
        Some("reasoning" | "thinking") => Kind::Reasoning,
        Some("tool_call") => Kind::ToolCall,
        Some(
            "image" | "image_url" | "input_image" | "audio" | "audio_url" | "input_audio" | "video"
            | "video_url" | "file",
        ) => Kind::Media,
        _ => Kind::Unknown,
    }
}

/// Whether a list is one of typed parts, and not what a tool happened to return.
pub(super) fn are_parts(items: &[Data]) -> bool {
    !items.is_empty() && items.iter().all(|item| kind(item) != Kind::Unknown)
}

/// Refuses parts that no text can stand for.
pub(super) fn check(items: &[Data], at: At<'_>) -> Result<(), Reject> {
    for (index, part) in items.iter().enumerate() {
        let field = at.field(&format!("content[{index}]"));
        match kind(part) {
            Kind::Media => return Err(media(part, field)),
            Kind::Unknown if part.as_map().is_none() => {
                return Err(wrong_type(
                    &field,
                    part,
                    "an object with a type, or a string",
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Joins the text parts without a separator; reasoning parts become `reasoning_content` (joined
/// likewise) and tool-call parts `tool_calls`, whatever their order among the parts.
pub(super) fn join(
    items: Vec<Data>,
    message: &mut Map,
    role: &str,
    at: At<'_>,
    row: &mut Row<'_>,
) -> Result<Data, Reject> {
    let (mut text, mut reasoning) = (Joined::default(), Joined::default());
    let mut calls = Vec::new();
    for (index, part) in items.into_iter().enumerate() {
        let field = at.field(&format!("content[{index}]"));
        match kind(&part) {
            Kind::Text => text.push(text_of(part, &field)?),
            Kind::Reasoning if role == "assistant" => reasoning.push(text_of(part, &field)?),
            Kind::ToolCall if role == "assistant" => {
                let value = value_of(part, &field)?;
                calls.extend(tools::calls_in_value(value, &field, row)?);
            }
            Kind::Reasoning | Kind::ToolCall => {
                let wanted = "a text part, because only an assistant reasons and calls tools";
                return Err(wrong_type(&field, &part_type(&part), wanted));
            }
            Kind::Media => return Err(media(&part, field)),
            Kind::Unknown => {
                let seen = match &part {
                    Data::Map(_) => part_type(&part),
                    other => other.clone(),
                };
                let wanted = "a text, reasoning or tool_call part";
                return Err(wrong_type(&field, &seen, wanted));
            }
        }
    }
    if reasoning.any {
        add(message, "reasoning_content", reasoning.into_data(), at)?;
    }
    if !calls.is_empty() {
        add(message, "tool_calls", Data::List(calls), at)?;
    }
    Ok(text.into_data())
}

/// Adds a field made from parts; that the message has it already would be two truths.
fn add(message: &mut Map, name: &str, value: Data, at: At<'_>) -> Result<(), Reject> {
    if message.contains_key(name) {
        let detail = format!("{at} has both {name} and content parts of that kind");
        return Err(Reject::new(Code::FormatType, detail).at_field(at.field(name)));
    }
    message.insert(name, value);
    Ok(())
}

/// Texts put together; a single one is not copied.
#[derive(Default)]
struct Joined {
    first: Option<Arc<str>>,
    rest: String,
    any: bool,
}

impl Joined {
    fn push(&mut self, text: Arc<str>) {
        if self.any {
            if let Some(first) = self.first.take() {
                self.rest.push_str(&first);
            }
            self.rest.push_str(&text);
        } else {
            self.first = Some(text);
        }
        self.any = true;
    }

    fn into_data(self) -> Data {
        Data::Str(self.first.unwrap_or_else(|| self.rest.into()))
    }
}

/// The value of a part, under the names that are in use.
fn value_of(part: Data, field: &str) -> Result<Data, Reject> {
    let mut part = match part {
        Data::Map(part) => part,
        other => return Ok(other),
    };
    for name in [
        "text",
        "value",
        "content",
        "reasoning",
        "thinking",
        "tool_call",
    ] {
        match part.remove(name) {
            None | Some(Data::Null) => {}
            Some(value) => return Ok(value),
        }
    }
    let detail = format!("{field} has none of text, value and content");
    Err(Reject::new(Code::FormatMissing, detail).at_field(field))
}

fn text_of(part: Data, field: &str) -> Result<Arc<str>, Reject> {
    match value_of(part, field)? {
        Data::Str(text) => Ok(text),
        other => Err(wrong_type(&field, &other, "a part with a string")),
    }
}

fn part_type(part: &Data) -> Data {
    let kind = part.as_map().and_then(|part| part.get("type"));
    kind.cloned().unwrap_or(Data::Null)
}

fn media(part: &Data, field: String) -> Reject {
    let detail = format!(
        "{field} is of type {}; only text can be prepared",
        shown(&part_type(part))
    );
    Reject::new(Code::FormatType, detail).at_field(field)
}
