//! Samples that are longer than a sequence, as several documents in which each token to train is
//! trained once.
//!
//! A conversation is cut where turns begin. A window is the exact rendering of its system prompt,
//! its tools and some consecutive messages; turns that an earlier window trains are context. Only a
//! turn that fits nowhere is sliced by tokens, as is what has no messages. See [`plan`] and
//! [`pieces`] for the rules.

mod pieces;
mod plan;
mod rendering;

use std::collections::BTreeSet;

use sftprep_template::{Data, Labelled};

use super::history::{lacks, up_to};
use super::prepare::{Failure, Prepared, Worker};
use crate::config::{Boundary, Overlong};
use crate::types::{Conversation, Example, NO_MESSAGE, Sample};
use plan::{Outline, Probe, Start, plan};
use rendering::{Rendering, first_of_others};

pub(super) use rendering::raw_windows;

/// Which part of its sample a document is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Window {
    /// Messages of the row that were rendered; empty if the row has none.
    pub messages: Vec<u32>,
    /// First token of the document in that rendering.
    pub first_token: u32,
    /// Whether it is the first document of that rendering.
    pub leads: bool,
    /// Tokens at its beginning that an earlier window of the sample has too.
    pub repeated: u32,
    /// Tokens of the sample that are in no window; told by the first one.
    pub cut: u64,
    /// Why there is no window: then the document is the whole sample.
    pub failed: Option<String>,
}

impl Window {
    /// The part of a conversation that was rendered.
    pub fn of(&self, conversation: &Conversation) -> Conversation {
        only(conversation, &self.messages)
    }

    /// The number that a message of the row has in that part.
    pub fn inside(&self, message: u32) -> u32 {
        self.messages
            .binary_search(&message)
            .map_or(NO_MESSAGE, |at| at as u32)
    }
}

/// The documents of a row that was rendered once.
pub struct Rendered(Vec<Rendering>);

impl Rendered {
    /// One of them, with the text that it was cut out of, once; or how many there are.
    ///
    /// # Errors
    /// Their number, if there is none with this one.
    pub fn take(&mut self, part: usize) -> Result<Prepared, usize> {
        let mut before = 0;
        for rendering in &mut self.0 {
            let own = rendering.pieces.len();
            if part < before + own {
                let more = own > 1;
                let text = take_or_clone(&mut rendering.made.text, more);
                let spans = take_or_clone(&mut rendering.made.spans, more);
                let document = rendering.document(part - before);
                return Ok(Prepared {
                    text,
                    spans,
                    ..document
                });
            }
            before += own;
        }
        Err(before)
    }
}

fn take_or_clone<T: Clone + Default>(value: &mut T, keep: bool) -> T {
    if keep {
        value.clone()
    } else {
        std::mem::take(value)
    }
}

impl Worker<'_> {
    /// The documents of a row: its samples, or the windows of those that are longer than a sequence,
    /// if the options ask for windows. A sample of which none can be made stays whole.
    ///
    /// # Errors
    /// As [`Self::prepare`].
    pub fn documents(&mut self, sample: &Sample) -> Result<Vec<Prepared>, Failure> {
        let samples = self.prepare(sample)?;
        if !samples.iter().any(|it| self.is_too_long(it)) {
            return Ok(samples);
        }
        let tree = samples.first().and_then(|first| first.tree.clone());
        let mut documents: Vec<Prepared> = Vec::new();
        for mut rendering in self.renderings(sample, samples)? {
            documents.extend((0..rendering.pieces.len()).map(|at| rendering.document(at)));
        }
        for (at, document) in documents.iter_mut().enumerate() {
            document.tree = tree.clone().filter(|_| at == 0);
        }
        Ok(documents)
    }

    /// The documents of a row, to be asked for one by one.
    ///
    /// # Errors
    /// As [`Self::prepare`].
    pub fn rendered(&mut self, sample: &Sample) -> Result<Rendered, Failure> {
        let samples = self.prepare(sample)?;
        Ok(Rendered(self.renderings(sample, samples)?))
    }

    /// Those messages of a conversation as a window, whatever the options would cut: what was packed
    /// again keeps the windows of its source. None if they do not make one sample.
    ///
    /// # Errors
    /// As [`Self::prepare`].
    pub fn window_of(
        &mut self,
        sample: &Sample,
        messages: Vec<u32>,
    ) -> Result<Option<Prepared>, Failure> {
        let Sample::Conversation(conversation) = sample else {
            return Ok(None);
        };
        let window = Sample::Conversation(only(conversation, &messages));
        let Ok([mut made]) = <[Prepared; 1]>::try_from(self.prepare(&window)?) else {
            return Ok(None);
        };
        rename(&mut made, &messages);
        made.window = Some(Box::new(Window {
            messages,
            ..Window::default()
        }));
        Ok(Some(made))
    }

    fn is_too_long(&self, it: &Prepared) -> bool {
        let packing = &self.recipe.config.pack;
        packing.windows() && it.example.input_ids.len() > packing.max_len as usize
    }

    fn renderings(
        &mut self,
        sample: &Sample,
        samples: Vec<Prepared>,
    ) -> Result<Vec<Rendering>, Failure> {
        let mut renderings = Vec::with_capacity(samples.len());
        for whole in samples {
            if !self.is_too_long(&whole) {
                renderings.push(Rendering::whole(whole));
                continue;
            }
            let mut own = match (sample.conversation(whole.thread), whole.turn) {
                (Some(it), None) => self.windows(it, whole)?,
                (Some(it), Some(turn)) => self.windows(&up_to(it, turn), whole)?,
                _ => vec![Rendering::raw(whole, &self.recipe.config.pack)],
            };
            let last = own.len().saturating_sub(1);
            for rendering in &mut own[..last] {
                rendering.continues = true;
            }
            renderings.extend(own);
        }
        Ok(renderings)
    }

    /// Windows of a conversation.
    fn windows(
        &mut self,
        conversation: &Conversation,
        whole: Prepared,
    ) -> Result<Vec<Rendering>, Failure> {
        let recipe = self.recipe;
        let packing = &recipe.config.pack;
        let (max_len, last_only) = (
            packing.max_len,
            packing.overlong == Overlong::DropOldestTurns,
        );
        let labelled = self.render(conversation)?;
        let turns = match whole.turn {
            Some(turn) => vec![turn],
            None => recipe.policy.trained(conversation, &labelled)?,
        };
        let outline = outline(conversation, &whole.example, turns);
        let mut probe = Prober {
            worker: self,
            conversation,
            whole: &labelled,
            outline: &outline,
        };
        let plan = plan(&outline, max_len, last_only, |start, turns| {
            if !last_only {
                return probe.window(start, &outline.turns[turns]);
            }
            let inside = |turn: &&u32| **turn < outline.head || **turn >= start;
            let own: Vec<u32> = outline.turns.iter().filter(inside).copied().collect();
            probe.window(start, &own)
        })?;
        let mut covered: BTreeSet<u32> = BTreeSet::new();
        let mut renderings: Vec<Rendering> = Vec::with_capacity(plan.windows.len());
        let mut cut = 0;
        for window in plan.windows {
            let (made, messages) = window.made;
            let fresh = first_of_others(&made.example, &covered);
            let mut rendering = Rendering {
                messages,
                ..Rendering::whole(made)
            };
            rendering.made.turn = whole.turn;
            rendering.made.thread = whole.thread;
            rendering.cut_up(max_len, if covered.is_empty() { 0 } else { fresh });
            if last_only {
                rendering.keep_last();
            }
            // what the template writes before the messages, such as tools, counts once
            cut += rendering.left_out(|message| match message {
                Some(message) => !covered.contains(&message),
                None => covered.is_empty(),
            });
            covered.extend(&rendering.messages);
            renderings.push(rendering);
        }
        let missing =
            (0..conversation.messages.len()).filter(|it| !covered.contains(&(*it as u32)));
        cut += missing
            .map(|it| u64::from(outline.at[it + 1] - outline.at[it]))
            .sum::<u64>();
        match renderings.first_mut() {
            Some(first) => first.cut = cut,
            None => renderings.push(Rendering::failed(whole, plan.lost)),
        }
        Ok(renderings)
    }
}

/// Makes windows of one conversation.
struct Prober<'a, 'w, 'r> {
    worker: &'w mut Worker<'r>,
    conversation: &'a Conversation,
    whole: &'a Labelled,
    outline: &'a Outline,
}

impl Prober<'_, '_, '_> {
    /// The window from message `start` to the last of `turns`, which it trains.
    fn window(
        &mut self,
        start: u32,
        turns: &[u32],
    ) -> Result<Probe<(Prepared, Vec<u32>)>, Failure> {
        let head = self.outline.head;
        let end = self.outline.end(turns.last().copied().unwrap_or(start));
        let messages: Vec<u32> = (0..head).chain(start.max(head)..=end).collect();
        let window = only(self.conversation, &messages);
        let made = self.worker.render(&window).and_then(|labelled| {
            let inside = |turn: &u32| messages.binary_search(turn).unwrap_or(0) as u32;
            let own: Vec<u32> = turns.iter().map(inside).collect();
            let less =
                |(own, turn): (&u32, &u32)| lacks(&labelled, *own) > lacks(self.whole, *turn);
            if let Some((_, turn)) = own.iter().zip(turns).find(|it| less((it.0, it.1))) {
                return Ok(Err(format!(
                    "messages[{turn}] shows less there than in the whole"
                )));
            }
            let last = self.outline.turns.last();
            let last = last.and_then(|last| messages.binary_search(last).ok());
            let made = self
                .worker
                .sample(&window, labelled, &own, last.map(|it| it as u32))?;
            // one tokenization of each prompt, as for whole samples
            let clash = |message: &u32| own.last() != Some(message);
            let inference = self.worker.recipe.config.label.boundary == Boundary::Inference;
            if inference && made.boundaries.iter().any(clash) {
                return Ok(Err("two of its turns want other ids before them".to_owned()));
            }
            Ok(Ok(made))
        });
        match made {
            Ok(Ok(mut made)) => {
                rename(&mut made, &messages);
                Ok(Probe::Window {
                    tokens: made.example.input_ids.len() as u32,
                    made: (made, messages),
                })
            }
            Ok(Err(why)) => Ok(Probe::Refused(why)),
            Err(Failure::Reject(reject)) => Ok(Probe::Refused(reject.to_string())),
            Err(fatal) => Err(fatal),
        }
    }
}

/// What is known of a conversation from the whole.
fn outline(conversation: &Conversation, whole: &Example, turns: Vec<u32>) -> Outline {
    let messages = &conversation.messages;
    let role = |at: usize| messages.get(at).and_then(role);
    let is_head = |at: &usize| matches!(role(*at), Some("system" | "developer"));
    let head = (0..messages.len()).take_while(is_head).count();
    // a conversation of nothing but system prompts has one that is no head
    let head = head.min(messages.len().saturating_sub(1));
    let starts = (head..messages.len()).filter_map(|at| {
        let asks = role(at) == Some("user") && role(at.wrapping_sub(1)) != Some("user");
        let within = at > head && role(at) == Some("assistant");
        (at == head || asks || within).then_some(Start {
            message: at as u32,
            within,
        })
    });
    let tokens = whole.input_ids.len() as u32;
    let mut at = vec![tokens; messages.len() + 1];
    let mut from = 0;
    for span in &whole.spans {
        if let Some(first) = at.get_mut(span.message as usize) {
            *first = from.min(*first);
        }
        from = span.end;
    }
    // a message that shows nothing begins where the next one does
    for message in (0..messages.len()).rev() {
        at[message] = at[message].min(at[message + 1]);
    }
    Outline {
        head: head as u32,
        at,
        starts: starts.collect(),
        turns,
    }
}

fn role(message: &Data) -> Option<&str> {
    message.as_map()?.get("role").and_then(Data::as_str)
}

/// The conversation with some of its messages.
fn only(conversation: &Conversation, messages: &[u32]) -> Conversation {
    fn pick<T: Clone>(from: &[T], messages: &[u32]) -> Vec<T> {
        let own = messages.iter().filter_map(|at| from.get(*at as usize));
        own.cloned().collect()
    }
    Conversation {
        messages: pick(&conversation.messages, messages),
        tools: conversation.tools.clone(),
        documents: conversation.documents.clone(),
        kwargs: conversation.kwargs.clone(),
        train: pick(&conversation.train, messages),
        weight: pick(&conversation.weight, messages),
    }
}

/// Gives the messages of a window the numbers that they have in the row.
fn rename(made: &mut Prepared, messages: &[u32]) {
    let rename = |message: &mut u32| {
        *message = messages
            .get(*message as usize)
            .copied()
            .unwrap_or(NO_MESSAGE);
    };
    for span in &mut made.example.spans {
        rename(&mut span.message);
    }
    for span in &mut made.spans {
        rename(&mut span.message);
    }
    for (message, _) in &mut made.methods {
        rename(message);
    }
    made.boundaries.iter_mut().for_each(rename);
    if let Some(trace) = &mut made.trace {
        let leaves = trace.leaves.iter_mut().map(|leaf| &mut leaf.message);
        let owners = trace.segments.iter_mut().map(|it| &mut it.owner);
        leaves.chain(owners).flatten().for_each(rename);
    }
}
