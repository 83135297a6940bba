//! Places in a text that no token can cross.
//!
//! BPE only ever forms tokens of the vocabulary. Where no token holds two neighbouring characters
//! side by side, nothing merges across them, and both sides can be encoded apart with the same
//! result. That turns unsplit text (Han, kana, everything in a sentencepiece vocabulary) into
//! short units that a cache knows, and bounds what a merge loop sees.
//!
//! The pairs come from the vocabulary. The tables may hold more pairs than there are (a hash
//! collision only costs a cut), never fewer.

mod block;

use crate::classes::code_point;
use crate::slab::Slab;

/// Bits of the pair filter for every pair, so that one in ten or fewer is set: at most 64 KiB for
/// vocabularies of the usual kind. (1 MiB, nearly empty, was further away than false pairs cost:
/// over half of the time on Han text went into waiting for it.)
const BITS_PER_PAIR: usize = 10;

/// Which neighbouring characters some token holds side by side.
pub(crate) struct Bridges {
    /// For ASCII characters a and b: bit b of `ascii[2a..2a+2]`.
    pub(crate) ascii: Vec<u64>,
    /// For two ASCII bytes as one little-endian word: 1 where a text may be cut between them.
    apart: block::Apart,
    /// Runs of two to this many spaces end in a cut, if ASCII stands around them; 0: no run does.
    pub(crate) run: u32,
    /// One bit per hash of any other pair.
    pub(crate) filter: Slab<u64>,
    /// How far a hash is shifted to be a bit of the filter.
    shift: u32,
    /// The pairs, until the filter is made of them.
    pairs: Vec<u64>,
    /// Byte-level tokens may begin or end within a character. For such patterns: by the first byte
    /// of b, the last bytes of a that occur (4 words each).
    pub(crate) gate: Vec<u64>,
    /// The same for characters of three bytes: by the first two bytes of b, the last bytes of a.
    pub(crate) near: Vec<u64>,
    /// Hashes of those patterns, sorted.
    pub(crate) partial: Vec<u64>,
    /// One bit per hash of them: 2 KiB that stay near, where searching the list took longer than
    /// everything else about a pair.
    partial_bits: Vec<u64>,
}

#[inline]
fn mix(x: u64) -> u64 {
    x.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (x >> 29).wrapping_mul(0xD6E8_FEB8_6659_FD93)
}

/// Two characters in one word.
#[inline]
fn both(a: u32, b: u32) -> u64 {
    u64::from(a) << 32 | u64::from(b)
}

/// A key for "a token has `left` just before `right`", either part possibly a piece of a character.
fn partial_key(left: &[u8], right: &[u8]) -> u64 {
    let pack = |b: &[u8]| b.iter().fold(b.len() as u64, |x, &b| x << 8 | u64::from(b));
    let x = pack(left)
        .wrapping_mul(0xA24B_AED4_963E_E407)
        .rotate_left(23)
        ^ pack(right);
    x.wrapping_mul(0x9FB2_1C65_1E98_DF25)
}

/// Bytes of the character that begins with `b`, 0 for a byte that begins none.
pub(crate) const fn char_len(b: u8) -> usize {
    match b {
        0..0x80 => 1,
        0xC2..0xE0 => 2,
        0xE0..0xF0 => 3,
        0xF0..0xF5 => 4,
        _ => 0,
    }
}

/// Place in `near` of a character that begins with two bytes.
const fn three(first: u8, second: u8) -> usize {
    (first as usize & 0x0F) << 6 | (second as usize & 0x3F)
}

const fn continues(b: u8) -> bool {
    b & 0xC0 == 0x80
}

impl Bridges {
    pub(crate) fn new() -> Self {
        Self {
            ascii: vec![0; 256],
            apart: block::apart(&[]),
            run: 0,
            filter: vec![0; 1].into(),
            shift: 58,
            pairs: Vec::new(),
            gate: vec![0; 1024],
            near: vec![0; 1024],
            partial: Vec::new(),
            partial_bits: vec![0; 256],
        }
    }

    /// Takes in the pairs of a token.
    pub(crate) fn add(&mut self, token: &[u8]) {
        for k in 1..token.len() {
            if continues(token[k]) {
                continue;
            }
            let mut i = k - 1;
            while i > 0 && continues(token[i]) {
                i -= 1;
            }
            let (left, rest) = (&token[i..k], &token[k..]);
            let n = char_len(token[k]);
            let right = &rest[..rest.len().min(n)];
            let whole_left = !continues(left[0]);
            if n == 0 || (whole_left && char_len(left[0]) != left.len()) {
                continue; // not UTF-8, so in no text
            }
            if whole_left && right.len() == n {
                self.add_pair(code_point(left, 0).0, code_point(right, 0).0);
                continue;
            }
            let last = usize::from(left[left.len() - 1]);
            self.gate[usize::from(right[0]) << 2 | last >> 6] |= 1 << (last & 63);
            let seconds = right.get(1).map_or(0x80..=0xBF, |&b| b..=b);
            for second in seconds {
                self.near[three(right[0], second)] |= 1 << (last & 63);
            }
            self.partial.push(partial_key(left, right));
        }
    }

    fn add_pair(&mut self, a: u32, b: u32) {
        if a < 128 && b < 128 {
            self.ascii[(a << 1 | b >> 6) as usize] |= 1 << (b & 63);
        } else {
            self.pairs.push(both(a, b));
        }
    }

    /// To be called after the last `add`. `spm`: texts write a space where the vocabulary writes
    /// `▁`, and it gets the pairs of that. Returns the pairs that are not of ASCII alone.
    pub(crate) fn finish(&mut self, spm: bool) -> Vec<(u32, u32)> {
        if spm {
            self.alias_space();
        }
        self.pairs.sort_unstable();
        self.pairs.dedup();
        let bits = (self.pairs.len() * BITS_PER_PAIR)
            .next_power_of_two()
            .max(64);
        self.shift = 64 - bits.trailing_zeros();
        let mut filter = vec![0u64; bits / 64];
        for &pair in &self.pairs {
            let bit = mix(pair) >> self.shift;
            filter[(bit >> 6) as usize] |= 1 << (bit & 63);
        }
        self.filter = filter.into();
        self.apart = block::apart(&self.ascii);
        self.index_partial();
        let pairs = std::mem::take(&mut self.pairs);
        pairs
            .iter()
            .map(|pair| ((pair >> 32) as u32, *pair as u32))
            .collect()
    }

    fn index_partial(&mut self) {
        self.partial.sort_unstable();
        self.partial.dedup();
        for key in &self.partial {
            let bit = key >> 50;
            self.partial_bits[(bit >> 6) as usize] |= 1 << (bit & 63);
        }
    }

    /// From tables that were kept; `None` where their sizes are not those that lookups rely on.
    pub(crate) fn from_tables(
        ascii: Vec<u64>,
        run: u32,
        filter: Slab<u64>,
        [gate, near, partial]: [Vec<u64>; 3],
    ) -> Option<Self> {
        let sizes = [ascii.len(), gate.len(), near.len()] == [256, 1024, 1024]
            && filter.len().is_power_of_two();
        let mut new = Self {
            shift: 58 - filter.len().trailing_zeros(),
            apart: block::apart(&ascii),
            run,
            ascii,
            filter,
            pairs: Vec::new(),
            gate,
            near,
            partial,
            partial_bits: vec![0; 256],
        };
        new.index_partial();
        sizes.then_some(new)
    }

    fn alias_space(&mut self) {
        let (space, bar) = (0x20, 0x2581);
        for pair in std::mem::take(&mut self.pairs) {
            let (a, b) = ((pair >> 32) as u32, pair as u32);
            let as_space = |c: u32| if c == bar { space } else { c };
            self.pairs.push(pair);
            if as_space(a) < 128 && as_space(b) < 128 {
                self.add_pair(as_space(a), as_space(b));
            }
        }
    }

    #[inline]
    fn filter_has(&self, a: u32, b: u32) -> bool {
        let bit = mix(both(a, b)) >> self.shift;
        self.filter[(bit >> 6) as usize] >> (bit & 63) & 1 != 0
    }

    /// Whether a token may hold ASCII characters `a` and `b` side by side.
    #[inline]
    fn ascii_pair(&self, a: u8, b: u8) -> bool {
        self.ascii[(usize::from(a) << 1 | usize::from(b) >> 6) & 255] >> (b & 63) & 1 != 0
    }

    /// Whether a token may cross the character boundary at `at`, where the character before begins
    /// at `prev`. `spm`: a space stands for `▁`.
    #[inline]
    pub(crate) fn crosses(&self, t: &[u8], prev: usize, at: usize, spm: bool) -> bool {
        let (x, y) = (t[prev], t[at]);
        if x < 0x80 && y < 0x80 && self.ascii_pair(x, y) {
            return true;
        }
        if x >= 0x80 || y >= 0x80 {
            let bar = |c: u32| if spm && c == 0x20 { 0x2581 } else { c };
            if self.filter_has(bar(code_point(t, prev).0), bar(code_point(t, at).0)) {
                return true;
            }
        }
        let last = usize::from(t[at - 1]);
        self.gate[usize::from(y) << 2 | last >> 6] >> (last & 63) & 1 != 0
            && self.crosses_partial(&t[prev..at], &t[at..])
    }

    /// The rare part of `crosses`: patterns that begin or end within a character.
    #[cold]
    fn crosses_partial(&self, left: &[u8], right: &[u8]) -> bool {
        let n = char_len(right[0]).min(right.len());
        (0..left.len()).any(|i| {
            (1..=n).any(|k| {
                let key = partial_key(&left[i..], &right[..k]);
                let bit = key >> 50;
                // (With nine keys to a boundary, half of all that come here would pass the bits.)
                self.partial_bits[(bit >> 6) as usize] >> (bit & 63) & 1 != 0
                    && self.partial.binary_search(&key).is_ok()
            })
        })
    }

    /// What `partly_crosses` says of characters of three bytes each, at a glance: it may say yes
    /// where that says no. Given are the last byte of the one and the first two of the other.
    #[inline]
    pub(crate) fn may_cross_three(&self, last: u8, first: [u8; 2]) -> bool {
        self.near[three(first[0], first[1]) & 1023] >> (last & 63) & 1 != 0
    }

    /// Whether a token that begins or ends within a character may cross the boundary at `at`.
    pub(crate) fn partly_crosses(&self, t: &[u8], prev: usize, at: usize) -> bool {
        let last = usize::from(t[at - 1]);
        self.gate[usize::from(t[at]) << 2 | last >> 6] >> (last & 63) & 1 != 0
            && self.crosses_partial(&t[prev..at], &t[at..])
    }

    /// End of the unit that begins at `p` in `t` (which ends where the piece ends).
    pub(crate) fn unit(&self, t: &[u8], p: usize, spm: bool) -> usize {
        let mut prev = p;
        loop {
            let at = prev + char_len(t[prev]).max(1);
            if at >= t.len() {
                return t.len();
            }
            if !self.crosses(t, prev, at, spm) {
                return at;
            }
            prev = at;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_of_tokens_are_not_cut() {
        let mut b = Bridges::new();
        b.add("ab中".as_bytes());
        b.add(&[0xB8, 0xAD, b'x']); // the end of 中, then x
        b.add(&[b'q', 0xE4, 0xB8]); // q, then the beginning of 中
        b.finish(false);
        let text = "abc中x q中ba";
        let units = |t: &str| {
            let (mut out, mut p) = (Vec::new(), 0);
            while p < t.len() {
                let e = b.unit(t.as_bytes(), p, false);
                out.push(t[p..e].to_owned());
                p = e;
            }
            out
        };
        assert_eq!(units(text), ["ab", "c", "中x", " ", "q中", "b", "a"]);
        assert_eq!(units("ab中中文x"), ["ab中", "中", "文", "x"]);
    }

    #[test]
    fn a_space_has_the_pairs_of_the_bar() {
        let mut b = Bridges::new();
        b.add("▁a".as_bytes());
        b.add("b▁".as_bytes());
        b.add("中▁".as_bytes());
        b.finish(true);
        assert_eq!(b.unit(b" ab cd", 0, true), 2);
        assert_eq!(b.unit(b"b cd", 0, true), 2);
        assert_eq!(b.unit("中 c".as_bytes(), 0, true), 4);
        assert_eq!(b.unit(b"  ", 0, true), 1);
    }
}
