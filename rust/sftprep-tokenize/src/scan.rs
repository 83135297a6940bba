//! The fast path of the scanner: pre-tokens that begin in ASCII and end before anything else,
//! found from 16 bytes at once with bit masks instead of a loop over characters.

use crate::split::{Contraction, Split, Word};

/// Which bytes of a window are of which kind, one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Masks {
    upper: u32,
    lower: u32,
    digit: u32,
    /// Space, tab, newline, vertical tab, form feed, carriage return.
    white: u32,
    newline: u32,
    /// Bytes of characters beyond ASCII (and the filling after the end of the text).
    high: u32,
}

/// What fills a window past the end of the piece: no ASCII kind, so nothing runs into it.
pub(crate) const FILL: u8 = 0xFF;

/// For every length, the bits of a key that are text and those that are the length.
const KEEP: [[u128; 2]; 16] = {
    let mut table = [[0; 2]; 16];
    let mut n = 1;
    while n < 16 {
        table[n] = [u128::MAX >> (128 - 8 * n), (n as u128) << 120];
        n += 1;
    }
    table
};

/// 16 bytes of text, with what is needed to look at them.
#[derive(Clone, Copy)]
pub(crate) struct Window {
    pub(crate) bytes: [u8; 16],
}

impl Window {
    /// The window at `p` of a piece that ends with `t`.
    #[inline]
    pub(crate) fn at(t: &[u8], p: usize) -> Self {
        match t[p..].first_chunk::<16>() {
            Some(bytes) => Self { bytes: *bytes },
            None => Self::tail(&t[p..]),
        }
    }

    #[inline(never)]
    fn tail(rest: &[u8]) -> Self {
        let mut bytes = [FILL; 16];
        bytes[..rest.len()].copy_from_slice(rest);
        Self { bytes }
    }

    /// The cache key of the first `len` bytes (1 to 15).
    #[inline]
    pub(crate) fn key(&self, len: usize) -> u128 {
        let [keep, size] = KEEP[len & 15];
        (u128::from_le_bytes(self.bytes) & keep) | size
    }

    #[cfg(target_arch = "x86_64")]
    #[inline]
    #[allow(unsafe_code)]
    fn letters(&self) -> u32 {
        use std::arch::x86_64::{
            __m128i, _mm_add_epi8, _mm_cmplt_epi8, _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi8,
        };
        // SAFETY: SSE2 is part of x86-64, and any 16 bytes are a valid vector.
        unsafe {
            let v: __m128i = std::mem::transmute(self.bytes);
            let folded = _mm_or_si128(v, _mm_set1_epi8(0x20));
            let shifted = _mm_add_epi8(folded, _mm_set1_epi8(i8::MIN.wrapping_sub(b'a' as i8)));
            _mm_movemask_epi8(_mm_cmplt_epi8(shifted, _mm_set1_epi8(i8::MIN + 26))) as u32
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[inline]
    #[allow(unsafe_code)]
    fn high(&self) -> u32 {
        // SAFETY: SSE2 is part of x86-64, and any 16 bytes are a valid vector.
        unsafe {
            let v: std::arch::x86_64::__m128i = std::mem::transmute(self.bytes);
            std::arch::x86_64::_mm_movemask_epi8(v) as u32
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn high(&self) -> u32 {
        self.masks_scalar().high
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn letters(&self) -> u32 {
        let m = self.masks_scalar();
        m.upper | m.lower
    }

    #[cfg(target_arch = "x86_64")]
    #[inline]
    #[allow(unsafe_code)]
    fn masks(&self) -> Masks {
        use std::arch::x86_64::{
            __m128i, _mm_add_epi8, _mm_cmpeq_epi8, _mm_cmplt_epi8, _mm_movemask_epi8, _mm_set1_epi8,
        };
        // SAFETY: SSE2 is part of x86-64, and any 16 bytes are a valid vector.
        unsafe {
            let v: __m128i = std::mem::transmute(self.bytes);
            let range = |first: u8, n: i8| {
                let shifted = _mm_add_epi8(v, _mm_set1_epi8(i8::MIN.wrapping_sub(first as i8)));
                _mm_movemask_epi8(_mm_cmplt_epi8(shifted, _mm_set1_epi8(i8::MIN + n))) as u32
            };
            let equal = |b: u8| _mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_set1_epi8(b as i8))) as u32;
            Masks {
                upper: range(b'A', 26),
                lower: range(b'a', 26),
                digit: range(b'0', 10),
                white: range(9, 5) | equal(b' '),
                newline: equal(b'\n') | equal(b'\r'),
                high: _mm_movemask_epi8(v) as u32,
            }
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn masks(&self) -> Masks {
        self.masks_scalar()
    }

    /// The same without vector instructions.
    #[cfg(any(test, not(target_arch = "x86_64")))]
    fn masks_scalar(&self) -> Masks {
        let mask = |f: &dyn Fn(u8) -> bool| {
            (0..16)
                .map(|i| u32::from(f(self.bytes[i])) << i)
                .sum::<u32>()
        };
        Masks {
            upper: mask(&|b| b.is_ascii_uppercase()),
            lower: mask(&|b| b.is_ascii_lowercase()),
            digit: mask(&|b| b.is_ascii_digit()),
            white: mask(&|b| matches!(b, 9..=13 | b' ')),
            newline: mask(&|b| matches!(b, b'\n' | b'\r')),
            high: mask(&|b| b >= 0x80),
        }
    }

    /// Length of the word at the start of the window, or 0 where there is none or this window does
    /// not tell: the commonest case, with the fewest instructions.
    #[inline]
    pub(crate) fn word(&self, s: &Split) -> usize {
        let letters = self.letters();
        let first = self.bytes[0];
        let is_prefix = match s.word {
            Word::Spaced => first == b' ',
            // A control character or an apostrophe may begin something else.
            _ => {
                letters & 1 == 0
                    && (matches!(first, b' '..0x7F) || first == b'\t')
                    && !first.is_ascii_digit()
            }
        };
        let skip = u32::from(is_prefix);
        if letters >> skip & 1 == 0 || (first == b'\'' && s.lead != Contraction::None) {
            return 0;
        }
        let len = if s.word == Word::Cased {
            let upper = self.masks().upper;
            let after_upper = skip + (upper >> skip).trailing_ones();
            after_upper + ((letters & !upper) >> after_upper).trailing_ones()
        } else {
            skip + (letters >> skip).trailing_ones()
        };
        let len = len as usize;
        // The byte that ends the word must be in the window, and be ASCII.
        if len >= 16 || self.high() >> len & 1 != 0 {
            return 0;
        }
        let contracted = s.tail != Contraction::None && self.bytes[len] == b'\'';
        if contracted { 0 } else { len }
    }

    /// Length of any other pre-token at the start of the window that lies wholly in ASCII, or 0.
    #[inline]
    pub(crate) fn other(&self, s: &Split) -> usize {
        let m = self.masks();
        let first = self.bytes[0];
        // Control characters may begin a word, or be nothing at all.
        let odd = first >= 0x7F || (first < b' ' && !matches!(first, 9..=13));
        if odd || (first == b'\'' && s.lead != Contraction::None) {
            return 0;
        }
        let space = first == b' ';
        let ended = |len: u32| {
            if len < 16 && m.high >> len & 1 == 0 {
                len as usize
            } else {
                0
            }
        };
        let digit_at = if space && s.spaced_digits {
            m.digit & 2
        } else {
            m.digit & 1
        };
        if digit_at != 0 {
            let skip = digit_at >> 1;
            let run = (m.digit >> skip).trailing_ones();
            let most = u32::from(s.digits);
            return if most != 0 && run >= most {
                most as usize
            } else {
                ended(skip + run)
            };
        }
        let newline = m.newline & 1 != 0;
        let begins_word = space || (s.word != Word::Spaced && !newline);
        if begins_word && (m.upper | m.lower) & 2 != 0 {
            return 0; // a word of which this window does not hold the end
        }
        let taken = m.upper | m.lower | m.digit | m.white | m.high;
        let skip = u32::from(space);
        if taken >> skip & 1 == 0 {
            // Control characters are punctuation to some patterns and nothing to others.
            if s.word == Word::DeepSeek
                && self
                    .bytes
                    .iter()
                    .any(|b| *b < 9 || (*b > 13 && *b < 32) || *b == 0x7F)
            {
                return 0;
            }
            let run = skip + (!taken >> skip).trailing_ones();
            if run >= 16 {
                return 0;
            }
            let tail = if s.newline_tail {
                (m.newline >> run).trailing_ones()
            } else {
                0
            };
            if tail > 0 && s.slash_tail && self.bytes.get((run + tail) as usize) == Some(&b'/') {
                return 0;
            }
            return ended(run + tail);
        }
        if m.white & 1 == 0 {
            return 0;
        }
        let run = m.white.trailing_ones();
        let stop = ended(run);
        let newline = m.newline & ((1 << run) - 1);
        let digit_next = s.word == Word::DeepSeek && m.digit >> run & 1 != 0;
        match stop {
            0 => 0,
            _ if newline != 0 && s.newlines => 32 - newline.leading_zeros() as usize,
            1 => 1,
            n if digit_next => n,
            n => n - 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classes::classes;
    use proptest::prelude::*;

    const PATTERNS: [&str; 5] = [
        Split::GPT2,
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    ];

    fn splits() -> Vec<Split> {
        let mut all: Vec<Split> = PATTERNS.iter().map(|p| Split::parse(p).unwrap()).collect();
        let third = Split::DEEPSEEK;
        let json = serde_json::json!({"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": r"\p{N}{1,3}"}, "behavior": "Isolated", "invert": false},
            {"type": "Split", "pattern": {"Regex": "[一-龥\u{3040}-ゟ゠-ヿ]+"}, "behavior": "Isolated", "invert": false},
            {"type": "Split", "pattern": {"Regex": third}, "behavior": "Isolated", "invert": false},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}]});
        all.push(Split::from_pre_tokenizer(&json).unwrap());
        all
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn windows_agree_with_the_scanner(text in r"[ -~\n\r\t \x00-\x20'aAzZ09/éſ中\u{301}\u{a0}]{1,40}") {
            let t = text.as_bytes();
            for s in splits() {
                let mut p = 0;
                while p < t.len() {
                    let end = s.next(classes(), t, p);
                    prop_assert!(end > p && end <= t.len());
                    let w = Window::at(t, p);
                    for fast in [w.word(&s), if w.word(&s) == 0 { w.other(&s) } else { 0 }] {
                        prop_assert!(fast == 0 || p + fast == end, "{:?} at {p}: {fast}, {end} {s:?}", text);
                    }
                    p = end;
                }
            }
        }

        #[test]
        fn vector_masks_equal_scalar_ones(bytes in any::<[u8; 16]>()) {
            let w = Window { bytes };
            let m = w.masks_scalar();
            prop_assert_eq!(w.masks(), m);
            prop_assert_eq!(w.letters(), m.upper | m.lower);
        }
    }

    #[test]
    fn the_scanner_splits_as_oniguruma_does() {
        use tokenizers::utils::SysRegex;
        let words = [
            "a", "B", "ab", "AB", "Ab", "é", "É", "ǅ", "ʰ", "中", "\u{301}", "'", "'s", "'S",
            "'\u{17f}", "'LL", "'rE", "'x", " ", "  ", "\n", "\r", "\t", "\u{a0}", "\u{2028}", "1",
            "٣", "Ⅷ", "12", "!", "//", "/", "-", "\u{0}", "\u{378}", "🚀", "\u{200d}", "ー", "゛",
            "・", "\u{7f}", "$",
        ];
        let mut seed = 1u64;
        let mut pick = |n: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) as usize % n
        };
        for pattern in PATTERNS {
            let (split, regex) = (
                Split::parse(pattern).unwrap(),
                SysRegex::new(pattern).unwrap(),
            );
            for _ in 0..6000 {
                let text: String = (0..=pick(9)).map(|_| words[pick(words.len())]).collect();
                let expected: Vec<usize> = regex.find_iter(&text).map(|m| m.1).collect();
                let (mut got, mut p) = (Vec::new(), 0);
                while p < text.len() {
                    p = split.next(classes(), text.as_bytes(), p);
                    got.push(p);
                }
                assert_eq!(got, expected, "{text:?} {pattern}");
            }
            // Which character after an apostrophe makes a contraction, of all there are.
            for c in '\0'..=char::MAX {
                let text = format!("'{c}e");
                let expected = regex.find_iter(&text).next().unwrap().1;
                assert_eq!(
                    split.next(classes(), text.as_bytes(), 0),
                    expected,
                    "{text:?} {pattern}"
                );
            }
        }
    }
}
