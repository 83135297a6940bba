//! Filters on numbers.

use super::Filter;
use crate::error::{Fault, Res};
use crate::eval::{Interp, args_error, with_origin};
use crate::methods::int_arg;
use crate::ops::{Num, number, undefined_error};
use crate::text::{LITERAL, Origin};
use crate::unicode::{decimal_value, is_space};
use crate::value::{CallArgs, Value};

impl<'t> Interp<'t> {
    pub(super) fn number_filter(
        &mut self,
        filter: Filter,
        value: &Value<'t>,
        args: CallArgs<'t>,
    ) -> Res<Value<'t>> {
        if let Value::Str(text) = value {
            // Reading a number looks at its text several times.
            self.scan(text.len().saturating_mul(16))?;
        }
        let name = filter.name();
        let origin = value.origin();
        let wrong = || {
            undefined_error(value).unwrap_or_else(|| {
                Fault::type_error(format!("{name} needs a number, not {}", value.type_name()))
            })
        };
        match filter {
            Filter::Abs => {
                args.none(name)?;
                match value {
                    Value::Int(number, _) => number
                        .checked_abs()
                        .map(|number| Value::Int(number, origin))
                        .ok_or_else(|| Fault::value_error("integer overflow")),
                    Value::Bool(flag, _) => Ok(Value::Int(i64::from(*flag), origin)),
                    Value::Float(number, _) => Ok(Value::Float(number.abs(), origin)),
                    Value::Big(digits, _) => {
                        Ok(Value::Big(digits.trim_start_matches('-').into(), origin))
                    }
                    _ => Err(wrong()),
                }
            }
            Filter::Int => {
                let [default, base] = args.bind(name, ["default", "base"])?;
                let base = base.map_or(Ok(10), |base| int_arg(&base, name))?;
                let default = default.unwrap_or_else(|| Value::int(0));
                to_int(value, base, origin).map_or_else(|| undefined_or(value, default), Ok)
            }
            Filter::Float => {
                let [default] = args.bind(name, ["default"])?;
                let default = default.unwrap_or(Value::Float(0.0, LITERAL));
                to_float(value)
                    .map(|number| Value::Float(number, origin))
                    .map_or_else(|| undefined_or(value, default), Ok)
            }
            Filter::Round => self.round(value, args),
            Filter::FileSizeFormat => {
                let [binary] = args.bind(name, ["binary"])?;
                let binary = binary.is_some_and(|value| value.is_true());
                let bytes = to_float(value).ok_or_else(wrong)?;
                Ok(Value::text(file_size(bytes, binary), origin))
            }
            _ => {
                let [attribute, start] = args.bind(name, ["attribute", "start"])?;
                let path = match attribute {
                    None | Some(Value::None(_)) => Vec::new(),
                    Some(attribute) => self.attribute_path(&attribute)?,
                };
                let mut sum = start.unwrap_or_else(|| Value::int(0));
                if matches!(sum, Value::Str(_)) {
                    return Err(Fault::type_error("sum() can't sum strings"));
                }
                for item in self.collect(value)? {
                    let item = self.follow(&item, &path, None)?;
                    sum = self.add_values(&sum, &item)?;
                }
                Ok(sum)
            }
        }
    }

    fn round(&mut self, value: &Value<'t>, args: CallArgs<'t>) -> Res<Value<'t>> {
        let [precision, method] = args.bind("round", ["precision", "method"])?;
        let precision = precision.map_or(Ok(0), |value| int_arg(&value, "round"))?;
        let method = method.map_or("common".to_owned(), |method| {
            method.as_text().unwrap_or("").to_owned()
        });
        let Some(num) = number(value) else {
            return Err(undefined_error(value).unwrap_or_else(|| {
                Fault::type_error(format!("round needs a number, not {}", value.type_name()))
            }));
        };
        let places = i32::try_from(precision.clamp(-400, 400)).unwrap_or(0);
        let made = match (method.as_str(), num) {
            ("common", Num::Int(_)) if places >= 0 => match value {
                Value::Bool(flag, _) => Value::int(i64::from(*flag)),
                _ => value.clone(),
            },
            ("common", Num::Int(whole)) => {
                Value::int(i64::try_from(round_int(whole, places.unsigned_abs())).unwrap_or(0))
            }
            ("common", Num::Float(float)) => Value::Float(round_float(float, places), LITERAL),
            ("ceil" | "floor", num) => {
                let scale = 10_f64.powi(places);
                let scaled = num.float() * scale;
                let whole = if method == "ceil" {
                    scaled.ceil()
                } else {
                    scaled.floor()
                };
                Value::Float(whole / scale, LITERAL)
            }
            _ => return Err(args_error("round", "method must be common, ceil or floor")),
        };
        Ok(with_origin(made, value.origin()))
    }
}

/// What remains when a conversion fails: the default, unless the value refuses all use.
fn undefined_or<'t>(value: &Value<'t>, default: Value<'t>) -> Res<Value<'t>> {
    match undefined_error(value) {
        Some(fault) => Err(fault),
        None => Ok(default),
    }
}

fn round_int(whole: i128, places: u32) -> i128 {
    let Some(unit) = 10_i128.checked_pow(places) else {
        return 0;
    };
    let (quotient, rest) = (whole.div_euclid(unit), whole.rem_euclid(unit));
    let up = rest * 2 > unit || (rest * 2 == unit && quotient % 2 != 0);
    (quotient + i128::from(up)) * unit
}

/// Python's round: correct to the last digit, halves to even in decimal.
fn round_float(value: f64, places: i32) -> f64 {
    if !value.is_finite() {
        return value;
    }
    if places >= 0 {
        return format!("{value:.*}", places as usize)
            .parse()
            .unwrap_or(value);
    }
    let unit = 10_f64.powi(-places);
    let scaled = value / unit;
    let rounded = scaled.round();
    let even = if (scaled - scaled.trunc()).abs() == 0.5 {
        2.0 * (scaled / 2.0).round()
    } else {
        rounded
    };
    even * unit
}

fn clean_digits(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut after_digit = false;
    for c in text.chars() {
        if c == '_' {
            if !after_digit {
                return None;
            }
            after_digit = false;
            continue;
        }
        match decimal_value(c) {
            Some(digit) if !c.is_ascii() => out.extend(char::from_digit(digit, 10)),
            _ => out.push(c),
        }
        after_digit = c.is_alphanumeric();
    }
    (after_digit || out.ends_with('.')).then_some(out)
}

fn to_int<'t>(value: &Value<'t>, base: i64, origin: Origin) -> Option<Value<'t>> {
    let from_float = |float: f64| {
        float.is_finite().then(|| {
            let whole = float.trunc();
            if whole.abs() < 9.2e18 {
                Value::Int(whole as i64, origin)
            } else {
                Value::Big(format!("{whole:.0}").into(), origin)
            }
        })
    };
    match value {
        Value::Str(text) => {
            let trimmed = text.as_str().trim_matches(is_space);
            parse_int(trimmed, base, origin).or_else(|| from_float(parse_float(trimmed)?))
        }
        Value::Bool(flag, _) => Some(Value::Int(i64::from(*flag), origin)),
        Value::Int(..) | Value::Big(..) => Some(value.clone()),
        Value::Float(float, _) => from_float(*float),
        _ => None,
    }
}

fn parse_int<'t>(text: &str, base: i64, origin: Origin) -> Option<Value<'t>> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let lower = digits.to_lowercase();
    let (radix, digits) = match (base, lower.get(..2)) {
        (16 | 0, Some("0x")) => (16, &digits[2..]),
        (8 | 0, Some("0o")) => (8, &digits[2..]),
        (2 | 0, Some("0b")) => (2, &digits[2..]),
        (0, _) => (10, digits),
        (radix @ 2..=36, _) => (u32::try_from(radix).ok()?, digits),
        _ => return None,
    };
    let digits = clean_digits(digits)?;
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    let signed = format!("{}{digits}", if negative { "-" } else { "" });
    match i64::from_str_radix(&signed, radix) {
        Ok(number) => Some(Value::Int(number, origin)),
        Err(_) if radix == 10 => {
            let digits = digits.trim_start_matches('0');
            Some(Value::Big(
                format!("{}{digits}", if negative { "-" } else { "" }).into(),
                origin,
            ))
        }
        Err(_) => None,
    }
}

fn parse_float(text: &str) -> Option<f64> {
    let lower = text.to_lowercase();
    let unsigned = lower.strip_prefix(['+', '-']).unwrap_or(&lower);
    if matches!(unsigned, "nan" | "inf" | "infinity") {
        return lower.parse().ok();
    }
    if !unsigned.starts_with(|c: char| c == '.' || decimal_value(c).is_some()) {
        return None;
    }
    clean_digits(&lower)?.parse().ok()
}

fn to_float(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::Str(text) => parse_float(text.as_str().trim_matches(is_space)),
        _ => number(value).map(Num::float),
    }
}

fn file_size(bytes: f64, binary: bool) -> String {
    let base: f64 = if binary { 1024.0 } else { 1000.0 };
    let prefixes = if binary {
        ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"]
    } else {
        ["kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"]
    };
    if bytes == 1.0 {
        return "1 Byte".into();
    }
    if bytes < base {
        return format!("{} Bytes", bytes.trunc());
    }
    let mut unit = base * base;
    let mut prefix = prefixes[0];
    for name in prefixes {
        prefix = name;
        if bytes < unit {
            break;
        }
        unit *= base;
    }
    let unit = if prefix == "YB" || prefix == "YiB" {
        unit.min(base.powi(9))
    } else {
        unit
    };
    format!("{:.1} {prefix}", base * bytes / unit)
}
