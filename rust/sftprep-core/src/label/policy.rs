//! Which proven spans of the text are trained.

use std::collections::BTreeMap;

use sftprep_template::{KindSpan, Labelled, Method, Refusal, SpanKind as TextKind};

use crate::config::{LabelConfig, StopPolicy, TrainOn};
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

    /// Marks the spans of a rendering as trained or not; they partition the text.
    ///
    /// # Errors
    /// `label.refused` if a turn that should be trained has no proven span;
    /// `label.nothing_trained` if no turn is to be trained.
    pub fn apply(
        &self,
        conversation: &Conversation,
        labelled: &Labelled,
    ) -> Result<Vec<ByteSpan>, Reject> {
        let turns = self.trained_turns(conversation, labelled)?;
        let last = turns.keys().next_back().copied();
        Ok(labelled
            .spans
            .iter()
            .map(|span| self.mark(span, &turns, last))
            .collect())
    }

    /// The messages to be trained, each with its weight.
    fn trained_turns(
        &self,
        conversation: &Conversation,
        labelled: &Labelled,
    ) -> Result<BTreeMap<u32, f32>, Reject> {
        let mut turns: Vec<(u32, Option<&Refusal>)> = labelled
            .turns
            .iter()
            .filter(|turn| !matches!(turn, Ok(turn) if turn.method == Method::Empty))
            .map(|turn| match turn {
                Ok(turn) => (turn.message, None),
                Err(refusal) => (refusal.message, Some(refusal)),
            })
            .filter(|(message, _)| {
                let says = conversation.train.get(*message as usize).copied().flatten();
                says != Some(false)
            })
            .collect();
        turns.sort_by_key(|(message, _)| *message);
        if self.config.train_on == TrainOn::LastTurn {
            turns.drain(..turns.len().saturating_sub(1));
        }
        if let Some((message, Some(refusal))) = turns.iter().find(|(_, refusal)| refusal.is_some())
        {
            let field = format!("messages[{message}]");
            return Err(Reject::new(Code::LabelRefused, refused(refusal)).at_field(field));
        }
        if turns.is_empty() {
            return Err(Reject::new(
                Code::LabelNothingTrained,
                "no assistant message to train",
            ));
        }
        let weight = |message: u32| {
            conversation
                .weight
                .get(message as usize)
                .copied()
                .unwrap_or(1.0)
        };
        Ok(turns
            .into_iter()
            .map(|(message, _)| (message, weight(message)))
            .collect())
    }

    fn mark(&self, span: &KindSpan, turns: &BTreeMap<u32, f32>, last: Option<u32>) -> ByteSpan {
        let message = span.message.unwrap_or(NO_MESSAGE);
        let turn = turns.get(&message);
        let wanted = match span.kind {
            TextKind::Answer => true,
            TextKind::Reasoning => self.config.reasoning,
            TextKind::ToolCall => self.config.tool_calls,
            TextKind::Stop => match self.config.stop {
                StopPolicy::Turn => true,
                StopPolicy::Last => last == Some(message),
                StopPolicy::None => false,
            },
            _ => false,
        };
        ByteSpan {
            start: span.start,
            end: span.end,
            kind: kind(span.kind),
            message,
            trained: wanted && turn.is_some(),
            weight: turn.copied().unwrap_or(1.0),
        }
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
