//! The kind of every byte.

use super::pieces::{Piece, Pieces};
use super::{KindSpan, Refusal, SpanKind, Turn, role};
use crate::request::Request;

pub(super) fn partition(
    request: &Request<'_>,
    pieces: &Pieces<'_>,
    turns: &[Result<Turn, Refusal>],
) -> Vec<KindSpan> {
    let mut spans: Vec<KindSpan> = Vec::new();
    let mut proven = vec![false; request.messages.len()];
    for turn in turns.iter().flatten() {
        proven[turn.message as usize] = true;
    }
    for piece in &pieces.list {
        let kind = match piece.message {
            // Behind its turn a message is only quoted, as a tool's name in its result's header.
            Some(message) if proven[message as usize] => SpanKind::Scaffold,
            _ => outside_kind(request, pieces, piece),
        };
        let message = piece.message.filter(|_| kind != SpanKind::Scaffold);
        push(
            &mut spans,
            piece.start as u32,
            piece.end as u32,
            kind,
            message,
        );
    }
    for turn in turns.iter().flatten() {
        for range in &turn.ranges {
            let role = request.messages.get(turn.message as usize).and_then(role);
            let inner = match other_kind(role) {
                None => inside(pieces, turn, *range),
                Some(kind) => vec![KindSpan {
                    start: range.0,
                    end: range.1,
                    kind,
                    message: Some(turn.message),
                }],
            };
            overlay(&mut spans, *range, inner);
        }
    }
    spans
}

fn push(spans: &mut Vec<KindSpan>, start: u32, end: u32, kind: SpanKind, message: Option<u32>) {
    if start == end {
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

fn outside_kind(request: &Request<'_>, pieces: &Pieces<'_>, piece: &Piece) -> SpanKind {
    let Some(message) = piece.message else {
        return SpanKind::Scaffold;
    };
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
fn inside(pieces: &Pieces<'_>, turn: &Turn, range: (u32, u32)) -> Vec<KindSpan> {
    let message = Some(turn.message);
    let stop = turn
        .stop
        .filter(|stop| stop.0 >= range.0 && stop.1 <= range.1);
    let end = stop.map_or(range.1, |stop| stop.0);
    let mut marked: Vec<(u32, u32, Option<SpanKind>)> = Vec::new();
    for piece in &pieces.list {
        let (from, to) = (
            (piece.start as u32).max(range.0),
            (piece.end as u32).min(end),
        );
        if from < to {
            let kind = (piece.message == message).then(|| field_kind(pieces, piece));
            marked.push((from, to, kind));
        }
    }
    let mut spans = Vec::new();
    for index in 0..marked.len() {
        let (from, to, kind) = marked[index];
        if let Some(kind) = kind {
            push(&mut spans, from, to, kind, message);
            continue;
        }
        let before = marked[..index].iter().rev().find_map(|mark| mark.2);
        let after = marked[index..].iter().find_map(|mark| mark.2);
        match (before, after) {
            (Some(SpanKind::Reasoning), after) if after != before => {
                // The closing mark belongs to the reasoning, what follows to the next part.
                let text = &pieces.text[from as usize..to as usize];
                let close = text.find(['>', ']']).map_or(to, |at| from + at as u32 + 1);
                push(&mut spans, from, close, SpanKind::Reasoning, message);
                push(
                    &mut spans,
                    close,
                    to,
                    after.unwrap_or(SpanKind::Answer),
                    message,
                );
            }
            (Some(SpanKind::ToolCall), _) => {
                push(&mut spans, from, to, SpanKind::ToolCall, message);
            }
            (_, Some(after)) => push(&mut spans, from, to, after, message),
            (before, None) => {
                push(
                    &mut spans,
                    from,
                    to,
                    before.unwrap_or(SpanKind::Answer),
                    message,
                );
            }
        }
    }
    if let Some(stop) = stop {
        push(&mut spans, stop.0, stop.1, SpanKind::Stop, message);
        push(&mut spans, stop.1, range.1, SpanKind::Answer, message);
    }
    spans
}

/// Puts `inner` in place of what `spans` said about `range`.
fn overlay(spans: &mut Vec<KindSpan>, range: (u32, u32), inner: Vec<KindSpan>) {
    let old = std::mem::take(spans);
    let mut placed = false;
    let mut inner = Some(inner);
    for span in old {
        let before = span.end.min(range.0);
        if span.start < before {
            push(spans, span.start, before, span.kind, span.message);
        }
        if !placed && span.end > range.0 {
            placed = true;
            for part in inner.take().unwrap_or_default() {
                push(spans, part.start, part.end, part.kind, part.message);
            }
        }
        let after = span.start.max(range.1);
        if after < span.end {
            push(spans, after, span.end, span.kind, span.message);
        }
    }
}
