//! Short forms of what chat templates write most: reading a field of the input, trimming it, and
//! asking for its text. Each keeps the expression as written, for what is not as it expects.

use crate::ast::{Check, CmpOp, Expr, ExprKind, Field, Kind};
use crate::filters::Filter;
use crate::methods::{Access, method_access};
use crate::text::LITERAL;
use crate::value::Value;

/// Writes `var.key` and `var['key']` as a field, where an entry of that name is what they read of
/// a dict that has one.
pub(super) fn field(expr: &mut Expr) {
    let (object, key) = match &expr.kind {
        ExprKind::Attr(object, name, Access::None) => (object, name),
        ExprKind::Item(object, index) => match &index.kind {
            ExprKind::Str(key) => (object, key),
            _ => return,
        },
        _ => return,
    };
    let ExprKind::Var(var) = &object.kind else {
        return;
    };
    let (var, key) = (var.var, key.clone());
    let whole = take(expr);
    expr.kind = ExprKind::Field(Box::new(Field { var, key, whole }));
}

/// Writes a field that is trimmed as one expression.
pub(super) fn trimmed(expr: &mut Expr) {
    let ExprKind::Filter(operand, Filter::Trim, args) = &expr.kind else {
        return;
    };
    let ExprKind::Field(field) = &operand.kind else {
        return;
    };
    if args.is_empty() {
        let (var, key) = (field.var, field.key.clone());
        let whole = take(expr);
        expr.kind = ExprKind::Trimmed(Box::new(Field { var, key, whole }));
    }
}

/// Writes a test for the kind of a variable, or of a field of one, as one expression.
pub(super) fn kind(expr: &mut Expr) {
    let ExprKind::Test(operand, test, args) = &expr.kind else {
        return;
    };
    if !args.is_empty() || test.of_type(&Value::None(LITERAL)).is_none() {
        return;
    }
    let (var, key) = match &operand.kind {
        ExprKind::Var(name) => (name.var, None),
        // A field that is not there may be a method.
        ExprKind::Field(field) if method_access("dict", &field.key) == Access::None => {
            (field.var, Some(field.key.clone()))
        }
        _ => return,
    };
    let test = *test;
    let whole = take(expr);
    expr.kind = ExprKind::Kind(Box::new(Kind {
        var,
        key,
        test,
        negated: false,
        whole,
    }));
}

/// The longest text that is compared without counting it as work.
const MAX_WORD: usize = 256;

/// Writes the comparisons that most conditions of a chat template are as checks.
pub(super) fn check(expr: &mut Expr) {
    let ExprKind::Compare(first, rest) = &expr.kind else {
        return;
    };
    let [(op, second)] = &rest[..] else {
        return;
    };
    let (var, key, texts, holds) = match (op, &first.kind, &second.kind) {
        (CmpOp::Eq | CmpOp::Ne, ExprKind::Field(field), ExprKind::Str(text))
            if text.len() <= MAX_WORD =>
        {
            let holds = *op == CmpOp::Eq;
            (field.var, field.key.clone(), vec![text.clone()], holds)
        }
        (CmpOp::In | CmpOp::NotIn, ExprKind::Str(key), ExprKind::Var(var)) => {
            (var.var, key.clone(), Vec::new(), *op == CmpOp::In)
        }
        _ => return,
    };
    let whole = take(expr);
    expr.kind = ExprKind::Check(Box::new(Check {
        var,
        key,
        texts,
        holds,
        negated: false,
        whole,
    }));
}

/// Writes an `and` or `or` of checks as one expression. Its value is the truth of a check, as it
/// is that of a comparison in the `and` or `or` as written.
pub(super) fn junction(expr: &mut Expr) {
    let any = matches!(expr.kind, ExprKind::Or(_));
    let (ExprKind::And(parts) | ExprKind::Or(parts)) = &mut expr.kind else {
        return;
    };
    if !parts
        .iter()
        .all(|part| matches!(part.kind, ExprKind::Check(_)))
    {
        return;
    }
    let mut checks: Vec<Check> = Vec::with_capacity(parts.len());
    for part in std::mem::take(parts) {
        let ExprKind::Check(check) = part.kind else {
            continue;
        };
        match checks.last_mut() {
            Some(before) if asks_the_same(before, &check, any) => merge(before, *check, any),
            _ => checks.push(*check),
        }
    }
    expr.kind = ExprKind::Checks(checks.into(), any);
}

/// Whether two checks ask which text one field is, so that `any` of them or all are one check.
fn asks_the_same(a: &Check, b: &Check, any: bool) -> bool {
    a.var == b.var
        && a.key == b.key
        && !a.texts.is_empty()
        && !b.texts.is_empty()
        && (a.holds, b.holds) == (any, any)
        && !a.negated
        && !b.negated
}

fn merge(before: &mut Check, next: Check, any: bool) {
    before.texts.extend(next.texts);
    if let ExprKind::Or(parts) | ExprKind::And(parts) = &mut before.whole.kind {
        parts.push(next.whole);
        return;
    }
    let parts = vec![take(&mut before.whole), next.whole];
    before.whole.kind = if any {
        ExprKind::Or(parts)
    } else {
        ExprKind::And(parts)
    };
}

/// Writes the contrary of checks as checks: `not (a or b)` is `not a and not b`.
pub(super) fn negation(expr: &mut Expr) {
    let ExprKind::Not(inner) = &mut expr.kind else {
        return;
    };
    match &mut inner.kind {
        ExprKind::Check(check) => turn(check),
        ExprKind::Kind(kind) => kind.negated = !kind.negated,
        ExprKind::Checks(checks, any) => {
            checks.iter_mut().for_each(turn);
            *any = !*any;
        }
        _ => return,
    }
    expr.kind = take(inner).kind;
}

fn turn(check: &mut Check) {
    check.holds = !check.holds;
    check.negated = !check.negated;
}

fn take(expr: &mut Expr) -> Expr {
    Expr {
        kind: std::mem::replace(&mut expr.kind, ExprKind::None),
        at: expr.at,
    }
}
