//! What a packed sequence is made of, and the view of a plan that the shard writer needs.

/// A run of tokens of one document inside a packed sequence. A document that no strategy cut is one
/// piece that starts at 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Piece {
    /// Index of the document.
    pub document: u32,
    /// First token of the piece in the document.
    pub start: u32,
    /// Number of tokens, at least 1.
    pub len: u32,
}

/// Size of a packed sequence.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RowShape {
    /// Tokens.
    pub tokens: u32,
    /// Pieces.
    pub documents: u32,
}

/// Packed sequences by index: what the plan promises to whoever gathers them.
pub trait PackedRows: Sync {
    /// Number of packed sequences.
    fn rows(&self) -> usize;

    /// Replaces `pieces` by the pieces of sequence `row`, in order.
    fn row(&self, row: usize, pieces: &mut Vec<Piece>);

    /// Size of sequence `row`, without listing its pieces where that is possible.
    fn row_shape(&self, row: usize) -> RowShape;
}
