//! Memory that one render leaves to the next on the same thread.
//!
//! A render of a chat takes microseconds, of which asking the allocator for a dozen growing
//! buffers would be a good part. They are kept empty between renders, up to a bound.

use std::cell::Cell;

use crate::data::Data;
use crate::eval::Frame;
use crate::out::{Out, Pool};
use crate::template::Rendered;
use crate::text::Run;
use crate::trace::{Links, Node, Tables};
use crate::value::{Value, discard};

/// Bytes of output, and entries of the other buffers, that are worth keeping.
const MAX_TEXT: usize = 1 << 20;
const MAX_ITEMS: usize = 1 << 14;

/// Empty buffers.
#[derive(Default)]
pub(crate) struct Scratch {
    pub text: String,
    pub runs: Vec<Run>,
    pub pool: Pool,
    pub frames: Vec<Frame>,
    places: Vec<Links>,
    nodes: Vec<Node<'static>>,
    messages: Vec<&'static Data>,
    slots: Vec<Value<'static>>,
    context: Vec<Value<'static>>,
    /// A result that was given back.
    pub spare: Rendered,
}

thread_local! {
    static KEPT: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
}

/// The same memory for values of another lifetime, without the items. `filter_map` never yields
/// one, and collecting in place keeps the allocation; where the library does not, only speed is
/// lost.
fn emptied<A, B>(items: Vec<A>, mut spent: impl FnMut(A)) -> Vec<B> {
    let nothing = items.into_iter().filter_map(|item| {
        spent(item);
        None
    });
    nothing.collect()
}

fn empty<A, B>(mut items: Vec<A>) -> Vec<B> {
    items.clear();
    emptied(items, drop)
}

impl Scratch {
    /// What the last render on this thread left.
    pub(crate) fn take() -> Box<Self> {
        KEPT.take().unwrap_or_default()
    }

    /// Keeps what is not too large for the next render on this thread.
    pub(crate) fn keep(mut self: Box<Self>, out: Out) {
        self.text = out.text;
        self.runs = out.runs;
        self.text.clear();
        self.runs.clear();
        if self.text.capacity() <= MAX_TEXT && self.runs.capacity() <= MAX_ITEMS {
            // During the end of a thread there is no next render.
            let _ = KEPT.try_with(|kept| kept.set(Some(self)));
        }
    }

    /// Keeps what is not too large of a result for the next one on this thread.
    pub(crate) fn keep_spare(mut result: Rendered) {
        let Ok(Some(mut scratch)) = KEPT.try_with(Cell::take) else {
            return;
        };
        let spare = &mut scratch.spare;
        if (1..=MAX_TEXT).contains(&result.text.capacity()) {
            result.text.clear();
            spare.text = result.text;
        }
        if (1..=MAX_ITEMS).contains(&result.segments.capacity()) {
            result.segments.clear();
            spare.segments = result.segments;
        }
        if (1..=MAX_ITEMS).contains(&result.leaves.capacity()) {
            result.leaves.clear();
            spare.leaves = result.leaves;
        }
        let _ = KEPT.try_with(|kept| kept.set(Some(scratch)));
    }

    pub(crate) fn tables<'t>(&mut self) -> Tables<'t> {
        let nodes = empty(std::mem::take(&mut self.nodes));
        (std::mem::take(&mut self.places), nodes)
    }

    pub(crate) fn messages<'t>(&mut self) -> Vec<&'t Data> {
        empty(std::mem::take(&mut self.messages))
    }

    pub(crate) fn put_messages(&mut self, messages: Vec<&Data>) {
        if messages.capacity() <= MAX_ITEMS {
            self.messages = empty(messages);
        }
    }

    pub(crate) fn slots<'t>(&mut self) -> Vec<Value<'t>> {
        empty(std::mem::take(&mut self.slots))
    }

    pub(crate) fn context<'t>(&mut self) -> Vec<Value<'t>> {
        empty(std::mem::take(&mut self.context))
    }

    /// Takes back the values of a render, and of their strings what the next one can use.
    pub(crate) fn put_values(
        &mut self,
        slots: Vec<Value<'_>>,
        context: Vec<Value<'_>>,
        mut pool: Pool,
    ) {
        let spent = |value| match value {
            Value::Str(text) => pool.recycle(text),
            value => discard(value),
        };
        let slots = emptied(slots, spent);
        if slots.capacity() <= MAX_ITEMS {
            self.slots = slots;
        }
        self.context = emptied(context, discard);
        self.pool = pool;
    }

    pub(crate) fn put(&mut self, (mut places, nodes): Tables<'_>) {
        if places.capacity() <= MAX_ITEMS {
            places.clear();
            self.places = places;
        }
        if nodes.capacity() <= MAX_ITEMS {
            self.nodes = empty(nodes);
        }
    }
}
