//! `format % values`.

use super::float::{exponential, float_repr, general};
use crate::error::{Fault, Res};
use crate::eval::Interp;
use crate::ops::{Num, is_mapping, number, undefined_error};
use crate::out::Out;
use crate::text::{INEXACT, LITERAL, Origin, Str};
use crate::value::Value;

/// Widths and precisions beyond this are refused before they make text.
pub(super) const MAX_WIDTH: usize = 1 << 20;

#[derive(Default)]
struct Conversion {
    minus: bool,
    plus: bool,
    space: bool,
    zero: bool,
    alternate: bool,
    width: usize,
    precision: Option<usize>,
}

struct Values<'t> {
    items: Vec<Value<'t>>,
    next: usize,
}

impl<'t> Values<'t> {
    fn take(&mut self) -> Res<Value<'t>> {
        let value = self.items.get(self.next).cloned();
        self.next += 1;
        value.ok_or_else(|| Fault::type_error("not enough arguments for format string"))
    }

    fn take_star(&mut self) -> Res<i64> {
        crate::eval::index_value(&self.take()?).ok_or_else(|| Fault::type_error("* wants int"))
    }
}

impl<'t> Interp<'t> {
    pub(crate) fn percent(&mut self, format: &Str<'t>, values: &Value<'t>) -> Res<Value<'t>> {
        let items = match values {
            Value::Tuple(items) => items.as_ref().clone(),
            other => vec![other.clone()],
        };
        let mut values_left = Values { items, next: 0 };
        let whole = format.as_str();
        let mut out = self.buffer(whole.len() + 16);
        let mut at = 0;
        while let Some(found) = whole[at..].find('%') {
            out.push_str(&format.slice(at..at + found), 0);
            at += found + 1;
            at = self.one_percent(format, at, values, &mut values_left, &mut out)?;
            self.check_made(&out)?;
        }
        out.push_str(&format.slice(at..whole.len()), 0);
        let used_up = values_left.next >= values_left.items.len();
        // A mapping (or any other object with keys) may go unused.
        let keyed = is_mapping(values) || matches!(values.type_name(), "list" | "range");
        if !used_up && !keyed {
            let message = "not all arguments converted during string formatting";
            return Err(Fault::type_error(message));
        }
        self.charge(out.text.len())?;
        Ok(Value::Str(out.into_str().marked_safe(format.safe())))
    }

    fn one_percent(
        &mut self,
        format: &Str<'t>,
        mut at: usize,
        values: &Value<'t>,
        left: &mut Values<'t>,
        out: &mut Out,
    ) -> Res<usize> {
        let whole = format.as_str();
        let peek = |at: usize| whole[at..].chars().next();
        let mut keyed = None;
        if peek(at) == Some('(') {
            let Some(end) = whole[at..].find(')') else {
                return Err(Fault::value_error("incomplete format key"));
            };
            if !is_mapping(values) {
                return Err(undefined_error(values)
                    .unwrap_or_else(|| Fault::type_error("format requires a mapping")));
            }
            let key = Value::Str(format.slice(at + 1..at + end));
            let value = self.item(values, &key)?;
            if value.is_undefined() {
                return Err(Fault::value_error(format!(
                    "key '{}'",
                    &whole[at + 1..at + end]
                )));
            }
            keyed = Some(value);
            at += end + 1;
        }
        let mut conversion = Conversion::default();
        while let Some(flag) = peek(at) {
            match flag {
                '-' => conversion.minus = true,
                '+' => conversion.plus = true,
                ' ' => conversion.space = true,
                '0' => conversion.zero = true,
                '#' => conversion.alternate = true,
                _ => break,
            }
            at += 1;
        }
        if peek(at) == Some('*') {
            let width = left.take_star()?;
            conversion.minus |= width < 0;
            conversion.width = usize::try_from(width.unsigned_abs()).unwrap_or(usize::MAX);
            at += 1;
        } else {
            conversion.width = digits(whole, &mut at);
        }
        if peek(at) == Some('.') {
            at += 1;
            conversion.precision = Some(if peek(at) == Some('*') {
                at += 1;
                usize::try_from(left.take_star()?).unwrap_or(0)
            } else {
                digits(whole, &mut at)
            });
        }
        if conversion.width > MAX_WIDTH || conversion.precision.is_some_and(|p| p > MAX_WIDTH) {
            return Err(Fault::value_error("width or precision too big"));
        }
        while matches!(peek(at), Some('h' | 'l' | 'L')) {
            at += 1;
        }
        let Some(code) = peek(at) else {
            return Err(Fault::value_error("incomplete format"));
        };
        at += code.len_utf8();
        if code == '%' {
            out.literal("%", 0);
            return Ok(at);
        }
        let value = match keyed {
            Some(value) => {
                left.next = left.items.len();
                value
            }
            None => left.take()?,
        };
        self.convert(code, &value, &conversion, format.safe(), out)?;
        Ok(at)
    }

    fn convert(
        &mut self,
        code: char,
        value: &Value<'t>,
        conversion: &Conversion,
        safe: bool,
        out: &mut Out,
    ) -> Res<()> {
        match code {
            's' | 'r' | 'a' => {
                let mut made = self.buffer(16);
                match (code, value) {
                    ('s', _) => self.write_str(value, &mut made)?,
                    _ => self.write_repr(value, &mut made, 0)?,
                }
                let mut text = made.into_str();
                if code == 'a' && !text.as_str().is_ascii() {
                    return Err(Fault::value_error("%a of non-ASCII text is not supported"));
                }
                if let Some(precision) = conversion.precision {
                    let end = text
                        .as_str()
                        .char_indices()
                        .nth(precision)
                        .map_or(text.len(), |(at, _)| at);
                    text = text.slice(0..end);
                }
                let is_markup = matches!(value, Value::Str(text) if text.safe());
                if safe && !is_markup {
                    text = crate::markup::escape(&text, self.buffer(text.len()));
                }
                pad(&text, conversion, out);
                Ok(())
            }
            'c' => {
                let text = match value {
                    Value::Str(text) if text.as_str().chars().count() == 1 => text.clone(),
                    Value::Int(code, origin) => {
                        let c = u32::try_from(*code).ok().and_then(char::from_u32);
                        let c = c.ok_or_else(|| Fault::value_error("%c arg not in range"))?;
                        Str::made(c.to_string(), *origin)
                    }
                    _ => return Err(Fault::type_error("%c requires int or char")),
                };
                pad(&text, conversion, out);
                Ok(())
            }
            'd' | 'i' | 'u' | 'x' | 'X' | 'o' | 'e' | 'E' | 'f' | 'F' | 'g' | 'G' => {
                let Some(num) = number(value) else {
                    return Err(Fault::type_error(format!(
                        "%{code} format: a real number is required, not {}",
                        value.type_name()
                    )));
                };
                let text = percent_number(code, num, value, conversion)?;
                put_number(&text, value.origin(), conversion, out);
                Ok(())
            }
            _ => Err(Fault::value_error(format!(
                "unsupported format character '{code}'"
            ))),
        }
    }
}

fn digits(text: &str, at: &mut usize) -> usize {
    let count = text[*at..].bytes().take_while(u8::is_ascii_digit).count();
    let value = text[*at..*at + count]
        .parse()
        .unwrap_or(if count == 0 { 0 } else { usize::MAX });
    *at += count;
    value
}

fn percent_number(code: char, num: Num, value: &Value<'_>, conversion: &Conversion) -> Res<String> {
    let upper = code.is_ascii_uppercase();
    let text = match code.to_ascii_lowercase() {
        'd' | 'i' | 'u' => {
            let whole = match (num, value) {
                (_, Value::Big(digits, _)) => digits.to_string(),
                (Num::Int(whole), _) => whole.to_string(),
                (Num::Float(float), _) if float.is_finite() => format!("{:.0}", float.trunc()),
                _ => return Err(Fault::value_error("cannot convert float to integer")),
            };
            let whole = if whole == "-0" { "0".into() } else { whole };
            min_digits(&whole, conversion.precision)
        }
        'x' | 'o' => {
            let Num::Int(whole) = num else {
                return Err(Fault::type_error(format!(
                    "%{code} format: an integer is required, not float"
                )));
            };
            let sign = if whole < 0 { "-" } else { "" };
            let size = whole.unsigned_abs();
            let radix_x = code.eq_ignore_ascii_case(&'x');
            let digits = if radix_x {
                format!("{size:x}")
            } else {
                format!("{size:o}")
            };
            let digits = min_digits(&digits, conversion.precision);
            let prefix = match (conversion.alternate, radix_x) {
                (false, _) => "",
                (true, true) => "0x",
                (true, false) => "0o",
            };
            format!("{sign}{prefix}{digits}")
        }
        kind => {
            let float = num.float();
            let precision = conversion.precision.unwrap_or(6);
            if float.is_finite() {
                match kind {
                    'e' => exponential(float, precision, 'e'),
                    'f' => format!("{float:.precision$}"),
                    _ => general(float, precision, conversion.alternate, 'e'),
                }
            } else {
                float_repr(float)
            }
        }
    };
    let text = if upper { text.to_uppercase() } else { text };
    Ok(if text.starts_with('-') {
        text
    } else if conversion.plus {
        format!("+{text}")
    } else if conversion.space {
        format!(" {text}")
    } else {
        text
    })
}

fn min_digits(text: &str, precision: Option<usize>) -> String {
    let (sign, digits) = text
        .strip_prefix('-')
        .map_or(("", text), |rest| ("-", rest));
    let missing = precision.unwrap_or(0).saturating_sub(digits.len());
    format!("{sign}{}{digits}", "0".repeat(missing))
}

fn put_number(text: &str, origin: Origin, conversion: &Conversion, out: &mut Out) {
    let missing = conversion.width.saturating_sub(text.chars().count());
    if conversion.minus || !conversion.zero {
        pad(&Str::made(text.to_owned(), origin), conversion, out);
        return;
    }
    let prefix = text
        .find(|c: char| c.is_ascii_digit() || c.is_ascii_alphabetic())
        .unwrap_or(0);
    let prefix = prefix
        + if text[prefix..].starts_with("0x") || text[prefix..].starts_with("0X") {
            2
        } else {
            0
        };
    out.push(&text[..prefix], origin, INEXACT, 0);
    out.push(&"0".repeat(missing), LITERAL, INEXACT, 0);
    out.push(&text[prefix..], origin, INEXACT, 0);
}

fn pad(text: &Str<'_>, conversion: &Conversion, out: &mut Out) {
    let missing = conversion
        .width
        .saturating_sub(text.as_str().chars().count());
    let spaces = " ".repeat(missing);
    if !conversion.minus {
        out.literal(&spaces, 0);
    }
    out.push_str(text, 0);
    if conversion.minus {
        out.literal(&spaces, 0);
    }
}
