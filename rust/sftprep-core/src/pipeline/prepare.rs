//! One row to labelled examples: render, prove the spans, tokenize, label.
//!
//! A row is one example, unless the template leaves out the reasoning of turns that others follow
//! ([`History::PerTurn`]): then it is one per trained turn; and a message tree is one per thread.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;

use sftprep_template::{
    Labelled, Leaf, Learned, Map, Rendered, Request, Segment, Session, SpanOptions,
};
use sftprep_tokenize::{AddedMatch, Encoder, Encoding, TokenizerError};

use super::boundary::{Accept, Edges, differs, encode_cut};
use super::history::{depends_on_what_follows, up_to};
use super::raw::{RawText, accepts_raw};
use super::recipe::{CompiledTemplate, Recipe, template_reject};
use super::windows::Window;
use crate::config::{AppendEos, Boundary, History, SpecialText};
use crate::error::{Code, Error, Reject};
use crate::json::JsonNotes;
use crate::label::{ByteSpan, label_tokens, method_name, raw_tokens};
use crate::types::{Conversation, Example, NO_MESSAGE, Sample, SpanKind, Threads, TokenTargets};

/// A row, prepared, or one of the samples that it became.
#[derive(Debug, Clone, Default)]
pub struct Prepared {
    /// Tokens and their labels.
    pub example: Example,
    /// The rendered text; empty for pretokenized rows.
    pub text: String,
    /// Partition of the text.
    pub spans: Vec<ByteSpan>,
    /// The message of each trained turn, in order, and how it was proven.
    pub methods: Vec<(u32, &'static str)>,
    /// Fields of trained turns that the template left out, such as `tool_calls`; each once a turn.
    pub dropped: Vec<String>,
    /// Trained turns that the template ends without a stop token.
    pub without_stop: u32,
    /// Which of the row's conversations it is of: 0 unless the row is a tree.
    pub thread: u32,
    /// What became of the messages of a tree, with the first of its samples.
    pub tree: Option<Box<BTreeMap<&'static str, u64>>>,
    /// The message that this sample ends with and trains, if the row became one per turn.
    pub turn: Option<u32>,
    /// Which part of its sample it is, if that was longer than a sequence.
    pub window: Option<Box<Window>>,
    /// Whether text of the row spelled a control token, and was kept from becoming one.
    pub control_text: bool,
    /// Trained turns before which Hugging Face and an engine that serves the model have other ids
    /// ([`NO_MESSAGE`] for a completion).
    pub boundaries: Vec<u32>,
    /// Where tokens and bytes came from, if the worker keeps that.
    pub trace: Option<Box<Trace>>,
}

impl Prepared {
    /// Whether it is the first document of its rendering, which speaks for the others.
    pub(super) fn leads(&self) -> bool {
        self.window.as_deref().is_none_or(|window| window.leads)
    }

    /// Leaves the memory of the text, which shards have no use for, to the next rendering.
    pub(super) fn drop_text(&mut self) {
        let text = std::mem::take(&mut self.text);
        let rendered = Rendered {
            text,
            ..Rendered::default()
        };
        rendered.recycle();
    }
}

/// Where the tokens and the bytes of a row came from.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    /// Bytes of the text that each token covers.
    pub offsets: Vec<[u32; 2]>,
    /// Partition of the text by origin; empty for rows without a template.
    pub segments: Vec<Segment>,
    /// The input values that the segments name.
    pub leaves: Vec<Leaf>,
}

/// Why a row was not prepared.
#[derive(Debug)]
pub enum Failure {
    /// The row's own fault: the run goes on.
    Reject(Reject),
    /// Every row's fault: the run ends.
    Fatal(Error),
}

impl From<Reject> for Failure {
    fn from(reject: Reject) -> Self {
        Self::Reject(reject)
    }
}

/// Prepares rows; one per thread.
pub struct Worker<'r> {
    pub(super) recipe: &'r Recipe,
    encoder: Encoder<'r>,
    pub(super) encoding: Encoding,
    scratch: Encoding,
    edges: Edges,
    default: Option<Session<'r>>,
    tool_use: Option<Session<'r>>,
    options: SpanOptions,
    traces: bool,
    /// What parsing keeps between rows.
    pub(super) notes: JsonNotes,
}

/// What a worker learned, to be kept where its recipe cannot be borrowed.
#[derive(Debug, Default)]
pub struct WorkerState {
    encoding: Encoding,
    default: Learned,
    tool_use: Learned,
}

impl<'r> Worker<'r> {
    /// A worker with caches of its own.
    pub fn new(recipe: &'r Recipe) -> Self {
        Self::resume(recipe, WorkerState::default())
    }

    /// A worker that goes on where another of this recipe left off.
    pub fn resume(recipe: &'r Recipe, state: WorkerState) -> Self {
        let templates = recipe.templates.as_ref().ok();
        let session = |compiled: &'r CompiledTemplate, learned| compiled.template.resume(learned);
        let tool_use = templates.and_then(|t| t.tool_use.as_ref());
        Self {
            recipe,
            encoder: recipe.tokenizer.encoder(),
            encoding: state.encoding,
            scratch: Encoding::default(),
            edges: Edges::default(),
            default: templates.map(|t| session(&t.default, state.default)),
            tool_use: tool_use.map(|t| session(t, state.tool_use)),
            traces: false,
            options: recipe.span_options(),
            notes: JsonNotes::default(),
        }
    }

    /// What it learned.
    pub fn into_state(self) -> WorkerState {
        let learned = |session: Option<Session<'_>>| session.map(Session::into_learned);
        WorkerState {
            encoding: self.encoding,
            default: learned(self.default).unwrap_or_default(),
            tool_use: learned(self.tool_use).unwrap_or_default(),
        }
    }

    /// The same worker, which keeps where tokens and bytes came from.
    #[must_use]
    pub fn tracing(mut self) -> Self {
        self.traces = true;
        self
    }

    /// Whether the JSON of rejected rows is wanted.
    pub(super) fn keeps_excerpts(&self) -> bool {
        self.recipe.config.output.reject_excerpts
    }

    /// Prepares one row: one example, or several in the order of their turns.
    ///
    /// # Errors
    /// A [`Reject`] for what is wrong with the row; a fatal error if no row can be prepared.
    pub fn prepare(&mut self, sample: &Sample) -> Result<Vec<Prepared>, Failure> {
        let one = match sample {
            Sample::Conversation(conversation) => return self.conversation(conversation),
            Sample::Threads(threads) => return self.threads(threads),
            Sample::Completion { prompt, completion } => self.completion(prompt, completion)?,
            Sample::Text(text) => self.text(text)?,
            Sample::Tokens { input_ids, targets } => self.tokens(input_ids, targets)?,
        };
        Ok(vec![one])
    }

    fn threads(&mut self, threads: &Threads) -> Result<Vec<Prepared>, Failure> {
        let mut all = Vec::with_capacity(threads.conversations.len());
        for (number, thread) in (0..).zip(&threads.conversations) {
            let mut samples = self.conversation(thread)?;
            for sample in &mut samples {
                sample.thread = number;
            }
            all.extend(samples);
        }
        if let Some(first) = all.first_mut() {
            first.tree = Some(Box::new(threads.messages.clone()));
        }
        Ok(all)
    }

    fn conversation(&mut self, conversation: &Conversation) -> Result<Vec<Prepared>, Failure> {
        let labelled = self.render(conversation)?;
        let turns = self.recipe.policy.trained(conversation, &labelled)?;
        if self.recipe.config.label.history == History::PerTurn
            && depends_on_what_follows(conversation, &labelled, &turns)
            && let Some(samples) = self.per_turn(conversation, &labelled, &turns)?
        {
            return Ok(samples);
        }
        let whole = self.sample(conversation, labelled, &turns, turns.last().copied())?;
        // A sequence holds one tokenization of each prompt. Where an earlier answer's prompt is
        // part of a later one's, and the two want other ids there, they take a sample each.
        let clash = |message: &u32| turns.last() != Some(message);
        if self.recipe.config.label.boundary == Boundary::Inference
            && whole.boundaries.iter().any(clash)
        {
            let turn = |&turn: &u32| {
                let cut = up_to(conversation, turn);
                let labelled = self.render(&cut)?;
                let sample = self.sample(&cut, labelled, &[turn], Some(turn))?;
                Ok(Prepared {
                    turn: Some(turn),
                    ..sample
                })
            };
            return turns.iter().map(turn).collect();
        }
        Ok(vec![whole])
    }

    /// Labels and tokenizes a rendering; `turns` are the messages to train, `last` the last one of
    /// the sample that they are part of.
    pub(super) fn sample(
        &mut self,
        conversation: &Conversation,
        labelled: Labelled,
        turns: &[u32],
        last: Option<u32>,
    ) -> Result<Prepared, Failure> {
        let policy = &self.recipe.policy;
        let spans = policy.apply(conversation, &labelled, turns, last)?;
        let rendered = &labelled.rendered;
        let control = &self.recipe.control;
        let proven = labelled.turns.iter().flatten();
        let starts: Vec<(u32, u32)> = proven
            .filter(|turn| turns.contains(&turn.message))
            .filter_map(|turn| Some((turn.message, turn.ranges.first()?.0)))
            .collect();
        let mut near = 0;
        let (refused, boundaries) = self.encode(&rendered.text, &starts, |found| {
            control.accepts(found, rendered, &spans, &mut near)
        })?;
        let mut prepared = self.labelled(&spans, refused)?;
        prepared.boundaries = boundaries;
        prepared.methods.reserve_exact(turns.len());
        for turn in labelled.turns.iter().flatten() {
            if turns.contains(&turn.message) {
                prepared
                    .methods
                    .push((turn.message, method_name(turn.method)));
                if !turn.dropped.is_empty() {
                    prepared.dropped.extend(top_level(&turn.dropped));
                }
                prepared.without_stop += u32::from(turn.stop.is_none());
            }
        }
        let mut rendered = labelled.rendered;
        prepared.text = std::mem::take(&mut rendered.text);
        if let Some(trace) = &mut prepared.trace {
            trace.segments = rendered.segments;
            trace.leaves = rendered.leaves;
        } else {
            rendered.recycle();
        }
        prepared.spans = spans;
        Ok(prepared)
    }

    /// Renders a conversation and proves the spans of its turns.
    pub(super) fn render(&mut self, conversation: &Conversation) -> Result<Labelled, Failure> {
        self.render_to(conversation, false)
    }

    /// The same, with or without the generation prompt.
    pub(super) fn render_to(
        &mut self,
        conversation: &Conversation,
        add_generation_prompt: bool,
    ) -> Result<Labelled, Failure> {
        let templates = self
            .recipe
            .templates
            .as_ref()
            .map_err(|e| Failure::Fatal(e.clone()))?;
        let with_tools = conversation.tools.is_some() && templates.tool_use.is_some();
        let session = if with_tools {
            &mut self.tool_use
        } else {
            &mut self.default
        };
        let Some(session) = session else {
            let error = Error::new(Code::RunInternal, "a template without a session");
            return Err(Failure::Fatal(error));
        };
        let kwargs = merged(&self.recipe.kwargs, &conversation.kwargs);
        let request = Request {
            messages: &conversation.messages,
            tools: conversation.tools.as_deref(),
            documents: conversation.documents.as_deref(),
            add_generation_prompt,
            special_tokens: &self.recipe.special_tokens,
            kwargs: &kwargs,
            clock: self.recipe.clock,
        };
        session
            .label(&request, &self.options)
            .map_err(|error| Failure::Reject(template_reject(&error)))
    }

    /// Text before the completion is context; the completion and its stop token are trained.
    fn completion(&mut self, prompt: &str, completion: &str) -> Result<Prepared, Failure> {
        let policy = self.recipe.config.label.append_eos;
        let mut text = RawText::default();
        text.push(prompt, SpanKind::User, false);
        self.push_with_eos(
            &mut text,
            completion,
            SpanKind::Answer,
            policy != AppendEos::Never,
        );
        self.raw(text)
    }

    fn text(&mut self, content: &str) -> Result<Prepared, Failure> {
        let policy = self.recipe.config.label.append_eos;
        let mut text = RawText::default();
        self.push_with_eos(
            &mut text,
            content,
            SpanKind::Text,
            policy == AppendEos::Always,
        );
        self.raw(text)
    }

    /// Appends trained text; where an eos token is wanted, text that ends with it already keeps it.
    fn push_with_eos(&self, text: &mut RawText, content: &str, kind: SpanKind, wanted: bool) {
        let eos = self.recipe.eos.as_ref().filter(|_| wanted);
        let Some((_, eos)) = eos else {
            return text.push(content, kind, true);
        };
        text.push(
            content.strip_suffix(eos.as_str()).unwrap_or(content),
            kind,
            true,
        );
        text.push(eos, SpanKind::Stop, true);
    }

    fn raw(&mut self, raw: RawText) -> Result<Prepared, Failure> {
        let RawText { text, spans } = raw;
        let control = &self.recipe.control;
        let answer = spans.iter().find(|span| span.kind == SpanKind::Answer);
        let starts: Vec<(u32, u32)> = answer
            .map(|it| (NO_MESSAGE, it.start))
            .into_iter()
            .collect();
        let (refused, boundaries) = self.encode(&text, &starts, |found| {
            accepts_raw(control.class(found.id), found, &spans)
        })?;
        let mut prepared = self.labelled(&spans, refused)?;
        prepared.boundaries = boundaries;
        prepared.text = text;
        prepared.spans = spans;
        Ok(prepared)
    }

    /// Tokenizes. `starts` are the turns to train with the byte at which each begins. Returns
    /// whether text of the row was kept from becoming a control token, and the turns before which
    /// an engine that serves the model has other ids than Hugging Face.
    pub(super) fn encode(
        &mut self,
        text: &str,
        starts: &[(u32, u32)],
        mut accept: impl FnMut(&AddedMatch) -> bool,
    ) -> Result<(bool, Vec<u32>), Failure> {
        self.encoding.clear();
        let label = &self.recipe.config.label;
        let policy = label.special_text;
        let refused = Cell::new(false);
        let edges = RefCell::new(std::mem::take(&mut self.edges).cleared());
        let mut decide = |found: &AddedMatch| {
            let accepted = accept(found);
            refused.set(refused.get() || !accepted);
            let taken = accepted || policy == SpecialText::AsTransformers;
            if taken {
                edges.borrow_mut().add(found);
            }
            taken
        };
        let decide: &mut Accept<'_> = &mut decide;
        let failed = |error: TokenizerError| Reject::new(Code::TokenizerFailed, error.to_string());
        self.encoder
            .encode_accepting(text, decide, &mut self.encoding)
            .map_err(failed)?;
        // Parts of the text may show added tokens that the text does not have.
        let (whole_refused, edges) = (refused.get(), edges.take().sorted());
        let mut found = Vec::new();
        for &(message, start) in starts {
            let (encoder, scratch) = (&mut self.encoder, &mut self.scratch);
            if edges.part(text, start) && encoder.tokenizer().splits_after_newline() {
                continue;
            }
            // A tokenizer that cannot go on from a prompt matters only where that is asked for.
            let other = differs(encoder, text, &self.encoding, start, decide, scratch);
            let other = match other {
                Err(_) if label.boundary == Boundary::Hf => false,
                other => other.map_err(failed)?,
            };
            if other {
                found.push((message, start));
            }
        }
        if label.boundary == Boundary::Inference && !found.is_empty() {
            let cuts: Vec<u32> = found.iter().map(|(_, start)| *start).collect();
            encode_cut(&mut self.encoder, text, &cuts, decide, &mut self.encoding)
                .map_err(failed)?;
        }
        self.edges = edges;
        if whole_refused && policy == SpecialText::Refuse {
            let detail = "text of the row spells a control token";
            return Err(Reject::new(Code::LabelControlText, detail).into());
        }
        Ok((
            whole_refused,
            found.into_iter().map(|(message, _)| message).collect(),
        ))
    }

    fn labelled(&self, spans: &[ByteSpan], control_text: bool) -> Result<Prepared, Reject> {
        let example = label_tokens(&self.encoding, spans)?;
        let trace = self.traces.then(|| {
            Box::new(Trace {
                offsets: self.encoding.offsets.clone(),
                ..Trace::default()
            })
        });
        Ok(Prepared {
            example,
            control_text,
            trace,
            ..Prepared::default()
        })
    }

    fn tokens(&self, input_ids: &[u32], targets: &TokenTargets) -> Result<Prepared, Reject> {
        let size = self.recipe.tokenizer.vocab_size();
        if let Some(at) = input_ids.iter().position(|id| *id >= size) {
            let detail = format!(
                "id {} is not below the vocabulary size {size}",
                input_ids[at]
            );
            return Err(
                Reject::new(Code::FormatTokens, detail).at_field(format!("input_ids[{at}]"))
            );
        }
        let example = raw_tokens(input_ids.to_vec(), SpanKind::Tokens, |at| match targets {
            TokenTargets::All => true,
            TokenTargets::Mask(mask) => mask.get(at).copied().unwrap_or(false),
        });
        if example.trained_tokens() == 0 {
            return Err(Reject::new(
                Code::LabelNothingTrained,
                "no token would be trained",
            ));
        }
        Ok(Prepared {
            example,
            ..Prepared::default()
        })
    }
}

/// The fields of a message that some paths lie in, each once.
fn top_level(paths: &[String]) -> Vec<String> {
    let name = |path: &String| path.split(['.', '[']).next().unwrap_or_default().to_owned();
    let mut names: Vec<String> = paths.iter().map(name).collect();
    names.dedup();
    names
}

fn merged(global: &Map, own: &Map) -> Map {
    let mut merged = global.clone();
    for (key, value) in own.iter() {
        merged.insert(Arc::clone(key), value.clone());
    }
    merged
}
