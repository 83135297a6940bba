//! Pre-token starts of 64 bytes at once.
//!
//! A block begins where a pre-token begins, so nothing is carried from block to block. The bytes
//! become one bit mask per kind of character, and where pre-tokens begin follows from the masks by
//! a few dozen operations on whole words, for all of the block and without a branch per pre-token.
//! Characters beyond ASCII and control characters stop a block; the plain scanner (`scanner.rs`)
//! reads the pre-token around one.
//!
//! Tried and dropped: a window of 16 bytes for every pre-token (vector to mask to count to the
//! next address is a chain of 20 cycles for each, twice the whole cost of this); AVX-512 (the masks
//! are a small part of the work by now: the same speed within 2% in five interleaved runs).

use crate::split::{Contraction, Split, Word};

/// Bytes looked at in one go.
pub(crate) const BLOCK: usize = 64;

/// A block, and behind it what a 16-byte key of its last byte may read.
pub(crate) type Bytes = [u8; BLOCK + 16];

/// What fills a block past the end of the piece: a kind that stops it.
const FILL: u8 = 0xFF;

/// Which bytes of a block are of which kind, one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Kinds {
    pub(crate) upper: u64,
    pub(crate) lower: u64,
    pub(crate) digit: u64,
    /// Space, tab, newline, vertical tab, form feed, carriage return.
    white: u64,
    newline: u64,
    space: u64,
    quote: u64,
    /// Beyond ASCII, and control characters other than white ones.
    stop: u64,
}

impl Kinds {
    /// Whether the bytes `from..to` are spaces.
    #[inline]
    pub(crate) fn are_spaces(&self, from: usize, to: usize) -> bool {
        self.space >> (from & 63) & below((to - from) as u32) == below((to - from) as u32)
    }
}

/// The bytes of a piece from `p`, filled up where it ends.
#[inline]
pub(crate) fn load<'t>(t: &'t [u8], p: usize, tail: &'t mut Bytes) -> &'t Bytes {
    if let Some(bytes) = t[p..].first_chunk() {
        return bytes;
    }
    let rest = &t[p..];
    tail.fill(FILL);
    tail[..rest.len()].copy_from_slice(rest);
    tail
}

/// What this processor can do.
#[derive(Clone, Copy)]
pub(crate) enum Features {
    Plain,
    #[cfg(target_arch = "x86_64")]
    Avx2,
}

impl Default for Features {
    fn default() -> Self {
        Self::detect()
    }
}

impl Features {
    pub(crate) fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            let bits = is_x86_feature_detected!("bmi1") && is_x86_feature_detected!("bmi2");
            if bits && is_x86_feature_detected!("avx2") {
                return Self::Avx2;
            }
        }
        Self::Plain
    }
}

/// A way to find the kinds of bytes.
pub(crate) trait Look {
    fn kinds(bytes: &Bytes) -> Kinds;
}

/// Without vector instructions: a byte of flags for each byte of text, turned by eight.
pub(crate) struct Plain;

const fn flags(b: u8) -> u8 {
    match b {
        b'A'..=b'Z' => 1,
        b'a'..=b'z' => 2,
        b'0'..=b'9' => 4,
        b'\n' | b'\r' => 8 | 16,
        b' ' => 8 | 32,
        b'\t' | 0x0B | 0x0C => 8,
        b'\'' => 64,
        0..0x20 | 0x7F.. => 128,
        _ => 0,
    }
}

const FLAGS: [u8; 256] = {
    let (mut table, mut b) = ([0; 256], 0);
    while b < 256 {
        table[b] = flags(b as u8);
        b += 1;
    }
    table
};

/// Turns a matrix of 8 by 8 bits.
pub(crate) const fn turned(mut x: u64) -> u64 {
    let mut t = (x ^ x >> 7) & 0x00AA_00AA_00AA_00AA;
    x ^= t ^ t << 7;
    t = (x ^ x >> 14) & 0x0000_CCCC_0000_CCCC;
    x ^= t ^ t << 14;
    t = (x ^ x >> 28) & 0x0000_0000_F0F0_F0F0;
    x ^ t ^ t << 28
}

impl Look for Plain {
    fn kinds(bytes: &Bytes) -> Kinds {
        let mut masks = [0u64; 8];
        for (group, chunk) in bytes[..BLOCK].as_chunks::<8>().0.iter().enumerate() {
            let rows = turned(u64::from_le_bytes(chunk.map(|b| FLAGS[usize::from(b)])));
            for (mask, row) in masks.iter_mut().zip(rows.to_le_bytes()) {
                *mask |= u64::from(row) << (8 * group);
            }
        }
        let [upper, lower, digit, white, newline, space, quote, stop] = masks;
        Kinds {
            upper,
            lower,
            digit,
            white,
            newline,
            space,
            quote,
            stop,
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod x86 {
    use super::{Bytes, Kinds, Look};
    use std::arch::x86_64::{
        __m256i, _mm256_add_epi8, _mm256_cmpeq_epi8, _mm256_cmpgt_epi8, _mm256_loadu_si256,
        _mm256_movemask_epi8, _mm256_set1_epi8,
    };

    /// 32 bytes at once. Only for code that runs where AVX2 is.
    pub(crate) struct Avx2;

    impl Look for Avx2 {
        #[inline(always)]
        #[allow(clippy::inline_always)] // or the vectors would be passed through memory
        #[allow(clippy::cast_ptr_alignment)] // the loads need none
        fn kinds(bytes: &Bytes) -> Kinds {
            // SAFETY: the loads read 64 of the 80 bytes; whoever uses this type has seen to it
            // that the instructions are there (`Features`).
            unsafe {
                let half = |i: usize| _mm256_loadu_si256(bytes.as_ptr().add(i).cast::<__m256i>());
                let (a, b) = (half(0), half(32));
                let join = |f: &dyn Fn(__m256i) -> __m256i| {
                    let mask = |v| u64::from(_mm256_movemask_epi8(f(v)) as u32);
                    mask(a) | mask(b) << 32
                };
                let range = |first: u8, n: i8| {
                    let shift = _mm256_set1_epi8(i8::MIN.wrapping_sub(first as i8));
                    let limit = _mm256_set1_epi8(i8::MIN.wrapping_add(n));
                    join(&|v| _mm256_cmpgt_epi8(limit, _mm256_add_epi8(v, shift)))
                };
                let equal = |c: u8| {
                    let c = _mm256_set1_epi8(c as i8);
                    join(&|v| _mm256_cmpeq_epi8(v, c))
                };
                let space = equal(b' ');
                let white = range(9, 5) | space;
                let plain = range(b' ', 0x7F - 0x20);
                Kinds {
                    upper: range(b'A', 26),
                    lower: range(b'a', 26),
                    digit: range(b'0', 10),
                    white,
                    newline: equal(b'\n') | equal(b'\r'),
                    space,
                    quote: equal(b'\''),
                    stop: !(plain | white),
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::Avx2;

/// A split pattern as masks: all ones where something holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// Only a space joins a word, and punctuation does not.
    spaced: u64,
    cased: u64,
    /// White space before a digit ends its piece of text.
    digits_apart: u64,
    spaced_digits: u64,
    newline_tail: u64,
    newlines: u64,
    slash_tail: bool,
    digits: u8,
    lead: Contraction,
    tail: Contraction,
}

impl Rules {
    pub(crate) fn new(s: &Split) -> Self {
        let all = |yes: bool| if yes { u64::MAX } else { 0 };
        Self {
            spaced: all(s.word == Word::Spaced),
            cased: all(s.word == Word::Cased),
            digits_apart: all(s.word == Word::DeepSeek),
            spaced_digits: all(s.spaced_digits),
            newline_tail: all(s.newline_tail),
            newlines: all(s.newlines),
            slash_tail: s.slash_tail,
            digits: s.digits,
            lead: s.lead,
            tail: s.tail,
        }
    }
}

/// Bits 0 to n - 1; n is at most 64.
#[inline]
const fn below(n: u32) -> u64 {
    if n >= 64 { u64::MAX } else { (1 << n) - 1 }
}

/// Where runs of ones that begin at a bit of `from` end: the bit after each.
#[inline]
const fn after_runs(ones: u64, from: u64) -> u64 {
    ones.wrapping_add(from) & !ones
}

/// Starts of pre-tokens in a block, of which bit 0 is one. `rest` is the number of bytes to the end
/// of the piece. Only starts that are certain are given, and the end of the piece as one more.
#[inline(always)]
#[allow(clippy::inline_always, clippy::many_single_char_names)]
pub(crate) fn starts(k: &Kinds, bytes: &Bytes, rest: usize, r: &Rules) -> u64 {
    let mut x = k.stop.trailing_zeros();
    let slash = r.slash_tail.then(|| slash_after_newline(k, bytes, x));
    if let Some(Some(at)) = slash {
        x = at;
    }
    let ended = x as usize == rest && x < 64;
    let valid = below(x);
    let letter = (k.upper | k.lower) & valid;
    let digit = k.digit & valid;
    let newline = k.newline & valid;
    let all_white = k.white & valid;
    let other = valid & !(letter | digit | all_white);
    // Newlines after punctuation belong to it.
    let taken = newline & !newline.wrapping_add(newline & other << 1) & r.newline_tail;
    let white = all_white & !taken;
    let inline = white & !newline;
    // White space: the run begins; what follows its last newline; its last character.
    let mut begin = white & !(white << 1);
    let mut rest_of_line = inline & (newline & white) << 1 & r.newlines;
    let mut again = after_runs(inline, rest_of_line) & newline;
    while again != 0 {
        // Another newline follows: the run up to it is one.
        let run = !inline & below(again.trailing_zeros());
        rest_of_line &= !(1u64 << (64 - run.leading_zeros()));
        again &= again - 1;
    }
    begin |= rest_of_line;
    let touching = white & valid & !(valid >> 1);
    let last = white & !(white >> 1) & !touching;
    begin |= last & (inline | !r.newlines) & !(digit >> 1 & r.digits_apart);
    // Punctuation, with the space before it.
    let space = k.space & white;
    let runs = other & !(other << 1);
    let alone = runs & !(space << 1);
    begin |= alone;
    // Words, with the character before them.
    let single = alone & !(other >> 1);
    let joins = (space & r.spaced) | ((inline | single) & !r.spaced);
    begin |= letter & !(letter << 1) & !(joins << 1);
    begin |= k.upper & valid & (k.lower << 1) & r.cased;
    begin = numbers(begin, digit, space & r.spaced_digits, r.digits);
    let quotes = k.quote & single & letter >> 1;
    if quotes != 0 && (r.lead != Contraction::None || r.tail != Contraction::None) {
        begin = contractions(begin, quotes, letter, bytes, r);
    }
    if ended {
        return begin & valid | 1 << x | 1;
    }
    // What comes next is not known, and may change what the last character is, or the white run.
    let mut certain = valid >> 1;
    if touching != 0 {
        let run = 64 - (valid & !all_white).leading_zeros();
        certain &= below(run + 1);
    }
    begin & certain | 1
}

/// The first slash that newlines after punctuation are followed by, before `x`.
#[cold]
fn slash_after_newline(k: &Kinds, bytes: &Bytes, x: u32) -> Option<u32> {
    let valid = below(x);
    let newline = k.newline & valid;
    let other = valid & !(k.upper | k.lower | k.digit | k.white);
    let mut after = after_runs(newline, newline & other << 1) & valid;
    while after != 0 {
        let at = after.trailing_zeros();
        if bytes[at as usize] == b'/' {
            return Some(at);
        }
        after &= after - 1;
    }
    None
}

/// Adds the starts of numbers.
#[inline(always)]
#[allow(clippy::inline_always)]
pub(crate) fn numbers(begin: u64, digit: u64, joined: u64, most: u8) -> u64 {
    if most == 1 {
        return begin | digit;
    }
    let mut new = digit & !(digit << 1);
    let mut all = new & !(joined << 1);
    if most > 1 {
        let follow = (1..u32::from(most)).fold(digit, |m, i| m & digit << i);
        while new != 0 {
            new = new << most & follow;
            all |= new;
        }
    }
    begin | all
}

/// Length of the contraction at `q`, which is an apostrophe before a letter, or 0.
fn contraction(bytes: &Bytes, q: usize, kind: Contraction) -> u32 {
    let fold = if kind == Contraction::Fold { 0x20 } else { 0 };
    match (bytes[q + 1] | fold, bytes[q + 2] | fold) {
        _ if kind == Contraction::None => 0,
        (b's' | b't' | b'm' | b'd', _) => 2,
        (b'r' | b'v', b'e') | (b'l', b'l') => 3,
        _ => 0,
    }
}

/// Corrects the starts around apostrophes: `quotes` stand alone before a letter, and no space
/// before them.
#[inline(never)]
fn contractions(mut begin: u64, mut quotes: u64, letter: u64, bytes: &Bytes, r: &Rules) -> u64 {
    let mut ended = u32::MAX;
    while quotes != 0 {
        let q = quotes.trailing_zeros();
        quotes &= quotes - 1;
        let after_word = letter << 1 >> q & 1 != 0 && q != ended && q != 0;
        let mut len = 0;
        if after_word {
            len = contraction(bytes, q as usize, r.tail);
            if len > 0 {
                begin &= !(1 << q);
            }
        }
        if len == 0 {
            len = contraction(bytes, q as usize, r.lead);
        }
        if len > 0 {
            ended = q + len;
            begin &= !(below(ended) & !below(q + 1));
            if ended < 64 {
                begin |= letter & 1 << ended;
            }
        }
    }
    begin
}

#[cfg(test)]
mod tests;
