//! Are the masks of a finished dataset right? A second look, at the shards alone.
//!
//! Where `verify` asks whether the bytes are those that were written, the audit asks whether they
//! make sense: it decodes nothing but the shards, their sidecar and the tokenizer and template that
//! are kept beside them. What the template does around an answer is learnt from the conversation
//! shapes that certificates are made of, not from the rows under audit.

mod expect;
mod parity;
mod row;
mod turns;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use crate::config::{Overlong, PackConfig, Strategy};
use crate::error::Result;
use crate::replay;
use crate::shard::{Manifest, ShardReader};

use expect::Expected;

pub use parity::{Cause, Disparity, ParityReport, parity};

/// Findings that are listed; all are counted.
const MAX_LISTED: usize = 100;

/// Rows between two looks at whether to go on.
const CHECK_ROWS: u64 = 256;

/// What an audit looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// Labels are what the spans say, and the first token of a document has none.
    Labels,
    /// Spans partition the tokens, and none crosses the border of a document.
    Spans,
    /// No scaffolding, no system, user or tool text is trained; no straddling token is.
    Foreign,
    /// A message is of one role.
    Roles,
    /// An answer begins where the template's header ends.
    Start,
    /// What is trained of a turn is not interrupted.
    Gaps,
    /// The stop token is trained as often as the options say, and last.
    Stop,
    /// One beginning-of-sequence token per document.
    Bos,
    /// No control token where a row's own text stands.
    Control,
    /// Every document and every trained turn holds something to learn.
    Empty,
    /// Trained tokens add up to what the ledger counted.
    Totals,
}

/// Something that is not right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked for.
    pub check: Check,
    /// Packed row; `None` if it is about the whole dataset.
    pub row: Option<u64>,
    /// Document in it, counted from 0.
    pub document: Option<u32>,
    /// Name of the input of the document.
    pub source: String,
    /// Line in that input, counted from 1.
    pub line: Option<u64>,
    /// Message of the conversation.
    pub message: Option<u32>,
    /// What is wrong, with the text there.
    pub what: String,
}

/// What an audit saw.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct AuditReport {
    /// Whether nothing is wrong.
    pub ok: bool,
    /// Packed rows.
    pub rows: u64,
    /// Documents; each piece of a cut one counts.
    pub documents: u64,
    /// Trained assistant turns.
    pub turns: u64,
    /// Tokens with a label.
    pub trained_tokens: u64,
    /// Tokens that straddle the edge of what is trained.
    pub straddling_tokens: u64,
    /// Checks that could not be made, and why.
    pub skipped: Vec<String>,
    /// Findings, by check.
    pub counts: BTreeMap<Check, u64>,
    /// The first findings.
    pub findings: Vec<Finding>,
}

impl AuditReport {
    fn add(&mut self, finding: Finding) {
        *self.counts.entry(finding.check).or_default() += 1;
        if self.findings.len() < MAX_LISTED {
            self.findings.push(finding);
        }
    }
}

/// Audits the dataset in `dir`. `check` is called now and then and ends the work when it fails.
///
/// # Errors
/// `shard.*` if the folder is no readable dataset, `tokenizer.*` if the tokenizer in it does not
/// load. All else that is wrong is a finding.
pub fn audit(dir: &Path, check: &dyn Fn() -> Result<()>) -> Result<AuditReport> {
    let reader = ShardReader::open(dir)?;
    let manifest = reader.manifest();
    let config = replay::options(manifest).map_err(|error| error.at_path(dir))?;
    let expected = Expected::learn(dir, manifest, &config)?;
    let mut report = AuditReport {
        skipped: expected.skipped(),
        ..AuditReport::default()
    };
    let mut trained = vec![0; manifest.inputs.len()];
    for row in 0..reader.len() {
        if row.is_multiple_of(CHECK_ROWS) {
            check()?;
        }
        match (reader.row(row), reader.spans(row)) {
            (Ok(data), Ok(spans)) => {
                let names = &manifest.inputs;
                row::Row::new(row, data, spans, &expected, names).check(&mut report, &mut trained);
            }
            (Err(error), _) | (_, Err(error)) => report.add(Finding {
                check: Check::Spans,
                row: Some(row),
                document: None,
                source: String::new(),
                line: None,
                message: None,
                what: error.message,
            }),
        }
        report.rows += 1;
    }
    if may_cut(&config) {
        let what =
            "totals: this packing cuts documents, and the first token of a piece has no label";
        report.skipped.push(what.to_owned());
    } else {
        check_totals(manifest, &trained, &mut report);
    }
    report.ok = report.counts.is_empty();
    Ok(report)
}

/// Whether a document may end before its text does.
fn may_cut(config: &PackConfig) -> bool {
    matches!(config.pack.strategy, Strategy::BfdSplit | Strategy::Wrapped)
        || config.pack.overlong == Overlong::Truncate
}

fn check_totals(manifest: &Manifest, trained: &[u64], report: &mut AuditReport) {
    let totals = manifest.totals_by_source.iter().map(|it| it.trained);
    for ((input, wanted), found) in manifest.inputs.iter().zip(totals).zip(trained) {
        if wanted != *found {
            report.add(Finding {
                check: Check::Totals,
                row: None,
                document: None,
                source: input.name.clone(),
                line: None,
                message: None,
                what: format!("{found} tokens have a label, the ledger counted {wanted}"),
            });
        }
    }
}
