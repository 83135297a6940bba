//! Floating-point numbers as Python writes them.

/// `repr(float)`: the shortest digits that read back, with an exponent from 1e16 and below 1e-4.
pub(crate) fn float_repr(value: f64) -> String {
    if value.is_nan() {
        return "nan".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.into();
    }
    let shortest = format!("{value:e}");
    let (digits, exponent) = shortest.split_once('e').unwrap_or((&shortest, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let plain = format!("{value}");
        return if plain.contains('.') {
            plain
        } else {
            plain + ".0"
        };
    }
    with_exponent(digits, exponent, 'e')
}

/// Digits with an exponent of at least two places and a sign.
pub(super) fn with_exponent(digits: &str, exponent: i32, mark: char) -> String {
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}{mark}{sign}{:02}", exponent.abs())
}

/// `%e`.
pub(super) fn exponential(value: f64, precision: usize, mark: char) -> String {
    let text = format!("{value:.precision$e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    with_exponent(digits, exponent.parse().unwrap_or(0), mark)
}

/// `%g`: the shorter of fixed and exponential, trailing zeros dropped unless `keep`.
pub(super) fn general(value: f64, precision: usize, keep: bool, mark: char) -> String {
    let precision = precision.max(1);
    if value == 0.0 {
        let zero = if value.is_sign_negative() { "-0" } else { "0" };
        return if keep && precision > 1 {
            format!("{zero}.{}", "0".repeat(precision - 1))
        } else {
            zero.into()
        };
    }
    let text = format!("{value:.*e}", precision - 1);
    let exponent: i32 = text
        .split_once('e')
        .and_then(|(_, exponent)| exponent.parse().ok())
        .unwrap_or(0);
    if exponent < -4 || exponent >= precision as i32 {
        let digits = text
            .split_once('e')
            .map_or(text.as_str(), |(digits, _)| digits);
        let digits = if keep { digits } else { trim_zeros(digits) };
        return with_exponent(digits, exponent, mark);
    }
    let places = usize::try_from(precision as i32 - 1 - exponent).unwrap_or(0);
    let fixed = format!("{value:.places$}");
    if keep {
        fixed
    } else {
        trim_zeros(&fixed).to_owned()
    }
}

fn trim_zeros(digits: &str) -> &str {
    if !digits.contains('.') {
        return digits;
    }
    digits.trim_end_matches('0').trim_end_matches('.')
}
