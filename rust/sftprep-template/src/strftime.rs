//! `datetime.strftime` as Python has it on Linux, in the C locale.

use std::fmt::Write as _;

use crate::clock::Clock;
use crate::error::{Fault, Res};

const DAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

pub(crate) fn strftime(clock: Clock, format: &str) -> Res<String> {
    let mut out = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let Some(mut code) = chars.next() else {
            out.push('%');
            break;
        };
        let mut flag = None;
        if matches!(code, '-' | '_' | '0' | '^' | '#') {
            flag = Some(code);
            if let Some(next) = chars.next() {
                code = next;
            } else {
                out.push('%');
                out.push(code);
                break;
            }
        }
        directive(clock, flag, code, &mut out)?;
        if out.len() > 1 << 16 {
            return Err(Fault::value_error("strftime_now() format is too long"));
        }
    }
    Ok(out)
}

fn number(out: &mut String, flag: Option<char>, value: i64, width: usize, pad: char) {
    let pad = match flag {
        Some('-') => None,
        Some('_') => Some(' '),
        Some('0') => Some('0'),
        _ => Some(pad),
    };
    if pad == Some('0') && width == 2 && (0..100).contains(&value) {
        // Days and months, without the machinery of formatting.
        out.extend([value / 10, value % 10].map(|digit| char::from(b'0' + digit as u8)));
        return;
    }
    let _ = match pad {
        None => write!(out, "{value}"),
        Some(' ') => write!(out, "{value:>width$}"),
        Some(_) => write!(out, "{value:0>width$}"),
    };
}

fn word(out: &mut String, flag: Option<char>, text: &str) {
    match flag {
        Some('^') => out.push_str(&text.to_uppercase()),
        Some('#') if text == "AM" || text == "PM" => out.push_str(&text.to_lowercase()),
        Some('#') => out.push_str(&text.to_uppercase()),
        _ => out.push_str(text),
    }
}

fn directive(clock: Clock, flag: Option<char>, code: char, out: &mut String) -> Res<()> {
    let year = i64::from(clock.year);
    let weekday = clock.weekday();
    let hour12 = (i64::from(clock.hour) + 11) % 12 + 1;
    let half = if clock.hour < 12 { "AM" } else { "PM" };
    let month = MONTHS[usize::from(clock.month.clamp(1, 12)) - 1];
    let day = DAYS[weekday as usize];
    let mut num = |value: i64, width: usize, pad: char| number(out, flag, value, width, pad);
    match code {
        'Y' => num(year, 4, '0'),
        'C' => num(year / 100, 2, '0'),
        'y' => num(year % 100, 2, '0'),
        'm' => num(i64::from(clock.month), 2, '0'),
        'd' => num(i64::from(clock.day), 2, '0'),
        'e' => num(i64::from(clock.day), 2, ' '),
        'H' => num(i64::from(clock.hour), 2, '0'),
        'k' => num(i64::from(clock.hour), 2, ' '),
        'I' => num(hour12, 2, '0'),
        'l' => num(hour12, 2, ' '),
        'M' => num(i64::from(clock.minute), 2, '0'),
        'S' => num(i64::from(clock.second), 2, '0'),
        'j' => num(clock.yearday(), 3, '0'),
        'w' => num(i64::from(weekday), 1, '0'),
        'u' => num(i64::from((weekday + 6) % 7 + 1), 1, '0'),
        'U' => num((clock.yearday() + 6 - i64::from(weekday)) / 7, 2, '0'),
        'W' => num(
            (clock.yearday() + 6 - i64::from((weekday + 6) % 7)) / 7,
            2,
            '0',
        ),
        'V' => num(iso_week(clock).1, 2, '0'),
        'G' => num(iso_week(clock).0, 4, '0'),
        'g' => num(iso_week(clock).0 % 100, 2, '0'),
        // The caller's clock counts whole seconds and has no time zone.
        'f' => out.push_str("000000"),
        'z' | 'Z' => {}
        's' => num(
            clock.days() * 86_400
                + i64::from(clock.hour) * 3_600
                + i64::from(clock.minute) * 60
                + i64::from(clock.second),
            1,
            '0',
        ),
        'a' => word(out, flag, &day[..3]),
        'A' => word(out, flag, day),
        'b' | 'h' => word(out, flag, &month[..3]),
        'B' => word(out, flag, month),
        'p' => word(out, flag, half),
        'P' => out.push_str(&half.to_lowercase()),
        'n' => out.push('\n'),
        't' => out.push('\t'),
        '%' => out.push('%'),
        'D' | 'x' => out.push_str(&strftime(clock, "%m/%d/%y")?),
        'F' => out.push_str(&strftime(clock, "%Y-%m-%d")?),
        'T' | 'X' => out.push_str(&strftime(clock, "%H:%M:%S")?),
        'R' => out.push_str(&strftime(clock, "%H:%M")?),
        'r' => out.push_str(&strftime(clock, "%I:%M:%S %p")?),
        'c' => out.push_str(&strftime(clock, "%a %b %e %H:%M:%S %Y")?),
        _ => {
            out.push('%');
            out.extend(flag);
            out.push(code);
        }
    }
    Ok(())
}

/// ISO year and week.
fn iso_week(clock: Clock) -> (i64, i64) {
    let year = i64::from(clock.year);
    let weekday = i64::from((clock.weekday() + 6) % 7);
    let week = (clock.yearday() - weekday + 9) / 7;
    if week < 1 {
        return (year - 1, weeks_in(year - 1));
    }
    if week > weeks_in(year) {
        return (year + 1, 1);
    }
    (year, week)
}

fn weeks_in(year: i64) -> i64 {
    let dec31 = |year: i64| (year + year / 4 - year / 100 + year / 400).rem_euclid(7);
    if dec31(year) == 4 || dec31(year - 1) == 3 {
        53
    } else {
        52
    }
}
