//! Rows without a template: their texts lie end to end.

use sftprep_tokenize::AddedMatch;

use crate::label::{ByteSpan, TokenClass};
use crate::types::{NO_MESSAGE, SpanKind};

/// Raw text with its spans.
#[derive(Default)]
pub(super) struct RawText {
    pub(super) text: String,
    pub(super) spans: Vec<ByteSpan>,
}

impl RawText {
    /// Appends text of one kind.
    pub(super) fn push(&mut self, text: &str, kind: SpanKind, trained: bool) {
        let start = self.text.len() as u32;
        self.text.push_str(text);
        let end = self.text.len() as u32;
        if end > start {
            let message = NO_MESSAGE;
            self.spans.push(ByteSpan {
                start,
                end,
                kind,
                message,
                trained,
                weight: 1.0,
            });
        }
    }
}

/// Without a template only the appended eos is a control token; tags may stand in what is trained.
pub(super) fn accepts_raw(class: TokenClass, found: &AddedMatch, spans: &[ByteSpan]) -> bool {
    let inside = |span: &&ByteSpan| span.start <= found.start && found.end <= span.end;
    let kind = spans.iter().find(inside).map(|span| span.kind);
    match class {
        TokenClass::Plain => true,
        TokenClass::Tag => kind.is_some_and(|kind| kind != SpanKind::User),
        TokenClass::Control => kind == Some(SpanKind::Stop),
    }
}
