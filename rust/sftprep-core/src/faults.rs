//! Named places at which a test can end the process, as a power cut would.
//!
//! `SFTPREP_KILL_AT=NAME:N` aborts at the `N`-th pass of the point called `NAME`. Without that
//! variable a point costs one load. Nothing is flushed and no destructor runs.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Every point, in the order in which a run passes them first.
pub const POINTS: [&str; 11] = [
    "file.written",
    "file.synced",
    "file.named",
    "task.done",
    "plan.done",
    "shard.done",
    "commit.begin",
    "commit.placed",
    "commit.synced",
    "commit.whole",
    "commit.swapped",
];

struct Wanted {
    name: String,
    passes_left: AtomicU64,
}

static WANTED: OnceLock<Option<Wanted>> = OnceLock::new();

/// Passes a point; does not return if this is the one where the process is to end.
pub fn point(name: &str) {
    debug_assert!(POINTS.contains(&name), "{name} is not listed");
    let Some(wanted) = WANTED.get_or_init(wanted) else {
        return;
    };
    if wanted.name == name && wanted.passes_left.fetch_sub(1, Relaxed) == 1 {
        std::process::abort();
    }
}

fn wanted() -> Option<Wanted> {
    let text = std::env::var("SFTPREP_KILL_AT").ok()?;
    let (name, passes) = text.split_once(':')?;
    Some(Wanted {
        name: name.to_owned(),
        passes_left: AtomicU64::new(passes.parse().ok()?),
    })
}
