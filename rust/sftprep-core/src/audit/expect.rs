//! What the template does around answers, learnt from conversations that are not under audit.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use sftprep_template::Data;
use sftprep_tokenize::Tokenizer;

use crate::config::{Dropped, PackConfig, SpecialText, StopPolicy};
use crate::error::Result;
use crate::label::{ControlTokens, TokenClass};
use crate::pipeline::{Recipe, Worker, trial_samples};
use crate::replay;
use crate::shard::Manifest;
use crate::types::{Example, NO_MESSAGE, Sample, SpanKind};

use super::turns::{Groups, Header, Span};

/// Variables by which templates turn reasoning on and off.
const SWITCHES: [&str; 2] = ["enable_thinking", "thinking"];

/// What every row is held against.
pub(super) struct Expected {
    pub(super) tokenizer: Arc<Tokenizer>,
    pub(super) control: ControlTokens,
    /// Whether content may become a control token, by the options of the run.
    pub(super) content_is_free: bool,
    pub(super) stop_policy: StopPolicy,
    /// Kinds of text that only roles beside the assistant have, where those are trained.
    pub(super) other_trained: HashSet<SpanKind>,
    /// Whether documents may be cut.
    pub(super) may_cut: bool,
    /// Whether rows that are too long became windows.
    pub(super) windows: bool,
    /// The beginning-of-sequence token.
    pub(super) bos: Option<u32>,
    /// Most of those in one document.
    pub(super) most_bos: usize,
    /// Whether the template writes stop tokens.
    pub(super) has_stop: bool,
    /// Whether it may leave out that of a turn: of one that others follow, of the last one.
    pub(super) stop_left_out: [bool; 2],
    /// Texts of stop tokens.
    pub(super) stops: Vec<String>,
    /// Ids of stop tokens.
    pub(super) stop_ids: HashSet<u32>,
    /// What stands before turns; empty if nothing was proven.
    pub(super) headers: HashSet<Header>,
    /// Control tokens that the template itself writes inside of a kind of span.
    pub(super) own_control: HashMap<SpanKind, HashSet<u32>>,
    template: bool,
}

impl Expected {
    /// Learns from the tokenizer and the template that are kept in `dir`.
    pub(super) fn learn(dir: &Path, manifest: &Manifest, config: &PackConfig) -> Result<Self> {
        // what the template does is learnt from all shapes, also where it leaves out a field
        let mut lenient = config.clone();
        lenient.label.dropped = Dropped::Allow;
        let (recipe, assets) = replay::recipe(dir, manifest, &lenient)?;
        let template = recipe.templates.is_ok();
        let bos = assets.special_token("bos_token");
        let mut expected = Self {
            control: recipe.control.clone(),
            content_is_free: config.label.special_text == SpecialText::AsTransformers,
            stop_policy: config.label.stop,
            other_trained: other_trained(&config.label.train_on.roles),
            may_cut: super::may_cut(config),
            windows: config.pack.windows(),
            bos: bos.and_then(|bos| recipe.tokenizer.token_to_id(bos)),
            most_bos: 1,
            has_stop: false,
            stop_left_out: [false; 2],
            stops: recipe.stop_tokens.clone(),
            stop_ids: HashSet::new(),
            headers: HashSet::new(),
            own_control: HashMap::new(),
            tokenizer: Arc::clone(&recipe.tokenizer),
            template,
        };
        if template {
            expected.try_shapes(&recipe)?;
        }
        let ids = |stop: &String| expected.tokenizer.token_to_id(stop);
        expected.stop_ids = expected.stops.iter().filter_map(ids).collect();
        Ok(expected)
    }

    /// Checks that nothing can be said about.
    pub(super) fn skipped(&self) -> Vec<String> {
        let mut skipped = Vec::new();
        if self.template && self.headers.is_empty() {
            skipped.push("start: the template is proven for none of the shapes".to_owned());
        }
        if self.content_is_free {
            skipped.push("control: the run let text become control tokens".to_owned());
        }
        skipped
    }

    fn try_shapes(&mut self, recipe: &Recipe) -> Result<()> {
        let mut worker = Worker::new(recipe);
        for (_, sample) in trial_samples(recipe)? {
            for sample in variants(sample) {
                for prepared in worker.prepare(&sample).unwrap_or_default() {
                    self.take(&prepared.example);
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, example: &Example) {
        let ids = &example.input_ids;
        let mut start = 0;
        let mut spans = Vec::new();
        for span in &example.spans {
            spans.push(Span {
                start,
                end: span.end as usize,
                kind: span.kind,
                message: (span.message != NO_MESSAGE).then_some(span.message),
                trained: span.trained,
                straddles: span.straddles,
                repeated: span.repeated,
                continues: span.continues,
            });
            start = span.end as usize;
        }
        for span in &spans {
            for id in &ids[span.start..span.end] {
                if self.control.class(*id) == TokenClass::Control {
                    self.own_control.entry(span.kind).or_default().insert(*id);
                }
            }
        }
        self.take_turns(ids, &spans);
        if let Some(bos) = self.bos {
            let count = ids.iter().filter(|id| **id == bos).count();
            self.most_bos = self.most_bos.max(count);
        }
    }

    fn take_turns(&mut self, ids: &[u32], spans: &[Span]) {
        let mut turns: BTreeMap<u32, bool> = BTreeMap::new();
        for group in Groups::of(spans) {
            let stop = group.spans.iter().any(|it| it.kind == SpanKind::Stop);
            *turns.entry(group.message).or_default() |= stop;
            if let Some(header) = group.header(ids) {
                self.headers.insert(header);
            }
            for span in group.spans.iter().filter(|it| it.kind == SpanKind::Stop) {
                self.has_stop = true;
                let text = self.text(&ids[span.start..span.end]);
                if !self.stops.contains(&text) {
                    self.stops.push(text);
                }
            }
        }
        let last = turns.keys().next_back().copied();
        for (message, has_stop) in &turns {
            self.stop_left_out[usize::from(last == Some(*message))] |= !has_stop;
        }
    }

    /// The text of some ids, without white space before it.
    pub(super) fn text(&self, ids: &[u32]) -> String {
        let mut bytes = Vec::new();
        for id in ids {
            bytes.extend_from_slice(&self.tokenizer.token_bytes(*id).unwrap_or_default());
        }
        String::from_utf8_lossy(&bytes).trim_start().to_owned()
    }
}

/// The kinds of text of roles, but the assistant's.
fn other_trained(roles: &[String]) -> HashSet<SpanKind> {
    let kind = |role: &String| match role.as_str() {
        "system" | "developer" => Some(SpanKind::System),
        "tool" => Some(SpanKind::ToolOutput),
        "user" => Some(SpanKind::User),
        _ => None,
    };
    roles.iter().filter_map(kind).collect()
}

/// A sample with the thinking switches left alone, on and off.
fn variants(sample: Sample) -> Vec<Sample> {
    let Sample::Conversation(conversation) = sample else {
        return vec![sample];
    };
    let mut variants = vec![Sample::Conversation(conversation.clone())];
    for on in [true, false] {
        let mut other = conversation.clone();
        let switches = SWITCHES.iter().map(|name| (*name, Data::Bool(on)));
        other.kwargs = switches.collect();
        variants.push(Sample::Conversation(other));
    }
    variants
}
