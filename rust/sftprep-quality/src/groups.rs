//! Groups of documents that must not be separated: what is similar, and what is similar to that.

use std::collections::HashMap;

use crate::document::Document;
use crate::join::{CommonNgrams, Frequencies, SimilarityIndex};

/// Sets that are united step by step.
#[derive(Debug, Clone)]
pub struct Unions {
    parents: Vec<u32>,
}

impl Unions {
    /// As many sets of one element each.
    pub fn new(elements: u32) -> Self {
        Self {
            parents: (0..elements).collect(),
        }
    }

    /// The smallest element of the set that an element is in.
    pub fn find(&mut self, element: u32) -> u32 {
        let mut at = element;
        while self.parents[at as usize] != at {
            let above = self.parents[at as usize];
            self.parents[at as usize] = self.parents[above as usize];
            at = above;
        }
        at
    }

    /// Unites the sets of two elements.
    pub fn unite(&mut self, a: u32, b: u32) {
        let (a, b) = (self.find(a), self.find(b));
        let (low, high) = (a.min(b), a.max(b));
        self.parents[high as usize] = low;
    }
}

/// For every document the first one of its group: documents of Jaccard similarity `threshold` or
/// more are in one group, and so are those of equal text. The join is exact.
///
/// With `common` above 0, documents that mostly share n-grams of more than so many documents (a
/// template) have to be similar without those too.
pub fn similar_groups(documents: &[Document], threshold: f64, common: u32) -> Vec<u32> {
    let count = u32::try_from(documents.len()).unwrap_or(u32::MAX);
    let mut unions = Unions::new(count);
    // equal ones are united at once, so that the join sees each set of n-grams once
    let mut texts: HashMap<u128, u32> = HashMap::new();
    let mut sets: HashMap<&[u64], u32> = HashMap::new();
    let mut distinct: Vec<u32> = Vec::new();
    for (at, document) in (0..count).zip(documents) {
        for key in [document.content, document.normal] {
            let first = *texts.entry(key).or_insert(at);
            unions.unite(first, at);
        }
        if document.shingles.is_empty() {
            continue;
        }
        let first = *sets.entry(&document.shingles).or_insert(at);
        if first == at {
            distinct.push(at);
        } else if common == 0 {
            unions.unite(first, at);
        }
    }
    let set_of = |name: &u32| documents[*name as usize].shingles.as_slice();
    let mut frequencies =
        Frequencies::with_capacity(distinct.iter().map(|it| set_of(it).len()).sum());
    for name in &distinct {
        frequencies.add(set_of(name));
    }
    let common = CommonNgrams::of(distinct.iter().map(set_of), &frequencies, common);
    let mut index = SimilarityIndex::new(threshold, &frequencies, &common);
    for name in &distinct {
        index.probe(set_of(name), |other, _| unions.unite(other, *name));
        index.insert(*name, set_of(name));
    }
    (0..count).map(|at| unions.find(at)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Shingler, jaccard};

    #[test]
    fn no_similar_pair_is_in_two_groups_and_no_group_is_without_a_chain() {
        let mut shingler = Shingler::default();
        let mut state = 7_u64;
        let mut dice = |sides: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) % sides
        };
        let mut texts: Vec<String> = vec![String::new(), "?".into(), "?".into(), "one".into()];
        for _ in 0..60 {
            let words: Vec<String> = (0..12).map(|_| format!("w{}", dice(40))).collect();
            for _ in 0..5 {
                let mut words = words.clone();
                let at = dice(12) as usize;
                words[at] = format!("w{}", dice(40));
                texts.push(words.join(" "));
            }
        }
        let documents: Vec<Document> = texts.iter().map(|it| shingler.document(it)).collect();
        let groups = similar_groups(&documents, 0.5, 0);
        let mut chains = Unions::new(documents.len() as u32);
        for (a, one) in documents.iter().enumerate() {
            for (b, other) in documents.iter().enumerate().skip(a + 1) {
                let alike = jaccard(&one.shingles, &other.shingles) >= 0.5
                    && !one.shingles.is_empty()
                    || one.content == other.content;
                if alike {
                    assert_eq!(groups[a], groups[b], "{a} and {b} are apart");
                    chains.unite(a as u32, b as u32);
                }
            }
        }
        let reference: Vec<u32> = (0..documents.len() as u32)
            .map(|it| chains.find(it))
            .collect();
        assert_eq!(groups, reference);
        assert_eq!(groups[1], groups[2], "equal texts without words");
        let count = groups
            .iter()
            .collect::<std::collections::BTreeSet<_>>()
            .len();
        assert!((60..250).contains(&count), "{count} groups");
    }
}
