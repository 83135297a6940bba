//! Choosing: against loops as anybody would write them, and against brute force.

#![allow(clippy::unwrap_used, clippy::float_cmp)] // tests

use std::collections::BTreeSet;

use proptest::prelude::*;
use sftprep_quality::select::{
    Facility, KMeans, Metric, NotVectors, Novelty, Vectors, facility_location, kmeans, novel_tags,
    novel_vectors, on_threads,
};

fn vectors(width: usize, rows: &[Vec<f32>]) -> Vectors {
    Vectors::new(width, rows.concat()).unwrap()
}

/// Few distinct numbers, so that ties and equal rows occur.
fn rows(most: usize, width: usize) -> impl Strategy<Value = Vec<Vec<f32>>> {
    let number = (-4_i8..=4).prop_map(|it| f32::from(it) / 2.0);
    prop::collection::vec(prop::collection::vec(number, width), 1..=most)
}

/// Many vectors without any pattern.
fn cloud(n: usize, width: usize) -> Vectors {
    let mut state = 1_u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    };
    let values = (0..n * width).map(|_| next()).collect();
    Vectors::new(width, values).unwrap()
}

/// The greedy filter as it is described: a row stays if no kept row is closer than the threshold.
fn dumb_novelty(vectors: &Vectors, order: &[u32], threshold: f64, budget: usize) -> Vec<u32> {
    let mut kept: Vec<u32> = Vec::new();
    for &at in order {
        let close = |other: &u32| vectors.cosine(at as usize, *other as usize) > threshold;
        if kept.len() < budget && !kept.iter().any(close) {
            kept.push(at);
        }
    }
    kept
}

fn chosen(order: &[u32], fates: &[Novelty]) -> Vec<u32> {
    let both = order.iter().zip(fates);
    both.filter(|(_, fate)| **fate == Novelty::Chosen)
        .map(|(at, _)| *at)
        .collect()
}

proptest! {
    #[test]
    fn novelty_is_that_of_the_loop(
        rows in rows(40, 3),
        threshold in prop::sample::select(vec![-1.0, 0.0, 0.5, 0.9, 0.999_999, 1.0]),
        budget in 0_usize..45,
        turn in any::<bool>(),
    ) {
        let vectors = vectors(3, &rows);
        let mut order: Vec<u32> = (0..rows.len() as u32).collect();
        if turn { order.reverse(); }
        let fates = novel_vectors(&vectors, &order, threshold, budget);
        prop_assert_eq!(fates.len(), order.len());
        let kept = dumb_novelty(&vectors, &order, threshold, budget);
        prop_assert_eq!(&chosen(&order, &fates), &kept);
        for (at, fate) in order.iter().zip(&fates) {
            match *fate {
                Novelty::Similar(partner, cosine) => {
                    let first = kept.iter().find(|&&it| {
                        vectors.cosine(*at as usize, it as usize) > threshold
                    });
                    prop_assert_eq!(Some(&partner), first);
                    prop_assert_eq!(cosine, vectors.cosine(*at as usize, partner as usize));
                }
                Novelty::Beyond => prop_assert_eq!(kept.len(), budget),
                Novelty::Chosen => {}
                Novelty::NothingNew => prop_assert!(false, "no tags here"),
            }
        }
    }

    #[test]
    fn tags_are_those_of_the_loop(
        tags in prop::collection::vec(prop::collection::vec(0_u32..9, 0..4), 0..30),
        budget in 0_usize..35,
        rounds in 1_usize..4,
    ) {
        let order: Vec<u32> = (0..tags.len() as u32).rev().collect();
        let fates = novel_tags(&tags, &order, budget, rounds);
        let mut kept = BTreeSet::new();
        for _ in 0..rounds {
            let mut known = BTreeSet::new();
            for &at in &order {
                let new = tags[at as usize].clone();
                if !kept.contains(&at) && kept.len() < budget && new.iter().any(|it| !known.contains(it)) {
                    known.extend(new);
                    kept.insert(at);
                }
            }
        }
        let got: BTreeSet<u32> = chosen(&order, &fates).into_iter().collect();
        prop_assert_eq!(got, kept);
    }

    #[test]
    fn clusters_are_nearest_and_the_same_on_any_number_of_threads(
        rows in rows(40, 4), clusters in 0_usize..9, seed in any::<u64>(),
    ) {
        let vectors = vectors(4, &rows);
        let rules = KMeans { clusters, seed, iterations: 100 };
        let one = on_threads(1, || kmeans(&vectors, rules)).unwrap();
        let three = on_threads(3, || kmeans(&vectors, rules)).unwrap();
        prop_assert_eq!(&one, &three);
        prop_assert_eq!(one.of.len(), rows.len());
        for (at, (&cluster, &distance)) in one.of.iter().zip(&one.distance).enumerate() {
            for (other, centre) in one.centres.chunks(4).enumerate() {
                let apart: f32 = rows[at].iter().zip(centre).map(|(a, b)| (a - b) * (a - b)).sum();
                prop_assert!(apart >= distance - 1e-4, "{at} is nearer to {other} than to {cluster}");
            }
        }
    }

    #[test]
    fn lazy_is_naive_and_within_the_bound(
        rows in rows(12, 2), budget in 1_usize..6, euclidean in any::<bool>(),
    ) {
        let metric = if euclidean { Metric::Euclidean } else { Metric::Cosine };
        let vectors = vectors(2, &rows);
        let lazy = facility_location(&vectors, metric, budget);
        let naive = naive(&vectors, metric, budget);
        let picked: Vec<u32> = lazy.picks.iter().map(|pick| pick.row).collect();
        prop_assert_eq!(&picked, &naive);
        prop_assert!((lazy.value - value(&vectors, metric, &picked)).abs() < 1e-5);
        let gains: f64 = lazy.picks.iter().map(|pick| pick.gain).sum();
        prop_assert!((lazy.value - gains).abs() < 1e-5);
        let best = brute(&vectors, metric, budget.min(rows.len()));
        prop_assert!(lazy.value <= best + 1e-6);
        prop_assert!(lazy.value >= (1.0 - (-1.0_f64).exp()) * best - 1e-6);
        if budget == 1 || budget >= rows.len() {
            prop_assert!((lazy.value - best).abs() < 1e-6); // greedy is optimal here
        }
        check_nearest(&vectors, metric, &lazy);
    }
}

fn alike(vectors: &Vectors, metric: Metric, a: usize, b: usize) -> f64 {
    match metric {
        Metric::Cosine => vectors.cosine(a, b).max(0.0),
        Metric::Euclidean => {
            let both = vectors.row(a).iter().zip(vectors.row(b));
            let squared: f64 = both.map(|(a, b)| f64::from(a - b).powi(2)).sum();
            1.0 / (1.0 + squared.sqrt())
        }
    }
}

fn value(vectors: &Vectors, metric: Metric, picked: &[u32]) -> f64 {
    let nearest = |at| {
        let all = picked
            .iter()
            .map(|&it| alike(vectors, metric, at, it as usize));
        all.fold(0.0, f64::max)
    };
    (0..vectors.len()).map(nearest).sum()
}

/// Everything worked out anew for every choice, from one-row facilities of the library itself, so
/// that rounding is the same.
fn naive(vectors: &Vectors, metric: Metric, budget: usize) -> Vec<u32> {
    let n = vectors.len();
    let similar = |a: usize, b: usize| -> f32 {
        let rows = [vectors.row(a.min(b)), vectors.row(a.max(b))].concat();
        let two = Vectors::new(vectors.width(), rows).unwrap();
        let both = facility_location(&two, metric, 1);
        // the nearest of the row that was not picked
        both.nearest[1 - both.picks[0].row as usize].1
    };
    let own = |a: usize| -> f32 {
        let one = Vectors::new(vectors.width(), vectors.row(a).to_vec()).unwrap();
        facility_location(&one, metric, 1).nearest[0].1
    };
    let table: Vec<Vec<f32>> = (0..n)
        .map(|a| {
            (0..n)
                .map(|b| if a == b { own(a) } else { similar(a, b) })
                .collect()
        })
        .collect();
    let mut best = vec![0.0_f32; n];
    let mut picked: Vec<u32> = Vec::new();
    while picked.len() < budget.min(n) {
        let mut top: Option<(f64, u32)> = None;
        for row in 0..n as u32 {
            if picked.contains(&row) {
                continue;
            }
            let more = table[row as usize].iter().zip(&best);
            let gain: f64 = more.map(|(it, best)| f64::from((it - best).max(0.0))).sum();
            if top.is_none_or(|(known, _)| gain > known) {
                top = Some((gain, row));
            }
        }
        let (_, row) = top.unwrap();
        for (best, it) in best.iter_mut().zip(&table[row as usize]) {
            *best = best.max(*it);
        }
        picked.push(row);
    }
    picked
}

/// The best value of all choices of that size.
fn brute(vectors: &Vectors, metric: Metric, budget: usize) -> f64 {
    let n = vectors.len() as u32;
    let choices = (0_u32..1 << n).filter(|bits| bits.count_ones() as usize == budget);
    let values = choices.map(|bits| {
        let picked: Vec<u32> = (0..n).filter(|at| bits >> at & 1 == 1).collect();
        value(vectors, metric, &picked)
    });
    values.fold(0.0, f64::max)
}

fn check_nearest(vectors: &Vectors, metric: Metric, facility: &Facility) {
    for (at, (row, similarity)) in facility.nearest.iter().enumerate() {
        let all = facility
            .picks
            .iter()
            .map(|pick| alike(vectors, metric, at, pick.row as usize));
        assert!((f64::from(*similarity) - all.fold(0.0, f64::max)).abs() < 1e-5);
        assert!((alike(vectors, metric, at, *row as usize) - f64::from(*similarity)).abs() < 1e-5);
    }
}

#[test]
fn greedy_is_optimal_where_groups_are_apart() {
    // three far groups of four near points: the best three rows are one of each
    let rows: Vec<Vec<f32>> = (0..12)
        .map(|at| {
            let (group, inside) = (at / 4, at % 4);
            vec![group as f32 * 100.0, inside as f32 * 0.1]
        })
        .collect();
    let vectors = vectors(2, &rows);
    let facility = facility_location(&vectors, Metric::Euclidean, 3);
    let groups: BTreeSet<u32> = facility.picks.iter().map(|pick| pick.row / 4).collect();
    assert_eq!(groups.len(), 3);
    assert!((facility.value - brute(&vectors, Metric::Euclidean, 3)).abs() < 1e-6);
    let clusters = kmeans(
        &vectors,
        KMeans {
            clusters: 3,
            seed: 0,
            iterations: 100,
        },
    );
    for group in clusters.of.chunks(4) {
        assert!(group.iter().all(|it| *it == group[0]));
    }
}

#[test]
fn blocks_and_threads_change_nothing() {
    let vectors = cloud(1_500, 8);
    let order: Vec<u32> = (0..1_500).rev().collect();
    for (threshold, budget) in [(0.6, 1_500), (0.8, 300), (0.95, 700)] {
        let run = |threads| {
            on_threads(threads, || {
                novel_vectors(&vectors, &order, threshold, budget)
            })
            .unwrap()
        };
        let fates = run(1);
        assert_eq!(fates, run(3));
        assert_eq!(
            chosen(&order, &fates),
            dumb_novelty(&vectors, &order, threshold, budget)
        );
    }
    let run =
        |threads| on_threads(threads, || facility_location(&vectors, Metric::Cosine, 20)).unwrap();
    assert_eq!(run(1), run(3));
}

#[test]
fn numbers_that_are_no_vectors_are_refused() {
    assert_eq!(Vectors::new(0, vec![]).unwrap_err(), NotVectors::Empty);
    assert_eq!(
        Vectors::new(2, vec![1.0]).unwrap_err(),
        NotVectors::LeftOver(1)
    );
    let nan = Vectors::new(2, vec![1.0, 2.0, f32::NAN, 0.0]).unwrap_err();
    assert_eq!(nan, NotVectors::NotFinite(1));
    let none = Vectors::new(3, vec![]).unwrap();
    assert!(none.is_empty());
    assert!(facility_location(&none, Metric::Cosine, 3).picks.is_empty());
    assert!(
        kmeans(
            &none,
            KMeans {
                clusters: 3,
                seed: 0,
                iterations: 9
            }
        )
        .of
        .is_empty()
    );
    assert!(novel_vectors(&none, &[], 0.5, 3).is_empty());
}
