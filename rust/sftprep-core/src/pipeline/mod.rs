//! The whole of a `pack` run: map, plan, write, commit. The only module that knows all others.
//!
//! - *map*: tasks, which follow from the sizes of the inputs alone, turn rows into labelled documents
//!   and log what became of each row, in input order whatever the number of threads;
//! - *plan*: the logs become the ledger, the lengths of all documents one global plan;
//! - *write*: whole shards are gathered from the segment, each by any thread;
//! - *commit*: hashes and counts go into the manifest, which is written last. No manifest, no
//!   dataset.
//!
//! Every phase leaves its results with a record of them in the work area: another process may do the
//! next, and a run that died goes on where it was.

mod boundary;
mod budget;
mod certify;
mod control;
mod facts;
mod history;
mod job;
mod map;
mod memory;
mod merge;
mod mix;
mod phases;
mod prepare;
mod prompt;
mod raw;
mod recipe;
mod repack;
mod report;
mod rewrite;
mod rows;
mod tasks;
mod windows;
mod work;
mod write;

pub use certify::{
    Certificate, ControlToken, Outcome, ShapeReport, TurnReport, certify, check_template,
    trial_samples,
};
pub use control::{Control, Progress, Stage};
pub use job::PackJob;
pub use mix::{Mix, mix};
pub use phases::{Phase, Share, run};
pub use prepare::{Failure, Prepared, Trace, Worker, WorkerState};
pub use prompt::Prompt;
pub use recipe::{CompiledTemplate, Recipe, Templates, compile, template_failure, tokenizer_of};
pub use repack::{Repack, repack};
pub use report::{PackReport, SourceReport};
pub use rows::row_parser;
pub use windows::{Rendered, Window};

use crate::config::PackConfig;
use crate::shard::SegmentReader;

/// What the map phase leaves behind.
pub(crate) struct MappedRows {
    /// The documents.
    pub(crate) segment: SegmentReader,
    /// The ledger, balanced, the inputs as they were read, and counts.
    plan: work::PlanRecord,
}

/// Worker threads: as many as asked for, or one per core.
fn threads(config: &PackConfig) -> usize {
    match config.output.threads {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        threads => threads as usize,
    }
}
