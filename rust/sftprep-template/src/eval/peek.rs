//! Answers to common questions about input fields without evaluating expressions: most
//! conditions of chat templates ask for the role of a message or whether a field is there.

use super::Interp;
use crate::ast::{Expr, ExprKind};
use crate::data::Data;
use crate::methods::{Access, method_access};
use crate::tests::Test;
use crate::value::Value;

/// What `peek` found out about an expression without evaluating it.
pub(super) enum Peek<'t> {
    /// It is this input value.
    Data(&'t Data),
    /// It is undefined.
    Missing,
    /// It has to be evaluated.
    Unknown,
}

impl<'t> Interp<'t> {
    /// Looks at `x.key` and `x['key']` of an input object: most conditions ask for no more.
    pub(super) fn peek(&self, expr: &'t Expr) -> Peek<'t> {
        let (object, key): (&'t Expr, &'t str) = match &expr.kind {
            ExprKind::Attr(object, name) if method_access("dict", name) == Access::None => {
                (object, name)
            }
            ExprKind::Item(object, index) => match &index.kind {
                ExprKind::Str(key) if method_access("dict", key) == Access::None => (object, key),
                _ => return Peek::Unknown,
            },
            _ => return Peek::Unknown,
        };
        let ExprKind::Var(var) = &object.kind else {
            return Peek::Unknown;
        };
        let Value::Data(data, _) = self.place(var.var) else {
            return Peek::Unknown;
        };
        let data: &'t Data = data;
        match data {
            Data::Map(map) => map.get(key).map_or(Peek::Missing, Peek::Data),
            _ => Peek::Unknown,
        }
    }

    /// Tests of type and presence on an input field, without evaluating it.
    pub(super) fn quick_test(&self, operand: &'t Expr, test: Test) -> Option<bool> {
        let found = match self.peek(operand) {
            Peek::Data(data) => Some(data),
            Peek::Missing => None,
            Peek::Unknown => return None,
        };
        Some(match (test, found) {
            (Test::Defined, found) => found.is_some(),
            (Test::Undefined, found) => found.is_none(),
            (Test::String, found) => matches!(found, Some(Data::Str(_))),
            (Test::None, found) => matches!(found, Some(Data::Null)),
            (Test::Mapping, found) => matches!(found, Some(Data::Map(_))),
            (Test::True, found) => matches!(found, Some(Data::Bool(true))),
            (Test::False, found) => matches!(found, Some(Data::Bool(false))),
            _ => return None,
        })
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
                _ => return None,
            })
        }
        _ => None,
    }
}
