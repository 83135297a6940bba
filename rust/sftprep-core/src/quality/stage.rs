//! Stages that decide elsewhere: columns of the rows go out, a decision per row comes back.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sftprep_template::Data;

use super::column::{Cell, Column, at_path, content_hash};
use super::data_json;
use super::scan::{Check, Inputs, Reading};
use super::text::{Field, text_of};
use super::verdict::{Row, Verdict, check_rows};
use crate::config::SourceConfig;
use crate::error::{Code, Error, Reject, Result};
use crate::source::InputFile;
use crate::types::Sample;

/// Something that is worked out of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Derived {
    /// Characters of what is given.
    PromptChars,
    /// Characters of what is to be learnt.
    AnswerChars,
    /// What is given.
    PromptText,
    /// What is to be learnt.
    AnswerText,
    /// Everything that is said in it.
    Text,
    /// Messages; 2 for prompt and completion, 1 for other rows.
    Turns,
    /// 32 hexadecimal digits of the row's content, wherever the row stands.
    RowHash,
    /// The row as one line of JSON.
    Json,
    /// What is said in it as a JSON list of messages.
    Messages,
    /// The code of what keeps it from being a sample; nothing if it is one.
    Problem,
}

impl Derived {
    fn is_number(self) -> bool {
        matches!(self, Self::PromptChars | Self::AnswerChars | Self::Turns)
    }
}

/// What is read of the rows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StageConfig {
    /// What to read.
    pub source: SourceConfig,
    /// Dotted paths of columns.
    pub columns: Vec<String>,
    /// Dotted paths of columns that are read as texts whatever they hold.
    pub texts: Vec<String>,
    /// What is worked out.
    pub derived: Vec<Derived>,
    /// Worker threads (0: all cores).
    pub threads: usize,
}

/// Rows that were read once and wait for decisions.
pub struct StageRows {
    pub(super) inputs: Inputs,
    pub(super) rows: Vec<Row>,
}

/// What was read of the rows, in the order of reading.
#[derive(Debug)]
pub struct StageTable {
    /// Names of the inputs.
    pub names: Vec<String>,
    /// Their paths.
    pub paths: Vec<String>,
    /// Per row the index of its input.
    pub source: Vec<i32>,
    /// Per row its line there.
    pub line: Vec<i64>,
    /// Per row: 0 usable, 1 no JSON object, 2 does not fit its format.
    pub state: Vec<u8>,
    /// The columns that were asked for, in that order: columns, texts, derived.
    pub columns: Vec<Column>,
}

impl StageConfig {
    /// Options from JSON.
    ///
    /// # Errors
    /// `config.unknown`.
    pub fn from_json(json: &str) -> Result<Self> {
        serde_json::from_str(json)
            .map_err(|error| Error::new(Code::ConfigUnknown, error.to_string()))
    }
}

/// Reads rows and the columns that are asked for.
///
/// # Errors
/// `config.*`, `source.*`, `format.unknown`, `run.reject_rate`.
pub fn stage_columns(config: &StageConfig, check: Check<'_>) -> Result<(StageRows, StageTable)> {
    let mut inputs = Inputs::open(&config.source, config.threads)?;
    let names = inputs.files.iter().map(|file| file.name.clone()).collect();
    let path = |file: &InputFile| file.path.display().to_string();
    let paths = inputs.files.iter().map(path).collect();
    let mut rows: Vec<Row> = Vec::new();
    let width = config.columns.len() + config.texts.len() + config.derived.len();
    let mut cells: Vec<Vec<Cell>> = vec![Vec::new(); width];
    inputs.rows(
        check,
        || (),
        |(), _, row, reading| look(config, row, reading),
        |place, (found, verdict)| {
            for (column, cell) in cells.iter_mut().zip(found) {
                column.push(cell);
            }
            rows.push(Row::new(place, verdict));
            Ok(())
        },
    )?;
    check_rows(&rows, config.source.max_reject_rate)?;
    let state = |row: &Row| match row.verdict {
        Verdict::Rejected(_) => 1,
        Verdict::NotCompared(_) => 2,
        _ => 0,
    };
    let table = StageTable {
        names,
        paths,
        source: rows.iter().map(|row| row.place.source as i32).collect(),
        line: rows.iter().map(|row| row.place.line as i64).collect(),
        state: rows.iter().map(state).collect(),
        columns: columns_of(config, cells),
    };
    Ok((StageRows { inputs, rows }, table))
}

/// Columns of the kinds that were asked for; texts are texts even where there are none.
fn columns_of(config: &StageConfig, cells: Vec<Vec<Cell>>) -> Vec<Column> {
    let as_found = config.columns.iter().map(|_| true);
    let as_text = config.texts.iter().map(|_| false);
    let derived = config.derived.iter().map(|derived| derived.is_number());
    let kinds = as_found.chain(as_text).chain(derived);
    cells
        .into_iter()
        .zip(kinds)
        .map(|(cells, plain)| {
            if plain {
                Column::of(cells)
            } else {
                Column::values(cells)
            }
        })
        .collect()
}

/// The cells of a row, and whether it is one.
fn look(
    config: &StageConfig,
    row: Result<Data, Reject>,
    reading: &mut Reading<'_>,
) -> (Vec<Cell>, Verdict) {
    let nothing = config.columns.len() + config.texts.len() + config.derived.len();
    let row = match row {
        Ok(row) if row.as_map().is_some() => row,
        Ok(row) => {
            // the parser knows how to say what is wrong with it
            let sample = reading.parser.parse(row, reading.notes);
            return match sample {
                Ok(_) => (vec![Cell::None; nothing], Verdict::Kept),
                Err(reject) => refused(vec![Cell::None; nothing], config, reject),
            };
        }
        Err(reject) => return refused(vec![Cell::None; nothing], config, reject),
    };
    let columns = config.columns.iter();
    let mut cells: Vec<Cell> = columns
        .map(|path| Cell::of(at_path(&row, path)))
        .chain((config.texts.iter()).map(|path| Cell::text_of(at_path(&row, path))))
        .collect();
    let own = config.derived.iter().map(|derived| match derived {
        Derived::RowHash => Cell::Text(content_hash(&row)),
        Derived::Json => {
            let mut json = String::new();
            data_json::push(&row, &mut json);
            Cell::Text(json)
        }
        _ => Cell::None,
    });
    cells.extend(own);
    let first = cells.len() - config.derived.len();
    match reading.parser.parse(row, reading.notes) {
        Ok(sample) => {
            for (cell, derived) in cells[first..].iter_mut().zip(&config.derived) {
                if let Some(made) = worked_out(&sample, *derived) {
                    *cell = made;
                }
            }
            (cells, Verdict::Kept)
        }
        Err(reject) => refused(cells, config, reject),
    }
}

/// The cells of a row that is no sample.
fn refused(mut cells: Vec<Cell>, config: &StageConfig, reject: Reject) -> (Vec<Cell>, Verdict) {
    let first = cells.len() - config.derived.len();
    for (cell, derived) in cells[first..].iter_mut().zip(&config.derived) {
        if *derived == Derived::Problem {
            *cell = Cell::Text(reject.code.as_str().to_owned());
        }
    }
    (cells, Verdict::of_reject(reject))
}

fn worked_out(sample: &Sample, derived: Derived) -> Option<Cell> {
    let text = |field| {
        let mut text = String::new();
        text_of(sample, field, &mut text);
        text
    };
    let chars = |field| Cell::Number(text(field).chars().count() as f64);
    Some(match derived {
        Derived::PromptChars => chars(Field::Prompt),
        Derived::AnswerChars => chars(Field::Answer),
        Derived::PromptText => Cell::Text(text(Field::Prompt)),
        Derived::AnswerText => Cell::Text(text(Field::Answer)),
        Derived::Text => Cell::Text(text(Field::All)),
        Derived::Turns => Cell::Number(match sample {
            Sample::Conversation(conversation) => conversation.messages.len() as f64,
            Sample::Completion { .. } => 2.0,
            Sample::Threads(it) => it.each_message().count() as f64,
            Sample::Text(_) | Sample::Tokens { .. } => 1.0,
        }),
        Derived::Messages => Cell::Text(messages(sample)),
        Derived::RowHash | Derived::Json | Derived::Problem => return None,
    })
}

/// What a sample says as JSON messages: a prompt is a user's, what is to be learnt an assistant's.
fn messages(sample: &Sample) -> String {
    let message = |role: &str, text: &str| {
        let pair = |key: &str, value: &str| (Arc::from(key), Data::Str(Arc::from(value)));
        let entries = vec![pair("role", role), pair("content", text)];
        Data::Map(sftprep_template::Map::from_entries_last_wins(entries).0)
    };
    let list: Vec<Data> = match sample {
        Sample::Conversation(conversation) => conversation.messages.clone(),
        Sample::Completion { prompt, completion } => {
            vec![message("user", prompt), message("assistant", completion)]
        }
        Sample::Text(text) => vec![message("assistant", text)],
        // several threads are no single conversation
        Sample::Threads(it) => match it.conversations.as_slice() {
            [one] => one.messages.clone(),
            _ => Vec::new(),
        },
        Sample::Tokens { .. } => Vec::new(),
    };
    let mut json = String::new();
    data_json::push(&Data::List(list), &mut json);
    json
}
