//! Statements.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::{Flow, Interp, Owner};
use crate::ast::{Expr, ExprKind, For, Stmt, Target};
use crate::error::{ErrorKind, Fault, Res};
use crate::iter::ValueIter;
use crate::limits::MAX_CALLS;
use crate::messages::Messages;
use crate::text::{GENERATION, RUN_BYTES, Str};
use crate::value::{LoopState, MacroValue, Value};

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
                let crate::ast::VarRef::Slot(slot) = name.var else {
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
                if let crate::ast::VarRef::Slot(slot) = name.var {
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
                let Value::Namespace(fields) = self.place(name.var).clone() else {
                    let message = "cannot assign attribute on non-namespace object";
                    return Err(Fault::type_error(message).at(*at));
                };
                super::functions::check_namespace_name(attribute).map_err(|fault| fault.at(*at))?;
                set_field(&mut fields.borrow_mut(), Str::literal(attribute), value);
                Ok(())
            }
        }
    }

    #[inline(never)]
    fn exec_for(&mut self, node: &'t For) -> Res<Flow> {
        let value = self.eval(&node.iter)?;
        let iter = ValueIter::of(&value).map_err(|fault| fault.at(node.iter.at))?;
        self.run_loop(node, iter, 0)
    }

    pub(super) fn run_loop(
        &mut self,
        node: &'t For,
        mut iter: ValueIter<'t>,
        depth0: usize,
    ) -> Res<Flow> {
        if node.test.is_some() {
            iter = ValueIter::Filtered(Box::new(iter), node);
        }
        let saved = self.owner;
        let result = match node.loop_slot {
            Some(slot) => self.visible_loop(node, slot, iter, depth0),
            None => self.plain_loop(node, iter),
        };
        self.owner = saved;
        if result? == 0 && !node.otherwise.is_empty() {
            self.enter(&node.else_scope);
            return self.exec_all(&node.otherwise);
        }
        Ok(Flow::Next)
    }

    /// How many turns ran to their end: `else` runs if none did, whatever `break` or `continue`
    /// ended the others.
    fn plain_loop(&mut self, node: &'t For, mut iter: ValueIter<'t>) -> Res<usize> {
        let outer = self.owner;
        let mut completed = 0;
        if let ValueIter::Messages(messages, _) = &iter
            && let Target::Name(name) = &node.target
            && let crate::ast::VarRef::Slot(slot) = name.var
        {
            return self.message_loop(node, *messages, slot);
        }
        while let Some(item) = self
            .next_item(&mut iter)
            .map_err(|fault| fault.at(node.at))?
        {
            match self.turn(node, item, outer)? {
                Flow::Next => completed += 1,
                Flow::Continue => {}
                Flow::Break => break,
            }
        }
        Ok(completed)
    }

    /// A [`Self::plain_loop`] over messages, as most templates have one.
    fn message_loop(&mut self, node: &'t For, messages: Messages<'t>, slot: u32) -> Res<usize> {
        let mut completed = 0;
        for at in 0..messages.len() {
            let Some(message) = messages.get(at) else {
                break;
            };
            self.step()?;
            if self.trace {
                self.owner = Owner::of_message(messages.index(at) as u32);
            }
            if !node.body_scope.init.is_empty() {
                self.enter(&node.body_scope);
            }
            self.set_slot(slot, message);
            match self.exec_all(&node.body)? {
                Flow::Next => completed += 1,
                Flow::Continue => {}
                Flow::Break => break,
            }
        }
        Ok(completed)
    }

    fn visible_loop(
        &mut self,
        node: &'t For,
        slot: u32,
        iter: ValueIter<'t>,
        depth0: usize,
    ) -> Res<usize> {
        let outer = self.owner;
        let state = Rc::new(LoopState {
            iter: RefCell::new(iter),
            length: Cell::new(None),
            index0: Cell::new(0),
            after: RefCell::new(None),
            before: RefCell::new(None),
            current: RefCell::new(None),
            changed: RefCell::new(None),
            depth0,
            node,
            frame: self.frame,
        });
        let (mut turns, mut completed) = (0, 0);
        loop {
            let peeked = state.after.borrow_mut().take();
            let item = match peeked {
                Some(item) => Some(item),
                None => self.loop_next(&state).map_err(|fault| fault.at(node.at))?,
            };
            let Some(item) = item else {
                return Ok(completed);
            };
            state.index0.set(turns);
            turns += 1;
            if node.keeps_items {
                let before = state.current.replace(Some(item.clone()));
                *state.before.borrow_mut() = before;
            }
            let shown = &self.slots[self.base + slot as usize];
            if !matches!(shown, Value::Loop(shown) if Rc::ptr_eq(shown, &state)) {
                self.set_slot(slot, Value::Loop(state.clone()));
            }
            match self.turn(node, item, outer)? {
                Flow::Next => completed += 1,
                Flow::Continue => {}
                Flow::Break => return Ok(completed),
            }
        }
    }

    /// The next item of a loop's own sequence, without looking at what was peeked.
    pub(super) fn loop_next(&mut self, state: &LoopState<'t>) -> Res<Option<Value<'t>>> {
        // Only a lazy sequence runs code that may come back to this loop.
        if let Ok(mut iter) = state.iter.try_borrow_mut()
            && !iter.is_lazy()
        {
            return self.next_item(&mut iter);
        }
        let mut iter = state.iter.replace(ValueIter::Empty);
        let item = self.next_item(&mut iter);
        state.iter.replace(iter);
        item
    }

    fn turn(&mut self, node: &'t For, item: Value<'t>, outer: Owner) -> Res<Flow> {
        self.step()?;
        if self.trace {
            self.owner = if let Some(message) = self.message_of(&item) {
                Owner::of_message(message)
            } else {
                let index = match item {
                    Value::Int(index, _) => Some(index),
                    _ => outer.index,
                };
                Owner {
                    index,
                    scoped: true,
                    ..outer
                }
            };
        }
        if !node.body_scope.init.is_empty() {
            self.enter(&node.body_scope);
        }
        if let Target::Name(name) = &node.target
            && let crate::ast::VarRef::Slot(slot) = name.var
        {
            self.set_slot(slot, item);
        } else {
            self.assign(&node.target, item)?;
        }
        self.exec_all(&node.body)
    }

    /// Runs the `if` of a `for` on one item.
    pub(crate) fn passes_loop_test(&mut self, node: &'t For, item: &Value<'t>) -> Res<bool> {
        let (Some(test), Some(target)) = (&node.test, &node.test_target) else {
            return Ok(true);
        };
        self.step()?;
        self.enter(&node.test_scope);
        self.assign(target, item.clone())?;
        self.truth(test)
    }

    /// `loop(items)`: the body of a recursive loop again, over other items.
    pub(super) fn recurse(&mut self, state: &LoopState<'t>, items: &Value<'t>) -> Res<Value<'t>> {
        if !state.node.recursive || state.frame != self.frame {
            let message = "the loop must have the 'recursive' marker to be called recursively";
            return Err(Fault::type_error(message));
        }
        self.enter_call()?;
        let node = state.node;
        let iter = ValueIter::of(items)?;
        let (from, to) = (
            self.base + node.slots.0 as usize,
            self.base + node.slots.1 as usize,
        );
        let saved = self.slots[from..to].to_vec();
        self.charge(saved.len() * std::mem::size_of::<Value<'t>>())?;
        let result =
            self.capture(|interp| interp.run_loop(node, iter, state.depth0 + 1).map(|_| ()));
        for (slot, value) in self.slots[from..to].iter_mut().zip(saved) {
            *slot = value;
        }
        self.calls -= 1;
        let ((), text) = result?;
        Ok(Value::Str(text))
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
