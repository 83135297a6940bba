//! The write phase: whole shards, gathered by as many threads as there are, in any order.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::control::Control;
use super::{MappedRows, threads};
use crate::config::PackConfig;
use crate::error::{Code, Error, Result};
use crate::pack::PackPlan;
use crate::shard::{FileInfo, OutputDir, ShardInfo, ShardPlan, write_shard};

/// Writes all shards; returns their files in the order of the shards.
///
/// # Errors
/// `output.*`; `run.cancelled`.
pub(super) fn write_shards(
    plan: &PackPlan,
    mapped: &MappedRows,
    config: &PackConfig,
    control: &Control,
    output: &OutputDir,
) -> Result<Vec<FileInfo>> {
    let shards = ShardPlan::new(plan, config.output.shard_bytes);
    output.check_space(shards.bytes_needed(mapped.counts.spans))?;
    let dir = output.files();
    let next = AtomicUsize::new(0);
    let check = || control.check();
    let work = || -> Result<Vec<(usize, ShardInfo)>> {
        let mut written = Vec::new();
        loop {
            let index = next.fetch_add(1, Relaxed);
            if index >= shards.shards() {
                return Ok(written);
            }
            let info = write_shard(&dir, plan, &shards, &mapped.segment, index, &check)?;
            control.sequences.fetch_add(info.data.rows, Relaxed);
            control
                .bytes_written
                .fetch_add(info.data.bytes + info.spans.bytes, Relaxed);
            written.push((index, info));
        }
    };
    let threads = threads(config).min(shards.shards());
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
    let mut written = Vec::with_capacity(shards.shards());
    for result in results {
        written.extend(result?);
    }
    written.sort_by_key(|(index, _)| *index);
    Ok(written
        .into_iter()
        .flat_map(|(_, info)| [info.data, info.spans])
        .collect())
}
