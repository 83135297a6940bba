//! Which rows a mixture takes: a pure function of their trained tokens and a seed.

use super::permute::{Permutation, derive_key};

/// Domain of the key that shuffles rows before they are drawn.
const DRAW_DOMAIN: u64 = 1 << 35;

/// Draws rows in a shuffled order until their trained tokens are `wanted`; the last one is drawn if
/// that comes nearer, so the sum is off by half a row at most. Who wants more gets the same rows and
/// others. Returns which are drawn, and their trained tokens. There are fewer than 2^32 rows.
pub fn draw(trained: &[u32], wanted: u64, seed: u64) -> (Vec<bool>, u64) {
    let rows = trained.len() as u32;
    let order = Permutation::new(rows, derive_key(seed, DRAW_DOMAIN));
    let mut drawn = vec![false; trained.len()];
    let mut sum = 0;
    for place in 0..rows {
        let row = order.apply(place) as usize;
        let tokens = u64::from(trained[row]);
        if 2 * wanted.saturating_sub(sum) < tokens {
            break;
        }
        drawn[row] = true;
        sum += tokens;
    }
    (drawn, sum)
}

/// How many trained tokens each part of a mixture gives: in proportion to the weights, and either
/// `total` in all, or as many as there are without repeating any. An error is the index of the part
/// that has too few, and the total that it would allow.
pub fn shares(
    available: &[u64],
    weights: &[u64],
    total: Option<u64>,
) -> Result<Vec<u64>, (usize, u64)> {
    let sum: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
    let pairs = || (0..).zip(available.iter().zip(weights));
    let scarcest = pairs().min_by(|(_, (have, weight)), (_, (other, its))| {
        (u128::from(**have) * u128::from(**its)).cmp(&(u128::from(**other) * u128::from(**weight)))
    });
    let Some((index, (&have, &weight))) = scarcest else {
        return Ok(Vec::new());
    };
    // in proportion to the scarcest, which so gives exactly what it has
    let most = (u128::from(have), u128::from(weight.max(1)));
    let (numerator, denominator) = match total {
        Some(total) if u128::from(total) * most.1 > most.0 * sum => {
            return Err((
                index,
                (most.0 * sum / most.1).min(u128::from(u64::MAX)) as u64,
            ));
        }
        Some(total) => (u128::from(total), sum.max(1)),
        None => most,
    };
    let share = |weight: &u64| (u128::from(*weight) * numerator / denominator) as u64;
    Ok(weights.iter().map(share).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_drawn_is_near_what_was_wanted(
            trained in prop::collection::vec(0u32..5000, 0..300), part in 0u64..=100, seed: u64,
        ) {
            let all: u64 = trained.iter().map(|it| u64::from(*it)).sum();
            let wanted = all * part / 100;
            let (drawn, sum) = draw(&trained, wanted, seed);
            let longest = u64::from(trained.iter().copied().max().unwrap_or(0));
            prop_assert!(2 * sum.abs_diff(wanted) <= longest);
            let of = |it: &(&bool, &u32)| *it.0;
            let own: u64 = drawn.iter().zip(&trained).filter(of).map(|it| u64::from(*it.1)).sum();
            prop_assert_eq!(own, sum);
            if part == 100 {
                prop_assert!(drawn.iter().all(|it| *it));
            }
            // whoever wants more gets the same and others
            let (more, _) = draw(&trained, wanted + 1000, seed);
            prop_assert!(drawn.iter().zip(&more).all(|(one, other)| !one || *other));
        }

        #[test]
        fn shares_are_in_proportion(
            parts in prop::collection::vec((1u64..1 << 40, 1u64..1 << 30), 1..6),
        ) {
            let (have, weights): (Vec<u64>, Vec<u64>) = parts.into_iter().unzip();
            let all = shares(&have, &weights, None).unwrap();
            prop_assert!(all.iter().zip(&have).all(|(share, have)| share <= have));
            prop_assert!(all.iter().zip(&have).any(|(share, have)| share == have));
            for (share, weight) in all.iter().zip(&weights) {
                let (one, other) = (u128::from(*share), u128::from(all[0]));
                let (mine, first) = (u128::from(*weight), u128::from(weights[0]));
                prop_assert!((one * first).abs_diff(other * mine) <= mine.max(first));
            }
            let total: u64 = all.iter().sum();
            let same = shares(&have, &weights, Some(total)).unwrap();
            let most = weights.len() as u64; // each share was rounded down
            prop_assert!(same.iter().zip(&all).all(|(one, other)| one.abs_diff(*other) <= most));
            prop_assert!(shares(&have, &weights, Some(total + weights.len() as u64 + 1)).is_err());
        }
    }

    #[test]
    fn shares_of_little_things() {
        assert_eq!(shares(&[700, 300], &[7, 3], None), Ok(vec![700, 300]));
        assert_eq!(shares(&[700, 900], &[7, 3], None), Ok(vec![700, 300]));
        assert_eq!(shares(&[700, 900], &[7, 3], Some(100)), Ok(vec![70, 30]));
        assert_eq!(shares(&[700, 900], &[7, 3], Some(1001)), Err((0, 1000)));
        assert_eq!(shares(&[], &[], None), Ok(vec![]));
    }
}
