//! Character classes and case mapping as CPython defines them.

use crate::unicode_tables::{NOT_PRINTABLE, TITLE};

/// `str.isspace` of one character: Unicode white space and the four ASCII separators.
pub(crate) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

/// Where `str.splitlines` breaks.
pub(crate) fn is_line_break(c: char) -> bool {
    matches!(c, '\n'..='\r' | '\x1c'..='\x1e' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

pub(crate) fn is_printable(c: char) -> bool {
    if (' '..='~').contains(&c) {
        return true;
    }
    let code = c as u32;
    let index = NOT_PRINTABLE.partition_point(|range| range.1 < code);
    NOT_PRINTABLE.get(index).is_none_or(|range| code < range.0)
}

/// A letter with case (upper, lower or title).
pub(crate) fn is_cased(c: char) -> bool {
    c.is_lowercase() || c.is_uppercase() || is_titlecase(c)
}

/// General category Lt.
fn is_titlecase(c: char) -> bool {
    matches!(c, '\u{1c5}' | '\u{1c8}' | '\u{1cb}' | '\u{1f2}')
        || matches!(c, '\u{1f88}'..='\u{1f8f}' | '\u{1f98}'..='\u{1f9f}' | '\u{1fa8}'..='\u{1faf}')
        || matches!(c, '\u{1fbc}' | '\u{1fcc}' | '\u{1ffc}')
}

/// Appends the title case of `c`.
pub(crate) fn push_title(c: char, out: &mut String) {
    match TITLE.binary_search_by_key(&c, |entry| entry.0) {
        Ok(index) => out.push_str(TITLE[index].1),
        Err(_) => out.extend(c.to_uppercase()),
    }
}

/// Appends the lower case of the character at byte `at` of `text` (final sigma needs context).
pub(crate) fn push_lower(text: &str, at: usize, c: char, out: &mut String) {
    if c == 'Σ' {
        out.push(if is_final_sigma(text, at) { 'ς' } else { 'σ' });
    } else {
        out.extend(c.to_lowercase());
    }
}

fn is_final_sigma(text: &str, at: usize) -> bool {
    let cased_first = |mut chars: Box<dyn Iterator<Item = char> + '_>| {
        chars.find(|c| !is_case_ignorable(*c)).is_some_and(is_cased)
    };
    cased_first(Box::new(text[..at].chars().rev()))
        && !cased_first(Box::new(text[at + 'Σ'.len_utf8()..].chars()))
}

/// The part of Case_Ignorable that occurs inside words: marks, apostrophes, joiners.
fn is_case_ignorable(c: char) -> bool {
    matches!(
        c,
        '\'' | '.' | ':' | '^' | '`' | '\u{a8}' | '\u{ad}' | '\u{af}' | '\u{b4}' | '\u{b7}'
    ) || matches!(c, '\u{b8}' | '\u{2b0}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{591}'..='\u{5bd}')
        || matches!(c, '\u{610}'..='\u{61a}' | '\u{64b}'..='\u{65f}' | '\u{200b}'..='\u{200f}')
        || matches!(
            c,
            '\u{2018}' | '\u{2019}' | '\u{2024}' | '\u{2027}' | '\u{202a}'..='\u{202e}'
        )
        || matches!(c, '\u{2060}'..='\u{2064}' | '\u{20d0}'..='\u{20f0}' | '\u{fe00}'..='\u{fe0f}')
        || matches!(c, '\u{1f3fb}'..='\u{1f3ff}' | '\u{e0100}'..='\u{e01ef}')
}

/// Decimal digits come in blocks of ten that start at these code points.
const ZEROS: [u32; 37] = [
    0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xde6,
    0xe50, 0xed0, 0xf20, 0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80, 0x1a90, 0x1b50,
    0x1bb0, 0x1c40, 0x1c50, 0xa620, 0xa8d0, 0xa900, 0xa9d0, 0xa9f0, 0xaa50, 0xabf0, 0xff10,
    0x104a0,
];

/// The digit value of a decimal character of any script.
pub(crate) fn decimal_value(c: char) -> Option<u32> {
    if let Some(digit) = c.to_digit(10) {
        return Some(digit);
    }
    let code = c as u32;
    ZEROS
        .iter()
        .find(|zero| (**zero..**zero + 10).contains(&code))
        .map(|zero| code - zero)
}
