//! Reads inputs from beginning to end, with the rows of a chunk looked at in parallel.

use std::sync::{Arc, Mutex};

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use sftprep_template::Data;

use crate::config::SourceConfig;
use crate::error::{Code, Error, Reject, Result};
use crate::format::{AlpacaInput, Format, FormatOptions, Parser, detect};
use crate::json::{self, JsonNotes};
use crate::source::{InputDigest, InputFile, ReadOptions, Reader, resolve};
use crate::types::{Chunk, Record, RowPlace, Sample};

/// Rows looked at to detect a format, as in a run of `pack`.
const DETECT_ROWS: usize = 100;
/// Bytes of a chunk; large, because its rows are spread over threads.
const CHUNK_BYTES: u64 = 8 << 20;
/// Rows that a thread takes at once.
const TAKEN_ROWS: usize = 64;

/// Called between chunks; an error ends the work.
pub(super) type Check<'c> = &'c dyn Fn() -> Result<()>;

/// A row that is being looked at.
pub(super) struct Visited {
    /// Its number (from 0) over all inputs.
    pub(super) number: u64,
    /// The class that it names.
    pub(super) class: Option<String>,
}

/// What reads a row's format.
pub(super) struct Reading<'a> {
    pub(super) parser: &'a Parser,
    pub(super) notes: &'a mut JsonNotes,
    /// The row as it stands in its file.
    pub(super) record: Record<'a>,
}

/// Inputs that can be read again and again.
pub(super) struct Inputs {
    pub(super) files: Vec<InputFile>,
    options: ReadOptions,
    config: SourceConfig,
    pool: ThreadPool,
    /// How content lists and alpaca inputs reach a sample.
    shape: (bool, AlpacaInput),
    /// A column that says which class a row is of.
    class: Option<String>,
    /// Per input: its parser, once its first row was seen, and why its format was chosen.
    formats: Vec<Option<(Arc<Parser>, String)>>,
    /// What was read the first time.
    digests: Option<Vec<InputDigest>>,
}

impl Inputs {
    /// The inputs of a stage; nothing is read yet.
    ///
    /// # Errors
    /// Everything about paths; `config.value` for standard input, which cannot be read twice.
    pub(super) fn open(config: &SourceConfig, threads: usize) -> Result<Self> {
        let files = resolve(&config.inputs)?;
        if files.iter().any(InputFile::is_stdin) {
            let message = "standard input (-) cannot be read twice, and inputs are: once to \
                           decide, once to write";
            return Err(Error::new(Code::ConfigValue, message)
                .at_field("source.inputs")
                .hint("write it to a file first, and give that"));
        }
        let pool = ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .map_err(|error| Error::new(Code::RunInternal, error.to_string()))?;
        Ok(Self {
            formats: files.iter().map(|_| None).collect(),
            files,
            options: ReadOptions {
                max_line_bytes: config.max_line_bytes,
                chunk_bytes: CHUNK_BYTES,
                limit: config.limit,
            },
            config: config.clone(),
            pool,
            shape: (false, AlpacaInput::Join),
            class: None,
            digests: None,
        })
    }

    /// Reads rows in the shape that a chat template wants.
    pub(super) fn shape(&mut self, parts_raw: bool, alpaca_input: AlpacaInput) {
        self.shape = (parts_raw, alpaca_input);
    }

    /// Hands the value of a column to those who visit rows.
    pub(super) fn class(&mut self, column: Option<String>) {
        self.class = column;
    }

    /// Reads all rows: `map` is called for each, on any thread, with its sample or what is wrong
    /// with it; `sink` then gets its result, in order.
    ///
    /// # Errors
    /// `source.*`, `format.unknown`, those of `check` and `sink`; `source.changed` if an input is
    /// not what it was the first time.
    pub(super) fn samples<S: Default + Send, T: Send>(
        &mut self,
        check: Check<'_>,
        map: impl Fn(&mut S, Result<Sample, Reject>) -> T + Sync,
        sink: impl FnMut(RowPlace, T) -> Result<()>,
    ) -> Result<()> {
        self.visit(
            check,
            S::default,
            |state, _: Visited, sample| map(state, sample),
            sink,
        )
    }

    /// The same with states that `init` makes, one per thread, kept from chunk to chunk; `map` also
    /// gets the number of the row and the value of the column that [`class`](Self::class) named.
    ///
    /// # Errors
    /// As [`samples`](Self::samples).
    pub(super) fn visit<S: Send, T: Send>(
        &mut self,
        check: Check<'_>,
        init: impl Fn() -> S + Sync,
        map: impl Fn(&mut S, Visited, Result<Sample, Reject>) -> T + Sync,
        sink: impl FnMut(RowPlace, T) -> Result<()>,
    ) -> Result<()> {
        let column = self.class.clone();
        let each = |state: &mut S, number, row: Result<Data, Reject>, read: &mut Reading<'_>| {
            let named = column.as_ref().zip(row.as_ref().ok());
            let class = named.and_then(|(column, row)| value_of(row, column));
            let sample = row.and_then(|row| read.parser.parse(row, read.notes));
            map(state, Visited { number, class }, sample)
        };
        self.rows(check, init, each, sink)
    }

    /// Reads all rows as values, before they are fitted to their format: `map` is called for each,
    /// on any thread, with its number and what reads its format; `sink` gets its result, in order.
    ///
    /// # Errors
    /// As [`samples`](Self::samples).
    pub(super) fn rows<S: Send, T: Send>(
        &mut self,
        check: Check<'_>,
        init: impl Fn() -> S + Sync,
        map: impl Fn(&mut S, u64, Result<Data, Reject>, &mut Reading<'_>) -> T + Sync,
        mut sink: impl FnMut(RowPlace, T) -> Result<()>,
    ) -> Result<()> {
        let mut reader = Reader::new(self.files.clone(), self.options.clone());
        let states: Mutex<Vec<(JsonNotes, S)>> = Mutex::new(Vec::new());
        let mut before = 0;
        while let Some(chunk) = reader.next_chunk()? {
            check()?;
            let rows: Vec<(RowPlace, Record<'_>)> = chunk.rows.iter().collect();
            let Some((first, _)) = rows.first() else {
                continue;
            };
            let parser = self.parser(first.source as usize, &chunk)?;
            let each = |(part, taken): (usize, &[(RowPlace, Record<'_>)])| -> Vec<T> {
                let mut number = before + (part * TAKEN_ROWS) as u64;
                let free = states.lock().ok().and_then(|mut states| states.pop());
                let (mut notes, mut state) = free.unwrap_or_else(|| (JsonNotes::default(), init()));
                let one = |(_, record): &(RowPlace, Record<'_>)| {
                    let row = read(*record, &mut notes);
                    let mut reading = Reading {
                        parser: &parser,
                        notes: &mut notes,
                        record: *record,
                    };
                    let result = map(&mut state, number, row, &mut reading);
                    number += 1;
                    result
                };
                let done = taken.iter().map(one).collect();
                if let Ok(mut states) = states.lock() {
                    states.push((notes, state));
                }
                done
            };
            let done: Vec<Vec<T>> = self
                .pool
                .install(|| rows.par_chunks(TAKEN_ROWS).enumerate().map(each).collect());
            for ((place, _), result) in rows.iter().zip(done.into_iter().flatten()) {
                sink(*place, result)?;
            }
            before += rows.len() as u64;
        }
        self.settle(&reader)
    }

    /// Reads all rows once more as they stand in their files.
    ///
    /// # Errors
    /// As [`samples`](Self::samples).
    pub(super) fn records(
        &mut self,
        check: Check<'_>,
        mut sink: impl FnMut(RowPlace, Record<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut reader = Reader::new(self.files.clone(), self.options.clone());
        while let Some(chunk) = reader.next_chunk()? {
            check()?;
            for (place, record) in chunk.rows.iter() {
                sink(place, record)?;
            }
        }
        self.settle(&reader)
    }

    /// The sample of a row of an input that was read before.
    pub(super) fn sample(&self, source: usize, record: Record<'_>) -> Option<Sample> {
        let (parser, _) = self.formats.get(source)?.as_ref()?;
        let mut notes = JsonNotes::default();
        let row = read(record, &mut notes).ok()?;
        parser.parse(row, &mut notes).ok()
    }

    /// Name and evidence of the format of an input.
    pub(super) fn format(&self, source: usize) -> (&'static str, &str) {
        match &self.formats[source] {
            Some((parser, evidence)) => (parser.options().format.name(), evidence),
            None => ("empty", "no row"),
        }
    }

    fn parser(&mut self, source: usize, chunk: &Chunk) -> Result<Arc<Parser>> {
        if let Some((parser, _)) = &self.formats[source] {
            return Ok(Arc::clone(parser));
        }
        let (format, evidence) = if let Some(format) = Format::chosen(self.config.format) {
            (format, "chosen with --format".to_owned())
        } else {
            let mut notes = JsonNotes::default();
            let rows = chunk.rows.iter().take(DETECT_ROWS);
            let rows: Vec<Data> = rows
                .filter_map(|(_, record)| read(record, &mut notes).ok())
                .collect();
            if rows.is_empty() {
                (Format::Messages, "no readable row".to_owned())
            } else {
                let found = detect(&rows, &self.config.map)
                    .map_err(|error| error.at_path(&self.files[source].path))?;
                (found.format, found.evidence)
            }
        };
        let parser = Arc::new(Parser::new(FormatOptions {
            map: self.config.map.clone(),
            roles: self.config.role.clone(),
            tree: self.config.tree.clone(),
            parts_raw: self.shape.0,
            alpaca_input: self.shape.1,
            ..FormatOptions::new(format)
        })?);
        self.formats[source] = Some((Arc::clone(&parser), evidence));
        Ok(parser)
    }

    /// Compares what was read with what was read the first time.
    fn settle(&mut self, reader: &Reader) -> Result<()> {
        let read = reader.finished().to_vec();
        let Some(first) = &self.digests else {
            self.digests = Some(read);
            return Ok(());
        };
        let changed = first.iter().zip(&read).find(|(a, b)| a != b);
        match changed {
            Some((digest, _)) => Err(changed_input(&digest.path)),
            None if first.len() != read.len() => Err(changed_input(&self.files[0].path)),
            None => Ok(()),
        }
    }
}

/// A short value of a column as text.
fn value_of(row: &Data, column: &str) -> Option<String> {
    Some(match row.as_map()?.get(column)? {
        Data::Str(text) => text.chars().take(60).collect(),
        Data::Bool(flag) => flag.to_string(),
        Data::Int(number) => number.to_string(),
        _ => return None,
    })
}

/// An input is not what it was.
pub(super) fn changed_input(path: &std::path::Path) -> Error {
    let message = "the input changed between the first reading and the second";
    Error::new(Code::SourceChanged, message)
        .at_path(path)
        .hint("let the writer finish, then run again")
}

/// The value of a row.
pub(super) fn read(record: Record<'_>, notes: &mut JsonNotes) -> Result<Data, Reject> {
    match record {
        Record::Json(bytes) => json::parse(bytes, notes),
        Record::Data(row) => Ok(row.clone()),
        Record::Unreadable(reject) => Err(reject.clone()),
    }
}
