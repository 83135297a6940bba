//! `+` and `~`: strings put together.

use std::rc::Rc;

use super::Interp;
use super::expr::with_origin;
use crate::ast::{Expr, ExprKind};
use crate::error::{Fault, Res};
use crate::ops::{self, undefined_error, unsupported};
use crate::out::Out;
use crate::text::LITERAL;
use crate::value::Value;

impl<'t> Interp<'t> {
    #[inline(never)]
    pub(super) fn eval_concat(&mut self, parts: &'t [Expr]) -> Res<Value<'t>> {
        let mut out = self.buffer(64);
        for part in parts {
            let value = self.eval(part)?;
            self.write_str(&value, &mut out)?;
            self.recycle(value);
        }
        self.charge(out.text.len())?;
        Ok(Value::Str(out.into_str()))
    }

    /// A chain of `+`: strings are collected in one buffer.
    #[inline(never)]
    pub(super) fn eval_sum(&mut self, expr: &'t Expr, parts: &'t [Expr]) -> Res<Value<'t>> {
        let Some((first, rest)) = parts.split_first() else {
            return Ok(Value::int(0));
        };
        let mut sum = self.eval(first)?;
        let mut rest = rest.iter();
        let plain = matches!(&sum, Value::Str(text) if !text.safe());
        if plain {
            let mut out = self.buffer(64);
            let tag = self.owner.tag;
            self.append(&mut out, sum, tag);
            loop {
                let Some(part) = rest.next() else {
                    self.charge(out.text.len())?;
                    return Ok(Value::Str(out.into_str()));
                };
                if let ExprKind::Str(text) = &part.kind {
                    out.literal(text, tag);
                    continue;
                }
                if let Some((text, origin, src)) = self.input_text(part) {
                    out.push(text, origin, src, tag);
                    self.watch(&out)?;
                    continue;
                }
                let value = self.eval(part)?;
                if matches!(&value, Value::Str(text) if !text.safe()) {
                    self.append(&mut out, value, tag);
                    self.watch(&out)?;
                } else {
                    self.charge(out.text.len())?;
                    sum = Value::Str(out.into_str());
                    sum = self.add(&sum, &value).map_err(|fault| fault.at(expr.at))?;
                    break;
                }
            }
        }
        for part in rest {
            let value = self.eval(part)?;
            sum = self.add(&sum, &value).map_err(|fault| fault.at(expr.at))?;
        }
        Ok(sum)
    }

    /// Accounts for a long sum while it grows.
    fn watch(&mut self, out: &Out) -> Res<()> {
        if out.text.len() > 1 << 16 {
            self.scan(out.text.len())?;
        }
        Ok(())
    }

    fn append(&mut self, out: &mut Out, value: Value<'t>, tag: u32) {
        if let Value::Str(text) = &value {
            if out.text.capacity() - out.text.len() < text.len() {
                // With room for the end mark that follows a message's text: one move, not two.
                out.text.reserve(text.len() + 64);
            }
            out.push_str(text, tag);
        }
        self.recycle(value);
    }

    /// `left + right`.
    pub(super) fn add(&mut self, left: &Value<'t>, right: &Value<'t>) -> Res<Value<'t>> {
        if let (Value::Str(a), Value::Str(b)) = (left, right) {
            let safe = a.safe() || b.safe();
            let mut out = self.buffer(a.len() + b.len());
            let tag = self.owner.tag;
            for part in [a, b] {
                if safe && !part.safe() {
                    crate::markup::escape_into(part, &mut out, tag);
                } else {
                    out.push_str(part, tag);
                }
            }
            self.charge(out.text.len())?;
            return Ok(Value::Str(out.into_str().marked_safe(safe)));
        }
        if let (Value::Int(a, LITERAL), Value::Int(b, LITERAL)) = (left, right)
            && let Some(sum) = a.checked_add(*b)
        {
            return Ok(Value::int(sum));
        }
        if let Some(result) = ops::arithmetic(None, left, right) {
            let origin = self.leaves.mix(left.origin(), right.origin());
            return result.map(|value| with_origin(value, origin));
        }
        match (left.type_name(), right.type_name()) {
            ("list", "list") => {
                let mut items = self.collect(left)?;
                items.extend(self.collect(right)?);
                Ok(Value::list(items))
            }
            ("tuple", "tuple") => {
                let mut items = self.collect(left)?;
                items.extend(self.collect(right)?);
                Ok(Value::Tuple(Rc::new(items)))
            }
            _ => Err(undefined_error(left)
                .or_else(|| undefined_error(right))
                .unwrap_or_else(|| match left {
                    Value::Str(_) => Fault::type_error(format!(
                        "can only concatenate str (not \"{}\") to str",
                        right.type_name()
                    )),
                    _ => unsupported("+", left, right),
                })),
        }
    }
}
