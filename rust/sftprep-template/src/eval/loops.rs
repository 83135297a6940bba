//! `for`.

use std::rc::Rc;

use super::{Flow, Interp, Owner, put};
use crate::ast::{For, Target, VarRef};
use crate::data::Data;
use crate::error::{Fault, Res};
use crate::iter::ValueIter;
use crate::text::LITERAL;
use crate::trace::message_origin;
use crate::value::{LoopState, Value};

impl<'t> Interp<'t> {
    #[inline(never)]
    pub(super) fn exec_for(&mut self, node: &'t For) -> Res<Flow> {
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
        loop {
            let flow = if let (ValueIter::Messages(messages), Some(slot)) = (&mut iter, node.slot())
            {
                let Some(message) = messages.take_first() else {
                    return Ok(completed);
                };
                self.message_turn(node, slot, message)?
            } else {
                let item = self.next_item(&mut iter);
                let Some(item) = item.map_err(|fault| fault.at(node.at))? else {
                    return Ok(completed);
                };
                self.turn(node, item, outer)?
            };
            match flow {
                Flow::Next => completed += 1,
                Flow::Continue => {}
                Flow::Break => return Ok(completed),
            }
        }
    }

    fn visible_loop(
        &mut self,
        node: &'t For,
        slot: u32,
        iter: ValueIter<'t>,
        depth0: usize,
    ) -> Res<usize> {
        let outer = self.owner;
        let state = Rc::new(LoopState::new(node, iter, depth0, self.frame));
        let item_slot = node.slot().filter(|_| !node.keeps_items);
        let (mut turns, mut completed) = (0, 0);
        loop {
            let message = item_slot.and_then(|slot| Some((slot, state.next_message()?)));
            let flow = if let Some((item_slot, message)) = message {
                self.show_turn(&state, slot, turns);
                self.message_turn(node, item_slot, message)?
            } else {
                let Some(item) = self.visible_item(&state)? else {
                    return Ok(completed);
                };
                self.show_turn(&state, slot, turns);
                self.turn(node, item, outer)?
            };
            turns += 1;
            match flow {
                Flow::Next => completed += 1,
                Flow::Continue => {}
                Flow::Break => return Ok(completed),
            }
        }
    }

    /// What `loop` stands for in a turn.
    fn show_turn(&mut self, state: &Rc<LoopState<'t>>, slot: u32, turn: usize) {
        state.index0.set(turn);
        let shown = &self.slots[self.base + slot as usize];
        if !matches!(shown, Value::Loop(shown) if Rc::ptr_eq(shown, state)) {
            self.set_slot(slot, Value::Loop(state.clone()));
        }
    }

    fn visible_item(&mut self, state: &LoopState<'t>) -> Res<Option<Value<'t>>> {
        let node = state.node;
        let peeked = state.after.borrow_mut().take();
        let item = match peeked {
            Some(item) => Some(item),
            None => self.loop_next(state).map_err(|fault| fault.at(node.at))?,
        };
        if let Some(item) = &item
            && node.keeps_items
        {
            let before = state.current.replace(Some(item.clone()));
            *state.before.borrow_mut() = before;
        }
        Ok(item)
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

    /// A [`Self::turn`] with a message and its place in the conversation, as most are.
    #[inline(never)]
    fn message_turn(
        &mut self,
        node: &'t For,
        slot: u32,
        (message, index): (&'t Data, usize),
    ) -> Res<Flow> {
        self.step()?;
        let mut origin = LITERAL;
        if self.trace {
            self.owner = Owner::of_message(index as u32);
            origin = message_origin(index);
        }
        if !node.body_scope.init.is_empty() {
            self.enter(&node.body_scope);
        }
        put(self.cleared(slot), Value::Data(message, origin));
        self.exec_all(&node.body)
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
            && let VarRef::Slot(slot) = name.var
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
}
