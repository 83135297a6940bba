//! Filters on text.

use super::Filter;
use crate::error::{Fault, Res};
use crate::eval::{Interp, args_error};
use crate::methods::{Case, Ends, int_arg, line_ranges, stripped, text_arg, trimmed};
use crate::ops::undefined_error;
use crate::text::{GENERATION, OWNER_MASK, Str, UNOWNED};
use crate::value::{CallArgs, Value};

impl<'t> Interp<'t> {
    /// `soft_str`: strings (and Markup) as they are, anything else through `str()`.
    pub(crate) fn soft_str(&mut self, value: &Value<'t>) -> Res<Str<'t>> {
        if let Value::Str(text) = value {
            return Ok(text.clone());
        }
        let mut out = self.buffer(16);
        self.write_str(value, &mut out)?;
        self.charge(out.text.len())?;
        Ok(out.into_str())
    }

    pub(super) fn text_filter(
        &mut self,
        filter: Filter,
        value: Value<'t>,
        args: CallArgs<'t>,
    ) -> Res<Value<'t>> {
        let name = filter.name();
        if filter == Filter::Join {
            return self.join_filter(&value, args);
        }
        if matches!(filter, Filter::Indent) {
            return self.indent(&value, args);
        }
        if filter == Filter::Truncate {
            return self.truncate(&value, args);
        }
        let text = self.soft_str(&value)?;
        match filter {
            Filter::Trim => {
                let [chars] = args.bind(name, ["chars"])?;
                let chars = match chars {
                    None | Some(Value::None(_)) => None,
                    Some(chars) => Some(text_arg(chars, name)?),
                };
                self.scan(text.len())?;
                let range = match &chars {
                    Some(chars) => stripped(text.as_str(), Some(chars.as_str()), Ends::Both),
                    None => trimmed(text.as_str()),
                };
                Ok(Value::Str(text.slice(range)))
            }
            Filter::Upper => args
                .none(name)
                .and_then(|()| self.change_case(&text, Case::Upper)),
            Filter::Lower => args
                .none(name)
                .and_then(|()| self.change_case(&text, Case::Lower)),
            Filter::Capitalize => args
                .none(name)
                .and_then(|()| self.change_case(&text, Case::Capitalize)),
            Filter::Title => {
                args.none(name)?;
                self.title_filter(&text)
            }
            Filter::String => args.none(name).map(|()| Value::Str(text)),
            Filter::Safe => {
                args.none(name)?;
                Ok(Value::Str(text.marked_safe(true)))
            }
            Filter::Escape | Filter::ForceEscape => {
                args.none(name)?;
                let plain = if filter == Filter::ForceEscape {
                    text.marked_safe(false)
                } else {
                    text
                };
                self.charge(plain.len() * 2)?;
                let buffer = self.buffer(plain.len());
                Ok(Value::Str(crate::markup::escape(&plain, buffer)))
            }
            Filter::Center => {
                let [width] = args.bind(name, ["width"])?;
                let width = width.unwrap_or_else(|| Value::int(80));
                let pos = vec![width];
                self.call_method(
                    &Value::Str(text),
                    "center",
                    CallArgs {
                        pos,
                        kw: Vec::new(),
                    },
                )
            }
            Filter::Replace => {
                let [old, new, count] = args.bind(name, ["old", "new", "count"])?;
                let (Some(old), Some(new)) = (old, new) else {
                    return Err(args_error(name, "needs the old and the new text"));
                };
                let (old, new) = (self.soft_str(&old)?, self.soft_str(&new)?);
                let count = match count {
                    None | Some(Value::None(_)) => -1,
                    Some(count) => int_arg(&count, name)?,
                };
                // Without autoescape both sides are plain text here.
                let plain = text.marked_safe(false);
                self.replace(
                    &plain,
                    &old.marked_safe(false),
                    &new.marked_safe(false),
                    count,
                )
            }
            Filter::Format => {
                if !args.pos.is_empty() && !args.kw.is_empty() {
                    return Err(args_error(
                        name,
                        "can't handle positional and keyword arguments at the same time",
                    ));
                }
                let values = if args.kw.is_empty() {
                    Value::Tuple(std::rc::Rc::new(args.pos))
                } else {
                    let entries = args
                        .kw
                        .into_iter()
                        .map(|(key, value)| (Value::Str(key), value));
                    Value::Map(std::rc::Rc::new(entries.collect()))
                };
                self.percent(&text, &values)
            }
            Filter::WordCount => {
                args.none(name)?;
                self.scan(text.len())?;
                let words = text
                    .as_str()
                    .split(|c: char| !(c.is_alphanumeric() || c == '_'))
                    .filter(|word| !word.is_empty());
                Ok(Value::int(words.count() as i64))
            }
            _ => {
                args.none(name)?;
                self.url_encode(&value, &text)
            }
        }
    }

    fn join_filter(&mut self, value: &Value<'t>, args: CallArgs<'t>) -> Res<Value<'t>> {
        let [sep, attribute] = args.bind("join", ["d", "attribute"])?;
        let sep = match sep {
            None => Str::literal(""),
            Some(sep) => self.soft_str(&sep)?,
        };
        let path = match attribute {
            None | Some(Value::None(_)) => None,
            Some(attribute) => Some(self.attribute_path(&attribute)?),
        };
        let tag = self.tag();
        let mut out = self.buffer(64);
        let mut iter = crate::iter::ValueIter::of(value)?;
        let mut first = true;
        while let Some(mut item) = self.next_item(&mut iter)? {
            self.step()?;
            if let Some(path) = &path {
                item = self.follow(&item, path, None)?;
            }
            if !first {
                out.push_str(&sep, tag);
            }
            first = false;
            self.write_str(&item, &mut out)?;
            self.check_made(&out)?;
        }
        self.charge(out.text.len())?;
        Ok(Value::Str(out.into_str()))
    }

    /// Jinja2's `title`: words begin after white space, dashes and opening brackets.
    fn title_filter(&mut self, text: &Str<'t>) -> Res<Value<'t>> {
        let whole = text.as_str();
        self.charge(whole.len())?;
        let mut out = self.buffer(whole.len());
        let mut piece = String::new();
        let mut starts = true;
        text.each_run(|range, origin, _, tag| {
            for (at, c) in whole[range.clone()].char_indices() {
                let breaks =
                    crate::unicode::is_space(c) || matches!(c, '-' | '(' | '{' | '[' | '<');
                piece.clear();
                if starts {
                    piece.extend(c.to_uppercase());
                } else {
                    crate::unicode::push_lower(whole, range.start + at, c, &mut piece);
                }
                starts = breaks;
                out.push(&piece, origin, crate::text::INEXACT, tag);
            }
        });
        Ok(Value::Str(out.into_str()))
    }

    fn indent(&mut self, value: &Value<'t>, args: CallArgs<'t>) -> Res<Value<'t>> {
        let [width, first, blank] = args.bind("indent", ["width", "first", "blank"])?;
        let Value::Str(text) = value else {
            return Err(undefined_error(value).unwrap_or_else(|| {
                Fault::type_error(format!("indent needs text, not {}", value.type_name()))
            }));
        };
        let indention = match width {
            None => "    ".to_owned(),
            Some(Value::Str(text)) => text.as_str().to_owned(),
            Some(width) => {
                let width = usize::try_from(int_arg(&width, "indent")?).unwrap_or(0);
                self.charge(width)?;
                " ".repeat(width)
            }
        };
        let is_true = |value: Option<Value<'t>>| value.is_some_and(|value| value.is_true());
        let (first, blank) = (is_true(first), is_true(blank));
        // The quirk of the original: one line end is added before the text is split into lines.
        let whole = format!("{}\n", text.as_str());
        self.charge(whole.len())?;
        let mut lines = line_ranges(&whole, false);
        if blank && lines.is_empty() {
            lines.push(0..0);
        }
        let mut out = self.buffer(whole.len());
        let tag = match self.tag() {
            tag if tag & OWNER_MASK == UNOWNED => tag & GENERATION,
            tag => tag,
        };
        for (index, line) in lines.into_iter().enumerate() {
            let line = line.start.min(text.len())..line.end.min(text.len());
            let origin = if text.is_empty() {
                0
            } else {
                text.origin_at(line.start.min(text.len() - 1)).0
            };
            if index > 0 {
                out.push("\n", origin, crate::text::INEXACT, tag);
            }
            let indented = if index == 0 {
                first
            } else {
                blank || !line.is_empty()
            };
            if indented {
                self.charge(indention.len())?;
                out.push(&indention, origin, crate::text::INEXACT, tag);
            }
            out.push_str(&text.slice(line), tag);
        }
        self.charge(out.text.len())?;
        Ok(Value::Str(out.into_str().marked_safe(text.safe())))
    }

    fn truncate(&mut self, value: &Value<'t>, args: CallArgs<'t>) -> Res<Value<'t>> {
        let names = ["length", "killwords", "end", "leeway"];
        let [length, kill, end, leeway] = args.bind("truncate", names)?;
        let Value::Str(text) = value else {
            return Err(Fault::type_error(format!(
                "truncate needs text, not {}",
                value.type_name()
            )));
        };
        let number = |value: Option<Value<'t>>, default: i64| match value {
            None | Some(Value::None(_)) => Ok(default),
            Some(value) => int_arg(&value, "truncate"),
        };
        let (length, leeway) = (number(length, 255)?, number(leeway, 5)?);
        let end = match end {
            None => Str::literal("..."),
            Some(value) => text_arg(value, "truncate")?,
        };
        let end_len = end.as_str().chars().count() as i64;
        if length < end_len || leeway < 0 {
            return Err(Fault::value_error(format!(
                "expected length >= {end_len}, got {length}"
            )));
        }
        let whole = text.as_str();
        if whole.chars().count() as i64 <= length.saturating_add(leeway) {
            return Ok(value.clone());
        }
        let cut = whole
            .char_indices()
            .nth((length - end_len) as usize)
            .map_or(whole.len(), |(at, _)| at);
        let kill = kill.is_some_and(|value| value.is_true());
        let cut = if kill {
            cut
        } else {
            whole[..cut].rfind(' ').unwrap_or(cut)
        };
        let mut out = self.buffer(cut + end.len());
        out.push_str(&text.slice(0..cut), 0);
        out.push_str(&end, 0);
        Ok(Value::Str(out.into_str()))
    }

    fn url_encode(&mut self, value: &Value<'t>, text: &Str<'t>) -> Res<Value<'t>> {
        if !matches!(value, Value::Str(_)) && value.container_len().is_some() {
            return Err(Fault::new(
                crate::error::ErrorKind::Unsupported,
                "urlencode of containers is not supported",
            ));
        }
        self.charge(text.len() * 3)?;
        let mut out = self.buffer(text.len());
        for (at, byte) in text.as_str().bytes().enumerate() {
            let (origin, _, tag) = text.origin_at(at);
            let plain = byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
            let shown = if plain {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            };
            out.push(&shown, origin, crate::text::INEXACT, tag);
        }
        Ok(Value::Str(out.into_str()))
    }
}
