//! Encoding text: the result type and the per-thread encoder.

use std::ops::Range;

use crate::added::{AddedMatch, Matcher};
use crate::error::{Code, TokenizerError};
use crate::hf::Accept;
use crate::nfc::{is_nfc, normalize};
use crate::plan::{Family, Plan};
use crate::run::State;
use crate::tokenizer::Tokenizer;

/// Token ids and, for each, the bytes of the text that it covers.
///
/// The spans are in order and cover the text: each begins where the one before ends, the first at
/// 0, the last ends at the text's length. A token may cover no byte (a dummy prefix) or a part of
/// a character. The vectors are public so that a caller can move them out or reuse them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Encoding {
    /// Token ids, in order.
    pub ids: Vec<u32>,
    /// `[start, end)` in bytes of the text given, one per id.
    pub offsets: Vec<[u32; 2]>,
}

impl Encoding {
    /// Empties both vectors and keeps their memory.
    pub fn clear(&mut self) {
        self.ids.clear();
        self.offsets.clear();
    }
}

/// Encodes texts with one tokenizer. Holds scratch memory and what was met so far, so each thread
/// takes its own from [`Tokenizer::encoder`] and uses it for many texts.
pub struct Encoder<'t> {
    tokenizer: &'t Tokenizer,
    /// Taken from the tokenizer's store and given back when dropped.
    state: Option<State>,
    /// Tokens of a part, before they are moved to their place.
    part: Encoding,
}

impl Drop for Encoder<'_> {
    fn drop(&mut self) {
        if let Some(state) = self.state.take() {
            self.tokenizer.give_back(state);
        }
    }
}

impl<'t> Encoder<'t> {
    pub(crate) fn new(tokenizer: &'t Tokenizer) -> Self {
        let state = tokenizer.plan().map(|plan| tokenizer.take_state(plan));
        Self {
            tokenizer,
            state,
            part: Encoding::default(),
        }
    }

    /// The tokenizer that this encoder belongs to.
    pub fn tokenizer(&self) -> &'t Tokenizer {
        self.tokenizer
    }

    /// Replaces the content of `out` by the tokens of `text`: the ids that
    /// `tokenizers.Tokenizer.encode(text, add_special_tokens=False)` gives.
    ///
    /// Edge behaviour that is part of that: a dummy prefix (`Prepend`, `Metaspace`) comes at the
    /// start of every piece of text between added tokens (or of the first piece, as the file
    /// says); `lstrip`/`rstrip` tokens cover the whitespace beside them; tokens marked
    /// `normalized` are found after normalization. Truncation and padding of the file are ignored.
    ///
    /// # Errors
    ///
    /// Texts over 4 GiB, and texts that the model itself refuses (an unknown token that is not in
    /// the vocabulary).
    pub fn encode(&mut self, text: &str, out: &mut Encoding) -> Result<(), TokenizerError> {
        self.encode_accepting(text, &mut |_| true, out)
    }

    /// Like [`Encoder::encode`], but keeps what `out` holds and appends to it. The spans of the new
    /// tokens count from the beginning of `text`. For many texts in one pair of vectors, of which
    /// either may be emptied between texts: only what is new is looked at.
    ///
    /// # Errors
    ///
    /// As [`Encoder::encode`]; `out` then holds what it held before.
    pub fn append(&mut self, text: &str, out: &mut Encoding) -> Result<(), TokenizerError> {
        let (ids, spans) = (out.ids.len(), out.offsets.len());
        let done = self.add(text, &mut |_| true, out);
        if done.is_err() {
            out.ids.truncate(ids);
            out.offsets.truncate(spans);
        }
        done
    }

    /// Like [`Encoder::encode`], but asks `accept` for every added token found in the text.
    ///
    /// A refused match is plain text: the text between accepted matches is tokenized as one piece.
    /// After a refusal a shorter added token at the same place is offered, then those that begin
    /// within the refused text. With every match accepted the result is that of `encode`.
    ///
    /// # Errors
    ///
    /// As [`Encoder::encode`].
    pub fn encode_accepting(
        &mut self,
        text: &str,
        accept: &mut dyn FnMut(&AddedMatch) -> bool,
        out: &mut Encoding,
    ) -> Result<(), TokenizerError> {
        out.clear();
        self.add(text, accept, out)
    }

    fn add(
        &mut self,
        text: &str,
        accept: &mut dyn FnMut(&AddedMatch) -> bool,
        out: &mut Encoding,
    ) -> Result<(), TokenizerError> {
        if u32::try_from(text.len()).is_err() {
            return Err(TokenizerError::new(
                Code::TooLong,
                format!(
                    "a text of {} bytes is too long to tokenize; split it",
                    text.len()
                ),
            ));
        }
        match (self.tokenizer.plan(), &mut self.state) {
            (Some(plan), Some(state)) => {
                encode_fast(plan, state, text, accept, out);
                Ok(())
            }
            _ => self.tokenizer.hf()?.encode(text, accept, out),
        }
    }

    /// Appends the tokens of a part of `text`, as if the text ended where the part does. A part that
    /// begins inside of the text goes on from there: it gets no dummy prefix of its own. Offsets are
    /// those of the whole text.
    ///
    /// # Errors
    ///
    /// As [`Encoder::encode`], and for a part inside of the text if the tokenizer has no compiled
    /// plan and puts a prefix before every text.
    pub fn encode_part(
        &mut self,
        text: &str,
        part: Range<usize>,
        accept: &mut dyn FnMut(&AddedMatch) -> bool,
        out: &mut Encoding,
    ) -> Result<(), TokenizerError> {
        let start = part.start as u32;
        let mut own = std::mem::take(&mut self.part);
        let mut moved = |found: &AddedMatch| accept(&shifted(found, start));
        if start > 0 && self.tokenizer.plan().is_none() && self.tokenizer.hf()?.adds_prefix() {
            return Err(TokenizerError::new(
                Code::Encode,
                "this tokenizer puts a prefix before every text, so text cannot go on from a prompt",
            ));
        }
        if let Some(state) = &mut self.state {
            state.goes_on = start > 0;
        }
        let done = self.encode_accepting(&text[part], &mut moved, &mut own);
        if let Some(state) = &mut self.state {
            state.goes_on = false;
        }
        out.ids.extend_from_slice(&own.ids);
        let spans = own.offsets.iter();
        out.offsets
            .extend(spans.map(|[from, to]| [from + start, to + start]));
        self.part = own;
        done
    }
}

/// Encodes with a plan; appends to `out`.
pub(crate) fn encode_fast(
    plan: &Plan,
    state: &mut State,
    text: &str,
    accept: Accept<'_>,
    out: &mut Encoding,
) {
    let normal = !plan.nfc || is_nfc(text);
    let mut run = Run {
        plan,
        state,
        normal,
        out,
    };
    if let Family::SentencePiece(prefix) = plan.family {
        let found = matches(&plan.raw, text, accept);
        let t = text.as_bytes();
        return run.state.sentencepiece(plan, prefix, t, 0, &found, run.out);
    }
    if plan.raw.is_empty() {
        run.between(text, 0, text.len(), accept);
    } else {
        let found = matches(&plan.raw, text, &mut |m| accept(m));
        run.around(&found, text, &mut |run, start, end| {
            run.between(text, start, end, accept);
        });
    }
    run.state.drain(plan, text.as_bytes(), run.out);
}

/// Accepted matches of a pattern set: id, first byte covered, one past the last.
fn matches(matcher: &Matcher, text: &str, accept: Accept<'_>) -> Vec<(u32, usize, usize)> {
    let mut found = Vec::new();
    matcher.walk(
        text,
        &mut |p, start, end, left, right| {
            let [start, end, span_start, span_end] = [start, end, left, right].map(|x| x as u32);
            accept(&AddedMatch {
                id: p.id,
                start,
                end,
                span_start,
                span_end,
            })
        },
        &mut |id, left, right| found.push((id, left, right)),
    );
    found
}

/// One text being encoded.
struct Run<'a> {
    plan: &'a Plan,
    state: &'a mut State,
    /// The whole text is in the tokenizer's normal form.
    normal: bool,
    out: &'a mut Encoding,
}

impl Run<'_> {
    /// Appends added tokens and, by `piece`, what lies between them.
    fn around(
        &mut self,
        found: &[(u32, usize, usize)],
        text: &str,
        piece: &mut dyn FnMut(&mut Self, usize, usize),
    ) {
        let mut at = 0;
        for &(id, left, right) in found {
            if at < left {
                piece(self, at, left);
            }
            // A token may begin in whitespace that the one before has taken.
            let start = left.max(at);
            at = right.max(start);
            self.added(id, [start, at], text);
        }
        if at < text.len() {
            piece(self, at, text.len());
        }
    }

    fn added(&mut self, id: u32, covered: [usize; 2], text: &str) {
        let t = text.as_bytes();
        self.state.push_added(self.plan, id, covered, t, self.out);
    }

    /// A piece between added tokens of the first pass.
    fn between(&mut self, text: &str, start: usize, end: usize, accept: Accept<'_>) {
        if !self.normal && !is_nfc(&text[start..end]) {
            return self.normalizing(text, start, end, accept);
        }
        if self.plan.normalized.is_empty() {
            return self.state.piece(self.plan, text, start, end, self.out);
        }
        let found = matches(&self.plan.normalized, &text[start..end], &mut |m| {
            accept(&shifted(m, start as u32))
        });
        let found: Vec<_> = found
            .iter()
            .map(|&(id, a, b)| (id, a + start, b + start))
            .collect();
        let mut at = start;
        for &(id, left, right) in &found {
            if at < left {
                self.state.piece(self.plan, text, at, left, self.out);
            }
            let from = left.max(at);
            at = right.max(from);
            self.added(id, [from, at], text);
        }
        self.state.piece(self.plan, text, at, end, self.out);
    }

    /// A piece that is not in NFC: encodes its normal form and maps the spans back.
    #[cold]
    fn normalizing(&mut self, text: &str, start: usize, end: usize, accept: Accept<'_>) {
        let n = normalize(&text[start..end]);
        let place = |a: u32, b: u32| {
            let (a, b) = n.range(a as usize, b as usize);
            ((start + a) as u32, (start + b) as u32)
        };
        let found = matches(&self.plan.normalized, &n.text, &mut |m| {
            let (own, span) = (place(m.start, m.end), place(m.span_start, m.span_end));
            accept(&AddedMatch {
                id: m.id,
                start: own.0,
                end: own.1,
                span_start: span.0,
                span_end: span.1,
            })
        });
        self.state.drain(self.plan, text.as_bytes(), self.out);
        let first = self.out.offsets.len();
        self.around(&found, &n.text, &mut |run, a, b| {
            run.state.piece(run.plan, &n.text, a, b, run.out);
        });
        self.state.drain(self.plan, n.text.as_bytes(), self.out);
        let mut at = start as u32;
        let spans = &mut self.out.offsets[first..];
        for i in 0..spans.len() {
            let next = spans
                .get(i + 1)
                .map_or(end, |s| start + n.position(s[0] as usize));
            let next = (next as u32).max(at);
            spans[i] = [at, next];
            at = next;
        }
    }
}

/// A match moved from a piece to the text.
fn shifted(m: &AddedMatch, by: u32) -> AddedMatch {
    AddedMatch {
        id: m.id,
        start: m.start + by,
        end: m.end + by,
        span_start: m.span_start + by,
        span_end: m.span_end + by,
    }
}

/// Appends tokens that follow one another from `start`.
pub(crate) fn append(ids: &[u32], lens: &[u32], start: usize, out: &mut Encoding) {
    out.ids.extend_from_slice(ids);
    let mut at = start as u32;
    out.offsets.extend(lens.iter().map(|&len| {
        let span = [at, at + len];
        at += len;
        span
    }));
}
