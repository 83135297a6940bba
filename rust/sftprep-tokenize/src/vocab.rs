//! The vocabulary for people: tokens by id, ids by token, and decoding, without the `tokenizers`
//! crate having to be loaded.

use crate::added::AddedToken;
use crate::bytes::{char_to_byte, fallback_byte};
use crate::slab::Slab;
use serde_json::Value;
use std::borrow::Cow;

/// How tokens become text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decoder {
    ByteLevel,
    /// `▁` to space, `<0xNN>` to bytes, all joined, up to so many leading spaces dropped.
    SentencePiece {
        strip: u32,
    },
    /// Left to `tokenizers`.
    Other,
}

impl Decoder {
    pub(crate) fn from_json(json: &Value) -> Self {
        Self::recognise(json).unwrap_or(Self::Other)
    }

    fn recognise(json: &Value) -> Option<Self> {
        let kind = |v: &Value| v.get("type").and_then(Value::as_str).map(str::to_owned);
        if kind(json)? == "ByteLevel" {
            return Some(Self::ByteLevel);
        }
        let list = json.get("decoders")?.as_array()?;
        let kinds: Option<Vec<String>> = list.iter().map(kind).collect();
        let kinds = kinds?;
        let kinds: Vec<&str> = kinds.iter().map(String::as_str).collect();
        let replace = list.first()?;
        let bar = replace.pointer("/pattern/String")? == "▁" && replace.get("content")? == " ";
        let strip = match kinds.as_slice() {
            ["Replace", "ByteFallback", "Fuse"] => 0,
            ["Replace", "ByteFallback", "Fuse", "Strip"] => {
                let s = &list[3];
                let plain = s.get("content")? == " " && s.get("stop")? == 0;
                u32::try_from(s.get("start")?.as_u64().filter(|_| plain)?).ok()?
            }
            _ => return None,
        };
        bar.then_some(Self::SentencePiece { strip })
    }
}

/// Tokens by id and the other way round.
#[derive(Default)]
pub(crate) struct Vocab {
    /// All tokens, one after another by id.
    pub(crate) text: Slab<u8>,
    /// Where each id's token ends; an empty one is none.
    pub(crate) ends: Slab<u32>,
    /// Ids in the order of their tokens.
    pub(crate) sorted: Slab<u32>,
}

impl Vocab {
    /// From tokens and ids, of which none comes twice and all are small.
    pub(crate) fn new(tokens: &[(Cow<'_, str>, u32)]) -> Self {
        let size = tokens.iter().map(|t| t.1 as usize + 1).max().unwrap_or(0);
        let mut by_id = vec![""; size];
        for (token, id) in tokens {
            by_id[*id as usize] = token;
        }
        let mut sorted: Vec<u32> = tokens.iter().map(|t| t.1).collect();
        sorted.sort_unstable_by_key(|&id| by_id[id as usize]);
        let (mut text, mut ends) = (Vec::new(), Vec::with_capacity(size));
        for token in by_id {
            text.extend_from_slice(token.as_bytes());
            ends.push(text.len() as u32);
        }
        Self {
            text: text.into(),
            ends: ends.into(),
            sorted: sorted.into(),
        }
    }

    fn bytes(&self, id: u32) -> &[u8] {
        let Some(&end) = self.ends.get(id as usize) else {
            return &[];
        };
        let start = if id == 0 {
            0
        } else {
            self.ends[id as usize - 1]
        };
        self.text.get(start as usize..end as usize).unwrap_or(&[])
    }

    pub(crate) fn token(&self, id: u32) -> Option<&str> {
        std::str::from_utf8(self.bytes(id))
            .ok()
            .filter(|t| !t.is_empty())
    }

    pub(crate) fn id(&self, token: &str) -> Option<u32> {
        let at = self
            .sorted
            .binary_search_by_key(&token.as_bytes(), |&id| self.bytes(id))
            .ok()?;
        Some(self.sorted[at])
    }

    /// The largest id.
    pub(crate) fn max_id(&self) -> Option<u32> {
        (self.ends.len() as u32).checked_sub(1)
    }
}

/// The bytes of one token under a decoder.
pub(crate) fn token_bytes(decoder: Decoder, token: &str) -> Option<Vec<u8>> {
    match decoder {
        Decoder::ByteLevel => Some(crate::bytes::from_byte_level(token)),
        Decoder::SentencePiece { .. } => Some(match fallback_byte(token) {
            Some(b) => vec![b],
            None => token.replace('▁', " ").into_bytes(),
        }),
        Decoder::Other => None,
    }
}

/// The text of tokens, as `tokenizers` puts it together; `None` where the decoder is not ours.
pub(crate) fn decode<'t>(
    decoder: Decoder,
    tokens: impl Iterator<Item = Cow<'t, str>>,
) -> Option<String> {
    match decoder {
        Decoder::ByteLevel => {
            let mut bytes = Vec::new();
            for token in tokens {
                let start = bytes.len();
                for c in token.chars() {
                    let Some(b) = char_to_byte(c) else {
                        bytes.truncate(start);
                        bytes.extend_from_slice(token.as_bytes());
                        break;
                    };
                    bytes.push(b);
                }
            }
            Some(String::from_utf8_lossy(&bytes).into_owned())
        }
        Decoder::SentencePiece { strip } => {
            let (mut text, mut run) = (String::new(), Vec::new());
            for token in tokens {
                // Like the library, which reads any two characters as a number here.
                let hex = token.strip_prefix("<0x").and_then(|t| t.strip_suffix('>'));
                let hex = hex.filter(|h| h.len() == 2 && token.len() == 6);
                if let Some(b) = hex.and_then(|h| u8::from_str_radix(h, 16).ok()) {
                    run.push(b);
                    continue;
                }
                flush(&mut run, &mut text);
                text.extend(token.chars().map(|c| if c == '▁' { ' ' } else { c }));
            }
            flush(&mut run, &mut text);
            let mut rest = text.as_str();
            for _ in 0..strip {
                rest = rest.strip_prefix(' ').unwrap_or(rest);
            }
            Some(rest.to_owned())
        }
        Decoder::Other => None,
    }
}

/// Byte tokens in a row are UTF-8, or a replacement character each.
fn flush(run: &mut Vec<u8>, text: &mut String) {
    match std::str::from_utf8(run) {
        Ok(s) => text.push_str(s),
        Err(_) => text.extend(std::iter::repeat_n('\u{FFFD}', run.len())),
    }
    run.clear();
}

/// The token of an id as `tokenizers` gives it when decoding: an added token in its normalized
/// form, where it has one.
pub(crate) fn added_form(added: &[AddedToken], id: u32) -> Option<&AddedToken> {
    added
        .binary_search_by_key(&id, |t| t.id)
        .ok()
        .map(|i| &added[i])
}
