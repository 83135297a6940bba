//! Expressions.

use std::rc::Rc;

use super::Interp;
use super::quick::Peek;
use crate::ast::{Args, BinOp, Check, CmpOp, Expr, ExprKind};
use crate::data::Data;
use crate::error::{ErrorKind, Fault, Res};
use crate::filters::Filter;
use crate::ops::{self, check_hashable, undefined_error, unsupported};
use crate::text::{LITERAL, Str};
use crate::value::Value;

impl<'t> Interp<'t> {
    /// Hands on to functions of their own: what one kind of expression needs on the stack is not
    /// paid for by the others.
    pub(super) fn eval(&mut self, expr: &'t Expr) -> Res<Value<'t>> {
        match &expr.kind {
            ExprKind::Str(text) => Ok(Value::literal(text)),
            ExprKind::Var(name) => match self.place(name.var) {
                Value::Data(data, origin) => Ok(Value::Data(data, *origin)),
                other => Ok(other.clone()),
            },
            ExprKind::Field(field) => self.eval_field(field),
            ExprKind::Attr(object, name, on_dict) => self.eval_attr(expr, object, name, *on_dict),
            ExprKind::Item(object, index) => self.eval_item(expr, object, index),
            ExprKind::None => Ok(Value::None(LITERAL)),
            ExprKind::Bool(value) => Ok(Value::bool(*value)),
            ExprKind::Int(value) => Ok(Value::int(*value)),
            _ => self.eval_more(expr),
        }
    }

    #[inline(never)]
    fn eval_more(&mut self, expr: &'t Expr) -> Res<Value<'t>> {
        self.budget.stack().map_err(|fault| fault.at(expr.at))?;
        match &expr.kind {
            ExprKind::Call(callee, args) => self.eval_call(expr, callee, args),
            ExprKind::Filter(operand, filter, args) => {
                self.eval_filter(expr, operand, *filter, args)
            }
            ExprKind::Not(_)
            | ExprKind::Check(_)
            | ExprKind::Kind(_)
            | ExprKind::Checks(..)
            | ExprKind::Compare(..)
            | ExprKind::Test(..) => self.truth(expr).map(Value::bool),
            ExprKind::Trimmed(field) => self.eval(&field.whole),
            ExprKind::And(parts) => self.eval_junction(parts, false),
            ExprKind::Or(parts) => self.eval_junction(parts, true),
            ExprKind::Cond(test, then, otherwise) => {
                if self.truth(test)? {
                    self.eval(then)
                } else if let Some(otherwise) = otherwise {
                    self.eval(otherwise)
                } else {
                    let text = "the inline if-expression was false and has no else";
                    Ok(Value::hint(text))
                }
            }
            ExprKind::Sum(parts) => self.eval_sum(expr, parts),
            ExprKind::Concat(parts) => self.eval_concat(parts),
            ExprKind::Bin(op, left, right) => {
                let left = self.eval(left)?;
                let right = self.eval(right)?;
                self.binary(*op, &left, &right)
                    .map_err(|fault| fault.at(expr.at))
            }
            _ => self.eval_rare(expr),
        }
    }

    #[inline(never)]
    fn eval_filter(
        &mut self,
        expr: &'t Expr,
        operand: &'t Expr,
        filter: Filter,
        args: &'t Args,
    ) -> Res<Value<'t>> {
        let value = self.eval(operand)?;
        if args.is_empty()
            && let Some(made) = self
                .quick_filter(filter, &value)
                .map_err(|fault| fault.at(expr.at))?
        {
            return Ok(made);
        }
        let args = self.call_args(args)?;
        self.apply_filter(filter, value, args)
            .map_err(|fault| fault.at(expr.at))
    }

    #[inline(never)]
    fn eval_rare(&mut self, expr: &'t Expr) -> Res<Value<'t>> {
        let unsupported = |what: &str, name: &str| {
            let message = format!("no {what} named '{name}'");
            Fault::new(ErrorKind::Unsupported, message).at(expr.at)
        };
        match &expr.kind {
            ExprKind::Neg(inner) | ExprKind::Pos(inner) => {
                let value = self.eval(inner)?;
                let negative = matches!(expr.kind, ExprKind::Neg(_));
                sign(&value, negative).map_err(|fault| fault.at(expr.at))
            }
            ExprKind::BigInt(digits) => Ok(Value::Big(Rc::from(&**digits), LITERAL)),
            ExprKind::Float(value) => Ok(Value::Float(*value, LITERAL)),
            ExprKind::List(items) => self.eval_all(items).map(Value::list),
            ExprKind::Tuple(items) => self
                .eval_all(items)
                .map(|items| Value::Tuple(Rc::new(items))),
            ExprKind::Dict(entries) => self.eval_dict(entries),
            ExprKind::Slice(object, bounds) => {
                let object = self.eval(object)?;
                let mut values = [None, None, None];
                for (value, bound) in values.iter_mut().zip(bounds.iter()) {
                    if let Some(bound) = bound {
                        *value = Some(self.eval(bound)?);
                    }
                }
                self.slice(&object, &values)
                    .map_err(|fault| fault.at(expr.at))
            }
            ExprKind::Captured => Ok(self
                .captured
                .clone()
                .map_or_else(|| Value::literal(""), Value::Str)),
            ExprKind::UnknownFilter(name) => Err(unsupported("filter", name)),
            ExprKind::UnknownTest(name) => Err(unsupported("test", name)),
            _ => Err(Fault::type_error("unexpected expression").at(expr.at)),
        }
    }

    fn eval_all(&mut self, items: &'t [Expr]) -> Res<Vec<Value<'t>>> {
        self.charge(std::mem::size_of_val(items))?;
        items.iter().map(|item| self.eval(item)).collect()
    }

    fn eval_dict(&mut self, entries: &'t [(Expr, Expr)]) -> Res<Value<'t>> {
        self.charge(std::mem::size_of_val(entries))?;
        let mut made: Vec<(Value<'t>, Value<'t>)> = Vec::with_capacity(entries.len());
        for (key_expr, value) in entries {
            let key = self.eval(key_expr)?;
            check_hashable(&key).map_err(|fault| fault.at(key_expr.at))?;
            let value = self.eval(value)?;
            super::functions::insert_entry(&mut made, key, value)?;
        }
        Ok(Value::Map(Rc::new(made)))
    }

    /// `and` (`stop` false) or `or` (`stop` true): the operand that decides.
    fn eval_junction(&mut self, parts: &'t [Expr], stop: bool) -> Res<Value<'t>> {
        let Some((last, others)) = parts.split_last() else {
            return Ok(Value::bool(false));
        };
        for part in others {
            let value = self.eval(part)?;
            if value.is_true() == stop {
                return Ok(value);
            }
        }
        self.eval(last)
    }

    /// The truth of an expression, without making a value where none is needed.
    pub(super) fn truth(&mut self, expr: &'t Expr) -> Res<bool> {
        match &expr.kind {
            ExprKind::Check(check) => match self.answer(check) {
                Some(holds) => Ok(holds),
                None => self.unsure(check),
            },
            ExprKind::Checks(checks, any) => self.checks(checks, *any),
            ExprKind::Kind(kind) => match self.is_kind(kind) {
                Some(holds) => Ok(holds != kind.negated),
                None => self.truth(&kind.whole).map(|holds| holds != kind.negated),
            },
            ExprKind::Var(name) => Ok(self.place(name.var).is_true()),
            ExprKind::Field(field) => match self.field_truth(field) {
                Some(holds) => Ok(holds),
                None => self.other_truth(expr),
            },
            ExprKind::Not(inner) => self.truth(inner).map(|value| !value),
            ExprKind::And(parts) => self.all_or_any(parts, false),
            ExprKind::Or(parts) => self.all_or_any(parts, true),
            _ => self.other_truth(expr),
        }
    }

    /// Whether any of some expressions has the truth `stop`, and that truth or the other.
    #[inline(never)]
    fn all_or_any(&mut self, parts: &'t [Expr], stop: bool) -> Res<bool> {
        for part in parts {
            let holds = match &part.kind {
                ExprKind::Check(check) => self.answer(check),
                _ => None,
            };
            let holds = match holds {
                Some(holds) => holds,
                None => self.truth(part)?,
            };
            if holds == stop {
                return Ok(stop);
            }
        }
        Ok(!stop)
    }

    #[inline(never)]
    fn checks(&mut self, checks: &'t [Check], any: bool) -> Res<bool> {
        for check in checks {
            let holds = match self.answer(check) {
                Some(holds) => holds,
                None => self.unsure(check)?,
            };
            if holds == any {
                return Ok(any);
            }
        }
        Ok(!any)
    }

    /// The truth of a check that its short form has no answer to.
    #[inline(never)]
    fn unsure(&mut self, check: &'t Check) -> Res<bool> {
        self.truth(&check.whole).map(|holds| holds != check.negated)
    }

    #[inline(never)]
    fn other_truth(&mut self, expr: &'t Expr) -> Res<bool> {
        match &expr.kind {
            ExprKind::Compare(first, rest) => self.compare_chain(expr, first, rest),
            ExprKind::Test(operand, test, args) => {
                if args.is_empty()
                    && let Some(holds) = self.quick_test(operand, *test)
                {
                    return Ok(holds);
                }
                let value = self.eval(operand)?;
                let args = self.call_args(args)?;
                self.apply_test(*test, &value, &args)
                    .map_err(|fault| fault.at(expr.at))
            }
            ExprKind::Field(_) | ExprKind::Attr(..) | ExprKind::Item(..) => match self.peek(expr) {
                Peek::Data(data) => Ok(Value::from_data(data, LITERAL).is_true()),
                Peek::Missing => Ok(false),
                Peek::Unknown => self.eval(expr).map(|value| value.is_true()),
            },
            _ => self.eval(expr).map(|value| value.is_true()),
        }
    }

    #[inline(never)]
    fn compare_chain(
        &mut self,
        expr: &'t Expr,
        first: &'t Expr,
        rest: &'t [(CmpOp, Expr)],
    ) -> Res<bool> {
        if let [(op, second)] = rest {
            let quick = self.quick_compare(first, *op, second);
            if let Some(holds) = quick.map_err(|fault| fault.at(expr.at))? {
                return Ok(holds);
            }
        }
        self.budget.stack().map_err(|fault| fault.at(expr.at))?;
        let mut left = self.eval(first)?;
        for (op, right) in rest {
            let right = self.eval(right)?;
            if !self
                .compare(*op, &left, &right)
                .map_err(|fault| fault.at(expr.at))?
            {
                return Ok(false);
            }
            left = right;
        }
        Ok(true)
    }

    pub(crate) fn compare(&mut self, op: CmpOp, left: &Value<'t>, right: &Value<'t>) -> Res<bool> {
        match (left, right) {
            (Value::Str(a), Value::Str(b)) => self.scan(a.len().min(b.len()))?,
            (Value::Int(a, _), Value::Int(b, _)) => {
                return Ok(match op {
                    CmpOp::Eq => a == b,
                    CmpOp::Ne => a != b,
                    CmpOp::Lt => a < b,
                    CmpOp::Le => a <= b,
                    CmpOp::Gt => a > b,
                    CmpOp::Ge => a >= b,
                    CmpOp::In | CmpOp::NotIn => return self.contains(right, left),
                });
            }
            _ => {}
        }
        match op {
            CmpOp::Eq => self.equal(left, right),
            CmpOp::Ne => self.equal(left, right).map(|equal| !equal),
            CmpOp::In => self.contains(right, left),
            CmpOp::NotIn => self.contains(right, left).map(|found| !found),
            _ => ops::order(op, left, right, 0),
        }
    }

    pub(crate) fn equal(&mut self, left: &Value<'t>, right: &Value<'t>) -> Res<bool> {
        // Containers are compared item by item: pay for the smaller one.
        if let (Some(a), Some(b)) = (left.container_len(), right.container_len()) {
            self.budget.steps(a.min(b))?;
        }
        ops::equal(left, right, 0)
    }

    /// `item in container`.
    pub(crate) fn contains(&mut self, container: &Value<'t>, item: &Value<'t>) -> Res<bool> {
        match container {
            Value::Str(text) => {
                self.scan(text.len())?;
                let Value::Str(part) = item else {
                    return Err(undefined_error(item).unwrap_or_else(|| {
                        Fault::type_error(format!(
                            "'in <string>' requires string as left operand, not {}",
                            item.type_name()
                        ))
                    }));
                };
                Ok(text.as_str().contains(part.as_str()))
            }
            Value::Data(Data::Map(map), _) => {
                check_hashable(item)?;
                Ok(item.as_text().is_some_and(|key| map.contains_key(key)))
            }
            Value::Map(entries) => {
                check_hashable(item)?;
                self.budget.steps(entries.len())?;
                for (key, _) in entries.iter() {
                    if ops::equal(key, item, 0)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Value::View(crate::value::View::Keys, map) => self.contains(map, item),
            _ => {
                if matches!(
                    container,
                    Value::None(_)
                        | Value::Bool(..)
                        | Value::Int(..)
                        | Value::Big(..)
                        | Value::Float(..)
                ) {
                    let message = format!(
                        "argument of type '{}' is not iterable",
                        container.type_name()
                    );
                    return Err(Fault::type_error(message));
                }
                let mut iter = crate::iter::ValueIter::of(container)?;
                while let Some(candidate) = self.next_item(&mut iter)? {
                    self.step()?;
                    if self.equal(&candidate, item)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
        }
    }

    /// `left + right`, for filters.
    pub(crate) fn add_values(&mut self, left: &Value<'t>, right: &Value<'t>) -> Res<Value<'t>> {
        self.add(left, right)
    }

    fn binary(&mut self, op: BinOp, left: &Value<'t>, right: &Value<'t>) -> Res<Value<'t>> {
        if let (BinOp::Sub, Value::Int(a, LITERAL), Value::Int(b, LITERAL)) = (op, left, right)
            && let Some(difference) = a.checked_sub(*b)
        {
            return Ok(Value::int(difference));
        }
        if let Some(result) = ops::arithmetic(Some(op), left, right) {
            let origin = self.leaves.mix(left.origin(), right.origin());
            return result.map(|value| with_origin(value, origin));
        }
        match (op, left, right) {
            (BinOp::Mod, Value::Str(format), _) => self.percent(format, right),
            (BinOp::Mul, Value::Str(text), count) | (BinOp::Mul, count, Value::Str(text))
                if matches!(count, Value::Int(..) | Value::Bool(..)) =>
            {
                self.repeat_text(text, count)
            }
            (BinOp::Mul, list, count) | (BinOp::Mul, count, list)
                if matches!(count, Value::Int(..) | Value::Bool(..))
                    && matches!(list.type_name(), "list" | "tuple") =>
            {
                let items = self.collect(list)?;
                let count = repeat_count(count);
                self.charge(items.len().saturating_mul(count).saturating_mul(64))?;
                let total = items.len() * count;
                let made: Vec<_> = items.iter().cloned().cycle().take(total).collect();
                Ok(match list {
                    Value::Tuple(_) => Value::Tuple(Rc::new(made)),
                    _ => Value::list(made),
                })
            }
            _ => {
                let sign = match op {
                    BinOp::Sub => "-",
                    BinOp::Mul => "*",
                    BinOp::Div => "/",
                    BinOp::FloorDiv => "//",
                    BinOp::Mod => "%",
                    BinOp::Pow => "**",
                };
                Err(unsupported(sign, left, right))
            }
        }
    }

    fn repeat_text(&mut self, text: &Str<'t>, count: &Value<'t>) -> Res<Value<'t>> {
        let count = repeat_count(count);
        let bytes = text.len().saturating_mul(count);
        self.charge(bytes)?;
        let mut out = self.buffer(bytes);
        if text.is_empty() {
            return Ok(Value::Str(out.into_str().marked_safe(text.safe())));
        }
        for _ in 0..count {
            out.push_str(text, 0);
        }
        Ok(Value::Str(out.into_str().marked_safe(text.safe())))
    }
}

fn repeat_count(count: &Value<'_>) -> usize {
    match count {
        Value::Int(count, _) => usize::try_from(*count).unwrap_or(0),
        Value::Bool(count, _) => usize::from(*count),
        _ => 0,
    }
}

pub(crate) fn with_origin(value: Value<'_>, origin: crate::text::Origin) -> Value<'_> {
    match value {
        Value::Int(value, _) => Value::Int(value, origin),
        Value::Float(value, _) => Value::Float(value, origin),
        Value::Big(value, _) => Value::Big(value, origin),
        other => other,
    }
}

fn sign<'t>(value: &Value<'t>, negative: bool) -> Res<Value<'t>> {
    let zero = Value::int(0);
    if let Some(fault) = undefined_error(value) {
        return Err(fault);
    }
    if let Value::Float(number, origin) = value {
        return Ok(Value::Float(
            if negative { -number } else { *number },
            *origin,
        ));
    }
    let result = if negative {
        ops::arithmetic(Some(BinOp::Sub), &zero, value)
    } else {
        ops::arithmetic(None, &zero, value)
    };
    result.map_or_else(
        || {
            let sign = if negative { '-' } else { '+' };
            Err(Fault::type_error(format!(
                "bad operand type for unary {sign}: '{}'",
                value.type_name()
            )))
        },
        |made| made.map(|made| with_origin(made, value.origin())),
    )
}
