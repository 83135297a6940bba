//! Escapes in string literals of the template language.

use std::fmt::Write as _;

use crate::error::{Fault, Res};

/// Python's `unicode-escape` as Jinja2 applies it to string literals.
pub(crate) fn unescape(text: &str, at: u32) -> Res<String> {
    if !text.contains('\\') {
        return Ok(text.to_owned());
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(found) = rest.find('\\') {
        out.push_str(&rest[..found]);
        rest = &rest[found + 1..];
        let Some(c) = rest.chars().next() else {
            return Err(Fault::syntax("\\ at end of string", at));
        };
        rest = &rest[c.len_utf8()..];
        match c {
            '\n' => {}
            '\\' | '\'' | '"' => out.push(c),
            'a' => out.push('\x07'),
            'b' => out.push('\x08'),
            'f' => out.push('\x0c'),
            'n' => out.push('\n'),
            'r' => out.push('\r'),
            't' => out.push('\t'),
            'v' => out.push('\x0b'),
            '0'..='7' => {
                let more = rest
                    .bytes()
                    .take(2)
                    .take_while(|b| (b'0'..=b'7').contains(b))
                    .count();
                let digits = format!("{c}{}", &rest[..more]);
                rest = &rest[more..];
                let code = u32::from_str_radix(&digits, 8).unwrap_or(0);
                out.push(char::from_u32(code).unwrap_or('\u{fffd}'));
            }
            'x' => rest = hex_escape(rest, 2, &mut out, at)?,
            'u' => rest = hex_escape(rest, 4, &mut out, at)?,
            'U' => rest = hex_escape(rest, 8, &mut out, at)?,
            'N' => {
                let message = "named characters (\\N{...}) are not supported in string literals";
                return Err(Fault::syntax(message, at));
            }
            // The reference first writes non-ASCII characters as escapes, so that the
            // backslash before one escapes the escape's own backslash.
            c if !c.is_ascii() => {
                let code = c as u32;
                out.push('\\');
                let _ = match code {
                    0..=0xff => write!(out, "x{code:02x}"),
                    0x100..=0xffff => write!(out, "u{code:04x}"),
                    _ => write!(out, "U{code:08x}"),
                };
            }
            c => {
                out.push('\\');
                out.push(c);
            }
        }
    }
    out.push_str(rest);
    Ok(out)
}

fn hex_escape<'r>(rest: &'r str, len: usize, out: &mut String, at: u32) -> Res<&'r str> {
    let digits = rest
        .get(..len)
        .filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()));
    let code = digits.and_then(|text| u32::from_str_radix(text, 16).ok());
    match code.and_then(char::from_u32) {
        Some(c) => {
            out.push(c);
            Ok(&rest[len..])
        }
        None if code.is_some() => Err(Fault::syntax(
            "a lone surrogate in a string literal is not text",
            at,
        )),
        None => Err(Fault::syntax(
            "truncated or illegal escape in a string literal",
            at,
        )),
    }
}
