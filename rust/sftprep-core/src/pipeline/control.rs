//! What the pipeline tells others while it runs, and how they stop it.

use std::sync::atomic::{
    AtomicBool, AtomicU8, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};

use serde::Serialize;

use crate::error::{Code, Error, Result};

/// The three phases of a run, and its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Opening inputs, loading the tokenizer.
    #[default]
    Start,
    /// Rows become examples.
    Map,
    /// Lengths become a plan.
    Plan,
    /// Examples are gathered into shards.
    Write,
    /// Finished.
    Done,
}

impl Stage {
    const ALL: [Self; 5] = [Self::Start, Self::Map, Self::Plan, Self::Write, Self::Done];
}

/// A snapshot of how far a run is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// Phase.
    pub stage: Stage,
    /// Rows read.
    pub rows: u64,
    /// Rows rejected.
    pub rejected: u64,
    /// Rows dropped.
    pub dropped: u64,
    /// Tokens encoded.
    pub tokens: u64,
    /// Tokens that are trained.
    pub trained_tokens: u64,
    /// Packed sequences written.
    pub sequences: u64,
    /// Bytes of input read.
    pub bytes_read: u64,
    /// Bytes of input in all (0 if not known).
    pub bytes_total: u64,
    /// Bytes written.
    pub bytes_written: u64,
}

/// Counters and the stop flag of a run, shared by its threads and its caller.
#[derive(Debug, Default)]
pub struct Control {
    cancelled: AtomicBool,
    stage: AtomicU8,
    /// Rows read.
    pub rows: AtomicU64,
    /// Rows rejected.
    pub rejected: AtomicU64,
    /// Rows dropped.
    pub dropped: AtomicU64,
    /// Tokens encoded.
    pub tokens: AtomicU64,
    /// Tokens that are trained.
    pub trained_tokens: AtomicU64,
    /// Packed sequences written.
    pub sequences: AtomicU64,
    /// Bytes of input read.
    pub bytes_read: AtomicU64,
    /// Bytes of input in all.
    pub bytes_total: AtomicU64,
    /// Bytes written.
    pub bytes_written: AtomicU64,
}

impl Control {
    /// Asks the run to stop; it does so before its next chunk or batch.
    pub fn cancel(&self) {
        self.cancelled.store(true, SeqCst);
    }

    /// Whether the run was asked to stop while it only loaded: it has written nothing then, and
    /// will write nothing, so nobody needs to wait for it.
    ///
    /// A run leaves [`Stage::Start`] first and looks for the request afterwards; the caller asks
    /// first and looks at the stage afterwards. In the one order of these four steps that all
    /// threads see, one of the two notices the other.
    pub fn abandoned(&self) -> bool {
        self.cancelled.load(SeqCst) && self.stage.load(SeqCst) == Stage::Start as u8
    }

    /// An error if the run was asked to stop.
    ///
    /// # Errors
    /// `run.cancelled`.
    pub fn check(&self) -> Result<()> {
        if self.cancelled.load(SeqCst) {
            return Err(Error::new(Code::RunCancelled, "the run was interrupted"));
        }
        Ok(())
    }

    /// Enters a phase.
    pub fn enter(&self, stage: Stage) {
        self.stage.store(stage as u8, SeqCst);
    }

    /// The counters now.
    pub fn snapshot(&self) -> Progress {
        Progress {
            stage: Stage::ALL[usize::from(self.stage.load(Relaxed))],
            rows: self.rows.load(Relaxed),
            rejected: self.rejected.load(Relaxed),
            dropped: self.dropped.load(Relaxed),
            tokens: self.tokens.load(Relaxed),
            trained_tokens: self.trained_tokens.load(Relaxed),
            sequences: self.sequences.load(Relaxed),
            bytes_read: self.bytes_read.load(Relaxed),
            bytes_total: self.bytes_total.load(Relaxed),
            bytes_written: self.bytes_written.load(Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_only_loads_is_abandoned() {
        let control = Control::default();
        assert!(!control.abandoned(), "nobody asked it to stop");
        control.cancel();
        assert!(control.abandoned());
        control.enter(Stage::Map);
        assert!(!control.abandoned(), "it may have written something");
        assert!(control.check().is_err());
    }
}
