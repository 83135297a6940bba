//! The end of the map phase: mapped rows into the segment and the log of their task.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;

use serde::{Deserialize, Serialize};

use super::budget::RejectBudget;
use super::control::Control;
use super::map::{Mapped, MappedRow};
use super::memory::Memory;
use super::prepare::Prepared;
use super::recipe::Recipe;
use super::tasks::TaskEnd;
use super::work::{TaskFiles, TaskRecord};
use crate::config::{Overlong, PackConfig, PackingConfig};
use crate::error::{Code, Error, Reject, Result};
use crate::faults;
use crate::format::{AlpacaInput, Format, FormatOptions, Parser};
use crate::label::truncate;
use crate::shard::{
    DocMeta, HELD_WORDS, LoggedDocument, LoggedOutcome, LoggedRow, OutputDir, RowLogReader,
    RowLogWriter, Sealed, SegmentWriter,
};
use crate::source::{InputFile, Part, lines_before};
use crate::types::{RowPlace, SourceId};

/// The parser for rows of a format under a recipe's options.
///
/// # Errors
/// `config.value` if a mapping names something that no format wants.
pub fn row_parser(recipe: &Recipe, format: Format) -> Result<Parser> {
    let source = &recipe.config.source;
    let alpaca = recipe
        .templates
        .as_ref()
        .is_ok_and(|t| t.builtin == Some("alpaca"));
    Parser::new(FormatOptions {
        map: source.map.clone(),
        roles: source.role.clone(),
        tree: source.tree.clone(),
        parts_raw: recipe.parts_raw(),
        alpaca_input: if alpaca {
            AlpacaInput::Field
        } else {
            AlpacaInput::Join
        },
        ..FormatOptions::new(format)
    })
}

/// Counts that are not part of the ledger.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// Object keys that occurred twice in one object; the last one won.
    pub duplicate_keys: u64,
    /// Rows whose text spelled a control token.
    pub control_text_rows: u64,
    /// Tokens that straddle the edge of a trained span, and are not trained.
    pub straddling_tokens: u64,
    /// Spans in the segment.
    pub spans: u64,
    /// Rows that became one sample per turn.
    pub expanded_rows: u64,
    /// Samples that they became.
    pub expanded_samples: u64,
    /// What became of the messages of trees.
    #[serde(default)]
    pub tree_messages: BTreeMap<String, u64>,
    /// Rows with a sample that became windows.
    pub window_rows: u64,
    /// Those windows.
    pub windows: u64,
    /// Tokens at their beginnings that an earlier window of the sample has too.
    pub repeated_tokens: u64,
    /// Trained turns of which the template left out a field, by field.
    pub dropped_fields: BTreeMap<String, u64>,
    /// Trained turns that the template ends without a stop token.
    pub turns_without_stop: u64,
    /// Trained turns by how their start was proven.
    pub turns_by_method: BTreeMap<String, u64>,
    /// Rows with a turn before which Hugging Face and inference have other ids.
    pub boundary_rows: u64,
    /// Those turns.
    pub boundary_turns: u64,
    /// The first of those rows.
    pub boundary_list: Vec<BoundaryPlace>,
}

/// Rows listed in the report; all are counted.
const MAX_LISTED: usize = 1000;

/// A row with a turn before which Hugging Face and inference have other ids.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct BoundaryPlace {
    /// Which input.
    pub source: SourceId,
    /// Line, counted as the task counts.
    pub line: u64,
    /// The messages.
    pub turns: Vec<u32>,
}

impl Counts {
    /// Adds what another task counted; rows of `middle` count their lines from one behind that many.
    pub(super) fn join(&mut self, other: &Self, middle: Option<(SourceId, u64)>) {
        self.boundary_rows += other.boundary_rows;
        self.boundary_turns += other.boundary_turns;
        for place in &other.boundary_list {
            if self.boundary_list.len() == MAX_LISTED {
                break;
            }
            let before = middle.filter(|(source, _)| *source == place.source);
            self.boundary_list.push(BoundaryPlace {
                line: place.line + before.map_or(0, |(_, lines)| lines),
                ..place.clone()
            });
        }
        self.duplicate_keys += other.duplicate_keys;
        self.control_text_rows += other.control_text_rows;
        self.straddling_tokens += other.straddling_tokens;
        self.spans += other.spans;
        self.expanded_rows += other.expanded_rows;
        self.expanded_samples += other.expanded_samples;
        self.window_rows += other.window_rows;
        self.windows += other.windows;
        self.repeated_tokens += other.repeated_tokens;
        self.turns_without_stop += other.turns_without_stop;
        for (mine, theirs) in [
            (&mut self.dropped_fields, &other.dropped_fields),
            (&mut self.turns_by_method, &other.turns_by_method),
            (&mut self.tree_messages, &other.tree_messages),
        ] {
            for (name, turns) in theirs {
                *mine.entry(name.clone()).or_default() += turns;
            }
        }
    }

    /// Counts a row's samples.
    fn add(&mut self, place: RowPlace, samples: &[Prepared]) {
        let leading = samples.iter().filter(|it| it.leads());
        let turns = leading.flat_map(|it| it.boundaries.iter().copied());
        let turns: Vec<u32> = turns.collect();
        if !turns.is_empty() {
            self.boundary_rows += 1;
            self.boundary_turns += turns.len() as u64;
            if self.boundary_list.len() < MAX_LISTED {
                self.boundary_list.push(BoundaryPlace {
                    source: place.source,
                    line: place.line,
                    turns,
                });
            }
        }
        self.control_text_rows += u64::from(samples.iter().any(|it| it.control_text));
        for (fate, messages) in samples.iter().filter_map(|it| it.tree.as_deref()).flatten() {
            *self.tree_messages.entry((*fate).to_owned()).or_default() += messages;
        }
        if samples.iter().any(|it| it.turn.is_some()) {
            let turn = |it: &Prepared| (it.thread, it.turn);
            let mut turns: Vec<(u32, Option<u32>)> = samples.iter().map(turn).collect();
            turns.dedup();
            self.expanded_rows += 1;
            self.expanded_samples += turns.len() as u64;
        }
        let windows = || samples.iter().filter_map(|it| it.window.as_deref());
        let windows = || windows().filter(|window| window.failed.is_none());
        self.window_rows += u64::from(windows().next().is_some());
        self.windows += windows().count() as u64;
        self.repeated_tokens += windows().map(|it| u64::from(it.repeated)).sum::<u64>();
        for sample in samples.iter().filter(|it| it.leads()) {
            self.turns_without_stop += u64::from(sample.without_stop);
            for field in &sample.dropped {
                *self.dropped_fields.entry(field.clone()).or_default() += 1;
            }
            for (_, method) in &sample.methods {
                if let Some(turns) = self.turns_by_method.get_mut(*method) {
                    *turns += 1;
                } else {
                    self.turns_by_method.insert((*method).to_owned(), 1);
                }
            }
        }
    }
}

/// Takes mapped rows in input order, task by task.
pub(super) struct RowSink<'a> {
    packing: PackingConfig,
    files: &'a [InputFile],
    tasks: &'a [Vec<Part>],
    output: &'a OutputDir,
    control: &'a Control,
    /// Ends a run of all tasks early; without all of them nobody can judge before the plan phase.
    budget: Option<RejectBudget>,
    open: Option<OpenTask>,
    /// Whether the segment may stay in memory, and what stayed there.
    holds: bool,
    memory: Memory,
    held: Option<Vec<u32>>,
}

/// A task whose rows are coming in.
struct OpenTask {
    task: usize,
    files: TaskFiles,
    segment: SegmentWriter,
    log: RowLogWriter,
    counts: Counts,
}

impl OpenTask {
    /// Appends a document to the segment.
    fn append(&mut self, sample: &Prepared, meta: DocMeta) -> Result<LoggedDocument> {
        let example = &sample.example;
        self.segment.append(example, meta)?;
        self.counts.spans += example.spans.len() as u64;
        self.counts.straddling_tokens +=
            example.spans.iter().filter(|span| span.straddles).count() as u64;
        Ok(LoggedDocument {
            tokens: example.input_ids.len() as u32,
            spans: example.spans.len() as u32,
            trained: example.trained_tokens(),
        })
    }
}

impl<'a> RowSink<'a> {
    pub(super) fn new(
        config: &PackConfig,
        files: &'a [InputFile],
        tasks: &'a [Vec<Part>],
        control: &'a Control,
        output: &'a OutputDir,
        judges: bool,
    ) -> Self {
        Self {
            packing: config.pack.clone(),
            files,
            tasks,
            output,
            control,
            budget: judges.then(|| RejectBudget::new(config.source.max_reject_rate)),
            open: None,
            holds: false,
            memory: Memory::of(config),
            held: None,
        }
    }

    /// Keeps the segment of the only task in memory if it is short: this process goes on with it.
    pub(super) fn hold(&mut self) {
        self.holds = true;
    }

    /// The segment that was held.
    pub(super) fn into_held(self) -> Option<Vec<u32>> {
        self.held
    }

    /// Counts the rows of a task that an earlier process did.
    pub(super) fn done_before(&mut self, files: &TaskFiles, record: &TaskRecord) -> Result<()> {
        for row in RowLogReader::open(&files.log, record.rows)? {
            let LoggedRow {
                place,
                encoded,
                outcome,
                ..
            } = row?;
            self.control.rows.fetch_add(1, Relaxed);
            self.control.tokens.fetch_add(encoded, Relaxed);
            match &outcome {
                LoggedOutcome::Packed { documents, .. } => {
                    let trained = documents.iter().map(|it| u64::from(it.trained)).sum();
                    self.control.trained_tokens.fetch_add(trained, Relaxed);
                }
                LoggedOutcome::Dropped(_) => {
                    self.control.dropped.fetch_add(1, Relaxed);
                }
                LoggedOutcome::Rejected(_) => {
                    self.control.rejected.fetch_add(1, Relaxed);
                }
            }
            self.judge(place, &outcome)?;
        }
        Ok(())
    }

    /// Writes the rows of a chunk.
    pub(super) fn take(&mut self, mapped: Mapped) -> Result<()> {
        if self
            .open
            .as_ref()
            .is_none_or(|open| open.task != mapped.task)
        {
            let files = TaskFiles::new(self.output, mapped.task);
            self.open = Some(OpenTask {
                task: mapped.task,
                segment: if self.holds {
                    SegmentWriter::held(&files.segment, self.memory.held_words(HELD_WORDS))
                } else {
                    SegmentWriter::create(&files.segment)?
                },
                log: RowLogWriter::create(&files.log)?,
                files,
                counts: Counts::default(),
            });
        }
        if let Some(open) = &mut self.open {
            open.counts.duplicate_keys += mapped.duplicate_keys;
        }
        for row in mapped.rows {
            self.row(row)?;
        }
        mapped.end.map_or(Ok(()), |end| self.end(end))
    }

    /// Takes a row whose fate was decided before.
    pub(super) fn past_row(
        &mut self,
        place: RowPlace,
        encoded: u64,
        outcome: &LoggedOutcome,
    ) -> Result<()> {
        self.control.rows.fetch_add(1, Relaxed);
        self.judge(place, outcome)?;
        match &mut self.open {
            Some(open) => open.log.append(place, encoded, outcome, b""),
            None => Err(Error::new(Code::RunInternal, "a row outside of a task")),
        }
    }

    /// Ends a task.
    fn end(&mut self, end: TaskEnd) -> Result<()> {
        let Some(open) = self.open.take() else {
            return Err(Error::new(
                Code::RunInternal,
                "a task ended that was not begun",
            ));
        };
        let segment = match open.segment.seal()? {
            Sealed::File(digest) => Some(digest.into()),
            Sealed::Held(words) => {
                self.held = Some(words);
                None
            }
        };
        let record = TaskRecord {
            rows: open.log.rows(),
            counts: open.counts,
            segment,
            log: open.log.seal()?.into(),
            parts: end.parts,
            formats: end.formats,
        };
        open.files.finish(&record)?;
        faults::point("task.done");
        Ok(())
    }

    fn row(&mut self, row: MappedRow) -> Result<()> {
        let MappedRow {
            place,
            result,
            excerpt,
        } = row;
        let text = excerpt.as_deref().unwrap_or_default();
        self.control.rows.fetch_add(1, Relaxed);
        let (encoded, outcome) = match result {
            // nothing is wrong with such a row: rules of the run leave it out
            Err(reject) if reject.code == Code::FormatNoThread => {
                self.control.dropped.fetch_add(1, Relaxed);
                (0, LoggedOutcome::Dropped(reject))
            }
            Err(reject) => {
                self.control.rejected.fetch_add(1, Relaxed);
                (0, LoggedOutcome::Rejected(reject))
            }
            Ok(samples) => self.pack(place, samples)?,
        };
        self.judge(place, &outcome)?;
        match &mut self.open {
            Some(open) => open.log.append(place, encoded, &outcome, text),
            None => Ok(()), // `take` opens the task first
        }
    }

    /// Puts the documents of a row into the segment, or says why not.
    fn pack(&mut self, place: RowPlace, samples: Vec<Prepared>) -> Result<(u64, LoggedOutcome)> {
        let length = |sample: &Prepared| sample.example.input_ids.len() as u64;
        let windows = || samples.iter().filter_map(|it| it.window.as_deref());
        let cut: u64 = windows().map(|window| window.cut).sum();
        let cuts = windows().next().is_some();
        let encoded = cut + samples.iter().map(length).sum::<u64>();
        self.control.tokens.fetch_add(encoded, Relaxed);
        let Some(open) = &mut self.open else {
            return Err(Error::new(Code::RunInternal, "a row outside of a task"));
        };
        open.counts.add(place, &samples);
        let (mut tokens, mut documents) = (0, Vec::with_capacity(samples.len()));
        let mut too_long = None;
        for (part, sample) in (0..).zip(samples) {
            match fit(&self.packing, sample) {
                Fitted::Whole(sample) => {
                    tokens += length(&sample);
                    let document = open.append(&sample, DocMeta { place, part })?;
                    let trained = u64::from(document.trained);
                    self.control.trained_tokens.fetch_add(trained, Relaxed);
                    documents.push(document);
                }
                Fitted::Left(reject) if self.packing.overlong == Overlong::Error => {
                    return Err(Error::new(Code::PackOverlong, reject.detail)
                        .at_path(&self.files[place.source as usize].path)
                        .at_line(self.line_of(place))
                        .hint("raise --max-len, or choose another --overlong"));
                }
                Fitted::Left(reject) => too_long = Some(reject),
            }
        }
        let cuts = cuts || tokens < encoded;
        let cut = cuts.then_some((Code::PackOverlong, encoded - tokens));
        let outcome = match too_long {
            Some(reject) if documents.is_empty() => {
                self.control.dropped.fetch_add(1, Relaxed);
                LoggedOutcome::Dropped(reject)
            }
            _ => LoggedOutcome::Packed { documents, cut },
        };
        Ok((encoded, outcome))
    }

    fn judge(&mut self, place: RowPlace, outcome: &LoggedOutcome) -> Result<()> {
        let (files, tasks) = (self.files, self.tasks);
        let shown = || {
            let line = line_of(files, tasks, place);
            format!("{}:{line}", files[place.source as usize].path.display())
        };
        let Some(budget) = &mut self.budget else {
            return Ok(());
        };
        match outcome {
            LoggedOutcome::Rejected(reject) => budget.count(Some(reject), shown),
            _ => budget.count(None, shown),
        }
    }

    fn line_of(&self, place: RowPlace) -> u64 {
        line_of(self.files, self.tasks, place)
    }
}

/// The line of a row in its file, for a message: its place counts from the start of a part.
fn line_of(files: &[InputFile], tasks: &[Vec<Part>], place: RowPlace) -> u64 {
    let holds = |part: &&Part| {
        let range = part.range.as_ref();
        part.source == place.source && range.is_some_and(|range| range.contains(&place.offset))
    };
    let from_middle = match tasks.iter().flatten().find(holds) {
        Some(Part { range, .. }) => range.as_ref().is_some_and(|range| range.start > 0),
        None => false,
    };
    if !from_middle {
        return place.line;
    }
    // without the file only the message is the poorer for it
    let before = lines_before(&files[place.source as usize], place.offset);
    before.map_or(place.line, |lines| lines + 1)
}

enum Fitted {
    Whole(Prepared),
    Left(Reject),
}

/// Applies the policy for documents longer than a sequence.
fn fit(packing: &PackingConfig, mut prepared: Prepared) -> Fitted {
    let max_len = packing.max_len;
    let tokens = prepared.example.input_ids.len();
    if tokens <= max_len as usize || packing.splits() {
        return Fitted::Whole(prepared);
    }
    let mut too_long = format!("{tokens} tokens, more than max_len {max_len}");
    if let Some(failed) = prepared.window.as_deref().and_then(|it| it.failed.as_ref()) {
        too_long = format!("{too_long}, and no window could be made: {failed}");
        return Fitted::Left(Reject::new(Code::PackOverlong, too_long));
    }
    if packing.overlong != Overlong::Truncate {
        return Fitted::Left(Reject::new(Code::PackOverlong, too_long));
    }
    truncate(&mut prepared.example, max_len);
    if prepared.example.trained_tokens() == 0 {
        let detail = format!("{too_long}, and no whole trained turn is left after truncation");
        return Fitted::Left(Reject::new(Code::PackOverlong, detail));
    }
    Fitted::Whole(prepared)
}
