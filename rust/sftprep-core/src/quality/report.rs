//! What a stage did, in numbers and examples.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use super::verdict::{Row, Verdict};
use crate::error::{Code, Error, Result};

/// Examples of each reason that are shown.
pub(super) const EXAMPLES: usize = 5;

/// What a stage did.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct StageReport {
    /// Name of the stage.
    pub stage: String,
    /// Rows read; always kept + dropped + rejected.
    pub rows: u64,
    /// Rows that stay.
    pub kept: u64,
    /// Rows that go, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Lines written: kept rows, each as often as it is repeated.
    pub written: u64,
    /// Of each output what it got; empty where there is one and no row is repeated.
    pub parts: Vec<PartReport>,
    /// Rows that are no JSON object, by code.
    pub rejected: BTreeMap<String, u64>,
    /// Kept rows of which something is said, by code.
    pub noted: BTreeMap<String, u64>,
    /// Rows among the kept ones that could not be compared, by code.
    pub not_compared: BTreeMap<String, u64>,
    /// Distinct rows because of which others go.
    pub partners: u64,
    /// The inputs.
    pub sources: Vec<SourceReport>,
    /// Dropped rows that are worth a look: the least alike of each reason.
    pub examples: Vec<Example>,
    /// How duplicates were searched: `exact`, `sketch` or `rouge-l`.
    pub method: String,
    /// Test items that rows were searched for; none where there are no test sets.
    pub items: Option<u64>,
    /// Where the kept rows are; none after a dry run.
    pub out: Option<PathBuf>,
    /// Where the ledger is; none after a dry run.
    pub ledger: Option<PathBuf>,
    /// Seconds it took.
    pub seconds: f64,
}

/// What became of the rows of an input.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct SourceReport {
    /// Its name.
    pub name: String,
    /// Format of its rows.
    pub format: String,
    /// Why that format.
    pub evidence: String,
    /// Rows read.
    pub rows: u64,
    /// Rows that stay.
    pub kept: u64,
}

/// What one of the outputs got.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct PartReport {
    /// Its name.
    pub name: String,
    /// Where it is; none after a dry run.
    pub out: Option<PathBuf>,
    /// Rows.
    pub rows: u64,
    /// Lines: rows, each as often as it is repeated.
    pub lines: u64,
}

/// A dropped row beside the row because of which it goes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Example {
    /// Why it goes.
    pub code: String,
    /// How alike they are, or the number that decided.
    pub score: Option<f64>,
    /// Input of the dropped row.
    pub source: String,
    /// Its line.
    pub line: u64,
    /// Input of the other row, if it goes because of one.
    pub partner_source: Option<String>,
    /// Its line.
    pub partner_line: Option<u64>,
    /// Beginning of the dropped row's compared text.
    pub text: String,
    /// Beginning of the other row's.
    pub partner_text: Option<String>,
    /// More about the reason.
    pub detail: String,
}

/// Counts verdicts.
pub(super) fn count(report: &mut StageReport, rows: &[Row]) -> Result<()> {
    let mut partners = std::collections::BTreeSet::new();
    for row in rows {
        let source = &mut report.sources[row.place.source as usize];
        source.rows += 1;
        report.rows += 1;
        if row.verdict.stays() {
            source.kept += 1;
            report.kept += 1;
            report.written += u64::from(row.times);
        }
        let (counts, code) = match &row.verdict {
            Verdict::Kept => continue,
            Verdict::Noted(note) => match note.code {
                Some(code) => (&mut report.noted, code),
                None => continue,
            },
            Verdict::NotCompared(reject) => (&mut report.not_compared, reject.code),
            Verdict::Rejected(reject) => (&mut report.rejected, reject.code),
            Verdict::Dropped(note) => {
                let Some(code) = note.code else {
                    let message = format!("row {} goes without a reason", report.rows);
                    return Err(Error::new(Code::RunInternal, message));
                };
                partners.extend(note.partner.map(|it| (it.source, it.row)));
                (&mut report.dropped, code)
            }
        };
        *counts.entry(code.as_str().to_owned()).or_default() += 1;
    }
    report.partners = partners.len() as u64;
    let gone = report.dropped.values().chain(report.rejected.values());
    let sum = report.kept + gone.sum::<u64>();
    if sum == report.rows {
        return Ok(());
    }
    let message = format!("the ledger has {sum} of {} rows", report.rows);
    Err(Error::new(Code::RunInternal, message))
}

/// Rows whose texts are shown: of each reason the least alike (the lowest score), then the first.
pub(super) fn examples(rows: &[Row]) -> Vec<usize> {
    let mut by_code: BTreeMap<&str, Vec<(f64, usize)>> = BTreeMap::new();
    for (at, row) in rows.iter().enumerate() {
        if let Some(note) = row.verdict.dropped()
            && let Some(code) = note.code
        {
            let score = note.score.unwrap_or(f64::INFINITY);
            let best = by_code.entry(code.as_str()).or_default();
            let place = best.partition_point(|(known, _)| *known <= score);
            if place < EXAMPLES {
                best.insert(place, (score, at));
                best.truncate(EXAMPLES);
            }
        }
    }
    by_code.into_values().flatten().map(|(_, at)| at).collect()
}
