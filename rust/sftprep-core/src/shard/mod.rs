//! Shards: tokenized documents on disk, first as a temporary segment, then as packed Arrow files
//! with a sidecar, a ledger and a manifest that can be verified.
//!
//! FORMAT.md is the normative description of everything written here. The order of a run:
//!
//! ```text
//! OutputDir::open ─ SegmentWriter + RowLogWriter × tasks (rows in input order)
//!                 ─ RowLogReader ─ LedgerWriter, SegmentReader, ShardPlan
//!                 ─ write_shard × n (any thread, any order)
//!                 ─ write_huggingface_files ─ Manifest::new ─ OutputDir::commit
//! ```

mod canonical;
mod checks;
mod columns;
mod hashed;
mod huggingface;
mod ipc;
mod ledger;
mod manifest;
mod mapped;
mod output;
mod past;
mod reader;
mod rowlog;
mod segment;
mod segment_writer;
#[cfg(test)]
mod testing;
mod totals;
mod verify;
mod writer;

pub use columns::{
    DATA_COLUMNS, FLAG_CONTINUES, FLAG_REPEATED, FLAG_STRADDLES, FLAG_TRAINED, RowSums,
};
pub use hashed::Digest;
pub use huggingface::{INFO_NAME, STATE_NAME, write_huggingface_files};
pub use ledger::{LEDGER_NAME, LedgerFiles, LedgerRow, LedgerWriter, Outcome, REJECTS_NAME};
pub use manifest::{
    BalanceInfo, BatchInfo, ControlTokenInfo, FORMAT_VERSION, FileInfo, FileKind, InputInfo,
    MANIFEST_NAME, Manifest, MixInfo, PackingInfo, REPORT_NAME, RunFacts, TemplateInfo,
    TokenizerInfo, content_id,
};
pub use output::{Access, OutputDir};
pub use past::{PAST_DOCUMENT_BYTES, PastDocuments, PastRow, past_documents, past_rows};
pub use reader::{RowView, ShardReader, SpansView};
pub use rowlog::{LoggedDocument, LoggedOutcome, LoggedRow, RowLogReader, RowLogWriter};
pub use segment::{DocMeta, DocumentPiece, SegmentReader};
pub use segment_writer::{HELD_WORDS, Sealed, SegmentWriter};
pub use totals::{ByCode, SourceTotals, Totals};
pub use verify::{Finding, Mode, VerifyReport, verify};
pub use writer::{BATCH_ROWS, BATCH_TOKENS, ShardInfo, ShardPlan, write_shard};

use std::path::Path;

use crate::error::Result;

/// Writes a file of the model (tokenizer, template) beside the shards, listed like every other.
///
/// # Errors
/// `output.*` if it cannot be written.
pub fn keep_file(dir: &Path, name: &str, bytes: &[u8]) -> Result<FileInfo> {
    hashed::write_whole(&dir.join(name), bytes).map(|digest| kept(name, digest))
}

/// The same for bytes whose BLAKE3 is known.
///
/// # Errors
/// `output.*` if it cannot be written.
pub fn keep_known_file(
    dir: &Path,
    name: &str,
    bytes: &[u8],
    blake3: blake3::Hash,
) -> Result<FileInfo> {
    let digest = hashed::write_known(&dir.join(name), bytes, blake3)?;
    Ok(kept(name, digest))
}

fn kept(name: &str, digest: Digest) -> FileInfo {
    let sums = RowSums::default();
    FileInfo::new(
        name.to_owned(),
        FileKind::Metadata,
        digest,
        sums,
        Vec::new(),
    )
}

/// BLAKE3 of the canonical form of a JSON value, as the manifest gives hashes of values.
pub fn value_blake3(value: &serde_json::Value) -> String {
    manifest::hash(value)
}

/// Writes a small file of the run's own, durable and under its name only when whole.
///
/// # Errors
/// `output.*` if it cannot be written.
pub fn write_record(path: &Path, bytes: &[u8]) -> Result<()> {
    hashed::write_whole(path, bytes)?;
    path.parent().map_or(Ok(()), hashed::sync_dir)
}

/// Whether a file that a record tells of is there with those bytes.
pub fn is_as_recorded(path: &Path, bytes: u64, xxh3_128: &str) -> bool {
    hashed::is_as_recorded(path, bytes, xxh3_128)
}

/// Size and hashes of a file on disk, as the manifest gives them for inputs and tokenizer files.
pub fn digest_file(path: &Path) -> Result<Digest> {
    hashed::digest_file(path)
}
