//! The parts of a `tokenizer.json` that a fast plan is made of.

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use std::borrow::Cow;
use std::fmt;

/// The file. Only what decides about encoding and decoding is read; everything else must be absent
/// or known to be without effect.
#[derive(Deserialize)]
pub(crate) struct File<'a> {
    #[serde(default)]
    pub(crate) normalizer: Value,
    #[serde(default)]
    pub(crate) pre_tokenizer: Value,
    #[serde(default)]
    pub(crate) decoder: Value,
    #[serde(borrow)]
    pub(crate) model: Model<'a>,
}

/// The model part of a BPE tokenizer.
#[derive(Deserialize)]
pub(crate) struct Model<'a> {
    #[serde(rename = "type", default)]
    pub(crate) kind: Option<String>,
    #[serde(default)]
    pub(crate) dropout: Option<f64>,
    #[serde(default)]
    pub(crate) continuing_subword_prefix: Option<String>,
    #[serde(default)]
    pub(crate) end_of_word_suffix: Option<String>,
    #[serde(default)]
    pub(crate) byte_fallback: Option<bool>,
    #[serde(default)]
    pub(crate) ignore_merges: Option<bool>,
    #[serde(borrow)]
    pub(crate) vocab: Vocab<'a>,
    #[serde(borrow, default)]
    pub(crate) merges: Merges<'a>,
}

/// Tokens and ids in the order of the file.
pub(crate) struct Vocab<'a>(pub(crate) Vec<(Cow<'a, str>, u32)>);

/// Pairs of tokens, lowest rank first.
#[derive(Default)]
pub(crate) struct Merges<'a>(pub(crate) Vec<(Cow<'a, str>, Cow<'a, str>)>);

/// A string that borrows from the file where it holds no escapes.
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E>(self, s: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(s)))
            }
            fn visit_str<E>(self, s: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(s.to_owned())))
            }
        }
        d.deserialize_str(V)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Vocab<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Vocab<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map from tokens to ids")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vocab<'de>, A::Error> {
                let mut out = Vec::with_capacity(1 << 17);
                while let Some((k, id)) = map.next_entry::<Text<'de>, u32>()? {
                    out.push((k.0, id));
                }
                Ok(Vocab(out))
            }
        }
        d.deserialize_map(V)
    }
}

/// One merge: `"a b"` or `["a", "b"]`.
struct Merge<'a>(Cow<'a, str>, Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Merge<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Merge<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a merge")
            }
            fn visit_borrowed_str<E: serde::de::Error>(self, s: &'de str) -> Result<Merge<'de>, E> {
                match s.split_once(' ') {
                    Some((a, b)) if !b.contains(' ') && !a.starts_with("#version") => {
                        Ok(Merge(Cow::Borrowed(a), Cow::Borrowed(b)))
                    }
                    _ => Err(E::custom("a merge of other than two tokens")),
                }
            }
            fn visit_str<E: serde::de::Error>(self, s: &str) -> Result<Merge<'de>, E> {
                match s.split_once(' ') {
                    Some((a, b)) if !b.contains(' ') && !a.starts_with("#version") => {
                        Ok(Merge(Cow::Owned(a.to_owned()), Cow::Owned(b.to_owned())))
                    }
                    _ => Err(E::custom("a merge of other than two tokens")),
                }
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Merge<'de>, A::Error> {
                let short = || serde::de::Error::custom("a merge of other than two tokens");
                let a = seq.next_element::<Text<'de>>()?.ok_or_else(short)?;
                let b = seq.next_element::<Text<'de>>()?.ok_or_else(short)?;
                if seq.next_element::<serde::de::IgnoredAny>()?.is_some() {
                    return Err(short());
                }
                Ok(Merge(a.0, b.0))
            }
        }
        d.deserialize_any(V)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Merges<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Merges<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of merges")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Merges<'de>, A::Error> {
                let mut out = Vec::with_capacity(1 << 17);
                while let Some(m) = seq.next_element::<Merge<'de>>()? {
                    out.push((m.0, m.1));
                }
                Ok(Merges(out))
            }
        }
        d.deserialize_seq(V)
    }
}
