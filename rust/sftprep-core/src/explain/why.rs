//! Why a token has a label, or has none.

use sftprep_template::Data;

use crate::config::{LabelConfig, StopPolicy};
use crate::types::{Sample, SpanKind};

/// What decides.
pub(super) struct Facts {
    pub(super) kind: SpanKind,
    /// It has a label.
    pub(super) trained: bool,
    /// Its span is trained.
    pub(super) span_trained: bool,
    pub(super) straddles: bool,
    /// It stands in an earlier window of its sample too.
    pub(super) repeated: bool,
    /// It is the first of its document.
    pub(super) first: bool,
    /// What the row itself says against training its message.
    pub(super) excluded: Option<&'static str>,
}

impl Facts {
    pub(super) fn why(&self, label: &LabelConfig) -> String {
        if self.trained {
            return format!("{} of a trained turn", self.kind.name().replace('_', " "));
        }
        if self.span_trained && self.first {
            return "the first token of a document has no label: nothing predicts it".to_owned();
        }
        if self.straddles {
            return "it lies across the edge of a trained span; only tokens that lie inside are \
                    trained"
                .to_owned();
        }
        let assistant = matches!(
            self.kind,
            SpanKind::Reasoning | SpanKind::Answer | SpanKind::ToolCall | SpanKind::Stop
        );
        if self.repeated && (assistant || matches!(self.kind, SpanKind::Text | SpanKind::Tokens)) {
            return "it is repeated as context: its row is longer than a sequence, and an earlier \
                    window of it trains what is to be trained here"
                .to_owned();
        }
        let by_option = match self.kind {
            SpanKind::Reasoning if !label.reasoning => Some("reasoning is not (--no-reasoning)"),
            SpanKind::ToolCall if !label.tool_calls => Some("tool calls are not (--no-tool-calls)"),
            SpanKind::Stop if label.stop == StopPolicy::None => {
                Some("stop tokens are not (--stop none)")
            }
            SpanKind::Stop if label.stop == StopPolicy::Last => {
                Some("only the last turn's stop token is (--stop last)")
            }
            _ => None,
        };
        let reason = match self.kind {
            SpanKind::Scaffold => "the template's own text is context",
            SpanKind::System => "system text is context",
            SpanKind::User => "user text is context",
            SpanKind::ToolOutput => "a tool's output is context",
            SpanKind::Text | SpanKind::Tokens => "the row's own mask leaves it out",
            _ => match (by_option, self.excluded) {
                (Some(option), _) => return format!("by the options of the run, {option} trained"),
                (None, Some(excluded)) => excluded,
                (None, None) => {
                    "its turn is context: an earlier or a cut turn, or not chosen by \
                                 the options of the run"
                }
            },
        };
        reason.to_owned()
    }
}

/// What a row says against training a message.
pub(super) fn excluded(sample: &Sample, thread: u32, message: u32) -> Option<&'static str> {
    let conversation = sample.conversation(thread)?;
    let says = conversation.train.get(message as usize).copied().flatten();
    (says == Some(false)).then_some("the row says of this message that it is not trained")
}

/// The role of a message.
pub(super) fn role(sample: &Sample, thread: u32, message: u32) -> Option<String> {
    let conversation = sample.conversation(thread)?;
    let message = conversation.messages.get(message as usize)?;
    let role = message.as_map()?.get("role").and_then(Data::as_str)?;
    Some(role.to_owned())
}
