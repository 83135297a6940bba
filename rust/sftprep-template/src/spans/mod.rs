//! Label spans: which bytes of a rendered conversation the assistant wrote.
//!
//! Nothing is searched for in text. A turn's bytes are those that came from its message; its
//! start is what the template itself puts before an answer when asked for a generation prompt;
//! its end is the stop token that the template writes for the same message. Rules A to G decide
//! and check this; a turn that one of them cannot prove is refused with that rule.

mod declared;
mod header;
mod kinds;
mod leaves;
mod pieces;
mod prefix;
mod ranges;
mod shapes;
mod stop;
mod switches;
mod turn;

use crate::data::{Data, Map, same_word};
use crate::error::TemplateError;
use crate::request::Request;
use crate::template::{ChatTemplate, Rendered};

use header::Headers;
use pieces::{Memory, Pieces};
use shapes::Table;

/// What a stretch of the text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SpanKind {
    /// Role headers, separators, tool schemas: everything nobody said.
    Scaffold,
    /// Text of system and developer messages.
    System,
    /// Text of user messages.
    User,
    /// The assistant's reasoning with its marks.
    Reasoning,
    /// The assistant's answer.
    Answer,
    /// The assistant's tool calls with their marks.
    ToolCall,
    /// Results of tools.
    ToolOutput,
    /// The token that ends a turn.
    Stop,
}

/// A stretch of the text of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KindSpan {
    /// First byte.
    pub start: u32,
    /// Byte behind the last.
    pub end: u32,
    /// What it is.
    pub kind: SpanKind,
    /// The message it belongs to; `None` for scaffolding.
    pub message: Option<u32>,
}

/// How the start of a turn was proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// The template's generation prompt stands before the turn, byte for byte.
    Origin,
    /// All that stands before the turn's text is part of the generation prompt.
    HeaderPart,
    /// A plain turn and the generation prompt share what stands before the text.
    PlainTurn,
    /// The generation prompts of all thinking switches share what stands before the turn.
    ThinkingSwitch,
    /// No generation prompt; the literal before the text names the role.
    RoleContrast,
    /// The text up to the turn is exactly what a prefix of the conversation renders to.
    PrefixDiff,
    /// The caller declared header and stop token.
    Declared,
    /// The template writes nothing of this turn that could be trained: no range.
    Empty,
}

/// The rules that a turn must pass. (G, agreement with prefixes, refuses nothing by itself: where it
/// is the proof, its failure is one of C. H is about tokens and is checked where they are made.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// The turn's bytes lie in its own window, foreign bytes outside.
    A,
    /// The template gives a generation prompt to compare with.
    B,
    /// The start of the turn.
    C,
    /// Every field of the message reached the text.
    D,
    /// The stop token.
    E,
    /// Agreement with generation tags.
    F,
}

/// A proven turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// The assistant message.
    pub message: u32,
    /// How its start was proven.
    pub method: Method,
    /// Byte ranges to train, in order; more than one where other messages lie between, none
    /// (and [`Method::Empty`]) where the template writes nothing for the message.
    pub ranges: Vec<(u32, u32)>,
    /// The stop token, if the template writes one.
    pub stop: Option<(u32, u32)>,
    /// Fields of the message that the template left out, such as `reasoning_content`.
    pub dropped: Vec<String>,
    /// All of them are reasoning, and other messages follow: the template may have left it out
    /// because of those, and write it where the conversation ends with this turn.
    pub dropped_as_history: bool,
    /// With generation tags: whether they mark the same bytes, up to white space.
    pub tags_agree: Option<bool>,
}

/// A turn that could not be proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The assistant message.
    pub message: u32,
    /// The rule that refused.
    pub rule: Rule,
    /// What was wrong.
    pub detail: String,
    /// The rendered text around the place.
    pub around: String,
}

/// Where a trained span begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StartConvention {
    /// After everything that the generation prompt supplies at inference.
    #[default]
    AfterGenerationPrompt,
    /// After the role header: marks of thinking that the prompt supplies are trained too.
    AfterRoleHeader,
}

/// Header and stop token of assistant turns, declared by the user; still verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declaration {
    /// Literal text that ends where the assistant's text begins.
    pub header: String,
    /// Literal text that ends a turn.
    pub stop: String,
}

/// What to do about a field that the template leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDrop {
    /// Go on; the field is listed in [`Turn::dropped`].
    #[default]
    Allow,
    /// Refuse the turn.
    Refuse,
}

/// How spans are decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpanOptions {
    /// Roles that are trained.
    pub roles: Vec<String>,
    /// Stop tokens: end-of-sequence and end-of-turn strings of the tokenizer.
    pub stop_tokens: Vec<String>,
    /// Where a span begins.
    pub start: StartConvention,
    /// Used where origins alone cannot prove a turn.
    pub declared: Option<Declaration>,
    /// Reasoning of turns that other messages follow, left out by the template.
    pub history_reasoning: OnDrop,
    /// Any other field left out.
    pub dropped: OnDrop,
    /// Accept turns of templates that write no stop token at all.
    pub allow_no_stop: bool,
}

impl Default for SpanOptions {
    fn default() -> Self {
        Self {
            roles: vec!["assistant".to_owned()],
            stop_tokens: Vec::new(),
            start: StartConvention::default(),
            declared: None,
            history_reasoning: OnDrop::Allow,
            dropped: OnDrop::Refuse,
            allow_no_stop: true,
        }
    }
}

/// A rendered conversation with its spans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labelled {
    /// Text and origins.
    pub rendered: Rendered,
    /// A partition of the text.
    pub spans: Vec<KindSpan>,
    /// One entry per message of a trained role, in order.
    pub turns: Vec<Result<Turn, Refusal>>,
}

/// Labels conversations with one template; keeps what it learned about the template.
#[derive(Debug)]
pub struct Session<'t> {
    template: &'t ChatTemplate,
    headers: Table<Headers>,
    stops: Table<Option<String>>,
    /// Keys of the places of the row at hand.
    keys: Vec<u64>,
    memory: Memory,
}

/// What a session learned about its template, to be kept where the template cannot be borrowed.
#[derive(Debug, Default)]
pub struct Learned {
    headers: Table<Headers>,
    stops: Table<Option<String>>,
}

/// Entries kept before the caches start over.
const MAX_CACHE: usize = 4096;

impl ChatTemplate {
    /// A labeller for this template; one per thread.
    pub fn session(&self) -> Session<'_> {
        self.resume(Learned::default())
    }

    /// A labeller that goes on where another for this template left off.
    pub fn resume(&self, learned: Learned) -> Session<'_> {
        let Learned { headers, stops } = learned;
        Session {
            template: self,
            headers,
            stops,
            keys: Vec::new(),
            memory: Memory::default(),
        }
    }
}

impl Session<'_> {
    /// What was learned about the template.
    pub fn into_learned(self) -> Learned {
        let Self { headers, stops, .. } = self;
        Learned { headers, stops }
    }

    /// Renders a conversation and decides the span of every trained message.
    ///
    /// # Errors
    /// If the template cannot render the conversation.
    pub fn label(
        &mut self,
        request: &Request<'_>,
        options: &SpanOptions,
    ) -> Result<Labelled, TemplateError> {
        let rendered = self.template.render_traced(request)?;
        let pieces = Pieces::reusing(&rendered, std::mem::take(&mut self.memory));
        shapes::keys(request, &mut self.keys);
        let trained = |role: &str| options.roles.iter().any(|known| same_word(known, role));
        let mut turns = Vec::with_capacity(request.messages.len().div_ceil(2));
        for (index, message) in request.messages.iter().enumerate() {
            if role(message).is_some_and(trained) {
                turns.push(self.turn(request, options, &pieces, index));
            }
        }
        turn::refuse_overlaps(&mut turns, &pieces);
        let spans = kinds::partition(request, &pieces, &turns);
        self.memory = pieces.into_memory();
        Ok(Labelled {
            rendered,
            spans,
            turns,
        })
    }

    /// The key of a place of the row at hand.
    fn key(&self, index: u32) -> u64 {
        self.keys.get(index as usize).copied().unwrap_or_default()
    }

    /// Renders another conversation for comparison; `None` if the template refuses it.
    fn probe(
        &self,
        request: &Request<'_>,
        messages: &[Data],
        generation_prompt: bool,
        kwargs: &Map,
    ) -> Option<Rendered> {
        let probe = Request {
            messages,
            add_generation_prompt: generation_prompt,
            kwargs,
            ..*request
        };
        self.template.render_traced(&probe).ok()
    }
}

/// The role whose turns the template's generation prompt opens.
const ASSISTANT: &str = "assistant";

pub(crate) fn role(message: &Data) -> Option<&str> {
    message.as_map()?.get("role")?.as_str()
}
