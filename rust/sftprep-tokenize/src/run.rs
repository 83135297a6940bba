//! Encoding with a plan: scan a piece of text into pre-tokens or units, look each up, and only
//! where it is not known cut and merge.
//!
//! Scanning runs ahead of looking up by a batch, so that the cache lines asked for while scanning
//! have arrived when they are needed.

#![allow(clippy::many_single_char_names)] // positions in one text

use crate::cache::{INLINE, Learned, SHORT, bytes_of, hash, key_of};
use crate::classes::classes;
use crate::cut::{Cuts, char_len};
use crate::encoder::Encoding;
use crate::merge::Merger;
use crate::plan::{Family, Plan, Prefix};
use crate::scan::Window;
use crate::split::{Split, Word};

/// Pieces between scanning and looking up.
const BATCH: usize = 64;

/// What one thread needs to encode, kept from text to text.
pub(crate) struct State {
    learned: Learned,
    merger: Merger,
    /// Keys of short pieces; of a long piece its end.
    keys: [u128; BATCH],
    hashes: [u64; BATCH],
    starts: [u32; BATCH],
    filled: usize,
    /// Tokens of the batch so far.
    out_ids: [u32; BATCH * INLINE],
    out_spans: [[u32; 2]; BATCH * INLINE],
    cuts: Cuts,
    ids: Vec<u32>,
    lens: Vec<u32>,
    prefixed: Vec<u8>,
}

impl State {
    pub(crate) fn new() -> Self {
        Self {
            learned: Learned::new(),
            merger: Merger::default(),
            keys: [0; BATCH],
            hashes: [0; BATCH],
            starts: [0; BATCH],
            filled: 0,
            out_ids: [0; BATCH * INLINE],
            out_spans: [[0; 2]; BATCH * INLINE],
            cuts: Cuts::default(),
            ids: Vec::new(),
            lens: Vec::new(),
            prefixed: Vec::new(),
        }
    }

    /// Appends the tokens of `text[start..end]`, a piece between added tokens.
    pub(crate) fn piece(
        &mut self,
        plan: &Plan,
        text: &str,
        start: usize,
        end: usize,
        out: &mut Encoding,
    ) {
        let t = &text.as_bytes()[..end];
        if start >= end {
            return;
        }
        match plan.family {
            Family::ByteLevel(split) => {
                // Each kind of word gets a loop of its own.
                let with = |word| Split { word, ..split };
                match split.word {
                    Word::Spaced => self.byte_level(plan, &with(Word::Spaced), t, start, out),
                    Word::Prefixed => self.byte_level(plan, &with(Word::Prefixed), t, start, out),
                    Word::Cased => self.byte_level(plan, &with(Word::Cased), t, start, out),
                    Word::PrefixedMarks | Word::DeepSeek => {
                        self.byte_level(plan, &split, t, start, out);
                    }
                }
            }
            Family::SentencePiece(prefix) => self.sentencepiece(plan, prefix, t, start, out),
        }
        self.drain(plan, t, out);
    }

    #[inline(always)]
    #[allow(clippy::inline_always)]
    fn byte_level(&mut self, plan: &Plan, s: &Split, t: &[u8], start: usize, out: &mut Encoding) {
        let mut p = start;
        while p < t.len() {
            let w = Window::at(t, p);
            let mut n = w.word(s);
            if n == 0 {
                n = w.other(s);
            }
            if n == 0 {
                p = self.beyond_ascii(plan, s, t, p, out);
                continue;
            }
            self.push(plan, w.key(n), p, t, out);
            p += n;
        }
    }

    /// A pre-token that the windows do not find: long, or with characters beyond ASCII.
    #[inline(never)]
    fn beyond_ascii(
        &mut self,
        plan: &Plan,
        s: &Split,
        t: &[u8],
        p: usize,
        out: &mut Encoding,
    ) -> usize {
        let end = s.next(classes(), t, p);
        // Scripts without spaces make long pre-tokens that seldom come again: cut them at once.
        let dense = |b: &u8| *b >= 0xE1;
        if end - p > SHORT && t[end - 1] >= 0x80 && t[p + 1..end].iter().any(dense) {
            self.push_units(plan, &t[..end], p, false, out);
            return end;
        }
        self.push_range(plan, t, p, end, 0, out);
        end
    }

    /// Puts `t[a..b]` into the batch, with a mark on its key.
    #[inline]
    fn push_range(
        &mut self,
        plan: &Plan,
        t: &[u8],
        a: usize,
        b: usize,
        mark: u128,
        out: &mut Encoding,
    ) {
        let key = if b - a <= SHORT {
            key_of(&t[a..b]) | mark
        } else {
            b as u128 | mark >> 24
        };
        self.push(plan, key, a, t, out);
    }

    #[inline]
    fn push(&mut self, plan: &Plan, key: u128, start: usize, t: &[u8], out: &mut Encoding) {
        let h = hash(key);
        self.learned.short.prefetch(h);
        let i = self.filled;
        self.keys[i] = key;
        self.hashes[i] = h;
        self.starts[i] = start as u32;
        self.filled = i + 1;
        if self.filled == BATCH {
            self.drain(plan, t, out);
        }
    }

    /// Looks up what is in the batch and appends its tokens.
    fn drain(&mut self, plan: &Plan, t: &[u8], out: &mut Encoding) {
        let n = std::mem::take(&mut self.filled);
        // What is not known here is probably in the vocabulary: ask for its place there already.
        for i in 0..n {
            if self
                .learned
                .short
                .get(self.keys[i], self.hashes[i])
                .is_none()
            {
                plan.seeds.prefetch(self.hashes[i]);
            }
        }
        let mut at = 0;
        for i in 0..n {
            let (key, h, start) = (self.keys[i], self.hashes[i], self.starts[i]);
            let hit = self
                .learned
                .short
                .get(key, h)
                .filter(|e| e.count().is_some());
            let Some(e) = hit else {
                self.flush(at, out);
                at = 0;
                self.unknown(plan, t, key, h, start as usize, out);
                continue;
            };
            // All three are written, and the next piece writes over those that are not there.
            let (a, b) = (start + e.len(0), start + e.len(0) + e.len(1));
            // (As arrays: copying slices of three became calls of memcpy, a tenth of the time.)
            let ids = self.out_ids[at..].first_chunk_mut();
            let spans = self.out_spans[at..].first_chunk_mut();
            let (Some(ids), Some(spans)) = (ids, spans) else {
                break;
            };
            *ids = e.ids;
            *spans = [[start, a], [a, b], [b, b + e.len(2)]];
            at += e.meta as usize & 0xFF;
        }
        self.flush(at, out);
    }

    fn flush(&mut self, n: usize, out: &mut Encoding) {
        out.ids.extend_from_slice(&self.out_ids[..n]);
        out.offsets.extend_from_slice(&self.out_spans[..n]);
    }

    /// A piece that the encoder has not met, or one of more tokens than fit beside its key.
    #[inline(never)]
    fn unknown(
        &mut self,
        plan: &Plan,
        t: &[u8],
        key: u128,
        h: u64,
        start: usize,
        out: &mut Encoding,
    ) {
        let short = key >> 120 != 0;
        if !short {
            let end = key as u32 as usize;
            let unit = key >> 96 != 0;
            self.long(plan, &t[start..end], start, unit, out);
            return;
        }
        if let Some(e) = self.learned.short.get(key, h) {
            let (ids, lens) = self.learned.spilled(e);
            return append(ids, lens, start, out);
        }
        let unit = key >> 127 != 0;
        if let Some(e) = plan.seeds.get(key, h) {
            let e = *e;
            self.learned.keep_entry(e);
            let n = e.count().unwrap_or(0);
            return append(
                &e.ids[..n],
                &[e.len(0), e.len(1), e.len(2)][..n],
                start,
                out,
            );
        }
        let (bytes, n) = bytes_of(key);
        self.compute(plan, &bytes[..n], unit);
        self.learned.keep(key, &self.ids, &self.lens);
        append(&self.ids, &self.lens, start, out);
    }

    fn long(&mut self, plan: &Plan, piece: &[u8], start: usize, unit: bool, out: &mut Encoding) {
        if !unit {
            if let Some((ids, lens)) = plan.long_seeds.get(piece) {
                return append(ids, lens, start, out);
            }
            if let Some((ids, lens)) = self.learned.long.get(piece) {
                return append(ids, lens, start, out);
            }
        }
        self.compute(plan, piece, unit);
        if !unit {
            self.learned.keep_long(piece, &self.ids, &self.lens);
        }
        append(&self.ids, &self.lens, start, out);
    }

    /// Cuts a piece into units and merges them into `ids` and `lens`.
    fn compute(&mut self, plan: &Plan, piece: &[u8], is_unit: bool) {
        self.ids.clear();
        self.lens.clear();
        let (spm, mark) = (plan.spm(), plan.unit_mark());
        let mut p = 0;
        while p < piece.len() {
            let end = if is_unit {
                piece.len()
            } else {
                plan.bridges.unit(piece, p, spm)
            };
            let unit = &piece[p..end];
            let whole = unit.len() == piece.len();
            if unit.len() <= SHORT && !whole {
                let key = key_of(unit) | mark;
                let h = hash(key);
                let known = self
                    .learned
                    .short
                    .get(key, h)
                    .or_else(|| plan.seeds.get(key, h));
                if let Some(e) = known.filter(|e| e.count().is_some()) {
                    let n = e.count().unwrap_or(0);
                    self.ids.extend_from_slice(&e.ids[..n]);
                    self.lens.extend((0..n).map(|i| e.len(i)));
                    p = end;
                    continue;
                }
            }
            plan.merge(&mut self.merger, unit);
            self.ids.extend_from_slice(&self.merger.ids);
            self.lens.extend_from_slice(&self.merger.lens);
            if unit.len() <= SHORT && !whole {
                self.learned
                    .keep(key_of(unit) | mark, &self.merger.ids, &self.merger.lens);
            }
            p = end;
        }
    }

    fn sentencepiece(
        &mut self,
        plan: &Plan,
        prefix: Prefix,
        t: &[u8],
        start: usize,
        out: &mut Encoding,
    ) {
        let spaced = t[start] == b' ' || t[start..].starts_with("▁".as_bytes());
        let dummy = match prefix {
            Prefix::Never => false,
            Prefix::Always => true,
            Prefix::Unspaced => !spaced,
            Prefix::First => !spaced && start == 0,
        };
        let p = if dummy {
            self.dummy_prefix(plan, t, start, out)
        } else {
            start
        };
        self.push_units(plan, t, p, true, out);
    }

    /// Encodes the first unit with a space in front that is not in the text; returns its end.
    fn dummy_prefix(&mut self, plan: &Plan, t: &[u8], start: usize, out: &mut Encoding) -> usize {
        let mut buffer = std::mem::take(&mut self.prefixed);
        buffer.clear();
        buffer.push(b' ');
        let first = start + char_len(t[start]).max(1);
        buffer.extend_from_slice(&t[start..first.min(t.len())]);
        let mut end = start;
        if plan.bridges.crosses(&buffer, 0, 1, true) {
            end = plan.bridges.unit(t, start, true);
            buffer.truncate(1);
            buffer.extend_from_slice(&t[start..end]);
        } else {
            buffer.truncate(1);
        }
        self.compute(plan, &buffer, true);
        self.lens[0] -= 1;
        append(&self.ids, &self.lens, start, out);
        self.prefixed = buffer;
        end
    }

    /// Cuts `t[p..]` into units and puts them into the batch.
    fn push_units(&mut self, plan: &Plan, t: &[u8], p: usize, spm: bool, out: &mut Encoding) {
        let (mut start, mut at) = (p, p);
        let mut cuts = std::mem::take(&mut self.cuts);
        while at < t.len() {
            at = plan.bridges.block(t, at, spm, &mut cuts);
            for &cut in cuts.found() {
                let whole = start == p && cut as usize == t.len();
                let mark = if whole { 0 } else { plan.unit_mark() };
                self.push_range(plan, t, start, cut as usize, mark, out);
                start = cut as usize;
            }
        }
        self.cuts = cuts;
    }
}

/// Appends tokens that follow one another from `start`.
fn append(ids: &[u32], lens: &[u32], start: usize, out: &mut Encoding) {
    out.ids.extend_from_slice(ids);
    let mut at = start as u32;
    out.offsets.extend(lens.iter().map(|&len| {
        let span = [at, at + len];
        at += len;
        span
    }));
}
