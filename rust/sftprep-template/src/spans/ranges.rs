//! Rule A: the bytes of a turn, without those of other messages that lie between.

use super::Rule;
use super::leaves;
use super::pieces::{Piece, Pieces};

/// Byte ranges in order, or why there are none.
type Ranges = Result<Vec<(u32, u32)>, (Rule, String, usize)>;

/// A stretch of pieces that are not another message's.
#[derive(Debug, Clone, Copy)]
struct Run {
    /// First piece, and the one behind the last.
    pieces: (usize, usize),
    /// Whether text of another message stands directly before it, and directly behind it.
    beside_text: (bool, bool),
}

/// The ranges of turn `index`, from `start` to the last byte that is its own.
///
/// Where bytes of other messages lie between (tool results that are folded into the turn), the
/// turn is split there. Literals that touch the other message's text may be its frame, and stay
/// out. Text that only repeats what the turn said before (a tool's name in the header of its
/// result) is no part of it.
pub(super) fn split(pieces: &Pieces<'_>, index: u32, start: usize) -> Ranges {
    let inside = "text of another message stands inside of the turn";
    if let Some(early) = own(pieces, index).find(|piece| piece.end <= start)
        && !pieces.text[early.start..early.end].trim().is_empty()
    {
        let detail = "text of the turn stands before its start";
        return Err((Rule::A, detail.into(), early.start));
    }
    // Pieces are in order: the last one ends last.
    let Some(last) = own(pieces, index).next_back().map(|piece| piece.end) else {
        return Ok(vec![(start as u32, start as u32)]);
    };
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    each_run(pieces, index, start, last.max(start), |run| {
        let list = &pieces.list[run.pieces.0..run.pieces.1];
        let mut owned = list.iter().filter(|piece| piece.message == Some(index));
        let (Some(first), at) = (owned.next(), list[0].start.max(start)) else {
            if ranges.is_empty() && last > start {
                // what the header is followed by is somebody else's
                return Err((Rule::A, inside.into(), list[0].end));
            }
            return Ok(());
        };
        if !ranges.is_empty() && repeats(pieces, index, run, &ranges) {
            return Ok(());
        }
        let end = owned.next_back().unwrap_or(first).end;
        let from = if run.beside_text.0 && !ranges.is_empty() {
            first.start
        } else {
            at
        };
        let to = if run.beside_text.1 {
            end
        } else {
            list.last()
                .map_or(end, |piece| piece.end)
                .min(last.max(end))
        };
        ranges.push((from as u32, to as u32));
        Ok(())
    })?;
    if ranges.is_empty() {
        return Err((Rule::A, inside.into(), start));
    }
    Ok(ranges)
}

/// The end of the last byte of message `index` in some ranges.
pub(super) fn last_own(pieces: &Pieces<'_>, index: u32, ranges: &[(u32, u32)]) -> Option<usize> {
    own(pieces, index)
        .rev()
        .find(|piece| within(piece, ranges))
        .map(|piece| piece.end)
}

/// Whether a piece lies in one of some ranges.
pub(super) fn within(piece: &Piece, ranges: &[(u32, u32)]) -> bool {
    let inside =
        |range: &(u32, u32)| piece.start >= range.0 as usize && piece.end <= range.1 as usize;
    ranges.iter().any(inside)
}

/// Text of a message, but for copies in other messages' windows.
fn own<'p>(pieces: &'p Pieces<'_>, index: u32) -> impl DoubleEndedIterator<Item = &'p Piece> {
    pieces
        .of(index)
        .filter(move |piece| piece.owner.is_none_or(|owner| owner == index))
}

fn is_foreign(piece: &Piece, index: u32) -> bool {
    if piece.input {
        piece.message != Some(index)
    } else {
        piece.owner.is_some_and(|owner| owner != index)
    }
}

/// Calls `visit` with the stretches between `start` and `last` that are not another message's.
fn each_run<E>(
    pieces: &Pieces<'_>,
    index: u32,
    start: usize,
    last: usize,
    mut visit: impl FnMut(Run) -> Result<(), E>,
) -> Result<(), E> {
    let mut open: Option<Run> = None;
    let mut text_before = false;
    let first = pieces.index_at(start);
    for (at, piece) in pieces.list.iter().enumerate().skip(first) {
        if piece.start >= last {
            break;
        }
        if is_foreign(piece, index) {
            if let Some(mut run) = open.take() {
                run.beside_text.1 = piece.input;
                visit(run)?;
            }
            text_before = piece.input;
            continue;
        }
        match &mut open {
            Some(run) => run.pieces.1 = at + 1,
            None => {
                open = Some(Run {
                    pieces: (at, at + 1),
                    beside_text: (text_before, false),
                });
            }
        }
    }
    open.map_or(Ok(()), visit)
}

/// Whether all that a run says of the message is in `ranges` already, or is bookkeeping.
fn repeats(pieces: &Pieces<'_>, index: u32, run: Run, ranges: &[(u32, u32)]) -> bool {
    let said = |piece: &Piece| {
        let Some(leaf) = piece.leaf else { return true };
        let path = &pieces.rendered.leaves[leaf as usize].path;
        let covers = |other: &Piece| {
            let inside = within(other, ranges);
            let same = other
                .leaf
                .is_some_and(|leaf| pieces.rendered.leaves[leaf as usize].path == *path);
            let len = (piece.end - piece.start) as u32;
            let within = match (piece.source, other.source) {
                (Some(mine), Some(theirs)) => {
                    theirs <= mine && mine + len <= theirs + (other.end - other.start) as u32
                }
                _ => false,
            };
            inside && same && within
        };
        leaves::is_bookkeeping(path) || own(pieces, index).any(covers)
    };
    pieces.list[run.pieces.0..run.pieces.1]
        .iter()
        .filter(|piece| piece.message == Some(index))
        .all(said)
}
