//! `clean`: defects that a row shows by itself are taken out, flagged, or end the row.
//!
//! A row that is changed keeps every byte but the text that is mended. The ledger says of each what
//! was found, and what was done about it.

mod look;
mod rules;
mod splice;
mod texts;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use sftprep_quality::signs;

use super::report::StageReport;
use super::scan::{Check, Inputs};
use super::target::target;
use super::text::Field;
use super::verdict::{Note, Row, Verdict, check_rows};
use super::write::{Arrangement, Others, finish, json_line};
use crate::config::SourceConfig;
use crate::error::{Code, Error, Result};

use look::{Looker, Outcome};
pub use rules::{Action, CleanRules};

/// Options of `clean`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CleanConfig {
    /// What to read.
    pub source: SourceConfig,
    /// File for the kept rows, `.jsonl`; may be missing in a dry run.
    pub out: Option<PathBuf>,
    /// What is done about what.
    pub rules: CleanRules,
    /// Garbled texts and what they should be, as [`garbled_texts`] lists them; whoever calls knows
    /// how to repair them.
    pub repaired: BTreeMap<String, String>,
    /// Worker threads (0: all cores).
    pub threads: usize,
    /// Decide and report, write nothing.
    pub dry_run: bool,
    /// Replace existing output.
    pub overwrite: bool,
}

impl CleanConfig {
    /// Options from JSON.
    ///
    /// # Errors
    /// `config.unknown` and `config.value`.
    pub fn from_json(json: &str) -> Result<Self> {
        let config: Self = serde_json::from_str(json)
            .map_err(|error| Error::new(Code::ConfigUnknown, error.to_string()))?;
        config.rules.validate()?;
        Ok(config)
    }

    /// The options that decide, as the ledger has them; without places and texts.
    fn told(&self) -> Option<String> {
        serde_json::to_string(&self.rules).ok()
    }
}

/// What `clean` did.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct CleanReport {
    /// Rows, as of every stage.
    #[serde(flatten)]
    pub stage: StageReport,
    /// Rows of which something was taken out.
    pub changed: u64,
    /// Rows that stay, by what was done about which rule.
    pub found: BTreeMap<String, u64>,
}

/// Takes out, flags or drops what the rules find; every row that changes or goes is in the ledger.
/// `check` is called now and then and ends the work when it fails.
///
/// # Errors
/// `config.*`, `source.*`, `format.unknown`, `output.*`, `run.reject_rate`.
pub fn clean(config: &CleanConfig, check: Check<'_>) -> Result<CleanReport> {
    let start = Instant::now();
    let mut inputs = Inputs::open(&config.source, config.threads)?;
    let target = target(
        config.out.as_ref(),
        config.dry_run,
        config.overwrite,
        &inputs,
    )?;
    let mut rows: Vec<Row> = Vec::new();
    let mut lines: Vec<Option<String>> = Vec::new();
    let mut found: BTreeMap<String, u64> = BTreeMap::new();
    inputs.rows(
        check,
        <(Looker, String)>::default,
        |(looker, scratch), _, row, reading| match row {
            Err(reject) => Outcome::Rejected(reject),
            Ok(row) => {
                let line = json_line(reading.record, scratch);
                looker.look(row, line, reading, &config.rules, &config.repaired)
            }
        },
        |place, outcome| {
            let (verdict, line) = match outcome {
                Outcome::Clean => (Verdict::Kept, None),
                Outcome::Rejected(reject) => (Verdict::Rejected(Box::new(reject)), None),
                Outcome::Dropped { code, detail } => {
                    (Verdict::Dropped(Box::new(note(code, detail))), None)
                }
                Outcome::Marked {
                    rules,
                    code,
                    detail,
                    line,
                } => {
                    for (rule, fixed) in rules {
                        let done = if fixed { "fixed" } else { "flagged" };
                        let name = format!("{done} {}", rule.name());
                        *found.entry(name).or_default() += 1;
                    }
                    (Verdict::Noted(Box::new(note(code, detail))), line)
                }
            };
            rows.push(Row::new(place, verdict));
            lines.push(line);
            Ok(())
        },
    )?;
    check_rows(&rows, config.source.max_reject_rate)?;
    let mut report = StageReport {
        stage: "clean".to_owned(),
        ..StageReport::default()
    };
    let arranged = Arrangement {
        lines: Some(&lines),
        options: config.told(),
        ..Arrangement::default()
    };
    finish(
        &mut inputs,
        &rows,
        target.as_ref(),
        Field::All,
        &Others::default(),
        &arranged,
        check,
        &mut report,
    )?;
    report.seconds = start.elapsed().as_secs_f64();
    Ok(CleanReport {
        stage: report,
        changed: lines.iter().flatten().count() as u64,
        found,
    })
}

fn note(code: Code, detail: String) -> Note {
    Note {
        code: Some(code),
        detail,
        ..Note::default()
    }
}

/// The different texts of the rows in which UTF-8 was read as another encoding, sorted: what a
/// repair has to be found for.
///
/// # Errors
/// `config.*`, `source.*`, `format.unknown`.
pub fn garbled_texts(config: &CleanConfig, check: Check<'_>) -> Result<Vec<String>> {
    let mut inputs = Inputs::open(&config.source, config.threads)?;
    let mut all: BTreeSet<String> = BTreeSet::new();
    inputs.rows(
        check,
        || (),
        |(), _, row, reading| {
            let mut garbled = Vec::new();
            if let Ok(row) = row {
                texts::texts(&row, reading.parser.options(), &mut |_, _, text| {
                    if signs::characters(text).mojibake.is_some() {
                        garbled.push(text.to_owned());
                    }
                });
            }
            garbled
        },
        |_, garbled| {
            all.extend(garbled);
            Ok(())
        },
    )?;
    Ok(all.into_iter().collect())
}
