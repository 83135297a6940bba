//! Which added tokens are control tokens, and where they may come from.
//!
//! The whole text is searched for added tokens, but a match of a control token counts only if
//! all its bytes are the template's own (literals, special-token variables, role names). What a
//! row says can therefore never become a control token; on rows without such text nothing changes.

use sftprep_template::{LeafKind, Origin, Rendered, Segment};
use sftprep_tokenize::{AddedMatch, AddedToken};

use crate::types::SpanKind;

use super::policy::ByteSpan;

/// What an added token is to the row's own text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenClass {
    /// Turn, role and other control tokens: only the template may emit them.
    Control,
    /// Tags such as `<think>` and `<tool_call>`: an assistant may write them, nobody else.
    Tag,
    /// Anything else: encoded as Hugging Face does.
    Plain,
}

/// The classes of a tokenizer's added tokens under a template.
#[derive(Debug, Clone, Default)]
pub struct ControlTokens {
    classes: Vec<(u32, TokenClass)>, // sorted by id; plain ones left out
}

impl ControlTokens {
    /// Classifies added tokens. A control token is every one with `special` set, and every other
    /// one that is not white space and that the template itself writes, unless it has the form of
    /// an XML tag (`<name>` or `</name>`), which makes it a tag.
    pub fn classify(added: &[AddedToken], template_sources: &[&str]) -> Self {
        let mut classes: Vec<(u32, TokenClass)> = added
            .iter()
            .map(|token| (token.id, classify(token, template_sources)))
            .filter(|(_, class)| *class != TokenClass::Plain)
            .collect();
        classes.sort_unstable_by_key(|(id, _)| *id);
        Self { classes }
    }

    /// The class of a token.
    pub fn class(&self, id: u32) -> TokenClass {
        match self.classes.binary_search_by_key(&id, |(known, _)| *known) {
            Ok(at) => self.classes[at].1,
            Err(_) => TokenClass::Plain,
        }
    }

    /// Control tokens and tags, by id.
    pub fn iter(&self) -> impl Iterator<Item = (u32, TokenClass)> {
        self.classes.iter().copied()
    }

    /// Whether a match found in a rendering is a token there, rather than text that looks so. Next
    /// comes a match behind it, as a rule: `near` is the segment where looking for it begins.
    pub fn accepts(
        &self,
        found: &AddedMatch,
        rendered: &Rendered,
        spans: &[ByteSpan],
        near: &mut usize,
    ) -> bool {
        let mut own = || template_wrote(rendered, found.start, found.end, near);
        match self.class(found.id) {
            TokenClass::Plain => true,
            TokenClass::Control => own(),
            TokenClass::Tag => own() || assistant_wrote(spans, found.start, found.end),
        }
    }
}

fn classify(token: &AddedToken, template_sources: &[&str]) -> TokenClass {
    let written = || {
        template_sources
            .iter()
            .any(|source| source.contains(&token.content))
    };
    if token.special {
        TokenClass::Control
    } else if token.content.trim().is_empty() || !written() {
        TokenClass::Plain
    } else if is_tag(&token.content) {
        TokenClass::Tag
    } else if has_letters_only(&token.content) {
        TokenClass::Plain
    } else {
        TokenClass::Control
    }
}

fn is_tag(content: &str) -> bool {
    let inner = content
        .strip_prefix('<')
        .and_then(|rest| rest.strip_suffix('>'));
    let name = inner.map(|inner| inner.strip_prefix('/').unwrap_or(inner));
    name.is_some_and(|name| {
        !name.is_empty()
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
    })
}

/// Words, digits, punctuation runs and markup of ordinary text that a vocabulary happens to list.
fn has_letters_only(content: &str) -> bool {
    content
        .chars()
        .all(|c| c.is_alphanumeric() || c.is_whitespace())
        || content.chars().all(|c| !c.is_alphanumeric())
}

/// Whether all these bytes are literals, special-token variables or role names. Roles are safe:
/// only the known ones get past the format.
fn template_wrote(rendered: &Rendered, start: u32, end: u32, near: &mut usize) -> bool {
    let segments = &rendered.segments;
    let before = |segment: &Segment| segment.end <= start;
    let first = match near.checked_sub(1).map(|last| segments.get(last)) {
        Some(last) if !last.is_some_and(before) => segments.partition_point(before),
        _ => *near + segments[*near..].iter().take_while(|it| before(it)).count(),
    };
    *near = first;
    let own = |segment: &Segment| match segment.origin {
        Origin::Literal | Origin::SpecialToken => true,
        Origin::Leaf(id) => rendered.leaves[id as usize].kind == LeafKind::Role,
    };
    let mut covered = start;
    for segment in &segments[first..] {
        if covered >= end {
            break;
        }
        if !own(segment) {
            return false;
        }
        covered = segment.end;
    }
    covered >= end
}

fn assistant_wrote(spans: &[ByteSpan], start: u32, end: u32) -> bool {
    let first = spans.partition_point(|span| span.end <= start);
    let assistant = |kind| {
        matches!(
            kind,
            SpanKind::Answer | SpanKind::Reasoning | SpanKind::ToolCall
        )
    };
    spans[first..]
        .iter()
        .take_while(|span| span.start < end)
        .all(|span| assistant(span.kind))
}
