//! Iteration over values, lazily where Jinja2 is lazy.

use std::cell::RefCell;
use std::rc::Rc;

use crate::ast::For;
use crate::data::{Data, Map};
use crate::error::{Fault, Res};
use crate::eval::Interp;
use crate::messages::Messages;
use crate::ops::undefined_error;
use crate::text::{Origin, Str};
use crate::trace::Step;
use crate::value::{Gen, GenOp, Value, View, range_len};

#[derive(Clone)]
pub(crate) enum ValueIter<'t> {
    Empty,
    List(Rc<Vec<Value<'t>>>, usize),
    /// What is left.
    Messages(Messages<'t>),
    Data(&'t [Data], Origin, usize),
    DataMap(&'t Map, Origin, usize, View),
    Map(Rc<Vec<(Value<'t>, Value<'t>)>>, usize, View),
    Chars(Str<'t>, usize),
    Range(i64, i64, usize),
    Gen(Rc<RefCell<Gen<'t>>>),
    /// `for x in inner if test`.
    Filtered(Box<ValueIter<'t>>, &'t For),
}

impl<'t> ValueIter<'t> {
    pub(crate) fn of(value: &Value<'t>) -> Res<Self> {
        Ok(match value {
            Value::Undefined(crate::value::Undef::Unsafe(..)) => {
                return Err(undefined_error(value).unwrap_or_else(|| Fault::type_error("")));
            }
            Value::Undefined(_) => Self::Empty,
            Value::Str(text) => Self::Chars(text.clone(), 0),
            Value::Data(Data::List(items), origin) => Self::Data(items, *origin, 0),
            Value::Data(Data::Map(map), origin) => Self::DataMap(map, *origin, 0, View::Keys),
            Value::List(items) | Value::Tuple(items) => Self::List(items.clone(), 0),
            Value::Messages(messages) => Self::Messages(*messages),
            Value::Map(entries) => Self::Map(entries.clone(), 0, View::Keys),
            Value::Range(range) => Self::Range(range.0, range.2, range_len(range)),
            Value::View(view, map) => match &**map {
                Value::Data(Data::Map(map), origin) => Self::DataMap(map, *origin, 0, *view),
                Value::Map(entries) => Self::Map(entries.clone(), 0, *view),
                _ => Self::Empty,
            },
            Value::Gen(generator) => Self::Gen(generator.clone()),
            _ => {
                let message = format!("'{}' object is not iterable", value.type_name());
                return Err(Fault::type_error(message));
            }
        })
    }

    /// Whether nothing is left, where that is known without running anything.
    pub(crate) fn is_done(&self) -> Option<bool> {
        match self {
            Self::Chars(text, at) => Some(*at >= text.len()),
            _ => self.len().map(|left| left == 0),
        }
    }

    /// Whether taking an item may run a filter or a condition of the template.
    pub(crate) fn is_lazy(&self) -> bool {
        matches!(self, Self::Gen(_) | Self::Filtered(..))
    }

    /// How many items are left, where that is known without running anything.
    pub(crate) fn len(&self) -> Option<usize> {
        Some(match self {
            Self::Empty => 0,
            Self::List(items, at) => items.len() - at,
            Self::Messages(messages) => messages.len(),
            Self::Data(items, _, at) => items.len() - at,
            Self::DataMap(map, _, at, _) => map.len() - at,
            Self::Map(entries, at, _) => entries.len() - at,
            Self::Chars(text, at) => text.as_str()[*at..].chars().count(),
            Self::Range(_, _, left) => *left,
            Self::Gen(_) | Self::Filtered(..) => return None,
        })
    }
}

impl<'t> Interp<'t> {
    pub(crate) fn next_item(&mut self, iter: &mut ValueIter<'t>) -> Res<Option<Value<'t>>> {
        Ok(match iter {
            ValueIter::Empty => None,
            ValueIter::List(items, at) => {
                // A loop may ask again after the end, for its next item or its length.
                let item = items.get(*at).cloned();
                *at += usize::from(item.is_some());
                item
            }
            ValueIter::Messages(messages) => {
                let item = messages.get(0);
                messages.take_first();
                item
            }
            ValueIter::Data(items, origin, at) => match items.get(*at) {
                Some(item) => {
                    let origin = self.leaves.child(*origin, Step::Index(*at as u32));
                    *at += 1;
                    Some(Value::from_data(item, origin))
                }
                None => None,
            },
            ValueIter::DataMap(map, origin, at, view) => match map.at(*at) {
                Some((key, value)) => {
                    let place = *at;
                    *at += 1;
                    Some(self.data_entry((place, key, value), *origin, *view))
                }
                None => None,
            },
            ValueIter::Map(entries, at, view) => {
                let entry = entries.get(*at).cloned();
                *at += usize::from(entry.is_some());
                entry.map(|(key, value)| match view {
                    View::Keys => key,
                    View::Values => value,
                    View::Items => Value::Tuple(Rc::new(vec![key, value])),
                })
            }
            ValueIter::Chars(text, at) => {
                let next = text.as_str()[*at..].chars().next();
                next.map(|c| {
                    let start = *at;
                    *at += c.len_utf8();
                    Value::Str(text.slice(start..*at))
                })
            }
            ValueIter::Range(next, step, left) => {
                if *left == 0 {
                    None
                } else {
                    let value = *next;
                    *left -= 1;
                    *next = next.saturating_add(*step);
                    Some(Value::int(value))
                }
            }
            ValueIter::Gen(generator) => {
                let generator = generator.clone();
                let mut generator = generator
                    .try_borrow_mut()
                    .map_err(|_| Fault::value_error("generator already executing"))?;
                self.next_generated(&mut generator)?
            }
            ValueIter::Filtered(inner, node) => {
                let node: &'t For = node;
                loop {
                    let Some(item) = self.next_item(inner)? else {
                        return Ok(None);
                    };
                    if self.passes_loop_test(node, &item)? {
                        return Ok(Some(item));
                    }
                }
            }
        })
    }

    fn data_entry(
        &mut self,
        (at, key, value): (usize, &'t str, &'t Data),
        origin: Origin,
        view: View,
    ) -> Value<'t> {
        // A key is input too: it carries the origin of the value that it names.
        let child = self.leaves.entry(origin, at, key);
        let key_text = || {
            let text = Str::leaf(key, child);
            Value::Str(if child == crate::text::LITERAL {
                text
            } else {
                text.inexact()
            })
        };
        match view {
            View::Keys => key_text(),
            View::Values => Value::from_data(value, child),
            View::Items => Value::Tuple(Rc::new(vec![key_text(), Value::from_data(value, child)])),
        }
    }

    fn next_generated(&mut self, generator: &mut Gen<'t>) -> Res<Option<Value<'t>>> {
        loop {
            self.step()?;
            if let GenOp::Fail(message) = &generator.op {
                return Err(Fault::type_error(&**message));
            }
            let Some(item) = self.next_item(&mut generator.source)? else {
                return Ok(None);
            };
            match &generator.op {
                GenOp::Plain | GenOp::Fail(_) => return Ok(Some(item)),
                GenOp::MapFilter(filter, args) => {
                    return self.apply_filter(*filter, item, args.clone()).map(Some);
                }
                GenOp::MapAttr(path, default) => {
                    return self.follow(&item, path, default.as_ref()).map(Some);
                }
                GenOp::Select { attr, test, keep } => {
                    let subject = match attr {
                        Some(path) => self.follow(&item, path, None)?,
                        None => item.clone(),
                    };
                    let holds = match test {
                        Some((test, args)) => self.apply_test(*test, &subject, args)?,
                        None => subject.is_true(),
                    };
                    if holds == *keep {
                        return Ok(Some(item));
                    }
                }
            }
        }
    }

    /// All items of `value`.
    pub(crate) fn collect(&mut self, value: &Value<'t>) -> Res<Vec<Value<'t>>> {
        let mut iter = ValueIter::of(value)?;
        let mut items = Vec::new();
        while let Some(item) = self.next_item(&mut iter)? {
            self.step()?;
            self.charge(std::mem::size_of::<Value<'t>>())?;
            items.push(item);
        }
        Ok(items)
    }
}
