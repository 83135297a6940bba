//! Methods of `str`.

use super::cases::Case;
use super::split::{Ends, line_ranges, stripped};
use super::{int_arg, required, text_arg};
use crate::error::{ErrorKind, Fault, Res};
use crate::eval::{Interp, args_error};
use crate::text::{LITERAL, Str};
use crate::unicode::{is_cased, is_printable, is_space};
use crate::value::{CallArgs, Value};

impl<'t> Interp<'t> {
    pub(super) fn str_method(
        &mut self,
        text: &Str<'t>,
        name: &str,
        args: CallArgs<'t>,
    ) -> Res<Value<'t>> {
        let whole = text.as_str();
        match name {
            "strip" => self.strip(text, Ends::Both, "strip", args),
            "lstrip" => self.strip(text, Ends::Left, "lstrip", args),
            "rstrip" => self.strip(text, Ends::Right, "rstrip", args),
            "split" => self.split(text, "split", args),
            "rsplit" => self.split(text, "rsplit", args),
            "partition" => self.partition(text, "partition", args),
            "rpartition" => self.partition(text, "rpartition", args),
            "splitlines" => {
                let [keep] = args.bind(name, ["keepends"])?;
                let keep = keep.is_some_and(|value| value.is_true());
                self.scan(whole.len())?;
                self.slices(text, line_ranges(whole, keep))
            }
            "startswith" | "endswith" => self.has_affix(text, name, args),
            "replace" => {
                let [old, new, count] = args.bind(name, ["old", "new", "count"])?;
                let old = text_arg(required(old, name)?, name)?;
                let new = text_arg(required(new, name)?, name)?;
                let count = count.map_or(Ok(-1), |value| int_arg(&value, name))?;
                self.replace(text, &old, &new, count)
            }
            "lower" => args
                .none(name)
                .and_then(|()| self.change_case(text, Case::Lower)),
            "upper" => args
                .none(name)
                .and_then(|()| self.change_case(text, Case::Upper)),
            "title" => args
                .none(name)
                .and_then(|()| self.change_case(text, Case::Title)),
            "capitalize" => args
                .none(name)
                .and_then(|()| self.change_case(text, Case::Capitalize)),
            "swapcase" => args
                .none(name)
                .and_then(|()| self.change_case(text, Case::Swap)),
            "casefold" => args
                .none(name)
                .and_then(|()| self.change_case(text, Case::Fold)),
            "find" | "rfind" | "index" | "rindex" | "count" => self.find(text, name, args),
            "join" => {
                let [items] = args.bind(name, ["iterable"])?;
                let items = required(items, name)?;
                self.join_method(text, &items)
            }
            "format" => self.format(text, args),
            "format_map" => {
                let [mapping] = args.bind(name, ["mapping"])?;
                let mapping = required(mapping, name)?;
                let kw = self
                    .mapping_entries(&mapping)?
                    .into_iter()
                    .filter_map(|(key, value)| match key {
                        Value::Str(key) => Some((key, value)),
                        _ => None,
                    })
                    .collect();
                self.format(
                    text,
                    CallArgs {
                        pos: Vec::new(),
                        kw,
                    },
                )
            }
            "center" | "ljust" | "rjust" => self.justify(text, name, args),
            "zfill" => self.zfill(text, args),
            "removeprefix" => {
                let [affix] = args.bind(name, ["prefix"])?;
                let affix = text_arg(required(affix, name)?, name)?;
                let from = if whole.starts_with(affix.as_str()) {
                    affix.len()
                } else {
                    0
                };
                Ok(Value::Str(text.slice(from..whole.len())))
            }
            "removesuffix" => {
                let [affix] = args.bind(name, ["suffix"])?;
                let affix = text_arg(required(affix, name)?, name)?;
                let to = if whole.ends_with(affix.as_str()) {
                    affix.len()
                } else {
                    0
                };
                Ok(Value::Str(text.slice(0..whole.len() - to)))
            }
            "expandtabs" => self.expand_tabs(text, args),
            "escape" | "unescape" | "striptags" | "encode" | "translate" | "maketrans" => {
                Err(Fault::new(
                    ErrorKind::Unsupported,
                    format!(
                        "method '{name}' of '{}' is not supported",
                        if text.safe() { "Markup" } else { "str" }
                    ),
                ))
            }
            _ => {
                args.none(name)?;
                self.scan(whole.len())?;
                Ok(Value::bool(classify(whole, name)))
            }
        }
    }

    fn strip(
        &mut self,
        text: &Str<'t>,
        ends: Ends,
        name: &str,
        args: CallArgs<'t>,
    ) -> Res<Value<'t>> {
        let chars = if args.pos.is_empty() && args.kw.is_empty() {
            None
        } else {
            args.bind(name, ["chars"])?[0].take()
        };
        let chars = match chars {
            None | Some(Value::None(_)) => None,
            Some(value) => Some(text_arg(value, name)?),
        };
        let set = chars.as_ref().map(Str::as_str);
        self.scan(text.len().saturating_mul(set.map_or(1, str::len).max(1)))?;
        let range = stripped(text.as_str(), set, ends);
        Ok(Value::Str(text.slice(range)))
    }

    fn has_affix(&mut self, text: &Str<'t>, name: &str, args: CallArgs<'t>) -> Res<Value<'t>> {
        let [affix, start, stop] = args.bind(name, ["prefix", "start", "end"])?;
        let affix = required(affix, name)?;
        let whole = text.as_str();
        let range = self.char_range(whole, start.as_ref(), stop.as_ref(), name)?;
        let Some(range) = range else {
            return Ok(Value::bool(false));
        };
        let part = &whole[range];
        let test = |affix: &Value<'t>| -> Res<bool> {
            let Value::Str(affix) = affix else {
                let problem = format!(
                    "first arg must be str or a tuple of str, not {}",
                    affix.type_name()
                );
                return Err(args_error(name, &problem));
            };
            Ok(if name == "startswith" {
                part.starts_with(affix.as_str())
            } else {
                part.ends_with(affix.as_str())
            })
        };
        let found = match &affix {
            Value::Tuple(affixes) => {
                let mut found = false;
                for affix in affixes.iter() {
                    found = found || test(affix)?;
                }
                found
            }
            other => test(other)?,
        };
        Ok(Value::bool(found))
    }

    /// The byte range of character bounds; `None` if start lies behind the end.
    fn char_range(
        &mut self,
        whole: &str,
        start: Option<&Value<'t>>,
        stop: Option<&Value<'t>>,
        name: &str,
    ) -> Res<Option<std::ops::Range<usize>>> {
        let given = |value: Option<&Value<'t>>| match value {
            None | Some(Value::None(_)) => Ok(None),
            Some(value) => int_arg(value, name).map(Some),
        };
        let (start, stop) = (given(start)?, given(stop)?);
        if start.is_none() && stop.is_none() {
            return Ok(Some(0..whole.len()));
        }
        self.scan(whole.len())?;
        let len = whole.chars().count() as i64;
        let wrap = |at: i64| if at < 0 { (at + len).max(0) } else { at };
        let (from, to) = (wrap(start.unwrap_or(0)), wrap(stop.unwrap_or(len)).min(len));
        if from > to {
            return Ok(None);
        }
        let byte = |at: i64| {
            whole
                .char_indices()
                .nth(at as usize)
                .map_or(whole.len(), |(byte, _)| byte)
        };
        Ok(Some(byte(from)..byte(to)))
    }

    fn find(&mut self, text: &Str<'t>, name: &str, args: CallArgs<'t>) -> Res<Value<'t>> {
        let [part, start, stop] = args.bind(name, ["sub", "start", "end"])?;
        let part = text_arg(required(part, name)?, name)?;
        let whole = text.as_str();
        self.scan(whole.len())?;
        let range = self.char_range(whole, start.as_ref(), stop.as_ref(), name)?;
        if name == "count" {
            let count = match range {
                None => 0,
                Some(range) if part.is_empty() => whole[range].chars().count() + 1,
                Some(range) => whole[range].matches(part.as_str()).count(),
            };
            return Ok(Value::int(count as i64));
        }
        let found = range.and_then(|range| {
            let inside = &whole[range.clone()];
            let at = if name.starts_with('r') {
                inside.rfind(part.as_str())
            } else {
                inside.find(part.as_str())
            };
            at.map(|at| whole[..range.start + at].chars().count() as i64)
        });
        match found {
            Some(at) => Ok(Value::int(at)),
            None if name.ends_with("index") => Err(Fault::value_error("substring not found")),
            None => Ok(Value::int(-1)),
        }
    }

    /// Kept text keeps its runs; inserted text brings its own.
    pub(crate) fn replace(
        &mut self,
        text: &Str<'t>,
        old: &Str<'t>,
        new: &Str<'t>,
        count: i64,
    ) -> Res<Value<'t>> {
        let whole = text.as_str();
        self.scan(whole.len())?;
        let max = usize::try_from(count).unwrap_or(usize::MAX);
        let mut matches = whole.match_indices(old.as_str()).take(max).peekable();
        if matches.peek().is_none() {
            return Ok(Value::Str(text.clone()));
        }
        let mut out = self.buffer(whole.len());
        let mut from = 0;
        for (at, found) in matches {
            out.push_str(&text.slice(from..at), 0);
            if text.safe() && !new.safe() {
                crate::markup::escape_into(new, &mut out, 0);
            } else {
                out.push_str(new, 0);
            }
            from = at + found.len();
            self.budget.bytes(new.len() + 16)?;
        }
        out.push_str(&text.slice(from..whole.len()), 0);
        self.charge(out.text.len())?;
        Ok(Value::Str(out.into_str().marked_safe(text.safe())))
    }

    fn join_method(&mut self, sep: &Str<'t>, items: &Value<'t>) -> Res<Value<'t>> {
        let items = self.collect(items)?;
        let mut out = self.buffer(items.len() * 8);
        let tag = self.tag() & crate::text::OWNER_MASK;
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                out.push_str(sep, tag);
            }
            match item {
                Value::Str(text) if sep.safe() && !text.safe() => {
                    crate::markup::escape_into(text, &mut out, tag);
                }
                Value::Str(text) => out.push_str(text, tag),
                other if sep.safe() => {
                    let mut plain = self.buffer(16);
                    self.write_str(other, &mut plain)?;
                    crate::markup::escape_into(&plain.into_str(), &mut out, tag);
                }
                other => {
                    let message = format!(
                        "sequence item {index}: expected str instance, {} found",
                        other.type_name()
                    );
                    return Err(Fault::type_error(message));
                }
            }
        }
        self.charge(out.text.len())?;
        Ok(Value::Str(out.into_str().marked_safe(sep.safe())))
    }

    fn justify(&mut self, text: &Str<'t>, name: &str, args: CallArgs<'t>) -> Res<Value<'t>> {
        let [width, fill] = args.bind(name, ["width", "fillchar"])?;
        let width = int_arg(&required(width, name)?, name)?;
        let fill = match fill {
            None => Str::literal(" "),
            Some(value) => text_arg(value, name)?,
        };
        if fill.as_str().chars().count() != 1 {
            return Err(args_error(
                name,
                "fill character must be exactly one character",
            ));
        }
        let len = text.as_str().chars().count() as i64;
        let pad = usize::try_from(width - len).unwrap_or(0);
        self.charge(pad.saturating_mul(fill.len()))?;
        let left = match name {
            "ljust" => 0,
            "rjust" => pad,
            // CPython puts the odd one left when the width is odd.
            _ => pad / 2 + (pad & width as usize & 1),
        };
        let mut out = self.buffer(text.len() + pad);
        for _ in 0..left {
            out.push_str(&fill, 0);
        }
        out.push_str(text, 0);
        for _ in left..pad {
            out.push_str(&fill, 0);
        }
        Ok(Value::Str(out.into_str().marked_safe(text.safe())))
    }

    fn zfill(&mut self, text: &Str<'t>, args: CallArgs<'t>) -> Res<Value<'t>> {
        let [width] = args.bind("zfill", ["width"])?;
        let width = int_arg(&required(width, "zfill")?, "zfill")?;
        let whole = text.as_str();
        let pad = usize::try_from(width - whole.chars().count() as i64).unwrap_or(0);
        self.charge(pad)?;
        let sign = usize::from(whole.starts_with(['+', '-']));
        let mut out = self.buffer(whole.len() + pad);
        out.push_str(&text.slice(0..sign), 0);
        out.push(&"0".repeat(pad), LITERAL, crate::text::INEXACT, 0);
        out.push_str(&text.slice(sign..whole.len()), 0);
        Ok(Value::Str(out.into_str().marked_safe(text.safe())))
    }

    fn expand_tabs(&mut self, text: &Str<'t>, args: CallArgs<'t>) -> Res<Value<'t>> {
        let [size] = args.bind("expandtabs", ["tabsize"])?;
        let size = size.map_or(Ok(8), |value| int_arg(&value, "expandtabs"))?;
        let size = usize::try_from(size).unwrap_or(0);
        let whole = text.as_str();
        self.charge(whole.len())?;
        let mut out = self.buffer(whole.len());
        let mut column = 0;
        for (at, c) in whole.char_indices() {
            let piece = text.slice(at..at + c.len_utf8());
            if c == '\t' {
                let width = if size == 0 { 0 } else { size - column % size };
                self.charge(width)?;
                let (origin, _, tag) = text.origin_at(at);
                out.push(&" ".repeat(width), origin, crate::text::INEXACT, tag);
                column += width;
            } else {
                out.push_str(&piece, 0);
                column = if matches!(c, '\n' | '\r') {
                    0
                } else {
                    column + 1
                };
            }
        }
        Ok(Value::Str(out.into_str().marked_safe(text.safe())))
    }
}

fn is_decimal(c: char) -> bool {
    crate::unicode::decimal_value(c).is_some()
}

/// The `is...` methods.
fn classify(text: &str, name: &str) -> bool {
    let all = |test: fn(char) -> bool| !text.is_empty() && text.chars().all(test);
    match name {
        "isalpha" => all(char::is_alphabetic),
        "isalnum" => all(char::is_alphanumeric),
        "isdecimal" => all(is_decimal),
        "isdigit" => all(|c| {
            is_decimal(c) || matches!(c, '²' | '³' | '¹' | '⁰'..='⁹' | '₀'..='₉' | '①'..='⑨')
        }),
        "isnumeric" => all(char::is_numeric),
        "isspace" => all(is_space),
        "islower" => crate::tests::has_case(text, false),
        "isupper" => crate::tests::has_case(text, true),
        "isascii" => text.is_ascii(),
        "isprintable" => text.chars().all(is_printable),
        "isidentifier" => {
            text.starts_with(|c: char| c.is_alphabetic() || c == '_')
                && text.chars().all(|c| c.is_alphanumeric() || c == '_')
        }
        // istitle: upper only after uncased, lower only after cased.
        _ => {
            let (mut cased, mut after) = (false, false);
            for c in text.chars() {
                let wrong = if c.is_lowercase() {
                    !after
                } else {
                    is_cased(c) && after
                };
                if wrong {
                    return false;
                }
                after = is_cased(c);
                cased |= after;
            }
            cased
        }
    }
}
