//! Where an answer begins among the tokens.
//!
//! Hugging Face tokenizes a conversation as one text, so a token may lie across the place where the
//! prompt ends and the answer begins (an answer that starts with a newline fuses with the header's).
//! An engine that serves the model never sees that token: it tokenizes the prompt, and the model
//! goes on from there. This module finds the turns for which the two differ.

use sftprep_tokenize::{AddedMatch, Encoder, Encoding, TokenizerError};

/// Bytes looked at on either side of a boundary, and bytes of those at the far edge that do not
/// count, because what is cut off there may decide about them.
const WINDOW: usize = 48;
const MARGIN: usize = 24;

/// Tells whether an added token found in the text is one.
pub(super) type Accept<'a> = dyn FnMut(&AddedMatch) -> bool + 'a;

/// Where the added tokens of a text begin and end.
#[derive(Debug, Default)]
pub(super) struct Edges(Vec<u32>);

impl Edges {
    /// Its memory, for another text.
    pub(super) fn cleared(mut self) -> Self {
        self.0.clear();
        self
    }

    /// Takes a token that is one in the text. (One that takes white space beside it tells nothing.)
    pub(super) fn add(&mut self, token: &AddedMatch) {
        if (token.span_start, token.span_end) == (token.start, token.end) {
            self.0.extend([token.start, token.end]);
        }
    }

    /// In order, which searching needs. (Tokens that are looked for in normalized text come last.)
    pub(super) fn sorted(mut self) -> Self {
        self.0.sort_unstable();
        self
    }

    /// Whether an added token keeps the text before a place and that behind it apart: no tokenizer
    /// sees across it. (Unless it normalizes first, which leaves ASCII as it is; a tokenizer that
    /// puts a prefix before every text does not put one where it goes on, and is not meant here.)
    pub(super) fn part(&self, text: &str, at: u32) -> bool {
        let beside = text.as_bytes().get((at as usize).saturating_sub(1)..);
        let ascii = beside.is_some_and(|b| b.len() > 1 && b[..2].is_ascii());
        ascii && self.0.binary_search(&at).is_ok()
    }
}

/// Tokenizes a text in parts that end at `cuts`, which are in order and inside of it.
pub(super) fn encode_cut(
    encoder: &mut Encoder<'_>,
    text: &str,
    cuts: &[u32],
    accept: &mut Accept<'_>,
    out: &mut Encoding,
) -> Result<(), TokenizerError> {
    out.clear();
    let mut start = 0;
    for end in cuts.iter().map(|cut| *cut as usize).chain([text.len()]) {
        encoder.encode_part(text, start..end, accept, out)?;
        start = end;
    }
    Ok(())
}

/// Whether tokenizing in two parts, up to byte `start` and from there, gives other ids than
/// `whole`, which are those of the text as one.
///
/// Looks at a window on either side; what looks different in it is tokenized in full. Tokenizers
/// walk from left to right and soon forget, so where both agree near the border they agree from
/// there on in all that was tried; it is not proven for words longer than the window, whose
/// differences beyond it would not be counted.
pub(super) fn differs(
    encoder: &mut Encoder<'_>,
    text: &str,
    whole: &Encoding,
    start: u32,
    accept: &mut Accept<'_>,
    scratch: &mut Encoding,
) -> Result<bool, TokenizerError> {
    let first = whole.offsets.partition_point(|span| span[0] < start);
    if first > 0 && whole.offsets[first - 1][1] > start {
        return Ok(true);
    }
    let at = start as usize;
    if at == 0 || at >= text.len() {
        return Ok(false);
    }
    if plain_newline(text, at) && encoder.tokenizer().splits_after_newline() {
        return Ok(false);
    }
    let from = border(text, at.saturating_sub(WINDOW));
    let to = border(text, (at + WINDOW).min(text.len()));
    let left = if from == 0 { 0 } else { from + MARGIN } as u32;
    let right = if to == text.len() { to } else { to - MARGIN } as u32;
    scratch.clear();
    encoder.encode_part(text, from..at, accept, scratch)?;
    let mut same = same_tokens(scratch, whole, left, start);
    if same {
        scratch.clear();
        encoder.encode_part(text, at..to, accept, scratch)?;
        same = same_tokens(scratch, whole, start, right);
    }
    if same {
        return Ok(false);
    }
    encode_cut(encoder, text, &[start], accept, scratch)?;
    Ok(scratch.ids != whole.ids)
}

/// Whether a place is the usual border between a header and an answer: a visible ASCII character
/// and a newline before it, an ASCII letter or digit or a Chinese character behind it.
fn plain_newline(text: &str, at: usize) -> bool {
    let header = text.as_bytes()[..at].strip_suffix(b"\n");
    let visible = header
        .and_then(<[u8]>::last)
        .is_some_and(u8::is_ascii_graphic);
    let next = text[at..].chars().next();
    visible && next.is_some_and(|c| c.is_ascii_alphanumeric() || ('一'..='鿿').contains(&c))
}

fn border(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Whether both have the same tokens where these lie inside of a range of bytes.
fn same_tokens(a: &Encoding, b: &Encoding, from: u32, to: u32) -> bool {
    let inside = |encoding: &Encoding| {
        let first = encoding.offsets.partition_point(|span| span[0] < from);
        let last = encoding.offsets.partition_point(|span| span[1] <= to);
        first..last.max(first)
    };
    let (x, y) = (inside(a), inside(b));
    a.ids[x.clone()] == b.ids[y.clone()] && a.offsets[x] == b.offsets[y]
}
