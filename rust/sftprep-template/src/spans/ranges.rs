//! Rule A: the bytes of a turn, without those of other messages that lie between.

use super::Rule;
use super::leaves;
use super::pieces::{Piece, Pieces};

/// Byte ranges in order, or why there are none.
type Ranges = Result<Vec<(usize, usize)>, (Rule, String, usize)>;

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
    let Some(last) = own(pieces, index).map(|piece| piece.end).max() else {
        return Ok(vec![(start, start)]);
    };
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for run in runs(pieces, index, start, last.max(start)) {
        let list = &pieces.list[run.pieces.0..run.pieces.1];
        let mut owned = list.iter().filter(|piece| piece.message == Some(index));
        let (Some(first), at) = (owned.next(), list[0].start.max(start)) else {
            if ranges.is_empty() && last > start {
                // what the header is followed by is somebody else's
                return Err((Rule::A, inside.into(), list[0].end));
            }
            continue;
        };
        if !ranges.is_empty() && repeats(pieces, index, run, &ranges) {
            continue;
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
        ranges.push((from, to));
    }
    if ranges.is_empty() {
        return Err((Rule::A, inside.into(), start));
    }
    Ok(ranges)
}

/// The end of the last byte of message `index` in some ranges.
pub(super) fn last_own(
    pieces: &Pieces<'_>,
    index: u32,
    ranges: &[(usize, usize)],
) -> Option<usize> {
    let inside = |piece: &&Piece| {
        ranges
            .iter()
            .any(|(from, to)| piece.start >= *from && piece.end <= *to)
    };
    own(pieces, index)
        .filter(inside)
        .map(|piece| piece.end)
        .max()
}

/// Text of a message, but for copies in other messages' windows.
fn own<'p>(pieces: &'p Pieces<'_>, index: u32) -> impl Iterator<Item = &'p Piece> {
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

/// The stretches between `start` and `last` that are not another message's.
fn runs(pieces: &Pieces<'_>, index: u32, start: usize, last: usize) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut open = false;
    let mut text_before = false;
    for (at, piece) in pieces.list.iter().enumerate().skip(pieces.index_at(start)) {
        if piece.start >= last {
            break;
        }
        if is_foreign(piece, index) {
            if let Some(run) = runs.last_mut().filter(|_| open) {
                run.beside_text.1 = piece.input;
            }
            (open, text_before) = (false, piece.input);
            continue;
        }
        match runs.last_mut().filter(|_| open) {
            Some(run) => run.pieces.1 = at + 1,
            None => runs.push(Run {
                pieces: (at, at + 1),
                beside_text: (text_before, false),
            }),
        }
        open = true;
    }
    runs
}

/// Whether all that a run says of the message is in `ranges` already, or is bookkeeping.
fn repeats(pieces: &Pieces<'_>, index: u32, run: Run, ranges: &[(usize, usize)]) -> bool {
    let said = |piece: &Piece| {
        let Some(leaf) = piece.leaf else { return true };
        let path = &pieces.rendered.leaves[leaf as usize].path;
        let covers = |other: &Piece| {
            let inside = ranges
                .iter()
                .any(|(from, to)| other.start >= *from && other.end <= *to);
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
