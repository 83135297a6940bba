//! What an engine that serves the model is given: the messages so far and the generation prompt.

use super::history::up_to;
use super::prepare::{Failure, Worker};
use crate::types::Conversation;

/// A prompt, rendered and tokenized.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prompt {
    /// Its text.
    pub text: String,
    /// Its ids.
    pub ids: Vec<u32>,
}

impl Worker<'_> {
    /// The text of a conversation as training has it.
    ///
    /// # Errors
    /// If the template refuses it.
    pub fn text_of(&mut self, conversation: &Conversation) -> Result<String, Failure> {
        Ok(self.render_to(conversation, false)?.rendered.text)
    }

    /// The prompt before message `message` of a conversation. Control tokens come from the template
    /// alone, as everywhere.
    ///
    /// # Errors
    /// If the template refuses the messages before, or they cannot be tokenized.
    pub fn prompt(&mut self, conversation: &Conversation, message: u32) -> Result<Prompt, Failure> {
        let before = match message.checked_sub(1) {
            Some(last) => up_to(conversation, last),
            None => Conversation {
                messages: Vec::new(),
                ..conversation.clone()
            },
        };
        let labelled = self.render_to(&before, true)?;
        let spans = self.recipe.policy.apply(&before, &labelled, &[], None)?;
        let (rendered, control) = (&labelled.rendered, &self.recipe.control);
        let mut near = 0;
        self.encode(&rendered.text, &[], |found| {
            control.accepts(found, rendered, &spans, &mut near)
        })?;
        Ok(Prompt {
            ids: self.encoding.ids.clone(),
            text: labelled.rendered.text,
        })
    }

    /// A text without a template as a prompt.
    ///
    /// # Errors
    /// If it cannot be tokenized.
    pub fn raw_prompt(&mut self, text: &str) -> Result<Vec<u32>, Failure> {
        let control = &self.recipe.control;
        self.encode(text, &[], |found| {
            control.class(found.id) == crate::label::TokenClass::Plain
        })?;
        Ok(self.encoding.ids.clone())
    }
}
