//! What a stage says of each row.

use crate::error::{Code, Error, Reject, Result};
use crate::types::RowPlace;

/// What becomes of a row.
#[derive(Debug, Clone)]
pub(super) enum Verdict {
    /// It stays.
    Kept,
    /// It stays, and there is something to say of it.
    Noted(Box<Note>),
    /// It stays although it could not be looked into.
    NotCompared(Box<Reject>),
    /// It is no row at all.
    Rejected(Box<Reject>),
    /// It goes.
    Dropped(Box<Note>),
}

/// What a stage says of a row.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Note {
    /// Why it goes, or what was done to it; every row that goes has one.
    pub(super) code: Option<Code>,
    /// In words.
    pub(super) detail: String,
    /// The other row, if it is because of one.
    pub(super) partner: Option<Partner>,
    /// The number that decided, such as how alike two rows are.
    pub(super) score: Option<f64>,
}

impl Verdict {
    /// The verdict on a row that has no sample.
    pub(super) fn of_reject(reject: Reject) -> Self {
        if reject.code.stage() == "row" {
            Self::Rejected(Box::new(reject))
        } else {
            Self::NotCompared(Box::new(reject))
        }
    }

    /// Whether the row is written.
    pub(super) fn stays(&self) -> bool {
        matches!(self, Self::Kept | Self::Noted(_) | Self::NotCompared(_))
    }

    /// What is said of the row.
    pub(super) fn note(&self) -> Option<&Note> {
        match self {
            Self::Noted(note) | Self::Dropped(note) => Some(note),
            _ => None,
        }
    }

    /// What is said of a row that goes.
    pub(super) fn dropped(&self) -> Option<&Note> {
        match self {
            Self::Dropped(note) => Some(note),
            _ => None,
        }
    }
}

/// Another row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Partner {
    /// Its number (from 1) in its own list of inputs.
    pub(super) row: u64,
    /// Index of its name among the names that the ledger knows.
    pub(super) source: u32,
    /// Its line there.
    pub(super) line: u64,
}

/// A row of the inputs.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) place: RowPlace,
    pub(super) verdict: Verdict,
    /// How often it is written if it stays.
    pub(super) times: u32,
    /// To which of the outputs.
    pub(super) part: u8,
}

impl Row {
    /// A row that goes once to the only output, if it stays.
    pub(super) fn new(place: RowPlace, verdict: Verdict) -> Self {
        Self {
            place,
            verdict,
            times: 1,
            part: 0,
        }
    }

    /// How often it is written.
    pub(super) fn written(&self) -> u32 {
        if self.verdict.stays() { self.times } else { 0 }
    }
}

/// Whether there are rows, and few enough bad ones.
pub(super) fn check_rows(rows: &[Row], max_reject_rate: f64) -> Result<()> {
    if rows.is_empty() {
        return Err(Error::new(Code::SourceEmpty, "the inputs hold no row")
            .hint("check that the path is the one you meant"));
    }
    let bad = |row: &&Row| matches!(row.verdict, Verdict::Rejected(_));
    let Some(first) = rows.iter().find(bad) else {
        return Ok(());
    };
    let count = rows.iter().filter(bad).count();
    if count as f64 <= max_reject_rate * rows.len() as f64 {
        return Ok(());
    }
    let Verdict::Rejected(reject) = &first.verdict else {
        return Ok(());
    };
    let message = format!(
        "{count} of {} rows are no JSON objects; the first is in line {}: {reject}",
        rows.len(),
        first.place.line
    );
    Err(Error::new(Code::RunRejectRate, message)
        .hint("mend the rows, or raise --max-reject-rate to leave them out"))
}
