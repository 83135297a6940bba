//! What a stage says of each row.

use crate::error::{Code, Reject};
use crate::types::RowPlace;

/// What becomes of a row.
#[derive(Debug, Clone)]
pub(super) enum Verdict {
    /// It stays.
    Kept,
    /// It stays although it could not be looked into.
    NotCompared(Box<Reject>),
    /// It is no row at all.
    Rejected(Box<Reject>),
    /// It goes because of another row.
    Dropped {
        /// Why.
        code: Code,
        /// In words.
        detail: String,
        /// The other row.
        partner: Partner,
        /// How alike the two are, 0 to 1.
        score: f64,
    },
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
        matches!(self, Self::Kept | Self::NotCompared(_))
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
#[derive(Debug)]
pub(super) struct Row {
    pub(super) place: RowPlace,
    pub(super) verdict: Verdict,
}
