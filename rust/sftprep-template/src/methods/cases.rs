//! Letter case, character by character, so that every character keeps its origin.

use crate::error::Res;
use crate::eval::Interp;
use crate::text::{INEXACT, Str};
use crate::unicode::{is_cased, push_lower, push_title};
use crate::value::Value;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Case {
    Lower,
    Upper,
    Title,
    Capitalize,
    Swap,
    Fold,
}

impl<'t> Interp<'t> {
    pub(crate) fn change_case(&mut self, text: &Str<'t>, case: Case) -> Res<Value<'t>> {
        let whole = text.as_str();
        self.charge(whole.len())?;
        if unchanged(whole, case) {
            return Ok(Value::Str(text.clone()));
        }
        let mut out = self.buffer(whole.len());
        let mut after_cased = false;
        let mut first = true;
        let mut piece = String::new();
        text.each_run(|range, origin, _, tag| {
            for (at, c) in whole[range.clone()].char_indices() {
                let at = range.start + at;
                piece.clear();
                match case {
                    Case::Lower => push_lower(whole, at, c, &mut piece),
                    Case::Upper => piece.extend(c.to_uppercase()),
                    Case::Fold => fold(c, &mut piece),
                    Case::Title if after_cased => push_lower(whole, at, c, &mut piece),
                    Case::Capitalize if !first => push_lower(whole, at, c, &mut piece),
                    Case::Title | Case::Capitalize => push_title(c, &mut piece),
                    Case::Swap if c.is_uppercase() => push_lower(whole, at, c, &mut piece),
                    Case::Swap => piece.extend(c.to_uppercase()),
                }
                after_cased = is_cased(c);
                first = false;
                out.push(&piece, origin, INEXACT, tag);
            }
        });
        Ok(Value::Str(out.into_str().marked_safe(text.safe())))
    }
}

/// Nothing to do, in the common plain case.
fn unchanged(text: &str, case: Case) -> bool {
    match case {
        Case::Lower => text
            .bytes()
            .all(|b| b.is_ascii() && !b.is_ascii_uppercase()),
        Case::Upper => text
            .bytes()
            .all(|b| b.is_ascii() && !b.is_ascii_lowercase()),
        _ => false,
    }
}

/// Case folding, for the letters where it is not lower-casing.
fn fold(c: char, out: &mut String) {
    match c {
        'ß' | 'ẞ' => out.push_str("ss"),
        'ς' => out.push('σ'),
        'ﬀ' => out.push_str("ff"),
        'ﬁ' => out.push_str("fi"),
        'ﬂ' => out.push_str("fl"),
        'ﬃ' => out.push_str("ffi"),
        'ﬄ' => out.push_str("ffl"),
        'ﬅ' | 'ﬆ' => out.push_str("st"),
        'ŉ' => out.push_str("ʼn"),
        'ſ' => out.push('s'),
        _ => out.extend(c.to_lowercase()),
    }
}
