//! Values as text, the way Python writes them.

mod braces;
mod float;
mod percent;
mod spec;

use crate::data::Data;
use crate::error::Res;
use crate::eval::Interp;
use crate::iter::ValueIter;
use crate::ops::{MAX_DATA_DEPTH, too_deep};
use crate::out::{Out, merge_tags};
use crate::text::{INEXACT, LITERAL, Origin, Str};
use crate::unicode::is_printable;
use crate::value::{Value, View};

pub(crate) use float::float_repr;

/// `str()` of a scalar that is no string.
pub(crate) fn scalar_text(value: &Value<'_>) -> Option<(std::borrow::Cow<'static, str>, Origin)> {
    Some(match value {
        Value::None(origin) => ("None".into(), *origin),
        Value::Bool(true, origin) => ("True".into(), *origin),
        Value::Bool(false, origin) => ("False".into(), *origin),
        Value::Int(number, origin) => (number.to_string().into(), *origin),
        Value::Big(digits, origin) => (digits.to_string().into(), *origin),
        Value::Float(number, origin) => (float_repr(*number).into(), *origin),
        _ => return None,
    })
}

impl<'t> Interp<'t> {
    /// `str(value)`.
    pub(crate) fn write_str(&mut self, value: &Value<'t>, out: &mut Out) -> Res<()> {
        match value {
            Value::Str(text) => {
                out.push_str(text, self.tag());
                Ok(())
            }
            Value::Undefined(_) => Ok(()),
            _ => self.write_repr(value, out, 0),
        }
    }

    /// `repr(value)`.
    pub(crate) fn write_repr(&mut self, value: &Value<'t>, out: &mut Out, depth: u32) -> Res<()> {
        self.step()?;
        if depth > MAX_DATA_DEPTH {
            return Err(too_deep());
        }
        if depth % 32 == 31 {
            self.budget.stack()?;
        }
        let tag = self.tag();
        if let Some((text, origin)) = scalar_text(value) {
            out.push(&text, origin, INEXACT, tag);
            return Ok(());
        }
        let origin = match value {
            Value::Data(_, origin) => *origin,
            _ => LITERAL,
        };
        match value {
            Value::Str(text) => {
                if text.safe() {
                    out.literal("Markup(", tag);
                }
                repr_str(text, out, tag);
                if text.safe() {
                    out.literal(")", tag);
                }
            }
            Value::Undefined(_) => out.literal("Undefined", tag),
            Value::List(_) | Value::Messages(_) | Value::Data(Data::List(_), _) => {
                self.repr_items(value, ["[", "]"], origin, out, depth)?;
            }
            Value::Tuple(items) => {
                let end = if items.len() == 1 { ",)" } else { ")" };
                self.repr_items(value, ["(", end], origin, out, depth)?;
            }
            Value::Map(_) | Value::Data(..) => self.repr_map(value, origin, out, depth)?,
            Value::Range(range) => {
                let (start, stop, step) = **range;
                let text = if step == 1 {
                    format!("range({start}, {stop})")
                } else {
                    format!("range({start}, {stop}, {step})")
                };
                out.literal(&text, tag);
            }
            Value::View(view, map) => {
                let name = match view {
                    View::Keys => "dict_keys(",
                    View::Values => "dict_values(",
                    View::Items => "dict_items(",
                };
                out.literal(name, tag);
                let _ = map;
                self.repr_items(value, ["[", "]"], origin, out, depth)?;
                out.literal(")", tag);
            }
            Value::Namespace(fields) => {
                out.literal("<Namespace {", tag);
                let fields = fields.borrow().clone();
                for (index, (name, value)) in fields.iter().enumerate() {
                    if index > 0 {
                        out.literal(", ", tag);
                    }
                    repr_str(name, out, tag);
                    out.literal(": ", tag);
                    self.write_repr(value, out, depth + 1)?;
                }
                out.literal("}>", tag);
            }
            Value::Macro(bound) => {
                let name = bound.node.name.as_deref();
                let shown = name.map_or("anonymous".into(), |name| format!("'{name}'"));
                out.literal(&format!("<Macro {shown}>"), tag);
            }
            Value::Loop(state) => {
                let length = self.loop_length(state)?;
                let text = format!("<LoopContext {}/{length}>", state.index0.get() + 1);
                out.literal(&text, tag);
            }
            // Python prints an address here, which differs from run to run.
            other => out.literal(&format!("<{} object>", other.type_name()), tag),
        }
        Ok(())
    }

    fn repr_items(
        &mut self,
        value: &Value<'t>,
        brackets: [&str; 2],
        origin: Origin,
        out: &mut Out,
        depth: u32,
    ) -> Res<()> {
        let tag = self.tag();
        out.push(brackets[0], origin, INEXACT, tag);
        let mut iter = ValueIter::of(value)?;
        let mut first = true;
        while let Some(item) = self.next_item(&mut iter)? {
            if !first {
                out.push(", ", origin, INEXACT, tag);
            }
            first = false;
            self.write_repr(&item, out, depth + 1)?;
            self.check_made(out)?;
        }
        out.push(brackets[1], origin, INEXACT, tag);
        Ok(())
    }

    fn repr_map(
        &mut self,
        value: &Value<'t>,
        origin: Origin,
        out: &mut Out,
        depth: u32,
    ) -> Res<()> {
        let tag = self.tag();
        out.push("{", origin, INEXACT, tag);
        for (index, (key, value)) in self.mapping_entries(value)?.iter().enumerate() {
            if index > 0 {
                out.push(", ", origin, INEXACT, tag);
            }
            self.write_repr(key, out, depth + 1)?;
            out.push(": ", origin, INEXACT, tag);
            self.write_repr(value, out, depth + 1)?;
            self.check_made(out)?;
        }
        out.push("}", origin, INEXACT, tag);
        Ok(())
    }

    /// Stops text that grows beyond the limits while it is still being written.
    pub(crate) fn check_made(&mut self, out: &Out) -> Res<()> {
        self.budget.would_exceed(out.text.len())
    }
}

/// Python's quoting: single quotes unless the text holds some and no double ones.
fn repr_str(text: &Str<'_>, out: &mut Out, tag: u32) {
    let whole = text.as_str();
    let quote = if whole.contains('\'') && !whole.contains('"') {
        '"'
    } else {
        '\''
    };
    let origin = if whole.is_empty() {
        LITERAL
    } else {
        text.origin_at(0).0
    };
    out.push_char(quote, origin, tag);
    let mut last = origin;
    text.each_run(|range, origin, src, own| {
        let tag = merge_tags(own, tag);
        last = origin;
        let mut from = range.start;
        for (at, c) in whole[range.clone()].char_indices() {
            if c != '\\' && c != quote && is_printable(c) {
                continue;
            }
            let at = range.start + at;
            push_part(out, &whole[from..at], origin, src, from - range.start, tag);
            out.push(&escaped(c), origin, INEXACT, tag);
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
    out.push_char(quote, last, tag);
}

pub(crate) fn push_part(out: &mut Out, text: &str, origin: Origin, src: u32, by: usize, tag: u32) {
    let src = if src == INEXACT { src } else { src + by as u32 };
    out.push(text, origin, src, tag);
}

fn escaped(c: char) -> String {
    match c {
        '\\' | '\'' | '"' => format!("\\{c}"),
        '\n' => "\\n".into(),
        '\r' => "\\r".into(),
        '\t' => "\\t".into(),
        c => match c as u32 {
            code @ 0..=0xff => format!("\\x{code:02x}"),
            code @ 0x100..=0xffff => format!("\\u{code:04x}"),
            code => format!("\\U{code:08x}"),
        },
    }
}
