//! Merging a few symbols: they stay where they are, a bit mask tells which are left, and the lowest
//! of all keys is found anew for every merge by a few vector instructions.
//!
//! The keys are only ever read and written as a whole. (A vector read from memory in which one
//! element was written just before has to wait until that is done: a third of the time that
//! merging took.)

use super::{FEW, Merges, NONE};
use crate::blocks::Features;

/// No merge.
const NO_KEY: i32 = i32::MAX;

/// The symbols, and what each makes with the next.
#[derive(Clone, Copy)]
pub(super) struct Few {
    pub(super) ids: [u32; FEW],
    made: [u32; FEW],
    /// Rank and place in one word, ordered as merging wants them. (Signed, which is what vector
    /// instructions compare.)
    keys: [i32; FEW],
}

impl Default for Few {
    fn default() -> Self {
        Self {
            ids: [0; FEW],
            made: [0; FEW],
            keys: [NO_KEY; FEW],
        }
    }
}

const HALF: usize = FEW / 2;

impl Few {
    /// Takes the first symbols and what each makes with the next.
    #[inline(always)]
    #[allow(clippy::inline_always)] // with what tells the rules
    pub(super) fn begin(
        &mut self,
        ids: impl Iterator<Item = u32>,
        rules: impl Iterator<Item = [u32; 2]>,
    ) {
        for (slot, id) in self.ids.iter_mut().zip(ids) {
            *slot = id;
        }
        self.keys = [NO_KEY; FEW];
        for (i, rule) in rules.enumerate().take(FEW) {
            self.keys[i] = key(rule, i);
            self.made[i] = rule[1];
        }
    }

    /// Merges the first `n` symbols (2 to `FEW`); returns which are left, a bit for each.
    #[allow(unsafe_code)]
    pub(super) fn merge(&mut self, merges: &Merges, n: usize, features: Features) -> u32 {
        match features {
            Features::Plain => self.merge_all(merges, n),
            // SAFETY: `detect` has found that the processor has these instructions.
            #[cfg(target_arch = "x86_64")]
            Features::Avx2 => unsafe { self.merge_avx2(merges, n) },
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,bmi1,bmi2")]
    fn merge_avx2(&mut self, merges: &Merges, n: usize) -> u32 {
        self.merge_all(merges, n)
    }

    #[inline(always)]
    #[allow(clippy::inline_always)] // it is compiled once for each set of instructions
    fn merge_all(&mut self, merges: &Merges, n: usize) -> u32 {
        match self.keys.first_chunk::<HALF>() {
            Some(&keys) if n <= HALF => self.merge_keys(merges, n, keys),
            _ => self.merge_keys(merges, n, self.keys),
        }
    }

    #[inline(always)]
    #[allow(clippy::inline_always)]
    fn merge_keys<const N: usize>(&mut self, merges: &Merges, n: usize, mut keys: [i32; N]) -> u32 {
        let mut left = u32::MAX >> (FEW - n.min(FEW));
        loop {
            let lowest = keys.iter().fold(NO_KEY, |m, &k| m.min(k));
            if lowest == NO_KEY {
                return left;
            }
            let i = lowest as usize % FEW;
            let after = left & (!1 << i);
            let (j, beyond) = (after.trailing_zeros(), after & after.wrapping_sub(1));
            let before = left & ((1 << i) - 1);
            left &= !(after & after.wrapping_neg());
            let id = self.made[i];
            self.ids[i] = id;
            // (Where there is no symbol before, no element has this number.)
            let h = 31 ^ before.leading_zeros();
            let beside = |mask: u32, at: u32| (mask != 0).then(|| self.ids[at as usize % FEW]);
            let [left_rule, right_rule] = merges.around(
                beside(before, h),
                id,
                beside(beyond, beyond.trailing_zeros()),
            );
            self.made[i] = right_rule[1];
            let h_at = h as usize % FEW;
            if before != 0 {
                self.made[h_at] = left_rule[1];
            }
            let (key_h, key_i) = (key(left_rule, h_at), key(right_rule, i));
            let (h, i) = (h as i32, i as i32);
            for (at, k) in keys.iter_mut().enumerate() {
                let at = at as i32;
                let old = if at == j as i32 { NO_KEY } else { *k };
                let old = if at == i { key_i } else { old };
                *k = if at == h { key_h } else { old };
            }
        }
    }
}

#[inline]
fn key([rank, _]: [u32; 2], i: usize) -> i32 {
    let key = (rank.wrapping_mul(FEW as u32)) as i32 | (i % FEW) as i32;
    if rank == NONE { NO_KEY } else { key }
}
