//! Decisions that were made elsewhere, one per row: checked, then written as any stage writes.

use std::path::PathBuf;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::report::StageReport;
use super::scan::Check;
use super::stage::StageRows;
use super::target::targets;
use super::text::Field;
use super::verdict::{Note, Partner, Row, Verdict};
use super::write::{Arrangement, Others, finish};
use crate::error::{Code, Error, Result};
use crate::json::{JsonNotes, parse};

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
