//! Best rows first, and only those that bring something new.

use std::collections::HashSet;

use rayon::prelude::*;

use super::vectors::Vectors;

/// Closer to the threshold than this, single precision does not decide.
const UNSURE: f64 = 1e-3;
/// Candidates that are compared with the rows kept before them at once.
const BLOCK: usize = 256;

/// What becomes of a candidate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Novelty {
    /// It is chosen.
    Chosen,
    /// The best chosen row that it is too close to, and their cosine.
    Similar(u32, f64),
    /// Chosen rows have all of its tags.
    NothingNew,
    /// There were enough rows before it.
    Beyond,
}

/// Goes through the candidates of `order` (indices of vectors, best first) and chooses those whose
/// cosine to every row chosen before is at most `threshold`, until there are `budget`. The result is
/// in the order of `order`.
pub fn novel_vectors(
    vectors: &Vectors,
    order: &[u32],
    threshold: f64,
    budget: usize,
) -> Vec<Novelty> {
    let mut fates = Vec::with_capacity(order.len());
    let mut chosen: Vec<u32> = Vec::new();
    for block in order.chunks(BLOCK) {
        if chosen.len() >= budget {
            break;
        }
        let before = &chosen;
        let found: Vec<Option<(u32, f64)>> = block
            .par_iter()
            .map(|&at| first_close(vectors, at, before, threshold))
            .collect();
        let known = chosen.len();
        for (&at, found) in block.iter().zip(found) {
            if chosen.len() >= budget {
                break;
            }
            let close = found.or_else(|| first_close(vectors, at, &chosen[known..], threshold));
            fates.push(if let Some((partner, cosine)) = close {
                Novelty::Similar(partner, cosine)
            } else {
                chosen.push(at);
                Novelty::Chosen
            });
        }
    }
    fates.resize(order.len(), Novelty::Beyond);
    fates
}

fn first_close(vectors: &Vectors, at: u32, chosen: &[u32], threshold: f64) -> Option<(u32, f64)> {
    let at = at as usize;
    chosen.iter().find_map(|&other| {
        let quick = f64::from(vectors.quick_cosine(at, other as usize));
        if quick < threshold - UNSURE {
            return None;
        }
        let cosine = vectors.cosine(at, other as usize);
        (cosine > threshold).then_some((other, cosine))
    })
}

/// Goes through the candidates of `order` (indices into `tags`, best first) and chooses those that
/// bring a tag which no row chosen before has, until there are `budget`. After `rounds` passes it
/// ends; each pass after the first begins without known tags, among the rows that are left.
pub fn novel_tags(tags: &[Vec<u32>], order: &[u32], budget: usize, rounds: usize) -> Vec<Novelty> {
    let mut fates = vec![Novelty::NothingNew; order.len()];
    let mut chosen = 0;
    for _ in 0..rounds {
        let before = chosen;
        let mut known: HashSet<u32> = HashSet::new();
        for (fate, &at) in fates.iter_mut().zip(order) {
            if chosen >= budget {
                break;
            }
            let tags = &tags[at as usize];
            if *fate == Novelty::NothingNew && tags.iter().any(|tag| !known.contains(tag)) {
                known.extend(tags);
                *fate = Novelty::Chosen;
                chosen += 1;
            }
        }
        if chosen >= budget || chosen == before {
            break;
        }
    }
    if chosen >= budget {
        beyond(&mut fates);
    }
    fates
}

/// What was not chosen after the last chosen row was not looked at.
fn beyond(fates: &mut [Novelty]) {
    for fate in fates.iter_mut().rev() {
        match fate {
            Novelty::Chosen => break,
            _ => *fate = Novelty::Beyond,
        }
    }
}
