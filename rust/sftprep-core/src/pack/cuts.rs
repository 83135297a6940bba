//! Where a strategy will cut a document, known as soon as its length is.
//!
//! The first token of every piece loses its label, so whoever counts trained tokens in input order
//! has to know the cuts before there is a plan. Those of `bfd_split` depend on the document alone,
//! those of `wrapped` on the tokens before it.

use crate::config::Strategy;

/// The cuts of documents taken in input order.
#[derive(Debug, Clone)]
pub struct Cuts {
    max_len: u32,
    strategy: Strategy,
    /// Tokens in the row being filled, for `wrapped`.
    used: u32,
}

impl Cuts {
    /// The cuts that `strategy` makes.
    pub fn new(strategy: Strategy, max_len: u32) -> Self {
        Self {
            max_len,
            strategy,
            used: 0,
        }
    }

    /// First token of every piece but the first, of the next document.
    pub fn next(&mut self, length: u32) -> impl Iterator<Item = u32> + use<> {
        let first = match self.strategy {
            Strategy::BfdSplit => self.max_len,
            Strategy::Wrapped => {
                let first = self.max_len - self.used;
                let tokens = u64::from(self.used) + u64::from(length);
                self.used = (tokens % u64::from(self.max_len)) as u32;
                first
            }
            Strategy::Bfd | Strategy::FirstFit | Strategy::Sequential | Strategy::None => length,
        };
        (first..length).step_by(self.max_len as usize)
    }
}
