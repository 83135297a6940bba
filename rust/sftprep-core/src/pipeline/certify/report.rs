//! What a certificate says.

use serde::Serialize;
use sftprep_template::{Refusal, Turn};

use crate::label::method_name;
use crate::shard::value_blake3;

/// What became of a shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every assistant turn is proven.
    Proven,
    /// A turn is not proven, or has no token that could be trained.
    Refused,
    /// The template does not render it.
    TemplateRefuses,
}

/// A certificate; [`Self::blake3`] identifies it.
#[derive(Debug, Clone, Serialize)]
pub struct Certificate {
    /// BLAKE3 of the template's text.
    pub template: String,
    /// Whether plain and multi-turn conversations are proven, and those with a system message if
    /// the template takes one.
    pub proven: bool,
    /// Whether ids come from the model's own tokenizer; without one, tokens are not judged.
    pub tokenizer: bool,
    /// Named tokens for which a stand-in was used, since no tokenizer was given.
    pub stand_ins: Vec<String>,
    /// Whether the template has generation tags.
    pub generation_tags: bool,
    /// Whether the text depends on the date.
    pub reads_clock: bool,
    /// Whether some earlier turn is rendered otherwise once further ones follow.
    pub rewrites_history: bool,
    /// Whether the stop token lies inside of every trained turn.
    pub stop_always_inside: bool,
    /// Shapes in which generation tags and proven spans disagree.
    pub tags_disagree: Vec<String>,
    /// Control tokens and tags among the tokenizer's added tokens.
    pub control_tokens: Vec<ControlToken>,
    /// Control strings of the template that are no single token of the tokenizer.
    pub split_control_strings: Vec<String>,
    /// One entry per shape.
    pub shapes: Vec<ShapeReport>,
}

/// An added token that content may not become, or not everywhere.
#[derive(Debug, Clone, Serialize)]
pub struct ControlToken {
    /// Its id.
    pub id: u32,
    /// Its text.
    pub token: String,
    /// `control` (the template alone may write it) or `tag` (an assistant's text may too).
    pub class: &'static str,
}

/// What became of one shape.
#[derive(Debug, Clone, Serialize)]
pub struct ShapeReport {
    /// Its name.
    pub name: String,
    /// What is special about it.
    pub why: String,
    /// What became of it.
    pub outcome: Outcome,
    /// The error, if the template or the labels refuse it as a whole.
    pub error: String,
    /// Samples that it becomes under the default policy: one, or one per turn where the template
    /// leaves out what earlier turns said. 0 if it is refused.
    pub samples: u32,
    /// Its assistant turns, as they are in those samples.
    pub turns: Vec<TurnReport>,
    /// Messages after which the text is rendered otherwise once more of them follow.
    pub rewritten_after: Vec<u32>,
    /// Inputs that the template leaves out silently, such as `messages[0].content` or `tools`.
    pub left_out: Vec<String>,
    /// Control ids that came from the row's own text.
    pub control_ids_from_content: u32,
}

/// One assistant turn of a shape.
#[derive(Debug, Clone, Serialize)]
pub struct TurnReport {
    /// The message.
    pub message: u32,
    /// How it was proven; empty if it was refused.
    pub method: &'static str,
    /// The rule that refused it, `A` to `H`; empty if it was proven.
    pub rule: String,
    /// Why it was refused.
    pub detail: String,
    /// The text around the place.
    pub around: String,
    /// The stop token, if the template writes one.
    pub stop: Option<String>,
    /// Whether the stop token lies inside what is trained.
    pub stop_inside: bool,
    /// Fields of the message that the template left out.
    pub dropped: Vec<String>,
    /// Whether generation tags mark the same text.
    pub tags_agree: Option<bool>,
}

impl Certificate {
    /// BLAKE3 of its canonical form.
    pub fn blake3(&self) -> String {
        value_blake3(&serde_json::to_value(self).unwrap_or_default())
    }
}

impl TurnReport {
    /// What became of a turn in `text`.
    pub(super) fn new(turn: &Result<Turn, Refusal>, text: &str) -> Self {
        match turn {
            Ok(turn) => {
                let inside = |stop: (u32, u32)| {
                    let holds = |range: &(u32, u32)| range.0 <= stop.0 && stop.1 <= range.1;
                    turn.ranges.iter().any(holds)
                };
                TurnReport {
                    message: turn.message,
                    method: method_name(turn.method),
                    rule: String::new(),
                    detail: String::new(),
                    around: String::new(),
                    stop: turn
                        .stop
                        .and_then(|(start, end)| text.get(start as usize..end as usize))
                        .map(str::to_owned),
                    stop_inside: turn.stop.is_some_and(inside),
                    dropped: turn.dropped.clone(),
                    tags_agree: turn.tags_agree,
                }
            }
            Err(refusal) => TurnReport {
                message: refusal.message,
                method: "",
                rule: format!("{:?}", refusal.rule),
                detail: refusal.detail.clone(),
                around: refusal.around.clone(),
                stop: None,
                stop_inside: false,
                dropped: Vec::new(),
                tags_agree: None,
            },
        }
    }
}
