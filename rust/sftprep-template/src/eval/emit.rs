//! Writing values to the output, in place where that gives what writing a copy would.

use super::Interp;
use crate::ast::{Args, Expr, ExprKind};
use crate::error::Res;
use crate::filters::Filter;
use crate::text::{RUN_BYTES, Str};
use crate::value::Value;

impl<'t> Interp<'t> {
    pub(super) fn emit(&mut self, expr: &'t Expr) -> Res<()> {
        match &expr.kind {
            ExprKind::Str(text) => {
                let tag = self.tag();
                self.charge(text.len() + RUN_BYTES)?;
                self.out.literal(text, tag);
                Ok(())
            }
            ExprKind::Concat(parts) => parts.iter().try_for_each(|part| self.emit(part)),
            ExprKind::Sum(parts) => self.emit_sum(expr, parts),
            ExprKind::Var(name) if self.emit_variable(name.var)? => Ok(()),
            ExprKind::Filter(operand, Filter::ToJson, args) => {
                let value = self.eval(operand)?;
                self.emit_json(&value, args)
                    .map_err(|fault| fault.at(expr.at))
            }
            ExprKind::Call(callee, args) => self.emit_call(expr, callee, args),
            ExprKind::Cond(test, then, otherwise) => {
                if self.truth(test)? {
                    self.emit(then)
                } else {
                    otherwise
                        .as_ref()
                        .map_or(Ok(()), |branch| self.emit(branch))
                }
            }
            _ => self.emit_evaluated(expr),
        }
    }

    fn emit_evaluated(&mut self, expr: &'t Expr) -> Res<()> {
        if let Some((text, origin, src)) = self.input_text(expr) {
            self.charge(text.len() + RUN_BYTES)?;
            let tag = self.tag();
            self.out.push(text, origin, src, tag);
            return Ok(());
        }
        let value = self.eval(expr)?;
        self.emit_value(&value).map_err(|fault| fault.at(expr.at))?;
        self.recycle(value);
        Ok(())
    }

    /// A macro called to be printed writes straight to the output.
    fn emit_call(&mut self, expr: &'t Expr, callee: &'t Expr, args: &'t Args) -> Res<()> {
        if let ExprKind::Var(var) = &callee.kind
            && let Value::Macro(bound) = self.place(var.var)
        {
            let bound = bound.clone();
            let args = self.call_args(args)?;
            self.step().map_err(|fault| fault.at(expr.at))?;
            return self
                .with_macro(&bound, args, |interp, node| interp.exec_all(&node.body))
                .map(|_| ())
                .map_err(|fault| fault.at(expr.at));
        }
        self.emit_evaluated(expr)
    }

    fn emit_json(&mut self, value: &Value<'t>, args: &'t Args) -> Res<()> {
        let args = self.call_args(args)?;
        self.step()?;
        let style = self.json_style(args)?;
        let mut out = std::mem::take(&mut self.out);
        let from = out.text.len();
        let result = self.json(value, &style, 0, &mut out);
        let made = out.text.len() - from;
        self.out = out;
        result?;
        self.charge(made)
    }

    /// Writes a sum of strings piece by piece instead of joining it first.
    #[inline(never)]
    pub(super) fn emit_sum(&mut self, expr: &'t Expr, parts: &'t [Expr]) -> Res<()> {
        let mark = self.out.text.len();
        for (index, part) in parts.iter().enumerate() {
            if let ExprKind::Str(text) = &part.kind {
                let tag = self.tag();
                self.charge(text.len() + RUN_BYTES)?;
                self.out.literal_inline(text, tag);
            } else if let Some((text, origin, src)) = self.input_text(part) {
                let tag = self.tag();
                self.charge(text.len() + RUN_BYTES)?;
                self.out.push_inline(text, origin, src, tag);
            } else if let Some(value) = self.emit_term(part)? {
                let so_far = self.out.split_off(mark);
                return self.emit_joined(expr, so_far, value, (parts, index));
            }
        }
        Ok(())
    }

    /// Writes a term of a sum, or gives it back if it is no plain text.
    #[inline(never)]
    fn emit_term(&mut self, part: &'t Expr) -> Res<Option<Value<'t>>> {
        if let ExprKind::Var(name) = &part.kind
            && self.emit_plain_variable(name.var)?
        {
            return Ok(None);
        }
        let value = self.eval(part)?;
        match &value {
            Value::Str(text) if !text.safe() => {
                let tag = self.tag();
                self.charge(text.len() + RUN_BYTES)?;
                self.out.push_str(text, tag);
                self.recycle(value);
                Ok(None)
            }
            _ => Ok(Some(value)),
        }
    }

    /// Goes on with a sum whose term at `index` is Markup or a number: joins as the operator
    /// itself would, beginning with the text of the terms before.
    #[cold]
    fn emit_joined(
        &mut self,
        expr: &'t Expr,
        so_far: Str<'t>,
        value: Value<'t>,
        (parts, index): (&'t [Expr], usize),
    ) -> Res<()> {
        let mut sum = if index == 0 {
            value
        } else {
            self.add(&Value::Str(so_far), &value)
                .map_err(|fault| fault.at(expr.at))?
        };
        for part in &parts[index + 1..] {
            let next = self.eval(part)?;
            sum = self.add(&sum, &next).map_err(|fault| fault.at(expr.at))?;
        }
        self.emit_value(&sum).map_err(|fault| fault.at(expr.at))
    }

    /// Prints a value, as `str()` does.
    pub(super) fn emit_value(&mut self, value: &Value<'t>) -> Res<()> {
        let tag = self.tag();
        match value {
            Value::Str(text) => {
                self.charge(text.len() + RUN_BYTES)?;
                self.out.push_str(text, tag);
                Ok(())
            }
            Value::Undefined(_) => Ok(()),
            _ => {
                let mut out = std::mem::take(&mut self.out);
                let from = out.text.len();
                let result = self.write_str(value, &mut out);
                let made = out.text.len() - from;
                self.out = out;
                result?;
                self.charge(made)
            }
        }
    }
}
