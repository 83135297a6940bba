//! Packed rows of a finished dataset, as views on the mapped files.
//!
//! Rows are found by the offsets in the manifest; no Arrow parser takes part. Every offset is
//! checked before it is used, so a damaged or hostile file gives an error and never a crash.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::error::{Code, Error, Result};

use super::manifest::{FileInfo, FileKind, Manifest};
use super::mapped::MappedFile;

/// A finished dataset, open for reading. Share it between threads as you like.
#[derive(Debug)]
pub struct ShardReader {
    dir: PathBuf,
    manifest: Manifest,
    shards: Vec<Shard>,
    batches: Vec<BatchAt>,
    rows: u64,
}

#[derive(Debug)]
struct Shard {
    data: MappedFile,
    spans_info: FileInfo,
    /// Mapped when first asked for: training never does, and file systems limit the maps of a
    /// process.
    spans: OnceLock<MappedFile>,
}

impl Shard {
    fn spans(&self, dir: &Path) -> Result<&MappedFile> {
        if let Some(spans) = self.spans.get() {
            return Ok(spans);
        }
        let spans = MappedFile::open(dir, &self.spans_info)?;
        Ok(self.spans.get_or_init(|| spans))
    }
}

/// Where a record batch is among all of them.
#[derive(Debug, Clone, Copy)]
struct BatchAt {
    first_row: u64,
    shard: usize,
    batch: usize,
}

/// A packed row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowView<'a> {
    /// Token ids of all documents, one after the other.
    pub input_ids: &'a [i32],
    /// Labels, unshifted, as many as ids; -100 where not trained.
    pub labels: &'a [i32],
    /// Tokens of each document.
    pub seq_lengths: &'a [i32],
}

/// What the sidecar says of a packed row. The `doc_*` lists have an entry per document, the
/// `span_*` lists one per span, but that `span_weight` is empty when every weight is 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SpansView<'a> {
    /// Tokens.
    pub tokens: i32,
    /// Tokens that have a label.
    pub trained_tokens: i32,
    /// Documents.
    pub documents: i32,
    /// Sum over the documents of their squared lengths.
    pub attention_cost: i64,
    /// Number of the input.
    pub doc_source: &'a [i32],
    /// Line or row in it, counted from 1.
    pub doc_line: &'a [i64],
    /// Byte offset in it.
    pub doc_byte_offset: &'a [i64],
    /// Which document of its input row it is, counted from 0.
    pub doc_part: &'a [i32],
    /// First token of the piece in its document; 0 unless the packing cut it.
    pub doc_start: &'a [i32],
    /// Tokens of the piece.
    pub doc_tokens: &'a [i32],
    /// End of the span, in tokens from the start of the row.
    pub span_end: &'a [i32],
    /// Kind (see `SpanKind`).
    pub span_kind: &'a [u8],
    /// Message of the conversation, -1 for none.
    pub span_message: &'a [i32],
    /// `FLAG_TRAINED`, `FLAG_STRADDLES`, `FLAG_REPEATED` and `FLAG_CONTINUES`.
    pub span_flags: &'a [u8],
    /// Loss weight.
    pub span_weight: &'a [f32],
}

impl ShardReader {
    /// Opens the dataset in `dir`: reads the manifest, checks file sizes, maps the data files.
    pub fn open(dir: &Path) -> Result<Self> {
        Self::with_manifest(dir, Manifest::read(dir)?)
    }

    pub(super) fn with_manifest(dir: &Path, manifest: Manifest) -> Result<Self> {
        let (data, spans) = (
            manifest.files_of(FileKind::Data),
            manifest.files_of(FileKind::Spans),
        );
        let mut shards = Vec::new();
        let mut batches = Vec::new();
        let mut rows = 0;
        for (shard, (data, spans)) in data.zip(spans).enumerate() {
            for (batch, info) in data.batches.iter().enumerate() {
                batches.push(BatchAt {
                    first_row: rows,
                    shard,
                    batch,
                });
                rows += info.rows;
            }
            shards.push(Shard {
                data: MappedFile::open(dir, data)?,
                spans_info: spans.clone(),
                spans: OnceLock::new(),
            });
        }
        Ok(Self {
            dir: dir.to_owned(),
            manifest,
            shards,
            batches,
            rows,
        })
    }

    /// The manifest of the dataset.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Number of packed rows.
    pub fn len(&self) -> u64 {
        self.rows
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Lets go of the memory that the rows read so far take; reading goes on as before.
    pub fn let_go(&self) {
        for shard in &self.shards {
            shard.data.let_go();
            if let Some(spans) = shard.spans.get() {
                spans.let_go();
            }
        }
    }

    /// Packed row number `row`, counted over all shards.
    pub fn row(&self, row: u64) -> Result<RowView<'_>> {
        let (shard, batch, row) = self.locate(row)?;
        let file = &shard.data;
        Ok(RowView {
            input_ids: file.list(batch, 0, row)?,
            labels: file.list(batch, 2, row)?,
            seq_lengths: file.list(batch, 4, row)?,
        })
    }

    /// What the sidecar says of row number `row`.
    pub fn spans(&self, row: u64) -> Result<SpansView<'_>> {
        let (shard, batch, row) = self.locate(row)?;
        let file = shard.spans(&self.dir)?;
        Ok(SpansView {
            tokens: file.value(batch, 0, row)?,
            trained_tokens: file.value(batch, 1, row)?,
            documents: file.value(batch, 2, row)?,
            attention_cost: file.value(batch, 3, row)?,
            doc_source: file.list(batch, 4, row)?,
            doc_line: file.list(batch, 6, row)?,
            doc_byte_offset: file.list(batch, 8, row)?,
            doc_part: file.list(batch, 10, row)?,
            doc_start: file.list(batch, 12, row)?,
            doc_tokens: file.list(batch, 14, row)?,
            span_end: file.list(batch, 16, row)?,
            span_kind: file.list(batch, 18, row)?,
            span_message: file.list(batch, 20, row)?,
            span_flags: file.list(batch, 22, row)?,
            span_weight: file.list(batch, 24, row)?,
        })
    }

    fn locate(&self, row: u64) -> Result<(&Shard, usize, usize)> {
        if row >= self.rows {
            let message = format!("row {row} of a dataset of {} rows", self.rows);
            return Err(Error::new(Code::ConfigValue, message).at_field("row"));
        }
        let after = self.batches.partition_point(|batch| batch.first_row <= row);
        let at = self.batches[after - 1]; // the first batch begins at row 0
        Ok((
            &self.shards[at.shard],
            at.batch,
            (row - at.first_row) as usize,
        ))
    }
}
