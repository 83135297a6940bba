//! Stages that decide elsewhere: columns of the rows go out, a decision per row comes back.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sftprep_template::Data;

use super::column::{Cell, Column, at_path, content_hash};
use super::data_json;
use super::report::StageReport;
use super::scan::{Check, Inputs, Reading};
use super::target::targets;
use super::text::{Field, text_of};
use super::verdict::{Note, Partner, Row, Verdict, check_rows};
use super::write::{Arrangement, Others, finish};
use crate::config::SourceConfig;
use crate::error::{Code, Error, Reject, Result};
use crate::json::{JsonNotes, parse};
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
    inputs: Inputs,
    rows: Vec<Row>,
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

/// How decisions are written.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WriteConfig {
    /// Name of the stage.
    pub stage: String,
    /// How it decided, in a word.
    pub method: String,
    /// Files for the rows that stay, `.jsonl`, one per part; may be missing in a dry run.
    pub outs: Vec<PathBuf>,
    /// Names of the parts, where there are several.
    pub parts: Vec<String>,
    /// Decide and report, write nothing.
    pub dry_run: bool,
    /// Replace existing output.
    pub overwrite: bool,
    /// What of a row the report's examples show.
    pub field: Field,
    /// Reasons by their number in the decisions.
    pub codes: Vec<String>,
    /// The stage's options, for its ledger.
    pub options: Option<Value>,
}

impl WriteConfig {
    /// Options from JSON.
    ///
    /// # Errors
    /// `config.unknown`.
    pub fn from_json(json: &str) -> Result<Self> {
        serde_json::from_str(json)
            .map_err(|error| Error::new(Code::ConfigUnknown, error.to_string()))
    }
}

/// What becomes of each row, in the order of reading. Only `times` has to be there.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Decisions {
    /// How often it is written; 0: it goes.
    pub times: Vec<i32>,
    /// Index into the reasons; negative: none. A row that goes has one.
    pub code: Option<Vec<i32>>,
    /// More about the reason.
    pub detail: Option<Vec<Option<String>>>,
    /// Number (from 1) of the row because of which; negative: none.
    pub partner_row: Option<Vec<i64>>,
    /// The number that decided; NaN: none.
    pub score: Option<Vec<f64>>,
    /// Position among the rows that are written.
    pub order: Option<Vec<i64>>,
    /// Which of the outputs.
    pub part: Option<Vec<i8>>,
    /// JSON to be written instead of the row.
    pub line: Option<Vec<Option<String>>>,
}

impl StageRows {
    /// Writes the rows that stay, and the ledger. Rows that are no JSON objects are rejected
    /// whatever the decisions say; kept + dropped + rejected is the number of rows.
    ///
    /// # Errors
    /// `config.*` for decisions that do not fit the rows, `source.*`, `output.*`.
    pub fn write(
        &mut self,
        config: &WriteConfig,
        decisions: &Decisions,
        check: Check<'_>,
    ) -> Result<StageReport> {
        let start = Instant::now();
        let outs = &config.outs;
        let target = targets(outs, config.dry_run, config.overwrite, &self.inputs)?;
        let rows = self.decided(config, decisions)?;
        let mut report = StageReport {
            stage: config.stage.clone(),
            method: config.method.clone(),
            ..StageReport::default()
        };
        let arranged = Arrangement {
            order: decisions.order.as_deref(),
            lines: decisions.line.as_deref(),
            parts: &config.parts,
            options: config.options.as_ref().map(Value::to_string),
        };
        finish(
            &mut self.inputs,
            &rows,
            target.as_ref(),
            config.field,
            &Others::default(),
            &arranged,
            check,
            &mut report,
        )?;
        report.seconds = start.elapsed().as_secs_f64();
        Ok(report)
    }

    /// The rows with their verdicts.
    fn decided(&self, config: &WriteConfig, decisions: &Decisions) -> Result<Vec<Row>> {
        let n = self.rows.len();
        let parts = config.parts.len().max(1);
        if !config.dry_run && config.outs.len() != parts {
            let message = format!("{} outputs for {parts} parts", config.outs.len());
            return Err(bad("out", message));
        }
        let codes = config.codes.iter().map(|name| {
            let message = || bad("codes", format!("there is no code {name:?}"));
            Code::from_name(name).ok_or_else(message)
        });
        let codes = codes.collect::<Result<Vec<Code>>>()?;
        fits("times", Some(&decisions.times), n)?;
        fits("code", decisions.code.as_ref(), n)?;
        fits("detail", decisions.detail.as_ref(), n)?;
        fits("partner_row", decisions.partner_row.as_ref(), n)?;
        fits("score", decisions.score.as_ref(), n)?;
        fits("order", decisions.order.as_ref(), n)?;
        fits("part", decisions.part.as_ref(), n)?;
        fits("line", decisions.line.as_ref(), n)?;
        let mut rows = self.rows.clone();
        for (at, row) in rows.iter_mut().enumerate() {
            if !matches!(row.verdict, Verdict::Rejected(_)) {
                self.decide(row, at, &codes, decisions, parts)
                    .map_err(|error| error.at_line(at as u64 + 1))?;
            }
        }
        Ok(rows)
    }

    fn decide(
        &self,
        row: &mut Row,
        at: usize,
        codes: &[Code],
        decisions: &Decisions,
        parts: usize,
    ) -> Result<()> {
        let number = at + 1;
        let times = u32::try_from(decisions.times[at]).map_err(|_| {
            let message = format!("times of row {number} is {}", decisions.times[at]);
            bad("times", message)
        })?;
        let code = match decisions.code.as_ref().map(|code| code[at]) {
            Some(code) if code >= 0 => Some(*codes.get(code as usize).ok_or_else(|| {
                let message = format!("code of row {number} is {code}, there are {}", codes.len());
                bad("code", message)
            })?),
            _ => None,
        };
        let partner = match decisions.partner_row.as_ref().map(|partner| partner[at]) {
            Some(partner) if partner >= 0 => Some(self.partner(partner, number)?),
            _ => None,
        };
        let note = Note {
            code,
            detail: decisions
                .detail
                .as_ref()
                .and_then(|it| it[at].clone())
                .unwrap_or_default(),
            partner,
            score: decisions
                .score
                .as_ref()
                .map(|it| it[at])
                .filter(|it| !it.is_nan()),
        };
        let part = decisions.part.as_ref().map_or(0, |part| part[at]);
        if times == 0 {
            if code.is_none() {
                let message = format!("row {number} goes and has no reason");
                return Err(bad("code", message));
            }
            row.verdict = Verdict::Dropped(Box::new(note));
            return Ok(());
        }
        row.times = times;
        row.part = match u8::try_from(part) {
            Ok(part) if usize::from(part) < parts => part,
            _ => {
                let message = format!("part of row {number} is {part}, there are {parts}");
                return Err(bad("part", message));
            }
        };
        if let Some(line) = decisions.line.as_ref().and_then(|lines| lines[at].as_ref()) {
            is_object(line).map_err(|why| {
                bad(
                    "line",
                    format!("what is to be written for row {number} is {why}"),
                )
            })?;
        }
        // a row that does not fit its format keeps saying so unless the stage says more
        if note != Note::default() && (code.is_some() || matches!(row.verdict, Verdict::Kept)) {
            row.verdict = Verdict::Noted(Box::new(note));
        }
        Ok(())
    }

    fn partner(&self, partner: i64, number: usize) -> Result<Partner> {
        let index = usize::try_from(partner - 1).ok();
        let Some(other) = index.and_then(|at| self.rows.get(at)) else {
            let message = format!(
                "partner of row {number} is row {partner}, there are {}",
                self.rows.len()
            );
            return Err(bad("partner_row", message));
        };
        Ok(Partner {
            row: partner as u64,
            source: other.place.source,
            line: other.place.line,
        })
    }
}

/// Whether a text is one JSON object on one line.
fn is_object(line: &str) -> Result<(), String> {
    if line.contains(['\n', '\r']) {
        return Err("more than one line".to_owned());
    }
    match parse(line.as_bytes(), &mut JsonNotes::default()) {
        Ok(row) if row.as_map().is_some() => Ok(()),
        Ok(row) => Err(format!("a JSON {}, no object", row.type_name())),
        Err(reject) => Err(format!("no JSON: {reject}")),
    }
}

fn fits<T>(field: &str, values: Option<&Vec<T>>, rows: usize) -> Result<()> {
    match values {
        Some(values) if values.len() != rows => {
            let message = format!("{field} has {} values for {rows} rows", values.len());
            Err(bad(field, message))
        }
        _ => Ok(()),
    }
}

fn bad(field: &str, message: String) -> Error {
    Error::new(Code::ConfigValue, message)
        .at_field(field)
        .hint("decisions are one per row, in the order of reading")
}
