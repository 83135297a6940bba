//! `messages`: a list of `{role, content, …}`; and what every conversation shares.

use std::sync::Arc;

use sftprep_template::{Data, Map};

use super::parts;
use super::row::{At, Row, shown, wrong_type};
use super::{ROLES, tools};
use crate::error::{Code, Reject};
use crate::types::{Conversation, Sample};

/// Fields of a message whose `null` means that they are not there.
const OPTIONAL: [&str; 11] = [
    "name",
    "tool_calls",
    "tool_call_id",
    "function_call",
    "reasoning_content",
    "reasoning",
    "thinking",
    "refusal",
    "audio",
    "train",
    "weight",
];

/// Fields in which an assistant's reasoning is kept.
const REASONING: [&str; 3] = ["reasoning_content", "reasoning", "thinking"];

pub(super) fn parse(row: &mut Row<'_>) -> Result<Sample, Reject> {
    let column = row.column("messages");
    let items = match row.require("messages")? {
        Data::List(items) => items,
        other => return Err(wrong_type(&column, &other, "an array of messages")),
    };
    let mut turns = Turns::default();
    turns.extend(items, column, row)?;
    turns.finish(column, row).map(Sample::Conversation)
}

/// The messages of a conversation so far, with what goes beside them.
#[derive(Default)]
pub(super) struct Turns {
    messages: Vec<Data>,
    /// Empty as long as no message says anything of it; so are the weights.
    train: Vec<Option<bool>>,
    weight: Vec<f32>,
}

/// A message in the normal form.
pub(super) struct Turn {
    pub(super) message: Map,
    pub(super) train: Option<bool>,
    pub(super) weight: f32,
}

impl Turn {
    /// A message of a role and a text.
    pub(super) fn new(role: &str, content: Data) -> Self {
        let mut message = Map::new();
        message.insert("role", role.into());
        message.insert("content", content);
        Self {
            message,
            train: None,
            weight: 1.0,
        }
    }
}

impl Turns {
    /// Appends messages as they stand in a column.
    pub(super) fn extend(
        &mut self,
        items: Vec<Data>,
        column: &str,
        row: &mut Row<'_>,
    ) -> Result<(), Reject> {
        self.messages.reserve(items.len());
        for (index, item) in items.into_iter().enumerate() {
            let at = At { column, index };
            let mut message = match item {
                Data::Map(message) => message,
                other => return Err(wrong_type(&at, &other, "an object with role and content")),
            };
            rename(&mut message, row, "messages.role", "role");
            rename(&mut message, row, "messages.content", "content");
            self.push(turn(message, at, row)?);
        }
        Ok(())
    }

    pub(super) fn push(&mut self, turn: Turn) {
        put(&mut self.train, self.messages.len(), turn.train, None);
        put(&mut self.weight, self.messages.len(), turn.weight, 1.0);
        self.messages.push(Data::Map(turn.message));
    }

    /// Says that none of the messages so far is trained.
    pub(super) fn set_context(&mut self) {
        self.train.clear();
        self.train.resize(self.messages.len(), Some(false));
    }

    /// The conversation, with the row's tools, documents and template arguments.
    pub(super) fn finish(self, column: &str, row: &mut Row<'_>) -> Result<Conversation, Reject> {
        if self.messages.is_empty() {
            let detail = format!("{column} has no message");
            return Err(Reject::new(Code::FormatEmpty, detail).at_field(column));
        }
        Ok(Conversation {
            messages: self.messages,
            tools: tools::column(row)?,
            documents: documents(row)?,
            kwargs: kwargs(row)?,
            train: self.train,
            weight: self.weight,
        })
    }
}

/// Says something of message `at`, unless it is what is usual and nothing else was said so far.
fn put<T: Copy + PartialEq>(said: &mut Vec<T>, at: usize, what: T, usual: T) {
    if what != usual || !said.is_empty() {
        said.resize(at, usual);
        said.push(what);
    }
}

/// Renames a field of a message as the column mapping says; it keeps its value, not its place.
fn rename(message: &mut Map, row: &Row<'_>, wanted: &str, name: &str) {
    let Some(column) = row.options.map.get(wanted).filter(|column| *column != name) else {
        return;
    };
    if let Some(value) = message.remove(column) {
        message.insert(name, value);
    }
}

/// Brings a message with `role` and `content` into the normal form.
pub(super) fn turn(mut message: Map, at: At<'_>, row: &mut Row<'_>) -> Result<Turn, Reject> {
    // most have nothing else, and need not be asked for it by its many names
    let plain = |(name, _): (&Arc<str>, &Data)| matches!(&**name, "role" | "content");
    if message.iter().all(plain) {
        let role = role(&mut message, at, row)?;
        content(&mut message, role, at, row)?;
        return Ok(Turn {
            message,
            train: None,
            weight: 1.0,
        });
    }
    for name in OPTIONAL {
        if message.get(name) == Some(&Data::Null) {
            message.remove(name);
        }
    }
    let role = role(&mut message, at, row)?;
    let train = take_train(&mut message, at)?;
    let weight = take_weight(&mut message, at)?;
    tools::calls_of_message(&mut message, role, at, row)?;
    content(&mut message, role, at, row)?;
    Ok(Turn {
        message,
        train,
        weight,
    })
}

/// Maps the role, writes it back if it changed, and returns it.
fn role(message: &mut Map, at: At<'_>, row: &Row<'_>) -> Result<&'static str, Reject> {
    let Some(value) = message.get_mut("role") else {
        let detail = format!("{at}.role is missing");
        return Err(Reject::new(Code::FormatMissing, detail).at_field(at.field("role")));
    };
    let Data::Str(seen) = &*value else {
        return Err(wrong_type(&at.field("role"), value, "a string"));
    };
    let mapped = row
        .options
        .roles
        .get(&**seen)
        .map_or(&**seen, String::as_str);
    let known = match mapped {
        "function" => Some("tool"), // how OpenAI called the role at first
        other => ROLES.into_iter().find(|role| *role == other),
    };
    let Some(role) = known else {
        return Err(unknown_role(value, at, "role"));
    };
    if **seen != *role {
        *value = role.into();
    }
    Ok(role)
}

pub(super) fn unknown_role(seen: &Data, at: At<'_>, name: &str) -> Reject {
    let detail = format!("{at}.{name} is {}, which is not a known role", shown(seen));
    Reject::new(Code::FormatRole, detail).at_field(at.field(name))
}

fn take_train(message: &mut Map, at: At<'_>) -> Result<Option<bool>, Reject> {
    let wanted = "true, false, 0 or 1";
    match message.remove("train") {
        None => Ok(None),
        Some(Data::Bool(train)) => Ok(Some(train)),
        Some(Data::Int(0)) => Ok(Some(false)),
        Some(Data::Int(1)) => Ok(Some(true)),
        Some(other) => Err(wrong_type(&at.field("train"), &other, wanted)),
    }
}

fn take_weight(message: &mut Map, at: At<'_>) -> Result<f32, Reject> {
    let seen = message.remove("weight");
    let weight = match seen {
        None => return Ok(1.0),
        Some(Data::Int(number)) => number as f32,
        Some(Data::Float(number)) => number as f32,
        _ => f32::NAN,
    };
    if weight.is_finite() && weight >= 0.0 {
        return Ok(weight);
    }
    let seen = seen.unwrap_or(Data::Null);
    Err(wrong_type(
        &at.field("weight"),
        &seen,
        "a number that is not negative",
    ))
}

fn content(message: &mut Map, role: &str, at: At<'_>, row: &mut Row<'_>) -> Result<(), Reject> {
    let value = match message.get_mut("content") {
        Some(Data::Str(_)) => return Ok(()),
        Some(value) => std::mem::replace(value, Data::Null),
        None => Data::Null,
    };
    let wanted = "a string or a list of parts";
    let value = match value {
        Data::List(items) if role != "tool" || parts::are_parts(&items) => {
            if row.options.parts_raw {
                parts::check(&items, at)?;
                Data::List(items)
            } else {
                parts::join(items, message, role, at, row)?
            }
        }
        // What a tool returned may be given as it is; the template says how to print it.
        value @ (Data::Map(_) | Data::List(_)) if role == "tool" => value,
        // what is not there stays so: the template sees what the row says
        Data::Null if role == "assistant" && says_more(message) => return Ok(()),
        Data::Null => {
            let state = if message.contains_key("content") {
                "null"
            } else {
                "missing"
            };
            let detail = format!("{at}.content is {state}");
            return Err(Reject::new(Code::FormatMissing, detail).at_field(at.field("content")));
        }
        other => return Err(wrong_type(&at.field("content"), &other, wanted)),
    };
    message.insert("content", value);
    Ok(())
}

/// Whether an assistant's message has something besides `content`.
pub(super) fn says_more(message: &Map) -> bool {
    let has = |name: &str| message.get(name).is_some_and(|value| *value != Data::Null);
    has("tool_calls") || REASONING.into_iter().any(has)
}

fn documents(row: &mut Row<'_>) -> Result<Option<Vec<Data>>, Reject> {
    match row.take("documents") {
        None => Ok(None),
        Some(Data::List(documents)) if documents.is_empty() => Ok(None),
        Some(Data::List(documents)) => Ok(Some(documents)),
        Some(other) => Err(wrong_type(&row.column("documents"), &other, "an array")),
    }
}

fn kwargs(row: &mut Row<'_>) -> Result<Map, Reject> {
    let column = row.column("chat_template_kwargs");
    let value = match row.take("chat_template_kwargs") {
        None => return Ok(Map::new()),
        Some(Data::Str(text)) => tools::json_in_string(&text, column, row)?,
        Some(other) => other,
    };
    match value {
        Data::Map(kwargs) => Ok(kwargs),
        other => Err(wrong_type(&column, &other, "an object")),
    }
}
