//! Cuts inputs into tasks: runs of bytes of about one size, which any process can map alone.
//!
//! Where a task begins and ends follows from the sizes of the files and nothing else: no worker
//! count, no content. A row belongs to the part in which its first byte lies. Only plain JSON Lines
//! are cut; what is compressed, columnar or one JSON value is one part.

use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;

use blake3::hazmat::{ChainingValue, Mode, left_subtree_len};
use blake3::hazmat::{merge_subtrees_non_root, merge_subtrees_root};

use super::{Compression, InputFile, Kind};
use crate::error::{Code, Error, Result};
use crate::types::SourceId;

/// Bytes of input per task unless the run is so large that there would be too many.
pub const TASK_BYTES: u64 = 64 << 20;

/// Tasks of a run, about, at most: each leaves files that are open while shards are gathered.
const MOST_TASKS: u64 = 256;

/// The part of an input that a task reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Which input.
    pub source: SourceId,
    /// Bytes whose rows are read; `None` for the whole input, whatever it holds.
    pub range: Option<Range<u64>>,
}

/// Cuts inputs into tasks of about `task_bytes` (0: chosen from the sizes), each a list of parts
/// in input order. There is at least one task if there is an input.
pub fn tasks(files: &[InputFile], task_bytes: u64) -> Vec<Vec<Part>> {
    let total: u64 = files.iter().map(|file| file.bytes).sum();
    let size = match task_bytes {
        0 => TASK_BYTES.max((total / MOST_TASKS).next_power_of_two()),
        // a power of two of at least one chunk of BLAKE3: hashes of parts join to that of the file
        bytes => bytes.clamp(1 << 10, 1 << 62).next_power_of_two(),
    };
    let mut tasks: Vec<Vec<Part>> = Vec::new();
    let mut room = 0;
    for (source, file) in (0..).zip(files) {
        for range in ranges(file, size) {
            let bytes = range
                .as_ref()
                .map_or(file.bytes, |range| range.end - range.start);
            let part = Part { source, range };
            match tasks.last_mut() {
                Some(task) if bytes <= room => {
                    task.push(part);
                    room -= bytes;
                }
                _ => {
                    tasks.push(vec![part]);
                    room = size.saturating_sub(bytes);
                }
            }
        }
    }
    tasks
}

fn ranges(file: &InputFile, size: u64) -> Vec<Option<Range<u64>>> {
    let splits = file.kind == Kind::JsonLines && file.compression == Compression::None;
    if !splits || file.is_stdin() || file.bytes <= size {
        return vec![None];
    }
    (0..file.bytes.div_ceil(size))
        .map(|index| Some(index * size..((index + 1) * size).min(file.bytes)))
        .collect()
}

/// BLAKE3 of a file of `bytes` from the chaining values of its parts, which are of equal size but
/// for the last; at least two.
pub fn join_hashes(parts: &[ChainingValue], bytes: u64, part_bytes: u64) -> Option<blake3::Hash> {
    if parts.len() < 2 || part_bytes == 0 || bytes.div_ceil(part_bytes) != parts.len() as u64 {
        return None;
    }
    let left = (left_subtree_len(bytes) / part_bytes) as usize;
    let (one, two) = (
        subtree(&parts[..left], left_subtree_len(bytes), part_bytes)?,
        { subtree(&parts[left..], bytes - left_subtree_len(bytes), part_bytes)? },
    );
    Some(merge_subtrees_root(&one, &two, Mode::Hash))
}

fn subtree(parts: &[ChainingValue], bytes: u64, part_bytes: u64) -> Option<ChainingValue> {
    if let [one] = parts {
        return Some(*one);
    }
    let half = left_subtree_len(bytes);
    let left = (half / part_bytes) as usize;
    let one = subtree(parts.get(..left)?, half, part_bytes)?;
    let two = subtree(parts.get(left..)?, bytes - half, part_bytes)?;
    Some(merge_subtrees_non_root(&one, &two, Mode::Hash))
}

/// Number of lines that end before byte `end` of a file: what is added to line numbers counted from
/// there. For messages only; a run knows these numbers once all tasks are done.
///
/// # Errors
/// `source.unreadable`.
pub fn lines_before(file: &InputFile, end: u64) -> Result<u64> {
    let failed = |error: &std::io::Error| Error::io(Code::SourceUnreadable, &file.path, error);
    let mut input = std::fs::File::open(&file.path).map_err(|error| failed(&error))?;
    input
        .seek(SeekFrom::Start(0))
        .map_err(|error| failed(&error))?;
    let (mut left, mut lines) = (end, 0);
    let mut block = vec![0; 1 << 20];
    while left > 0 {
        let wanted = block.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let count = input
            .read(&mut block[..wanted])
            .map_err(|error| failed(&error))?;
        if count == 0 {
            break;
        }
        lines += memchr::memchr_iter(b'\n', &block[..count]).count() as u64;
        left -= count as u64;
    }
    Ok(lines)
}

#[cfg(test)]
#[path = "tasks_tests.rs"]
mod tests;
