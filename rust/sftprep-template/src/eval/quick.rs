//! Short ways for what chat templates do most, which evaluate nothing that is not needed and
//! make no values in between: conditions on input fields, common methods and filters. Each gives
//! what the general way gives; where it is not certain to, it says so and the general way runs.
//!
//! What paid off, by instructions per render: memory kept between rows, a third; conditions and
//! message text without values, a sixth; fields, checks and tests as nodes of their own, short
//! functions for the common half of a `match` (each call of a long one saves and restores all
//! registers) and no `loop` where only a loop inside reads one, a tenth each; messages as a view
//! and origins without a table (see `messages` and `trace`), a tenth. What did not: one function
//! for all expressions (its stack frame is paid for by each), splitting it further than into common
//! and rare ones, and joining literals (few stand next to one another, but it costs nothing).
//!
//! Instructions are half of it. Values of 32 bytes instead of 64 gained more in time than in
//! instructions, and so did making them in their place (see `put`): a fifth of the time at the same
//! number of instructions. A segment that a function returned cost a tenth of a render alone.
//!
//! A row of seven short messages of the Llama 3.1 template takes some 17,000 instructions: 4,700
//! for variables, segments and leaves; 7,200 for the loop over the messages, 50 per check and 90
//! per piece of text; the rest for what stands around the loop. What is left is spread thin.

use super::{Interp, put};
use crate::ast::{Args, Check, CmpOp, Expr, ExprKind, Field, Kind, VarRef};
use crate::data::{Data, same_word};
use crate::error::Res;
use crate::filters::Filter;
use crate::methods::{Access, Ends, method_access, split_on, stripped, trimmed};
use crate::tests::Test;
use crate::text::{LITERAL, Origin, RUN_BYTES, Str};
use crate::value::{Undef, Value};

/// What `peek` found out about an expression without evaluating it.
pub(super) enum Peek<'t> {
    /// It is this input value.
    Data(&'t Data),
    /// It is undefined.
    Missing,
    /// It has to be evaluated.
    Unknown,
}

fn found(field: Option<&Data>, on_dict: Access) -> Peek<'_> {
    match field {
        Some(data) => Peek::Data(data),
        None if on_dict == Access::None => Peek::Missing,
        None => Peek::Unknown,
    }
}

impl<'t> Interp<'t> {
    /// Looks at `x.key`, `x['key']` and `x[0]` of the input: most conditions ask for no more.
    pub(super) fn peek(&self, expr: &'t Expr) -> Peek<'t> {
        match &expr.kind {
            ExprKind::Var(var) => match self.place(var.var) {
                Value::Data(data, _) => Peek::Data(data),
                _ => Peek::Unknown,
            },
            ExprKind::Field(field) => match self.place(field.var) {
                Value::Data(Data::Map(map), _) => match (map.get(&field.key), &field.whole.kind) {
                    (Some(data), _) => Peek::Data(data),
                    (None, ExprKind::Attr(..)) => Peek::Missing,
                    (None, _) => found(None, method_access("dict", &field.key)),
                },
                _ => Peek::Unknown,
            },
            ExprKind::Attr(object, name, on_dict) if *on_dict == Access::None => {
                match self.peek(object) {
                    Peek::Data(Data::Map(map)) => found(map.get(name), Access::None),
                    _ => Peek::Unknown,
                }
            }
            ExprKind::Item(object, index) => match &index.kind {
                ExprKind::Str(key) => match self.peek(object) {
                    Peek::Data(Data::Map(map)) => match map.get(key) {
                        Some(data) => Peek::Data(data),
                        None => found(None, method_access("dict", key)),
                    },
                    _ => Peek::Unknown,
                },
                ExprKind::Int(index) => self.peek_element(object, *index),
                _ => Peek::Unknown,
            },
            _ => Peek::Unknown,
        }
    }

    fn peek_element(&self, list: &'t Expr, index: i64) -> Peek<'t> {
        let Ok(index) = usize::try_from(index) else {
            return Peek::Unknown;
        };
        // In a loop over numbers, evaluating `messages[0]` may say whose turn it is.
        if self.owner.index.is_some() {
            return Peek::Unknown;
        }
        if let ExprKind::Var(var) = &list.kind
            && let Value::Messages(messages) = self.place(var.var)
        {
            return messages.data(index).map_or(Peek::Unknown, Peek::Data);
        }
        match self.peek(list) {
            Peek::Data(Data::List(items)) => items.get(index).map_or(Peek::Unknown, Peek::Data),
            _ => Peek::Unknown,
        }
    }

    /// Text of the input named by `var.key`, trimmed or not, with its origin and offset there.
    #[allow(clippy::inline_always)] // a call costs as much as what it does
    #[inline(always)]
    pub(super) fn input_text(&mut self, expr: &'t Expr) -> Option<(&'t str, Origin, u32)> {
        let (field, trim) = match &expr.kind {
            ExprKind::Field(field) => (field, false),
            ExprKind::Trimmed(field) => (field, true),
            _ => return None,
        };
        let Value::Data(Data::Map(map), object) = self.place(field.var) else {
            return None;
        };
        let (at, value) = map.find(&field.key)?;
        let Data::Str(text) = value else {
            return None;
        };
        let origin = self.leaves.entry(*object, at, &field.key);
        if !trim {
            return Some((text, origin, 0));
        }
        // Over the limit: the general way says so.
        self.scan(text.len()).ok()?;
        let range = trimmed(text);
        if range.len() == text.len() {
            return Some((text, origin, 0));
        }
        Some((&text[range.clone()], origin, range.start as u32))
    }

    /// Answers a check, if its variable is an object of the input (and has the entry to compare).
    #[allow(clippy::inline_always)] // a call costs more than what it does
    #[inline(always)]
    pub(super) fn answer(&self, check: &'t Check) -> Option<bool> {
        let Value::Data(Data::Map(map), _) = self.place(check.var) else {
            return None;
        };
        let found = map.get(&check.key);
        let holds = if check.texts.is_empty() {
            found.is_some()
        } else {
            match found? {
                Data::Str(found) => check.texts.iter().any(|text| same_word(found, text)),
                _ => false,
            }
        };
        Some(holds == check.holds)
    }

    /// Whether a variable or a field is of a kind.
    #[inline]
    pub(super) fn is_kind(&self, kind: &'t Kind) -> Option<bool> {
        let value = self.place(kind.var);
        let Some(key) = &kind.key else {
            return match kind.test {
                Test::Defined => Some(!value.is_undefined()),
                test => test.of_type(value),
            };
        };
        let Value::Data(Data::Map(map), _) = value else {
            return None;
        };
        match (kind.test, map.get(key)) {
            (Test::Defined, data) => Some(data.is_some()),
            (Test::String, data) => Some(matches!(data, Some(Data::Str(_)))),
            (test, Some(data)) => test.of_type(&Value::from_data(data, LITERAL)),
            (test, None) => test.of_type(&Value::Undefined(Undef::Var(""))),
        }
    }

    /// Tests of type and presence on a variable or an input field.
    pub(super) fn quick_test(&self, operand: &'t Expr, test: Test) -> Option<bool> {
        if let ExprKind::Var(var) = &operand.kind {
            return test.of_type(self.place(var.var));
        }
        match self.peek(operand) {
            Peek::Data(data) => test.of_type(&Value::from_data(data, LITERAL)),
            Peek::Missing => test.of_type(&Value::Undefined(Undef::Var(""))),
            Peek::Unknown => None,
        }
    }

    /// `x == 'text'` and `'text' in x` of a variable or an input field.
    #[inline(never)]
    pub(super) fn quick_compare(
        &mut self,
        first: &'t Expr,
        op: CmpOp,
        second: &'t Expr,
    ) -> Res<Option<bool>> {
        let (text, other, wanted) = match (op, &first.kind, &second.kind) {
            (CmpOp::Eq | CmpOp::Ne, _, ExprKind::Str(text)) => (&**text, first, op == CmpOp::Eq),
            (CmpOp::In | CmpOp::NotIn, ExprKind::Str(text), _) => {
                (&**text, second, op == CmpOp::In)
            }
            _ => return Ok(self.order_counts(first, op, second)),
        };
        let equality = matches!(op, CmpOp::Eq | CmpOp::Ne);
        let (holds, scanned) = match self.peek(other) {
            Peek::Data(Data::Str(whole)) if equality => (same_word(whole, text), text.len()),
            Peek::Data(_) if equality => (false, 0),
            Peek::Data(Data::Str(whole)) => (whole.contains(text), whole.len()),
            Peek::Data(Data::Map(map)) => (map.contains_key(text), 0),
            _ => match &other.kind {
                ExprKind::Var(var) => match self.place(var.var) {
                    Value::Str(whole) if equality => (whole.as_str() == text, text.len()),
                    Value::Str(whole) => (whole.as_str().contains(text), whole.len()),
                    _ => return Ok(None),
                },
                _ => return Ok(None),
            },
        };
        self.scan(scanned)?;
        Ok(Some(holds == wanted))
    }

    /// Filters without arguments on values that they need no copy of.
    pub(super) fn quick_filter(
        &mut self,
        filter: Filter,
        value: &Value<'t>,
    ) -> Res<Option<Value<'t>>> {
        Ok(match (filter, value) {
            (Filter::Length, Value::List(_) | Value::Messages(_) | Value::Data(..)) => {
                self.step()?;
                value.container_len().map(|len| Value::int(len as i64))
            }
            (Filter::Trim, Value::Str(text)) => {
                self.step()?;
                self.scan(text.len())?;
                let range = trimmed(text.as_str());
                Some(Value::Str(text.slice(range)))
            }
            _ => None,
        })
    }

    /// Methods of text with one written-out argument or none, and `get` of an input object.
    pub(super) fn quick_method(
        &mut self,
        object: &Value<'t>,
        name: &str,
        args: &'t Args,
    ) -> Res<Option<Value<'t>>> {
        let arg: Option<&'t str> = match &args.pos[..] {
            [] => None,
            [
                Expr {
                    kind: ExprKind::Str(text),
                    ..
                },
            ] => Some(text),
            _ => return Ok(None),
        };
        if !args.is_plain() {
            return Ok(None);
        }
        let text = match object {
            Value::Str(text) => text,
            Value::Data(Data::Map(map), origin) => {
                let (Some(key), "get") = (arg, name) else {
                    return Ok(None);
                };
                self.step()?;
                return Ok(Some(match map.find(key) {
                    Some((at, value)) => {
                        Value::from_data(value, self.leaves.entry(*origin, at, key))
                    }
                    None => Value::None(LITERAL),
                }));
            }
            _ => return Ok(None),
        };
        let whole = text.as_str();
        let ends = match (name, arg) {
            ("strip", _) => Ends::Both,
            ("lstrip", _) => Ends::Left,
            ("rstrip", _) => Ends::Right,
            ("startswith", Some(part)) => {
                self.step()?;
                self.scan(part.len())?;
                return Ok(Some(Value::bool(whole.starts_with(part))));
            }
            ("endswith", Some(part)) => {
                self.step()?;
                self.scan(part.len())?;
                return Ok(Some(Value::bool(whole.ends_with(part))));
            }
            ("split", Some(sep)) if !sep.is_empty() => {
                self.step()?;
                self.scan(whole.len())?;
                let ranges = split_on(whole, sep, usize::MAX, false);
                return self.slices(text, ranges).map(Some);
            }
            _ => return Ok(None),
        };
        self.step()?;
        let set = arg.map_or(1, str::len).max(1);
        self.scan(whole.len().saturating_mul(set))?;
        Ok(Some(Value::Str(text.slice(stripped(whole, arg, ends)))))
    }

    /// The truth of an entry of an input object, a flag of a loop or a field of a namespace.
    #[inline]
    pub(super) fn field_truth(&self, field: &'t Field) -> Option<bool> {
        match self.place(field.var) {
            Value::Data(Data::Map(map), _) => match map.get(&field.key)? {
                Data::Str(text) => Some(!text.is_empty()),
                data => Some(Value::from_data(data, LITERAL).is_true()),
            },
            Value::Loop(state) => match &*field.key {
                "first" => Some(state.index0.get() == 0),
                "last" => state.is_last(),
                _ => None,
            },
            Value::Namespace(fields) => {
                let fields = fields.borrow();
                let mut fields = fields.iter();
                let (_, value) = fields.find(|(known, _)| same_word(known.as_str(), &field.key))?;
                Some(value.is_true())
            }
            _ => None,
        }
    }

    /// `{% set x = ... %}` of what can be made in its place; whether it was.
    #[inline]
    pub(super) fn set_quickly(&mut self, slot: u32, expr: &'t Expr) -> bool {
        match &expr.kind {
            ExprKind::Str(text) => put(self.cleared(slot), Value::Str(Str::literal(text))),
            ExprKind::Bool(value) => put(self.cleared(slot), Value::bool(*value)),
            ExprKind::None => put(self.cleared(slot), Value::None(LITERAL)),
            ExprKind::Field(_) | ExprKind::Trimmed(_) => match self.input_text(expr) {
                Some((text, origin, src)) => {
                    // A filter is a step. Over the limit: the general way says so.
                    let filters = usize::from(matches!(expr.kind, ExprKind::Trimmed(_)));
                    if self.budget.steps(filters).is_err() {
                        return false;
                    }
                    put(
                        self.cleared(slot),
                        Value::Str(Str::borrowed(text, origin, src)),
                    );
                }
                None => return false,
            },
            ExprKind::Bin(..) | ExprKind::Sum(_) => match self.count(expr) {
                Some(count) => put(self.cleared(slot), Value::int(count)),
                None => return false,
            },
            _ => return false,
        }
        true
    }

    /// Writes a variable that holds text, without a copy of the value; whether it did.
    pub(super) fn emit_variable(&mut self, var: VarRef) -> Res<bool> {
        self.emit_text_of(var, true)
    }

    /// Likewise, unless it is Markup.
    pub(super) fn emit_plain_variable(&mut self, var: VarRef) -> Res<bool> {
        self.emit_text_of(var, false)
    }

    fn emit_text_of(&mut self, var: VarRef, markup: bool) -> Res<bool> {
        let tag = self.tag();
        let value = match var {
            VarRef::Slot(slot) => &self.slots[self.base + slot as usize],
            VarRef::Context(index) => &self.context[index as usize],
            VarRef::Up(..) => return Ok(false),
        };
        let Value::Str(text) = value else {
            return Ok(false);
        };
        if text.safe() && !markup {
            return Ok(false);
        }
        self.budget.bytes(text.len() + RUN_BYTES)?;
        self.out.push_str(text, tag);
        Ok(true)
    }
}

/// Attributes that need neither the interpreter nor a copy of their object.
pub(super) fn quick_attr<'t>(object: &Value<'t>, name: &str) -> Option<Value<'t>> {
    match object {
        Value::Namespace(fields) => {
            let fields = fields.borrow();
            fields
                .iter()
                .find(|(known, _)| known.as_str() == name)
                .map(|(_, value)| value.clone())
        }
        Value::Loop(state) => {
            let index0 = state.index0.get() as i64;
            Some(match name {
                "first" => Value::bool(index0 == 0),
                "index0" => Value::int(index0),
                "index" => Value::int(index0 + 1),
                "last" => Value::bool(state.is_last()?),
                _ => return None,
            })
        }
        _ => None,
    }
}
