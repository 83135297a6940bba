//! One turn: rules A to F in order.

use super::header::Place;
use super::pieces::{Piece, Pieces};
use super::{Method, OnDrop, Refusal, Rule, Session, SpanOptions, Turn, leaves};
use crate::request::Request;

/// End of what the template wrote for message `index` from `from` on.
pub(super) fn window_end(pieces: &Pieces<'_>, index: u32, from: usize) -> usize {
    let mut end = from;
    for piece in &pieces.list[pieces.index_at(from).min(pieces.list.len())..] {
        if !belongs(piece, index) {
            break;
        }
        end = piece.end;
    }
    end
}

fn belongs(piece: &Piece, index: u32) -> bool {
    match piece.message {
        Some(message) => message == index,
        None => piece.owner == Some(index) && !piece.input,
    }
}

impl Session<'_> {
    pub(super) fn turn(
        &mut self,
        request: &Request<'_>,
        options: &SpanOptions,
        pieces: &Pieces<'_>,
        index: usize,
    ) -> Result<Turn, Refusal> {
        let index = index as u32;
        let refuse = |(rule, detail, at): (Rule, String, usize)| Refusal {
            message: index,
            rule,
            detail,
            around: pieces.around(at),
        };
        let proven = self
            .by_origin(request, options, pieces, index)
            .map_err(refuse);
        match (&options.declared, proven) {
            (Some(declared), Err(refusal)) => declared_turn(declared, pieces, index).ok_or(refusal),
            (_, proven) => proven,
        }
        .and_then(|mut turn| {
            let missing = check_fields(request, options, pieces, &turn).map_err(refuse)?;
            turn.dropped_as_history = missing.as_history;
            turn.dropped = missing.fields;
            turn.tags_agree = self
                .template
                .has_generation_tags()
                .then(|| tags_agree(pieces, &turn));
            Ok(turn)
        })
    }

    fn by_origin(
        &mut self,
        request: &Request<'_>,
        options: &SpanOptions,
        pieces: &Pieces<'_>,
        index: u32,
    ) -> Result<Turn, (Rule, String, usize)> {
        let Some(mut place) = place(pieces, index) else {
            return Ok(empty_turn(index));
        };
        if place.first.is_none() {
            let window = window_end(pieces, index, place.window);
            let tail = &pieces.text[place.window..window];
            place.stop = super::stop::find(pieces, options, place.window, window)
                .map(|(from, _)| place.window + from)
                .filter(|_| !tail.is_empty());
        }
        let (start, method) = self.start(request, pieces, place, options.start)?;
        let last = last_own(pieces, index, start).unwrap_or(start).max(start);
        let (ranges, tail_from) = split(pieces, index, start, last)?;
        let window = window_end(pieces, index, tail_from.max(last));
        let (end, stop) = self.end(request, options, pieces, index, last, window)?;
        let mut ranges = ranges;
        if let Some(range) = ranges.last_mut() {
            range.1 = end.max(range.1);
        }
        // Looking ahead, a template may write the next message's frame into this window.
        let ranges: Vec<(u32, u32)> = ranges
            .into_iter()
            .filter(|(from, to)| from < to)
            .map(|(from, to)| (from as u32, to as u32))
            .collect();
        if ranges.is_empty() {
            return Ok(empty_turn(index));
        }
        let stop = stop.map(|(from, to)| (from as u32, to as u32));
        Ok(Turn {
            message: index,
            method,
            ranges,
            stop,
            dropped: Vec::new(),
            dropped_as_history: false,
            tags_agree: None,
        })
    }
}

/// What a turn may lack by the caller's options.
fn check_fields(
    request: &Request<'_>,
    options: &SpanOptions,
    pieces: &Pieces<'_>,
    turn: &Turn,
) -> Result<leaves::Missing, (Rule, String, usize)> {
    let Some(message) = request.messages[turn.message as usize].as_map() else {
        return Ok(leaves::Missing::default());
    };
    let ranges: Vec<_> = turn
        .ranges
        .iter()
        .map(|(from, to)| (*from as usize, *to as usize))
        .collect();
    let mut missing = leaves::missing(message, pieces, turn.message, &ranges);
    let followed = turn.message as usize + 1 < request.messages.len();
    missing.as_history = followed && missing.only_reasoning && !missing.fields.is_empty();
    let policy = if missing.as_history {
        options.history_reasoning
    } else {
        options.dropped
    };
    if policy == OnDrop::Allow || missing.fields.is_empty() {
        return Ok(missing);
    }
    Err((
        Rule::D,
        format!("the template leaves out {}", missing.fields.join(", ")),
        turn.ranges.first().map_or(0, |range| range.0 as usize),
    ))
}

fn empty_turn(index: u32) -> Turn {
    Turn {
        message: index,
        method: Method::Empty,
        ranges: Vec::new(),
        stop: None,
        dropped: Vec::new(),
        dropped_as_history: false,
        tags_agree: None,
    }
}

fn place(pieces: &Pieces<'_>, index: u32) -> Option<Place> {
    // A copy of a field in another message's window (a tool result that names its call) is not
    // where the turn is.
    let own = |piece: &&Piece| piece.owner.is_none_or(|owner| owner == index);
    let first = pieces.of(index).find(own).map(|piece| piece.start);
    let at = match first {
        Some(first) => first,
        None => {
            pieces
                .list
                .iter()
                .find(|piece| piece.owner == Some(index))?
                .start
        }
    };
    let window = pieces.window_start(index, at);
    let anchor = pieces.anchor(
        index,
        if first.is_some() {
            at
        } else {
            pieces.text.len()
        },
    );
    // Without text of its own, the window must come after all earlier text.
    let anchor = if first.is_some() {
        anchor
    } else {
        pieces.anchor(index, window.max(at))
    };
    Some(Place {
        index,
        first,
        window,
        anchor,
        stop: None,
    })
}

fn last_own(pieces: &Pieces<'_>, index: u32, start: usize) -> Option<usize> {
    pieces
        .of(index)
        .filter(|piece| piece.start >= start && piece.owner.is_none_or(|owner| owner == index))
        .map(|piece| piece.end)
        .max()
}

type Ranges = (Vec<(usize, usize)>, usize);

/// Rule A: the bytes from start to the last own byte, without those of other messages.
fn split(
    pieces: &Pieces<'_>,
    index: u32,
    start: usize,
    last: usize,
) -> Result<Ranges, (Rule, String, usize)> {
    let mut ranges = vec![(start, start)];
    let first_piece = pieces.index_at(start);
    for piece in &pieces.list[first_piece.min(pieces.list.len())..] {
        if piece.start >= last {
            break;
        }
        let foreign_text = piece.input && piece.message != Some(index);
        let foreign_frame =
            piece.owner.is_some_and(|owner| owner != index) && piece.message.is_none();
        if foreign_text || foreign_frame {
            let detail = "text of another message stands inside of the turn".to_owned();
            return Err((Rule::A, detail, piece.start));
        }
        if let Some(range) = ranges.last_mut() {
            range.1 = piece.end.min(last.max(start));
        }
    }
    if let Some(early) = pieces
        .of(index)
        .find(|piece| piece.end <= start && piece.owner.is_none_or(|owner| owner == index))
        && !pieces.text[early.start..early.end].trim().is_empty()
    {
        return Err((
            Rule::A,
            "text of the turn stands before its start".into(),
            early.start,
        ));
    }
    Ok((ranges, last))
}

/// The declared header right before the text and the declared stop right after it.
fn declared_turn(declared: &super::Declaration, pieces: &Pieces<'_>, index: u32) -> Option<Turn> {
    let place = place(pieces, index)?;
    let first = place.first?;
    let before = &pieces.text[place.anchor..first];
    let at = before.rfind(&declared.header)? + declared.header.len();
    let start = place.anchor + at;
    let last = last_own(pieces, index, start)?;
    split(pieces, index, start, last).ok()?;
    let next = pieces.list[pieces.index_at(last).min(pieces.list.len())..]
        .iter()
        .find(|piece| piece.input)
        .map_or(pieces.text.len(), |piece| piece.start);
    let from = last + pieces.text[last..next].find(&declared.stop)?;
    let end = from + declared.stop.len();
    Some(Turn {
        message: index,
        method: Method::Declared,
        ranges: vec![(start as u32, end as u32)],
        stop: Some((from as u32, end as u32)),
        dropped: Vec::new(),
        dropped_as_history: false,
        tags_agree: None,
    })
}

/// Whether the generation tags mark the same bytes, up to white space.
fn tags_agree(pieces: &Pieces<'_>, turn: &Turn) -> bool {
    let inside = |at: usize| {
        turn.ranges
            .iter()
            .any(|(from, to)| at >= *from as usize && at < *to as usize)
    };
    let (Some(first), Some(last)) = (turn.ranges.first(), turn.ranges.last()) else {
        return !pieces
            .list
            .iter()
            .any(|p| p.generation && p.owner == Some(turn.message));
    };
    let (first, last) = (first.0 as usize, last.1 as usize);
    pieces
        .list
        .iter()
        .filter(|p| p.end > first && p.start < last)
        .all(|piece| {
            let text = &pieces.text[piece.start.max(first)..piece.end.min(last)];
            text.trim().is_empty() || piece.generation == inside(piece.start.max(first))
        })
        && pieces
            .list
            .iter()
            .filter(|p| p.generation && p.owner == Some(turn.message))
            .all(|p| inside(p.start) || pieces.text[p.start..p.end].trim().is_empty())
}

/// Two turns that claim the same bytes are both wrong.
pub(super) fn refuse_overlaps(turns: &mut [Result<Turn, Refusal>], pieces: &Pieces<'_>) {
    let mut taken: Vec<(u32, u32, usize)> = Vec::new();
    for (index, turn) in turns.iter().enumerate() {
        if let Ok(turn) = turn {
            taken.extend(turn.ranges.iter().map(|(from, to)| (*from, *to, index)));
        }
    }
    taken.sort_unstable();
    let clashes: Vec<(usize, u32)> = taken
        .windows(2)
        .filter(|pair| pair[1].0 < pair[0].1 && pair[0].2 != pair[1].2)
        .flat_map(|pair| [(pair[0].2, pair[1].0), (pair[1].2, pair[1].0)])
        .collect();
    for (index, at) in clashes {
        let message = match &turns[index] {
            Ok(turn) => turn.message,
            Err(_) => continue,
        };
        turns[index] = Err(Refusal {
            message,
            rule: Rule::A,
            detail: "two turns lie over one another".into(),
            around: pieces.around(at as usize),
        });
    }
}
