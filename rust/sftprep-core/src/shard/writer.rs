//! Shards: packed rows gathered from the segment and written as Arrow.
//!
//! Which rows a shard holds and where its record batches end follow from the plan alone, so a shard
//! is a pure function of (plan, segment, shard index): any thread may write any shard, in any
//! order, and the bytes are the same.

use std::ops::Range;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Code, Error, Result};
use crate::types::{PackedRows, RowShape};

use super::columns::{Batch, RowSums, data_schema, spans_schema};
use super::ipc::IpcFile;
use super::manifest::{BatchInfo, FileInfo, FileKind};
use super::segment::{DocumentPiece, SegmentReader};

/// Rows of a record batch, at most.
pub const BATCH_ROWS: usize = 512;

/// Tokens of a record batch, at most, unless one row alone has more: 32 MiB of ids and labels, and
/// far below the 2^31 items that 32-bit list offsets can count.
pub const BATCH_TOKENS: u64 = 1 << 22;

/// Which rows go into which shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardPlan {
    /// First row of each shard, and the number of rows.
    starts: Vec<usize>,
    data_bytes: u64,
    tokens: u64,
    documents: u64,
}

impl ShardPlan {
    /// Cuts the rows of a plan into shards of about `shard_bytes`, all of about the same size.
    pub fn new(plan: &dyn PackedRows, shard_bytes: u64) -> Self {
        let rows = plan.rows();
        let (mut data_bytes, mut tokens, mut documents) = (0, 0, 0);
        for row in 0..rows {
            let shape = plan.row_shape(row);
            data_bytes += row_bytes(shape);
            tokens += u64::from(shape.tokens);
            documents += u64::from(shape.documents);
        }
        let shards = data_bytes.div_ceil(shard_bytes.max(1)).max(1);
        let mut starts = Vec::new();
        let (mut before, mut last) = (0, None);
        for row in 0..rows {
            // Below 2^128 in the product: both factors are below 2^64.
            let shard = u128::from(before) * u128::from(shards) / u128::from(data_bytes);
            if last != Some(shard) {
                starts.push(row);
                last = Some(shard);
            }
            before += row_bytes(plan.row_shape(row));
        }
        starts.push(rows);
        Self {
            starts,
            data_bytes,
            tokens,
            documents,
        }
    }

    /// Number of shards; 0 if there is no row.
    pub fn shards(&self) -> usize {
        self.starts.len() - 1
    }

    /// Rows of a shard.
    pub fn rows(&self, shard: usize) -> Range<usize> {
        self.starts[shard]..self.starts[shard + 1]
    }

    /// Bytes that the shards with their spans files will take, from above, if documents have
    /// `spans` spans in all.
    pub fn bytes_needed(&self, spans: u64) -> u64 {
        let batches = self.starts.last().map_or(0, |&rows| rows as u64) / 8 + self.shards() as u64;
        self.data_bytes + 40 * self.documents + 18 * spans + self.data_bytes / 64 + 64 * batches
    }

    /// Tokens in all shards.
    pub fn tokens(&self) -> u64 {
        self.tokens
    }
}

/// Bytes of a row in the data file: ids, labels, sequence lengths and three list offsets.
fn row_bytes(shape: RowShape) -> u64 {
    8 * u64::from(shape.tokens) + 4 * u64::from(shape.documents) + 12
}

/// The two files of a shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardInfo {
    /// Ids, labels and sequence lengths.
    pub data: FileInfo,
    /// Places, spans and sums.
    pub spans: FileInfo,
}

/// Name of a file of a shard, as `datasets` names them.
pub(super) fn shard_name(kind: &str, index: usize, shards: usize) -> String {
    format!("{kind}-{index:05}-of-{shards:05}.arrow")
}

/// Writes shard `index` into `dir`: `data-*.arrow` and `spans-*.arrow`, both durable on return.
///
/// `check` is called at least once per record batch and ends the writing when it fails; no file is
/// left under its name then.
pub fn write_shard(
    dir: &Path,
    plan: &dyn PackedRows,
    shards: &ShardPlan,
    segment: &SegmentReader,
    index: usize,
    check: &dyn Fn() -> Result<()>,
) -> Result<ShardInfo> {
    let name = |kind| shard_name(kind, index, shards.shards());
    let (data_name, spans_name) = (name("data"), name("spans"));
    let mut writer = ShardWriter {
        data: IpcFile::create(&dir.join(&data_name), data_schema())?,
        spans: IpcFile::create(&dir.join(&spans_name), spans_schema())?,
        data_batches: Vec::new(),
        spans_batches: Vec::new(),
        batch: Batch::with_room(BATCH_TOKENS as usize),
        sums: RowSums::default(),
    };
    let (mut pieces, mut document) = (Vec::new(), DocumentPiece::default());
    for row in shards.rows(index) {
        let shape = plan.row_shape(row);
        writer.make_room(shape, check)?;
        plan.row(row, &mut pieces);
        for &piece in &pieces {
            let meta = segment.read(piece, &mut document)?;
            writer.batch.push_piece(&document, meta, piece.start);
        }
        writer.batch.end_row();
    }
    writer.flush()?;
    check()?;
    writer.finish(data_name, spans_name)
}

struct ShardWriter {
    data: IpcFile,
    spans: IpcFile,
    data_batches: Vec<BatchInfo>,
    spans_batches: Vec<BatchInfo>,
    batch: Batch,
    sums: RowSums,
}

impl ShardWriter {
    /// Writes the batch out if the next row does not belong to it any more.
    fn make_room(&mut self, next: RowShape, check: &dyn Fn() -> Result<()>) -> Result<()> {
        if next.tokens > i32::MAX as u32 {
            let message = format!("a row of {} tokens does not fit in a list", next.tokens);
            return Err(Error::new(Code::RunInternal, message));
        }
        let tokens = self.batch.sums().tokens + u64::from(next.tokens);
        if self.batch.rows() == BATCH_ROWS || self.batch.rows() > 0 && tokens > BATCH_TOKENS {
            self.flush()?;
            check()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let rows = self.batch.rows();
        if rows == 0 {
            return Ok(());
        }
        let buffers = self.data.batch(rows, &self.batch.data_columns())?;
        self.data_batches.push(BatchInfo {
            rows: rows as u64,
            buffers,
        });
        let buffers = self.spans.batch(rows, &self.batch.spans_columns())?;
        self.spans_batches.push(BatchInfo {
            rows: rows as u64,
            buffers,
        });
        self.sums.add(self.batch.sums());
        self.batch.clear();
        Ok(())
    }

    fn finish(self, data_name: String, spans_name: String) -> Result<ShardInfo> {
        let data = self.data.finish()?;
        let spans = self.spans.finish()?;
        Ok(ShardInfo {
            data: FileInfo::new(
                data_name,
                FileKind::Data,
                data,
                self.sums,
                self.data_batches,
            ),
            spans: FileInfo::new(
                spans_name,
                FileKind::Spans,
                spans,
                self.sums,
                self.spans_batches,
            ),
        })
    }
}
