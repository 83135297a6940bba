//! The recipe behind a plan, one variant per kind of strategy; rows here are in planned order.

use crate::config::Strategy;
use crate::error::{Error, Result};
use crate::types::{Piece, RowShape};

use super::bound::lower_bound;
use super::fit::{first_fit, next_fit};
use super::histogram::{Bins, Slot};
use super::internal;
use super::permute::{Permutation, derive_key};

/// Lengths looked at together.
const BLOCK: usize = 4096;

/// Sums over a layout.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LayoutTotals {
    pub(super) pieces: u64,
    pub(super) tokens: u64,
    pub(super) lower_bound: u64,
}

/// Which pieces make up which row.
#[derive(Debug)]
pub(super) struct Layout {
    kind: Kind,
    totals: LayoutTotals,
}

#[derive(Debug)]
enum Kind {
    Sorted(Sorted),
    /// Row `r` holds `documents[starts[r]..starts[r + 1]]`.
    Lists {
        starts: Vec<u32>,
        documents: Vec<u32>,
        lengths: Vec<u32>,
    },
    /// Row `r` holds documents `starts[r]..starts[r + 1]`.
    Runs {
        starts: Vec<u32>,
        lengths: Vec<u32>,
    },
    /// Row `r` holds tokens `r * max_len..(r + 1) * max_len` of all documents in a line; document
    /// `d` is the tokens `starts[d]..starts[d + 1]`.
    Wrapped {
        starts: Vec<u64>,
        max_len: u32,
    },
}

/// Bins over lengths, and the documents sorted by length.
#[derive(Debug)]
struct Sorted {
    bins: Bins,
    /// Documents by the length of their last piece, ties in input order.
    order: Vec<u32>,
    /// First entry in `order` of each length.
    bases: Vec<u32>,
    seed: u64,
    max_len: u32,
    /// Documents longer than `max_len`, with the number of whole pieces cut before each one's:
    /// (document, whole pieces of the documents before). Ascending in both.
    long: Vec<(u32, u64)>,
    /// Whole pieces of all long documents; each is a row, after those of `bins`.
    whole: u64,
}

impl Layout {
    pub(super) fn new(
        lengths: &[u32],
        max_len: u32,
        strategy: Strategy,
        seed: u64,
    ) -> Result<Self> {
        let cuts = matches!(strategy, Strategy::BfdSplit | Strategy::Wrapped);
        let (counts, tokens) = histogram(lengths, max_len, cuts)?;
        let mut totals = LayoutTotals {
            pieces: lengths.len() as u64,
            tokens,
            lower_bound: lower_bound(&counts, max_len),
        };
        let kind = match strategy {
            Strategy::Bfd | Strategy::BfdSplit => {
                let sorted = Sorted::new(lengths, &counts, max_len, seed);
                totals.pieces = sorted.order.len() as u64 + sorted.whole;
                totals.lower_bound += sorted.whole;
                Kind::Sorted(sorted)
            }
            Strategy::FirstFit => {
                let (bin_of, bins) = first_fit(lengths, max_len);
                let (starts, documents) = group(&bin_of, bins);
                Kind::Lists {
                    starts,
                    documents,
                    lengths: lengths.to_vec(),
                }
            }
            Strategy::Sequential => Kind::Runs {
                starts: next_fit(lengths, max_len),
                lengths: lengths.to_vec(),
            },
            Strategy::None => {
                let starts = (0..=lengths.len() as u32).collect();
                Kind::Runs {
                    starts,
                    lengths: lengths.to_vec(),
                }
            }
            Strategy::Wrapped => {
                totals.lower_bound = tokens.div_ceil(u64::from(max_len));
                let starts: Vec<u64> = std::iter::once(0)
                    .chain(lengths.iter().scan(0, |end, &length| {
                        *end += u64::from(length);
                        Some(*end)
                    }))
                    .collect();
                totals.pieces = wrapped_pieces(&starts, max_len);
                Kind::Wrapped { starts, max_len }
            }
        };
        Ok(Self { kind, totals })
    }

    pub(super) fn totals(&self) -> LayoutTotals {
        self.totals
    }

    pub(super) fn rows(&self) -> u64 {
        match &self.kind {
            Kind::Sorted(sorted) => u64::from(sorted.bins.rows()) + sorted.whole,
            Kind::Lists { starts, .. } | Kind::Runs { starts, .. } => starts.len() as u64 - 1,
            Kind::Wrapped { max_len, .. } => self.totals.tokens.div_ceil(u64::from(*max_len)),
        }
    }

    pub(super) fn row(&self, row: u32, pieces: &mut Vec<Piece>) {
        let whole = |document: u32, lengths: &[u32]| Piece {
            document,
            start: 0,
            len: lengths[document as usize],
        };
        match &self.kind {
            Kind::Sorted(sorted) => sorted.row(row, pieces),
            Kind::Lists {
                starts,
                documents,
                lengths,
            } => {
                let range = starts[row as usize] as usize..starts[row as usize + 1] as usize;
                pieces.extend(
                    documents[range]
                        .iter()
                        .map(|&document| whole(document, lengths)),
                );
            }
            Kind::Runs { starts, lengths } => {
                let range = starts[row as usize]..starts[row as usize + 1];
                pieces.extend(range.map(|document| whole(document, lengths)));
            }
            Kind::Wrapped { starts, max_len } => {
                let first = u64::from(row) * u64::from(*max_len);
                let last = (first + u64::from(*max_len)).min(self.totals.tokens);
                let mut document = starts.partition_point(|&start| start <= first) - 1;
                let mut at = first;
                while at < last {
                    let end = starts[document + 1].min(last);
                    pieces.push(Piece {
                        document: document as u32,
                        start: (at - starts[document]) as u32,
                        len: (end - at) as u32,
                    });
                    at = end;
                    document += 1;
                }
            }
        }
    }

    /// Sum of the squared lengths of the documents of a row.
    pub(super) fn attention_cost(&self, row: u32) -> u64 {
        if let Kind::Sorted(sorted) = &self.kind {
            return sorted.attention_cost(row);
        }
        let mut pieces = Vec::new();
        self.row(row, &mut pieces);
        squares(pieces.iter().map(|piece| piece.len))
    }

    pub(super) fn shape(&self, row: u32) -> RowShape {
        if let Kind::Sorted(sorted) = &self.kind {
            return sorted.shape(row);
        }
        let mut pieces = Vec::new();
        self.row(row, &mut pieces);
        RowShape {
            tokens: pieces.iter().map(|piece| piece.len).sum(),
            documents: pieces.len() as u32,
        }
    }
}

/// What attention costs in a row: the sum of the squared lengths of its documents.
fn squares(lengths: impl Iterator<Item = u32>) -> u64 {
    lengths.map(|it| u64::from(it) * u64::from(it)).sum()
}

impl Sorted {
    fn new(lengths: &[u32], counts: &[u32], max_len: u32, seed: u64) -> Self {
        let mut bases = Vec::with_capacity(counts.len() + 1);
        let mut base = 0;
        for &count in counts {
            bases.push(base);
            base += count;
        }
        let mut next = bases.clone();
        let mut order = vec![0; base as usize];
        let mut long = Vec::new();
        let mut whole = 0;
        for (document, &length) in (0..).zip(lengths) {
            let mut last = length;
            if length > max_len {
                long.push((document, whole));
                whole += u64::from(length / max_len);
                last = length % max_len;
                if last == 0 {
                    continue;
                }
            }
            let place = &mut next[last as usize];
            order[*place as usize] = document;
            *place += 1;
        }
        let bins = Bins::pack(counts, max_len);
        Self {
            bins,
            order,
            bases,
            seed,
            max_len,
            long,
            whole,
        }
    }

    fn row(&self, row: u32, pieces: &mut Vec<Piece>) {
        let bins = self.bins.rows();
        if row >= bins {
            pieces.push(self.whole_piece(u64::from(row - bins)));
            return;
        }
        self.bins.visit(row, |slot| pieces.push(self.piece(slot)));
        pieces.reverse(); // the longest first
    }

    fn shape(&self, row: u32) -> RowShape {
        if row >= self.bins.rows() {
            return RowShape {
                tokens: self.max_len,
                documents: 1,
            };
        }
        let (tokens, documents) = self.bins.shape(row);
        RowShape { tokens, documents }
    }

    /// Which documents they are does not matter, so it is not found out.
    fn attention_cost(&self, row: u32) -> u64 {
        if row >= self.bins.rows() {
            return squares(std::iter::once(self.max_len));
        }
        let mut sum = 0;
        self.bins
            .visit(row, |slot| sum += squares(std::iter::once(slot.length)));
        sum
    }

    /// The last piece (nearly always the only one) of the document that takes `slot`.
    fn piece(&self, slot: Slot) -> Piece {
        let base = self.bases[slot.length as usize];
        let end = match self.bases.get(slot.length as usize + 1) {
            Some(&end) => end,
            None => self.order.len() as u32,
        };
        let shuffle = Permutation::new(end - base, derive_key(self.seed, u64::from(slot.length)));
        let document = self.order[(base + shuffle.apply(slot.rank)) as usize];
        let start = match self
            .long
            .binary_search_by_key(&document, |&(document, _)| document)
        {
            Ok(index) => (self.whole_pieces(index) * u64::from(self.max_len)) as u32,
            Err(_) => 0,
        };
        Piece {
            document,
            start,
            len: slot.length,
        }
    }

    /// Number of whole pieces of the long document at `index`.
    fn whole_pieces(&self, index: usize) -> u64 {
        let end = self
            .long
            .get(index + 1)
            .map_or(self.whole, |&(_, before)| before);
        end - self.long[index].1
    }

    fn whole_piece(&self, number: u64) -> Piece {
        let index = self.long.partition_point(|&(_, before)| before <= number) - 1;
        let (document, before) = self.long[index];
        let start = (number - before) as u32 * self.max_len;
        Piece {
            document,
            start,
            len: self.max_len,
        }
    }
}

/// Counts documents by the length of the piece that is left after whole pieces of `max_len` are cut
/// off, and sums their tokens.
fn histogram(lengths: &[u32], max_len: u32, cuts: bool) -> Result<(Vec<u32>, u64)> {
    let (mut longest, mut tokens) = (0, 0);
    let mut counts = vec![0; max_len as usize + 1];
    // In blocks that stay in the first cache: memory is passed over once, and the first of the two
    // loops needs no branch.
    for (index, block) in lengths.chunks(BLOCK).enumerate() {
        let (mut most, mut least) = (0, u32::MAX);
        for &length in block {
            most = length.max(most);
            least = length.min(least);
            tokens += u64::from(length);
        }
        if least == 0 || most > max_len && !cuts {
            let is_bad = |&length: &u32| length == 0 || length > max_len && !cuts;
            let bad = block.iter().position(is_bad);
            let document = index * BLOCK + bad.unwrap_or_default();
            return Err(refused(document, lengths[document], max_len));
        }
        longest = most.max(longest);
        if most <= max_len {
            for &length in block {
                counts[length as usize] += 1;
            }
        } else {
            for &length in block {
                let last = if length > max_len {
                    length % max_len
                } else {
                    length
                };
                counts[last as usize] += 1;
            }
        }
    }
    counts[0] = 0; // nothing is left of a document that whole pieces use up
    counts.truncate(longest.min(max_len) as usize + 1);
    Ok((counts, tokens))
}

fn refused(document: usize, tokens: u32, max_len: u32) -> Error {
    internal(&match tokens {
        0 => format!("document {document} is empty"),
        _ => format!("document {document} has {tokens} tokens, max_len is {max_len}"),
    })
}

/// Documents by bin: the first entry of each bin, and the documents, ties in input order.
fn group(bin_of: &[u32], bins: u32) -> (Vec<u32>, Vec<u32>) {
    let mut starts = vec![0; bins as usize + 1];
    for &bin in bin_of {
        starts[bin as usize + 1] += 1;
    }
    for bin in 0..bins as usize {
        starts[bin + 1] += starts[bin];
    }
    let mut next = starts.clone();
    let mut documents = vec![0; bin_of.len()];
    for (document, &bin) in (0..).zip(bin_of) {
        let place = &mut next[bin as usize];
        documents[*place as usize] = document;
        *place += 1;
    }
    (starts, documents)
}

/// Pieces when the line of all documents is cut every `max_len` tokens.
fn wrapped_pieces(starts: &[u64], max_len: u32) -> u64 {
    let max_len = u64::from(max_len);
    starts
        .windows(2)
        .map(|pair| (pair[1] - 1) / max_len - pair[0] / max_len + 1)
        .sum()
}
