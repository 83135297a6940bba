//! Words of a text, as hashes with their place: what every comparison in this crate is made of.
//!
//! A word is a run of letters, digits and `_`, in lower case. A sign that can change the meaning
//! (`+`, `-`, `*`, `/`, `=`, `<`, `%`, `$`, an emoji, …) is a word of its own, so that `2 + 3` and
//! `2 - 3` differ. White space, sentence punctuation, quotes and brackets only separate words.
//! A character of a script that is written without spaces (Chinese, Japanese, Thai, Lao, Khmer,
//! Burmese) is a word of its own.

/// A word of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word {
    /// Hash of the word in lower case.
    pub hash: u64,
    /// Byte offset of its start.
    pub start: u32,
    /// Byte offset of its end.
    pub end: u32,
}

const SEED: u64 = 0x9e37_79b9_7f4a_7c15;
const STEP: u64 = 0x2127_599b_f432_5c37;

/// What an ASCII byte is.
const GAP: u8 = 0;
const LETTER: u8 = 1;
const SIGN: u8 = 2;
const OTHER: u8 = 3;

const CLASS: [u8; 256] = {
    let mut table = [GAP; 256];
    let mut byte = 0;
    while byte < 256 {
        let c = byte as u8;
        table[byte] = match c {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' => LETTER,
            b'+' | b'-' | b'*' | b'/' | b'=' | b'<' | b'>' | b'%' | b'$' | b'#' | b'&' | b'|'
            | b'^' | b'~' | b'@' | b'\\' => SIGN,
            0x80.. => OTHER,
            _ => GAP,
        };
        byte += 1;
    }
    table
};

const LOWER: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).to_ascii_lowercase();
        byte += 1;
    }
    table
};

#[inline]
fn absorb(hash: u64, byte: u8) -> u64 {
    (hash ^ u64::from(byte)).wrapping_mul(STEP)
}

#[inline]
pub(crate) fn finish(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 32)).wrapping_mul(SEED);
    hash ^ (hash >> 29)
}

/// Puts the words of `text` into `out`, which is emptied first.
///
/// Texts beyond 4 GiB are cut there; no reader of rows hands out such a row.
pub fn words(text: &str, out: &mut Vec<Word>) {
    out.clear();
    let bytes = text.as_bytes();
    let bytes = &bytes[..bytes.len().min(u32::MAX as usize)];
    let mut at = 0;
    while at < bytes.len() {
        match CLASS[bytes[at] as usize] {
            GAP => at += 1,
            SIGN => {
                out.push(word(finish(absorb(SEED, bytes[at])), at, at + 1));
                at += 1;
            }
            LETTER => {
                let start = at;
                let mut hash = SEED;
                while at < bytes.len() && CLASS[bytes[at] as usize] == LETTER {
                    hash = absorb(hash, LOWER[bytes[at] as usize]);
                    at += 1;
                }
                if at < bytes.len() && bytes[at] >= 0x80 {
                    at = mixed(text, start, out);
                } else {
                    out.push(word(finish(hash), start, at));
                }
            }
            _ => at = mixed(text, at, out),
        }
    }
}

fn word(hash: u64, start: usize, end: usize) -> Word {
    Word {
        hash,
        start: start as u32,
        end: end as u32,
    }
}

/// The word at `start` where a character beyond ASCII takes part; returns where it ends.
fn mixed(text: &str, start: usize, out: &mut Vec<Word>) -> usize {
    let mut hash = SEED;
    let mut utf8 = [0; 4];
    let mut end = start;
    for c in text[start..].chars() {
        let next = end + c.len_utf8();
        match class(c) {
            LETTER => {
                for lower in c.to_lowercase() {
                    for byte in lower.encode_utf8(&mut utf8).bytes() {
                        hash = absorb(hash, byte);
                    }
                }
                end = next;
            }
            kind => {
                if end > start {
                    break; // the word ends here, and this character is looked at next
                }
                if kind == SIGN {
                    for byte in c.encode_utf8(&mut utf8).bytes() {
                        hash = absorb(hash, byte);
                    }
                    out.push(word(finish(hash), start, next));
                }
                return next;
            }
        }
    }
    out.push(word(finish(hash), start, end));
    end
}

fn class(c: char) -> u8 {
    if c.is_ascii() {
        return CLASS[c as usize];
    }
    match u32::from(c) {
        // general punctuation, CJK punctuation, full-width forms of ASCII punctuation, no-break
        // space and quotes of Latin-1, the byte order mark
        0x2000..=0x206f
        | 0x3000..=0x3004
        | 0x3008..=0x3020
        | 0xff01..=0xff0f
        | 0xff1a..=0xff20
        | 0xff3b..=0xff40
        | 0xff5b..=0xff65
        | 0x80..=0xa0
        | 0xa1
        | 0xab
        | 0xad
        | 0xb7
        | 0xbb
        | 0xbf
        | 0xfeff => GAP,
        // scripts without spaces between words
        0x0e00..=0x0eff
        | 0x1000..=0x109f
        | 0x1780..=0x17ff
        | 0x3005..=0x3007
        | 0x3040..=0x30ff
        | 0x3400..=0x4dbf
        | 0x4e00..=0x9fff
        | 0xf900..=0xfaff
        | 0x20000..=0x3ffff => SIGN,
        _ if c.is_alphanumeric() => LETTER,
        _ if c.is_whitespace() || c.is_control() => GAP,
        _ => SIGN,
    }
}

/// Hash of the text without differences of letter case, white space and the shape of quotes.
///
/// Everything else counts, punctuation and brackets too: two texts of equal hash say the same.
pub(crate) fn normal_hash(text: &str, scratch: &mut Vec<u8>) -> u128 {
    scratch.clear();
    let mut gap = false;
    let mut utf8 = [0; 4];
    for c in text.chars() {
        if c.is_whitespace() {
            gap = !scratch.is_empty();
            continue;
        }
        if gap {
            scratch.push(b' ');
            gap = false;
        }
        match c {
            c if c.is_ascii() => scratch.push(LOWER[c as usize]),
            '\u{2018}' | '\u{2019}' => scratch.push(b'\''),
            '\u{201c}' | '\u{201d}' => scratch.push(b'"'),
            c => {
                for lower in c.to_lowercase() {
                    scratch.extend_from_slice(lower.encode_utf8(&mut utf8).as_bytes());
                }
            }
        }
    }
    xxhash_rust::xxh3::xxh3_128(scratch)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<&str> {
        let mut out = Vec::new();
        words(text, &mut out);
        out.iter()
            .map(|word| &text[word.start as usize..word.end as usize])
            .collect()
    }

    #[test]
    fn words_are_letters_and_signs() {
        assert_eq!(shown("Don't panic, 42!"), ["Don", "t", "panic", "42"]);
        assert_eq!(shown("2+3 = x_1"), ["2", "+", "3", "=", "x_1"]);
        assert_eq!(shown("naïve café—“Ωmega”"), ["naïve", "café", "Ωmega"]);
        assert_eq!(shown("我爱你。abc猫"), ["我", "爱", "你", "abc", "猫"]);
        assert_eq!(shown("ok 👍"), ["ok", "👍"]);
        assert!(shown(" \u{feff}…?!\u{a0}").is_empty());
    }

    #[test]
    fn case_does_not_count_and_letters_do() {
        let hash = |text: &str| {
            let mut out = Vec::new();
            words(text, &mut out);
            out.iter().map(|word| word.hash).collect::<Vec<_>>()
        };
        assert_eq!(hash("ÉCOLE Über"), hash("école über"));
        assert_ne!(hash("ab"), hash("ba"));
        assert_eq!(hash("abcé")[0], hash("ABCÉ")[0]);
    }

    #[test]
    fn normal_form_keeps_punctuation() {
        let mut scratch = Vec::new();
        let mut hash = |text: &str| normal_hash(text, &mut scratch);
        assert_eq!(hash(" It’s\n\tFINE. "), hash("it's fine."));
        assert_ne!(hash("[1, 2]"), hash("(1, 2)"));
        assert_ne!(hash("a b"), hash("ab"));
        assert_eq!(hash("  "), hash(""));
    }
}
