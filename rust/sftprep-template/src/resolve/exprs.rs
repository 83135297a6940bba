//! Names in expressions.

use super::{Resolver, short};
use crate::ast::{Args, Expr, ExprKind};
use crate::error::{ErrorKind, Fault, Res};

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
            | ExprKind::Sum(items) => items
                .iter_mut()
                .try_for_each(|item| self.resolve_expr(item, soft)),
            ExprKind::And(items) | ExprKind::Or(items) => {
                items
                    .iter_mut()
                    .try_for_each(|item| self.resolve_expr(item, soft))?;
                short::junction(expr);
                Ok(())
            }
            ExprKind::Dict(entries) => entries.iter_mut().try_for_each(|(key, value)| {
                self.resolve_expr(key, soft)?;
                self.resolve_expr(value, soft)
            }),
            ExprKind::Attr(inner, _, _) => {
                self.resolve_expr(inner, soft)?;
                short::field(expr);
                Ok(())
            }
            ExprKind::Item(object, index) => {
                self.resolve_expr(object, soft)?;
                self.resolve_expr(index, soft)?;
                short::field(expr);
                Ok(())
            }
            ExprKind::Neg(inner) | ExprKind::Pos(inner) => self.resolve_expr(inner, soft),
            ExprKind::Not(inner) => {
                self.resolve_expr(inner, soft)?;
                short::negation(expr);
                Ok(())
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
                self.resolve_args(args, soft)?;
                short::trimmed(expr);
                short::kind(expr);
                Ok(())
            }
            ExprKind::Compare(first, rest) => {
                self.resolve_expr(first, soft)?;
                rest.iter_mut()
                    .try_for_each(|(_, operand)| self.resolve_expr(operand, soft))?;
                short::check(expr);
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
