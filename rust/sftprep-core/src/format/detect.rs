//! Which format an input has, told from the columns of its first rows, and why.

use std::collections::BTreeMap;
use std::fmt::Write;

use sftprep_template::{Data, Map};

use super::Format;
use super::row::{look_up, shown};
use super::tree;
use crate::error::{Code, Error, Result};

/// Columns by which people call a question, in the order in which they are proposed.
const QUESTIONS: [&str; 6] = [
    "instruction",
    "question",
    "query",
    "prompt",
    "problem",
    "input",
];
/// Columns by which people call an answer.
const ANSWERS: [&str; 7] = [
    "output",
    "answer",
    "response",
    "completion",
    "solution",
    "target",
    "chosen",
];

/// A format, and why it was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detected {
    /// The format.
    pub format: Format,
    /// Such as "column `messages`: list of {role, content} in 100 of 100 rows".
    pub evidence: String,
}

/// Tells the format from some first rows (100 are plenty), after the column mapping.
///
/// A format is chosen if its columns are in at least half of the rows, and no other format's in
/// more than a tenth of that. `text` counts only where nothing else does, because data sets in
/// other formats like to carry a rendered `text` beside their columns.
///
/// # Errors
/// [`Code::FormatUnknown`] if no format fits, or several do; it lists the columns that were seen
/// and what would help.
pub fn detect(rows: &[Data], map: &BTreeMap<String, String>) -> Result<Detected> {
    let columns = Columns { map };
    let messages = count(rows, tree::is_flat_message);
    if messages > 0 && messages * 2 >= rows.len() && !map.contains_key("text") {
        return Err(flat(rows, messages));
    }
    let mut counts: Vec<(Format, usize)> = Format::ALL
        .into_iter()
        .filter(|format| *format != Format::Text)
        .map(|format| (format, count(rows, |row| columns.fit(row, format))))
        .filter(|(_, count)| *count > 0)
        .collect();
    counts.sort_by_key(|(format, count)| (usize::MAX - count, *format));
    let enough = |count: usize| count > 0 && count * 2 >= rows.len();
    match counts.as_slice() {
        [(_, first), (_, second), ..] if enough(*first) && second * 10 > *first => {
            Err(ambiguous(rows, &counts))
        }
        [(format, first), ..] if enough(*first) => Ok(columns.evidence(rows, *format, *first)),
        _ => {
            let texts = count(rows, |row| columns.fit(row, Format::Text));
            if enough(texts) {
                return Ok(columns.evidence(rows, Format::Text, texts));
            }
            Err(unknown(rows, &counts))
        }
    }
}

fn count(rows: &[Data], fits: impl Fn(&Map) -> bool) -> usize {
    rows.iter()
        .filter_map(Data::as_map)
        .filter(|row| fits(row))
        .count()
}

struct Columns<'a> {
    map: &'a BTreeMap<String, String>,
}

impl Columns<'_> {
    fn name<'b>(&'b self, wanted: &'b str) -> &'b str {
        self.map.get(wanted).map_or(wanted, String::as_str)
    }

    fn get<'b>(&self, row: &'b Map, wanted: &str) -> Option<&'b Data> {
        look_up(row, self.name(wanted)).filter(|value| **value != Data::Null)
    }

    fn fit(&self, row: &Map, format: Format) -> bool {
        let is_text = |wanted| matches!(self.get(row, wanted), Some(Data::Str(_)));
        let is_turns = |wanted, keys: &[&str]| {
            let turns = self.get(row, wanted).and_then(Data::as_list);
            turns.is_some_and(|turns| self.are_turns(turns, keys))
        };
        match format {
            Format::Messages => is_turns("messages", &["role"]),
            Format::Sharegpt => {
                is_turns("conversations", &["from", "role"])
                    || is_turns("conversation", &["from", "role"])
            }
            Format::Alpaca => is_text("instruction") && is_text("output"),
            Format::PromptCompletion => {
                (is_text("prompt") && is_text("completion"))
                    || (is_turns("prompt", &["role"]) && is_turns("completion", &["role"]))
            }
            Format::Text => is_text("text"),
            Format::Oasst => tree::is_tree(row),
            Format::Pretokenized => {
                let ids = self.get(row, "input_ids").and_then(Data::as_list);
                ids.is_some_and(|ids| matches!(ids.first(), None | Some(Data::Int(_))))
            }
        }
    }

    /// Whether a list is one of messages; an empty one may be.
    fn are_turns(&self, turns: &[Data], keys: &[&str]) -> bool {
        let mapped = self.map.get("messages.role");
        let Some(first) = turns.first() else {
            return true;
        };
        first.as_map().is_some_and(|first| {
            let mut keys = keys.iter().copied().chain(mapped.map(String::as_str));
            keys.any(|key| first.contains_key(key))
        })
    }

    fn evidence(&self, rows: &[Data], format: Format, count: usize) -> Detected {
        let first = rows
            .iter()
            .filter_map(Data::as_map)
            .find(|row| self.fit(row, format));
        let turns = |wanted: &str| {
            let turns = first.and_then(|row| self.get(row, wanted)?.as_list());
            let keys = turns.and_then(|turns| turns.first()?.as_map()).map(|turn| {
                let keys: Vec<&str> = turn.iter().map(|(key, _)| &**key).collect();
                keys.join(", ")
            });
            format!("list of {{{}}}", keys.unwrap_or_default())
        };
        let has = |wanted: &str| first.is_some_and(|row| self.get(row, wanted).is_some());
        let what = match format {
            Format::Messages => {
                format!("column `{}`: {}", self.name("messages"), turns("messages"))
            }
            Format::Sharegpt => {
                let wanted = if has("conversations") {
                    "conversations"
                } else {
                    "conversation"
                };
                format!("column `{}`: {}", self.name(wanted), turns(wanted))
            }
            Format::Alpaca => self.texts(&["instruction", "output"]),
            Format::PromptCompletion if turns("prompt").len() > "list of {}".len() => format!(
                "columns `{}` and `{}`: {}",
                self.name("prompt"),
                self.name("completion"),
                turns("prompt")
            ),
            Format::PromptCompletion => self.texts(&["prompt", "completion"]),
            Format::Text => self.texts(&["text"]),
            Format::Oasst => "column `prompt`: a message with replies".to_owned(),
            Format::Pretokenized => {
                format!("column `{}`: list of integers", self.name("input_ids"))
            }
        };
        let evidence = format!("{what} in {count} of {} rows", rows.len());
        Detected { format, evidence }
    }

    fn texts(&self, wanted: &[&str]) -> String {
        let names: Vec<String> = wanted
            .iter()
            .map(|name| format!("`{}`", self.name(name)))
            .collect();
        let (noun, kind) = match names.len() {
            1 => ("column", "string"),
            _ => ("columns", "strings"),
        };
        format!("{noun} {}: {kind}", names.join(" and "))
    }
}

fn flat(rows: &[Data], messages: usize) -> Error {
    let message = format!(
        "{messages} of {} rows are single messages (message_id, parent_id, role, text), not trees",
        rows.len()
    );
    Error::new(Code::FormatFlat, message)
        .hint("put them together first: sftprep trees FILE --out trees.jsonl")
}

fn unknown(rows: &[Data], counts: &[(Format, usize)]) -> Error {
    let Some(first) = rows.iter().find_map(Data::as_map) else {
        let seen = rows.first().map_or("no row".to_owned(), shown);
        let message = format!("no row is a JSON object; the first is {seen}");
        return Error::new(Code::FormatUnknown, message).hint("write one JSON object per row");
    };
    let mut message = format!("no known format fits; {}", seen_columns(rows));
    if let Some((format, count)) = counts.first() {
        let of = rows.len();
        let _ = write!(message, "; only {count} of {of} rows look like {format}");
    }
    Error::new(Code::FormatUnknown, message).hint(advice(first))
}

/// What to add to the command so that such a row can be read.
fn advice(row: &Map) -> String {
    if let Some((name, turns)) = row
        .iter()
        .find_map(|(name, value)| turns_column(name, value))
    {
        let (format, wanted) = if turns.contains_key("from") {
            ("sharegpt", "conversations")
        } else {
            ("messages", "messages")
        };
        return format!("try --format {format} --map {wanted}={name}");
    }
    let text_of = |names: &[&'static str]| {
        let is_text = |name: &&&str| matches!(row.get(name), Some(Data::Str(_)));
        names.iter().find(is_text).copied()
    };
    match (text_of(&QUESTIONS), text_of(&ANSWERS)) {
        (Some(question), Some(answer)) => {
            format!("try --format alpaca --map instruction={question} --map output={answer}")
        }
        (Some(question), None) => format!(
            "nearest is alpaca: `{question}` could be its instruction, but there is no output; \
             name one with --map output=COLUMN"
        ),
        _ => "name the format with --format, or map your columns with --map".to_owned(),
    }
}

/// A column that holds messages, though under another name than a format wants.
fn turns_column<'a>(name: &'a str, value: &'a Data) -> Option<(&'a str, &'a Map)> {
    let first = value.as_list()?.first()?.as_map()?;
    let is_turn = first.contains_key("role") || first.contains_key("from");
    is_turn.then_some((name, first))
}

fn seen_columns(rows: &[Data]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in rows.iter().filter_map(Data::as_map).flat_map(Map::iter) {
        if names.len() < 20 && !names.contains(&&**name) {
            names.push(name);
        }
    }
    format!("the rows have the columns {}", names.join(", "))
}

fn ambiguous(rows: &[Data], counts: &[(Format, usize)]) -> Error {
    let each: Vec<String> = counts
        .iter()
        .map(|(format, count)| format!("{format} ({count} of {} rows)", rows.len()))
        .collect();
    let message = format!(
        "several formats fit: {}; {}",
        each.join(", "),
        seen_columns(rows)
    );
    Error::new(Code::FormatUnknown, message).hint(format!(
        "say which with --format, for example --format {}",
        counts[0].0
    ))
}
