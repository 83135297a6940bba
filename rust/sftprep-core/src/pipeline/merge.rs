//! From the records of all tasks to the ledger, the lengths and the totals: what the plan phase
//! needs to know, in the order of the input, whoever did the tasks and when.

use std::collections::BTreeMap;

use super::MappedRows;
use super::budget::RejectBudget;
use super::control::Control;
use super::memory::Memory;
use super::work::{PartRecord, PlanRecord, PlannedInput, TaskFiles, TaskRecord, middle_of};
use crate::config::PackConfig;
use crate::error::{Code, Error, Result};
use crate::pack::Cuts;
use crate::shard::{
    LedgerRow, LedgerWriter, LoggedDocument, LoggedOutcome, Outcome, OutputDir, RowLogReader,
    SegmentReader,
};
use crate::source::{InputFile, Part, join_hashes};
use crate::types::SourceId;

/// Rows between two looks at whether the run was cancelled.
const CHECK_ROWS: u64 = 1 << 12;

/// Everything that is known about a run's tasks.
pub(super) struct Mapping<'a> {
    pub(super) config: &'a PackConfig,
    pub(super) files: &'a [InputFile],
    pub(super) tasks: &'a [Vec<Part>],
    pub(super) records: &'a [TaskRecord],
    pub(super) output: &'a OutputDir,
}

/// Writes the ledger and opens the segment, whose words may be `held` by a run of one task.
///
/// # Errors
/// `run.reject_rate`, `run.nothing_packed`, `source.empty`; `run.internal` if the ledger does not
/// balance; `output.*`; `run.cancelled`.
pub(super) fn merge(
    run: &Mapping<'_>,
    held: Option<Vec<u32>>,
    control: &Control,
) -> Result<MappedRows> {
    let names: Vec<String> = run.files.iter().map(|file| file.name.clone()).collect();
    let config = run.config;
    let excerpts = config.output.reject_excerpts;
    let mut ledger = LedgerWriter::create(&run.output.files(), &names, excerpts)?;
    let mut budget = RejectBudget::new(config.source.max_reject_rate);
    let mut cuts = Cuts::new(config.pack.strategy, config.pack.max_len);
    let mut segment = SegmentReader::default();
    let mut seen = 0;
    let memory = Memory::of(config);
    each_row(run, held, &mut segment, |segment, row| {
        if seen % CHECK_ROWS == 0 {
            control.check()?;
            memory.check_documents(segment.len())?;
        }
        seen += 1;
        let shown = || {
            let path = run.files[row.place.source as usize].path.display();
            format!("{path}:{}", row.place.line)
        };
        ledger.rows_read(row.place.source, 1)?;
        let outcome = match &row.outcome {
            LoggedOutcome::Packed { documents, cut } => {
                let first = segment.len() - documents.len();
                let trained = labelled_tokens(segment, first, documents, &mut cuts)?;
                Outcome::Packed {
                    tokens: documents.iter().map(|it| u64::from(it.tokens)).sum(),
                    trained,
                    documents: documents.len() as u32,
                    cut: *cut,
                }
            }
            LoggedOutcome::Rejected(reject) => Outcome::Rejected(reject),
            LoggedOutcome::Dropped(reject) => Outcome::Dropped(reject),
        };
        let reject = match outcome {
            Outcome::Rejected(reject) => Some(reject),
            _ => None,
        };
        budget.count(reject, shown)?;
        ledger.append(&LedgerRow {
            place: row.place,
            encoded: row.encoded,
            outcome,
            text: &row.text,
            text_bytes: row.text_bytes,
        })
    })?;
    judge(run, &ledger, &budget, &segment)?;
    let mut counts = super::rows::Counts::default();
    for (record, middle) in run.records.iter().zip(middles(run)) {
        counts.join(&record.counts, middle);
    }
    let plan = PlanRecord {
        ledger: ledger.finish()?,
        inputs: inputs(run),
        formats: formats(run),
        counts,
    };
    Ok(MappedRows { segment, plan })
}

/// The same from the record that an earlier process left of it.
///
/// # Errors
/// `output.io` if the logs are not what they were.
pub(super) fn reopen(run: &Mapping<'_>, plan: PlanRecord) -> Result<MappedRows> {
    let mut segment = SegmentReader::default();
    each_row(run, None, &mut segment, |_, _| Ok(()))?;
    Ok(MappedRows { segment, plan })
}

/// Goes through the logs of all tasks in order; when a row is handed over, its documents are part
/// of the segment and its line counts from the start of its input.
fn each_row(
    run: &Mapping<'_>,
    mut held: Option<Vec<u32>>,
    segment: &mut SegmentReader,
    mut take: impl FnMut(&mut SegmentReader, &crate::shard::LoggedRow) -> Result<()>,
) -> Result<()> {
    for (index, (record, middle)) in run.records.iter().zip(middles(run)).enumerate() {
        let files = TaskFiles::new(run.output, index);
        let source = middle.map(|(source, _)| source);
        let before = middle.map_or(0, |(_, before)| before);
        segment.begin_file(files.segment.clone(), source.unwrap_or(0), before);
        if let Some(words) = held.take() {
            segment.hold(words); // there is but one task
        }
        for row in RowLogReader::open(&files.log, record.rows)? {
            let mut row = row?;
            if Some(row.place.source) == source {
                row.place.line += before;
            }
            if let LoggedOutcome::Packed { documents, .. } = &row.outcome {
                for document in documents {
                    segment.push(document.tokens, document.spans);
                }
            }
            take(segment, &row)?;
        }
    }
    Ok(())
}

/// For each task that begins in the middle of an input: that input, and the lines before.
fn middles(run: &Mapping<'_>) -> Vec<Option<(SourceId, u64)>> {
    let mut lines: BTreeMap<SourceId, u64> = BTreeMap::new();
    let each = run.tasks.iter().zip(run.records).map(|(task, record)| {
        let source = middle_of(task).map(|(source, _)| source);
        let middle = source.map(|source| (source, lines.get(&source).copied().unwrap_or(0)));
        for part in &record.parts {
            *lines.entry(part.source).or_default() += part.lines;
        }
        middle
    });
    each.collect()
}

/// Tokens of a row's documents that get a label: the first token of a piece that the strategy will
/// cut off has none.
fn labelled_tokens(
    segment: &SegmentReader,
    first: usize,
    documents: &[LoggedDocument],
    cuts: &mut Cuts,
) -> Result<u64> {
    let mut trained = 0;
    for (index, document) in (first as u32..).zip(documents) {
        trained += u64::from(document.trained);
        for token in cuts.next(document.tokens) {
            if token > 0 && segment.is_trained(index, token)? {
                trained -= 1;
            }
        }
    }
    Ok(trained)
}

fn judge(
    run: &Mapping<'_>,
    ledger: &LedgerWriter,
    budget: &RejectBudget,
    segment: &SegmentReader,
) -> Result<()> {
    let all = ledger.totals().all();
    if all.rows == 0 {
        let paths: Vec<String> = run
            .files
            .iter()
            .map(|file| file.path.display().to_string())
            .collect();
        return Err(Error::new(Code::SourceEmpty, "the inputs hold no row")
            .at_path(paths.join(", "))
            .hint("check that the path is the one you meant"));
    }
    budget.judge()?;
    // whoever allows every row to be rejected gets the ledger of it, and no shard
    if segment.is_empty() && budget.max_rate() < 1.0 {
        let message = format!(
            "of {} rows, {} were rejected and {} dropped",
            all.rows,
            all.rows_rejected(),
            all.rows_dropped()
        );
        return Err(Error::new(Code::RunNothingPacked, message)
            .hint("see the reasons with --dry-run --reject-excerpts, or raise --max-len"));
    }
    Ok(())
}

/// The inputs; a row limit may leave some untouched, they are listed all the same, without a hash.
fn inputs(run: &Mapping<'_>) -> Vec<PlannedInput> {
    let input = |(source, file): (SourceId, &InputFile)| {
        let of_source = |part: &&PartRecord| part.source == source;
        let parts = run.records.iter().flat_map(|record| &record.parts);
        let read: Vec<&PartRecord> = parts.filter(of_source).collect();
        let planned = run
            .tasks
            .iter()
            .flatten()
            .filter(|part| part.source == source);
        let sizes: Vec<u64> = planned
            .filter_map(|part| part.range.as_ref().map(|range| range.end - range.start))
            .collect();
        let (bytes, blake3) = match (&read[..], &sizes[..]) {
            ([one], []) => (one.bytes, one.blake3.clone()),
            (_, [size, _, ..]) if read.len() == sizes.len() => {
                let value = |part: &&PartRecord| {
                    let hash = blake3::Hash::from_hex(part.blake3.as_ref()?).ok()?;
                    Some(*hash.as_bytes())
                };
                let values: Option<Vec<_>> = read.iter().map(value).collect();
                let hash = values.and_then(|values| join_hashes(&values, file.bytes, *size));
                (file.bytes, hash.map(|hash| hash.to_hex().to_string()))
            }
            _ => (file.bytes, None),
        };
        PlannedInput {
            name: file.name.clone(),
            path: file.path.clone(),
            bytes,
            blake3,
        }
    };
    (0..).zip(run.files).map(input).collect()
}

fn formats(run: &Mapping<'_>) -> Vec<(String, String)> {
    let format = |source: usize| {
        let mut told = run.records.iter().flat_map(|record| &record.formats);
        told.find(|format| format.source as usize == source)
            .map_or_else(
                || (String::new(), "no row".to_owned()),
                |format| (format.format.clone(), format.evidence.clone()),
            )
    };
    (0..run.files.len()).map(format).collect()
}
