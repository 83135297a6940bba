//! The beginning of the map phase: the rows of task after task, each chunk with the parser of its
//! source.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::control::Control;
use super::map::Work;
use super::memory::Memory;
use super::recipe::Recipe;
use super::rows::row_parser;
use super::work::{PartRecord, SourceFormat};
use crate::error::Result;
use crate::format::{Format, Parser, detect};
use crate::json::{self, JsonNotes};
use crate::source::{InputFile, Part, ReadOptions, Reader};
use crate::types::{Chunk, Record, Rows, SourceId};

/// Rows looked at to detect a format.
const DETECT_ROWS: usize = 100;

/// Bytes of text in a chunk: small enough that few rows wait for a slow one, large enough that
/// handing chunks over costs nothing.
const CHUNK_BYTES: u64 = 256 << 10;

/// What is known about a task when all its rows were read.
pub(super) struct TaskEnd {
    /// What was read of its inputs.
    pub parts: Vec<PartRecord>,
    /// Formats of those that had rows.
    pub formats: Vec<SourceFormat>,
}

/// Reads tasks one after the other.
pub(super) struct TaskSource<'r> {
    recipe: &'r Recipe,
    control: &'r Control,
    files: &'r [InputFile],
    tasks: &'r [Vec<Part>],
    /// Tasks that are left, the next one last.
    left: Vec<usize>,
    open: Option<(usize, Reader)>,
    sequence: u64,
    /// Rows that may still be read, if there is a limit.
    rows_left: Option<u64>,
    bytes_read: u64,
    parsers: BTreeMap<SourceId, Arc<Parser>>,
    formats: Vec<SourceFormat>,
}

impl<'r> TaskSource<'r> {
    /// The rows of the tasks `wanted`, in this order; `rows_done` were read in tasks before.
    pub(super) fn new(
        recipe: &'r Recipe,
        control: &'r Control,
        files: &'r [InputFile],
        tasks: &'r [Vec<Part>],
        wanted: &[usize],
        rows_done: u64,
    ) -> Self {
        let limit = recipe.config.source.limit;
        Self {
            recipe,
            control,
            files,
            tasks,
            left: wanted.iter().rev().copied().collect(),
            open: None,
            sequence: 0,
            rows_left: (limit > 0).then(|| limit.saturating_sub(rows_done)),
            bytes_read: control.bytes_read.load(Relaxed),
            parsers: BTreeMap::new(),
            formats: Vec::new(),
        }
    }

    /// The next chunk or end of a task; none after the last.
    pub(super) fn next(&mut self) -> Result<Option<Work>> {
        let (task, mut reader) = match self.open.take() {
            Some(open) => open,
            None => match self.left.pop() {
                Some(task) => (task, self.reader(task)),
                None => return Ok(None),
            },
        };
        let chunk = reader.next_chunk()?;
        let read = self.bytes_read + reader.bytes_read();
        self.control.bytes_read.store(read, Relaxed);
        let Some(chunk) = chunk else {
            self.bytes_read = read;
            let parts = reader.finished().iter().map(PartRecord::from).collect();
            let end = TaskEnd {
                parts,
                formats: std::mem::take(&mut self.formats),
            };
            return Ok(Some(self.work(task, Rows::default(), None, Some(end))));
        };
        if let Some(left) = &mut self.rows_left {
            *left = left.saturating_sub(chunk.rows.len() as u64);
        }
        let source = chunk.rows.iter().next().map(|(place, _)| place.source);
        let parser = match source {
            Some(source) => Some(self.parser(task, source, &chunk)?),
            None => None, // nothing but blank lines so far
        };
        self.open = Some((task, reader));
        Ok(Some(self.work(task, chunk.rows, parser, None)))
    }

    fn work(
        &mut self,
        task: usize,
        rows: Rows,
        parser: Option<Arc<Parser>>,
        end: Option<TaskEnd>,
    ) -> Work {
        let sequence = self.sequence;
        self.sequence += 1;
        let permits = if Memory::of(&self.recipe.config).is_limited() {
            1 + (rows.bytes() as u64 / CHUNK_BYTES) as usize
        } else {
            1
        };
        Work {
            task,
            chunk: Chunk { sequence, rows },
            parser,
            end,
            permits,
        }
    }

    fn reader(&self, task: usize) -> Reader {
        let options = ReadOptions {
            max_line_bytes: self.recipe.config.source.max_line_bytes,
            chunk_bytes: CHUNK_BYTES,
            limit: self.rows_left.unwrap_or(0),
        };
        let parts = match self.rows_left {
            Some(0) => Vec::new(), // a limit of 0 would mean none
            _ => self.tasks[task].clone(),
        };
        let mut reader = Reader::of_parts(self.files.to_vec(), parts, options);
        reader.limit_batches(Memory::of(&self.recipe.config).batch_bytes());
        reader
    }

    fn parser(&mut self, task: usize, source: SourceId, chunk: &Chunk) -> Result<Arc<Parser>> {
        let told = self.formats.iter().any(|format| format.source == source);
        if let (true, Some(parser)) = (told, self.parsers.get(&source)) {
            return Ok(Arc::clone(parser));
        }
        let cut = |part: &Part| part.source == source && part.range.is_some();
        // every task of an input that is cut has to see the same rows
        let first = if self.tasks[task].iter().any(cut) {
            self.first_chunk(source)?
        } else {
            None
        };
        let (format, evidence) = self.format(source, first.as_ref().unwrap_or(chunk))?;
        self.formats.push(SourceFormat {
            source,
            format: format.name().to_owned(),
            evidence,
        });
        let parser = Arc::new(row_parser(self.recipe, format)?);
        self.parsers.insert(source, Arc::clone(&parser));
        Ok(parser)
    }

    fn format(&self, source: SourceId, chunk: &Chunk) -> Result<(Format, String)> {
        if let Some(format) = Format::chosen(self.recipe.config.source.format) {
            return Ok((format, "chosen with --format".to_owned()));
        }
        let rows = first_rows(chunk);
        if rows.is_empty() {
            return Ok((Format::Messages, "no readable row".to_owned()));
        }
        let found = detect(&rows, &self.recipe.config.source.map)
            .map_err(|error| error.at_path(&self.files[source as usize].path))?;
        Ok((found.format, found.evidence))
    }

    /// The first chunk with a row of an input.
    fn first_chunk(&self, source: SourceId) -> Result<Option<Chunk>> {
        let whole = Part {
            source,
            range: None,
        };
        let options = ReadOptions {
            max_line_bytes: self.recipe.config.source.max_line_bytes,
            chunk_bytes: CHUNK_BYTES,
            limit: 0,
        };
        let mut reader = Reader::of_parts(self.files.to_vec(), vec![whole], options);
        while let Some(chunk) = reader.next_chunk()? {
            self.control.check()?;
            if !chunk.rows.is_empty() {
                reader.check()?; // fewer rows may look like another format
                return Ok(Some(chunk));
            }
        }
        Ok(None)
    }
}

fn first_rows(chunk: &Chunk) -> Vec<sftprep_template::Data> {
    let mut notes = JsonNotes::default();
    let read = |record| match record {
        Record::Json(bytes) => json::parse(bytes, &mut notes).ok(),
        Record::Data(row) => Some(row.clone()),
        Record::Unreadable(_) => None,
    };
    chunk
        .rows
        .iter()
        .take(DETECT_ROWS)
        .map(|(_, record)| record)
        .filter_map(read)
        .collect()
}
