//! Character classes that tokenizing depends on.
//!
//! Split patterns run on Oniguruma, whose tables differ from those of Rust's crates by Unicode
//! version. So the classes are Oniguruma's own: `tables/classes.txt` was written by asking it
//! about every code point (example `unicode_tables`), and a test asks again. `tables/nfc.txt` says
//! in the same way what the normalization crate of `tokenizers` thinks of every code point.

use regex::Regex;
use std::sync::LazyLock;

/// A set of classes, one bit per class code.
pub(crate) type Set = u16;

/// Class codes; 0 is everything else (controls, unassigned, format characters).
pub(crate) const LU: u8 = 1;
pub(crate) const LL: u8 = 2;
pub(crate) const LT: u8 = 3;
pub(crate) const LM: u8 = 4;
pub(crate) const LO: u8 = 5;
pub(crate) const M: u8 = 6;
pub(crate) const N: u8 = 7;
pub(crate) const P: u8 = 8;
pub(crate) const S: u8 = 9;
pub(crate) const WS: u8 = 10;

/// Sets of classes as the patterns name them.
pub(crate) const SET_L: Set = 1 << LU | 1 << LL | 1 << LT | 1 << LM | 1 << LO;
pub(crate) const SET_M: Set = 1 << M;
pub(crate) const SET_N: Set = 1 << N;
pub(crate) const SET_WS: Set = 1 << WS;
pub(crate) const SET_PS: Set = 1 << P | 1 << S;
pub(crate) const SET_ALL: Set = (1 << 11) - 1;
/// `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]` and `[\p{Ll}\p{Lm}\p{Lo}\p{M}]`.
pub(crate) const SET_UPPER: Set = 1 << LU | 1 << LT | 1 << LM | 1 << LO | SET_M;
pub(crate) const SET_LOWER: Set = 1 << LL | 1 << LM | 1 << LO | SET_M;

/// Whether a class is in a set.
#[inline]
pub(crate) const fn within(class: u8, set: Set) -> bool {
    set >> class & 1 != 0
}

/// A byte per code point, in pages of 256 of which equal ones are kept once.
pub(crate) struct Table {
    page: Vec<u8>,
    values: Vec<u8>,
}

impl Table {
    /// From `start-end:value` items in hexadecimal, separated by whitespace; 0 elsewhere.
    fn parse(text: &str) -> Option<Self> {
        let mut flat = vec![0u8; 0x11_0000];
        for item in text.split_ascii_whitespace() {
            let (range, value) = item.split_once(':')?;
            let (a, b) = range.split_once('-').unwrap_or((range, range));
            let hex = |s: &str| usize::from_str_radix(s, 16).ok();
            flat.get_mut(hex(a)?..=hex(b)?)?
                .fill(u8::from_str_radix(value, 16).ok()?);
        }
        let (mut page, mut values) = (Vec::new(), Vec::<u8>::new());
        for chunk in flat.chunks_exact(256) {
            let at = values
                .chunks_exact(256)
                .position(|c| c == chunk)
                .unwrap_or_else(|| {
                    values.extend_from_slice(chunk);
                    values.len() / 256 - 1
                });
            page.push(u8::try_from(at).ok()?);
        }
        Some(Self { page, values })
    }

    #[inline]
    pub(crate) fn get(&self, c: u32) -> u8 {
        let page = usize::from(self.page[(c >> 8) as usize]);
        self.values[page << 8 | (c & 0xFF) as usize]
    }
}

/// The class code of every code point.
#[allow(clippy::expect_used)] // the text is part of the crate and parsed in every test run
static CLASSES: LazyLock<Table> =
    LazyLock::new(|| Table::parse(include_str!("tables/classes.txt")).expect("a sound table"));

/// 255 for code points that NFC may change or that may combine with the one before, else the
/// canonical combining class.
#[allow(clippy::expect_used)]
static NFC: LazyLock<Table> =
    LazyLock::new(|| Table::parse(include_str!("tables/nfc.txt")).expect("a sound table"));

pub(crate) fn classes() -> &'static Table {
    &CLASSES
}

pub(crate) fn nfc() -> &'static Table {
    &NFC
}

/// The code point at `at` and its length in bytes. `text` is valid UTF-8 and `at` a boundary;
/// anything else gives a meaningless number, not a panic past the end.
#[inline]
pub(crate) fn code_point(text: &[u8], at: usize) -> (u32, usize) {
    let tail = |b: u8| u32::from(b & 0x3F);
    match text[at..] {
        [a @ 0..0x80, ..] => (u32::from(a), 1),
        [a @ 0xE0..0xF0, b, c, ..] => (u32::from(a & 0x0F) << 12 | tail(b) << 6 | tail(c), 3),
        [a @ 0x80..0xE0, b, ..] => (u32::from(a & 0x1F) << 6 | tail(b), 2),
        [a, b, c, d, ..] => {
            let high = u32::from(a & 0x07) << 18;
            (high | tail(b) << 12 | tail(c) << 6 | tail(d), 4)
        }
        _ => (0xFFFD, 1),
    }
}

/// `\w` of the `regex` crate, which is what `single_word` means in `tokenizers`.
#[allow(clippy::unwrap_used)] // a constant pattern, compiled in every test run
static WORD: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\w").unwrap());

/// Whether `c` is a word character in the sense of the added-token flag `single_word`.
pub(crate) fn is_word_char(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_alphanumeric() || c == '_';
    }
    WORD.is_match(c.encode_utf8(&mut [0; 4]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokenizers::utils::SysRegex;
    use unicode_normalization_alignments::{IsNormalized, char as uchar, is_nfc_quick};

    #[test]
    fn classes_are_those_of_oniguruma() {
        let text: String = ('\0'..=char::MAX).collect();
        let names = ["Lu", "Ll", "Lt", "Lm", "Lo", "M", "N", "P", "S"];
        let patterns = names.map(|n| format!("\\p{{{n}}}"));
        let patterns = patterns.iter().map(String::as_str).chain([r"\s", r"\p{L}"]);
        for (pattern, set) in patterns.zip((1..=10).map(|i| 1 << i).chain([SET_L])) {
            let mut member = vec![false; 0x11_0000];
            for (a, b) in SysRegex::new(pattern).unwrap().find_iter(&text) {
                text[a..b].chars().for_each(|c| member[c as usize] = true);
            }
            for c in '\0'..=char::MAX {
                let ours = within(classes().get(c as u32), set);
                assert_eq!(ours, member[c as usize], "{pattern} {c:?}");
            }
        }
    }

    #[test]
    fn the_bulk_of_han_is_letters() {
        assert!((0x4E00..0x9FC0).all(|c| classes().get(c) == LO));
    }

    #[test]
    fn nfc_table_is_that_of_the_library() {
        for c in '\0'..=char::MAX {
            let yes = matches!(is_nfc_quick(std::iter::once(c)), IsNormalized::Yes);
            let expected = if yes {
                uchar::canonical_combining_class(c)
            } else {
                255
            };
            assert_eq!(nfc().get(c as u32), expected, "{c:?}");
        }
    }

    #[test]
    fn code_points_are_decoded() {
        for c in '\0'..=char::MAX {
            let mut buffer = [0; 4];
            let bytes = c.encode_utf8(&mut buffer).as_bytes();
            assert_eq!(code_point(bytes, 0), (c as u32, c.len_utf8()));
        }
    }
}
