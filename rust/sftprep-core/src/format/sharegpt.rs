//! ShareGPT: `conversations` (or `conversation`) of `{from, value}`.

use sftprep_template::{Data, Map};

use super::messages::{Turn, Turns, says_more, turn, unknown_role};
use super::row::{At, Row, wrong_type};
use super::tools;
use crate::error::{Code, Reject};
use crate::types::Sample;

/// What a name in `from` stands for.
#[derive(Clone, Copy)]
enum Speaker {
    Role(&'static str),
    /// An assistant whose `value` is the JSON of its tool calls.
    Caller,
}

fn speaker(name: &str) -> Option<Speaker> {
    Some(match name {
        "human" | "user" => Speaker::Role("user"),
        "gpt" | "assistant" | "chatgpt" | "bing" | "bard" | "model" => Speaker::Role("assistant"),
        "system" => Speaker::Role("system"),
        "developer" => Speaker::Role("developer"),
        "observation" | "tool" | "function_response" | "tool_response" => Speaker::Role("tool"),
        "function_call" | "tool_call" => Speaker::Caller,
        _ => return None,
    })
}

pub(super) fn parse(row: &mut Row<'_>) -> Result<Sample, Reject> {
    let (column, items) = match row.take("conversations") {
        Some(items) => (row.column("conversations"), items),
        None => match row.take("conversation") {
            Some(items) => ("conversation", items),
            None => (row.column("conversations"), row.require("conversations")?),
        },
    };
    let Data::List(items) = items else {
        return Err(wrong_type(&column, &items, "an array of messages"));
    };
    let mut turns = Turns::default();
    let system = row.take_text("system")?.filter(|text| !text.is_empty());
    for (index, item) in items.into_iter().enumerate() {
        let at = At { column, index };
        let Data::Map(message) = item else {
            return Err(wrong_type(&at, &item, "an object with from and value"));
        };
        let next = said(message, at, row)?;
        if let (0, Some(text)) = (index, &system) {
            let first = &next.message;
            if first.get("role").and_then(Data::as_str) != Some("system") {
                turns.push(Turn::new("system", Data::Str(text.clone())));
            } else if first.get("content").and_then(Data::as_str) != Some(&**text) {
                let name = row.column("system");
                let detail = format!("{name} and {at} are two different system messages");
                return Err(Reject::new(Code::FormatType, detail).at_field(name));
            }
        }
        turns.push(next);
    }
    turns.finish(column, row).map(Sample::Conversation)
}

fn said(mut message: Map, at: At<'_>, row: &mut Row<'_>) -> Result<Turn, Reject> {
    let (name, from) = take_field(&mut message, "messages.role", ["from", "role"], at, row)?;
    let Data::Str(seen) = &from else {
        return Err(wrong_type(&at.field(name), &from, "a string"));
    };
    let mapped = row.options.roles.get(&**seen);
    let Some(speaker) = speaker(mapped.map_or(&**seen, String::as_str)) else {
        return Err(unknown_role(&from, at, name));
    };
    let content = take_field(
        &mut message,
        "messages.content",
        ["value", "content"],
        at,
        row,
    );
    let (role, content) = match speaker {
        Speaker::Role(role) => {
            if let Ok((name, value)) = &content
                && holds_bare_strings(value)
            {
                return Err(wrong_type(&at.field(name), value, "a string"));
            }
            (role, content.map(|(_, value)| value))
        }
        Speaker::Caller => {
            let (name, value) = content?;
            let calls = tools::calls_in_value(value, &at.field(name), row)?;
            message.insert("tool_calls", Data::List(calls));
            ("assistant", Ok("".into()))
        }
    };
    let content = match content {
        Err(_) if role == "assistant" && says_more(&message) => "".into(),
        other => other?,
    };
    message.push_front("content", content);
    message.push_front("role", role.into());
    turn(message, at, row)
}

/// Whether a value is a list of strings: alternatives, drafts or pieces, nobody can tell.
fn holds_bare_strings(value: &Data) -> bool {
    matches!(value, Data::List(items) if items.iter().any(|item| item.as_str().is_some()))
}

/// Takes the first of the fields that the message has.
fn take_field<'a>(
    message: &mut Map,
    wanted: &str,
    names: [&'a str; 2],
    at: At<'_>,
    row: &Row<'a>,
) -> Result<(&'a str, Data), Reject> {
    let mapped = row.options.map.get(wanted).map(String::as_str);
    let mut state = "missing";
    for name in mapped.into_iter().chain(names) {
        match message.remove(name) {
            None => {}
            Some(Data::Null) => state = "null",
            Some(value) => return Ok((name, value)),
        }
    }
    let name = mapped.unwrap_or(names[0]);
    let detail = format!("{at}.{name} is {state}");
    Err(Reject::new(Code::FormatMissing, detail).at_field(at.field(name)))
}
