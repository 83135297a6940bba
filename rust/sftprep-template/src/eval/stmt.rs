//! Statements.

use std::rc::Rc;

use super::{Flow, Interp, Owner};
use crate::ast::{Expr, ExprKind, Stmt, Target, VarRef};
use crate::error::{ErrorKind, Fault, Res};
use crate::limits::MAX_CALLS;
use crate::text::{GENERATION, RUN_BYTES, Str};
use crate::value::{MacroValue, Value};

impl<'t> Interp<'t> {
    pub(super) fn exec_all(&mut self, body: &'t [Stmt]) -> Res<Flow> {
        for stmt in body {
            let flow = self.exec(stmt)?;
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    // The body of `exec_all`: kept small, because every call of that saves what all of it needs.
    fn exec(&mut self, stmt: &'t Stmt) -> Res<Flow> {
        self.step()?;
        match stmt {
            Stmt::Text(text) => {
                let tag = self.tag();
                self.charge(text.len() + RUN_BYTES)?;
                self.out.literal(text, tag);
            }
            Stmt::Emit(expr) => match &expr.kind {
                ExprKind::Sum(parts) => self.emit_sum(expr, parts)?,
                _ => self.emit(expr)?,
            },
            Stmt::If(arms, otherwise) => {
                for (test, body) in arms {
                    if self.truth(test)? {
                        return self.exec_all(body);
                    }
                }
                if !otherwise.is_empty() {
                    return self.exec_all(otherwise);
                }
            }
            Stmt::For(node) => return self.exec_for(node),
            Stmt::Set(target, expr) => self.exec_set(target, expr)?,
            _ => return self.exec_rare(stmt),
        }
        Ok(Flow::Next)
    }

    #[inline(never)]
    fn exec_set(&mut self, target: &'t Target, expr: &'t Expr) -> Res<()> {
        if let Target::Name(name) = target
            && let VarRef::Slot(slot) = name.var
            && self.set_quickly(slot, expr)
        {
            return Ok(());
        }
        let value = self.eval(expr)?;
        self.note_set(&value);
        self.assign(target, value)
    }

    #[inline(never)]
    fn exec_rare(&mut self, stmt: &'t Stmt) -> Res<Flow> {
        match stmt {
            Stmt::SetBlock(node) => {
                let (flow, text) = self.capture(|interp| {
                    interp.enter(&node.scope);
                    interp.exec_all(&node.body)
                })?;
                if flow != Flow::Next {
                    return Ok(flow);
                }
                let value = self.filter_captured(text, node.filter.as_ref())?;
                self.assign(&node.target, value)?;
            }
            Stmt::Macro(name, node) => {
                let value = self.bind_macro(node);
                let VarRef::Slot(slot) = name.var else {
                    return Ok(Flow::Next);
                };
                self.set_slot(slot, value);
            }
            Stmt::CallBlock(call, node) => {
                let caller = self.bind_macro(node);
                let value = self.call_with_caller(call, caller)?;
                self.emit_value(&value)?;
            }
            Stmt::FilterBlock(filter, body, scope) => {
                let (flow, text) = self.capture(|interp| {
                    interp.enter(scope);
                    interp.exec_all(body)
                })?;
                if flow != Flow::Next {
                    return Ok(flow);
                }
                let value = self.filter_captured(text, Some(filter))?;
                self.emit_value(&value)?;
            }
            Stmt::With(node) => {
                let mut values = Vec::with_capacity(node.targets.len());
                for (_, expr) in &node.targets {
                    values.push(self.eval(expr)?);
                }
                self.enter(&node.scope);
                for ((target, _), value) in node.targets.iter().zip(values) {
                    self.assign(target, value)?;
                }
                return self.exec_all(&node.body);
            }
            Stmt::Generation(body, scope) => {
                let saved = self.generation;
                self.generation = GENERATION;
                self.enter(scope);
                let result = self.exec_all(body);
                self.generation = saved;
                result?;
            }
            Stmt::Break => return Ok(Flow::Break),
            Stmt::Continue => return Ok(Flow::Continue),
            Stmt::NoLoader(tag, at) => {
                let message = format!("'{tag}' needs a template loader, and there is none");
                return Err(Fault::type_error(message).at(*at));
            }
            Stmt::Text(_) | Stmt::Emit(_) | Stmt::If(..) | Stmt::For(_) | Stmt::Set(..) => {}
        }
        Ok(Flow::Next)
    }

    fn filter_captured(&mut self, text: Str<'t>, filter: Option<&'t Expr>) -> Res<Value<'t>> {
        let Some(filter) = filter else {
            return Ok(Value::Str(text));
        };
        let saved = self.captured.replace(text);
        let result = self.eval(filter);
        self.captured = saved;
        result
    }

    fn bind_macro(&self, node: &'t crate::ast::Macro) -> Value<'t> {
        let frame_id = self.frames[self.frame].id;
        Value::Macro(Rc::new(MacroValue {
            node,
            frame: self.frame,
            frame_id,
        }))
    }

    fn call_with_caller(&mut self, call: &'t Expr, caller: Value<'t>) -> Res<Value<'t>> {
        let ExprKind::Call(callee, args) = &call.kind else {
            return Err(Fault::syntax("expected call", call.at));
        };
        let callee = self.eval(callee)?;
        let mut args = self.call_args(args)?;
        args.kw.push((Str::literal("caller"), caller));
        self.call_value(&callee, args)
            .map_err(|fault| fault.at(call.at))
    }

    /// In a loop that is not itself about a message, the first message that is assigned to a
    /// name becomes what the rest of the turn is about.
    fn note_set(&mut self, value: &Value<'t>) {
        if self.trace
            && self.owner.scoped
            && !self.owner.fixed
            && matches!(value, Value::Data(..) | Value::Map(_))
            && let Some(message) = self.message_of(value)
        {
            self.owner = Owner {
                tag: message + 2,
                fixed: true,
                ..self.owner
            };
        }
    }

    pub(super) fn assign(&mut self, target: &'t Target, value: Value<'t>) -> Res<()> {
        match target {
            Target::Name(name) => {
                if let VarRef::Slot(slot) = name.var {
                    self.set_slot(slot, value);
                }
                Ok(())
            }
            Target::Tuple(targets, at) => {
                let items = self.collect(&value).map_err(|fault| fault.at(*at))?;
                if items.len() != targets.len() {
                    let message = format!(
                        "expected {} values to unpack, got {}",
                        targets.len(),
                        items.len()
                    );
                    return Err(Fault::value_error(message).at(*at));
                }
                for (target, item) in targets.iter().zip(items) {
                    self.assign(target, item)?;
                }
                Ok(())
            }
            Target::Namespace(name, attribute, at) => {
                let Value::Namespace(fields) = self.place(name.var) else {
                    let message = "cannot assign attribute on non-namespace object";
                    return Err(Fault::type_error(message).at(*at));
                };
                super::functions::check_namespace_name(attribute).map_err(|fault| fault.at(*at))?;
                set_field(&mut fields.borrow_mut(), Str::literal(attribute), value);
                Ok(())
            }
        }
    }

    pub(super) fn enter_call(&mut self) -> Res<()> {
        self.budget.stack()?;
        if self.calls >= MAX_CALLS {
            let message = format!("more than {MAX_CALLS} macros inside one another");
            return Err(Fault::new(ErrorKind::LimitRecursion, message));
        }
        self.calls += 1;
        Ok(())
    }
}

pub(super) fn set_field<'t>(
    fields: &mut Vec<(Str<'t>, Value<'t>)>,
    name: Str<'t>,
    value: Value<'t>,
) {
    match fields
        .iter_mut()
        .find(|(known, _)| known.as_str() == name.as_str())
    {
        Some((_, slot)) => *slot = value,
        None => fields.push((name, value)),
    }
}
