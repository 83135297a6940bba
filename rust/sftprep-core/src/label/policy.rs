//! Which proven spans of the text are trained.

use sftprep_template::{KindSpan, Labelled, Method, Refusal, Rule, SpanKind as TextKind, Turn};

use crate::config::{LabelConfig, StopPolicy};
use crate::error::{Code, Reject};
use crate::types::{Conversation, NO_MESSAGE, SpanKind};

/// A run of bytes of the rendered text with its kind, and whether it is trained.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ByteSpan {
    /// First byte.
    pub start: u32,
    /// Byte after the last.
    pub end: u32,
    /// What it is.
    pub kind: SpanKind,
    /// Message it belongs to, or [`NO_MESSAGE`].
    pub message: u32,
    /// Whether it is trained.
    pub trained: bool,
    /// Loss weight.
    pub weight: f32,
}

/// The user's choice of what to train.
#[derive(Debug, Clone)]
pub struct Policy {
    config: LabelConfig,
}

impl Policy {
    /// A policy from the user's options.
    pub fn new(config: &LabelConfig) -> Self {
        Self {
            config: config.clone(),
        }
    }

    /// The messages of a conversation that are to be trained, in order. Turns of which the
    /// template writes nothing are not among them.
    ///
    /// # Errors
    /// `label.nothing_trained` if there is none.
    pub fn trained(
        &self,
        conversation: &Conversation,
        labelled: &Labelled,
    ) -> Result<Vec<u32>, Reject> {
        let mut turns: Vec<u32> = labelled
            .turns
            .iter()
            .filter(|turn| !matches!(turn, Ok(turn) if turn.method == Method::Empty))
            .map(message_of)
            .filter(|message| {
                let at = *message as usize;
                let says = conversation.train.get(at).copied().flatten();
                let weighs = conversation
                    .weight
                    .get(at)
                    .is_none_or(|weight| *weight != 0.0);
                says != Some(false) && weighs
            })
            .collect();
        turns.sort_unstable();
        if self.config.train_on.last_turn {
            turns.drain(..turns.len().saturating_sub(1));
        }
        if turns.is_empty() {
            return Err(Reject::new(
                Code::LabelNothingTrained,
                "no assistant message to train",
            ));
        }
        Ok(turns)
    }

    /// Marks the spans of a rendering as trained or not; they partition the text. `turns` are the
    /// messages to train; `last` is the last of its sample, which may be elsewhere.
    ///
    /// # Errors
    /// The code of the rule that refused one of them, such as `label.start`.
    pub fn apply(
        &self,
        conversation: &Conversation,
        labelled: &Labelled,
        turns: &[u32],
        last: Option<u32>,
    ) -> Result<Vec<ByteSpan>, Reject> {
        debug_assert!(turns.is_sorted());
        let trains = |message: u32| turns.binary_search(&message).is_ok();
        let wanted = |turn: &&Result<Turn, Refusal>| trains(message_of(turn));
        for turn in labelled.turns.iter().filter(wanted) {
            if let Err(refusal) = turn {
                let field = format!("messages[{}]", refusal.message);
                return Err(Reject::new(code(refusal.rule), refused(refusal)).at_field(field));
            }
        }
        let weight = |message: u32| {
            conversation
                .weight
                .get(message as usize)
                .copied()
                .unwrap_or(1.0)
        };
        let mut marked = Vec::with_capacity(labelled.spans.len());
        // neighbours are mostly of one message
        let mut of = (NO_MESSAGE, None);
        for span in &labelled.spans {
            let message = span.message.unwrap_or(NO_MESSAGE);
            if of.0 != message {
                of = (message, trains(message).then(|| weight(message)));
            }
            marked.push(self.mark(span, message, of.1, last));
        }
        Ok(marked)
    }

    /// A span of a message, whose weight is given if it is to be trained.
    fn mark(
        &self,
        span: &KindSpan,
        message: u32,
        weight: Option<f32>,
        last: Option<u32>,
    ) -> ByteSpan {
        let kind = kind(span.kind);
        let wanted = wants(&self.config, kind, last == Some(message));
        ByteSpan {
            start: span.start,
            end: span.end,
            kind,
            message,
            trained: wanted && weight.is_some(),
            weight: weight.unwrap_or(1.0),
        }
    }
}

/// Whether text of a kind is trained where its turn is, which may be the last one trained.
pub(super) fn wants(config: &LabelConfig, kind: SpanKind, in_last: bool) -> bool {
    match kind {
        SpanKind::Reasoning => config.reasoning,
        SpanKind::ToolCall => config.tool_calls,
        SpanKind::Stop => match config.stop {
            StopPolicy::Turn => true,
            StopPolicy::Last => in_last,
            StopPolicy::None => false,
        },
        // of an assistant, or of another role, where those are trained
        SpanKind::Answer | SpanKind::User | SpanKind::System | SpanKind::ToolOutput => true,
        SpanKind::Scaffold | SpanKind::Text | SpanKind::Tokens => false,
    }
}

fn message_of(turn: &Result<Turn, Refusal>) -> u32 {
    match turn {
        Ok(turn) => turn.message,
        Err(refusal) => refusal.message,
    }
}

/// The code of a row that a rule refuses, so that rows are counted by rule.
const fn code(rule: Rule) -> Code {
    match rule {
        Rule::A => Code::LabelWindow,
        Rule::B => Code::LabelPrompt,
        Rule::C => Code::LabelStart,
        Rule::D => Code::LabelFieldLost,
        Rule::E => Code::LabelStop,
        Rule::F => Code::LabelTags,
    }
}

fn refused(refusal: &Refusal) -> String {
    let Refusal {
        rule,
        detail,
        around,
        ..
    } = refusal;
    format!("rule {rule:?}: {detail}; the text there: {around:?}")
}

/// How a turn was proven, in the words of the documentation.
pub const fn method_name(method: Method) -> &'static str {
    match method {
        Method::Origin => "origin",
        Method::HeaderPart => "header_part",
        Method::PlainTurn => "plain_turn",
        Method::ThinkingSwitch => "thinking_switch",
        Method::RoleContrast => "role_contrast",
        Method::PrefixDiff => "prefix_diff",
        Method::Declared => "declared",
        Method::Empty => "empty",
    }
}

fn kind(kind: TextKind) -> SpanKind {
    match kind {
        TextKind::Scaffold => SpanKind::Scaffold,
        TextKind::System => SpanKind::System,
        TextKind::User => SpanKind::User,
        TextKind::Reasoning => SpanKind::Reasoning,
        TextKind::Answer => SpanKind::Answer,
        TextKind::ToolCall => SpanKind::ToolCall,
        TextKind::ToolOutput => SpanKind::ToolOutput,
        TextKind::Stop => SpanKind::Stop,
    }
}
