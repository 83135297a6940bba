//! Do the ids before every trained turn equal those that inference would have there?
//!
//! The source rows are read again, each trained turn's prompt is rendered and tokenized by itself
//! (the messages before it, and the generation prompt), and its ids are held against those that
//! stand before the turn in the shard.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use sftprep_template::{Data, Map};

use super::MAX_LISTED;
use crate::error::{Error, Result};
use crate::pipeline::{Failure, Prepared, Rendered, Worker};
use crate::replay::{Replay, SourceRow};
use crate::shard::ShardReader;
use crate::types::{Conversation, NO_MESSAGE, RowPlace, Sample, SpanKind};

/// Why the ids before a turn are not those of inference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The text is the same; a token lies across the place where the turn begins.
    Boundary,
    /// Texts differ in beginning-of-sequence tokens at their start.
    Bos,
    /// The messages agree, and the generation prompt ends otherwise than the turn begins.
    GenerationPrompt,
    /// Reasoning of earlier turns is there in one and left out in the other.
    Reasoning,
    /// Tools stand in another place.
    Tools,
    /// The template refuses the prompt.
    Refused,
    /// The source row cannot be had as it was.
    Source,
    /// Anything else.
    Other,
}

/// A turn whose prompt is not that of inference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Disparity {
    /// Why.
    pub cause: Cause,
    /// Packed row.
    pub row: u64,
    /// Document in it, counted from 0.
    pub document: u32,
    /// Name of the input.
    pub source: String,
    /// Line in that input, counted from 1.
    pub line: u64,
    /// The message; none for a completion.
    pub message: Option<u32>,
    /// Where the two part, or what is wrong.
    pub what: String,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ParityReport {
    /// Whether every turn has the ids of inference before it.
    pub ok: bool,
    /// Trained turns.
    pub turns: u64,
    /// Those with the ids of inference before them.
    pub equal: u64,
    /// The others, by cause.
    pub causes: BTreeMap<Cause, u64>,
    /// The first of them.
    pub findings: Vec<Disparity>,
}

/// A document to look at.
struct Wanted {
    place: RowPlace,
    row: u64,
    document: u32,
    part: usize,
    ids: Vec<u32>,
}

/// Audits the dataset in `dir`; `inputs` say where its inputs are now, if not where they were.
///
/// # Errors
/// `shard.*` if the folder is no readable dataset, `source.*` if one of `inputs` is not there. Rows
/// that cannot be had are findings.
pub fn parity(
    dir: &Path,
    inputs: &[String],
    check: &dyn Fn() -> Result<()>,
) -> Result<ParityReport> {
    let reader = ShardReader::open(dir)?;
    let replay = Replay::open(dir, reader.manifest(), inputs)?;
    let mut wanted = documents(&reader)?;
    wanted.sort_by_key(|it| it.place);
    let mut judge = Judge {
        worker: Worker::new(&replay.recipe).tracing(),
        bos: bos(&replay),
        replay: &replay,
        report: ParityReport::default(),
        row: None,
    };
    for group in wanted.chunk_by(|a, b| a.place.source == b.place.source) {
        let places: Vec<RowPlace> = group.iter().map(|it| it.place).collect();
        let mut next = group.iter();
        let read = replay.rows(&places, &mut |_, row| {
            check()?;
            if let Some(wanted) = next.next() {
                judge.document(wanted, row);
            }
            Ok(())
        });
        if let Err(error) = read {
            check()?;
            next.for_each(|wanted| judge.document(wanted, Err(error.clone())));
        }
    }
    judge.report.ok = judge.report.causes.is_empty();
    Ok(judge.report)
}

/// All documents but later pieces of cut ones, which have no prompt of their own.
fn documents(reader: &ShardReader) -> Result<Vec<Wanted>> {
    let mut found = Vec::new();
    for row in 0..reader.len() {
        let (data, spans) = (reader.row(row)?, reader.spans(row)?);
        let mut start = 0;
        for (index, tokens) in spans.doc_tokens.iter().enumerate() {
            let end = start + usize::try_from(*tokens).unwrap_or(0);
            let number = |list: &[i32]| list.get(index).map_or(0, |it| it.unsigned_abs());
            let ids = data.input_ids.get(start..end).unwrap_or_default();
            start = end;
            if number(spans.doc_start) != 0 {
                continue;
            }
            found.push(Wanted {
                place: RowPlace {
                    source: number(spans.doc_source),
                    line: spans.doc_line.get(index).map_or(0, |it| it.unsigned_abs()),
                    offset: spans
                        .doc_byte_offset
                        .get(index)
                        .map_or(0, |it| it.unsigned_abs()),
                },
                row,
                document: index as u32,
                part: number(spans.doc_part) as usize,
                ids: ids.iter().map(|id| id.unsigned_abs()).collect(),
            });
        }
    }
    Ok(found)
}

fn bos(replay: &Replay) -> String {
    let tokens = replay.recipe.special_tokens.iter();
    let mut bos = tokens.filter(|(name, _)| name == "bos_token");
    bos.next().map(|(_, text)| text.clone()).unwrap_or_default()
}

struct Judge<'r> {
    worker: Worker<'r>,
    replay: &'r Replay,
    bos: String,
    report: ParityReport,
    /// The last row, rendered: the windows of a conversation come one after the other.
    row: Option<(RowPlace, Result<Rendered, String>)>,
}

impl Judge<'_> {
    fn document(&mut self, wanted: &Wanted, row: Result<SourceRow>) {
        let made = row.map_err(|error| error.message).and_then(|row| {
            let sample = self.sample(wanted, &row)?;
            Ok((row, sample))
        });
        let (row, prepared) = match made {
            Ok(made) => made,
            Err(what) => return self.add(wanted, None, Cause::Source, what),
        };
        // Slices of an answer have no prompt of their own.
        if prepared
            .window
            .as_deref()
            .is_some_and(|window| window.first_token > 0)
        {
            return;
        }
        for (message, start) in turns(&prepared) {
            // A document may have been cut off before.
            let before = prepared.trace.as_deref().map_or(0, |trace| {
                trace.offsets.partition_point(|span| span[0] < start)
            });
            if before >= wanted.ids.len() {
                continue;
            }
            self.report.turns += 1;
            match self.turn(
                &row.sample,
                &prepared,
                message,
                start,
                &wanted.ids[..before],
            ) {
                None => self.report.equal += 1,
                Some((cause, what)) => {
                    self.add(
                        wanted,
                        (message != NO_MESSAGE).then_some(message),
                        cause,
                        what,
                    );
                }
            }
        }
    }

    fn sample(&mut self, wanted: &Wanted, row: &SourceRow) -> Result<Prepared, String> {
        if self.row.as_ref().is_none_or(|last| last.0 != wanted.place) {
            let rendered = self.worker.rendered(&row.sample).map_err(said);
            self.row = Some((wanted.place, rendered));
        }
        let document = match &mut self.row {
            Some((_, Ok(rendered))) => rendered.take(wanted.part).ok(),
            Some((_, Err(what))) => return Err(what.clone()),
            None => None,
        };
        let same = |it: &Prepared| it.example.input_ids.starts_with(&wanted.ids);
        document
            .filter(same)
            .ok_or_else(|| "the row that stands there gives other tokens".to_owned())
    }

    /// Why the ids before a turn are not those of its prompt, and where they part.
    fn turn(
        &mut self,
        sample: &Sample,
        prepared: &Prepared,
        message: u32,
        start: u32,
        before: &[u32],
    ) -> Option<(Cause, String)> {
        let text = &prepared.text[..start as usize];
        let window = prepared.window.as_deref();
        let window = window.filter(|window| !window.messages.is_empty());
        let in_window;
        let (conversation, message) = match sample {
            Sample::Conversation(_) | Sample::Threads(_) => {
                let conversation = sample.conversation(prepared.thread)?;
                match window {
                    None => (conversation, message),
                    // What a window is trained on is what inference has after the window's own
                    // prompt.
                    Some(window) => {
                        in_window = window.of(conversation);
                        (&in_window, window.inside(message))
                    }
                }
            }
            Sample::Completion { prompt, .. } => {
                return match self.worker.raw_prompt(prompt) {
                    Ok(ids) if ids == before => None,
                    Ok(_) => Some((Cause::Boundary, around(text))),
                    Err(failure) => Some((Cause::Refused, said(failure))),
                };
            }
            Sample::Text(_) | Sample::Tokens { .. } => return None,
        };
        let prompt = match self.worker.prompt(conversation, message) {
            Ok(prompt) => prompt,
            Err(failure) => return Some((Cause::Refused, said(failure))),
        };
        if prompt.ids == before {
            return None;
        }
        if prompt.text == text {
            return Some((Cause::Boundary, around(text)));
        }
        let what = parting(text, &prompt.text);
        let bare = |text: &str| match self.bos.as_str() {
            "" => text.to_owned(),
            bos => text.trim_start_matches(bos).to_owned(),
        };
        let cause = if bare(text) == bare(&prompt.text) {
            Cause::Bos
        } else if prompt.text.starts_with(text) || prepared.text.starts_with(&prompt.text) {
            Cause::GenerationPrompt
        } else if self.agree(&without_reasoning(conversation), message) {
            Cause::Reasoning
        } else if conversation.tools.is_some() && self.agree(&without_tools(conversation), message)
        {
            Cause::Tools
        } else {
            Cause::Other
        };
        Some((cause, what))
    }

    /// Whether a conversation begins as the prompt before one of its messages goes.
    fn agree(&mut self, conversation: &Conversation, message: u32) -> bool {
        let whole = self.worker.text_of(conversation);
        let prompt = self.worker.prompt(conversation, message);
        matches!((whole, prompt), (Ok(whole), Ok(prompt)) if whole.starts_with(&prompt.text))
    }

    fn add(&mut self, wanted: &Wanted, message: Option<u32>, cause: Cause, what: String) {
        *self.report.causes.entry(cause).or_default() += 1;
        if self.report.findings.len() < MAX_LISTED {
            let source = self.replay.source(wanted.place.source as usize);
            self.report.findings.push(Disparity {
                cause,
                row: wanted.row,
                document: wanted.document,
                source: source.map(|(name, _)| name.to_owned()).unwrap_or_default(),
                line: wanted.place.line,
                message,
                what,
            });
        }
    }
}

/// The trained turns of a sample with the byte at which each begins.
fn turns(prepared: &Prepared) -> Vec<(u32, u32)> {
    let first = |message: u32| {
        let own = |kind| {
            matches!(
                kind,
                SpanKind::Reasoning | SpanKind::Answer | SpanKind::ToolCall | SpanKind::Stop
            )
        };
        let mut spans = prepared.spans.iter();
        spans
            .find(|span| span.message == message && own(span.kind))
            .map(|it| (message, it.start))
    };
    if prepared.methods.is_empty() {
        return first(NO_MESSAGE).into_iter().collect();
    }
    prepared
        .methods
        .iter()
        .filter_map(|(message, _)| first(*message))
        .collect()
}

fn without_tools(conversation: &Conversation) -> Conversation {
    Conversation {
        tools: None,
        ..conversation.clone()
    }
}

/// Names under which messages give their reasoning, and the mark that ends it inside of a content.
const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];
const THOUGHT: &str = "</think>";

fn without_reasoning(conversation: &Conversation) -> Conversation {
    let bare = |message: &Data| {
        let Some(map) = message.as_map() else {
            return message.clone();
        };
        let mut kept = Map::new();
        for (key, value) in map.iter().filter(|(key, _)| !REASONING.contains(&&***key)) {
            let value = match value.as_str().and_then(|text| text.rsplit_once(THOUGHT)) {
                Some((_, answer)) if &**key == "content" => answer.trim_start().into(),
                _ => value.clone(),
            };
            kept.insert(key.clone(), value);
        }
        Data::Map(kept)
    };
    Conversation {
        messages: conversation.messages.iter().map(bare).collect(),
        ..conversation.clone()
    }
}

/// The end of a text.
fn around(text: &str) -> String {
    let from = text
        .char_indices()
        .rev()
        .nth(SHOWN - 1)
        .map_or(0, |(at, _)| at);
    format!("after {:?}", &text[from..])
}

/// Characters shown of each text.
const SHOWN: usize = 30;

/// Where two texts part.
fn parting(here: &str, there: &str) -> String {
    let same = here.chars().zip(there.chars()).take_while(|(a, b)| a == b);
    let at: usize = same.map(|(c, _)| c.len_utf8()).sum();
    let shown = |text: &str| text[at..].chars().take(SHOWN).collect::<String>();
    format!(
        "{}: here {:?}, in the prompt {:?}",
        around(&here[..at]),
        shown(here),
        shown(there)
    )
}

fn said(failure: Failure) -> String {
    match failure {
        Failure::Reject(reject) => reject.to_string(),
        Failure::Fatal(Error { message, .. }) => message,
    }
}
