//! Attributes, items and slices, with the sandbox's rules.

use std::rc::Rc;

use super::Interp;
use super::quick::quick_attr;
use crate::ast::{Expr, ExprKind, Field};
use crate::data::Data;
use crate::error::{Fault, Res};
use crate::methods::{Access, method_access};
use crate::ops::{self, undefined_error};
use crate::text::{LITERAL, Str};
use crate::trace::Step;
use crate::value::{LoopState, Undef, Value};

impl<'t> Interp<'t> {
    #[inline(never)]
    pub(super) fn eval_field(&mut self, field: &'t Field) -> Res<Value<'t>> {
        if let Value::Data(Data::Map(map), origin) = self.place(field.var)
            && let Some((at, value)) = map.find(&field.key)
        {
            let origin = *origin;
            let origin = self.leaves.entry(origin, at, &field.key);
            return Ok(Value::from_data(value, origin));
        }
        self.eval(&field.whole)
    }

    #[inline(never)]
    pub(super) fn eval_attr(
        &mut self,
        expr: &'t Expr,
        object: &'t Expr,
        name: &'t str,
        on_dict: Access,
    ) -> Res<Value<'t>> {
        if let ExprKind::Var(var) = &object.kind {
            let object = self.place(var.var);
            if let Some(value) = quick_attr(object, name) {
                return Ok(value);
            }
            let object = object.clone();
            return self
                .attr(&object, Str::literal(name))
                .map_err(|fault| fault.at(expr.at));
        }
        self.budget.stack().map_err(|fault| fault.at(expr.at))?;
        let object = self.eval(object)?;
        if let Value::Data(Data::Map(map), origin) = object
            && on_dict == Access::None
            && let Some((at, value)) = map.find(name)
        {
            let origin = self.leaves.entry(origin, at, name);
            return Ok(Value::from_data(value, origin));
        }
        self.attr(&object, Str::literal(name))
            .map_err(|fault| fault.at(expr.at))
    }

    #[inline(never)]
    pub(super) fn eval_item(
        &mut self,
        expr: &'t Expr,
        object: &'t Expr,
        index: &'t Expr,
    ) -> Res<Value<'t>> {
        self.budget.stack().map_err(|fault| fault.at(expr.at))?;
        let object = self.eval(object)?;
        let index = self.eval(index)?;
        let value = self
            .item(&object, &index)
            .map_err(|fault| fault.at(expr.at))?;
        if self.trace
            && !self.owner.fixed
            && let (Some(turn), Value::Int(index, _)) = (self.owner.index, &index)
            && turn == *index
            && let Some(message) = self.message_of(&value)
        {
            // `messages[i]` in a loop over i: the turn is about that message.
            self.owner.tag = message + 2;
            self.owner.fixed = true;
        }
        Ok(value)
    }

    /// `object.name`: attributes (methods) first, then items.
    pub(crate) fn attr(&mut self, object: &Value<'t>, name: Str<'t>) -> Res<Value<'t>> {
        let key = name.as_str();
        match object {
            Value::Undefined(_) => return Err(undefined_error(object).unwrap_or_else(unreachable)),
            Value::Loop(state) => {
                let state = state.clone();
                if let Some(value) = self.loop_attr(&state, key)? {
                    return Ok(value);
                }
            }
            Value::Namespace(fields) => {
                let found = fields
                    .borrow()
                    .iter()
                    .find(|(known, _)| known.as_str() == key)
                    .cloned();
                if let Some((_, value)) = found {
                    return Ok(value);
                }
            }
            Value::Macro(bound) if key == "name" => {
                return Ok(match &bound.node.name {
                    Some(name) => Value::literal(name),
                    None => Value::None(LITERAL),
                });
            }
            Value::Cycler(state) if key == "current" => {
                return Ok(state.0[state.1.get() % state.0.len().max(1)].clone());
            }
            Value::Int(number, origin) if matches!(key, "real" | "numerator") => {
                return Ok(Value::Int(*number, *origin));
            }
            Value::Float(number, origin) if key == "real" => {
                return Ok(Value::Float(*number, *origin));
            }
            Value::Int(..) if matches!(key, "imag" | "denominator") => {
                return Ok(Value::int(i64::from(key == "denominator")));
            }
            _ => {}
        }
        match method_access(object.type_name(), key) {
            Access::Method => Ok(Value::Method(Rc::new((object.clone(), name)))),
            Access::Unsafe => Ok(Value::Undefined(Undef::hidden(object.type_name(), name))),
            Access::None => match self.map_item(object, key) {
                Some(value) => Ok(value),
                None => Ok(Value::Undefined(Undef::attribute(object.type_name(), name))),
            },
        }
    }

    pub(crate) fn map_item(&mut self, object: &Value<'t>, key: &str) -> Option<Value<'t>> {
        match object {
            Value::Data(Data::Map(map), origin) => {
                let index = map.iter().position(|(name, _)| &**name == key)?;
                let (name, value) = map.at(index)?;
                let origin = self.leaves.entry(*origin, index, name);
                Some(Value::from_data(value, origin))
            }
            Value::Map(entries) => entries
                .iter()
                .find(|(name, _)| name.as_text() == Some(key))
                .map(|(_, value)| value.clone()),
            _ => None,
        }
    }

    /// `object[index]`: items first, then attributes for string indices.
    pub(crate) fn item(&mut self, object: &Value<'t>, index: &Value<'t>) -> Res<Value<'t>> {
        match (object, index) {
            (Value::Undefined(_), _) => {
                return Err(undefined_error(object).unwrap_or_else(unreachable));
            }
            (Value::Str(text), Value::Int(..) | Value::Bool(..)) => {
                if let Some(c) = self.char_at(text, index)? {
                    return Ok(c);
                }
            }
            (
                Value::List(_)
                | Value::Messages(_)
                | Value::Tuple(_)
                | Value::Range(_)
                | Value::Data(Data::List(_), _),
                Value::Int(..) | Value::Bool(..),
            ) => {
                if let Some(value) = self.element(object, index) {
                    return Ok(value);
                }
            }
            (Value::Data(Data::Map(_), _), Value::Str(key)) => {
                if let Some(value) = self.map_item(object, key.as_str()) {
                    return Ok(value);
                }
            }
            (Value::Map(entries), _) => {
                // An unhashable key is a TypeError that the sandbox turns into undefined.
                self.budget.steps(entries.len() / 8)?;
                for (key, value) in entries.iter() {
                    if ops::equal(key, index, 0)? {
                        return Ok(value.clone());
                    }
                }
            }
            _ => {}
        }
        if let Value::Str(name) = index {
            // `namespace['x']` reads the attribute too; a mapping's own keys were tried above.
            let found = match object {
                Value::Data(Data::Map(_), _) | Value::Map(_) => {
                    match method_access("dict", name.as_str()) {
                        Access::Method => {
                            Some(Value::Method(Rc::new((object.clone(), name.clone()))))
                        }
                        Access::Unsafe => {
                            Some(Value::Undefined(Undef::hidden("dict", name.clone())))
                        }
                        Access::None => None,
                    }
                }
                _ => Some(self.attr(object, name.clone())?),
            };
            if let Some(value) = found {
                return Ok(value);
            }
        }
        let shown = if let Value::Str(text) = index {
            text.clone()
        } else {
            let mut out = crate::out::Out::new(false);
            self.write_repr(index, &mut out, 0)?;
            out.into_str()
        };
        Ok(Value::Undefined(Undef::attribute(
            object.type_name(),
            shown,
        )))
    }

    pub(super) fn element(&mut self, list: &Value<'t>, index: &Value<'t>) -> Option<Value<'t>> {
        let len = list.container_len()?;
        let at = wrap_index(index_value(index)?, len)?;
        Some(match list {
            Value::List(items) | Value::Tuple(items) => items[at].clone(),
            Value::Messages(messages) => messages.get(at)?,
            Value::Range(range) => Value::int(range.0 + range.2 * at as i64),
            Value::Data(Data::List(items), origin) => {
                let origin = self.leaves.child(*origin, Step::Index(at as u32));
                Value::from_data(&items[at], origin)
            }
            _ => return None,
        })
    }

    fn char_at(&mut self, text: &Str<'t>, index: &Value<'t>) -> Res<Option<Value<'t>>> {
        let Some(index) = index_value(index) else {
            return Ok(None);
        };
        let whole = text.as_str();
        self.scan(whole.len())?;
        let found = if index >= 0 {
            whole.char_indices().nth(index as usize)
        } else {
            whole
                .char_indices()
                .rev()
                .nth((index.unsigned_abs() - 1) as usize)
        };
        Ok(found.map(|(at, c)| Value::Str(text.slice(at..at + c.len_utf8()))))
    }

    fn loop_attr(&mut self, state: &Rc<LoopState<'t>>, name: &str) -> Res<Option<Value<'t>>> {
        let index0 = state.index0.get() as i64;
        Ok(Some(match name {
            "index0" => Value::int(index0),
            "index" => Value::int(index0 + 1),
            "first" => Value::bool(index0 == 0),
            "last" => Value::bool(self.peek_next(state)?.is_none()),
            "length" => Value::int(self.loop_length(state)? as i64),
            "revindex" => Value::int(self.loop_length(state)? as i64 - index0),
            "revindex0" => Value::int(self.loop_length(state)? as i64 - index0 - 1),
            "depth" => Value::int(state.depth0 as i64 + 1),
            "depth0" => Value::int(state.depth0 as i64),
            "previtem" => {
                let before = state.before.borrow().clone();
                before.unwrap_or_else(|| Value::hint("there is no previous item"))
            }
            "nextitem" => self
                .peek_next(state)?
                .unwrap_or_else(|| Value::hint("there is no next item")),
            "cycle" | "changed" => {
                let name = if name == "cycle" { "cycle" } else { "changed" };
                Value::Method(Rc::new((Value::Loop(state.clone()), Str::literal(name))))
            }
            _ => return Ok(None),
        }))
    }

    fn peek_next(&mut self, state: &LoopState<'t>) -> Res<Option<Value<'t>>> {
        if state.after.borrow().is_none() {
            let next = self.loop_next(state)?;
            state.after.replace(next);
        }
        Ok(state.after.borrow().clone())
    }

    pub(crate) fn loop_length(&mut self, state: &LoopState<'t>) -> Res<usize> {
        if let Some(length) = state.length.get() {
            return Ok(length);
        }
        let seen = state.index0.get() + 1 + usize::from(state.after.borrow().is_some());
        let known = state.iter.borrow().len();
        let left = if let Some(left) = known {
            left
        } else {
            // A lazy sequence is read to its end, and the loop goes on over what was read.
            let mut items = Vec::new();
            while let Some(item) = self.loop_next(state)? {
                self.step()?;
                items.push(item);
            }
            let left = items.len();
            state
                .iter
                .replace(crate::iter::ValueIter::List(Rc::new(items), 0));
            left
        };
        state.length.set(Some(seen + left));
        Ok(seen + left)
    }

    /// Follows a dotted path of items, as `map(attribute=...)` does.
    pub(crate) fn follow(
        &mut self,
        value: &Value<'t>,
        path: &[Value<'t>],
        default: Option<&Value<'t>>,
    ) -> Res<Value<'t>> {
        let mut current = value.clone();
        for part in path {
            current = self.item(&current, part)?;
            if current.is_undefined()
                && let Some(default) = default
            {
                current = default.clone();
            }
        }
        Ok(current)
    }
}

fn unreachable() -> Fault {
    Fault::type_error("undefined value")
}

pub(crate) fn index_value(value: &Value<'_>) -> Option<i64> {
    match value {
        Value::Int(value, _) => Some(*value),
        Value::Bool(value, _) => Some(i64::from(*value)),
        _ => None,
    }
}

fn wrap_index(index: i64, len: usize) -> Option<usize> {
    let at = if index < 0 {
        index.checked_add(len as i64)?
    } else {
        index
    };
    usize::try_from(at).ok().filter(|at| *at < len)
}
