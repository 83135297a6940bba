//! What a row means, whatever format it was written in.

use std::collections::BTreeMap;
use std::sync::Arc;

use sftprep_template::{Data, Map};

/// A row after its format was understood.
#[derive(Debug, Clone, PartialEq)]
pub enum Sample {
    /// Messages for the chat template.
    Conversation(Conversation),
    /// The threads of a message tree.
    Threads(Threads),
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

impl Sample {
    /// The conversation with that number: 0 unless the row is a tree.
    pub fn conversation(&self, thread: u32) -> Option<&Conversation> {
        match self {
            Self::Conversation(conversation) if thread == 0 => Some(conversation),
            Self::Threads(threads) => threads.conversations.get(thread as usize),
            _ => None,
        }
    }
}

/// Conversations that share their beginnings.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Threads {
    /// The threads, at least one, in the order in which the tree has their ends.
    pub conversations: Vec<Conversation>,
    /// Per thread: how many of its messages an earlier thread has too; those are its first.
    pub fresh: Vec<u32>,
    /// Messages of the tree: how many are part of a thread (`used`), and how many are not and why.
    pub messages: BTreeMap<&'static str, u64>,
}

impl Threads {
    /// Every message that is part of a thread, once.
    pub fn each_message(&self) -> impl Iterator<Item = &Data> {
        let threads = self.conversations.iter().zip(&self.fresh);
        threads.flat_map(|(thread, fresh)| thread.messages.iter().skip(*fresh as usize))
    }
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
