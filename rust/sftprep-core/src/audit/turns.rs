//! The turns of a document: runs of spans of one assistant message.

use crate::types::SpanKind;

/// A run of tokens of one kind, in positions of its document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) kind: SpanKind,
    pub(super) message: Option<u32>,
    pub(super) trained: bool,
    pub(super) straddles: bool,
    pub(super) repeated: bool,
    pub(super) continues: bool,
}

impl Span {
    /// The message, if the span is text of an assistant.
    pub(super) fn assistant(&self) -> Option<u32> {
        let own = matches!(
            self.kind,
            SpanKind::Reasoning | SpanKind::Answer | SpanKind::ToolCall | SpanKind::Stop
        );
        self.message.filter(|_| own)
    }
}

/// Neighbouring spans of one assistant message.
pub(super) struct Group<'s> {
    pub(super) message: u32,
    pub(super) spans: &'s [Span],
    /// The spans before it.
    before: &'s [Span],
}

impl Group<'_> {
    pub(super) fn start(&self) -> usize {
        self.spans.first().map_or(0, |span| span.start)
    }

    pub(super) fn end(&self) -> usize {
        self.spans.last().map_or(0, |span| span.end)
    }

    pub(super) fn is_trained(&self) -> bool {
        self.spans.iter().any(|span| span.trained)
    }

    /// What stands before the turn; `None` where a token straddles the start, so that the ones
    /// before it say nothing.
    pub(super) fn header(&self, ids: &[u32]) -> Option<Header> {
        let Some(previous) = self.before.last() else {
            return Some(Header::DocumentStart);
        };
        if previous.straddles {
            return None;
        }
        if previous.kind != SpanKind::Scaffold {
            return Some(Header::Bare(previous.kind));
        }
        let own = self.before.iter().rev();
        let run = own.take_while(|span| span.kind == SpanKind::Scaffold);
        let start = run.last().map_or(previous.start, |span| span.start);
        let tail = ids.get(start.max(previous.end.saturating_sub(HEADER_TOKENS))..previous.end)?;
        Some(Header::Scaffold(tail.to_vec()))
    }
}

/// Tokens of a header that are compared.
const HEADER_TOKENS: usize = 3;

/// What stands before a turn.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Header {
    /// Nothing.
    DocumentStart,
    /// Text of that kind, without scaffolding between.
    Bare(SpanKind),
    /// The last tokens of the scaffolding.
    Scaffold(Vec<u32>),
}

impl Header {
    /// Whether both may come from one header: text before it may have taken its first tokens.
    pub(super) fn fits(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Scaffold(one), Self::Scaffold(two)) => one.ends_with(two) || two.ends_with(one),
            _ => self == other,
        }
    }
}

/// Groups of a document, in order.
pub(super) struct Groups<'s> {
    spans: &'s [Span],
    at: usize,
}

impl<'s> Groups<'s> {
    pub(super) fn of(spans: &'s [Span]) -> Self {
        Self { spans, at: 0 }
    }
}

impl<'s> Iterator for Groups<'s> {
    type Item = Group<'s>;

    fn next(&mut self) -> Option<Group<'s>> {
        let rest = &self.spans[self.at..];
        let first = self.at + rest.iter().position(|span| span.assistant().is_some())?;
        let message = self.spans[first].assistant()?;
        let own = |span: &&Span| span.assistant() == Some(message);
        let count = self.spans[first..].iter().take_while(own).count();
        self.at = first + count;
        Some(Group {
            message,
            spans: &self.spans[first..self.at],
            before: &self.spans[..first],
        })
    }
}
