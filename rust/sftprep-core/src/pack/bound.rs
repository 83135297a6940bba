//! A lower bound on the number of bins: what no packing can beat.

/// The larger of the size bound and Martello and Toth's L2, from the histogram of lengths.
///
/// L2 (Martello and Toth, *Knapsack Problems*, 1990, section 8.3): for every threshold `k` up to
/// half a bin, documents longer than `max_len - k` fill a bin alone, those longer than half need a
/// bin each, and what the latter leave free must hold those of at least `k`.
pub(super) fn lower_bound(counts: &[u32], max_len: u32) -> u64 {
    let capacity = u64::from(max_len);
    let longest = counts.len() as u64; // one past the longest length
    // Documents and tokens of length `low..high`.
    let sum = |low: u64, high: u64| {
        let range = low.min(longest) as usize..high.min(longest) as usize;
        let first = range.start as u64;
        counts[range]
            .iter()
            .zip(first..)
            .fold((0u64, 0u64), |(documents, tokens), (&n, length)| {
                (documents + u64::from(n), tokens + u64::from(n) * length)
            })
    };
    let half = capacity / 2;
    let (mut alone, _) = sum(capacity + 1, longest); // J1, longer than capacity - k; k = 0
    let (mut large, mut large_tokens) = sum(half + 1, capacity + 1); // J2
    let (_, mut small_tokens) = sum(0, half + 1); // J3, from k to half
    let at = |length: u64| counts.get(length as usize).copied().map_or(0, u64::from);
    let mut best = 0;
    for k in 0..=half {
        let free = large * capacity - large_tokens;
        best = best.max(alone + large + small_tokens.saturating_sub(free).div_ceil(capacity));
        // On to k + 1: length capacity - k becomes one that fills a bin alone, length k drops out.
        // With an even capacity, length capacity - half is not in J2 but in J3; the loop ends there.
        let (moved, dropped) = (at(capacity - k), at(k));
        if capacity - k > half {
            alone += moved;
            large -= moved;
            large_tokens -= moved * (capacity - k);
        }
        small_tokens -= dropped * k;
    }
    best
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, word for word.
    fn slow_bound(lengths: &[u32], max_len: u32) -> u64 {
        (0..=max_len / 2)
            .map(|k| {
                let j1 = lengths.iter().filter(|&&l| l > max_len - k).count() as i64;
                let in_j2 = |&&l: &&u32| l <= max_len - k && l > max_len / 2;
                let j2 = lengths.iter().filter(in_j2).count() as i64;
                let j2_tokens: i64 = lengths.iter().filter(in_j2).map(|&l| i64::from(l)).sum();
                let j3_tokens: i64 = lengths
                    .iter()
                    .filter(|&&l| l <= max_len / 2 && l >= k)
                    .map(|&l| i64::from(l))
                    .sum();
                let capacity = i64::from(max_len);
                let over = j3_tokens - (j2 * capacity - j2_tokens);
                j1 + j2 + ((over + capacity - 1).div_euclid(capacity)).max(0)
            })
            .max()
            .unwrap_or(0) as u64
    }

    proptest! {
        #[test]
        fn it_is_the_definition(
            max_len in 2u32..60,
            lengths in prop::collection::vec(any::<u32>(), 0..60),
        ) {
            let lengths: Vec<u32> = lengths.iter().map(|l| l % max_len + 1).collect();
            let longest = lengths.iter().copied().max().unwrap_or(0);
            let mut counts = vec![0; longest as usize + 1];
            for &length in &lengths { counts[length as usize] += 1; }
            prop_assert_eq!(lower_bound(&counts, max_len), slow_bound(&lengths, max_len));
        }
    }

    #[test]
    fn it_sees_what_the_size_bound_does_not() {
        // Nine documents just over a third: three never fit together, so five bins, not four.
        let mut counts = vec![0; 35];
        counts[34] = 9;
        assert_eq!(lower_bound(&counts, 100), 4); // L2 has no such term either: the size bound
        let mut counts = vec![0; 52];
        counts[51] = 9;
        assert_eq!(lower_bound(&counts, 100), 9);
    }
}
