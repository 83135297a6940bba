//! From a row in one of the field's formats to a [`Sample`] in the normal form.
//!
//! [`detect()`] says which format an input has, and why. A [`Parser`] then turns rows into samples or
//! says, naming the field and the value seen, why it cannot. The normal form of a conversation is
//! what the chat template is given, so every rule here is part of what `sftprep` means by a row:
//!
//! - A message keeps its own keys in their own order; `role` is one of [`ROLES`].
//! - `null` in an optional field of a message means that the field is not there.
//! - `content` is a string, or under `--parts raw` a list of parts; the result of a tool may also be
//!   an object or a list. An assistant message with tool calls or reasoning may lack `content` or
//!   have `null` there, and the template sees it so (transformers leaves null fields out).
//! - `tool_calls` are `{type: "function", function: {name, arguments}}` with whatever else the row
//!   has; arguments given as a JSON string that holds an object become that object, none at all or
//!   an empty string become `{}`, any other string stays one. An empty list of calls is dropped.
//! - `tools` are objects `{type, function}`; a bare function schema is wrapped.
//! - `train` and `weight` of a message leave it and go beside the conversation.

use std::collections::BTreeMap;
use std::fmt;

use sftprep_template::Data;

use crate::config::FormatChoice;
use crate::error::{Code, Error, Reject, Result};
use crate::json::JsonNotes;
use crate::types::Sample;

mod alpaca;
mod completion;
mod detect;
mod messages;
mod parts;
mod pretokenized;
mod row;
mod sharegpt;
mod tools;
mod tree;

pub use detect::{Detected, detect};
use row::Row;
use tree::TreeRules;
pub use tree::USED;

/// Roles of the normal form.
pub const ROLES: [&str; 5] = ["system", "developer", "user", "assistant", "tool"];

/// Names that a column mapping may map onto a column.
pub const MAPPABLE: [&str; 22] = [
    "messages",
    "messages.role",
    "messages.content",
    "conversations",
    "system",
    "tools",
    "functions",
    "documents",
    "chat_template_kwargs",
    "instruction",
    "input",
    "output",
    "history",
    "prompt",
    "completion",
    "text",
    "input_ids",
    "labels",
    "loss_mask",
    "completion_mask",
    "assistant_masks",
    "attention_mask",
];

/// A row format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// OpenAI / ChatML `messages`.
    Messages,
    /// `conversations` with `from` and `value`.
    Sharegpt,
    /// `instruction`, `input`, `output`.
    Alpaca,
    /// `prompt` and `completion`, as text or as messages.
    PromptCompletion,
    /// `text`.
    Text,
    /// `input_ids` with `labels` or a mask.
    Pretokenized,
    /// Message trees: `prompt` with nested `replies`.
    Oasst,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 7] = [
        Self::Messages,
        Self::Sharegpt,
        Self::Alpaca,
        Self::PromptCompletion,
        Self::Text,
        Self::Pretokenized,
        Self::Oasst,
    ];

    /// The format that was chosen; `None` if it is to be detected.
    pub fn chosen(choice: FormatChoice) -> Option<Self> {
        Some(match choice {
            FormatChoice::Auto => return None,
            FormatChoice::Messages => Self::Messages,
            FormatChoice::Sharegpt => Self::Sharegpt,
            FormatChoice::Alpaca => Self::Alpaca,
            FormatChoice::PromptCompletion => Self::PromptCompletion,
            FormatChoice::Text => Self::Text,
            FormatChoice::Pretokenized => Self::Pretokenized,
            FormatChoice::Oasst => Self::Oasst,
        })
    }

    /// Name as in `--format`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::Sharegpt => "sharegpt",
            Self::Alpaca => "alpaca",
            Self::PromptCompletion => "prompt_completion",
            Self::Text => "text",
            Self::Pretokenized => "pretokenized",
            Self::Oasst => "oasst",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How `input` of an alpaca row reaches the template.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AlpacaInput {
    /// In `content`, after the instruction and a newline.
    #[default]
    Join,
    /// In a field `input` of the user message.
    Field,
}

/// How rows are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormatOptions {
    /// Their format.
    pub format: Format,
    /// Column mapping: wanted name (one of [`MAPPABLE`]) -> column; a dot steps into an object, a
    /// number into a list.
    pub map: BTreeMap<String, String>,
    /// Role mapping: role in the file -> one of [`ROLES`].
    pub roles: BTreeMap<String, String>,
    /// What to take of message trees: rule -> value.
    pub tree: BTreeMap<String, String>,
    /// Hand lists of content parts to the template as they are, instead of joining their text.
    pub parts_raw: bool,
    /// How `input` of an alpaca row reaches the template.
    pub alpaca_input: AlpacaInput,
}

impl FormatOptions {
    /// Rows of that format, without any mapping.
    pub fn new(format: Format) -> Self {
        Self {
            format,
            map: BTreeMap::new(),
            roles: BTreeMap::new(),
            tree: BTreeMap::new(),
            parts_raw: false,
            alpaca_input: AlpacaInput::Join,
        }
    }
}

/// Turns rows into samples.
#[derive(Debug, Clone)]
pub struct Parser {
    options: FormatOptions,
    tree: TreeRules,
}

impl Parser {
    /// A parser of rows.
    ///
    /// # Errors
    /// [`Code::ConfigValue`] if a mapping names something that no format wants, or there is no such
    /// rule on trees.
    pub fn new(options: FormatOptions) -> Result<Self> {
        for wanted in options.map.keys() {
            if !MAPPABLE.contains(&wanted.as_str()) {
                let message = format!("--map {wanted}=…: no format has a column `{wanted}`");
                return Err(Error::new(Code::ConfigValue, message)
                    .at_field("source.map")
                    .hint(format!("map one of {}", MAPPABLE.join(", "))));
            }
        }
        if let Some((from, to)) = options
            .roles
            .iter()
            .find(|(_, to)| !ROLES.contains(&to.as_str()))
        {
            let message = format!("--role {from}={to}: there is no role `{to}`");
            return Err(Error::new(Code::ConfigValue, message)
                .at_field("source.role")
                .hint(format!("map to one of {}", ROLES.join(", "))));
        }
        let tree = TreeRules::of(&options.tree)?;
        Ok(Self { options, tree })
    }

    /// The options it was made with.
    pub fn options(&self) -> &FormatOptions {
        &self.options
    }

    /// Reads one row; JSON inside its strings is noted like the row's own.
    ///
    /// # Errors
    /// [`Code::RowNotObject`] and everything under `format.`.
    pub fn parse(&self, row: Data, notes: &mut JsonNotes) -> Result<Sample, Reject> {
        let Data::Map(map) = row else {
            let detail = format!("the row is {}, it must be an object", row::shown(&row));
            return Err(Reject::new(Code::RowNotObject, detail));
        };
        let mut row = Row::new(map, &self.options, notes);
        match self.options.format {
            Format::Messages => messages::parse(&mut row),
            Format::Sharegpt => sharegpt::parse(&mut row),
            Format::Alpaca => alpaca::parse(&mut row),
            Format::PromptCompletion => completion::parse(&mut row),
            Format::Text => completion::parse_text(&mut row),
            Format::Pretokenized => pretokenized::parse(&mut row),
            Format::Oasst => tree::parse(&mut row, &self.tree),
        }
    }
}

#[cfg(test)]
mod data_tests;
#[cfg(test)]
mod detect_tests;
#[cfg(test)]
mod message_tests;
#[cfg(test)]
mod tests;
