//! `str.format`.

use super::spec::apply_spec;
use crate::error::{Fault, Res};
use crate::eval::{Interp, args_error};
use crate::out::Out;
use crate::text::Str;
use crate::value::{CallArgs, Value};

impl<'t> Interp<'t> {
    pub(crate) fn format(&mut self, format: &Str<'t>, args: CallArgs<'t>) -> Res<Value<'t>> {
        let mut out = self.buffer(format.len() + 16);
        let mut auto = Some(0);
        self.format_into(format, &args, &mut auto, 0, &mut out)?;
        self.charge(out.text.len())?;
        Ok(Value::Str(out.into_str().marked_safe(format.safe())))
    }

    fn format_into(
        &mut self,
        format: &Str<'t>,
        args: &CallArgs<'t>,
        auto: &mut Option<usize>,
        depth: u32,
        out: &mut Out,
    ) -> Res<()> {
        if depth > 2 {
            return Err(Fault::value_error("max string recursion exceeded"));
        }
        let whole = format.as_str();
        let mut at = 0;
        while let Some(found) = whole[at..].find(['{', '}']) {
            out.push_str(&format.slice(at..at + found), 0);
            let brace = &whole[at + found..=at + found];
            at += found + 1;
            if whole[at..].starts_with(brace) {
                out.push_str(&format.slice(at..at + 1), 0);
                at += 1;
                continue;
            }
            if brace == "}" {
                return Err(Fault::value_error(
                    "single '}' encountered in format string",
                ));
            }
            let Some(end) = field_end(&whole[at..]) else {
                return Err(Fault::value_error("expected '}' before end of string"));
            };
            self.format_field(
                &format.slice(at..at + end),
                args,
                auto,
                depth,
                format.safe(),
                out,
            )?;
            self.check_made(out)?;
            at += end + 1;
        }
        out.push_str(&format.slice(at..whole.len()), 0);
        Ok(())
    }

    fn format_field(
        &mut self,
        field: &Str<'t>,
        args: &CallArgs<'t>,
        auto: &mut Option<usize>,
        depth: u32,
        safe: bool,
        out: &mut Out,
    ) -> Res<()> {
        let whole = field.as_str();
        let colon = spec_start(whole);
        let (mut name, spec) = match colon {
            Some(at) => (field.slice(0..at), field.slice(at + 1..whole.len())),
            None => (field.clone(), field.slice(0..0)),
        };
        let mut conversion = None;
        if let Some(at) = name.as_str().find('!') {
            conversion = name.as_str()[at + 1..].chars().next();
            name = name.slice(0..at);
        }
        let mut value = self.lookup_field(&name, args, auto)?;
        match conversion {
            None => {}
            Some('s') => {
                let mut made = self.buffer(16);
                self.write_str(&value, &mut made)?;
                value = Value::Str(made.into_str());
            }
            Some('r' | 'a') => {
                let mut made = self.buffer(16);
                self.write_repr(&value, &mut made, 0)?;
                value = Value::Str(made.into_str());
            }
            Some(c) => {
                return Err(Fault::value_error(format!(
                    "unknown conversion specifier '{c}'"
                )));
            }
        }
        let mut made = self.buffer(16);
        self.format_into(&spec, args, auto, depth + 1, &mut made)?;
        let spec = made.text;
        let text = if spec.is_empty() {
            let mut made = self.buffer(16);
            self.write_str(&value, &mut made)?;
            made.into_str()
        } else {
            apply_spec(&value, &spec, self.buffer(16))?
        };
        if safe && !matches!(&value, Value::Str(text) if text.safe()) {
            crate::markup::escape_into(&text, out, self.tag());
        } else {
            out.push_str(&text, self.tag());
        }
        Ok(())
    }

    fn lookup_field(
        &mut self,
        name: &Str<'t>,
        args: &CallArgs<'t>,
        auto: &mut Option<usize>,
    ) -> Res<Value<'t>> {
        let whole = name.as_str();
        let first_end = whole.find(['.', '[']).unwrap_or(whole.len());
        let first = &whole[..first_end];
        let mut value = if first.is_empty() {
            let Some(index) = auto else {
                return Err(Fault::value_error(
                    "cannot switch from manual field specification to automatic field numbering",
                ));
            };
            let value = args.pos.get(*index).cloned();
            *index += 1;
            value.ok_or_else(|| out_of_range(args.pos.len()))?
        } else if let Ok(index) = first.parse::<usize>() {
            if auto.is_some_and(|used| used > 0) {
                return Err(Fault::value_error(
                    "cannot switch from automatic field numbering to manual field specification",
                ));
            }
            *auto = None;
            args.pos
                .get(index)
                .cloned()
                .ok_or_else(|| out_of_range(index))?
        } else {
            let found = args.kw.iter().find(|(known, _)| known.as_str() == first);
            match found {
                Some((_, value)) => value.clone(),
                None => return Err(args_error("format", &format!("has no argument '{first}'"))),
            }
        };
        let mut at = first_end;
        while at < whole.len() {
            if whole[at..].starts_with('.') {
                let end = whole[at + 1..]
                    .find(['.', '['])
                    .map_or(whole.len(), |e| at + 1 + e);
                value = self.attr(&value, name.slice(at + 1..end))?;
                at = end;
            } else if let Some(close) = whole[at..]
                .strip_prefix('[')
                .and_then(|rest| rest.find(']'))
            {
                let key = name.slice(at + 1..at + 1 + close);
                let index = match key.as_str().parse::<i64>() {
                    Ok(index) if !key.as_str().starts_with(['-', '+']) => Value::int(index),
                    _ => Value::Str(key),
                };
                value = self.item(&value, &index)?;
                at += close + 2;
            } else {
                return Err(Fault::value_error(
                    "only '.' or '[' may follow ']' in format field",
                ));
            }
        }
        Ok(value)
    }
}

fn out_of_range(index: usize) -> Fault {
    Fault::value_error(format!(
        "replacement index {index} out of range for positional args"
    ))
}

/// The end of a field, with nested fields in its format specification.
fn field_end(text: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => return Some(at),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// The colon before the specification; one inside brackets belongs to a key.
fn spec_start(field: &str) -> Option<usize> {
    let mut inside = false;
    for (at, c) in field.char_indices() {
        match c {
            '[' => inside = true,
            ']' => inside = false,
            ':' if !inside => return Some(at),
            _ => {}
        }
    }
    None
}
