//! Names in expressions, and the short form of the most common one.

use super::Resolver;
use crate::ast::{Args, Check, CmpOp, Expr, ExprKind, Field};
use crate::error::{ErrorKind, Fault, Res};
use crate::methods::Access;

impl Resolver {
    fn resolve_args(&mut self, args: &mut Args, soft: bool) -> Res<()> {
        let named = args.kw.iter_mut().map(|(_, value)| value);
        let starred = args
            .star
            .iter_mut()
            .chain(args.star_star.iter_mut())
            .map(|expr| &mut **expr);
        args.pos
            .iter_mut()
            .chain(named)
            .chain(starred)
            .try_for_each(|e| self.resolve_expr(e, soft))
    }

    pub(super) fn resolve_expr(&mut self, expr: &mut Expr, soft: bool) -> Res<()> {
        match &mut expr.kind {
            ExprKind::Var(name) => {
                self.name(name);
                Ok(())
            }
            ExprKind::List(items)
            | ExprKind::Tuple(items)
            | ExprKind::Concat(items)
            | ExprKind::Sum(items)
            | ExprKind::And(items)
            | ExprKind::Or(items) => items
                .iter_mut()
                .try_for_each(|item| self.resolve_expr(item, soft)),
            ExprKind::Dict(entries) => entries.iter_mut().try_for_each(|(key, value)| {
                self.resolve_expr(key, soft)?;
                self.resolve_expr(value, soft)
            }),
            ExprKind::Attr(inner, _, _) => {
                self.resolve_expr(inner, soft)?;
                field(expr);
                Ok(())
            }
            ExprKind::Item(object, index) => {
                self.resolve_expr(object, soft)?;
                self.resolve_expr(index, soft)?;
                field(expr);
                Ok(())
            }
            ExprKind::Neg(inner) | ExprKind::Pos(inner) | ExprKind::Not(inner) => {
                self.resolve_expr(inner, soft)
            }
            ExprKind::Bin(_, left, right) => {
                self.resolve_expr(left, soft)?;
                self.resolve_expr(right, soft)
            }
            ExprKind::Slice(object, bounds) => {
                self.resolve_expr(object, soft)?;
                bounds
                    .iter_mut()
                    .flatten()
                    .try_for_each(|bound| self.resolve_expr(bound, soft))
            }
            ExprKind::Call(callee, args) => {
                match &mut callee.kind {
                    // A method is called, not read.
                    ExprKind::Attr(object, _, _) => self.resolve_expr(object, soft)?,
                    _ => self.resolve_expr(callee, soft)?,
                }
                self.resolve_args(args, soft)
            }
            ExprKind::Filter(operand, _, args) | ExprKind::Test(operand, _, args) => {
                self.resolve_expr(operand, soft)?;
                self.resolve_args(args, soft)
            }
            ExprKind::Compare(first, rest) => {
                self.resolve_expr(first, soft)?;
                rest.iter_mut()
                    .try_for_each(|(_, operand)| self.resolve_expr(operand, soft))?;
                check(expr);
                Ok(())
            }
            ExprKind::Cond(test, then, otherwise) => {
                self.resolve_expr(test, true)?;
                self.resolve_expr(then, true)?;
                otherwise
                    .iter_mut()
                    .try_for_each(|branch| self.resolve_expr(branch, true))
            }
            ExprKind::UnknownFilter(name) if !soft => Err(unknown("filter", name, expr.at)),
            ExprKind::UnknownTest(name) if !soft => Err(unknown("test", name, expr.at)),
            _ => Ok(()),
        }
    }
}

fn unknown(what: &str, name: &str, at: u32) -> Fault {
    Fault::new(ErrorKind::Unsupported, format!("no {what} named '{name}'")).at(at)
}

/// Writes `var.key` and `var['key']` as a field, where an entry of that name is what they read of
/// a dict that has one.
fn field(expr: &mut Expr) {
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

/// The longest text that is compared without counting it as work.
const MAX_WORD: usize = 256;

/// Writes the comparisons that most conditions of a chat template are as checks.
fn check(expr: &mut Expr) {
    let ExprKind::Compare(first, rest) = &expr.kind else {
        return;
    };
    let [(op, second)] = &rest[..] else {
        return;
    };
    let (var, key, text, holds) = match (op, &first.kind, &second.kind) {
        (CmpOp::Eq | CmpOp::Ne, ExprKind::Field(field), ExprKind::Str(text))
            if text.len() <= MAX_WORD =>
        {
            let holds = *op == CmpOp::Eq;
            (field.var, field.key.clone(), Some(text.clone()), holds)
        }
        (CmpOp::In | CmpOp::NotIn, ExprKind::Str(key), ExprKind::Var(var)) => {
            (var.var, key.clone(), None, *op == CmpOp::In)
        }
        _ => return,
    };
    let whole = take(expr);
    expr.kind = ExprKind::Check(Box::new(Check {
        var,
        key,
        text,
        holds,
        whole,
    }));
}

fn take(expr: &mut Expr) -> Expr {
    Expr {
        kind: std::mem::replace(&mut expr.kind, ExprKind::None),
        at: expr.at,
    }
}
