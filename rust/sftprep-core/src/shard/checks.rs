//! What a manifest must satisfy before anything in it is used, whoever wrote it.

use std::collections::BTreeSet;

use crate::error::{Code, Error, Result};

use super::columns::{RowSums, Shape, shapes};
use super::manifest::{
    BatchInfo, FileInfo, FileKind, MANIFEST_NAME, Manifest, REPORT_NAME, content_id, hash,
};

/// Numbers above this are lies: 8 EiB of anything.
const MAX_COUNT: u64 = 1 << 62;

/// Checks names, numbers, places and sums; what lies in the files is another matter.
pub(super) fn check_manifest(manifest: &Manifest) -> Result<()> {
    let mut names = BTreeSet::new();
    for file in &manifest.files {
        check_name(&file.name)?;
        // Two names that differ in case only are one file on some systems.
        if !names.insert(file.name.to_ascii_lowercase()) {
            return bad(format!("file {:?} is listed twice", file.name));
        }
        check_file(file).map_err(|error| error.at_field(file.name.as_str()))?;
    }
    if !manifest.files.is_sorted_by(|one, two| one.name < two.name) {
        return bad("the files are not sorted by name".to_owned());
    }
    let data: Vec<&FileInfo> = manifest.files_of(FileKind::Data).collect();
    let shards = data.len();
    let spans: Vec<&FileInfo> = manifest.files_of(FileKind::Spans).collect();
    if data.len() != spans.len() {
        return bad(format!(
            "{} data files but {} spans files",
            data.len(),
            spans.len()
        ));
    }
    let mut sums = RowSums::default();
    for (index, (data, spans)) in data.iter().zip(&spans).enumerate() {
        let name = |kind| super::writer::shard_name(kind, index, shards);
        if data.name != name("data") || spans.name != name("spans") {
            return bad(format!("{:?} is not the name of shard {index}", data.name));
        }
        let rows = |file: &FileInfo| {
            file.batches
                .iter()
                .map(|batch| batch.rows)
                .collect::<Vec<_>>()
        };
        if data.sums() != spans.sums() || rows(data) != rows(spans) {
            return bad(format!("{} and {} disagree", data.name, spans.name));
        }
        sums.add(data.sums());
    }
    let totals = &manifest.totals;
    let packed = totals.trained.saturating_add(totals.context);
    if (sums.tokens, sums.trained_tokens) != (packed, totals.trained) {
        return bad(format!(
            "the shards hold {} tokens, {} trained; the totals say {} and {}",
            sums.tokens, sums.trained_tokens, packed, totals.trained
        ));
    }
    if manifest.content_id != content_id(&manifest.files) {
        return bad("content_id does not follow from the files".to_owned());
    }
    if manifest.config_hash != hash(&manifest.config) {
        return bad("config_hash does not follow from the config".to_owned());
    }
    if manifest.inputs.len() != manifest.totals_by_source.len() {
        return bad("inputs and totals_by_source differ in length".to_owned());
    }
    Ok(())
}

/// Refuses every name that is not a plain file name on every system.
pub(super) fn check_name(name: &str) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let dots = name.bytes().all(|byte| byte == b'.');
    if dots || name.len() > 200 || !name.bytes().all(plain) {
        return bad(format!(
            "{name:?} is not a file name that a dataset may have"
        ));
    }
    if name == MANIFEST_NAME || name == REPORT_NAME {
        return bad(format!("{name:?} must not be listed"));
    }
    Ok(())
}

fn check_file(file: &FileInfo) -> Result<()> {
    let numbers = [
        file.bytes,
        file.rows,
        file.tokens,
        file.trained_tokens,
        file.documents,
    ];
    if numbers.iter().any(|&number| number > MAX_COUNT) || file.trained_tokens > file.tokens {
        return bad("a count that cannot be".to_owned());
    }
    let hex = |text: &str, length| {
        text.len() == length
            && text
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    if !hex(&file.xxh3_128, 32) || !hex(&file.blake3, 64) {
        return bad("a hash that is not lower-case hexadecimal of its length".to_owned());
    }
    let buffers = |shape: &Shape| if *shape == Shape::Fixed { 1 } else { 2 };
    let expected: usize = shapes(file.kind).iter().map(buffers).sum();
    let mut rows = 0u64;
    for batch in &file.batches {
        if batch.buffers.len() != expected {
            return bad(format!(
                "a batch of {} buffers, not {expected}",
                batch.buffers.len()
            ));
        }
        check_batch(file, batch)?;
        rows = rows.saturating_add(batch.rows);
    }
    if expected > 0 && rows != file.rows {
        return bad(format!(
            "its batches have {rows} rows, it has {}",
            file.rows
        ));
    }
    Ok(())
}

fn check_batch(file: &FileInfo, batch: &BatchInfo) -> Result<()> {
    if batch.rows == 0 || batch.rows > i32::MAX as u64 {
        return bad(format!("a batch of {} rows", batch.rows));
    }
    let mut end = 0;
    for &[offset, bytes] in &batch.buffers {
        let last = offset.checked_add(bytes);
        if offset % 64 != 0 || offset < end || last.is_none_or(|last| last > file.bytes) {
            return bad(format!("a buffer of {bytes} bytes at {offset}"));
        }
        end = offset + bytes;
    }
    Ok(())
}

fn bad<T>(message: String) -> Result<T> {
    Err(Error::new(Code::ShardManifest, message))
}
