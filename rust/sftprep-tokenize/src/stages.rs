//! The stages of encoding, each by itself: for the benches of this crate, not a part of its
//! interface.

use crate::classes::classes;
use crate::masks::BLOCK;
use crate::merge::Merger;
use crate::plan::Family;
use crate::run::State;
use crate::tokenizer::Tokenizer;

/// Whether a text is certainly in NFC.
pub fn is_normal(text: &str) -> bool {
    crate::nfc::is_nfc(text)
}

/// Number of pre-tokens of a text; 0 for a tokenizer that does not split.
pub fn split(tokenizer: &Tokenizer, text: &str) -> usize {
    let Some(plan) = tokenizer.plan() else {
        return 0;
    };
    let Family::ByteLevel(split) = plan.family else {
        return 0;
    };
    let (mut state, t, mut p, mut n) = (State::new(plan), text.as_bytes(), 0, 0);
    while p < t.len() {
        let from = p;
        (p, n) = (state.scan(&split, t, p), n + state.forget());
        if p == from {
            p = split.next(classes(), t, p);
            n += 1;
        }
    }
    n
}

/// Number of units into which a text is cut where no token crosses.
pub fn cut(tokenizer: &Tokenizer, text: &str) -> usize {
    let Some(plan) = tokenizer.plan() else {
        return 0;
    };
    let t = text.as_bytes();
    let blocks = (0..t.len()).step_by(BLOCK);
    let inner = blocks.map(|at| plan.bridges.cuts(t, 0, at, plan.spm()).count_ones());
    usize::from(!t.is_empty()) + inner.sum::<u32>() as usize
}

/// Number of tokens of some units, all of which are merged.
pub fn merge(tokenizer: &Tokenizer, units: &[&str]) -> usize {
    let Some(plan) = tokenizer.plan() else {
        return 0;
    };
    let (mut merger, mut n) = (Merger::default(), 0);
    for unit in units {
        plan.merge(&mut merger, unit.as_bytes());
        n += merger.ids.len();
    }
    n
}
