//! Another choice of what to train, from the kinds of finished spans, without text or tokenizer.
//!
//! Only less can be trained than before: of a turn that was not trained nobody proved the span, and
//! what a row's own flags left out is not told from what the options left out. Where the spans do
//! not say enough ([`Remasked::Unknown`]), the row has to be packed from its input.

use std::collections::BTreeSet;

use super::policy::wants;
use super::tokens::{Builder, nothing_trained, zero_turn};
use crate::config::{LabelConfig, StopPolicy, TrainOn};
use crate::error::{Code, Error, Reject, Result};
use crate::types::{Border, Example, NO_MESSAGE, SpanKind, TokenSpan};

/// From one choice of what to train to another.
#[derive(Debug, Clone)]
pub struct Remask {
    old: LabelConfig,
    new: LabelConfig,
}

/// What becomes of a row.
#[derive(Debug)]
pub enum Remasked {
    /// Its documents with their new labels: those that packing the row anew would give.
    Known(Vec<Example>),
    /// Its documents with labels that may be fewer than packing it anew would give, and why.
    Unknown(Vec<Example>, &'static str),
    /// Nothing of it is trained any more.
    Rejected(Reject),
}

impl Remask {
    /// `None` if both train the same.
    ///
    /// # Errors
    /// `config.value` if `new` trains what `old` did not.
    pub fn new(old: &LabelConfig, new: &LabelConfig) -> Result<Option<Self>> {
        if old == new {
            return Ok(None);
        }
        let all = TrainOn::default();
        let narrower = |was: bool, is: bool| was || !is;
        let rank = |stop| match stop {
            StopPolicy::Turn => 2,
            StopPolicy::Last => 1,
            StopPolicy::None => 0,
        };
        let turns = old.train_on == new.train_on || old.train_on == all && new.train_on.last_turn;
        let wider = [
            ("train_on", turns),
            ("reasoning", narrower(old.reasoning, new.reasoning)),
            ("tool_calls", narrower(old.tool_calls, new.tool_calls)),
            ("stop", rank(new.stop) <= rank(old.stop)),
        ];
        if let Some((name, _)) = wider.iter().find(|(_, fine)| !fine) {
            let message = "the dataset does not know the labels that this asks for: \
                           only less can be trained than before";
            return Err(Error::new(Code::ConfigValue, message)
                .at_field(format!("label.{name}"))
                .hint("pack the inputs again with that option"));
        }
        Ok(Some(Self {
            old: old.clone(),
            new: new.clone(),
        }))
    }

    /// Whether packing anew would reject a row again that was rejected for this reason.
    pub fn rejects_again(&self, reject: &Reject) -> bool {
        let of_labels = reject.code.stage() == "label";
        let no_turn = reject.code == Code::LabelNothingTrained && reject.field.is_empty();
        !of_labels || no_turn || reject.code == Code::LabelControlText
    }

    /// Labels the documents of a row anew.
    pub fn apply(&self, mut examples: Vec<Example>) -> Remasked {
        let mut unknown = None;
        if examples.len() > 1 {
            unknown = Some("it became one sample per turn");
        }
        for example in &mut examples {
            if example.spans.iter().all(|it| it.message == NO_MESSAGE) {
                continue; // raw text, whose labels no option decides about
            }
            match self.document(example) {
                Ok(None) => {}
                Ok(why) => unknown = why,
                Err(reject) => return Remasked::Rejected(reject),
            }
        }
        match unknown {
            None => Remasked::Known(examples),
            Some(why) => Remasked::Unknown(examples, why),
        }
    }

    /// Labels a document anew; returns what its spans do not say.
    fn document(&self, example: &mut Example) -> Result<Option<&'static str>, Reject> {
        let spans = std::mem::take(&mut example.spans);
        let old = Turns::of(&self.old, trained_messages(&spans));
        let new = old.narrowed(&self.new);
        let mut unknown = self.hidden_turn(&spans, &old, &new);
        let mut builder = Builder::default();
        let mut wanted = BTreeSet::new();
        for (at, span) in spans.iter().enumerate() {
            let next = spans.get(at + 1).filter(|_| span.border == Border::Crosses);
            let trains = |turns: &Turns<'_>| {
                let first = turns.train(span);
                let mixed = match span.border {
                    Border::Leaves => first, // what was not trained is not trained now
                    _ => next.is_some_and(|next| turns.train(next) != first),
                };
                (first, mixed)
            };
            let ((was, was_mixed), (is, mixed)) = (trains(&old), trains(&new));
            let swallows = span.border == Border::Swallows;
            if swallows {
                unknown = Some("a token of it covers a whole trained span of the text");
            } else if (was && !was_mixed, was_mixed) != (span.trained, span.straddles) {
                unknown = Some("its labels are not those that the options give");
            }
            if is {
                wanted.insert(span.message);
            }
            let label = TokenSpan {
                trained: span.trained && is && !mixed,
                straddles: if swallows { span.straddles } else { mixed },
                weight: if new.has(span) { span.weight } else { 1.0 },
                ..*span
            };
            builder.push(span.end, label);
        }
        example.spans = builder.spans;
        check(example, &wanted)?;
        Ok(unknown)
    }

    /// Whether a later turn than the last that has labels may have been meant: where the old
    /// options train part of a turn only, a turn may have been trained and have no label.
    fn hidden_turn(
        &self,
        spans: &[TokenSpan],
        old: &Turns<'_>,
        new: &Turns<'_>,
    ) -> Option<&'static str> {
        let by_last = self.new.train_on.last_turn || self.new.stop == StopPolicy::Last;
        let whole = self.old.reasoning && self.old.tool_calls && self.old.stop == StopPolicy::Turn;
        if !by_last || whole || (old.messages == new.messages && self.old.stop == self.new.stop) {
            return None;
        }
        let later = |span: &TokenSpan| {
            let own = matches!(
                span.kind,
                SpanKind::Reasoning | SpanKind::Answer | SpanKind::ToolCall | SpanKind::Stop
            );
            own && span.message != NO_MESSAGE && Some(span.message) > old.last()
        };
        let found = spans.iter().any(later);
        found.then_some("a later turn of it has no label")
    }
}

/// The turns of a document that are trained, and by which options.
struct Turns<'a> {
    config: &'a LabelConfig,
    messages: BTreeSet<u32>,
}

impl<'a> Turns<'a> {
    fn of(config: &'a LabelConfig, messages: BTreeSet<u32>) -> Self {
        Self { config, messages }
    }

    fn narrowed<'b>(&self, config: &'b LabelConfig) -> Turns<'b> {
        let mut messages = self.messages.clone();
        if config.train_on.last_turn {
            messages = self.last().into_iter().collect();
        }
        Turns { config, messages }
    }

    fn last(&self) -> Option<u32> {
        self.messages.last().copied()
    }

    fn has(&self, span: &TokenSpan) -> bool {
        self.messages.contains(&span.message)
    }

    /// Whether text of that kind in that message is trained.
    fn train(&self, span: &TokenSpan) -> bool {
        self.has(span) && wants(self.config, span.kind, Some(span.message) == self.last())
    }
}

fn trained_messages(spans: &[TokenSpan]) -> BTreeSet<u32> {
    let trained = spans.iter().filter(|span| span.trained);
    trained.map(|span| span.message).collect()
}

/// As for rows that are labelled from their text: never a silent zero mask.
fn check(example: &Example, wanted: &BTreeSet<u32>) -> Result<(), Reject> {
    for &message in wanted {
        let mut own = example.spans.iter().filter(|it| it.message == message);
        if !own.any(|span| span.trained) {
            return Err(zero_turn(message));
        }
    }
    if example.trained_tokens() == 0 {
        return Err(nothing_trained());
    }
    Ok(())
}
