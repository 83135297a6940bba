//! An order of rows in which parallel ranks have like work in every step.
//!
//! A step takes `ranks` rows that follow each other. The rows of some sixteen steps, a window of the
//! shuffled order, are sorted by cost and dealt to steps, so the rows of a step cost about the same;
//! then steps are shuffled inside their window and rows inside their step. No row leaves its window,
//! so what is read early and what late stays as random as it was. Sorting makes the sum of the
//! costliest rows of the steps as small as it can be: balance never gets worse.

use super::permute::{Permutation, derive_key};

/// Steps of a window: at least as many, and fewer than twice as many in the last ones of a data set.
pub const WINDOW_STEPS: u32 = 16;

/// What a token costs beside its attention, in units of one squared token: twelve times the width of
/// a model with 2,731 channels, of some three billion parameters. A step is 6 FLOP per token and
/// parameter and 6 per layer, channel and squared document length, and a layer has some twelve
/// squared widths of parameters.
pub const TOKEN_COST: u64 = 1 << 15;

/// Domain of the keys that shuffle steps inside window `w`: `STEP_DOMAIN + w`.
const STEP_DOMAIN: u64 = 1 << 33;

/// Domain of the keys that shuffle rows inside step `s`: `RANK_DOMAIN + s`.
const RANK_DOMAIN: u64 = 1 << 34;

/// How equal the work of the ranks is: the sum over all whole steps of the costliest row, by that
/// of the mean. 1 is perfect; a step takes that much longer than it had to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Balance {
    /// Rows of a step.
    pub ranks: u32,
    /// Without balancing.
    pub before: f64,
    /// With it.
    pub after: f64,
}

/// The rows in their new order: at each place, the row's place in the old one.
pub(super) fn balanced(
    rows: u32,
    ranks: u32,
    seed: u64,
    cost: impl Fn(u32) -> u64,
) -> (Vec<u32>, Balance) {
    let ranks = ranks.max(1);
    let steps = rows / ranks;
    let windows = (steps / WINDOW_STEPS).max(1);
    let mut order = Vec::with_capacity(rows as usize);
    let mut tally = Tally::new(ranks);
    let mut window: Vec<(u64, u32)> = Vec::new();
    for number in 0..windows {
        let first_step =
            |window: u32| (u64::from(window) * u64::from(steps) / u64::from(windows)) as u32;
        let (first, last) = (first_step(number), first_step(number + 1));
        window.clear();
        window.extend((first * ranks..last * ranks).map(|row| (cost(row), row)));
        window
            .chunks(ranks as usize)
            .for_each(|step| tally.before(step));
        window.sort_unstable();
        let domain = STEP_DOMAIN + u64::from(number);
        let deal = Permutation::new(last - first, derive_key(seed, domain));
        for step in first..last {
            let from = (deal.apply(step - first) * ranks) as usize;
            let rows = &window[from..from + ranks as usize];
            tally.after(rows);
            let domain = RANK_DOMAIN + u64::from(step);
            let shuffle = Permutation::new(ranks, derive_key(seed, domain));
            order.extend((0..ranks).map(|rank| rows[shuffle.apply(rank) as usize].1));
        }
    }
    // rows that fill no step stay where they are
    order.extend(steps * ranks..rows);
    (order, tally.finish())
}

/// Adds up the costs of steps, before and after.
struct Tally {
    ranks: u32,
    most: [u128; 2],
    all: u128,
}

impl Tally {
    fn new(ranks: u32) -> Self {
        Self {
            ranks,
            most: [0; 2],
            all: 0,
        }
    }

    fn before(&mut self, step: &[(u64, u32)]) {
        self.most[0] += most(step);
        self.all += step.iter().map(|(cost, _)| u128::from(*cost)).sum::<u128>();
    }

    fn after(&mut self, step: &[(u64, u32)]) {
        self.most[1] += most(step);
    }

    fn finish(self) -> Balance {
        let ratio = |most: u128| match self.all {
            0 => 1.0,
            all => most as f64 * f64::from(self.ranks) / all as f64,
        };
        Balance {
            ranks: self.ranks,
            before: ratio(self.most[0]),
            after: ratio(self.most[1]),
        }
    }
}

fn most(step: &[(u64, u32)]) -> u128 {
    step.iter()
        .map(|(cost, _)| u128::from(*cost))
        .max()
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn costs() -> impl proptest::strategy::Strategy<Value = (Vec<u64>, u32, u64)> {
        (
            prop::collection::vec(1u64..1 << 40, 0..700),
            1u32..40,
            any::<u64>(),
        )
    }

    /// The imbalance of an order, by its definition.
    fn imbalance(costs: &[u64], order: &[u32], ranks: u32) -> f64 {
        let (mut most, mut all) = (0u128, 0u128);
        for step in order.chunks_exact(ranks as usize) {
            let cost = |row: &u32| u128::from(costs[*row as usize]);
            most += step.iter().map(cost).max().unwrap();
            all += step.iter().map(cost).sum::<u128>();
        }
        if all == 0 {
            1.0
        } else {
            most as f64 * f64::from(ranks) / all as f64
        }
    }

    proptest! {
        #[test]
        fn it_is_a_permutation_inside_windows_and_never_worse((costs, ranks, seed) in costs()) {
            let rows = costs.len() as u32;
            let (order, told) = balanced(rows, ranks, seed, |row| costs[row as usize]);
            let mut sorted = order.clone();
            sorted.sort_unstable();
            prop_assert!(sorted.iter().copied().eq(0..rows));
            let before: Vec<u32> = (0..rows).collect();
            prop_assert!((told.before - imbalance(&costs, &before, ranks)).abs() < 1e-12);
            prop_assert!((told.after - imbalance(&costs, &order, ranks)).abs() < 1e-12);
            prop_assert!(told.after <= told.before);
            // a window has fewer than 32 steps, and the rest does not move
            for (place, row) in (0u32..).zip(&order) {
                prop_assert!(place.abs_diff(*row) < 2 * WINDOW_STEPS * ranks);
                prop_assert!(place < rows / ranks * ranks || *row == place);
            }
            let again = balanced(rows, ranks, seed, |row| costs[row as usize]);
            prop_assert_eq!(again, (order, told));
        }
    }

    #[test]
    fn equal_rows_end_up_in_one_step() {
        // every step has one costly row, and there are sixteen steps of eight
        let costs: Vec<u64> = (0..128)
            .map(|row| if row % 8 == 0 { 90 } else { 10 })
            .collect();
        let (order, told) = balanced(128, 8, 3, |row| costs[row as usize]);
        assert_eq!((told.before, told.after), (4.5, 1.0));
        // costly steps do not come first, nor costly rows at one rank
        let costly: Vec<usize> = (0..128)
            .filter(|at| costs[order[*at] as usize] == 90)
            .collect();
        assert_eq!(costly.len(), 16);
        assert!(costly[0] / 8 > 0 || costly[15] / 8 > 1, "{costly:?}");
    }

    #[test]
    fn the_seed_decides() {
        let cost = |row: u32| u64::from(row.wrapping_mul(2_654_435_761) >> 8);
        let one = balanced(1000, 8, 1, cost);
        let two = balanced(1000, 8, 2, cost);
        assert_ne!(one.0, two.0);
        assert_eq!(one.1, two.1, "the same rows share their steps");
    }
}
