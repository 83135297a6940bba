//! A row with its column mapping, and the words for what is wrong with a field.

use std::fmt::{self, Write};
use std::sync::Arc;

use sftprep_template::{Data, Map};

use super::FormatOptions;
use crate::error::{Code, Reject};
use crate::json::JsonNotes;

/// Characters of a value that a message shows.
const SHOWN_CHARS: usize = 60;

/// A row that is being taken apart.
pub(super) struct Row<'a> {
    map: Map,
    pub(super) options: &'a FormatOptions,
    pub(super) notes: &'a mut JsonNotes,
}

impl<'a> Row<'a> {
    pub(super) fn new(map: Map, options: &'a FormatOptions, notes: &'a mut JsonNotes) -> Self {
        Self {
            map,
            options,
            notes,
        }
    }

    /// The column that a wanted name is read from.
    pub(super) fn column(&self, wanted: &'static str) -> &'a str {
        self.options.map.get(wanted).map_or(wanted, String::as_str)
    }

    /// Takes the value of a wanted column; `None` if it is missing or null.
    pub(super) fn take(&mut self, wanted: &str) -> Option<Data> {
        let value = match self.options.map.get(wanted) {
            // Two wanted names may share a column, so a mapped one is copied.
            Some(column) => look_up(&self.map, column)?.clone(),
            None => std::mem::replace(self.map.get_mut(wanted)?, Data::Null),
        };
        (value != Data::Null).then_some(value)
    }

    /// Takes a column that has to be there.
    pub(super) fn require(&mut self, wanted: &'static str) -> Result<Data, Reject> {
        self.take(wanted).ok_or_else(|| {
            let column = self.column(wanted);
            let state = match look_up(&self.map, column) {
                Some(_) => "is null",
                None => "is missing",
            };
            let detail = format!("{column} {state}; {}", columns(&self.map));
            Reject::new(Code::FormatMissing, detail).at_field(column)
        })
    }

    /// Takes a column that has to be a string.
    pub(super) fn require_text(&mut self, wanted: &'static str) -> Result<Arc<str>, Reject> {
        match self.require(wanted)? {
            Data::Str(text) => Ok(text),
            other => Err(wrong_type(&self.column(wanted), &other, "a string")),
        }
    }

    /// Takes a column that may be missing but has to be a string.
    pub(super) fn take_text(&mut self, wanted: &'static str) -> Result<Option<Arc<str>>, Reject> {
        match self.take(wanted) {
            None => Ok(None),
            Some(Data::Str(text)) => Ok(Some(text)),
            Some(other) => Err(wrong_type(&self.column(wanted), &other, "a string")),
        }
    }
}

/// The value at a column name, or at a path into nested objects and lists.
pub(super) fn look_up<'a>(map: &'a Map, path: &str) -> Option<&'a Data> {
    if let Some(value) = map.get(path) {
        return Some(value);
    }
    let (first, rest) = path.split_once('.')?;
    let mut value = map.get(first)?;
    for step in rest.split('.') {
        value = match value {
            Data::Map(map) => map.get(step)?,
            Data::List(items) => items.get(step.parse::<usize>().ok()?)?,
            _ => return None,
        };
    }
    Some(value)
}

/// Names the columns of a row.
pub(super) fn columns(map: &Map) -> String {
    if map.is_empty() {
        return "the row has no columns".to_owned();
    }
    let names: Vec<&str> = map.iter().take(12).map(|(name, _)| &**name).collect();
    let more = if map.len() > 12 { ", …" } else { "" };
    format!("the row has {}{more}", names.join(", "))
}

/// A message of a list in a column, to name its fields.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) column: &'a str,
    pub(super) index: usize,
}

impl At<'_> {
    /// Path of a field of the message.
    pub(super) fn field(self, name: &str) -> String {
        format!("{self}.{name}")
    }
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.column, self.index)
    }
}

/// A field has a type that it must not have.
pub(super) fn wrong_type(field: &dyn fmt::Display, seen: &Data, wanted: &str) -> Reject {
    let detail = format!("{field} is {}, it must be {wanted}", shown(seen));
    Reject::new(Code::FormatType, detail).at_field(field.to_string())
}

/// A value, shortened to what fits into a message.
pub(super) fn shown(value: &Data) -> String {
    match value {
        Data::Null => "null".to_owned(),
        Data::Bool(flag) => flag.to_string(),
        Data::Int(number) => number.to_string(),
        Data::BigInt(digits) => shortened(digits),
        Data::Float(number) => format!("{number:?}"),
        Data::Str(text) => format!("'{}'", shortened(text)),
        Data::List(items) => format!("an array of {}", items.len()),
        Data::Map(map) => {
            let names: Vec<&str> = map.iter().map(|(name, _)| &**name).collect();
            format!("an object with {}", shortened(&names.join(", ")))
        }
    }
}

fn shortened(text: &str) -> String {
    let mut out = String::new();
    for (index, c) in text.chars().enumerate() {
        if index == SHOWN_CHARS {
            out.push('…');
            break;
        }
        let _ = match c {
            c if c.is_control() => write!(out, "{}", c.escape_default()),
            c => write!(out, "{c}"),
        };
    }
    out
}
