//! The fast plan: everything that encoding needs, compiled from a `tokenizer.json` whose every part
//! is known. Where any part is not, there is no plan and the reason is kept.

mod spm;

use crate::added::{AddedToken, Matcher, Pattern};
use crate::bytes::{char_to_byte, fallback_byte};
use crate::cache::{Entry, INLINE, Long, LongSeeds, SEEDS, SHORT, Table, UNIT, bytes_of, key_of};
use crate::classes::code_point;
use crate::cut::{Bridges, char_len};
use crate::dense::{Dense, Source};
use crate::load::File;
use crate::merge::{MAX_ID, MAX_RANK, Merger, Merges};
use crate::slab::Slab;
use crate::split::Split;
use crate::tokenizer::Loaded;
use crate::vocab::{Decoder, Vocab};
use serde_json::Value;
use spm::spm_family;
use std::borrow::Cow;
use std::collections::HashMap;

/// When a sentencepiece text gets a dummy space in front.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Prefix {
    Never,
    /// Every piece of text between added tokens (`Prepend`).
    Always,
    /// Every piece that does not begin with a space (`Metaspace`, `always`).
    Unspaced,
    /// The same, but only at the beginning of the text (`Metaspace`, `first`).
    First,
}

/// The kind of tokenizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    ByteLevel(Split),
    SentencePiece(Prefix),
}

/// A compiled tokenizer.
pub(crate) struct Plan {
    pub(crate) family: Family,
    /// The normalizer is NFC.
    pub(crate) nfc: bool,
    /// Some token of the vocabulary is not what merging its bytes gives, and whole pre-tokens that
    /// are in the vocabulary are not merged.
    pub(crate) units_differ: bool,
    /// Ids of single bytes (byte-level), or of `<0xNN>`.
    pub(crate) bytes: Vec<u32>,
    /// Ids of single characters (that are one token), sorted by character.
    pub(crate) chars: Vec<[u32; 2]>,
    /// The same for the first 65,536 characters, by character; `u32::MAX`: none.
    pub(crate) char_ids: Slab<u32>,
    pub(crate) merges: Merges,
    pub(crate) bridges: Bridges,
    /// What characters and pairs of them become (byte-level vocabularies).
    pub(crate) dense: Dense,
    /// The vocabulary as pieces of text and what they encode to.
    pub(crate) seeds: Table,
    pub(crate) long_seeds: LongSeeds,
    pub(crate) raw: Matcher,
    pub(crate) normalized: Matcher,
}

type Refused = String;

impl Plan {
    /// Compiles a file. `added` are the added tokens as `tokenizers` numbers them, `patterns` the
    /// texts that it looks for.
    pub(crate) fn compile(
        json: &[u8],
        added: &[AddedToken],
        raw: &[Pattern],
        normalized: &[Pattern],
    ) -> Result<Loaded, Refused> {
        let file: File<'_> =
            serde_json::from_slice(json).map_err(|e| format!("no plain BPE model: {e}"))?;
        let m = &file.model;
        let spm = m.byte_fallback == Some(true);
        if m.kind.as_deref().is_some_and(|k| k != "BPE") {
            return Err(format!(
                "the model is {}",
                m.kind.as_deref().unwrap_or("unknown")
            ));
        }
        if m.dropout.is_some_and(|d| d != 0.0) {
            return Err("the model drops merges at random".to_owned());
        }
        let affix = |a: &Option<String>| a.as_deref().is_some_and(|a| !a.is_empty());
        if affix(&m.continuing_subword_prefix) || affix(&m.end_of_word_suffix) {
            return Err("the model marks words by prefix or suffix".to_owned());
        }
        let (family, nfc) = if spm {
            (spm_family(&file)?, false)
        } else {
            byte_family(&file)?
        };
        if spm && !normalized.is_empty() {
            let t = added
                .iter()
                .find(|t| t.normalized)
                .map_or("", |t| t.content.as_str());
            return Err(format!(
                "added token {t:?} is looked for in normalized text"
            ));
        }
        if spm && m.ignore_merges == Some(true) {
            return Err("sentencepiece model with ignore_merges".to_owned());
        }
        let matcher = |p: &[Pattern]| {
            Matcher::new(p.to_vec()).ok_or_else(|| "two added tokens of one text".to_owned())
        };
        let mut plan = Self {
            family,
            nfc,
            units_differ: false,
            bytes: Vec::new(),
            chars: Vec::new(),
            char_ids: Slab::default(),
            merges: Merges::default(),
            bridges: Bridges::new(),
            dense: Dense::default(),
            seeds: Table::default(),
            long_seeds: LongSeeds::default(),
            raw: matcher(raw)?,
            normalized: matcher(normalized)?,
        };
        plan.read_model(&file, m.ignore_merges == Some(true))?;
        let vocab = Vocab::new(&file.model.vocab.0);
        let decoder = Decoder::from_json(&file.decoder);
        Ok(Loaded {
            plan,
            vocab,
            decoder,
            added: added.to_vec(),
        })
    }

    pub(crate) fn spm(&self) -> bool {
        matches!(self.family, Family::SentencePiece(_))
    }

    fn read_model(&mut self, file: &File<'_>, ignore_merges: bool) -> Result<(), Refused> {
        let vocab = &file.model.vocab.0;
        let mut ids: HashMap<&str, u32> = HashMap::with_capacity(vocab.len());
        let mut tokens: HashMap<u32, &str> = HashMap::with_capacity(vocab.len());
        for (token, id) in vocab {
            if *id >= MAX_ID - 1 || token.is_empty() {
                return Err(format!("odd vocabulary entry {token:?} with id {id}"));
            }
            let again = ids.insert(token, *id).is_some() || tokens.insert(*id, token).is_some();
            if again {
                return Err(format!("token {token:?} or id {id} stands twice"));
            }
        }
        self.read_symbols(&ids)?;
        if file.model.merges.0.len() >= MAX_RANK as usize {
            return Err(format!("{} merges", file.model.merges.0.len()));
        }
        let mut rules = Vec::with_capacity(file.model.merges.0.len());
        let mut joined = String::new();
        for (rank, (a, b)) in file.model.merges.0.iter().enumerate() {
            joined.clear();
            joined.push_str(a);
            joined.push_str(b);
            let id = |t: &str| {
                ids.get(t)
                    .copied()
                    .ok_or_else(|| format!("merge of unknown {t:?}"))
            };
            if self.spm()
                && [&**a, &**b, &joined]
                    .iter()
                    .any(|t| fallback_byte(t).is_some())
            {
                return Err("a merge of byte tokens".to_owned());
            }
            rules.push([id(a)?, id(b)?, rank as u32, id(&joined)?]);
        }
        let mut texts = Vec::with_capacity(vocab.len());
        let mut joined = Vec::with_capacity(vocab.len());
        for (token, id) in vocab {
            if let Some((text, bytes)) = self.text_of(token) {
                texts.push((text, *id));
                joined.push(bytes);
            }
        }
        // (Only the merging of byte-level vocabularies looks at cuts.)
        if self.spm() {
            self.index_merges(&texts, &rules);
            let formed = self.seed(&texts, ignore_merges);
            self.bridge_formed(&joined, &formed);
            self.bridges.run = self.longest_run(&ids, &rules, &joined, &formed);
            self.bridges.finish(true);
            return Ok(());
        }
        for bytes in &joined {
            self.bridges.add(bytes);
        }
        let pairs = self.bridges.finish(false);
        let used = self.index_merges(&texts, &rules);
        self.merges.index_bytes(&self.bytes);
        self.seed(&texts, ignore_merges);
        if let Family::ByteLevel(split) = self.family {
            self.index_pairs(&pairs, &used, &split);
        }
        Ok(())
    }

    /// Keeps the rules that merging the vocabulary uses; merging anything uses no others.
    fn index_merges(&mut self, texts: &[(Vec<u8>, u32)], rules: &[[u32; 4]]) -> Vec<[u32; 4]> {
        let symbols: Vec<_> = texts.iter().map(|t| self.symbols_of(&t.0)).collect();
        let used = Merges::new(rules).used(rules, &symbols);
        self.merges = Merges::new(&used);
        used
    }

    /// Fills the tables of pairs of characters.
    fn index_pairs(&mut self, pairs: &[(u32, u32)], rules: &[[u32; 4]], split: &Split) {
        let mut merger = Merger::default();
        let mut encode = |text: &str, out: &mut Vec<(u32, u32)>| {
            self.merge(&mut merger, text.as_bytes());
            out.clear();
            out.extend(merger.ids.iter().copied().zip(merger.lens.iter().copied()));
        };
        let source = Source {
            pairs,
            rules,
            split,
            crossed: &|text, prev, at| self.bridges.partly_crosses(text, prev, at),
        };
        self.dense = Dense::new(&source, &mut encode);
    }

    /// Ids of bytes and characters.
    fn read_symbols(&mut self, ids: &HashMap<&str, u32>) -> Result<(), Refused> {
        self.bytes = vec![u32::MAX; 256];
        let mut chars = Vec::new();
        #[allow(clippy::iter_over_hash_type)] // sorted below
        for (token, &id) in ids {
            let mut it = token.chars();
            let single = it.next().filter(|_| it.next().is_none());
            match (self.family, single) {
                (Family::ByteLevel(_), Some(c)) => {
                    if let Some(b) = char_to_byte(c) {
                        self.bytes[usize::from(b)] = id;
                    }
                }
                (Family::SentencePiece(_), Some(c)) => chars.push([c as u32, id]),
                (Family::SentencePiece(_), None) => {
                    // `tokenizers` looks for capital hexadecimal digits.
                    if let Some(b) =
                        fallback_byte(token).filter(|b| *token == format!("<0x{b:02X}>"))
                    {
                        self.bytes[usize::from(b)] = id;
                    }
                }
                _ => {}
            }
        }
        chars.sort_unstable();
        self.chars = chars;
        if self.spm() {
            self.index_chars(&[]);
        }
        // Bytes that no UTF-8 text holds may be missing.
        let missing = (0..=255u8).find(|b| {
            self.bytes[usize::from(*b)] == u32::MAX && !matches!(b, 0xC0 | 0xC1 | 0xF5..)
        });
        missing.map_or(Ok(()), |b| {
            Err(format!("the vocabulary has no token for byte {b:#04x}"))
        })
    }

    /// The text that a token stands for (with spaces for `▁`), and the bytes whose neighbourhood
    /// counts for cuts; `None` for tokens that no text becomes.
    fn text_of<'t>(&self, token: &'t str) -> Option<(Vec<u8>, Cow<'t, [u8]>)> {
        if self.spm() {
            let text = token.replace('▁', " ").into_bytes();
            return (!token.contains(' ')).then_some((text, Cow::Borrowed(token.as_bytes())));
        }
        let bytes: Option<Vec<u8>> = token.chars().map(char_to_byte).collect();
        bytes.map(|b| (b.clone(), Cow::Owned(b)))
    }

    /// Encodes the vocabulary into the seed tables; says which tokens are what merging their text
    /// gives.
    fn seed(&mut self, texts: &[(Vec<u8>, u32)], ignore_merges: bool) -> Vec<bool> {
        let mut formed = vec![false; texts.len()];
        let mut merger = Merger::default();
        let (mut merged, mut given) = (Vec::with_capacity(texts.len()), Vec::new());
        let mut long = Long::default();
        for ((text, id), formed) in texts.iter().zip(&mut formed) {
            if std::str::from_utf8(text).is_err() {
                continue; // a part of a character: no piece of text is that
            }
            self.merge(&mut merger, text);
            *formed = merger.ids == [*id];
            let differs = ignore_merges && !*formed;
            if differs {
                self.units_differ = true;
                merger.clear();
                merger.push(*id, text.len() as u32);
            }
            if text.len() > SHORT {
                long.insert(text, &merger.ids, &merger.lens);
            } else if merger.ids.len() <= INLINE {
                let entries = if differs { &mut given } else { &mut merged };
                entries.push(Entry::inline(key_of(text), &merger.ids, &merger.lens));
            }
        }
        self.long_seeds = long.into();
        merged.sort_by_key(|e| e.ids[0]);
        self.index_chars(&merged);
        // What merging does not give has to be there; the others are for speed, and those that are
        // met most stand in their own places.
        merged.truncate(SEEDS);
        self.seeds = Table::with_room(given.len() + merged.len());
        for entry in given.into_iter().chain(merged) {
            self.seeds.insert(entry);
        }
        formed
    }

    /// Fills the table of single characters; `merged` are pieces that merging gives.
    fn index_chars(&mut self, merged: &[Entry]) {
        if !self.spm() {
            let single = |e: &Entry| {
                let (bytes, n) = bytes_of(e.key);
                let one = n > 1 && char_len(bytes[0]) == n && e.meta >> 24 == 1;
                one.then(|| [code_point(&bytes, 0).0, e.ids[0]])
            };
            self.chars = merged.iter().filter_map(single).collect();
            self.chars.sort_unstable();
        }
        let mut by_char = vec![u32::MAX; 1 << 16];
        for [c, id] in &self.chars {
            if let Some(slot) = by_char.get_mut(*c as usize) {
                *slot = *id;
            }
        }
        self.char_ids = by_char.into();
    }

    /// The token that a character is by itself.
    #[inline]
    fn char_id(&self, c: u32) -> Option<u32> {
        match self.char_ids.get(c as usize) {
            Some(&id) => (id != u32::MAX).then_some(id),
            None => self
                .chars
                .binary_search_by_key(&c, |x| x[0])
                .ok()
                .map(|i| self.chars[i][1]),
        }
    }

    /// Encodes one unit by merging: `merger` then holds its tokens.
    pub(crate) fn merge(&self, merger: &mut Merger, unit: &[u8]) {
        if !self.spm() && (unit.is_ascii() || self.char_ids.is_empty()) {
            return merger.run_bytes(&self.merges, &self.bytes, unit);
        }
        self.symbols(merger, unit);
        merger.run(&self.merges);
    }

    /// The symbols with which merging a token begins.
    fn symbols_of(&self, token: &[u8]) -> Vec<u32> {
        if !self.spm() {
            return token.iter().map(|&b| self.bytes[usize::from(b)]).collect();
        }
        let mut merger = Merger::default();
        self.symbols(&mut merger, token);
        merger.ids
    }

    /// Puts the symbols of a unit into `merger`.
    fn symbols(&self, merger: &mut Merger, unit: &[u8]) {
        merger.clear();
        let mut p = 0;
        // Whether a token may cross the boundary before this character in the middle of another.
        let mut crossed = false;
        while p < unit.len() {
            let (code, n) = code_point(unit, p);
            let end = (p + n).min(unit.len());
            let ahead =
                end < unit.len() && !self.spm() && self.bridges.partly_crosses(unit, p, end);
            let known = match (self.spm(), code) {
                (true, 0x20) => self.char_id(0x2581),
                // Nothing crosses into the character but by way of the whole of it, so its bytes
                // merge with each other first, whatever stands beside it.
                (false, _) if crossed || ahead || n == 1 => None,
                (_, c) => self.char_id(c),
            };
            match known {
                Some(id) => merger.push(id, n as u32),
                None if self.spm() && code == 0x20 => {
                    // `▁` itself is unknown: its three bytes, of which one is in the text.
                    for (b, len) in [(0xE2, 1), (0x96, 0), (0x81, 0)] {
                        merger.push(self.bytes[b], len);
                    }
                }
                None => {
                    for b in &unit[p..end] {
                        merger.push(self.bytes[usize::from(*b)], 1);
                    }
                }
            }
            crossed = ahead;
            p = end;
        }
    }

    /// What units that are not a whole pre-token add to their keys.
    #[inline]
    pub(crate) fn unit_mark(&self) -> u128 {
        if self.units_differ { UNIT } else { 0 }
    }

    /// The kind in words.
    pub(crate) fn name(&self) -> String {
        match self.family {
            Family::ByteLevel(s) => {
                let nfc = if self.nfc { ", NFC" } else { "" };
                format!(
                    "byte-level BPE, {:?} words, {} digits{nfc}",
                    s.word, s.digits
                )
            }
            Family::SentencePiece(p) => format!("sentencepiece BPE, {p:?} dummy prefix"),
        }
    }
}

fn is_type(json: &Value, name: &str) -> bool {
    json.get("type").is_some_and(|t| t == name)
}

/// The parts of a `Sequence`, or the one part, or none.
fn parts<'v>(json: &'v Value, list: &str) -> Vec<&'v Value> {
    if json.is_null() {
        return Vec::new();
    }
    if !is_type(json, "Sequence") {
        return vec![json];
    }
    let inner = json.get(list).and_then(Value::as_array);
    inner
        .map(|a| a.iter().flat_map(|v| parts(v, list)).collect())
        .unwrap_or_default()
}

fn shown(json: &Value) -> String {
    let text = json.to_string();
    let short: String = text.chars().take(160).collect();
    if short.len() < text.len() {
        short + " ..."
    } else {
        short
    }
}

fn byte_family(file: &File<'_>) -> Result<(Family, bool), Refused> {
    let mut nfc = false;
    for part in parts(&file.normalizer, "normalizers") {
        if !is_type(part, "NFC") {
            return Err(format!("unknown normalizer {}", shown(part)));
        }
        nfc = true;
    }
    let split = Split::from_pre_tokenizer(&file.pre_tokenizer)
        .ok_or_else(|| format!("unknown pre-tokenizer {}", shown(&file.pre_tokenizer)))?;
    Ok((Family::ByteLevel(split), nfc))
}
