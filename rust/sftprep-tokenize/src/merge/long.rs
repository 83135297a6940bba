//! Merging units of many symbols in time that grows with their length alone.
//!
//! Three ways, each exact: runs of one symbol are merged as runs; other units window by window
//! where the windows prove themselves; what is left by a heap.
//!
//! Why windows may be put together: tokens t1 to tn are what merging their symbols gives if and
//! only if each two neighbours are what merging those two alone gives. (Until the first merge
//! across a boundary, the merges within the two tokens beside it come in the same order whatever
//! stands around them, so that merge would come in the pair alone, too; and the other way round.)
//! So where a window begins at a token boundary of the one before, and its first token is the one
//! that stood there, all neighbours are proven.

use super::{FEW, Merger, Merges, NONE};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Memory that is kept from unit to unit.
#[derive(Default)]
pub(super) struct Scratch {
    prev: Vec<u32>,
    next: Vec<u32>,
    heap: BinaryHeap<Reverse<(u32, u32)>>,
    ids: Vec<u32>,
    lens: Vec<u32>,
    runs: Vec<Run>,
    window: Option<Box<Window>>,
}

/// Equal symbols side by side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Run {
    id: u32,
    len: u32,
    count: usize,
}

/// More runs than this are not repetition.
const MAX_RUNS: usize = 16;

/// Sizes of windows in symbols: where one does not prove itself, a larger one is tried.
const SIZES: [usize; 3] = [FEW, 256, 4096];

/// Tokens at the end of a window that the next one merges again.
const AGAIN: usize = 2;

impl Merger {
    pub(super) fn run_many(&mut self, merges: &Merges) {
        if !self.run_repeated(merges) && !self.run_windows(merges) {
            self.run_heap(merges);
        }
    }

    /// Merges a unit of few runs; says whether it could.
    pub(super) fn run_repeated(&mut self, merges: &Merges) -> bool {
        let mut runs = std::mem::take(&mut self.long.runs);
        runs.clear();
        let mut few = true;
        for (&id, &len) in self.ids.iter().zip(&self.lens) {
            let run = Run { id, len, count: 1 };
            if !append(&mut runs, run) || runs.len() > MAX_RUNS {
                few = false;
                break;
            }
        }
        let done = few && merge_runs(&mut runs, merges).is_some();
        if done {
            self.clear();
            for run in &runs {
                self.ids.resize(self.ids.len() + run.count, run.id);
                self.lens.resize(self.lens.len() + run.count, run.len);
            }
        }
        self.long.runs = runs;
        done
    }

    /// Merges windows of the unit and puts them together; says whether that was possible. If not,
    /// the symbols are as they were.
    pub(super) fn run_windows(&mut self, merges: &Merges) -> bool {
        let (ids, lens) = (
            std::mem::take(&mut self.ids),
            std::mem::take(&mut self.lens),
        );
        let mut out = std::mem::take(&mut self.long.ids);
        let mut out_lens = std::mem::take(&mut self.long.lens);
        out.clear();
        out_lens.clear();
        let mut window = self.long.window.take().unwrap_or_default();
        window.size = 0;
        // The token that stood where the window begins, merged with what was before it.
        let (mut at, mut next) = (0, None);
        let mut level = 0;
        let done = loop {
            window.merge(merges, &ids[at..], SIZES[level]);
            let n = window.merger.ids.len();
            let last = at + window.size == ids.len();
            let proven = next.is_none_or(|next| next == window.token(0));
            if proven && last {
                window.append(n, &lens[at..], &mut out, &mut out_lens);
                break true;
            }
            if !proven || n <= AGAIN {
                level += 1;
                if last || level == SIZES.len() {
                    break false;
                }
                continue;
            }
            next = Some(window.token(n - AGAIN));
            at += window.append(n - AGAIN, &lens[at..], &mut out, &mut out_lens);
            // (Text that needs large windows is of one kind for long.)
            level = level.min(1);
        };
        if done {
            (self.ids, self.long.ids) = (out, ids);
            (self.lens, self.long.lens) = (out_lens, lens);
        } else {
            (self.ids, self.lens) = (ids, lens);
            (self.long.ids, self.long.lens) = (out, out_lens);
        }
        self.long.window = Some(window);
        done
    }

    /// Merges by a heap of candidates.
    pub(super) fn run_heap(&mut self, merges: &Merges) {
        let n = self.ids.len();
        let (ids, lens, heap) = (&mut self.ids, &mut self.lens, &mut self.long.heap);
        let (prev, next) = (&mut self.long.prev, &mut self.long.next);
        prev.clear();
        next.clear();
        prev.extend((0..n as u32).map(|i| i.wrapping_sub(1)));
        next.extend(1..=n as u32);
        let mut first: Vec<_> = std::mem::take(heap).into_vec();
        first.clear();
        for i in 0..n - 1 {
            let [rank, _] = merges.get(ids[i], ids[i + 1]);
            if rank != NONE {
                first.push(Reverse((rank, i as u32)));
            }
        }
        *heap = BinaryHeap::from(first);
        while let Some(Reverse((rank, at))) = heap.pop() {
            let i = at as usize;
            // (`NONE`: this symbol has become a part of the one before it.)
            if next[i] == NONE || next[i] as usize >= n {
                continue;
            }
            let j = next[i] as usize;
            let [now, new] = merges.get(ids[i], ids[j]);
            if now != rank {
                continue; // one of the two has merged with another meanwhile
            }
            ids[i] = new;
            lens[i] += lens[j];
            next[i] = std::mem::replace(&mut next[j], NONE);
            if (next[i] as usize) < n {
                prev[next[i] as usize] = at;
                let [rank, _] = merges.get(ids[i], ids[next[i] as usize]);
                if rank != NONE {
                    heap.push(Reverse((rank, at)));
                }
            }
            if prev[i] != NONE {
                let [rank, _] = merges.get(ids[prev[i] as usize], ids[i]);
                if rank != NONE {
                    heap.push(Reverse((rank, prev[i])));
                }
            }
        }
        let mut kept = 0;
        for i in 0..n {
            if next[i] != NONE {
                (ids[kept], lens[kept]) = (ids[i], lens[i]);
                kept += 1;
            }
        }
        ids.truncate(kept);
        lens.truncate(kept);
    }
}

/// Adds a run behind the others; says whether that was possible: neighbours of one id and
/// different lengths (a space and a `▁`) would not be runs.
fn append(runs: &mut Vec<Run>, run: Run) -> bool {
    match runs.last_mut() {
        _ if run.count == 0 => true,
        Some(last) if last.id == run.id => {
            last.count += run.count;
            last.len == run.len
        }
        _ => {
            runs.push(run);
            true
        }
    }
}

/// Merges until nothing merges; `None` where runs do not tell the order of merges.
fn merge_runs(runs: &mut Vec<Run>, merges: &Merges) -> Option<()> {
    loop {
        let mut best = ([NONE; 2], 0, false);
        for (i, run) in runs.iter().enumerate() {
            let within = (run.count > 1).then_some((run.id, true));
            let across = runs.get(i + 1).map(|next| (next.id, false));
            for (right, within) in within.into_iter().chain(across) {
                let found = merges.get(run.id, right);
                if found[0] < best.0[0] {
                    best = (found, i, within);
                }
            }
        }
        let ([rank, new], i, within) = best;
        if rank == NONE {
            return Some(());
        }
        let run = runs[i];
        let mut changed: Vec<Run> = runs[..i].to_vec();
        let mut fits = true;
        let mut add = |run| fits &= append(&mut changed, run);
        if within {
            // All of them at once, if nothing that the first of these merges makes comes before
            // the others.
            let earlier = |a, b| merges.get(a, b)[0] <= rank;
            let before = i.checked_sub(1).is_some_and(|h| earlier(runs[h].id, new));
            let after = runs.get(i + 1).is_some_and(|next| earlier(new, next.id));
            if before || after || earlier(new, new) || earlier(new, run.id) || new == run.id {
                return None;
            }
            add(Run {
                id: new,
                len: 2 * run.len,
                count: run.count / 2,
            });
            add(Run {
                count: run.count % 2,
                ..run
            });
        } else {
            let next = runs[i + 1];
            add(Run {
                count: run.count - 1,
                ..run
            });
            add(Run {
                id: new,
                len: run.len + next.len,
                count: 1,
            });
            add(Run {
                count: next.count - 1,
                ..next
            });
        }
        let rest = i + if within { 1 } else { 2 };
        runs[rest..].iter().for_each(|run| add(*run));
        if !fits || changed.len() > 2 * MAX_RUNS {
            return None;
        }
        *runs = changed;
    }
}

/// Symbols, merged.
#[derive(Default)]
pub(super) struct Window {
    merger: Merger,
    /// The symbols, of which runs of one kind give the same window again and again.
    symbols: Vec<u32>,
    size: usize,
}

impl Window {
    /// Merges as many of the symbols as the window takes. The lengths of tokens are in symbols.
    fn merge(&mut self, merges: &Merges, ids: &[u32], size: usize) {
        let ids = &ids[..ids.len().min(size)];
        if self.size == ids.len() && self.symbols == ids {
            return;
        }
        self.size = ids.len();
        self.symbols.clear();
        self.symbols.extend_from_slice(ids);
        self.merger.clear();
        self.merger.ids.extend_from_slice(ids);
        self.merger.lens.resize(ids.len(), 1);
        match ids.len() {
            0 | 1 => {}
            2..=FEW => self.merger.run_few(merges),
            _ => self.merger.run_heap(merges),
        }
    }

    fn token(&self, i: usize) -> (u32, u32) {
        (self.merger.ids[i], self.merger.lens[i])
    }

    /// Appends the first `n` tokens and tells how many symbols they are made of; `bytes` are the
    /// lengths of the symbols.
    fn append(&self, n: usize, bytes: &[u32], ids: &mut Vec<u32>, lens: &mut Vec<u32>) -> usize {
        ids.extend_from_slice(&self.merger.ids[..n]);
        let mut at = 0;
        for parts in &self.merger.lens[..n] {
            let end = at + *parts as usize;
            lens.push(bytes[at..end].iter().sum());
            at = end;
        }
        at
    }
}
