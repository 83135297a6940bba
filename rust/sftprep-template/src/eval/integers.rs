//! Integers that a template counts with: `loop.index0`, `messages | length - 1`, `ns.last`.

use super::Interp;
use crate::ast::{BinOp, CmpOp, Expr, ExprKind, Field};
use crate::filters::Filter;
use crate::text::LITERAL;
use crate::value::{LoopState, Value};

/// Nesting that is looked into, so that what is no count is soon found not to be one.
const MAX_DEPTH: u32 = 3;

/// What an expression comes to without being evaluated.
struct Count {
    value: i64,
    /// What evaluating it would have counted against the limit.
    steps: usize,
}

impl Count {
    fn free(value: i64) -> Self {
        Self { value, steps: 0 }
    }
}

impl<'t> Interp<'t> {
    /// The value of an expression, if it is an integer that comes from no input.
    #[inline(never)]
    pub(super) fn count(&mut self, expr: &'t Expr) -> Option<i64> {
        let count = self.peek_count(expr, MAX_DEPTH)?;
        // Over the limit: the general way says so.
        self.budget.steps(count.steps).ok()?;
        Some(count.value)
    }

    /// `a < b` and the like of two such integers.
    pub(super) fn order_counts(&mut self, a: &'t Expr, op: CmpOp, b: &'t Expr) -> Option<bool> {
        if matches!(op, CmpOp::In | CmpOp::NotIn) {
            return None;
        }
        let (a, b) = (self.peek_count(a, 1)?, self.peek_count(b, MAX_DEPTH)?);
        self.budget.steps(a.steps + b.steps).ok()?;
        let (a, b) = (a.value, b.value);
        Some(match op {
            CmpOp::Eq => a == b,
            CmpOp::Ne => a != b,
            CmpOp::Lt => a < b,
            CmpOp::Le => a <= b,
            CmpOp::Gt => a > b,
            CmpOp::Ge => a >= b,
            CmpOp::In | CmpOp::NotIn => return None,
        })
    }

    fn peek_count(&self, expr: &'t Expr, depth: u32) -> Option<Count> {
        match &expr.kind {
            ExprKind::Int(value) => Some(Count::free(*value)),
            ExprKind::Var(name) => literal_int(self.place(name.var)).map(Count::free),
            ExprKind::Field(field) => self.counted_field(field).map(Count::free),
            ExprKind::Filter(operand, Filter::Length, args) if args.is_empty() => {
                let ExprKind::Var(name) = &operand.kind else {
                    return None;
                };
                let Value::Messages(messages) = self.place(name.var) else {
                    return None;
                };
                let value = messages.len() as i64;
                Some(Count { value, steps: 1 })
            }
            ExprKind::Bin(BinOp::Sub, left, right) if depth > 0 => {
                let left = self.peek_count(left, depth - 1)?;
                let right = self.peek_count(right, depth - 1)?;
                Some(Count {
                    value: left.value.checked_sub(right.value)?,
                    steps: left.steps + right.steps,
                })
            }
            ExprKind::Sum(parts) if depth > 0 && parts.len() == 2 => {
                let left = self.peek_count(&parts[0], depth - 1)?;
                let right = self.peek_count(&parts[1], depth - 1)?;
                Some(Count {
                    value: left.value.checked_add(right.value)?,
                    steps: left.steps + right.steps,
                })
            }
            _ => None,
        }
    }

    fn counted_field(&self, field: &'t Field) -> Option<i64> {
        match self.place(field.var) {
            Value::Loop(state) => turn_number(state, &field.key),
            Value::Namespace(fields) => {
                let fields = fields.borrow();
                let mut fields = fields.iter();
                let (_, value) = fields.find(|(known, _)| known.as_str() == &*field.key)?;
                literal_int(value)
            }
            _ => None,
        }
    }
}

fn literal_int(value: &Value<'_>) -> Option<i64> {
    match value {
        Value::Int(value, LITERAL) => Some(*value),
        _ => None,
    }
}

/// `loop.index0` and `loop.index`.
fn turn_number(state: &LoopState<'_>, name: &str) -> Option<i64> {
    let index0 = state.index0.get() as i64;
    match name {
        "index0" => Some(index0),
        "index" => Some(index0 + 1),
        _ => None,
    }
}
