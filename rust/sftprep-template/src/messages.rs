//! The messages as the template sees them: a list of which nothing is copied.

use crate::data::Data;
use crate::text::LITERAL;
use crate::trace::message_origin;
use crate::value::Value;

/// The messages of a request.
#[derive(Debug)]
pub(crate) struct Conversation<'t> {
    pub messages: Vec<&'t Data>,
    /// Whether messages are told apart.
    pub traced: bool,
}

/// The list of messages, or a slice of it.
#[derive(Clone, Copy)]
pub(crate) struct Messages<'t> {
    conversation: &'t Conversation<'t>,
    start: u32,
    len: u32,
    step: i32,
    /// Tells slices apart, which are equal without being the same list.
    id: u32,
}

impl<'t> Messages<'t> {
    pub(crate) fn all(conversation: &'t Conversation<'t>) -> Self {
        Self {
            conversation,
            start: 0,
            len: conversation.messages.len() as u32,
            step: 1,
            id: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len as usize
    }

    /// The place in the conversation of what stands at `at`.
    #[inline]
    pub(crate) fn index(&self, at: usize) -> usize {
        (i64::from(self.start) + at as i64 * i64::from(self.step)) as usize
    }

    #[inline]
    pub(crate) fn data(&self, at: usize) -> Option<&'t Data> {
        let known = at < self.len();
        let message = self.conversation.messages.get(self.index(at));
        message.filter(|_| known).copied()
    }

    #[inline]
    pub(crate) fn get(&self, at: usize) -> Option<Value<'t>> {
        let message = self.data(at)?;
        let origin = if self.conversation.traced {
            message_origin(self.index(at))
        } else {
            LITERAL
        };
        Some(Value::Data(message, origin))
    }

    /// Takes the first message away; with its place in the conversation.
    #[inline]
    pub(crate) fn take_first(&mut self) -> Option<(&'t Data, usize)> {
        let first = (self.data(0)?, self.index(0));
        self.start = self.start.wrapping_add_signed(self.step);
        self.len -= 1;
        Some(first)
    }

    /// `messages[start:stop:step]` as another list of `len` messages.
    pub(crate) fn slice(&self, start: i64, len: usize, step: i64, id: u32) -> Self {
        // A slice of at most one message has no second one to step to.
        let step = if len > 1 { step } else { 1 };
        Self {
            start: (i64::from(self.start) + start.max(0) * i64::from(self.step)) as u32,
            len: len as u32,
            step: (i64::from(self.step) * step) as i32,
            id,
            ..*self
        }
    }

    /// Whether it is the same list and not only an equal one.
    pub(crate) fn same(&self, other: &Self) -> bool {
        self.id == other.id
    }
}
