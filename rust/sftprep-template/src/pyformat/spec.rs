//! Format specifications: `[[fill]align][sign][#][0][width][grouping][.precision][type]`.

use super::float::{exponential, float_repr, general};
use super::percent::MAX_WIDTH;
use super::scalar_text;
use crate::error::{Fault, Res};
use crate::ops::{Num, number};
use crate::out::Out;
use crate::text::{INEXACT, LITERAL, Str};
use crate::value::Value;

#[derive(Default)]
struct Spec {
    fill: Option<char>,
    align: Option<char>,
    sign: Option<char>,
    alternate: bool,
    zero: bool,
    width: usize,
    grouping: Option<char>,
    precision: Option<usize>,
    kind: Option<char>,
}

fn invalid(spec: &str, value: &Value<'_>) -> Fault {
    Fault::value_error(format!(
        "invalid format specifier '{spec}' for object of type '{}'",
        value.type_name()
    ))
}

fn parse(text: &str, value: &Value<'_>) -> Res<Spec> {
    let chars: Vec<char> = text.chars().collect();
    let mut spec = Spec::default();
    let mut at = 0;
    let is_align = |c: Option<&char>| c.is_some_and(|c| matches!(c, '<' | '>' | '=' | '^'));
    if is_align(chars.get(1)) {
        spec.fill = Some(chars[0]);
        spec.align = Some(chars[1]);
        at = 2;
    } else if is_align(chars.first()) {
        spec.align = Some(chars[0]);
        at = 1;
    }
    if let Some(sign @ ('+' | '-' | ' ')) = chars.get(at) {
        spec.sign = Some(*sign);
        at += 1;
    }
    if chars.get(at) == Some(&'#') {
        spec.alternate = true;
        at += 1;
    }
    if chars.get(at) == Some(&'0') {
        spec.zero = true;
        at += 1;
    }
    let digits = |at: &mut usize| {
        let start = *at;
        while chars.get(*at).is_some_and(char::is_ascii_digit) {
            *at += 1;
        }
        chars[start..*at].iter().collect::<String>()
    };
    let width = digits(&mut at);
    spec.width = if width.is_empty() {
        0
    } else {
        width.parse().unwrap_or(usize::MAX)
    };
    if let Some(grouping @ (',' | '_')) = chars.get(at) {
        spec.grouping = Some(*grouping);
        at += 1;
    }
    if chars.get(at) == Some(&'.') {
        at += 1;
        let precision = digits(&mut at);
        spec.precision = Some(precision.parse().map_err(|_| invalid(text, value))?);
    }
    spec.kind = chars.get(at).copied();
    at += usize::from(spec.kind.is_some());
    if at != chars.len() {
        return Err(invalid(text, value));
    }
    if spec.width > MAX_WIDTH
        || spec
            .precision
            .is_some_and(|precision| precision > MAX_WIDTH)
    {
        return Err(Fault::value_error("width or precision too big"));
    }
    Ok(spec)
}

pub(super) fn apply_spec<'t>(value: &Value<'t>, text: &str, mut out: Out) -> Res<Str<'t>> {
    let spec = parse(text, value)?;
    let (body, numeric) = match value {
        Value::Str(string) => {
            if !matches!(spec.kind, None | Some('s')) || spec.align == Some('=') {
                return Err(invalid(text, value));
            }
            if spec.sign.is_some() || spec.alternate || spec.grouping.is_some() {
                return Err(invalid(text, value));
            }
            let end = spec
                .precision
                .and_then(|count| string.as_str().char_indices().nth(count))
                .map_or(string.len(), |(at, _)| at);
            (string.slice(0..end), false)
        }
        Value::Bool(flag, origin) if spec.kind.is_none() => {
            // A bool with a plain specification prints as its integer value would not: as text.
            let shown = if text.is_empty() {
                value_text(*flag)
            } else {
                u8::from(*flag).to_string()
            };
            (Str::made(shown, *origin), true)
        }
        Value::Int(..) | Value::Big(..) | Value::Float(..) | Value::Bool(..) => {
            let number = number_text(value, &spec).ok_or_else(|| invalid(text, value))?;
            (Str::made(number, value.origin()), true)
        }
        _ => {
            return Err(Fault::type_error(format!(
                "unsupported format string passed to {}.__format__",
                value.type_name()
            )));
        }
    };
    let missing = spec.width.saturating_sub(body.as_str().chars().count());
    let fill = spec.fill.unwrap_or(if spec.zero { '0' } else { ' ' });
    let default = match (numeric, spec.zero) {
        (true, true) => '=',
        (true, false) => '>',
        _ => '<',
    };
    let fills = |count: usize| fill.to_string().repeat(count);
    let (left, right, inner) = match spec.align.unwrap_or(default) {
        '<' => (0, missing, 0),
        '^' => (missing / 2, missing - missing / 2, 0),
        '=' => (0, 0, missing),
        _ => (missing, 0, 0),
    };
    out.push(&fills(left), LITERAL, INEXACT, 0);
    let sign = if inner > 0 {
        sign_len(body.as_str())
    } else {
        0
    };
    out.push_str(&body.slice(0..sign), 0);
    out.push(&fills(inner), LITERAL, INEXACT, 0);
    out.push_str(&body.slice(sign..body.len()), 0);
    out.push(&fills(right), LITERAL, INEXACT, 0);
    Ok(out.into_str())
}

fn value_text(flag: bool) -> String {
    if flag { "True" } else { "False" }.into()
}

fn sign_len(text: &str) -> usize {
    let sign = usize::from(text.starts_with(['+', '-', ' ']));
    let rest = &text[sign..];
    sign + if rest.starts_with("0x")
        || rest.starts_with("0b")
        || rest.starts_with("0o")
        || rest.starts_with("0X")
    {
        2
    } else {
        0
    }
}

fn number_text(value: &Value<'_>, spec: &Spec) -> Option<String> {
    let num = number(value)?;
    let text = match (num, spec.kind) {
        (Num::Int(_), None | Some('d' | 'n')) if spec.precision.is_none() => match value {
            Value::Bool(..) => i128_of(num)?.to_string(),
            _ => scalar_text(value)?.0.into_owned(),
        },
        (Num::Int(whole), Some(kind @ ('x' | 'X' | 'o' | 'b'))) if spec.precision.is_none() => {
            let size = whole.unsigned_abs();
            let sign = if whole < 0 { "-" } else { "" };
            let (prefix, digits) = match kind {
                'x' => ("0x", format!("{size:x}")),
                'X' => ("0X", format!("{size:X}")),
                'o' => ("0o", format!("{size:o}")),
                _ => ("0b", format!("{size:b}")),
            };
            format!("{sign}{}{digits}", if spec.alternate { prefix } else { "" })
        }
        (Num::Int(whole), Some('c')) => char::from_u32(u32::try_from(whole).ok()?)?.to_string(),
        (_, Some(kind @ ('e' | 'E' | 'f' | 'F' | 'g' | 'G' | '%'))) => {
            float_text(num.float(), kind, spec)
        }
        (Num::Float(float), Some('n')) => float_text(float, 'g', spec),
        (Num::Float(float), None) => match spec.precision {
            None => float_repr(float),
            Some(precision) => {
                let text = general(float, precision, spec.alternate, 'e');
                let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
                if plain { text + ".0" } else { text }
            }
        },
        _ => return None,
    };
    let text = match spec.grouping {
        Some(mark) => group(&text, mark),
        None => text,
    };
    Some(match spec.sign {
        Some(sign @ ('+' | ' ')) if !text.starts_with('-') => format!("{sign}{text}"),
        _ => text,
    })
}

fn i128_of(num: Num) -> Option<i128> {
    match num {
        Num::Int(value) => Some(value),
        Num::Float(_) => None,
    }
}

fn float_text(float: f64, kind: char, spec: &Spec) -> String {
    let precision = spec.precision.unwrap_or(6);
    let scaled = if kind == '%' { float * 100.0 } else { float };
    let mut text = if scaled.is_finite() {
        match kind.to_ascii_lowercase() {
            'e' => exponential(scaled, precision, 'e'),
            'g' => general(scaled, precision, spec.alternate, 'e'),
            _ => format!("{scaled:.precision$}"),
        }
    } else {
        float_repr(scaled)
    };
    if kind.is_ascii_uppercase() {
        text = text.to_uppercase();
    }
    if kind == '%' {
        text.push('%');
    }
    text
}

/// Groups the integer digits by three.
fn group(text: &str, mark: char) -> String {
    let start = usize::from(text.starts_with('-'));
    let end = text[start..]
        .find(|c: char| !c.is_ascii_digit())
        .map_or(text.len(), |e| start + e);
    let digits = &text[start..end];
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(mark);
        }
        grouped.push(digit);
    }
    format!("{}{grouped}{}", &text[..start], &text[end..])
}
