//! Runs a compiled template.

mod access;
mod call;
mod emit;
mod expr;
mod functions;
mod integers;
mod loops;
mod quick;
mod slices;
mod stmt;
mod sum;

use std::rc::Rc;

use crate::ast::{Init, Program, Scope, VarRef};
use crate::clock::Clock;
use crate::error::Res;
use crate::limits::Budget;
use crate::out::{Out, Pool};
use crate::request::Request;
use crate::scratch::Scratch;
use crate::text::{LITERAL, Str, Tag, UNOWNED};
use crate::trace::{Leaves, root_message};
use crate::value::{Undef, Value, discard};

pub(crate) use access::index_value;
pub(crate) use call::args_error;
pub(crate) use expr::with_origin;
pub(crate) use functions::insert_entry;

/// How a statement ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    Next,
    Break,
    Continue,
}

/// The slots of a running macro body, or of the template itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame {
    base: usize,
    /// The frame of the body that this one was defined in.
    parent: usize,
    id: u64,
}

/// Whose text is being written.
#[derive(Debug, Clone, Copy)]
struct Owner {
    /// Tag of the message that the innermost loop or macro is about.
    tag: Tag,
    /// A loop variable or macro argument said so; a later `set` does not change it.
    fixed: bool,
    /// The item of the innermost loop over numbers.
    index: Option<i64>,
    /// Inside of any loop or macro.
    scoped: bool,
}

const NO_OWNER: Owner = Owner {
    tag: UNOWNED,
    fixed: false,
    index: None,
    scoped: false,
};

impl Owner {
    /// A loop or macro is about this message.
    fn of_message(message: u32) -> Self {
        Self {
            tag: message + 2,
            fixed: true,
            index: None,
            scoped: true,
        }
    }
}

/// Makes a value in a place whose own owns nothing.
///
/// Values are written in parts and moved in wholes, and a processor that reads a whole waits until
/// its parts are written: longer than most of what is done here takes. So nothing that could
/// unwind may stand between making a value and its place, or it is made on the stack first.
#[allow(clippy::inline_always)]
#[inline(always)]
pub(crate) fn put<'t>(place: &mut Value<'t>, value: Value<'t>) {
    std::mem::forget(std::mem::replace(place, value));
}

/// One render.
pub(crate) struct Interp<'t> {
    context: Vec<Value<'t>>,
    slots: Vec<Value<'t>>,
    frames: Vec<Frame>,
    frame: usize,
    base: usize,
    next_frame_id: u64,
    calls: u32,
    pub(crate) out: Out,
    pub(crate) leaves: Leaves<'t>,
    pub(crate) trace: bool,
    owner: Owner,
    /// Generation bit of the text being written.
    generation: Tag,
    pub(crate) budget: Budget<'t>,
    pub(crate) pool: Pool,
    captured: Option<Str<'t>>,
    /// Slices of the messages made so far.
    slices: u32,
    namespaces: Vec<Rc<std::cell::RefCell<crate::value::Fields<'t>>>>,
    clock: Clock,
}

impl<'t> Interp<'t> {
    pub(crate) fn new(
        program: &'t Program,
        scratch: &mut Scratch,
        leaves: Leaves<'t>,
        context: Vec<Value<'t>>,
        trace: bool,
        request: &'t Request<'t>,
    ) -> Self {
        let mut slots = scratch.slots();
        let empty = || Value::Undefined(Undef::Var(""));
        slots.extend(std::iter::repeat_with(empty).take(program.slots as usize));
        let mut frames = std::mem::take(&mut scratch.frames);
        frames.push(Frame {
            base: 0,
            parent: 0,
            id: 0,
        });
        Self {
            context,
            slots,
            frames,
            frame: 0,
            base: 0,
            next_frame_id: 1,
            calls: 0,
            out: Out::output(
                trace,
                std::mem::take(&mut scratch.text),
                std::mem::take(&mut scratch.runs),
            ),
            leaves,
            trace,
            owner: NO_OWNER,
            generation: 0,
            budget: Budget::for_request(request),
            pool: std::mem::take(&mut scratch.pool),
            captured: None,
            slices: 0,
            namespaces: Vec::new(),
            clock: request.clock,
        }
    }

    /// Gives back all memory, with the output last.
    pub(crate) fn end(mut self, scratch: &mut Scratch) -> Out {
        self.frames.clear();
        scratch.frames = self.frames;
        scratch.put(self.leaves.into_tables());
        scratch.put_values(self.slots, self.context, self.pool);
        self.out
    }

    pub(crate) fn run(&mut self, program: &'t Program) -> Res<()> {
        self.enter(&program.scope);
        let result = self.exec_all(&program.body).map(|_| ());
        // A namespace can hold itself; without this it would never be freed.
        for namespace in self.namespaces.drain(..) {
            namespace.borrow_mut().clear();
        }
        result
    }

    #[inline]
    pub(crate) fn step(&mut self) -> Res<()> {
        self.budget.steps(1)
    }

    /// Accounts for text or containers made.
    #[inline]
    pub(crate) fn charge(&mut self, bytes: usize) -> Res<()> {
        self.budget.bytes(bytes)
    }

    /// Accounts for what methods, filters and tests may do with the text they are given, some
    /// nanoseconds per byte at most.
    #[inline]
    pub(crate) fn work_on(&mut self, value: &Value<'t>) -> Res<()> {
        match value {
            Value::Str(text) => self.budget.steps(text.len() / 16),
            _ => Ok(()),
        }
    }

    /// Accounts for reading through text.
    #[inline]
    pub(crate) fn scan(&mut self, bytes: usize) -> Res<()> {
        self.budget.steps(bytes / 64)
    }

    /// The tag of text written now.
    #[inline]
    pub(crate) fn tag(&self) -> Tag {
        self.owner.tag | self.generation
    }

    /// A new buffer for a string built now.
    pub(crate) fn buffer(&mut self, capacity: usize) -> Out {
        let mut out = Out::reusing(&mut self.pool, self.trace, capacity);
        out.building = true;
        out
    }

    /// Drops a value; the memory of a string is used again.
    #[inline]
    fn recycle(&mut self, value: Value<'t>) {
        match value {
            Value::Str(text) => self.pool.recycle(text),
            value => discard(value),
        }
    }

    fn enter(&mut self, scope: &'t Scope) {
        for (slot, init) in &scope.init {
            let fresh = match init {
                Init::Undefined(name) => {
                    // As in the turn of the loop before, if nothing was assigned in it.
                    let shown = &self.slots[self.base + *slot as usize];
                    if !matches!(shown, Value::Undefined(Undef::Var(known))
                        if std::ptr::eq(&raw const **name, *known))
                    {
                        put(self.cleared(*slot), Value::Undefined(Undef::Var(name)));
                    }
                    continue;
                }
                Init::Copy(var) => self.place(*var),
            };
            match fresh {
                Value::Undefined(Undef::Var(name)) => {
                    let name = *name;
                    put(self.cleared(*slot), Value::Undefined(Undef::Var(name)));
                }
                Value::Messages(messages) => {
                    let messages = *messages;
                    put(self.cleared(*slot), Value::Messages(messages));
                }
                other => {
                    let fresh = other.clone();
                    self.set_slot(*slot, fresh);
                }
            }
        }
    }

    #[allow(clippy::inline_always)] // a call costs more than what it does
    #[inline(always)]
    fn place(&self, var: VarRef) -> &Value<'t> {
        match var {
            VarRef::Slot(slot) => &self.slots[self.base + slot as usize],
            VarRef::Context(index) => &self.context[index as usize],
            VarRef::Up(depth, slot) => {
                let mut frame = self.frame;
                for _ in 0..depth {
                    frame = self.frames[frame].parent;
                }
                &self.slots[self.frames[frame].base + slot as usize]
            }
        }
    }

    fn set_slot(&mut self, slot: u32, value: Value<'t>) {
        put(self.cleared(slot), value);
    }

    /// A slot whose value owns nothing, for [`put`].
    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn cleared(&mut self, slot: u32) -> &mut Value<'t> {
        let at = self.base + slot as usize;
        if !self.slots[at].owns_nothing() {
            self.clear_slot(at);
        }
        &mut self.slots[at]
    }

    #[inline(never)]
    fn clear_slot(&mut self, at: usize) {
        let old = std::mem::replace(&mut self.slots[at], Value::None(LITERAL));
        self.recycle(old);
    }

    /// The message that a value stands for: one of the input's messages, or an object built
    /// from fields of exactly one.
    fn message_of(&self, value: &Value<'t>) -> Option<u32> {
        match value {
            Value::Data(_, origin) => root_message(*origin),
            Value::Map(entries) => {
                let mut found = None;
                for (_, value) in entries.iter() {
                    match (self.leaves.message_of(value.origin()), found) {
                        (Some(message), None) => found = Some(message),
                        (Some(message), Some(known)) if message != known => return None,
                        _ => {}
                    }
                }
                found
            }
            _ => None,
        }
    }

    /// Runs `body` with its output captured.
    fn capture<R>(&mut self, body: impl FnOnce(&mut Self) -> Res<R>) -> Res<(R, Str<'t>)> {
        let fresh = Out::reusing(&mut self.pool, self.trace, 0);
        let saved = std::mem::replace(&mut self.out, fresh);
        let result = body(self);
        let captured = std::mem::replace(&mut self.out, saved);
        Ok((result?, captured.into_str()))
    }
}
