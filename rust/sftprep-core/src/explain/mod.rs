//! One token of a pack, explained: what it is, whether it is trained and why, and which characters
//! of which field of which source row it was made of.
//!
//! What it is, is read from the sidecar. Where it came from is found by making the row again: the
//! row is read from its input, rendered with origins and tokenized, and counts only if it gives
//! exactly the ids that the shard holds.

mod origin;
mod why;

use std::path::Path;

use serde::Serialize;
use sftprep_tokenize::Tokenizer;

use crate::error::{Code, Error, Result};
use crate::pipeline::{Failure, Prepared, Worker};
use crate::replay::{Replay, SourceRow};
use crate::shard::{FLAG_REPEATED, FLAG_STRADDLES, FLAG_TRAINED, RowView, ShardReader, SpansView};
use crate::types::{IGNORE_INDEX, RowPlace, Sample, SpanKind};

pub use origin::Part;

/// Tokens shown on either side of a token, and characters where the text is known.
const SHOWN_TOKENS: usize = 12;
const SHOWN_CHARS: usize = 60;

/// Everything that is known of one token.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// Packed row, counted from 0.
    pub row: u64,
    /// Token in it, counted from 0.
    pub position: u64,
    /// Its id.
    pub id: u32,
    /// Its text; bytes that are no whole character are replaced.
    pub token: String,
    /// What it is.
    pub kind: &'static str,
    /// The message it belongs to.
    pub message: Option<u32>,
    /// Whether it has a label.
    pub trained: bool,
    /// Why it has one or not.
    pub why: String,
    /// Loss weight.
    pub weight: f32,
    /// Its run of tokens of one kind, in positions of the row.
    pub span: [u64; 2],
    /// The document it is in.
    pub document: DocumentPlace,
    /// The text before it.
    pub before: String,
    /// The text after it.
    pub after: String,
    /// What the source row says of it; absent if that cannot be had.
    pub source: Option<Origins>,
    /// Why the source row cannot be had.
    pub missing: Option<Missing>,
}

/// A document of a pack and the row that it came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DocumentPlace {
    /// Which of the row's documents, counted from 0.
    pub index: u32,
    /// First token, in the row.
    pub start: u64,
    /// One past the last.
    pub end: u64,
    /// Name of the input.
    pub source: String,
    /// Where the input lies, as far as that is known.
    pub path: Option<String>,
    /// Line, element or row in it, counted from 1.
    pub line: u64,
    /// Byte at which the row begins in the decompressed input; 0 in columnar files.
    pub byte_offset: u64,
    /// Which document of that row, counted from 0.
    pub part: u32,
    /// Position of the token in the whole document.
    pub token: u64,
}

/// Where a token came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Origins {
    /// Role of the message it belongs to.
    pub role: Option<String>,
    /// How the span of that message was proven.
    pub method: Option<&'static str>,
    /// First byte in the rendered text, and one past the last.
    pub bytes: [u32; 2],
    /// The pieces that it is made of, in order.
    pub parts: Vec<Part>,
}

/// Why there are no [`Origins`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// Code of the error.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// The file concerned.
    pub path: Option<String>,
    /// The line concerned.
    pub line: Option<u64>,
    /// What to do.
    pub hint: String,
}

/// A token of an open dataset.
struct Found<'a> {
    data: RowView<'a>,
    spans: SpansView<'a>,
    /// Index of its document, of that document's first token and of the token behind its last.
    document: usize,
    start: usize,
    end: usize,
    span: usize,
    place: RowPlace,
}

/// Explains token `position` of packed row `row` of the dataset in `dir`; `inputs` say where its
/// inputs are now, if not where they were.
///
/// # Errors
/// `shard.*` if the folder is no readable dataset, `config.value` if it has no such token. A source
/// row that is gone or changed is no error: [`Explanation::missing`] tells.
pub fn explain(dir: &Path, row: u64, position: u64, inputs: &[String]) -> Result<Explanation> {
    let reader = ShardReader::open(dir)?;
    let replay = Replay::open(dir, reader.manifest(), inputs)?;
    explain_with(&reader, &replay, row, position)
}

/// Explains a token of a dataset that is open.
///
/// # Errors
/// As [`explain`].
pub fn explain_with(
    reader: &ShardReader,
    replay: &Replay,
    row: u64,
    position: u64,
) -> Result<Explanation> {
    let found = find(reader, row, position)?;
    let mut explanation = from_sidecar(&found, replay, row, position);
    match again(&found, replay) {
        Ok((source, prepared)) => from_source(&mut explanation, &found, replay, &source, &prepared),
        Err(error) => {
            explanation.missing = Some(Missing {
                code: error.code.as_str(),
                message: error.message,
                path: error.path.map(|path| path.display().to_string()),
                line: error.line,
                hint: error.hint.unwrap_or_default(),
            });
        }
    }
    Ok(explanation)
}

fn find(reader: &ShardReader, row: u64, position: u64) -> Result<Found<'_>> {
    let (data, spans) = (reader.row(row)?, reader.spans(row)?);
    if position >= data.input_ids.len() as u64 {
        let message = format!(
            "token {position} of row {row}, which has {}",
            data.input_ids.len()
        );
        return Err(Error::new(Code::ConfigValue, message).at_field("position"));
    }
    let position = position as usize;
    let damaged = || {
        Error::new(
            Code::ShardCorrupt,
            format!("the sidecar of row {row} is damaged"),
        )
    };
    let (mut document, mut start, mut end) = (0, 0, 0);
    for (index, tokens) in spans.doc_tokens.iter().enumerate() {
        (document, start) = (index, end);
        end += usize::try_from(*tokens).map_err(|_| damaged())?;
        if position < end {
            break;
        }
    }
    let span = spans
        .span_end
        .partition_point(|it| i64::from(*it) <= position as i64);
    let lists = [
        spans.doc_source.len(),
        spans.doc_line.len(),
        spans.doc_byte_offset.len(),
    ];
    let span_lists = [
        spans.span_kind.len(),
        spans.span_message.len(),
        spans.span_flags.len(),
    ];
    if position >= end
        || end > data.input_ids.len()
        || data.labels.len() != data.input_ids.len()
        || lists.iter().any(|length| document >= *length)
        || document >= spans.doc_part.len().min(spans.doc_start.len())
        || span_lists.iter().any(|length| span >= *length)
        || span >= spans.span_end.len()
    {
        return Err(damaged());
    }
    let place = RowPlace {
        source: u32::try_from(spans.doc_source[document]).map_err(|_| damaged())?,
        line: spans.doc_line[document].unsigned_abs(),
        offset: spans.doc_byte_offset[document].unsigned_abs(),
    };
    Ok(Found {
        data,
        spans,
        document,
        start,
        end,
        span,
        place,
    })
}

impl Found<'_> {
    fn kind(&self) -> SpanKind {
        SpanKind::from_u8(self.spans.span_kind[self.span]).unwrap_or(SpanKind::Tokens)
    }

    fn message(&self) -> Option<u32> {
        u32::try_from(self.spans.span_message[self.span]).ok()
    }

    fn flag(&self, flag: u8) -> bool {
        self.spans.span_flags[self.span] & flag != 0
    }

    /// First token of the piece in its document.
    fn first(&self) -> usize {
        usize::try_from(self.spans.doc_start[self.document]).unwrap_or(0)
    }

    /// The messages that its document has tokens of, in order.
    fn messages(&self) -> Vec<u32> {
        let ends = self.spans.span_end.iter();
        let own = ends.zip(self.spans.span_message).filter(|(end, _)| {
            usize::try_from(**end).is_ok_and(|end| end > self.start && end <= self.end)
        });
        let mut messages: Vec<u32> = own.filter_map(|it| u32::try_from(*it.1).ok()).collect();
        messages.sort_unstable();
        messages.dedup();
        messages
    }

    fn ids(&self) -> Vec<u32> {
        let ids = &self.data.input_ids[self.start..self.end];
        ids.iter().map(|id| id.unsigned_abs()).collect()
    }
}

fn from_sidecar(found: &Found<'_>, replay: &Replay, row: u64, position: u64) -> Explanation {
    let at = position as usize;
    let ids = found.ids();
    let inside = at - found.start;
    let tokenizer = &replay.recipe.tokenizer;
    let decode = |ids: &[u32]| tokenizer.decode(ids, false).unwrap_or_default();
    let first = match found.span {
        0 => 0,
        span => found.spans.span_end[span - 1].unsigned_abs(),
    };
    let (name, path) = replay
        .source(found.place.source as usize)
        .map_or(("", None), |(name, path)| (name, path));
    let label = found.data.labels[at];
    let facts = why::Facts {
        kind: found.kind(),
        trained: label != IGNORE_INDEX,
        span_trained: found.flag(FLAG_TRAINED),
        straddles: found.flag(FLAG_STRADDLES),
        repeated: found.flag(FLAG_REPEATED),
        first: inside == 0,
        excluded: None,
    };
    Explanation {
        row,
        position,
        id: ids[inside],
        token: token_text(tokenizer, ids[inside]),
        kind: found.kind().name(),
        message: found.message(),
        trained: facts.trained,
        why: facts.why(&replay.recipe.config.label),
        weight: found
            .spans
            .span_weight
            .get(found.span)
            .copied()
            .unwrap_or(1.0),
        span: [
            u64::from(first),
            u64::from(found.spans.span_end[found.span].unsigned_abs()),
        ],
        document: DocumentPlace {
            index: found.document as u32,
            start: found.start as u64,
            end: found.end as u64,
            source: name.to_owned(),
            path: path.map(|path| path.display().to_string()),
            line: found.place.line,
            byte_offset: found.place.offset,
            part: found.spans.doc_part[found.document].unsigned_abs(),
            token: (found.first() + inside) as u64,
        },
        before: decode(&ids[inside.saturating_sub(SHOWN_TOKENS)..inside]),
        after: decode(&ids[inside + 1..ids.len().min(inside + 1 + SHOWN_TOKENS)]),
        source: None,
        missing: None,
    }
}

/// Makes the row of a token again.
fn again(found: &Found<'_>, replay: &Replay) -> Result<(SourceRow, Prepared)> {
    let source = replay.row(found.place)?;
    let part = found.spans.doc_part[found.document].unsigned_abs() as usize;
    let first = found.first();
    let same = |prepared: &Prepared| {
        let ids = &prepared.example.input_ids;
        ids.get(first..first + (found.end - found.start)) == Some(&found.ids()[..])
    };
    let what = match prepare(replay, &source.sample, part) {
        Ok(prepared) if same(&prepared) => return Ok((source, prepared)),
        Ok(_) => "the row that stands there gives other tokens".to_owned(),
        Err(what) => what,
    };
    let kept = Worker::new(&replay.recipe)
        .tracing()
        .window_of(&source.sample, found.messages());
    if let Ok(Some(prepared)) = kept
        && same(&prepared)
    {
        return Ok((source, prepared));
    }
    Err(replay.changed(found.place, &what))
}

fn prepare(replay: &Replay, sample: &Sample, part: usize) -> Result<Prepared, String> {
    let mut worker = Worker::new(&replay.recipe).tracing();
    let mut rendered = worker.rendered(sample).map_err(|failure| match failure {
        Failure::Reject(reject) => format!("its row is rejected, {reject}"),
        Failure::Fatal(error) => error.message,
    })?;
    rendered
        .take(part)
        .map_err(|count| format!("it gives {count} documents, and the token is in document {part}"))
}

fn from_source(
    explanation: &mut Explanation,
    found: &Found<'_>,
    replay: &Replay,
    source: &SourceRow,
    prepared: &Prepared,
) {
    let at = explanation.document.token as usize;
    let message = found.message();
    let facts = why::Facts {
        kind: found.kind(),
        trained: explanation.trained,
        span_trained: found.flag(FLAG_TRAINED),
        straddles: found.flag(FLAG_STRADDLES),
        repeated: found.flag(FLAG_REPEATED),
        first: explanation.position as usize == found.start,
        excluded: message
            .and_then(|message| why::excluded(&source.sample, prepared.thread, message)),
    };
    explanation.why = facts.why(&replay.recipe.config.label);
    let window = prepared.window.as_deref();
    let in_row = at + window.map_or(0, |window| window.first_token as usize);
    let trace = prepared.trace.as_deref();
    let bytes = trace
        .and_then(|trace| trace.offsets.get(at))
        .copied()
        .unwrap_or_default();
    if !prepared.text.is_empty() {
        explanation.before = shown(&prepared.text, bytes[0] as usize, true);
        explanation.after = shown(&prepared.text, bytes[1] as usize, false);
    }
    let method = |message: u32| {
        let found = prepared.methods.iter().find(|(known, _)| *known == message);
        found.map(|(_, method)| *method)
    };
    explanation.source = Some(Origins {
        role: message.and_then(|message| why::role(&source.sample, prepared.thread, message)),
        method: message.and_then(method),
        bytes,
        parts: origin::parts(
            source,
            prepared,
            bytes,
            in_row,
            &replay.recipe.config.source,
        ),
    });
}

/// Text before or after a byte, of whole characters.
fn shown(text: &str, at: usize, before: bool) -> String {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at = if before { at - 1 } else { at + 1 };
    }
    if before {
        let from = text[..at].char_indices().rev().nth(SHOWN_CHARS - 1);
        text[from.map_or(0, |(from, _)| from)..at].to_owned()
    } else {
        text[at..].chars().take(SHOWN_CHARS).collect()
    }
}

fn token_text(tokenizer: &Tokenizer, id: u32) -> String {
    match tokenizer.token_bytes(id) {
        Some(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        None => tokenizer.id_to_token(id).unwrap_or_default(),
    }
}
