//! Turns whose header and stop the user declared; origins still verify them.

use super::pieces::Pieces;
use super::turn::{place, window_end};
use super::{Declaration, Method, Turn, ranges};

/// The declared header before the text and the declared stop behind it, both the template's own.
pub(super) fn turn(declared: &Declaration, pieces: &Pieces<'_>, index: u32) -> Option<Turn> {
    let place = place(pieces, index)?;
    let first = place.first?;
    // What stands before the text, back to the text of any message, is literal.
    let before = &pieces.text[place.anchor..first];
    let start = place.anchor + before.rfind(&declared.header)? + declared.header.len();
    let mut ranges = ranges::split(pieces, index, start).ok()?;
    let last = ranges::last_own(pieces, index, &ranges)?;
    let next = pieces.list[pieces.index_at(last).min(pieces.list.len())..]
        .iter()
        .find(|piece| piece.input)
        .map_or(pieces.text.len(), |piece| piece.start);
    let from = last + pieces.text[last..next].find(&declared.stop)?;
    let end = from + declared.stop.len();
    // Between the text and its stop stands nothing but what the template closes it with.
    if from > window_end(pieces, index, last) && !pieces.text[last..from].trim().is_empty() {
        return None;
    }
    ranges.last_mut()?.1 = end as u32;
    Some(Turn {
        message: index,
        method: Method::Declared,
        ranges,
        stop: Some((from as u32, end as u32)),
        dropped: Vec::new(),
        dropped_as_history: false,
        tags_agree: None,
    })
}
