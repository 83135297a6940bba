//! What a row means, whatever format it was written in.

use std::sync::Arc;

use sftprep_template::{Data, Map};

/// A row after its format was understood.
#[derive(Debug, Clone, PartialEq)]
pub enum Sample {
    /// Messages for the chat template.
    Conversation(Conversation),
    /// Text before and text after the point where training starts; no template.
    Completion {
        /// Context, not trained.
        prompt: Arc<str>,
        /// Trained, stop token included.
        completion: Arc<str>,
    },
    /// Raw text, every token trained (but the first, which nothing predicts).
    Text(Arc<str>),
    /// Token ids made elsewhere.
    Tokens {
        /// Token ids.
        input_ids: Vec<u32>,
        /// Which of them are trained.
        targets: TokenTargets,
    },
}

/// Messages in the normal form that the chat template is given, and the reference too.
///
/// Messages are maps with `role` and `content` and, where the row has them, `tool_calls` (objects
/// with `type`, `function: {name, arguments}`), `reasoning_content`, `name`, `tool_call_id` and
/// whatever else the row carries, in the row's own key order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Conversation {
    /// The messages, each a [`Data::Map`].
    pub messages: Vec<Data>,
    /// Tool schemas, if the row has any.
    pub tools: Option<Vec<Data>>,
    /// Retrieved documents, if the row has any.
    pub documents: Option<Vec<Data>>,
    /// The row's own `chat_template_kwargs`.
    pub kwargs: Map,
    /// Per message: may it be trained? (`None`: as the role says.) Same length as `messages`, or
    /// empty when no message says anything.
    pub train: Vec<Option<bool>>,
    /// Per message: loss weight. Same length as `messages`, or empty when all are 1.
    pub weight: Vec<f32>,
}

/// Which tokens of a pretokenized row are trained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenTargets {
    /// All of them.
    All,
    /// Those whose flag is true; same length as the ids.
    Mask(Vec<bool>),
}
