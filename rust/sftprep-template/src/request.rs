//! What is rendered, prepared as `apply_chat_template` prepares it.

use std::sync::Arc;

use crate::clock::Clock;
use crate::data::{Data, Map};
use crate::error::{Fault, Res};
use crate::trace::MAX_MESSAGES;

/// One conversation with everything a template may read.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The messages, each an object.
    pub messages: &'a [Data],
    /// Tool schemas; the template sees `none` when absent.
    pub tools: Option<&'a [Data]>,
    /// Documents for retrieval templates; `none` when absent.
    pub documents: Option<&'a [Data]>,
    /// Whether the text ends where the assistant is to go on.
    pub add_generation_prompt: bool,
    /// Names and values such as `("bos_token", "<s>")`; only those that are set.
    pub special_tokens: &'a [(String, String)],
    /// Further template variables; they win over everything else of the same name.
    pub kwargs: &'a Map,
    /// What `strftime_now` reads.
    pub clock: Clock,
}

impl<'a> Request<'a> {
    /// A request with messages and variables only.
    pub fn new(messages: &'a [Data], kwargs: &'a Map, clock: Clock) -> Self {
        Self {
            messages,
            tools: None,
            documents: None,
            add_generation_prompt: false,
            special_tokens: &[],
            kwargs,
            clock,
        }
    }

    /// Bytes of text in the input, which the limits grow with.
    pub(crate) fn input_bytes(&self) -> usize {
        let lists = [Some(self.messages), self.tools, self.documents];
        let kwargs: usize = self
            .kwargs
            .iter()
            .map(|(key, value)| key.len() + size(value, 0))
            .sum();
        lists
            .into_iter()
            .flatten()
            .flatten()
            .map(|data| size(data, 0))
            .sum::<usize>()
            + kwargs
    }
}

fn size(data: &Data, depth: u32) -> usize {
    match data {
        Data::Str(text) => text.len() + 8,
        Data::List(items) if depth < 64 => items.iter().map(|item| size(item, depth + 1)).sum(),
        Data::Map(map) if depth < 64 => map
            .iter()
            .map(|(key, value)| key.len() + 8 + size(value, depth + 1))
            .sum(),
        _ => 8,
    }
}

/// Names under which a message may give its reasoning, the one that wins first.
pub(crate) const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];

/// The messages that the template sees otherwise than they were given.
pub(crate) struct Prepared(Vec<Option<Data>>);

impl Prepared {
    pub(crate) fn message(&self, index: usize) -> Option<&Data> {
        self.0.get(index)?.as_ref()
    }
}

/// Prepares messages as `apply_chat_template` does; takes no memory where all stay as they are.
pub(crate) fn prepare(messages: &[Data]) -> Res<Prepared> {
    if messages.len() > MAX_MESSAGES {
        let text = format!("more than {MAX_MESSAGES} messages in one conversation");
        return Err(Fault::value_error(text));
    }
    let mut prepared = Vec::new();
    for (index, message) in messages.iter().enumerate() {
        let Some(map) = message.as_map() else {
            let text = format!("messages[{index}] must be an object");
            return Err(Fault::type_error(text));
        };
        if map.iter().any(differs) {
            prepared.resize(index, None);
            prepared.push(Some(prepare_message(map)));
        }
    }
    Ok(Prepared(prepared))
}

/// Whether the template sees an entry of a message otherwise than it was given.
#[inline]
fn differs((key, value): (&Arc<str>, &Data)) -> bool {
    // The lengths of the names of reasoning: most keys have another.
    let reasoning = matches!(key.len(), 8 | 9 | 17) && REASONING.contains(&&**key);
    reasoning || matches!(value, Data::Null)
}

/// The message as the template sees it: fields that are null are dropped, and reasoning is offered
/// under the names that templates read.
fn prepare_message(map: &Map) -> Data {
    let reasoning = REASONING
        .iter()
        .find_map(|name| map.get(name).filter(|value| !matches!(value, Data::Null)));
    let mut prepared = Map::new();
    // The reference builds {"thinking": r, **message, "reasoning_content": r}: the message's
    // own `thinking` keeps first place but wins.
    if let Some(reasoning) = reasoning {
        prepared.insert("thinking", reasoning.clone());
    }
    for (key, value) in map.iter().filter(|(_, value)| !matches!(value, Data::Null)) {
        prepared.insert(key.clone(), value.clone());
    }
    if let Some(reasoning) = reasoning {
        prepared.insert("reasoning_content", reasoning.clone());
    }
    Data::Map(prepared)
}
