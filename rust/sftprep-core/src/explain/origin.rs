//! From the bytes of a token to characters of the source row.

use std::fmt::Write as _;

use serde::Serialize;
use sftprep_template::{Data, Leaf, LeafKind, Origin, leaf_text};

use crate::config::SourceConfig;
use crate::pipeline::{Prepared, Trace};
use crate::replay::SourceRow;
use crate::types::{Conversation, Sample, SpanKind};

/// A piece of a token with one origin.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Part {
    /// First byte in the rendered text, and one past the last.
    pub bytes: [u32; 2],
    /// Its text; a part of a character is replaced.
    pub text: String,
    /// `literal` and `special_token` (the template's own), `message`, `role`, `tools`, `documents`,
    /// `variable`, `mixed`, `text`, `tokens`, `joined` (put between strings of the row by its
    /// format), or `added` (an end-of-sequence token).
    pub origin: &'static str,
    /// Message that the bytes came from.
    pub message: Option<u32>,
    /// Field of that message, as the template is given it.
    pub field: Option<String>,
    /// Where that is in the source row, such as `conversations[1].value`.
    pub path: Option<String>,
    /// Characters there that the bytes are part of, where they are an exact copy.
    pub chars: Option<[usize; 2]>,
    /// The bytes of that string themselves.
    pub field_bytes: Option<[usize; 2]>,
}

/// The pieces of token number `at` of the row's tokens, which covers `bytes` of the text.
pub(super) fn parts(
    source: &SourceRow,
    prepared: &Prepared,
    bytes: [u32; 2],
    at: usize,
    config: &SourceConfig,
) -> Vec<Part> {
    let finder = Finder {
        row: &source.row,
        config,
    };
    let trace = prepared.trace.as_deref();
    if let Some((conversation, trace)) = source.sample.conversation(prepared.thread).zip(trace) {
        let text = prepared.text.as_bytes();
        return finder.of_conversation(conversation, text, trace, bytes);
    }
    match &source.sample {
        Sample::Completion { prompt, completion } => {
            let fields = [("prompt", &**prompt), ("completion", &**completion)];
            finder.of_texts(&fields, prepared, bytes)
        }
        Sample::Text(text) => finder.of_texts(&[("text", &**text)], prepared, bytes),
        Sample::Tokens { .. } | Sample::Conversation(_) | Sample::Threads(_) => {
            let column = finder.column("input_ids");
            vec![Part {
                origin: "tokens",
                path: Some(format!("{column}[{at}]")),
                ..Part::default()
            }]
        }
    }
}

/// Looks for text in a source row.
struct Finder<'a> {
    row: &'a Data,
    config: &'a SourceConfig,
}

impl Finder<'_> {
    fn column<'c>(&'c self, wanted: &'c str) -> &'c str {
        self.config.map.get(wanted).map_or(wanted, String::as_str)
    }

    /// Rows without a template: their texts lie end to end, and perhaps a stop token behind.
    fn of_texts(
        &self,
        fields: &[(&str, &str)],
        prepared: &Prepared,
        [start, end]: [u32; 2],
    ) -> Vec<Part> {
        let text = prepared.text.as_bytes();
        let (start, end) = (start as usize, end as usize);
        let mut parts = Vec::new();
        let mut from = 0;
        for (name, field) in fields {
            // An end-of-sequence token that the row writes itself is taken for the one added.
            let to = (from + field.len()).min(text.len());
            let (first, last) = (start.max(from), end.min(to));
            if first < last || (start == end && first == start && start < to) {
                let mut part = part(text, first, last.max(first), "text");
                part.path = Some(self.column(name).to_owned());
                part.copies(field, first - from, last.max(first) - from);
                parts.push(part);
            }
            from = to;
        }
        if end > from || parts.is_empty() {
            let added = prepared
                .spans
                .last()
                .is_some_and(|span| span.kind == SpanKind::Stop);
            let origin = if added { "added" } else { "text" };
            parts.push(part(text, start.max(from).min(end), end, origin));
        }
        parts
    }

    fn of_conversation(
        &self,
        conversation: &Conversation,
        text: &[u8],
        trace: &Trace,
        [start, end]: [u32; 2],
    ) -> Vec<Part> {
        let first = trace
            .segments
            .partition_point(|segment| segment.end <= start);
        let mut from = first
            .checked_sub(1)
            .map_or(0, |before| trace.segments[before].end);
        let mut parts = Vec::new();
        for segment in &trace.segments[first..] {
            if from >= end && !(start == end && from <= start) {
                break;
            }
            let (a, b) = (from.max(start), segment.end.min(end));
            let mut part = part(text, a as usize, b.max(a) as usize, "literal");
            match segment.origin {
                Origin::Literal => parts.push(part),
                Origin::SpecialToken => {
                    part.origin = "special_token";
                    parts.push(part);
                }
                Origin::Leaf(leaf) => {
                    let leaf = &trace.leaves[leaf as usize];
                    part.origin = name(leaf.kind);
                    part.message = leaf.message;
                    let copied = segment
                        .source_start
                        .map(|source| (source + (a - from)) as usize);
                    self.place(part, conversation, leaf, copied, &mut parts);
                }
            }
            if start == end {
                break;
            }
            from = segment.end;
        }
        parts
    }

    /// Says where the text of a leaf stands: in its message, and in the source row. `copied` is the
    /// place in the leaf of which the part is a copy.
    fn place(
        &self,
        mut part: Part,
        conversation: &Conversation,
        leaf: &Leaf,
        copied: Option<usize>,
        into: &mut Vec<Part>,
    ) {
        part.field = Some(leaf.path.to_string()).filter(|path| !path.is_empty());
        let Some(index) = leaf.message else {
            part.path = part.field.clone().map(|name| self.column(&name).to_owned());
            return into.push(part);
        };
        let message = conversation.messages.get(index as usize);
        let Some((field, text)) = message.and_then(|it| leaf_text(it, &leaf.path)) else {
            return into.push(part);
        };
        part.field = Some(field.clone());
        let length = (part.bytes[1] - part.bytes[0]) as usize;
        let range = copied.map(|from| (from, from + length));
        let find = |range| match leaf.kind {
            // Who speaks is written in words of the format's own.
            LeafKind::Role => self.same_place(index, &field, text),
            _ => self.find(conversation, index, &field, text, range),
        };
        if let Some(found) = find(range) {
            part.found(found, range);
            return into.push(part);
        }
        let Some((from, to)) = range.filter(|_| leaf.kind != LeafKind::Role) else {
            return into.push(part);
        };
        // A format that joins several strings makes tokens of the end of one and what joins them.
        for (from, to) in self.pieces(text, from, to) {
            let mut piece = part.clone();
            let at = part.bytes[0] as usize - copied.unwrap_or(0);
            piece.bytes = [(at + from) as u32, (at + to) as u32];
            piece.text = String::from_utf8_lossy(&text.as_bytes()[from..to]).into_owned();
            match find(Some((from, to))) {
                Some(found) => piece.found(found, Some((from, to))),
                None => piece.origin = "joined",
            }
            into.push(piece);
        }
    }

    /// Cuts a range of a text where a string of the row that it contains begins or ends.
    fn pieces(&self, text: &str, from: usize, to: usize) -> Vec<(usize, usize)> {
        let mut strings = Vec::new();
        collect(self.row, &mut String::new(), &mut strings);
        let mut cuts = vec![from, to];
        for (_, string) in strings.iter().filter(|(_, string)| !string.is_empty()) {
            if let Some(at) = text.find(string) {
                let inside = |cut: &usize| from < *cut && *cut < to;
                cuts.extend([at, at + string.len()].into_iter().filter(inside));
            }
        }
        cuts.sort_unstable();
        cuts.dedup();
        cuts.windows(2).map(|pair| (pair[0], pair[1])).collect()
    }

    /// The string of the source row that a text of a message is, contains or is contained in: its
    /// path, itself, and by how much places in it differ from places in the text.
    fn find<'s>(
        &'s self,
        conversation: &Conversation,
        index: u32,
        field: &str,
        text: &str,
        range: Option<(usize, usize)>,
    ) -> Option<(String, &'s str, isize)> {
        if let Some(found) = self.same_place(index, field, text) {
            return Some(found);
        }
        let mut strings = Vec::new();
        collect(self.row, &mut String::new(), &mut strings);
        let equal: Vec<_> = strings.iter().filter(|(_, found)| *found == text).collect();
        if !equal.is_empty() {
            // Formats keep the order of messages, so equal texts keep their order.
            let rank = rank(conversation, index, field, text).min(equal.len() - 1);
            let (path, found) = equal[rank];
            return Some((path.clone(), found, 0));
        }
        let (from, to) = range?;
        let wanted = text.get(from..to)?;
        let inside = strings
            .iter()
            .filter(|(_, found)| !found.is_empty())
            .find_map(|it| {
                let at = text.find(it.1)?;
                (at <= from && to <= at + it.1.len()).then_some((it, -(at as isize)))
            });
        let around = || {
            strings.iter().find_map(|it| {
                let at = it.1.find(text)?;
                Some((it, at as isize))
            })
        };
        let (it, shift) = inside.or_else(around).filter(|_| !wanted.is_empty())?;
        Some((it.0.clone(), it.1, shift))
    }
}

impl<'a> Finder<'a> {
    /// The text where a row of messages has it.
    fn same_place(&self, index: u32, field: &str, text: &str) -> Option<(String, &'a str, isize)> {
        let path = format!("{}[{index}].{field}", self.column("messages"));
        let (path, found) = leaf_text(self.row, &path)?;
        (found == text).then_some((path, found, 0))
    }
}

impl Part {
    /// Notes where the part stands in the source row: path, string, and by how much places in it
    /// differ from those in the message.
    fn found(&mut self, found: (String, &str, isize), range: Option<(usize, usize)>) {
        let (path, own, shift) = found;
        self.path = Some(path);
        let Some((from, to)) = range else { return };
        let moved = |at: usize| at.checked_add_signed(shift);
        if let (Some(from), Some(to)) = (moved(from), moved(to)) {
            self.copies(own, from, to);
        }
    }

    /// Notes that the part copies bytes of a string.
    fn copies(&mut self, text: &str, from: usize, to: usize) {
        if to > text.len() || from > to {
            return;
        }
        let (mut first, mut last) = (from, to);
        while !text.is_char_boundary(first) {
            first -= 1;
        }
        while !text.is_char_boundary(last) {
            last += 1;
        }
        let before = text[..first].chars().count();
        self.chars = Some([before, before + text[first..last].chars().count()]);
        self.field_bytes = Some([from, to]);
    }
}

fn part(text: &[u8], from: usize, to: usize, origin: &'static str) -> Part {
    let bytes = text.get(from..to).unwrap_or_default();
    Part {
        bytes: [from as u32, to as u32],
        text: String::from_utf8_lossy(bytes).into_owned(),
        origin,
        ..Part::default()
    }
}

fn name(kind: LeafKind) -> &'static str {
    match kind {
        LeafKind::Message => "message",
        LeafKind::Role => "role",
        LeafKind::Tools => "tools",
        LeafKind::Documents => "documents",
        LeafKind::Kwarg => "variable",
        LeafKind::Mixed => "mixed",
    }
}

/// Names under which rows say who speaks.
const SPEAKERS: [&str; 2] = ["role", "from"];

/// All strings below a value with their paths, in order, but those that say who speaks.
fn collect<'d>(value: &'d Data, path: &mut String, into: &mut Vec<(String, &'d str)>) {
    let length = path.len();
    match value {
        Data::Str(text) => into.push((path.clone(), text)),
        Data::List(items) => {
            for (index, item) in items.iter().enumerate() {
                let _ = write!(path, "[{index}]");
                collect(item, path, into);
                path.truncate(length);
            }
        }
        Data::Map(map) => {
            for (key, item) in map.iter().filter(|(key, _)| !SPEAKERS.contains(&&***key)) {
                if length > 0 {
                    path.push('.');
                }
                path.push_str(key);
                collect(item, path, into);
                path.truncate(length);
            }
        }
        _ => {}
    }
}

/// How many equal texts stand before this one in the messages.
fn rank(conversation: &Conversation, index: u32, field: &str, text: &str) -> usize {
    let mut rank = 0;
    for (at, message) in conversation.messages.iter().enumerate() {
        let mut strings = Vec::new();
        collect(message, &mut String::new(), &mut strings);
        for (path, found) in strings {
            if at == index as usize && path == field {
                return rank;
            }
            rank += usize::from(found == text);
        }
    }
    rank
}
