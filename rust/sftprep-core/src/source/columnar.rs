//! Rows of Parquet and Arrow files, one record batch in memory at a time.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, SchemaRef};
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use sftprep_template::Data;

use super::arrow_data;
use super::bounded::BoundedFile;
use super::bytes::{ByteStream, Raw, Stamp};
use super::gauge::{self, Gauge};
use super::ipc::{IpcFile, IpcStream};
use super::lines::too_long;
use super::reader::{Budget, Limits};
use super::{Compression, InputFile, Kind};
use crate::error::{Code, Error, Result};
use crate::types::{RowPlace, Rows, SourceId};

/// Rows decoded from Parquet at a time.
const BATCH_ROWS: usize = 1024;
/// Rows below which no file is suspicious.
const BOMB_ROWS: u64 = 100_000_000;
/// Rows per byte of the file above which it is refused.
const BOMB_RATIO: u64 = 1000;

enum Batches {
    /// With the number of its rows.
    Parquet(Box<ParquetRecordBatchReader>, i64),
    File(Box<IpcFile>),
    Stream(Box<IpcStream>),
}

/// Where the bytes came from, and what is left to be checked about them.
enum Origin {
    /// Unpacked to a temporary file; size and hash of the packed file are known.
    Spooled(u64, String),
    /// Read in place; hashed when done.
    InPlace(Stamp),
}

/// The rows of one columnar file.
pub(super) struct Columnar {
    batches: Batches,
    batch: Option<(RecordBatch, usize)>,
    path: PathBuf,
    source: SourceId,
    origin: Origin,
    file_bytes: u64,
    row: u64,
    max_row_bytes: u64,
    gauge: Arc<Gauge>,
}

impl Columnar {
    pub(super) fn open(input: &InputFile, source: SourceId, limits: Limits) -> Result<Self> {
        if input.compression != Compression::None {
            return Self::spool(ByteStream::open(input)?, input.kind, source, limits);
        }
        let stamp = Stamp::of(input)?;
        let file = File::open(&input.path)
            .map_err(|error| Error::io(Code::SourceUnreadable, &input.path, &error))?;
        let origin = Origin::InPlace(stamp);
        let opened = Opened {
            file,
            path: input.path.clone(),
            origin,
        };
        Self::new(opened, input.kind, source, limits)
    }

    /// Copies the bytes to a temporary file, which has no name and goes when it is closed: these
    /// formats are read from their end.
    pub(super) fn spool(
        mut stream: ByteStream,
        kind: Kind,
        source: SourceId,
        limits: Limits,
    ) -> Result<Self> {
        let path = stream.path().to_path_buf();
        let io = |error: std::io::Error| {
            let dir = std::env::temp_dir();
            Error::io(Code::OutputIo, dir, &error).hint("set TMPDIR to a folder with more space")
        };
        let mut file = tempfile::tempfile().map_err(io)?;
        let mut block = vec![0; 256 << 10];
        loop {
            match stream.read(&mut block)? {
                0 => break,
                count => file.write_all(&block[..count]).map_err(io)?,
            }
        }
        file.seek(SeekFrom::Start(0)).map_err(io)?;
        let (bytes, hash) = stream.finish()?;
        let origin = Origin::Spooled(bytes, hash);
        Self::new(Opened { file, path, origin }, kind, source, limits)
    }

    fn new(opened: Opened, kind: Kind, source: SourceId, limits: Limits) -> Result<Self> {
        let Opened { file, path, origin } = opened;
        let file_bytes = file.metadata().map_or(0, |meta| meta.len());
        let gauge = Arc::new(Gauge::new(limits.batch_bytes));
        let batches = guarded(&path, || match kind {
            Kind::Parquet => open_parquet(file, &path, &gauge),
            _ => open_arrow(file, &path, &gauge),
        })
        .map_err(|error| too_large(&gauge, &path, 0).unwrap_or(error))?;
        arrow_data::check_schema(&batches.schema()).map_err(|message| {
            Error::new(Code::SourceKind, message)
                .at_path(&path)
                .hint("drop or convert that column; rows are text, numbers, lists and objects")
        })?;
        Ok(Self {
            batches,
            batch: None,
            path,
            source,
            origin,
            file_bytes,
            row: 0,
            max_row_bytes: limits.line_bytes,
            gauge,
        })
    }

    /// Appends rows until the budget is spent (true) or the file ends (false).
    pub(super) fn fill(&mut self, rows: &mut Rows, budget: &Budget) -> Result<bool> {
        let mut room = u64::MAX;
        while room.min(budget.rows_left(rows)) > 0 {
            let (batch, start) = match self.batch.take() {
                Some((batch, start)) if start < batch.num_rows() => (batch, start),
                _ => match self.next_batch()? {
                    Some(batch) => (batch, 0),
                    None => return Ok(false),
                },
            };
            if batch.num_rows() == 0 {
                continue;
            }
            self.check_bomb(batch.num_rows() - start)?;
            let row_bytes = (batch.get_array_memory_size() / batch.num_rows()).max(1) as u64;
            room = room.min((budget.bytes() / row_bytes).max(1));
            let left = batch.num_rows() - start;
            let count = left.min(room.min(budget.rows_left(rows)) as usize);
            for row in self.convert(&batch.slice(start, count))? {
                self.row += 1;
                let place = RowPlace {
                    source: self.source,
                    line: self.row,
                    offset: 0,
                };
                let bytes = gauge::row_bytes(&row);
                if bytes > self.max_row_bytes {
                    rows.push_unreadable(place, too_long("row", bytes, self.max_row_bytes));
                } else {
                    rows.push_data(place, row, bytes as usize);
                }
            }
            room -= count as u64;
            self.batch = Some((batch, start + count));
        }
        Ok(true)
    }

    /// Bytes of the input read so far, about: the file is not read in order.
    pub(super) fn raw_bytes(&self) -> u64 {
        match &self.origin {
            Origin::Spooled(bytes, _) => *bytes,
            Origin::InPlace(_) => match &self.batches {
                Batches::Parquet(_, rows) => {
                    let share = self.row as f64 / (*rows).max(1) as f64;
                    (self.file_bytes as f64 * share) as u64
                }
                Batches::File(file) => file.bytes_read(),
                Batches::Stream(stream) => stream.bytes_read(),
            },
        }
    }

    /// After the end: size and BLAKE3 of the input file.
    pub(super) fn finish(self) -> Result<(u64, String)> {
        drop(self.batches);
        let stamp = match self.origin {
            Origin::Spooled(bytes, hash) => return Ok((bytes, hash)),
            Origin::InPlace(stamp) => stamp,
        };
        let file = File::open(&self.path)
            .map_err(|error| Error::io(Code::SourceUnreadable, &self.path, &error))?;
        let raw = Raw::new(Box::new(file));
        let mut stream = ByteStream::new(raw, Compression::None, self.path, Some(stamp))?;
        let mut block = vec![0; 256 << 10];
        while stream.read(&mut block)? > 0 {}
        stream.finish()
    }

    /// Rows that take no bytes can be declared without end.
    fn check_bomb(&self, more: usize) -> Result<()> {
        let rows = self.row.saturating_add(more as u64);
        if rows <= BOMB_ROWS || rows / BOMB_RATIO < self.file_bytes {
            return Ok(());
        }
        let message = format!("{} bytes hold {rows} rows", self.file_bytes);
        Err(Error::new(Code::SourceBomb, message)
            .at_path(&self.path)
            .hint("drop columns that hold only nulls"))
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        let Self { batches, path, .. } = self;
        self.gauge.reset();
        guarded(path, || {
            let next = match batches {
                Batches::Parquet(reader, _) => reader.next().transpose(),
                Batches::File(file) => file.next(),
                Batches::Stream(stream) => stream.next(),
            };
            next.map_err(|error| arrow_error(path, &error))
        })
        .map_err(|error| too_large(&self.gauge, &self.path, self.row).unwrap_or(error))
    }

    fn convert(&self, batch: &RecordBatch) -> Result<Vec<Data>> {
        guarded(&self.path, || {
            arrow_data::rows(batch)
                .map_err(|message| Error::new(Code::SourceCorrupt, message).at_path(&self.path))
        })
    }
}

/// A file that was opened, and where it is from.
struct Opened {
    file: File,
    path: PathBuf,
    origin: Origin,
}

impl Batches {
    fn schema(&self) -> SchemaRef {
        match self {
            Self::Parquet(reader, _) => arrow_array::RecordBatchReader::schema(reader),
            Self::File(file) => file.schema(),
            Self::Stream(stream) => stream.schema(),
        }
    }
}

fn open_parquet(mut file: File, path: &Path, gauge: &Arc<Gauge>) -> Result<Batches> {
    let last = last_bytes(&mut file, 4, path)?;
    if last != b"PAR1" {
        let message = "the Parquet file does not end with its footer";
        return Err(truncated(path, message));
    }
    BoundedFile::new(file, Arc::clone(gauge))
        .and_then(ParquetRecordBatchReaderBuilder::try_new)
        .and_then(|builder| {
            let rows = builder.metadata().file_metadata().num_rows();
            let batch_rows = batch_rows(builder.metadata(), gauge.limit());
            let reader = builder.with_batch_size(batch_rows).build()?;
            Ok(Batches::Parquet(Box::new(reader), rows))
        })
        .map_err(|error| parquet_error(path, &error))
}

/// Rows to decode at a time: of long ones fewer, so that a batch has room to be several times what
/// the average of its row group promises.
fn batch_rows(file: &ParquetMetaData, limit: u64) -> usize {
    let fit = |group: &RowGroupMetaData| {
        let bytes = u64::try_from(group.total_byte_size()).unwrap_or(0);
        let rows = u64::try_from(group.num_rows()).unwrap_or(0);
        limit / 4 / (bytes / rows.max(1)).max(1)
    };
    let fewest = file.row_groups().iter().map(fit).min();
    fewest.unwrap_or(u64::MAX).clamp(1, BATCH_ROWS as u64) as usize
}

/// The error of a record batch for which there is no room.
fn too_large(gauge: &Gauge, path: &Path, rows_before: u64) -> Option<Error> {
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    let message = format!(
        "what is decoded at a time from row {} on takes {} MiB and more, of a record batch or page; \
         the memory budget has {} MiB for it",
        rows_before + 1,
        mib(gauge.over()?),
        mib(gauge.limit())
    );
    Some(
        Error::new(Code::RunMemory, message)
            .at_path(path)
            .at_line(rows_before + 1)
            .hint("give more --memory, write smaller batches and pages, or write JSON Lines"),
    )
}

fn open_arrow(mut file: File, path: &Path, gauge: &Arc<Gauge>) -> Result<Batches> {
    let io = |error: std::io::Error| Error::io(Code::SourceUnreadable, path, &error);
    let mut head = Vec::new();
    (&mut file).take(6).read_to_end(&mut head).map_err(io)?;
    let is_file = head == b"ARROW1";
    if is_file && last_bytes(&mut file, 6, path)? != b"ARROW1" {
        return Err(truncated(
            path,
            "the Arrow file does not end with its footer",
        ));
    }
    if head.starts_with(b"FEA1") {
        let message = "the file is Feather version 1, which is no longer written";
        return Err(Error::new(Code::SourceKind, message)
            .at_path(path)
            .hint("rewrite it as Parquet or Arrow IPC"));
    }
    if head.is_empty() {
        return Err(truncated(path, "the Arrow file is empty"));
    }
    file.seek(SeekFrom::Start(0)).map_err(io)?;
    let length = file.metadata().map_err(io)?.len();
    let opened = if is_file {
        IpcFile::open(file, Arc::clone(gauge)).map(|file| Batches::File(Box::new(file)))
    } else {
        IpcStream::open(file, length, Arc::clone(gauge))
            .map(|stream| Batches::Stream(Box::new(stream)))
    };
    opened.map_err(|error| arrow_error(path, &error))
}

fn last_bytes(file: &mut File, count: i64, path: &Path) -> Result<Vec<u8>> {
    let mut last = Vec::new();
    let length = file.metadata().map_or(0, |meta| meta.len());
    let back = count.min(length as i64);
    file.seek(SeekFrom::End(-back))
        .and_then(|_| file.read_to_end(&mut last))
        .and_then(|_| file.seek(SeekFrom::Start(0)))
        .map_err(|error| Error::io(Code::SourceUnreadable, path, &error))?;
    Ok(last)
}

/// Runs a decoder on bytes that may be hostile: should it panic on them, the file is damaged.
fn guarded<T>(path: &Path, run: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| {
        let message = "the file is damaged: its decoder gave up";
        Err(Error::new(Code::SourceCorrupt, message).at_path(path))
    })
}

fn truncated(path: &Path, message: &str) -> Error {
    Error::new(Code::SourceTruncated, message)
        .at_path(path)
        .hint("fetch the file again, or wait until its writer is done")
}

fn parquet_error(path: &Path, error: &ParquetError) -> Error {
    match error {
        ParquetError::EOF(message) => truncated(path, message),
        _ => corrupt(path, error),
    }
}

fn arrow_error(path: &Path, error: &ArrowError) -> Error {
    match error {
        ArrowError::IoError(message, cause)
            if cause.kind() == std::io::ErrorKind::UnexpectedEof =>
        {
            truncated(path, message)
        }
        _ => corrupt(path, error),
    }
}

fn corrupt(path: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::new(Code::SourceCorrupt, error.to_string())
        .at_path(path)
        .hint("fetch the file again, or rewrite it with the tool that made it")
}

#[cfg(test)]
#[path = "columnar_tests.rs"]
pub(super) mod tests;
