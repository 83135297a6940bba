//! One turn: rules A to F in order.

use super::header::Place;
use super::pieces::{Piece, Pieces};
use super::{
    ASSISTANT, Method, OnDrop, Refusal, Rule, Session, SpanOptions, Turn, declared, leaves, ranges,
    role,
};
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
            (Some(declared), Err(refusal)) => {
                declared::turn(declared, pieces, index).ok_or(refusal)
            }
            (_, proven) => proven,
        }
        .and_then(|mut turn| {
            check_tags(pieces, index).map_err(refuse)?;
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

    /// Rules B and C by origins; where they cannot fix the start, by prefix renderings.
    fn start_of(
        &mut self,
        request: &Request<'_>,
        options: &SpanOptions,
        pieces: &Pieces<'_>,
        place: Place,
    ) -> Result<(usize, Method), (Rule, String, usize)> {
        let message = request.messages.get(place.index as usize);
        if let Some(role) = message.and_then(role).filter(|role| *role != ASSISTANT) {
            return self.start_of_role(request, pieces, place, role);
        }
        self.start(request, pieces, place, options.start)
            .or_else(|refusal| {
                let start = self.start_by_prefix(request, pieces, place);
                start
                    .map(|start| (start, Method::PrefixDiff))
                    .ok_or(refusal)
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
        let (start, method) = self.start_of(request, options, pieces, place)?;
        let mut ranges = ranges::split(pieces, index, start)?;
        let last = ranges::last_own(pieces, index, &ranges).unwrap_or(start);
        let window = window_end(pieces, index, last);
        let (end, stop) = self.end(request, options, pieces, index, last, window)?;
        if let Some(range) = ranges.last_mut() {
            range.1 = end as u32;
        }
        // Looking ahead, a template may write the next message's frame into this window.
        ranges.retain(|(from, to)| from < to);
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
    let mut missing = leaves::missing(message, pieces, turn.message, &turn.ranges);
    let followed = turn.message as usize + 1 < request.messages.len();
    missing.as_history = followed && missing.reasoning;
    let now = missing.other || missing.reasoning && !followed;
    let refused = now && options.dropped == OnDrop::Refuse
        || missing.as_history && options.history_reasoning == OnDrop::Refuse;
    if !refused {
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

pub(super) fn place(pieces: &Pieces<'_>, index: u32) -> Option<Place> {
    // A copy of a field in another message's window (a tool result that names its call) is not
    // where the turn is.
    let own = |piece: &&Piece| piece.owner.is_none_or(|owner| owner == index);
    let first = pieces.of(index).find(own).map(|piece| piece.start);
    let written_for = |piece: &&Piece| piece.owner == Some(index);
    let at = match first {
        Some(first) => first,
        None => pieces.near(index).iter().find(written_for)?.start,
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

/// Rule F: generation tags of a turn hold no other message's text.
fn check_tags(pieces: &Pieces<'_>, index: u32) -> Result<(), (Rule, String, usize)> {
    let foreign = |piece: &&Piece| {
        piece.generation
            && piece.input
            && piece.owner == Some(index)
            && piece.message != Some(index)
    };
    let tagged = if pieces.tagged {
        pieces.near(index)
    } else {
        &[]
    };
    match tagged.iter().find(foreign) {
        Some(piece) => {
            let detail = "the turn's generation tags hold text of another message";
            Err((Rule::F, detail.into(), piece.start))
        }
        None => Ok(()),
    }
}

/// Whether the generation tags mark the same bytes, up to white space.
fn tags_agree(pieces: &Pieces<'_>, turn: &Turn) -> bool {
    let inside = |at: usize| {
        turn.ranges
            .iter()
            .any(|(from, to)| at >= *from as usize && at < *to as usize)
    };
    let near = pieces.near(turn.message);
    let (Some(first), Some(last)) = (turn.ranges.first(), turn.ranges.last()) else {
        return !near
            .iter()
            .any(|p| p.generation && p.owner == Some(turn.message));
    };
    let (first, last) = (first.0 as usize, last.1 as usize);
    pieces.list[pieces.index_at(first)..]
        .iter()
        .take_while(|p| p.start < last)
        .all(|piece| {
            let text = &pieces.text[piece.start.max(first)..piece.end.min(last)];
            text.trim().is_empty() || piece.generation == inside(piece.start.max(first))
        })
        && near
            .iter()
            .filter(|p| p.generation && p.owner == Some(turn.message))
            .all(|p| inside(p.start) || pieces.text[p.start..p.end].trim().is_empty())
}

/// Two turns that claim the same bytes are both wrong.
pub(super) fn refuse_overlaps(turns: &mut [Result<Turn, Refusal>], pieces: &Pieces<'_>) {
    let proven = || turns.iter().flatten().flat_map(|turn| &turn.ranges);
    if proven().is_sorted_by(|one, next| one.1 <= next.0) {
        return;
    }
    let mut taken: Vec<(u32, u32, usize)> = Vec::new();
    for (index, turn) in turns.iter().enumerate() {
        if let Ok(turn) = turn {
            taken.extend(turn.ranges.iter().map(|(from, to)| (*from, *to, index)));
        }
    }
    taken.sort_unstable();
    let mut clashes: Vec<(usize, u32)> = Vec::new();
    // The turn that reaches furthest so far.
    let mut far = (0, 0);
    for (from, to, index) in taken {
        if from < far.0 && index != far.1 {
            clashes.extend([(far.1, from), (index, from)]);
        }
        if to > far.0 {
            far = (to, index);
        }
    }
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
