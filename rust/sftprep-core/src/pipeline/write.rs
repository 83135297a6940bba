//! The write phase: whole shards, gathered by as many threads as there are, in any order.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::control::Control;
use super::memory::Memory;
use super::phases::Share;
use super::work::{lock_shard, read_shard, write_shard_record};
use super::{MappedRows, threads};
use crate::config::PackConfig;
use crate::error::{Code, Error, Result};
use crate::faults;
use crate::pack::PackPlan;
use crate::shard::{FileInfo, OutputDir, ShardInfo, ShardPlan, write_shard};

/// Writes the shards of a share that are not there yet; returns their files in the order of the
/// shards, and the number of all shards.
///
/// # Errors
/// `output.*`; `run.cancelled`.
pub(super) fn write_shards(
    plan: &PackPlan,
    mapped: &MappedRows,
    config: &PackConfig,
    share: Share,
    control: &Control,
    output: &OutputDir,
) -> Result<(Vec<FileInfo>, usize)> {
    let shards = ShardPlan::new(plan, config.output.shard_bytes);
    let wanted: Vec<usize> = (0..shards.shards())
        .filter(|index| share.has(*index))
        .collect();
    let needed = shards.bytes_needed(mapped.plan.counts.spans);
    output.check_space(needed / share.of as u64)?;
    let next = AtomicUsize::new(0);
    let check = || control.check();
    let one = |index: usize| -> Result<ShardInfo> {
        let _lock = (share.of > 1)
            .then(|| lock_shard(output, index))
            .transpose()?;
        let info = if let Some(info) = read_shard(output, index)? {
            info
        } else {
            let dir = output.files();
            let info = write_shard(&dir, plan, &shards, &mapped.segment, index, &check)?;
            write_shard_record(output, index, &info)?;
            faults::point("shard.done");
            info
        };
        control.sequences.fetch_add(info.data.rows, Relaxed);
        control
            .bytes_written
            .fetch_add(info.data.bytes + info.spans.bytes, Relaxed);
        Ok(info)
    };
    let work = || -> Result<Vec<(usize, ShardInfo)>> {
        let mut written = Vec::new();
        while let Some(&index) = wanted.get(next.fetch_add(1, Relaxed)) {
            check()?;
            written.push((index, one(index)?));
        }
        Ok(written)
    };
    let threads = threads(config).min(wanted.len());
    let threads = Memory::of(config).writers(threads, mapped, config.pack.max_len);
    let results: Vec<Result<Vec<(usize, ShardInfo)>>> = if threads <= 1 {
        vec![work()]
    } else {
        std::thread::scope(|scope| {
            let handles: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            let panicked = |_| Err(Error::new(Code::RunInternal, "a writer thread panicked"));
            handles
                .into_iter()
                .map(|handle| handle.join().unwrap_or_else(panicked))
                .collect()
        })
    };
    let mut written = Vec::with_capacity(wanted.len());
    for result in results {
        written.extend(result?);
    }
    written.sort_by_key(|(index, _)| *index);
    Ok((files(written), shards.shards()))
}

/// The files of all shards, written by whichever processes.
///
/// # Errors
/// `run.incomplete` if one is not there.
pub(super) fn written(
    plan: &PackPlan,
    config: &PackConfig,
    output: &OutputDir,
) -> Result<Vec<FileInfo>> {
    let shards = ShardPlan::new(plan, config.output.shard_bytes).shards();
    let mut written = Vec::with_capacity(shards);
    for index in 0..shards {
        let Some(info) = read_shard(output, index)? else {
            let message = format!("shard {index} of {shards} is not written");
            return Err(Error::new(Code::RunIncomplete, message)
                .at_path(output.target())
                .hint("run `sftprep write DIR --task I/N` for every I from 1 to N"));
        };
        written.push((index, info));
    }
    Ok(files(written))
}

fn files(written: Vec<(usize, ShardInfo)>) -> Vec<FileInfo> {
    let files = |(_, info): (usize, ShardInfo)| [info.data, info.spans];
    written.into_iter().flat_map(files).collect()
}
