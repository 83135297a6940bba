//! k-means: seeds by k-means++, then Lloyd's iterations until nothing moves.

use rayon::prelude::*;

use super::vectors::Vectors;

/// How clusters are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KMeans {
    /// Number of clusters; of fewer vectors there are as many clusters as vectors.
    pub clusters: usize,
    /// Seed of the draws.
    pub seed: u64,
    /// Most iterations.
    pub iterations: usize,
}

/// Clusters of vectors.
#[derive(Debug, Clone, PartialEq)]
pub struct Clusters {
    /// Per vector its cluster.
    pub of: Vec<u32>,
    /// Per vector the squared distance to the centre of its cluster.
    pub distance: Vec<f32>,
    /// Centres, end to end.
    pub centres: Vec<f32>,
    /// Iterations until nothing moved, or the most allowed.
    pub iterations: usize,
}

/// Clusters vectors. The same vectors, number and seed give the same clusters on any number of
/// threads: each vector looks for its centre alone, and centres are summed in the order of vectors.
pub fn kmeans(vectors: &Vectors, rules: KMeans) -> Clusters {
    let n = vectors.len();
    let k = rules.clusters.min(n);
    let width = vectors.width();
    if k == 0 {
        return Clusters {
            of: vec![0; n],
            distance: vec![0.0; n],
            centres: Vec::new(),
            iterations: 0,
        };
    }
    let mut centres = seeds(vectors, k, rules.seed);
    let mut nearest = assign(vectors, &centres);
    let mut iterations = 0;
    while iterations < rules.iterations {
        iterations += 1;
        centres = means(vectors, &nearest, k, width);
        let next = assign(vectors, &centres);
        let still = next.iter().zip(&nearest).all(|(a, b)| a.0 == b.0);
        nearest = next;
        if still {
            break;
        }
    }
    let (of, distance) = nearest.into_iter().unzip();
    Clusters {
        of,
        distance,
        centres,
        iterations,
    }
}

/// Per vector its nearest centre (the first of several) and the squared distance.
fn assign(vectors: &Vectors, centres: &[f32]) -> Vec<(u32, f32)> {
    let nearest = |at: usize| {
        let mut best = (0, f32::INFINITY);
        for (cluster, centre) in centres.chunks_exact(vectors.width()).enumerate() {
            let distance = vectors.squared_distance(at, centre);
            if distance < best.1 {
                best = (cluster as u32, distance);
            }
        }
        best
    };
    (0..vectors.len()).into_par_iter().map(nearest).collect()
}

/// The mean of each cluster; a cluster without vectors takes the vector farthest from its centre.
fn means(vectors: &Vectors, nearest: &[(u32, f32)], k: usize, width: usize) -> Vec<f32> {
    let mut sums = vec![0.0_f64; k * width];
    let mut counts = vec![0_u64; k];
    for (at, (cluster, _)) in nearest.iter().enumerate() {
        let cluster = *cluster as usize;
        counts[cluster] += 1;
        let sum = &mut sums[cluster * width..(cluster + 1) * width];
        for (sum, value) in sum.iter_mut().zip(vectors.row(at)) {
            *sum += f64::from(*value);
        }
    }
    let mut centres = Vec::with_capacity(k * width);
    let mut far: Option<Vec<usize>> = None;
    for (cluster, count) in counts.iter().enumerate() {
        if *count > 0 {
            let sum = &sums[cluster * width..(cluster + 1) * width];
            centres.extend(sum.iter().map(|sum| (sum / *count as f64) as f32));
            continue;
        }
        let far = far.get_or_insert_with(|| {
            let mut all: Vec<usize> = (0..nearest.len()).collect();
            // nearest first, so that the farthest is taken from the end; of several the first
            all.sort_by(|&a, &b| nearest[a].1.total_cmp(&nearest[b].1).then(b.cmp(&a)));
            all
        });
        let taken = far.pop().unwrap_or(0);
        centres.extend_from_slice(vectors.row(taken));
    }
    centres
}

/// k-means++: each next seed is drawn with a probability that grows with the squared distance to
/// the seeds before it.
fn seeds(vectors: &Vectors, k: usize, seed: u64) -> Vec<f32> {
    let mut random = Random(seed);
    let n = vectors.len();
    let mut centres = vectors.row(random.below(n)).to_vec();
    let mut distance = vec![f32::INFINITY; n];
    for _ in 1..k {
        let last = centres[centres.len() - vectors.width()..].to_vec();
        distance.par_iter_mut().enumerate().for_each(|(at, known)| {
            *known = known.min(vectors.squared_distance(at, &last));
        });
        let total: f64 = distance.iter().map(|it| f64::from(*it)).sum();
        let mut left = random.unit() * total;
        let chosen = distance.iter().position(|it| {
            left -= f64::from(*it);
            left < 0.0
        });
        // all vectors are seeds already, or rounding went past the end
        let chosen = chosen.unwrap_or_else(|| random.below(n));
        centres.extend_from_slice(vectors.row(chosen));
    }
    centres
}

/// SplitMix64: a stream of numbers from a seed, the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to below 1.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// An index below `n`, which is at least 1.
    fn below(&mut self, n: usize) -> usize {
        ((self.unit() * n as f64) as usize).min(n.saturating_sub(1))
    }
}
