//! `object[start:stop:step]`.

use std::rc::Rc;

use super::{Interp, index_value};
use crate::data::Data;
use crate::error::{Fault, Res};
use crate::ops::undefined_error;
use crate::text::Str;
use crate::value::{Value, range_len};

impl<'t> Interp<'t> {
    /// `object[start:stop:step]`.
    pub(super) fn slice(
        &mut self,
        object: &Value<'t>,
        bounds: &[Option<Value<'t>>; 3],
    ) -> Res<Value<'t>> {
        if let Some(fault) = undefined_error(object) {
            return Err(fault);
        }
        if !matches!(
            object,
            Value::Str(_)
                | Value::List(_)
                | Value::Messages(_)
                | Value::Tuple(_)
                | Value::Range(_)
                | Value::Data(Data::List(_), _)
        ) {
            // A bad subscript gives undefined, but Jinja2 compiles slices to Python's own.
            let text = format!("'{}' cannot be sliced", object.type_name());
            return Err(Fault::type_error(text));
        }
        let mut numbers = [None; 3];
        for (number, bound) in numbers.iter_mut().zip(bounds) {
            *number = match bound {
                None | Some(Value::None(_)) => None,
                Some(bound) => {
                    if let Some(value) = index_value(bound) {
                        Some(value)
                    } else {
                        return Err(Fault::type_error("slice indices must be integers or none"));
                    }
                }
            };
        }
        let step = numbers[2].unwrap_or(1);
        if step == 0 {
            return Err(Fault::value_error("slice step cannot be zero"));
        }
        if let Value::Str(text) = object {
            return self.slice_text(text, numbers[0], numbers[1], step);
        }
        let len = object.container_len().unwrap_or(0);
        let (start, stop) = python_slice(len, numbers[0], numbers[1], step);
        let count = range_len(&(start, stop, step));
        self.charge(count.saturating_mul(std::mem::size_of::<Value<'t>>()))?;
        if let Value::Messages(messages) = object {
            self.slices += 1;
            return Ok(Value::Messages(messages.slice(
                start,
                count,
                step,
                self.slices,
            )));
        }
        if let Value::Range(range) = object {
            let at = |index: i64| range.0 + range.2 * index;
            return Ok(Value::Range(Rc::new((at(start), at(stop), range.2 * step))));
        }
        let indices = slice_indices(len, numbers[0], numbers[1], step);
        let items: Vec<_> = match object {
            Value::List(items) | Value::Tuple(items) => {
                indices.into_iter().map(|at| items[at].clone()).collect()
            }
            _ => indices
                .into_iter()
                .filter_map(|index| self.element(object, &Value::int(index as i64)))
                .collect(),
        };
        Ok(match object {
            Value::Tuple(_) => Value::Tuple(Rc::new(items)),
            _ => Value::list(items),
        })
    }

    fn slice_text(
        &mut self,
        text: &Str<'t>,
        start: Option<i64>,
        stop: Option<i64>,
        step: i64,
    ) -> Res<Value<'t>> {
        let whole = text.as_str();
        self.scan(whole.len())?;
        let len = if whole.is_ascii() {
            whole.len()
        } else {
            whole.chars().count()
        };
        let (from, to) = python_slice(len, start, stop, step);
        if step == 1 {
            let (from, to) = (from as usize, to.max(from) as usize);
            let byte = |index: usize| {
                if len == whole.len() {
                    index
                } else {
                    whole
                        .char_indices()
                        .nth(index)
                        .map_or(whole.len(), |(at, _)| at)
                }
            };
            return Ok(Value::Str(text.slice(byte(from)..byte(to))));
        }
        let places: Vec<(usize, char)> = whole.char_indices().collect();
        self.charge(places.len() * 16)?;
        let mut out = self.buffer(whole.len());
        for index in slice_indices(len, start, stop, step) {
            let (at, c) = places[index];
            let (origin, src, tag) = text.origin_at(at);
            out.push(&whole[at..at + c.len_utf8()], origin, src, tag);
        }
        Ok(Value::Str(out.into_str().marked_safe(text.safe())))
    }
}

/// Python's `slice.indices`.
fn python_slice(len: usize, start: Option<i64>, stop: Option<i64>, step: i64) -> (i64, i64) {
    let len = len as i64;
    let clamp = |bound: i64, low: i64, high: i64| {
        let bound = if bound < 0 {
            bound.saturating_add(len)
        } else {
            bound
        };
        bound.clamp(low, high)
    };
    if step > 0 {
        (
            start.map_or(0, |s| clamp(s, 0, len)),
            stop.map_or(len, |s| clamp(s, 0, len)),
        )
    } else {
        (
            start.map_or(len - 1, |s| clamp(s, -1, len - 1)),
            stop.map_or(-1, |s| clamp(s, -1, len - 1)),
        )
    }
}

fn slice_indices(len: usize, start: Option<i64>, stop: Option<i64>, step: i64) -> Vec<usize> {
    let (start, stop) = python_slice(len, start, stop, step);
    let count = range_len(&(start, stop, step));
    let mut at = start;
    let mut indices = Vec::with_capacity(count);
    for _ in 0..count {
        indices.push(at as usize);
        at = at.saturating_add(step);
    }
    indices
}
