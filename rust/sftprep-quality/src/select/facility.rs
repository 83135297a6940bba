//! Facility location: few rows such that every row has one among them that is much like it.
//!
//! The value of a choice is the sum, over all rows, of the similarity to the most similar chosen
//! row. Similarities are never negative, so the value grows with every row and by less and less;
//! taking the best row again and again then reaches at least 1 - 1/e of the best value. Because
//! what a row adds never grows, it is worked out anew only for the row that looks best (lazy
//! greedy). Sums go in one order whatever happened before, so the choice is the very one that
//! working out everything every time makes.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use rayon::prelude::*;

use super::vectors::Vectors;

/// Similarities that are held in memory at most: 512 MiB.
const HELD: usize = 128 << 20;

/// How alike two rows are, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// The cosine; 0 where it is negative.
    Cosine,
    /// 1 / (1 + distance).
    Euclidean,
}

/// A chosen row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pick {
    /// Its index.
    pub row: u32,
    /// By how much it raised the value.
    pub gain: f64,
}

/// A choice of rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Facility {
    /// The chosen rows, best first.
    pub picks: Vec<Pick>,
    /// Per row the chosen row that is most like it, and the similarity.
    pub nearest: Vec<(u32, f32)>,
    /// The value of the choice.
    pub value: f64,
}

/// Chooses `budget` rows, or all if there are fewer.
pub fn facility_location(vectors: &Vectors, metric: Metric, budget: usize) -> Facility {
    let n = vectors.len();
    let similar = Similarities::new(vectors, metric);
    let mut best = vec![0.0_f32; n];
    let mut nearest = vec![(0_u32, f32::NEG_INFINITY); n];
    let mut picks = Vec::new();
    let first: Vec<f64> = (0..n)
        .into_par_iter()
        .map(|row| similar.gain(row, &best))
        .collect();
    let mut heap: BinaryHeap<Candidate> = first
        .into_iter()
        .enumerate()
        .map(|(row, gain)| Candidate {
            gain,
            row: row as u32,
            round: 0,
        })
        .collect();
    while picks.len() < budget {
        let Some(mut top) = heap.pop() else {
            break;
        };
        if top.round != picks.len() {
            top.gain = similar.gain(top.row as usize, &best);
            top.round = picks.len();
            heap.push(top);
            continue;
        }
        for (other, (best, nearest)) in best.iter_mut().zip(&mut nearest).enumerate() {
            let alike = similar.of(top.row as usize, other);
            *best = best.max(alike);
            if alike > nearest.1 {
                *nearest = (top.row, alike);
            }
        }
        picks.push(Pick {
            row: top.row,
            gain: top.gain,
        });
    }
    Facility {
        picks,
        nearest,
        value: best.iter().map(|it| f64::from(*it)).sum(),
    }
}

/// Similarities of all pairs, held where there is room.
struct Similarities<'v> {
    vectors: &'v Vectors,
    metric: Metric,
    held: Option<Vec<f32>>,
}

impl<'v> Similarities<'v> {
    fn new(vectors: &'v Vectors, metric: Metric) -> Self {
        let mut similar = Self {
            vectors,
            metric,
            held: None,
        };
        let n = vectors.len();
        if n.saturating_mul(n) <= HELD && n > 0 {
            let mut held = vec![0.0_f32; n * n];
            held.par_chunks_mut(n).enumerate().for_each(|(a, row)| {
                for (b, value) in row.iter_mut().enumerate() {
                    *value = similar.worked_out(a, b);
                }
            });
            similar.held = Some(held);
        }
        similar
    }

    fn worked_out(&self, a: usize, b: usize) -> f32 {
        // the smaller first, so that both orders give the same number
        let (a, b) = (a.min(b), a.max(b));
        match self.metric {
            Metric::Cosine => self.vectors.quick_cosine(a, b).clamp(0.0, 1.0),
            Metric::Euclidean => {
                let squared = self.vectors.squared_distance(a, self.vectors.row(b));
                1.0 / (1.0 + squared.sqrt())
            }
        }
    }

    fn of(&self, a: usize, b: usize) -> f32 {
        match &self.held {
            Some(held) => held[a * self.vectors.len() + b],
            None => self.worked_out(a, b),
        }
    }

    /// By how much the value grows with a row.
    fn gain(&self, row: usize, best: &[f32]) -> f64 {
        let more = |(other, best): (usize, &f32)| f64::from((self.of(row, other) - best).max(0.0));
        best.iter().enumerate().map(more).sum()
    }
}

/// A row that may be chosen; what it adds was worked out in that round.
struct Candidate {
    gain: f64,
    row: u32,
    round: usize,
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_gain = self.gain.total_cmp(&other.gain);
        by_gain.then(other.row.cmp(&self.row))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Candidate {}
