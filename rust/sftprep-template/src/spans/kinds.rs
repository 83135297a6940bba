//! The kind of every byte.

use super::pieces::{Piece, Pieces};
use super::{KindSpan, Refusal, SpanKind, Turn, role};
use crate::request::Request;

pub(super) fn partition(
    request: &Request<'_>,
    pieces: &Pieces<'_>,
    turns: &[Result<Turn, Refusal>],
) -> Vec<KindSpan> {
    let mut spans: Vec<KindSpan> = Vec::with_capacity(pieces.list.len() + turns.len());
    let mut ranges: Vec<((u32, u32), &Turn)> = Vec::with_capacity(turns.len());
    for turn in turns.iter().flatten() {
        ranges.extend(turn.ranges.iter().map(|range| (*range, turn)));
    }
    ranges.sort_unstable_by_key(|(range, _)| *range); // in order already, as a rule
    // What is before the next range is decided piece by piece, a range as a whole.
    let mut at = 0;
    for (range, turn) in ranges {
        outside(request, pieces, turns, (at, range.0), &mut spans);
        let role = request.messages.get(turn.message as usize).and_then(role);
        match other_kind(role) {
            None => inside(pieces, turn, range, &mut spans),
            Some(kind) => push(&mut spans, range.0, range.1, kind, Some(turn.message)),
        }
        at = range.1;
    }
    outside(request, pieces, turns, (at, u32::MAX), &mut spans);
    spans
}

/// The kinds of what no turn that is trained covers.
fn outside(
    request: &Request<'_>,
    pieces: &Pieces<'_>,
    turns: &[Result<Turn, Refusal>],
    (from, to): (u32, u32),
    spans: &mut Vec<KindSpan>,
) {
    // Behind its turn a message is only quoted, as a tool's name in its result's header.
    let proven = |message: u32| {
        let place = turns.binary_search_by_key(&message, |turn| match turn {
            Ok(turn) => turn.message,
            Err(refusal) => refusal.message,
        });
        place.is_ok_and(|at| turns[at].is_ok())
    };
    for piece in &pieces.list[pieces.index_at(from as usize)..] {
        let (start, end) = (piece.start as u32, piece.end as u32);
        if start >= to {
            break;
        }
        let kind = match piece.message {
            None => SpanKind::Scaffold,
            Some(message) if proven(message) => SpanKind::Scaffold,
            Some(message) => outside_kind(request, pieces, piece, message),
        };
        let message = piece.message.filter(|_| kind != SpanKind::Scaffold);
        push(spans, start.max(from), end.min(to), kind, message);
    }
}

fn push(spans: &mut Vec<KindSpan>, start: u32, end: u32, kind: SpanKind, message: Option<u32>) {
    if start >= end {
        return;
    }
    match spans.last_mut() {
        Some(last) if last.kind == kind && last.message == message && last.end == start => {
            last.end = end;
        }
        _ => spans.push(KindSpan {
            start,
            end,
            kind,
            message,
        }),
    }
}

fn outside_kind(
    request: &Request<'_>,
    pieces: &Pieces<'_>,
    piece: &Piece,
    message: u32,
) -> SpanKind {
    other_kind(request.messages.get(message as usize).and_then(role))
        .unwrap_or_else(|| field_kind(pieces, piece))
}

/// The kind of all text of a role that is not the assistant's.
fn other_kind(role: Option<&str>) -> Option<SpanKind> {
    match role {
        Some("assistant" | "model") => None,
        Some("system" | "developer") => Some(SpanKind::System),
        Some("tool" | "function" | "observation" | "ipython") => Some(SpanKind::ToolOutput),
        _ => Some(SpanKind::User),
    }
}

fn field_kind(pieces: &Pieces<'_>, piece: &Piece) -> SpanKind {
    let path = piece
        .leaf
        .map_or("", |leaf| &*pieces.rendered.leaves[leaf as usize].path);
    if path.starts_with("reasoning") || path.starts_with("thinking") {
        SpanKind::Reasoning
    } else if path.starts_with("tool_calls") || path.starts_with("function_call") {
        SpanKind::ToolCall
    } else {
        SpanKind::Answer
    }
}

/// The kinds inside of a trained range: literals take the kind of the text that they frame.
fn inside(pieces: &Pieces<'_>, turn: &Turn, range: (u32, u32), spans: &mut Vec<KindSpan>) {
    let message = Some(turn.message);
    let stop = turn
        .stop
        .filter(|stop| stop.0 >= range.0 && stop.1 <= range.1);
    let end = stop.map_or(range.1, |stop| stop.0);
    let list = &pieces.list[pieces.index_at(range.0 as usize)..];
    let own = |piece: &Piece| (piece.message == message).then(|| field_kind(pieces, piece));
    let reaches = |piece: &&Piece| (piece.start as u32) < end;
    let mut before = None;
    for (at, piece) in list.iter().enumerate() {
        let (from, to) = (
            (piece.start as u32).max(range.0),
            (piece.end as u32).min(end),
        );
        if from >= to {
            break;
        }
        if let Some(kind) = own(piece) {
            push(spans, from, to, kind, message);
            before = Some(kind);
            continue;
        }
        let after = list[at..].iter().take_while(reaches).find_map(own);
        match (before, after) {
            (Some(SpanKind::Reasoning), after) if after != before => {
                // The closing mark belongs to the reasoning, what follows to the next part.
                let text = &pieces.text[from as usize..to as usize];
                let close = text.find(['>', ']']).map_or(to, |at| from + at as u32 + 1);
                push(spans, from, close, SpanKind::Reasoning, message);
                let next = after.unwrap_or(SpanKind::Answer);
                push(spans, close, to, next, message);
            }
            (Some(SpanKind::ToolCall), _) => push(spans, from, to, SpanKind::ToolCall, message),
            (_, Some(after)) => push(spans, from, to, after, message),
            (before, None) => {
                let kind = before.unwrap_or(SpanKind::Answer);
                push(spans, from, to, kind, message);
            }
        }
    }
    if let Some(stop) = stop {
        push(spans, stop.0, stop.1, SpanKind::Stop, message);
        push(spans, stop.1, range.1, SpanKind::Answer, message);
    }
}
