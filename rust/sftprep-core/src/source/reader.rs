//! Reads inputs one after the other and hands out their rows in chunks.

use super::buffer::TextBuffer;
use super::bytes::ByteStream;
use super::columnar::Columnar;
use super::lines::Lines;
use super::tasks::Part;
use super::values::{self, Layout, Values};
use super::{InputFile, Kind};
use crate::error::{Error, Result};
use crate::types::{Chunk, Rows, SourceId};

/// Rows in a chunk, at most.
const MAX_ROWS: u64 = 16 << 10;
/// Bytes of text without a row (one endless line, blank lines) after which a chunk is handed out
/// empty, so that whoever waits for it can see whether the run was cancelled.
const QUIET_BYTES: u64 = 64 << 20;

/// How to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadOptions {
    /// Longest row in bytes; a longer one becomes an unreadable row.
    pub max_line_bytes: u64,
    /// Size of a chunk in bytes of text, about.
    pub chunk_bytes: u64,
    /// Rows to read over all inputs (0: all).
    pub limit: u64,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            max_line_bytes: 64 << 20,
            chunk_bytes: 1 << 20,
            limit: 0,
        }
    }
}

/// What was read of one input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputDigest {
    /// Which input: index in the list given to [`Reader::open`].
    pub source: SourceId,
    /// Its name in the statistics.
    pub name: String,
    /// Its path.
    pub path: std::path::PathBuf,
    /// Bytes of the file that were read.
    pub bytes: u64,
    /// BLAKE3 of the file as hex digits; `None` if it was not read to its end. Of a part of a file
    /// it is the chaining value.
    pub blake3: Option<String>,
    /// Rows handed out.
    pub rows: u64,
    /// Lines read, blank ones included; 0 for what does not consist of lines.
    pub lines: u64,
}

/// How much may still go into a chunk.
pub(super) struct Budget {
    bytes: u64,
    rows: u64,
}

/// Bytes that are reserved for the text of a chunk before it is read, at most.
const MOST_ROOM: usize = 1 << 20;

impl Budget {
    pub(super) fn is_spent(&self, rows: &Rows, passed: u64) -> bool {
        rows.text_bytes() as u64 >= self.bytes
            || rows.len() as u64 >= self.rows
            || (passed >= QUIET_BYTES && passed >= self.bytes)
    }

    /// Rows that still fit.
    pub(super) fn rows_left(&self, rows: &Rows) -> u64 {
        self.rows.saturating_sub(rows.len() as u64)
    }

    /// Bytes of a chunk.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// What is too long to be read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Bytes of a row.
    pub(super) line_bytes: u64,
    /// Bytes that are decoded at a time from a columnar file.
    pub(super) batch_bytes: u64,
}

/// The rows of one open input.
enum Open {
    Lines(Box<Lines>),
    Values(Box<Values>),
    Columnar(Box<Columnar>),
}

/// Reads inputs one after the other; see [`Reader::next_chunk`].
pub struct Reader {
    files: Vec<InputFile>,
    parts: Vec<Part>,
    options: ReadOptions,
    batch_bytes: u64,
    /// Index of the part that is open, or that is opened next.
    at: usize,
    open: Option<Open>,
    pending: Option<Error>,
    rows_of_input: u64,
    /// Room for the text of the next chunk, by that of the last one.
    usual_bytes: usize,
    rows: u64,
    sequence: u64,
    finished: Vec<InputDigest>,
    finished_bytes: u64,
}

impl Reader {
    /// A reader of those inputs; nothing is opened yet.
    pub fn new(files: Vec<InputFile>, options: ReadOptions) -> Self {
        let whole = |source| Part {
            source,
            range: None,
        };
        let parts = (0..files.len() as SourceId).map(whole).collect();
        Self::of_parts(files, parts, options)
    }

    /// A reader of parts of those inputs; their indices must be those of `files`.
    pub fn of_parts(files: Vec<InputFile>, parts: Vec<Part>, options: ReadOptions) -> Self {
        Self {
            files,
            parts,
            options,
            batch_bytes: u64::MAX,
            at: 0,
            open: None,
            pending: None,
            rows_of_input: 0,
            usual_bytes: 0,
            rows: 0,
            sequence: 0,
            finished: Vec::new(),
            finished_bytes: 0,
        }
    }

    /// Refuses what is decoded at a time from a columnar file if it takes more than that.
    pub fn limit_batches(&mut self, bytes: u64) {
        self.batch_bytes = bytes;
    }

    /// The error that ended the last chunk early, which the next call would return.
    ///
    /// # Errors
    /// As [`next_chunk`](Self::next_chunk).
    pub fn check(&mut self) -> Result<()> {
        self.pending.take().map_or(Ok(()), Err)
    }

    /// The next rows, in the order of the inputs; `None` after the last.
    ///
    /// A chunk never mixes two inputs. It may be empty, which says only that reading goes on.
    ///
    /// # Errors
    /// Everything under `source.`, once, after all rows before it were handed out. Calling again
    /// goes on with the next input.
    pub fn next_chunk(&mut self) -> Result<Option<Chunk>> {
        if let Some(error) = self.pending.take() {
            return Err(error);
        }
        while self.at < self.parts.len() && !self.is_full() {
            let mut rows = Rows::with_room(self.usual_bytes);
            let outcome = self.fill(&mut rows);
            let bytes = rows.text_bytes() + rows.text_bytes() / 8;
            self.usual_bytes = bytes.min(MOST_ROOM);
            self.rows += rows.len() as u64;
            self.rows_of_input += rows.len() as u64;
            let went_on = matches!(outcome, Ok(true));
            let outcome = match outcome {
                Ok(false) => self.close(true),
                Ok(true) if self.is_full() => self.close(false),
                Ok(true) => Ok(()),
                Err(error) => {
                    self.skip_input();
                    Err(error)
                }
            };
            match outcome {
                Err(error) if rows.is_empty() => return Err(error),
                Err(error) => self.pending = Some(error),
                Ok(()) => {}
            }
            if went_on || !rows.is_empty() {
                let sequence = self.sequence;
                self.sequence += 1;
                return Ok(Some(Chunk { sequence, rows }));
            }
        }
        Ok(None)
    }

    /// What was read of the inputs that are done, in their order.
    pub fn finished(&self) -> &[InputDigest] {
        &self.finished
    }

    /// Bytes read of all input files so far, for a progress bar.
    pub fn bytes_read(&self) -> u64 {
        self.finished_bytes + self.open.as_ref().map_or(0, Open::raw_bytes)
    }

    /// The inputs.
    pub fn files(&self) -> &[InputFile] {
        &self.files
    }

    fn is_full(&self) -> bool {
        self.options.limit > 0 && self.rows >= self.options.limit
    }

    fn fill(&mut self, rows: &mut Rows) -> Result<bool> {
        let left = match self.options.limit {
            0 => MAX_ROWS,
            limit => (limit - self.rows).min(MAX_ROWS),
        };
        let budget = Budget {
            bytes: self.options.chunk_bytes.max(1),
            rows: left,
        };
        let open = match &mut self.open {
            Some(open) => open,
            none => {
                let part = &self.parts[self.at];
                let file = &self.files[part.source as usize];
                let limits = Limits {
                    line_bytes: self.options.max_line_bytes,
                    batch_bytes: self.batch_bytes,
                };
                none.insert(open(file, part, limits)?)
            }
        };
        match open {
            Open::Lines(lines) => lines.fill(rows, &budget),
            Open::Values(values) => values.fill(rows, &budget),
            Open::Columnar(columnar) => columnar.fill(rows, &budget),
        }
    }

    /// Ends the open input, at its end or because the limit of rows is reached.
    fn close(&mut self, at_end: bool) -> Result<()> {
        let Some(open) = self.open.take() else {
            return Ok(());
        };
        let source = self.parts[self.at].source;
        let file = &self.files[source as usize];
        let mut digest = InputDigest {
            source,
            name: file.name.clone(),
            path: file.path.clone(),
            bytes: open.raw_bytes(),
            blake3: None,
            rows: self.rows_of_input,
            lines: open.lines(),
        };
        self.skip_input();
        if at_end {
            let (bytes, hash) = open.finish()?;
            digest.bytes = bytes;
            digest.blake3 = Some(hash);
        }
        self.finished_bytes += digest.bytes;
        self.finished.push(digest);
        Ok(())
    }

    fn skip_input(&mut self) {
        self.open = None;
        self.at += 1;
        self.rows_of_input = 0;
    }
}

fn open(file: &InputFile, part: &Part, limits: Limits) -> Result<Open> {
    let source = part.source;
    if let Some(range) = &part.range {
        let stream = ByteStream::open_range(file, range)?;
        let text = match range.start {
            0 => TextBuffer::new(stream)?,
            start => TextBuffer::from_middle(stream, start - 1),
        };
        let lines = Lines::new(text, source, limits.line_bytes);
        return Ok(Open::Lines(Box::new(
            lines.within(range.end, range.start > 0),
        )));
    }
    if matches!(file.kind, Kind::Parquet | Kind::Arrow) && !file.is_stdin() {
        return Ok(Open::Columnar(Box::new(Columnar::open(
            file, source, limits,
        )?)));
    }
    let stream = ByteStream::open(file)?;
    let kind = if file.is_stdin() {
        None
    } else {
        Some(file.kind)
    };
    open_stream(stream, kind, source, limits)
}

/// Opens bytes of a kind, or of one that is to be seen from them.
fn open_stream(
    mut stream: ByteStream,
    kind: Option<Kind>,
    source: SourceId,
    limits: Limits,
) -> Result<Open> {
    if kind.is_none()
        && let Some(columnar) = Kind::from_magic(stream.peek(8)?)
    {
        let columnar = Columnar::spool(stream, columnar, source, limits)?;
        return Ok(Open::Columnar(Box::new(columnar)));
    }
    let mut text = TextBuffer::new(stream)?;
    let layout = match kind {
        Some(Kind::JsonLines) => Layout::Lines,
        _ => values::layout(&mut text)?,
    };
    let in_array = matches!(layout, Layout::Array);
    Ok(if matches!(layout, Layout::Lines) {
        Open::Lines(Box::new(Lines::new(text, source, limits.line_bytes)))
    } else {
        let values = Values::new(text, source, limits.line_bytes, in_array);
        Open::Values(Box::new(values))
    })
}

impl Open {
    fn raw_bytes(&self) -> u64 {
        match self {
            Self::Lines(lines) => lines.text().stream().raw_bytes(),
            Self::Values(values) => values.text().stream().raw_bytes(),
            Self::Columnar(columnar) => columnar.raw_bytes(),
        }
    }

    fn lines(&self) -> u64 {
        match self {
            Self::Lines(lines) => lines.lines(),
            Self::Values(_) | Self::Columnar(_) => 0,
        }
    }

    fn finish(self) -> Result<(u64, String)> {
        match self {
            Self::Lines(lines) => lines.into_text().into_stream().finish(),
            Self::Values(values) => values.into_text().into_stream().finish(),
            Self::Columnar(columnar) => columnar.finish(),
        }
    }
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
