//! Properties of every plan, beside dumb references.

use proptest::prelude::*;
use proptest::strategy::Strategy as Generate;

use super::*;
use crate::config::Strategy;

const ALL: [Strategy; 6] = [
    Strategy::Bfd,
    Strategy::BfdSplit,
    Strategy::FirstFit,
    Strategy::Sequential,
    Strategy::Wrapped,
    Strategy::None,
];

fn rows(plan: &PackPlan) -> Vec<Vec<Piece>> {
    let mut pieces = Vec::new();
    (0..plan.rows())
        .map(|row| {
            plan.row(row, &mut pieces);
            pieces.clone()
        })
        .collect()
}

/// Best-fit decreasing, item by item, by linear search.
fn slow_bfd(lengths: &[u32], max_len: u32) -> Vec<u32> {
    let mut sorted = lengths.to_vec();
    sorted.sort_unstable_by(|a, b| b.cmp(a));
    let mut room: Vec<u32> = Vec::new();
    for length in sorted {
        match room.iter_mut().filter(|room| **room >= length).min() {
            Some(best) => *best -= length,
            None => room.push(max_len - length),
        }
    }
    room.sort_unstable();
    room
}

/// First fit, by linear search.
fn slow_first_fit(lengths: &[u32], max_len: u32) -> Vec<Vec<u32>> {
    let mut bins: Vec<(u32, Vec<u32>)> = Vec::new();
    for (document, &length) in (0..).zip(lengths) {
        match bins.iter_mut().find(|(used, _)| used + length <= max_len) {
            Some((used, documents)) => {
                *used += length;
                documents.push(document);
            }
            None => bins.push((length, vec![document])),
        }
    }
    bins.into_iter().map(|(_, documents)| documents).collect()
}

/// Lengths of several shapes: many equal ones, a few sizes, or anything.
fn lengths(max_len: u32) -> impl Generate<Value = Vec<u32>> {
    (1u32..=max_len, 0usize..400).prop_flat_map(move |(spread, n)| {
        prop::collection::vec(1u32..=max_len, n).prop_map(move |mut all| {
            for length in &mut all {
                *length = *length / spread * spread % max_len + 1;
            }
            all
        })
    })
}

fn case() -> impl Generate<Value = (u32, Vec<u32>)> {
    prop_oneof![Just(2u32), 3u32..20, 20u32..200, 1000u32..5000]
        .prop_flat_map(|max_len| (Just(max_len), lengths(max_len)))
}

/// As `case`, with documents up to five times too long.
fn long_case() -> impl Generate<Value = (u32, Vec<u32>)> {
    (2u32..60).prop_flat_map(|max_len| {
        (
            Just(max_len),
            prop::collection::vec(1..=5 * max_len, 0..200),
        )
    })
}

fn check_partition(lengths: &[u32], max_len: u32, plan: &PackPlan) {
    let rows = rows(plan);
    let mut pieces: Vec<Piece> = rows.iter().flatten().copied().collect();
    for (row, listed) in rows.iter().enumerate() {
        let tokens: u32 = listed.iter().map(|piece| piece.len).sum();
        assert!(tokens <= max_len && !listed.is_empty() && listed.iter().all(|p| p.len > 0));
        let shape = RowShape {
            tokens,
            documents: listed.len() as u32,
        };
        assert_eq!(plan.row_shape(row), shape);
    }
    pieces.sort_unstable();
    let mut next = pieces.iter();
    for (document, &length) in (0..).zip(lengths) {
        let mut at = 0;
        while at < length {
            let piece = next.next().expect("a piece is missing");
            assert_eq!((piece.document, piece.start), (document, at));
            at += piece.len;
        }
        assert_eq!(at, length);
    }
    assert!(next.next().is_none(), "a piece too many");
    let stats = plan.stats();
    assert_eq!(stats.pieces, pieces.len() as u64);
    assert_eq!(
        stats.tokens,
        lengths.iter().map(|&length| u64::from(length)).sum::<u64>()
    );
    assert_eq!(
        (stats.rows, stats.documents),
        (rows.len() as u64, lengths.len() as u64)
    );
    assert!(stats.lower_bound <= stats.rows);
    assert!(stats.fill <= 1.0 && stats.gap >= 0.0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_plan_is_a_partition((max_len, lengths) in case(), seed in 0u64..3) {
        for strategy in ALL {
            check_partition(&lengths, max_len, &plan(&lengths, max_len, strategy, seed)?);
        }
    }

    #[test]
    fn cutting_plans_are_partitions((max_len, lengths) in long_case(), seed in 0u64..3) {
        for strategy in [Strategy::BfdSplit, Strategy::Wrapped] {
            let plan = plan(&lengths, max_len, strategy, seed)?;
            check_partition(&lengths, max_len, &plan);
            // The cuts told in advance are those of the plan.
            let mut cuts = Cuts::new(strategy, max_len);
            let mut told: Vec<(u32, u32)> = Vec::new();
            for (document, &length) in (0..).zip(&lengths) {
                told.extend(cuts.next(length).map(|at| (document, at)));
            }
            let mut made: Vec<(u32, u32)> = rows(&plan).into_iter().flatten()
                .filter(|piece| piece.start > 0)
                .map(|piece| (piece.document, piece.start)).collect();
            made.sort_unstable();
            prop_assert_eq!(told, made);
        }
    }

    #[test]
    fn bfd_is_item_by_item_bfd((max_len, lengths) in case()) {
        let plan = plan(&lengths, max_len, Strategy::Bfd, 0)?;
        let mut room: Vec<u32> =
            (0..plan.rows()).map(|row| max_len - plan.row_shape(row).tokens).collect();
        room.sort_unstable();
        prop_assert_eq!(room, slow_bfd(&lengths, max_len));
    }

    #[test]
    fn bfd_split_is_bfd_of_the_pieces((max_len, lengths) in long_case()) {
        let mut pieces = Vec::new();
        for &length in &lengths {
            pieces.extend((0..length).step_by(max_len as usize).map(|at| max_len.min(length - at)));
        }
        let split = plan(&lengths, max_len, Strategy::BfdSplit, 0)?.stats();
        let whole = plan(&pieces, max_len, Strategy::Bfd, 0)?.stats();
        prop_assert_eq!((split.rows, split.lower_bound), (whole.rows, whole.lower_bound));
        prop_assert_eq!(split.rows as usize, slow_bfd(&pieces, max_len).len());
    }

    #[test]
    fn first_fit_is_first_fit((max_len, lengths) in case()) {
        let plan = plan(&lengths, max_len, Strategy::FirstFit, 0)?;
        let mut found: Vec<Vec<u32>> = rows(&plan).iter()
            .map(|row| row.iter().map(|piece| piece.document).collect()).collect();
        found.sort_unstable();
        let mut expected = slow_first_fit(&lengths, max_len);
        expected.sort_unstable();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn equal_input_gives_an_equal_plan((max_len, mut lengths) in case(), seed in any::<u64>()) {
        for strategy in ALL {
            let (one, two) = (plan(&lengths, max_len, strategy, seed)?,
                              plan(&lengths, max_len, strategy, seed)?);
            prop_assert_eq!(rows(&one), rows(&two));
        }
        let shapes = |plan: &PackPlan| {
            let mut shapes: Vec<u32> =
                (0..plan.rows()).map(|row| plan.row_shape(row).tokens).collect();
            shapes.sort_unstable();
            shapes
        };
        let before = shapes(&plan(&lengths, max_len, Strategy::Bfd, seed)?);
        lengths.reverse();
        let half = lengths.len() / 2;
        lengths[..half].sort_unstable();
        prop_assert_eq!(before, shapes(&plan(&lengths, max_len, Strategy::Bfd, seed + u64::from(seed < u64::MAX))?));
    }
}

#[test]
fn order_keeping_strategies_keep_the_order() {
    let lengths = [3, 3, 3, 9, 1, 1, 8];
    for strategy in [Strategy::Sequential, Strategy::Wrapped, Strategy::None] {
        let plan = plan(&lengths, 10, strategy, 5).unwrap();
        let documents: Vec<u32> = rows(&plan)
            .iter()
            .flatten()
            .map(|piece| piece.document)
            .collect();
        assert!(documents.is_sorted(), "{strategy:?}: {documents:?}");
    }
    let sequential = plan(&lengths, 10, Strategy::Sequential, 0).unwrap();
    assert_eq!(
        rows(&sequential).iter().map(Vec::len).collect::<Vec<_>>(),
        [3, 2, 2]
    );
}

#[test]
fn rows_are_well_mixed() {
    // 20,000 documents, the second half of them long: any thousand rows hold about as many of
    // either half, and about as many tokens, as any other thousand.
    let lengths: Vec<u32> = (0..20_000)
        .map(|i| 10 + i % 90 + 100 * (i / 10_000))
        .collect();
    let plan = plan(&lengths, 256, Strategy::Bfd, 0).unwrap();
    let rows = rows(&plan);
    let window = rows.len() / 10;
    let share = |rows: &[Vec<Piece>]| {
        let late = rows
            .iter()
            .flatten()
            .filter(|piece| piece.document >= 10_000)
            .count();
        late as f64 / rows.iter().map(Vec::len).sum::<usize>() as f64
    };
    let all = share(&rows);
    for part in rows.chunks_exact(window) {
        assert!((share(part) - all).abs() < 0.08, "{} of {all}", share(part));
    }
}

#[test]
fn seeds_move_documents_of_equal_length() {
    let lengths = vec![40; 3000];
    let of = |seed| rows(&plan(&lengths, 100, Strategy::Bfd, seed).unwrap());
    let (zero, one) = (of(0), of(1));
    let same = zero.iter().zip(&one).filter(|(a, b)| a == b).count();
    assert!(same < 10, "{same} rows are the same with another seed");
    // Partners are not neighbours in the input, either.
    let near = zero
        .iter()
        .filter(|row| row[0].document.abs_diff(row[1].document) < 30)
        .count();
    assert!(near < 100, "{near} of 1500 rows hold neighbours");
}

#[test]
fn what_the_caller_must_not_pass_is_refused() {
    let refused = |lengths: &[u32], max_len, strategy| {
        let error = plan(lengths, max_len, strategy, 0).unwrap_err();
        assert_eq!(error.code, Code::RunInternal);
        error.message
    };
    for strategy in ALL {
        assert!(refused(&[3, 0, 2], 8, strategy).contains("document 1 is empty"));
        let mut far = vec![8; 5000];
        far.push(0);
        assert!(refused(&far, 8, strategy).contains("document 5000 is empty"));
        assert!(refused(&[3], 0, strategy).contains("max_len is 0"));
    }
    let error = plan(&[9, 0], 8, Strategy::BfdSplit, 0).unwrap_err();
    assert!(error.message.contains("document 1 is empty"));
    for strategy in [
        Strategy::Bfd,
        Strategy::FirstFit,
        Strategy::Sequential,
        Strategy::None,
    ] {
        assert!(refused(&[3, 9], 8, strategy).contains("document 1 has 9 tokens"));
    }
}

#[test]
fn nothing_to_pack_is_an_empty_plan() {
    for strategy in ALL {
        let stats = plan(&[], 8, strategy, 0).unwrap().stats();
        assert_eq!((stats.rows, stats.pieces, stats.lower_bound), (0, 0, 0));
        assert!((stats.fill - 1.0).abs() < f64::EPSILON);
    }
}

/// Rows of format version 1: the permutations are part of it.
#[test]
fn the_plan_is_that_of_format_version_1() {
    let lengths: Vec<u32> = (0..40).map(|i| 5 + i * i % 17).collect();
    let plan = plan(&lengths, 64, Strategy::Bfd, 0).unwrap();
    let documents: Vec<Vec<u32>> = rows(&plan)
        .iter()
        .map(|row| row.iter().map(|piece| piece.document).collect())
        .collect();
    let expected: [&[u32]; 9] = [
        &[27, 24, 10],
        &[13, 30, 7],
        &[34, 17, 0],
        &[15, 28, 23, 11, 16, 33, 18, 35, 1],
        &[26, 9, 25, 36],
        &[21, 38, 4],
        &[37, 20, 5, 12, 32],
        &[39, 29, 22, 2, 19, 6],
        &[8, 31, 3, 14],
    ];
    assert_eq!(documents, expected);
}
