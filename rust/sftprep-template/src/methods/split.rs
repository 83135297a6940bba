//! Splitting and stripping: every piece is a slice, so origins stay exact.

use std::ops::Range;

use super::{int_arg, text_arg};
use crate::error::{Fault, Res};
use crate::eval::Interp;
use crate::text::Str;
use crate::unicode::{is_line_break, is_space};
use crate::value::{CallArgs, Value};

/// Which ends `strip` takes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ends {
    Both,
    Left,
    Right,
}

/// The range left after stripping white space from both ends.
#[inline]
pub(crate) fn trimmed(text: &str) -> Range<usize> {
    // Most text neither begins nor ends with white space.
    if let [first, .., last] = text.as_bytes()
        && first.is_ascii_graphic()
        && last.is_ascii_graphic()
    {
        return 0..text.len();
    }
    stripped(text, None, Ends::Both)
}

/// The range left after stripping white space, or the characters given.
pub(crate) fn stripped(text: &str, chars: Option<&str>, ends: Ends) -> Range<usize> {
    let (mut from, mut to) = (0, text.len());
    if chars.is_none() {
        // Byte by byte as far as it is ASCII.
        let space = |byte: &&u8| matches!(byte, 9..=13 | 28..=32);
        let bytes = text.as_bytes();
        if ends != Ends::Right {
            from = bytes.iter().take_while(space).count();
        }
        if ends != Ends::Left {
            to -= bytes[from..].iter().rev().take_while(space).count();
        }
    }
    let rest = &text[from..to];
    let matches = |c: char| chars.map_or_else(|| is_space(c), |chars| chars.contains(c));
    if ends != Ends::Right {
        from = to - rest.trim_start_matches(matches).len();
    }
    if ends != Ends::Left {
        to = from + text[from..to].trim_end_matches(matches).len();
    }
    from..to
}

/// `str.splitlines`.
pub(crate) fn line_ranges(text: &str, keep_ends: bool) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut start = 0;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if !is_line_break(c) {
            continue;
        }
        let mut end = at + c.len_utf8();
        if c == '\r' && chars.peek().is_some_and(|(_, next)| *next == '\n') {
            chars.next();
            end += 1;
        }
        ranges.push(start..if keep_ends { end } else { at });
        start = end;
    }
    if start < text.len() {
        ranges.push(start..text.len());
    }
    ranges
}

fn split_space(text: &str, max: usize) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut at = text.len() - text.trim_start_matches(is_space).len();
    while at < text.len() {
        if ranges.len() == max {
            ranges.push(at..text.len());
            break;
        }
        let len = text[at..].find(is_space).unwrap_or(text.len() - at);
        ranges.push(at..at + len);
        let rest = &text[at + len..];
        at += len + rest.len() - rest.trim_start_matches(is_space).len();
    }
    ranges
}

fn rsplit_space(text: &str, max: usize) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut end = text.trim_end_matches(is_space).len();
    while end > 0 {
        if ranges.len() == max {
            ranges.push(0..end);
            break;
        }
        let start = text[..end].rfind(is_space).map_or(0, |at| {
            at + text[at..].chars().next().map_or(1, char::len_utf8)
        });
        ranges.push(start..end);
        end = text[..start].trim_end_matches(is_space).len();
    }
    ranges.reverse();
    ranges
}

pub(crate) fn split_on(text: &str, sep: &str, max: usize, from_right: bool) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    if from_right {
        let mut end = text.len();
        while ranges.len() < max
            && let Some(at) = text[..end].rfind(sep)
        {
            ranges.push(at + sep.len()..end);
            end = at;
        }
        ranges.push(0..end);
        ranges.reverse();
    } else {
        let mut start = 0;
        while ranges.len() < max
            && let Some(at) = text[start..].find(sep)
        {
            ranges.push(start..start + at);
            start += at + sep.len();
        }
        ranges.push(start..text.len());
    }
    ranges
}

impl<'t> Interp<'t> {
    pub(super) fn split(
        &mut self,
        text: &Str<'t>,
        name: &'static str,
        args: CallArgs<'t>,
    ) -> Res<Value<'t>> {
        let [sep, max] = args.bind(name, ["sep", "maxsplit"])?;
        let max = max.map_or(Ok(-1), |value| int_arg(&value, name))?;
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        let whole = text.as_str();
        self.scan(whole.len())?;
        let from_right = name == "rsplit";
        let ranges = match sep {
            None | Some(Value::None(_)) if from_right => rsplit_space(whole, max),
            None | Some(Value::None(_)) => split_space(whole, max),
            Some(sep) => {
                let sep = text_arg(sep, name)?;
                if sep.is_empty() {
                    return Err(Fault::value_error("empty separator"));
                }
                split_on(whole, sep.as_str(), max, from_right)
            }
        };
        self.slices(text, ranges)
    }

    pub(crate) fn slices(&mut self, text: &Str<'t>, ranges: Vec<Range<usize>>) -> Res<Value<'t>> {
        self.charge(ranges.len() * std::mem::size_of::<Value<'t>>())?;
        Ok(Value::list(
            ranges
                .into_iter()
                .map(|range| Value::Str(text.slice(range)))
                .collect(),
        ))
    }

    pub(super) fn partition(
        &mut self,
        text: &Str<'t>,
        name: &'static str,
        args: CallArgs<'t>,
    ) -> Res<Value<'t>> {
        let [sep] = args.bind(name, ["sep"])?;
        let sep = text_arg(super::required(sep, name)?, name)?;
        if sep.is_empty() {
            return Err(Fault::value_error("empty separator"));
        }
        let whole = text.as_str();
        self.scan(whole.len())?;
        let found = if name == "partition" {
            whole.find(sep.as_str())
        } else {
            whole.rfind(sep.as_str())
        };
        let empty = || Value::literal("");
        let parts = match found {
            Some(at) => vec![
                Value::Str(text.slice(0..at)),
                Value::Str(text.slice(at..at + sep.len())),
                Value::Str(text.slice(at + sep.len()..whole.len())),
            ],
            None if name == "partition" => vec![Value::Str(text.clone()), empty(), empty()],
            None => vec![empty(), empty(), Value::Str(text.clone())],
        };
        Ok(Value::Tuple(std::rc::Rc::new(parts)))
    }
}
