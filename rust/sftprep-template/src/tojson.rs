//! `tojson`: exactly `json.dumps`, with `ensure_ascii` off by default.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::ast::CmpOp;
use crate::data::{Data, Map};
use crate::error::{Fault, Res};
use crate::eval::Interp;
use crate::iter::ValueIter;
use crate::ops::{MAX_DATA_DEPTH, is_mapping, order, too_deep};
use crate::out::{Out, merge_tags};
use crate::pyformat::{float_repr, push_part};
use crate::text::{INEXACT, LITERAL, Origin, Str};
use crate::trace::Step;
use crate::value::{CallArgs, Value};

pub(crate) struct Style {
    ensure_ascii: bool,
    indent: Option<String>,
    item: Cow<'static, str>,
    key: Cow<'static, str>,
    sort: bool,
}

impl<'t> Interp<'t> {
    pub(crate) fn json_filter(&mut self, value: &Value<'t>, args: CallArgs<'t>) -> Res<Value<'t>> {
        let style = self.json_style(args)?;
        let mut out = self.buffer(128);
        self.json(value, &style, 0, &mut out)?;
        self.charge(out.text.len())?;
        Ok(Value::Str(out.into_str()))
    }

    pub(crate) fn json_style(&mut self, args: CallArgs<'t>) -> Res<Style> {
        let names = ["ensure_ascii", "indent", "separators", "sort_keys"];
        let [ascii, indent, separators, sort] = args.bind("tojson", names)?;
        let is_true = |value: Option<Value<'t>>| value.is_some_and(|value| value.is_true());
        let indent = match indent {
            None | Some(Value::None(_)) => None,
            Some(Value::Str(text)) => Some(text.as_str().to_owned()),
            Some(value) => {
                let width = crate::methods::int_arg(&value, "tojson")?;
                let width = usize::try_from(width).unwrap_or(0);
                self.charge(width)?;
                Some(" ".repeat(width))
            }
        };
        let (item, key) = match separators {
            None | Some(Value::None(_)) => (
                Cow::Borrowed(if indent.is_some() { "," } else { ", " }),
                Cow::Borrowed(": "),
            ),
            Some(value) => {
                let parts = self.collect(&value)?;
                let [Value::Str(item), Value::Str(key)] = &parts[..] else {
                    return Err(Fault::type_error("separators must be two strings"));
                };
                (
                    item.as_str().to_owned().into(),
                    key.as_str().to_owned().into(),
                )
            }
        };
        Ok(Style {
            ensure_ascii: is_true(ascii),
            indent,
            item,
            key,
            sort: is_true(sort),
        })
    }

    pub(crate) fn json(
        &mut self,
        value: &Value<'t>,
        style: &Style,
        depth: u32,
        out: &mut Out,
    ) -> Res<()> {
        self.step()?;
        if depth > MAX_DATA_DEPTH {
            return Err(too_deep());
        }
        if depth % 32 == 31 {
            self.budget.stack()?;
        }
        self.check_made(out)?;
        if let Value::Data(data, origin) = value {
            return self.json_data(data, *origin, style, depth, out);
        }
        let tag = self.tag();
        match value {
            Value::Str(text) => json_str(text, style.ensure_ascii, out, tag),
            Value::None(origin) => out.push("null", *origin, INEXACT, tag),
            Value::Bool(flag, origin) => {
                out.push(if *flag { "true" } else { "false" }, *origin, INEXACT, tag);
            }
            Value::Int(number, origin) => {
                let mut digits = String::new();
                let _ = write!(digits, "{number}");
                out.push(&digits, *origin, INEXACT, tag);
            }
            Value::Big(digits, origin) => out.push(digits, *origin, INEXACT, tag),
            Value::Float(number, origin) => out.push(&json_float(*number), *origin, INEXACT, tag),
            Value::List(_)
            | Value::Messages(_)
            | Value::Tuple(_)
            | Value::Data(Data::List(_), _) => {
                self.json_list(value, style, depth, out)?;
            }
            _ if is_mapping(value) => self.json_map(value, style, depth, out)?,
            _ => {
                return Err(Fault::type_error(format!(
                    "object of type {} is not JSON serializable",
                    value.type_name()
                )));
            }
        }
        Ok(())
    }

    /// Input values are written without turning each into a template value first.
    fn json_data(
        &mut self,
        data: &'t Data,
        origin: Origin,
        style: &Style,
        depth: u32,
        out: &mut Out,
    ) -> Res<()> {
        let tag = self.tag();
        if self.leaves.is_whole(origin) {
            let before = out.text.len();
            let nodes = plain_json(data, style, depth, &mut out.text)?;
            self.budget.steps(nodes + (out.text.len() - before) / 16)?;
            out.mark_as(origin, INEXACT, tag);
            return self.check_made(out);
        }
        self.step()?;
        if depth > MAX_DATA_DEPTH {
            return Err(too_deep());
        }
        match data {
            Data::Str(text) => json_str(&Str::leaf(text, origin), style.ensure_ascii, out, tag),
            Data::List(items) if !items.is_empty() => {
                out.push("[", origin, INEXACT, tag);
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(&style.item, origin, INEXACT, tag);
                    }
                    new_line(style, depth + 1, origin, out, tag);
                    let child = self.leaves.child(origin, Step::Index(index as u32));
                    self.json_data(item, child, style, depth + 1, out)?;
                }
                new_line(style, depth, origin, out, tag);
                out.push("]", origin, INEXACT, tag);
            }
            Data::Map(map) if !map.is_empty() => {
                out.push("{", origin, INEXACT, tag);
                for (index, (key, item)) in sorted(map, style.sort).into_iter().enumerate() {
                    if index > 0 {
                        out.push(&style.item, origin, INEXACT, tag);
                    }
                    new_line(style, depth + 1, origin, out, tag);
                    let child = self.leaves.child(origin, Step::Key(key));
                    escape_json(key, style.ensure_ascii, &mut out.text);
                    out.text.push_str(&style.key);
                    out.mark_as(child, INEXACT, tag);
                    self.json_data(item, child, style, depth + 1, out)?;
                }
                new_line(style, depth, origin, out, tag);
                out.push("}", origin, INEXACT, tag);
            }
            other => {
                plain_json(other, style, depth, &mut out.text)?;
                out.mark_as(origin, INEXACT, tag);
            }
        }
        self.check_made(out)
    }

    fn json_list(
        &mut self,
        value: &Value<'t>,
        style: &Style,
        depth: u32,
        out: &mut Out,
    ) -> Res<()> {
        let (tag, origin) = (self.tag(), container_origin(value));
        if value.container_len() == Some(0) {
            out.push("[]", origin, INEXACT, tag);
            return Ok(());
        }
        out.push("[", origin, INEXACT, tag);
        let mut iter = ValueIter::of(value)?;
        let mut first = true;
        while let Some(item) = self.next_item(&mut iter)? {
            if !first {
                out.push(&style.item, origin, INEXACT, tag);
            }
            first = false;
            new_line(style, depth + 1, origin, out, tag);
            self.json(&item, style, depth + 1, out)?;
        }
        new_line(style, depth, origin, out, tag);
        out.push("]", origin, INEXACT, tag);
        Ok(())
    }

    fn json_map(&mut self, value: &Value<'t>, style: &Style, depth: u32, out: &mut Out) -> Res<()> {
        let (tag, origin) = (self.tag(), container_origin(value));
        let mut entries = self.mapping_entries(value)?;
        if entries.is_empty() {
            out.push("{}", origin, INEXACT, tag);
            return Ok(());
        }
        if style.sort {
            self.sort_by_key(&mut entries)?;
        }
        out.push("{", origin, INEXACT, tag);
        for (index, (key, item)) in entries.iter().enumerate() {
            if index > 0 {
                out.push(&style.item, origin, INEXACT, tag);
            }
            new_line(style, depth + 1, origin, out, tag);
            match key {
                Value::Str(text) => json_str(text, style.ensure_ascii, out, tag),
                Value::Bool(..)
                | Value::Int(..)
                | Value::Big(..)
                | Value::Float(..)
                | Value::None(_) => {
                    out.push("\"", origin, INEXACT, tag);
                    self.json(key, style, depth + 1, out)?;
                    out.push("\"", origin, INEXACT, tag);
                }
                _ => {
                    return Err(Fault::type_error(format!(
                        "keys must be str, int, float, bool or None, not {}",
                        key.type_name()
                    )));
                }
            }
            out.push(&style.key, origin, INEXACT, tag);
            self.json(item, style, depth + 1, out)?;
        }
        new_line(style, depth, origin, out, tag);
        out.push("}", origin, INEXACT, tag);
        Ok(())
    }

    fn sort_by_key(&mut self, entries: &mut [(Value<'t>, Value<'t>)]) -> Res<()> {
        let mut fault = None;
        entries.sort_by(|a, b| match order(CmpOp::Lt, &a.0, &b.0, 0) {
            Ok(true) => std::cmp::Ordering::Less,
            Ok(false) if a.0.as_text().is_some() && a.0.as_text() == b.0.as_text() => {
                std::cmp::Ordering::Equal
            }
            Ok(false) => std::cmp::Ordering::Greater,
            Err(error) => {
                fault.get_or_insert(error);
                std::cmp::Ordering::Equal
            }
        });
        fault.map_or(Ok(()), Err)
    }
}

fn sorted(map: &Map, sort: bool) -> Vec<(&str, &Data)> {
    let mut entries: Vec<(&str, &Data)> = map.iter().map(|(key, item)| (&**key, item)).collect();
    if sort {
        entries.sort_by(|a, b| a.0.cmp(b.0));
    }
    entries
}

fn indent_line(style: &Style, depth: u32, out: &mut String) {
    if let Some(indent) = &style.indent {
        out.push('\n');
        for _ in 0..depth {
            out.push_str(indent);
        }
    }
}

/// JSON of a value whose parts share one origin; gives the number of values written.
fn plain_json(data: &Data, style: &Style, depth: u32, out: &mut String) -> Res<usize> {
    if depth > MAX_DATA_DEPTH {
        return Err(too_deep());
    }
    let mut nodes = 1;
    match data {
        Data::Null => out.push_str("null"),
        Data::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Data::Int(number) => {
            let _ = write!(out, "{number}");
        }
        Data::BigInt(digits) => out.push_str(digits),
        Data::Float(number) => out.push_str(&json_float(*number)),
        Data::Str(text) => escape_json(text, style.ensure_ascii, out),
        Data::List(items) if items.is_empty() => out.push_str("[]"),
        Data::List(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push_str(&style.item);
                }
                indent_line(style, depth + 1, out);
                nodes += plain_json(item, style, depth + 1, out)?;
            }
            indent_line(style, depth, out);
            out.push(']');
        }
        Data::Map(map) if map.is_empty() => out.push_str("{}"),
        Data::Map(map) if style.sort => {
            nodes += plain_map(sorted(map, true).into_iter(), style, depth, out)?;
        }
        Data::Map(map) => {
            let entries = map.iter().map(|(key, item)| (&**key, item));
            nodes += plain_map(entries, style, depth, out)?;
        }
    }
    Ok(nodes)
}

fn plain_map<'d>(
    entries: impl Iterator<Item = (&'d str, &'d Data)>,
    style: &Style,
    depth: u32,
    out: &mut String,
) -> Res<usize> {
    let mut nodes = 0;
    out.push('{');
    for (index, (key, item)) in entries.enumerate() {
        if index > 0 {
            out.push_str(&style.item);
        }
        indent_line(style, depth + 1, out);
        escape_json(key, style.ensure_ascii, out);
        out.push_str(&style.key);
        nodes += plain_json(item, style, depth + 1, out)?;
    }
    indent_line(style, depth, out);
    out.push('}');
    Ok(nodes)
}

fn needs_escape(byte: u8, ascii: bool) -> bool {
    byte < b' ' || byte == b'"' || byte == b'\\' || (ascii && byte >= 0x7f)
}

/// A JSON string with its quotes.
fn escape_json(text: &str, ascii: bool, out: &mut String) {
    out.push('"');
    let mut from = 0;
    for (at, byte) in text.bytes().enumerate() {
        if !needs_escape(byte, ascii) || !text.is_char_boundary(at) {
            continue;
        }
        out.push_str(&text[from..at]);
        let c = text[at..].chars().next().unwrap_or('\0');
        out.push_str(&json_escape(c));
        from = at + c.len_utf8();
    }
    out.push_str(&text[from..]);
    out.push('"');
}

pub(crate) fn container_origin(value: &Value<'_>) -> Origin {
    match value {
        Value::Data(_, origin) => *origin,
        _ => LITERAL,
    }
}

fn new_line(style: &Style, depth: u32, origin: Origin, out: &mut Out, tag: u32) {
    if let Some(indent) = &style.indent {
        let mut text = String::with_capacity(1 + indent.len() * depth as usize);
        text.push('\n');
        for _ in 0..depth {
            text.push_str(indent);
        }
        out.push(&text, origin, INEXACT, tag);
    }
}

fn json_float(number: f64) -> String {
    if number.is_nan() {
        "NaN".into()
    } else if number.is_infinite() {
        if number > 0.0 {
            "Infinity"
        } else {
            "-Infinity"
        }
        .into()
    } else {
        float_repr(number)
    }
}

fn json_str(text: &Str<'_>, ascii: bool, out: &mut Out, tag: u32) {
    let whole = text.as_str();
    let origin = text.origin_at(0).0;
    out.push("\"", origin, INEXACT, tag);
    let mut last = origin;
    text.each_run(|range, origin, src, own| {
        let tag = merge_tags(own, tag);
        last = origin;
        let mut from = range.start;
        for (at, byte) in whole.as_bytes()[range.clone()].iter().enumerate() {
            if !needs_escape(*byte, ascii) {
                continue;
            }
            let at = range.start + at;
            if !whole.is_char_boundary(at) {
                continue;
            }
            push_part(out, &whole[from..at], origin, src, from - range.start, tag);
            let c = whole[at..].chars().next().unwrap_or('\0');
            out.push(&json_escape(c), origin, INEXACT, tag);
            from = at + c.len_utf8();
        }
        push_part(
            out,
            &whole[from..range.end],
            origin,
            src,
            from - range.start,
            tag,
        );
    });
    out.push("\"", last, INEXACT, tag);
}

fn json_escape(c: char) -> String {
    match c {
        '"' => "\\\"".into(),
        '\\' => "\\\\".into(),
        '\n' => "\\n".into(),
        '\r' => "\\r".into(),
        '\t' => "\\t".into(),
        '\x08' => "\\b".into(),
        '\x0c' => "\\f".into(),
        _ => {
            let mut units = [0; 2];
            let mut text = String::with_capacity(12);
            for unit in c.encode_utf16(&mut units) {
                let _ = write!(text, "\\u{unit:04x}");
            }
            text
        }
    }
}
