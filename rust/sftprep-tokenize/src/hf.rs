//! The `tokenizers` crate behind our interface: the definition of what is right, the path for
//! everything that has no fast plan, and the oracle of the self-check.
//!
//! The pipeline is driven step by step from here (added tokens, normalizer, pre-tokenizer, model),
//! for two reasons: the caller may refuse added tokens, and the byte span of every token is wanted,
//! which `tokenizers` widens to whole characters.

use crate::added::{AddedMatch, AddedToken, Matcher, Pattern};
use crate::encoder::Encoding;
use crate::error::{Code, TokenizerError};
use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use tokenizers::normalizer::Range;
use tokenizers::{
    DecoderWrapper, Model, NormalizedString, Normalizer, OffsetReferential, OffsetType,
    PreTokenizedString, PreTokenizer, PreTokenizerWrapper, Token,
};

/// What asks whether an added token found in the text is one.
pub(crate) type Accept<'a> = &'a mut dyn FnMut(&AddedMatch) -> bool;

/// A tokenizer run by the `tokenizers` crate.
pub(crate) struct Hf {
    tokenizer: tokenizers::Tokenizer,
    raw: Matcher,
    normalized: Matcher,
    /// A `ByteLevel` pre-tokenizer: one character of normalized text stands for one byte.
    byte_level: bool,
    pub(crate) added: Vec<AddedToken>,
}

impl Hf {
    /// Builds the tokenizer of a `tokenizer.json`. Truncation and padding that the file may ask
    /// for are left out: they belong to a call, not to the text.
    pub(crate) fn from_bytes(name: &str, bytes: &[u8]) -> Result<Self, TokenizerError> {
        let built = catch_unwind(|| {
            let mut t = tokenizers::Tokenizer::from_bytes(bytes)?;
            t.with_truncation(None)?;
            t.with_padding(None);
            Ok::<_, tokenizers::Error>(t)
        });
        let hint = "write the file again with a current version of transformers or tokenizers";
        match built {
            Ok(Ok(tokenizer)) => Self::wrap(name, tokenizer),
            Ok(Err(e)) => Err(TokenizerError::new(
                Code::Model,
                format!("tokenizer {name} is not usable: {e}; {hint}"),
            )),
            Err(_) => Err(TokenizerError::new(
                Code::Model,
                format!("tokenizer {name} holds a part that cannot be read; {hint}"),
            )),
        }
    }

    fn wrap(name: &str, tokenizer: tokenizers::Tokenizer) -> Result<Self, TokenizerError> {
        let decoder = tokenizer.get_added_tokens_decoder();
        let mut ids: Vec<u32> = decoder.keys().copied().collect();
        ids.sort_unstable();
        let added: Vec<AddedToken> = ids
            .into_iter()
            .map(|id| {
                let t = &decoder[&id];
                AddedToken {
                    id,
                    content: t.content.clone(),
                    special: t.special,
                    lstrip: t.lstrip,
                    rstrip: t.rstrip,
                    single_word: t.single_word,
                    normalized: t.normalized,
                }
            })
            .collect();
        let (mut raw, mut normalized) = (Vec::new(), Vec::new());
        for t in &added {
            let mut text = t.content.clone();
            if let (true, Some(n)) = (t.normalized, tokenizer.get_normalizer()) {
                let mut s = NormalizedString::from(t.content.as_str());
                n.normalize(&mut s).map_err(|e| {
                    TokenizerError::new(
                        Code::Model,
                        format!("tokenizer {name}: added token {:?}: {e}", t.content),
                    )
                })?;
                s.get().clone_into(&mut text);
            }
            let list = if t.normalized {
                &mut normalized
            } else {
                &mut raw
            };
            list.push(Pattern {
                text: text.into_bytes().into_boxed_slice(),
                id: t.id,
                lstrip: t.lstrip,
                rstrip: t.rstrip,
                single_word: t.single_word,
            });
        }
        let build = |list| {
            Matcher::new(list).ok_or_else(|| {
                TokenizerError::new(
                    Code::Model,
                    format!("tokenizer {name} has two added tokens of the same (normalized) text"),
                )
            })
        };
        let byte_level = tokenizer.get_pre_tokenizer().is_some_and(has_byte_level);
        Ok(Self {
            raw: build(raw)?,
            normalized: build(normalized)?,
            byte_level,
            added,
            tokenizer,
        })
    }

    /// Appends the ids and spans of `text`.
    pub(crate) fn encode(
        &self,
        text: &str,
        accept: Accept<'_>,
        out: &mut Encoding,
    ) -> Result<(), TokenizerError> {
        let run = catch_unwind(AssertUnwindSafe(|| self.pipeline(text, accept)));
        let failed = |why: &str| {
            TokenizerError::new(
                Code::Encode,
                format!("this text cannot be tokenized: {why}"),
            )
        };
        let tokens = match run {
            Ok(Ok(tokens)) => tokens,
            Ok(Err(e)) => return Err(failed(&e.to_string())),
            Err(_) => return Err(failed("the tokenizers library gave up on it")),
        };
        let first = out.ids.len();
        let mut at = 0;
        for (id, start) in tokens {
            at = start.clamp(at, text.len() as u32);
            if out.ids.len() > first {
                out.offsets.last_mut().expect("one offset per id")[1] = at;
            } else {
                at = 0;
            }
            out.ids.push(id);
            out.offsets.push([at, text.len() as u32]);
        }
        Ok(())
    }

    /// Whether a text gets a prefix that is not in it.
    pub(crate) fn adds_prefix(&self) -> bool {
        let mut pieces = PreTokenizedString::from("a");
        let _ = pieces.split(|_, mut s| {
            if let Some(n) = self.tokenizer.get_normalizer() {
                let _ = n.normalize(&mut s);
            }
            Ok(std::iter::once(s))
        });
        if let Some(p) = self.tokenizer.get_pre_tokenizer()
            && p.pre_tokenize(&mut pieces).is_err()
        {
            return true;
        }
        let splits = pieces.get_splits(OffsetReferential::Original, OffsetType::Byte);
        splits
            .iter()
            .map(|split| split.0.chars().count())
            .sum::<usize>()
            != 1
    }

    /// Ids and span starts, in order.
    fn pipeline(
        &self,
        text: &str,
        accept: Accept<'_>,
    ) -> Result<Vec<(u32, u32)>, tokenizers::Error> {
        let mut pieces = PreTokenizedString::from(text);
        pieces.split(|_, s| Ok(cut_added(&self.raw, s, accept)))?;
        pieces.split(|_, mut s| {
            if let Some(n) = self.tokenizer.get_normalizer() {
                // `tokenizers` ignores an error here, too.
                let _ = n.normalize(&mut s);
            }
            Ok(cut_added(&self.normalized, s, accept))
        })?;
        if let Some(p) = self.tokenizer.get_pre_tokenizer() {
            p.pre_tokenize(&mut pieces)?;
        }
        let model = self.tokenizer.get_model();
        pieces.tokenize(|s| {
            let mut tokens = model.tokenize(s.get())?;
            let shift = s.offsets_original().0;
            for t in &mut tokens {
                t.offsets = (shift + self.original_position(s, t.offsets.0), 0);
            }
            Ok(tokens)
        })?;
        let splits = pieces.get_splits(OffsetReferential::Original, OffsetType::Byte);
        let tokens = splits.iter().filter_map(|s| s.2.as_ref()).flatten();
        Ok(tokens.map(|t| (t.id, t.offsets.0 as u32)).collect())
    }

    /// Where in the original text the token boundary before byte `at` of the normalized text lies.
    ///
    /// The bytes around `at` that come from the same original character form a group of `m` units
    /// (byte-level: characters, else bytes) for `k` original bytes. Equal counts map one to one;
    /// surplus units (a dummy prefix, say) come first and take no room; missing ones leave the end
    /// of the character to the last.
    fn original_position(&self, s: &NormalizedString, at: usize) -> usize {
        let (text, len) = (s.get(), s.get().len());
        let map = |i: usize| s.convert_offsets(Range::Normalized(i..=i)).unwrap_or(0..0);
        if at >= len {
            return if len == 0 { 0 } else { map(len - 1).end };
        }
        let group = map(at);
        let (mut lo, mut hi) = (at, at + 1);
        while lo > 0 && map(lo - 1) == group {
            lo -= 1;
        }
        while hi < len && map(hi) == group {
            hi += 1;
        }
        let units = |r: std::ops::Range<usize>| match text.get(r.clone()) {
            Some(t) if self.byte_level => t.chars().count(),
            _ => r.len(),
        };
        let (before, all, k) = (units(lo..at), units(lo..hi), group.len());
        group.start + before.saturating_sub(all.saturating_sub(k)).min(k)
    }

    /// What is looked for in the text as it is.
    pub(crate) fn raw_patterns(&self) -> &[Pattern] {
        self.raw.patterns()
    }

    /// What is looked for in normalized text.
    pub(crate) fn normalized_patterns(&self) -> &[Pattern] {
        self.normalized.patterns()
    }

    /// One more than the largest id.
    pub(crate) fn vocab_size(&self) -> u32 {
        let added = self.added.iter().map(|t| t.id).max();
        let model = self.tokenizer.get_model().get_vocab().into_values().max();
        added.max(model).map_or(0, |m| m.saturating_add(1))
    }

    pub(crate) fn token_to_id(&self, token: &str) -> Option<u32> {
        self.tokenizer.token_to_id(token)
    }

    pub(crate) fn id_to_token(&self, id: u32) -> Option<String> {
        self.tokenizer.id_to_token(id)
    }

    /// The bytes that a token stands for in decoded text, where the decoder defines them.
    pub(crate) fn token_bytes(&self, id: u32) -> Option<Cow<'_, [u8]>> {
        let token = self.id_to_token(id)?;
        let decoder = self.tokenizer.get_decoder()?;
        if matches!(decoder, DecoderWrapper::ByteLevel(_)) {
            return Some(Cow::Owned(crate::bytes::from_byte_level(&token)));
        }
        let decoder = serde_json::to_value(decoder).ok()?;
        crate::bytes::from_sentencepiece(&decoder, &token).map(Cow::Owned)
    }

    pub(crate) fn decode(&self, ids: &[u32], skip: bool) -> Result<String, TokenizerError> {
        let failed = |why: String| {
            TokenizerError::new(Code::Decode, format!("ids cannot be decoded: {why}"))
        };
        match catch_unwind(AssertUnwindSafe(|| self.tokenizer.decode(ids, skip))) {
            Ok(Ok(text)) => Ok(text),
            Ok(Err(e)) => Err(failed(e.to_string())),
            Err(_) => Err(failed("the tokenizers library gave up on them".to_owned())),
        }
    }
}

fn has_byte_level(p: &PreTokenizerWrapper) -> bool {
    match p {
        PreTokenizerWrapper::ByteLevel(_) => true,
        PreTokenizerWrapper::Sequence(s) => s.as_ref().iter().any(has_byte_level),
        _ => false,
    }
}

/// Cuts the accepted added tokens out of a piece. The token's offsets carry its place in the
/// original text to the end of the pipeline.
fn cut_added(
    matcher: &Matcher,
    piece: NormalizedString,
    accept: Accept<'_>,
) -> Vec<(NormalizedString, Option<Vec<Token>>)> {
    if matcher.is_empty() {
        return vec![(piece, None)];
    }
    let whole = piece.get().len();
    let place = |start: usize, end: usize| {
        let (shift, r) = (
            piece.offsets_original().0,
            piece
                .convert_offsets(Range::Normalized(start..end))
                .unwrap_or(0..0),
        );
        ((shift + r.start) as u32, (shift + r.end) as u32)
    };
    let mut found = Vec::new();
    matcher.walk(
        piece.get(),
        &mut |p, start, end, left, right| {
            let ((start, end), (span_start, span_end)) = (place(start, end), place(left, right));
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
    let mut out = Vec::with_capacity(found.len() * 2 + 1);
    let mut at = 0;
    let slice = |a: usize, b: usize| piece.slice(Range::Normalized(a..b));
    for (id, left, right) in found {
        if at < left {
            out.extend(slice(at, left).map(|s| (s, None)));
        }
        if let Some(s) = slice(left, right) {
            let start = s.offsets_original().0;
            let token = Token::new(id, s.get().to_owned(), (start, 0));
            out.push((s, Some(vec![token])));
        }
        at = right;
    }
    if at != whole {
        out.extend(slice(at, whole).map(|s| (s, None)));
    }
    out
}
