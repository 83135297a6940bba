//! The map phase: chunks of rows go to worker threads and come back in their order.
//!
//! What comes out does not depend on the number of threads: a chunk is prepared by one worker,
//! and results are handed on by sequence number. A fixed number of permits bounds how many chunks
//! are under way, so one slow row cannot make the others pile up. Under a memory budget, a chunk
//! with a long row takes as many as its size is worth.

use std::collections::BTreeMap;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::control::Control;
use super::prepare::{Failure, Prepared, Worker};
use super::recipe::Recipe;
use super::tasks::TaskEnd;
use crate::error::{Code, Error, Reject, Result};
use crate::format::Parser;
use crate::json;
use crate::types::{Chunk, Record, RowPlace};

/// Rows that a run of one thread prepares before it hands them on: their memory is let go while it is
/// still in the caches, and the next rows get it again. (A chunk at a time took 3 % longer.)
const ROWS_AT_ONCE: usize = 8;

/// A chunk with the parser of its source, or the end of a task.
pub(super) struct Work {
    /// Task that the rows belong to.
    pub task: usize,
    /// The rows; their sequence numbers count over all tasks.
    pub chunk: Chunk,
    /// Understands them; none is needed where there are no rows.
    pub parser: Option<Arc<Parser>>,
    /// What is known about the task after its last chunk.
    pub end: Option<TaskEnd>,
    /// Permits that it holds.
    pub permits: usize,
}

/// A row after the map phase.
pub(super) struct MappedRow {
    /// Where it is from.
    pub place: RowPlace,
    /// What became of it: its samples, at least one.
    pub result: Result<Vec<Prepared>, Reject>,
    /// The row's JSON, if the caller wants excerpts of rejected rows.
    pub excerpt: Option<Vec<u8>>,
}

/// The rows of a chunk after the map phase, in order.
#[derive(Default)]
pub(super) struct Mapped {
    pub(super) sequence: u64,
    /// Task that they belong to.
    pub task: usize,
    /// What is known about the task after its last rows.
    pub end: Option<TaskEnd>,
    /// The rows.
    pub rows: Vec<MappedRow>,
    /// Keys that occurred twice in one object.
    pub duplicate_keys: u64,
    pub(super) permits: usize,
    pub(super) fatal: Option<Error>,
}

/// Feeds chunks from `next` through workers into `sink`, in order.
///
/// # Errors
/// The first error of `next`, `sink` or a worker, in row order; `run.cancelled`.
pub(super) fn map(
    recipe: &Recipe,
    threads: usize,
    control: &Control,
    mut next: impl FnMut() -> Result<Option<Work>> + Send,
    mut sink: impl FnMut(Mapped) -> Result<()>,
) -> Result<()> {
    if threads <= 1 {
        let mut worker = Worker::new(recipe);
        while let Some(mut work) = next()? {
            control.check()?;
            let mut end = work.end.take();
            let mut rows = work.chunk.rows.iter();
            let mut more = true;
            while more {
                let mut some = rows.by_ref().take(ROWS_AT_ONCE);
                let mut mapped = prepare_rows(&mut worker, &work, &mut some).finish()?;
                more = mapped.rows.len() == ROWS_AT_ONCE;
                if !more {
                    mapped.end = end.take();
                }
                sink(mapped)?;
            }
        }
        return Ok(());
    }
    let (permit_out, permits) = bounded::<()>(threads * 4);
    let (work_out, work_in) = bounded::<Work>(threads * 2);
    let (mapped_out, mapped_in) = bounded::<Mapped>(threads * 4);
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || read(&mut next, control, &permit_out, &work_out));
        for _ in 0..threads {
            let (work_in, mapped_out) = (work_in.clone(), mapped_out.clone());
            scope.spawn(move || {
                let mut worker = Worker::new(recipe);
                for work in work_in {
                    if mapped_out.send(prepare_chunk(&mut worker, work)).is_err() {
                        break;
                    }
                }
            });
        }
        drop((work_in, mapped_out));
        let collected = collect(mapped_in, &permits, control, &mut sink);
        // the reader may be waiting for a permit that nobody will give
        drop(permits);
        let read = reader
            .join()
            .unwrap_or_else(|_| Err(Error::new(Code::RunInternal, "the reader thread panicked")));
        collected.and(read)
    })
}

fn read(
    next: &mut impl FnMut() -> Result<Option<Work>>,
    control: &Control,
    permits: &Sender<()>,
    out: &Sender<Work>,
) -> Result<()> {
    while let Some(mut work) = next()? {
        control.check()?;
        // a chunk that needs more than there are gets all
        work.permits = work.permits.clamp(1, permits.capacity().unwrap_or(1));
        let permitted = (0..work.permits).all(|_| permits.send(()).is_ok());
        // a closed channel means that the other side failed, and knows why
        if !permitted || out.send(work).is_err() {
            break;
        }
    }
    Ok(())
}

fn collect(
    mapped: Receiver<Mapped>,
    permits: &Receiver<()>,
    control: &Control,
    sink: &mut impl FnMut(Mapped) -> Result<()>,
) -> Result<()> {
    let mut waiting: BTreeMap<u64, Mapped> = BTreeMap::new();
    let mut expected = 0;
    for done in mapped {
        control.check()?;
        waiting.insert(done.sequence, done);
        while let Some(done) = waiting.remove(&expected) {
            let held = done.permits;
            sink(done.finish()?)?;
            for _ in 0..held {
                let _ = permits.try_recv();
            }
            expected += 1;
        }
    }
    Ok(())
}

impl Mapped {
    fn finish(mut self) -> Result<Self> {
        self.fatal.take().map_or(Ok(self), Err)
    }
}

fn prepare_chunk(worker: &mut Worker<'_>, mut work: Work) -> Mapped {
    let end = work.end.take();
    let mapped = prepare_rows(worker, &work, &mut work.chunk.rows.iter());
    Mapped { end, ..mapped }
}

/// Prepares some rows of a chunk.
fn prepare_rows(
    worker: &mut Worker<'_>,
    work: &Work,
    rows: &mut dyn Iterator<Item = (RowPlace, Record<'_>)>,
) -> Mapped {
    let mut out = Mapped {
        sequence: work.chunk.sequence,
        task: work.task,
        permits: work.permits,
        ..Mapped::default()
    };
    let Some(parser) = &work.parser else {
        return out;
    };
    let duplicates_before = worker.notes.duplicate_keys;
    for (place, record) in rows {
        let result = match prepare_row(worker, parser, record) {
            Ok(mut prepared) => {
                prepared.iter_mut().for_each(Prepared::drop_text);
                Ok(prepared)
            }
            Err(Failure::Reject(reject)) => Err(reject),
            Err(Failure::Fatal(error)) => {
                out.fatal = Some(error);
                break;
            }
        };
        let excerpt = match (&result, record) {
            (Err(_), Record::Json(json)) if worker.keeps_excerpts() => Some(json.to_vec()),
            _ => None,
        };
        out.rows.push(MappedRow {
            place,
            result,
            excerpt,
        });
    }
    out.duplicate_keys = worker.notes.duplicate_keys - duplicates_before;
    out
}

/// Parses and prepares one row.
pub(super) fn prepare_row(
    worker: &mut Worker<'_>,
    parser: &Parser,
    record: Record<'_>,
) -> Result<Vec<Prepared>, Failure> {
    let notes = &mut worker.notes;
    let sample = match record {
        Record::Json(bytes) => parser.parse(json::parse(bytes, notes)?, notes)?,
        Record::Data(row) => parser.parse(row.clone(), notes)?,
        Record::Unreadable(reject) => return Err(reject.clone().into()),
    };
    worker.documents(&sample)
}
