//! Rule D: which fields of a message reached its span.

use std::borrow::Cow;

use super::pieces::Pieces;
use super::ranges::within;
use crate::data::{Data, Map};

/// A text field of a message with the path that origins use.
struct Field<'d> {
    path: Cow<'d, str>,
    text: &'d str,
}

/// What a span lacks.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Missing {
    /// Paths of fields that did not reach the text at all or only in part.
    pub fields: Vec<String>,
    /// One of them is reasoning, as a field or inside of the content.
    pub reasoning: bool,
    /// One of them is something else.
    pub other: bool,
    /// Reasoning is among them, and other messages follow.
    pub as_history: bool,
}

/// Names under which a message may give its reasoning.
const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];

/// Compares the text fields of a message with what lies in `ranges`.
pub(super) fn missing(
    message: &Map,
    pieces: &Pieces<'_>,
    index: u32,
    ranges: &[(u32, u32)],
) -> Missing {
    let reasoning = |path: &str| path.starts_with("reasoning") || path.starts_with("thinking");
    let mut found = Missing::default();
    let mut reasoning_seen = false;
    let mut reasoning_lost = None;
    let mut judge = |field: Field<'_>| {
        if field.text.trim().is_empty() || is_bookkeeping(&field.path) {
            return;
        }
        let lost = lost_text(&field, pieces, index, ranges);
        if reasoning(&field.path) {
            // The same reasoning under several names: one of them is enough.
            reasoning_seen |= lost.is_none();
            if lost.is_some() {
                reasoning_lost.get_or_insert_with(|| field.path.into_owned());
            }
        } else if let Some(lost) = lost {
            found.reasoning |= lost == Lost::Thought;
            found.other |= lost != Lost::Thought;
            found.fields.push(field.path.into_owned());
        }
    };
    for (key, value) in message.iter() {
        match &**key {
            "content" | "tool_calls" => collect(value, Cow::Borrowed(&**key), &mut judge, 0),
            // The template sees the same reasoning under each of its names.
            name if REASONING.contains(&name) => {
                for alias in REASONING {
                    collect(value, Cow::Borrowed(alias), &mut judge, 0);
                }
            }
            _ => {}
        }
    }
    if let Some(path) = reasoning_lost
        && !reasoning_seen
    {
        found.reasoning = true;
        found.fields.push(path);
    }
    found
}

/// Ids and types of calls are bookkeeping that most templates leave out.
pub(super) fn is_bookkeeping(path: &str) -> bool {
    path.starts_with("tool_calls")
        && (matches!(path.rsplit('.').next(), Some("id" | "type")) || path.ends_with("].name"))
}

fn collect<'d>(value: &'d Data, path: Cow<'d, str>, judge: &mut impl FnMut(Field<'d>), depth: u32) {
    match value {
        Data::Str(text) => judge(Field { path, text }),
        Data::List(items) if depth < 32 => {
            for (index, item) in items.iter().enumerate() {
                collect(item, format!("{path}[{index}]").into(), judge, depth + 1);
            }
        }
        Data::Map(map) if depth < 32 => {
            let is_part = map.contains_key("type") && map.contains_key("text");
            for (key, item) in map.iter() {
                if !(is_part && &**key == "type") {
                    collect(item, format!("{path}.{key}").into(), judge, depth + 1);
                }
            }
        }
        _ => {}
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Lost {
    /// Only text inside of think marks.
    Thought,
    Text,
}

/// What of a field is not in the ranges; `None` if all that matters is there.
fn lost_text(
    field: &Field<'_>,
    pieces: &Pieces<'_>,
    index: u32,
    ranges: &[(u32, u32)],
) -> Option<Lost> {
    if whole_text(field, pieces, index, ranges) {
        return None;
    }
    let mut covered: Vec<(usize, usize)> = Vec::new();
    let mut inexact = false;
    for piece in pieces.of(index) {
        let Some(leaf) = piece.leaf else { continue };
        let leaf = &pieces.rendered.leaves[leaf as usize];
        let inside = within(piece, ranges);
        let mixed = leaf.kind == crate::trace::LeafKind::Mixed;
        let parent = field.path.starts_with(&*leaf.path) && piece.source.is_none();
        if !inside || !(leaf.path == field.path || mixed || parent) {
            continue;
        }
        match piece.source {
            Some(source) if leaf.path == field.path => {
                covered.push((source as usize, source as usize + piece.end - piece.start));
            }
            _ => inexact = true,
        }
    }
    if covered.is_empty() {
        return if inexact { None } else { Some(Lost::Text) };
    }
    if inexact {
        return None;
    }
    covered.sort_unstable();
    let mut at = 0;
    let mut lost = Vec::new();
    for (from, to) in covered {
        if from > at {
            lost.push((at, from));
        }
        at = at.max(to);
    }
    lost.push((at, field.text.len()));
    let mut worst = None;
    for (from, to) in lost {
        match field
            .text
            .get(from..to.max(from))
            .map(|text| classify(field.text, text, from))
        {
            Some(None) => {}
            Some(Some(Lost::Thought)) => worst = worst.or(Some(Lost::Thought)),
            _ => return Some(Lost::Text),
        }
    }
    worst
}

/// Whether one piece holds all of a field but white space at its ends, as is usual.
fn whole_text(field: &Field<'_>, pieces: &Pieces<'_>, index: u32, ranges: &[(u32, u32)]) -> bool {
    pieces.of(index).any(|piece| {
        let (Some(leaf), Some(from)) = (piece.leaf, piece.source) else {
            return false;
        };
        let (from, to) = (from as usize, from as usize + piece.end - piece.start);
        let blank = |text: Option<&str>| text.is_some_and(|text| text.trim().is_empty());
        pieces.rendered.leaves[leaf as usize].path == field.path
            && blank(field.text.get(..from))
            && blank(field.text.get(to..))
            && within(piece, ranges)
    })
}

/// White space and think marks that the template writes itself are no loss.
fn classify(whole: &str, lost: &str, from: usize) -> Option<Lost> {
    let bare = lost.trim();
    let is_mark = |text: &str| {
        text.is_empty()
            || (text.starts_with(['<', '[']) && text.ends_with(['>', ']']) && !text.contains('\n'))
    };
    if is_mark(bare) {
        return None;
    }
    let closes = ["</think>", "[/THINK]", "</seed:think>", "</thought>"];
    let thought = closes.iter().any(|close| {
        whole[..from + lost.len()].trim_end().ends_with(close)
            || lost.contains(close) && lost.trim_end().ends_with(close)
            || whole[from + lost.len()..].trim_start().starts_with(close)
    });
    Some(if thought { Lost::Thought } else { Lost::Text })
}
