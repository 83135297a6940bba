//! Two ledgers beside each other: which rows are in the result of one run and not of the other, and
//! why not.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::ledger_file::{Entry, LedgerFile, read_ledger};
use crate::error::{Code, Error, Result};

/// Rows that are shown of each kind.
const SHOWN: usize = 5;

/// Two runs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CompareConfig {
    /// One of them.
    pub a: Side,
    /// The other.
    pub b: Side,
}

/// A run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Side {
    /// Its ledger.
    pub ledger: PathBuf,
    /// Names of its inputs, for a ledger that only numbers them.
    pub names: Vec<String>,
}

/// What differs in the rows of two runs.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct CompareReport {
    /// How rows are known again: `content`, or `place` (input and line).
    pub by: &'static str,
    /// Different rows in both results, as often.
    pub same: u64,
    /// Different rows in both results, but not as often.
    pub other_times: u64,
    /// Rows in both results but in other parts: `train -> val` and how many.
    pub moved: BTreeMap<String, u64>,
    /// Different rows only in the result of the first run.
    pub only_a: Only,
    /// Different rows only in the result of the second run.
    pub only_b: Only,
    /// Per input what each run has of it.
    pub sources: Vec<Both>,
}

/// Rows in one result only.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Only {
    /// How many.
    pub rows: u64,
    /// Why the other run has them not: stage and reason, or `not an input`.
    pub why: BTreeMap<String, u64>,
    /// The first of them.
    pub examples: Vec<Missing>,
}

/// A row that a run has not.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Missing {
    /// Its input, in the run that has it.
    pub source: String,
    /// Its line there.
    pub line: u64,
    /// Why the other run has it not.
    pub why: String,
    /// More about that.
    pub detail: String,
}

/// An input in both runs.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Both {
    /// Its name.
    pub name: String,
    /// What the first run has of it.
    pub a: Amount,
    /// What the second has.
    pub b: Amount,
}

/// What a run has of an input.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Amount {
    /// Rows read.
    pub rows: u64,
    /// Rows in the result.
    pub kept: u64,
    /// Lines in the result, with repetitions.
    pub lines: u64,
    /// Tokens, where the ledger counts them.
    pub tokens: u64,
    /// Trained tokens, where the ledger counts them.
    pub trained_tokens: u64,
}

impl CompareConfig {
    /// Options from JSON.
    ///
    /// # Errors
    /// `config.unknown`.
    pub fn from_json(json: &str) -> Result<Self> {
        serde_json::from_str(json)
            .map_err(|error| Error::new(Code::ConfigUnknown, error.to_string()))
    }
}

/// Compares two runs row by row.
///
/// # Errors
/// `source.missing`, `source.corrupt`.
pub fn compare(config: &CompareConfig) -> Result<CompareReport> {
    let (a, b) = (read(&config.a)?, read(&config.b)?);
    let hashed = |file: &LedgerFile| {
        let rows = file.rows.iter();
        rows.clone().any(|row| row.hash.is_some())
            && rows.clone().all(|row| row.hash.is_some() || !row.kept)
    };
    let by_content = hashed(&a) && hashed(&b);
    let (ours, theirs) = (gather(&a, by_content), gather(&b, by_content));
    let mut report = CompareReport {
        by: if by_content { "content" } else { "place" },
        sources: sources(&a, &b),
        ..CompareReport::default()
    };
    for (key, one) in &ours {
        if one.times == 0 {
            continue;
        }
        let other = theirs.get(key).filter(|it| it.times > 0);
        let Some(other) = other else {
            report.only_a.add(one, &a, theirs.get(key), &b);
            continue;
        };
        if one.times == other.times {
            report.same += 1;
        } else {
            report.other_times += 1;
        }
        let (from, to) = (a.part_of(one.first), b.part_of(other.first));
        if from != to && !from.is_empty() && !to.is_empty() {
            *report.moved.entry(format!("{from} -> {to}")).or_default() += 1;
        }
    }
    for (key, other) in &theirs {
        let there = ours.get(key);
        if other.times > 0 && there.is_none_or(|it| it.times == 0) {
            report.only_b.add(other, &b, there, &a);
        }
    }
    Ok(report)
}

/// How a row is known again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Content(u128),
    Place(String, u64),
}

/// Rows of one key.
#[derive(Debug)]
struct Gathered<'f> {
    /// The first of them that stays, or the first.
    first: &'f Entry,
    times: u64,
}

fn read(side: &Side) -> Result<LedgerFile> {
    let mut file = read_ledger(&side.ledger)?;
    if file.names.is_empty() {
        file.names.clone_from(&side.names);
    }
    if file.inputs.is_empty() {
        file.inputs.clone_from(&side.names);
    }
    Ok(file)
}

fn gather(file: &LedgerFile, by_content: bool) -> BTreeMap<Key, Gathered<'_>> {
    let mut out: BTreeMap<Key, Gathered<'_>> = BTreeMap::new();
    for row in &file.rows {
        let key = match row.hash.filter(|_| by_content) {
            Some(hash) => Key::Content(hash),
            None => Key::Place(file.name(row.source), row.line),
        };
        let times = if row.kept { u64::from(row.times) } else { 0 };
        let known = out.entry(key).or_insert(Gathered {
            first: row,
            times: 0,
        });
        if known.times == 0 && times > 0 {
            known.first = row;
        }
        known.times += times;
    }
    out
}

impl LedgerFile {
    fn name(&self, source: u32) -> String {
        let name = self.names.get(source as usize).cloned();
        name.unwrap_or_else(|| source.to_string())
    }

    fn part_of(&self, row: &Entry) -> &str {
        let part = row.part.and_then(|part| self.parts.get(part as usize));
        part.map(String::as_str).unwrap_or_default()
    }

    fn stage_of(&self, row: &Entry) -> &str {
        let stage = row.stage.and_then(|stage| self.stages.get(stage as usize));
        stage.map_or(self.stage.as_str(), String::as_str)
    }
}

impl Only {
    fn add(
        &mut self,
        row: &Gathered<'_>,
        file: &LedgerFile,
        there: Option<&Gathered<'_>>,
        other: &LedgerFile,
    ) {
        let (why, detail) = match there {
            None => ("not an input".to_owned(), String::new()),
            Some(gone) => {
                let code = gone.first.code.map(Code::as_str).unwrap_or_default();
                let stage = other.stage_of(gone.first);
                (format!("{stage}: {code}"), gone.first.detail.clone())
            }
        };
        self.rows += 1;
        if self.examples.len() < SHOWN {
            self.examples.push(Missing {
                source: file.name(row.first.source),
                line: row.first.line,
                why: why.clone(),
                detail,
            });
        }
        *self.why.entry(why).or_default() += 1;
    }
}

fn sources(a: &LedgerFile, b: &LedgerFile) -> Vec<Both> {
    let mut names: Vec<String> = a.inputs.clone();
    names.extend(b.inputs.iter().filter(|it| !a.inputs.contains(it)).cloned());
    let amounts = |file: &LedgerFile| {
        let mut amounts: BTreeMap<String, Amount> = BTreeMap::new();
        for row in &file.rows {
            let amount = amounts.entry(file.name(row.source)).or_default();
            amount.rows += 1;
            if row.kept {
                amount.kept += 1;
                amount.lines += u64::from(row.times);
                amount.tokens += row.tokens;
                amount.trained_tokens += row.trained_tokens;
            }
        }
        amounts
    };
    let (ours, theirs) = (amounts(a), amounts(b));
    let both = |name: String| Both {
        a: ours.get(&name).copied().unwrap_or_default(),
        b: theirs.get(&name).copied().unwrap_or_default(),
        name,
    };
    names.into_iter().map(both).collect()
}
