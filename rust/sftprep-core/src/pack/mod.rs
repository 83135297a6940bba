//! Which documents share a packed sequence: a pure function of their lengths.
//!
//! `plan` sees lengths only: no tokens, no I/O, no threads, no clock. Equal input gives an equal
//! plan on every machine. The plan is not a list of rows but a recipe from which any row is
//! computed, so that ten million documents cost the memory of their sorted indices and little else.
//!
//! ```
//! use sftprep_core::config::Strategy;
//! use sftprep_core::types::PackedRows;
//!
//! let plan = sftprep_core::pack::plan(&[3, 5, 2, 6], 8, Strategy::Bfd, 0)?;
//! assert_eq!(plan.rows(), 2); // 6 + 2 and 5 + 3
//! let mut pieces = Vec::new();
//! plan.row(0, &mut pieces);
//! assert_eq!(pieces.iter().map(|piece| piece.len).sum::<u32>(), 8);
//! # Ok::<(), sftprep_core::error::Error>(())
//! ```

mod balance;
mod bound;
mod cuts;
mod draw;
mod fit;
mod histogram;
mod layout;
mod permute;
#[cfg(test)]
mod tests;

use crate::config::{PackingConfig, Strategy};
use crate::error::{Code, Error, Result};
use crate::types::{PackedRows, Piece, RowShape};

use layout::Layout;
use permute::{Permutation, derive_key};

pub use balance::{Balance, TOKEN_COST, WINDOW_STEPS};
pub use cuts::Cuts;
pub use draw::{draw, shares};

/// Domain of the key that shuffles rows; documents of length `l` use `l`, which is smaller.
const ROW_DOMAIN: u64 = 1 << 32;

/// What a plan amounts to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PlanStats {
    /// Documents given.
    pub documents: u64,
    /// Pieces they became; more than `documents` only where a strategy cuts.
    pub pieces: u64,
    /// Packed sequences.
    pub rows: u64,
    /// Tokens in them.
    pub tokens: u64,
    /// Share of `rows * max_len` that holds tokens, between 0 and 1; 1 if there is no row.
    pub fill: f64,
    /// Number of rows that no packing of these pieces can go below: the larger of the size bound
    /// and Martello and Toth's L2.
    pub lower_bound: u64,
    /// Rows above that bound, as a share of it.
    pub gap: f64,
}

/// The packed sequences of a data set, in their final order.
///
/// `bfd`, `bfd_split` and `first_fit` give their rows in a shuffled order that depends on the seed;
/// `sequential`, `wrapped` and `none` keep the order of the input, which is what they are for.
#[derive(Debug)]
pub struct PackPlan {
    layout: Layout,
    stats: PlanStats,
    shuffle: Option<Permutation>,
    balanced: Option<(Vec<u32>, Balance)>,
}

/// Plans the packing of documents of these lengths (in tokens) as the options say.
///
/// # Errors
///
/// As [`plan`].
pub fn plan_as(lengths: &[u32], packing: &PackingConfig) -> Result<PackPlan> {
    let plan = plan(lengths, packing.max_len, packing.strategy, packing.seed)?;
    Ok(match packing.balance {
        0 => plan,
        ranks => plan.balanced(ranks, packing.seed),
    })
}

/// Plans the packing of documents of these lengths (in tokens) into sequences of `max_len`.
///
/// # Errors
///
/// `run.internal` if the caller let through what it must not: an empty document, `max_len` 0, a
/// document longer than `max_len` with a strategy that does not cut, or more than 2^32 - 2
/// documents or rows.
pub fn plan(lengths: &[u32], max_len: u32, strategy: Strategy, seed: u64) -> Result<PackPlan> {
    if max_len == 0 {
        return Err(internal("max_len is 0"));
    }
    if lengths.len() >= u32::MAX as usize {
        return Err(internal(&format!(
            "{} documents do not fit in 32 bits",
            lengths.len()
        )));
    }
    let layout = Layout::new(lengths, max_len, strategy, seed)?;
    let rows = layout.rows();
    if rows >= u64::from(u32::MAX) {
        return Err(internal(&format!("{rows} rows do not fit in 32 bits")));
    }
    let stats = PlanStats::new(&layout, lengths.len() as u64, max_len);
    let shuffle = match strategy {
        Strategy::Bfd | Strategy::BfdSplit | Strategy::FirstFit => {
            Some(Permutation::new(rows as u32, derive_key(seed, ROW_DOMAIN)))
        }
        Strategy::Sequential | Strategy::Wrapped | Strategy::None => None,
    };
    Ok(PackPlan {
        layout,
        stats,
        shuffle,
        balanced: None,
    })
}

impl PackPlan {
    /// What the plan amounts to.
    pub fn stats(&self) -> PlanStats {
        self.stats
    }

    /// The same rows in an order in which each step of `ranks` rows has rows of like cost. The cost
    /// of a row is [`TOKEN_COST`] per token and the sum of the squared lengths of its documents.
    #[must_use]
    pub fn balanced(mut self, ranks: u32, seed: u64) -> Self {
        self.balanced = None;
        let cost = |row: u32| {
            let row = self.planned(row as usize);
            let tokens = u64::from(self.layout.shape(row).tokens);
            TOKEN_COST * tokens + self.layout.attention_cost(row)
        };
        let balanced = balance::balanced(self.stats.rows as u32, ranks, seed, cost);
        self.balanced = Some(balanced);
        self
    }

    /// How equal the work of the ranks is, if the rows are ordered by it.
    pub fn balance(&self) -> Option<Balance> {
        self.balanced.as_ref().map(|(_, balance)| *balance)
    }

    fn planned(&self, row: usize) -> u32 {
        let row = match &self.balanced {
            Some((order, _)) => order[row],
            None => row as u32,
        };
        match &self.shuffle {
            Some(shuffle) => shuffle.apply(row),
            None => row,
        }
    }
}

impl PackedRows for PackPlan {
    fn rows(&self) -> usize {
        self.stats.rows as usize
    }

    fn row(&self, row: usize, pieces: &mut Vec<Piece>) {
        assert!(row < self.rows(), "row {row} of a plan of {}", self.rows());
        pieces.clear();
        self.layout.row(self.planned(row), pieces);
    }

    fn row_shape(&self, row: usize) -> RowShape {
        assert!(row < self.rows(), "row {row} of a plan of {}", self.rows());
        self.layout.shape(self.planned(row))
    }
}

impl PlanStats {
    fn new(layout: &Layout, documents: u64, max_len: u32) -> Self {
        let (rows, totals) = (layout.rows(), layout.totals());
        let room = rows as f64 * f64::from(max_len);
        let over = rows.saturating_sub(totals.lower_bound);
        Self {
            documents,
            pieces: totals.pieces,
            rows,
            tokens: totals.tokens,
            fill: if rows == 0 {
                1.0
            } else {
                totals.tokens as f64 / room
            },
            lower_bound: totals.lower_bound,
            gap: over as f64 / totals.lower_bound.max(1) as f64,
        }
    }
}

fn internal(message: &str) -> Error {
    Error::new(
        Code::RunInternal,
        format!("the packing plan refused its input: {message}"),
    )
}
