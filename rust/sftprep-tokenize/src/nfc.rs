//! NFC: telling that a text is in it (nearly always), and normalizing it where it is not.

use crate::classes::{code_point, nfc};
use unicode_normalization_alignments::UnicodeNormalization;

/// Whether a byte may begin a character that NFC cares about. Not those below U+0300, and none
/// from U+4000 to U+9FFF (Han).
const fn suspect(b: u8) -> bool {
    b >= 0xCC && !matches!(b, 0xE4..=0xE9)
}

/// The punctuation of Chinese text and of typeset English, which is in every second chunk of it:
/// U+2010 to U+203F, U+3000 to U+301F and U+FF00 to U+FF3F, of no interest to NFC.
#[allow(clippy::needless_bitwise_bool)] // no branches: see `plain`
const fn harmless(x: u8, y: u8, z: u8) -> bool {
    (x == 0xE3 && y == 0x80 && z < 0xA0)
        | (x == 0xE2 && y == 0x80 && z >= 0x90)
        | (x == 0xEF && y == 0xBC)
}

/// Whether none of 32 characters' first bytes asks for a closer look; two bytes more are read.
/// (Written without branches, for vector instructions.)
#[inline]
#[allow(clippy::needless_bitwise_bool)]
fn plain(chunk: &[u8; 34]) -> bool {
    let mut any = false;
    for i in 0..32 {
        let (x, y, z) = (chunk[i], chunk[i + 1], chunk[i + 2]);
        any |= suspect(x) & !harmless(x, y, z);
    }
    !any
}

/// Whether `text` is certainly in NFC: no character that may change or compose, combining classes
/// in order. (The quick check of UAX #15, on the tables of the library that normalizes.)
pub(crate) fn is_nfc(text: &str) -> bool {
    let (t, table) = (text.as_bytes(), nfc());
    let mut p = 0;
    while p < t.len() {
        match t[p..].first_chunk::<64>() {
            Some(chunk) if chunk.is_ascii() => {
                p += 64;
                continue;
            }
            // (Half of all texts are short and end so.)
            None if t[p..].is_ascii() => return true,
            _ => {}
        }
        if t[p..].first_chunk().is_some_and(plain) {
            p += 32;
            continue;
        }
        let end = (p + 32).min(t.len());
        while p < end {
            if !suspect(t[p]) {
                p += 1;
                continue;
            }
            let (c, n) = code_point(t, p);
            let class = table.get(c);
            if class == 255 || (class != 0 && class_before(t, p) > class) {
                return false;
            }
            p += n;
        }
    }
    true
}

/// Combining class of the character that ends at `p`, 0 at the start.
#[cold]
fn class_before(t: &[u8], p: usize) -> u8 {
    let start = (0..p).rev().find(|&i| t[i] & 0xC0 != 0x80);
    start.map_or(0, |i| nfc().get(code_point(t, i).0))
}

/// A normalized text and, for each of its bytes, the bytes of the original character it came from.
pub(crate) struct Normalized {
    pub(crate) text: String,
    origin: Vec<[u32; 2]>,
    len: usize,
}

/// Normalizes as `tokenizers` does, with its alignment: a character that NFC adds belongs to the
/// one before, one that it swallows to none.
pub(crate) fn normalize(text: &str) -> Normalized {
    let mut out = Normalized {
        text: String::new(),
        origin: Vec::new(),
        len: text.len(),
    };
    let mut original = text.char_indices();
    let mut range = [0; 2];
    for (c, change) in text.nfc() {
        if change <= 0 {
            if let Some((i, o)) = original.next() {
                range = [i as u32, (i + o.len_utf8()) as u32];
            }
            for _ in change..0 {
                original.next();
            }
        }
        out.text.push(c);
        out.origin.resize(out.text.len(), range);
    }
    out
}

impl Normalized {
    /// The place in the original text of a token boundary at byte `at` of the normalized one.
    ///
    /// Bytes of one origin map one to one as far as they go; surplus ones come first and take no
    /// room (the same rule as for other normalizers, in `hf.rs`).
    pub(crate) fn position(&self, at: usize) -> usize {
        let Some(&group) = self.origin.get(at) else {
            return self.len;
        };
        let before = self.origin[..at]
            .iter()
            .rev()
            .take_while(|o| **o == group)
            .count();
        let after = self.origin[at..]
            .iter()
            .take_while(|o| **o == group)
            .count();
        let room = (group[1] - group[0]) as usize;
        group[0] as usize
            + before
                .saturating_sub((before + after).saturating_sub(room))
                .min(room)
    }

    /// The original bytes of `start..end`.
    pub(crate) fn range(&self, start: usize, end: usize) -> (usize, usize) {
        match (self.origin.get(start), self.origin.get(end.wrapping_sub(1))) {
            (Some(a), Some(b)) if start < end => (a[0] as usize, b[1] as usize),
            _ => (self.position(start), self.position(start)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the check passes over is of class 0 and never changes.
    #[test]
    fn what_is_passed_over_is_of_no_interest() {
        for c in '\u{80}'..=char::MAX {
            let mut buffer = [0; 4];
            let bytes = c.encode_utf8(&mut buffer).as_bytes();
            let z = bytes.get(2).copied().unwrap_or(0);
            if !suspect(bytes[0]) || harmless(bytes[0], bytes[1], z) {
                assert_eq!(nfc().get(c as u32), 0, "{c:?}");
            }
        }
    }
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3000))]

        #[test]
        fn what_is_called_nfc_does_not_change(
            text in "[a-é\u{300}-\u{330}中가\u{1100}-\u{11ff}\u{900}-\u{95f}\u{2126}🚀]{0,40}"
        ) {
            let normal: String = text.nfc().map(|c| c.0).collect();
            if is_nfc(&text) {
                prop_assert_eq!(&normal, &text);
            }
            let plain = is_nfc("a plain text, 中文，和别的。") && !is_nfc("e\u{301}");
            prop_assert!(plain);
            let n = normalize(&text);
            prop_assert_eq!(&n.text, &normal);
            let places: Vec<usize> = (0..=n.text.len()).map(|i| n.position(i)).collect();
            prop_assert!(places.is_sorted() && *places.last().unwrap() == text.len());
        }
    }

    #[test]
    fn harmless_characters_are() {
        for c in (0x3000..0x3020).chain(0xFF00..0xFF40) {
            assert_eq!(nfc().get(c), 0, "{c:x}");
        }
    }

    #[test]
    fn every_single_character_is_judged_rightly() {
        for c in '\0'..=char::MAX {
            let text = format!("a{c}b");
            let normal: String = text.nfc().map(|c| c.0).collect();
            assert!(!is_nfc(&text) || normal == text, "{c:?}");
        }
    }
}
