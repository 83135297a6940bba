//! The way that almost every row takes: one JSON text to [`Data`] without a word about what is
//! wrong with it.
//!
//! It takes exactly the texts that [`super::Reader`] takes and makes the same of them, or nothing:
//! then that one reads the text again and says why. What it saves is half of the instructions: the
//! text is checked once for what a string must not hold (no UTF-8, control characters), so that
//! strings end at the next quote or backslash, which is searched for eight bytes at a time; objects
//! and arrays are gathered on stacks and get memory once, of their size.

use std::sync::Arc;

use memchr::memchr2;
use sftprep_template::{Data, Map};

use super::{JsonNotes, MAX_DEPTH, StringCache, number};

/// What is kept between texts.
#[derive(Debug, Default)]
pub(super) struct Stacks {
    /// A string with escapes, in plain.
    plain: String,
    items: Vec<Data>,
    entries: Vec<(Arc<str>, Data)>,
}

/// Reads one JSON text, if nothing is wrong with it.
pub(super) fn parse(bytes: &[u8], notes: &mut JsonNotes) -> Option<Data> {
    let text = std::str::from_utf8(bytes).ok()?;
    let stacks = &mut notes.stacks;
    stacks.items.clear();
    stacks.entries.clear();
    let mut reader = Reader {
        text,
        at: 0,
        controls: bytes.iter().fold(u8::MAX, |least, byte| least.min(*byte)) < b' ',
        strings: &mut notes.strings,
        stacks,
        duplicate_keys: 0,
    };
    let first = reader.next()?;
    let value = reader.value(first, 0)?;
    if reader.next().is_some() {
        return None;
    }
    let duplicates = reader.duplicate_keys;
    notes.duplicate_keys += duplicates;
    Some(value)
}

struct Reader<'j, 'n> {
    text: &'j str,
    at: usize,
    /// Whether the text has a control character, which must not be in a string.
    controls: bool,
    strings: &'n mut StringCache,
    stacks: &'n mut Stacks,
    duplicate_keys: u64,
}

impl Reader<'_, '_> {
    /// The byte behind white space, which stays the next one.
    #[inline]
    fn next(&mut self) -> Option<u8> {
        loop {
            match self.text.as_bytes().get(self.at)? {
                b' ' | b'\n' | b'\r' | b'\t' => self.at += 1,
                byte => return Some(*byte),
            }
        }
    }

    fn value(&mut self, first: u8, depth: u32) -> Option<Data> {
        match first {
            b'"' => self.string().map(Data::Str),
            b'{' => self.object(depth + 1),
            b'[' => self.array(depth + 1),
            b'n' => self.word("null", Data::Null),
            b't' => self.word("true", Data::Bool(true)),
            b'f' => self.word("false", Data::Bool(false)),
            _ => self.number(),
        }
    }

    fn word(&mut self, word: &str, value: Data) -> Option<Data> {
        let rest = self.text.as_bytes().get(self.at..)?;
        self.at += word.len();
        rest.starts_with(word.as_bytes()).then_some(value)
    }

    fn array(&mut self, depth: u32) -> Option<Data> {
        if depth > MAX_DEPTH {
            return None;
        }
        let below = self.stacks.items.len();
        self.at += 1;
        let mut first = self.next()?;
        if first != b']' {
            loop {
                let item = self.value(first, depth)?;
                self.stacks.items.push(item);
                match self.next()? {
                    b',' => self.at += 1,
                    b']' => break,
                    _ => return None,
                }
                first = self.next()?;
            }
        }
        self.at += 1;
        Some(Data::List(self.stacks.items.drain(below..).collect()))
    }

    fn object(&mut self, depth: u32) -> Option<Data> {
        if depth > MAX_DEPTH {
            return None;
        }
        let below = self.stacks.entries.len();
        self.at += 1;
        if self.next()? != b'}' {
            loop {
                if self.next()? != b'"' {
                    return None;
                }
                let key = self.string()?;
                if self.next()? != b':' {
                    return None;
                }
                self.at += 1;
                let first = self.next()?;
                let value = self.value(first, depth)?;
                self.stacks.entries.push((key, value));
                match self.next()? {
                    b',' => self.at += 1,
                    b'}' => break,
                    _ => return None,
                }
            }
        }
        self.at += 1;
        let entries = self.stacks.entries.drain(below..).collect();
        let (map, replaced) = Map::from_entries_last_wins(entries);
        self.duplicate_keys += replaced as u64;
        Some(Data::Map(map))
    }

    fn number(&mut self) -> Option<Data> {
        let bytes = self.text.as_bytes();
        let digits = |from: usize| {
            let rest = bytes.get(from..).unwrap_or_default();
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit());
            digits.count()
        };
        let start = self.at;
        let mut at = start + usize::from(bytes.get(start) == Some(&b'-'));
        let whole = digits(at);
        if whole == 0 || whole > 1 && bytes[at] == b'0' {
            return None;
        }
        at += whole;
        if bytes.get(at) == Some(&b'.') {
            let fraction = digits(at + 1);
            if fraction == 0 {
                return None;
            }
            at += 1 + fraction;
        }
        if let Some(b'e' | b'E') = bytes.get(at) {
            at += 1 + usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
            let exponent = digits(at);
            if exponent == 0 {
                return None;
            }
            at += exponent;
        }
        self.at = at;
        number(&self.text[start..at])
    }

    /// A string whose quote is the next byte.
    fn string(&mut self) -> Option<Arc<str>> {
        let start = self.at + 1;
        let end = self.special(start)?;
        self.at = end + 1;
        if self.text.as_bytes()[end] == b'"' {
            return Some(self.strings.get(&self.text[start..end]));
        }
        self.escaped(start, end)
    }

    /// The rest of a string that begins at `start` and has its first escape at `escape`.
    fn escaped(&mut self, start: usize, escape: usize) -> Option<Arc<str>> {
        let bytes = self.text.as_bytes();
        self.stacks.plain.clear();
        self.stacks.plain.push_str(&self.text[start..escape]);
        let mut at = escape;
        while bytes[at] == b'\\' {
            let (char, behind) = self.escape(at + 1)?;
            at = self.special(behind)?;
            let plain = &mut self.stacks.plain;
            plain.push(char);
            plain.push_str(&self.text[behind..at]);
        }
        self.at = at + 1;
        Some(self.strings.get(&self.stacks.plain))
    }

    /// The place of the quote or backslash that follows, if what is before it may be in a string.
    #[inline]
    fn special(&self, from: usize) -> Option<usize> {
        let rest = self.text.as_bytes().get(from..)?;
        let mut at = 0;
        // a call that looks further costs as much as four words
        let at = loop {
            match rest[at..].first_chunk::<8>().map(|word| specials(*word)) {
                Some(0) if at < 24 => at += 8,
                Some(found) if found != 0 => break at + found.trailing_zeros() as usize / 8,
                _ => break at + memchr2(b'"', b'\\', &rest[at..])?,
            }
        };
        let bad = self.controls && rest[..at].iter().any(|byte| *byte < b' ');
        (!bad).then_some(from + at)
    }

    /// The character of an escape, `at` being that behind the backslash, and where it ends.
    fn escape(&self, at: usize) -> Option<(char, usize)> {
        let plain = match self.text.as_bytes().get(at)? {
            b'n' => '\n',
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b't' => '\t',
            b'r' => '\r',
            b'b' => '\x08',
            b'f' => '\x0c',
            b'u' => return self.code_point(at),
            _ => return None,
        };
        Some((plain, at + 1))
    }

    /// The character of `u` and four digits at `at`, or of a pair of those.
    fn code_point(&self, at: usize) -> Option<(char, usize)> {
        let high = self.hex(at)?;
        let behind = at + 5;
        if !(0xd800..0xdc00).contains(&high) {
            return Some((char::from_u32(high)?, behind));
        }
        let low = (self.text.as_bytes().get(behind)? == &b'\\').then(|| self.hex(behind + 1))??;
        let low = (0xdc00..0xe000).contains(&low).then(|| low - 0xdc00)?;
        let char = char::from_u32(0x1_0000 + ((high - 0xd800) << 10) + low)?;
        Some((char, behind + 6))
    }

    /// The number of `u` and four hexadecimal digits.
    fn hex(&self, at: usize) -> Option<u32> {
        let digits = self.text.as_bytes().get(at..at + 5)?.strip_prefix(b"u")?;
        let digit = |number: u32, byte: &u8| Some(number << 4 | char::from(*byte).to_digit(16)?);
        digits.iter().try_fold(0, digit)
    }
}

/// Marks with its high bit the first byte of eight, in order, that is a quote or a backslash; bytes
/// behind that one may be marked wrongly.
#[inline]
fn specials(word: [u8; 8]) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    let word = u64::from_le_bytes(word);
    let zero = |xored: u64| xored.wrapping_sub(ONES) & !xored;
    let quote = zero(word ^ (ONES * u64::from(b'"')));
    let backslash = zero(word ^ (ONES * u64::from(b'\\')));
    (quote | backslash) & (ONES << 7)
}
