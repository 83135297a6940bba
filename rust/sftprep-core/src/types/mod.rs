//! The values that travel down the straight line, in its order.

mod example;
mod packed;
mod place;
mod sample;

pub use example::{Border, Example, IGNORE_INDEX, NO_MESSAGE, SpanKind, TokenSpan, trained_tokens};
pub use packed::{PackedRows, Piece, RowShape};
pub use place::{Chunk, Record, RowPlace, Rows, SourceId};
pub use sample::{Conversation, Sample, Threads, TokenTargets};
