//! What a finished dataset tells about its input rows, in input order: its ledger, and where the
//! documents of each row lie in the packed rows.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde::Deserialize;

use crate::error::{Code, Error, Reject, Result};
use crate::types::{Example, NO_MESSAGE, RowPlace, SpanKind, TokenSpan};

use super::columns::{FLAG_CONTINUES, FLAG_REPEATED, FLAG_STRADDLES, FLAG_TRAINED, border_of};
use super::ledger::DECISIONS;
use super::manifest::{FileKind, Manifest};
use super::mapped::MappedFile;
use super::reader::ShardReader;

/// Rows between two calls of a check.
const CHECK_ROWS: u64 = 256;

/// Bytes of a sidecar that a document takes at least.
const LEAST_BYTES: u64 = 32;

/// Bytes that a document of [`PastDocuments`] takes.
pub const PAST_DOCUMENT_BYTES: usize = size_of::<PastDocument>();

/// Documents to expect: as many as the manifest says, if there is room for them in the files.
pub fn past_documents(manifest: &Manifest) -> usize {
    let files = || manifest.files_of(FileKind::Spans);
    let most = files().map(|file| file.bytes / LEAST_BYTES).sum::<u64>();
    let told = manifest
        .files_of(FileKind::Data)
        .map(|file| file.documents)
        .fold(0, u64::saturating_add);
    usize::try_from(told.min(most)).unwrap_or(0)
}

/// An input row as the ledger has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastRow {
    /// Its place.
    pub place: RowPlace,
    /// Tokens that the tokenizer gave for it.
    pub encoded: u64,
    /// Tokens that have a label.
    pub trained: u64,
    /// Tokens that were cut off.
    pub cut: u64,
    /// Whether it was packed in parts: as windows, or after something was cut off.
    pub in_parts: bool,
    /// Why it was not packed: whether it was rejected, and the reason.
    pub left_out: Option<(bool, Reject)>,
}

/// A line of `rejects.jsonl`.
#[derive(Deserialize)]
struct Line {
    code: String,
    message: String,
    field: String,
}

/// Hands the rows of the ledger to `take`, in order.
///
/// # Errors
/// `shard.corrupt` if the ledger is not what it must be; what `take` fails with.
pub fn past_rows(
    dir: &Path,
    reader: &ShardReader,
    mut take: impl FnMut(PastRow) -> Result<()>,
) -> Result<()> {
    let manifest = reader.manifest();
    let missing = || Error::new(Code::ShardManifest, "it lists no ledger").at_path(dir);
    let one = |kind| manifest.files_of(kind).next().ok_or_else(missing);
    let (ledger, rejects) = (one(FileKind::Ledger)?, one(FileKind::Rejects)?);
    let mapped = MappedFile::open(dir, ledger)?;
    let path = dir.join(&rejects.name);
    let file = File::open(&path).map_err(|error| Error::io(Code::ShardCorrupt, &path, &error))?;
    let mut lines = BufReader::new(file).lines();
    let mut reject = || -> Result<Reject> {
        let damaged = |what: String| Error::new(Code::ShardCorrupt, what).at_path(&path);
        let line = lines.next().and_then(Result::ok);
        let line = line.ok_or_else(|| damaged("fewer lines than rows left out".to_owned()))?;
        let line: Line = serde_json::from_str(&line).map_err(|error| damaged(error.to_string()))?;
        let code = Code::from_name(&line.code)
            .ok_or_else(|| damaged(format!("the code {:?} is not known", line.code)))?;
        Ok(Reject::new(code, line.message).at_field(line.field))
    };
    for (batch, info) in ledger.batches.iter().enumerate() {
        let source: &[u32] = mapped.buffer(batch, 0)?;
        let line: &[u64] = mapped.buffer(batch, 1)?;
        let offset: &[u64] = mapped.buffer(batch, 2)?;
        let decision: &[i8] = mapped.buffer(batch, 3)?;
        let tokens: &[u64] = mapped.buffer(batch, 9)?;
        let code: &[i8] = mapped.buffer(batch, 4)?;
        let trained: &[u64] = mapped.buffer(batch, 10)?;
        let cut: &[u64] = mapped.buffer(batch, 11)?;
        let lengths = [
            source.len(),
            line.len(),
            offset.len(),
            decision.len(),
            code.len(),
            tokens.len(),
            trained.len(),
            cut.len(),
        ];
        if lengths.iter().any(|&length| length as u64 != info.rows) {
            return Err(mapped.corrupt(format!("the columns of batch {batch} differ in length")));
        }
        for row in 0..source.len() {
            let known = usize::try_from(decision[row]).is_ok_and(|at| at < DECISIONS.len());
            if !known || source[row] as usize >= manifest.inputs.len() {
                return Err(mapped.corrupt(format!("row {row} of batch {batch} makes no sense")));
            }
            let left_out = match decision[row] {
                0 => None,
                decision => Some((decision == 1, reject()?)),
            };
            take(PastRow {
                place: RowPlace {
                    source: source[row],
                    line: line[row],
                    offset: offset[row],
                },
                encoded: tokens[row],
                trained: trained[row],
                cut: cut[row],
                in_parts: decision[row] == 0 && code[row] != 0,
                left_out,
            })?;
        }
        mapped.let_go();
    }
    Ok(())
}

/// Where a document lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct PastDocument {
    source: i32,
    line: i64,
    part: i32,
    row: u64,
    first_token: u32,
    tokens: u32,
    first_span: u32,
}

/// The documents of a dataset in the order of its input.
#[derive(Debug)]
pub struct PastDocuments<'a> {
    reader: &'a ShardReader,
    documents: Vec<PastDocument>,
}

impl<'a> PastDocuments<'a> {
    /// Finds all documents; `check` is called now and then and ends the search when it fails.
    ///
    /// # Errors
    /// `shard.corrupt`; `config.value` if the packing cut a document: its pieces cannot be told
    /// from documents of their own.
    pub fn find(reader: &'a ShardReader, check: &dyn Fn() -> Result<()>) -> Result<Self> {
        let mut documents = Vec::with_capacity(past_documents(reader.manifest()));
        for row in 0..reader.len() {
            if row % CHECK_ROWS == 0 {
                check()?;
            }
            let spans = reader.spans(row)?;
            let lists = [
                spans.doc_source.len(),
                spans.doc_part.len(),
                spans.doc_start.len(),
                spans.doc_tokens.len(),
            ];
            if lists.iter().any(|&length| length != spans.doc_line.len()) {
                return Err(corrupt(row, "its lists of documents differ in length"));
            }
            let (mut first_token, mut first_span) = (0, 0);
            for at in 0..spans.doc_line.len() {
                if spans.doc_start[at] != 0 {
                    let message = format!(
                        "packed row {row} holds a piece of a document that the packing cut"
                    );
                    return Err(Error::new(Code::ConfigValue, message)
                        .hint("pack again from the inputs: pieces are not put together"));
                }
                let tokens = u32::try_from(spans.doc_tokens[at])
                    .map_err(|_| corrupt(row, "a document of less than no token"))?;
                documents.push(PastDocument {
                    source: spans.doc_source[at],
                    line: spans.doc_line[at],
                    part: spans.doc_part[at],
                    row,
                    first_token,
                    tokens,
                    first_span,
                });
                first_token += tokens;
                let ends = spans
                    .span_end
                    .get(first_span as usize..)
                    .unwrap_or_default();
                first_span +=
                    ends.partition_point(|&end| i64::from(end) <= i64::from(first_token)) as u32;
            }
        }
        documents.sort_unstable();
        Ok(Self { reader, documents })
    }

    /// The documents of an input row, in order, as they were before they were packed, each with its
    /// number in the row.
    ///
    /// # Errors
    /// `shard.corrupt`.
    pub fn of_row(&self, place: RowPlace) -> Result<Vec<(u32, Example)>> {
        let key = |it: &PastDocument| (i64::from(it.source), it.line);
        let wanted = (i64::from(place.source), place.line as i64);
        let first = self.documents.partition_point(|it| key(it) < wanted);
        let own = self.documents[first..]
            .iter()
            .take_while(|it| key(it) == wanted);
        own.map(|document| Ok((document.part.unsigned_abs(), self.example(document)?)))
            .collect()
    }

    fn example(&self, document: &PastDocument) -> Result<Example> {
        let row = document.row;
        let range =
            document.first_token as usize..(document.first_token + document.tokens) as usize;
        let ids = self.reader.row(row)?.input_ids.get(range);
        let ids = ids.ok_or_else(|| corrupt(row, "a document that ends after its row"))?;
        let spans = self.reader.spans(row)?;
        let mut example = Example {
            input_ids: bytemuck::cast_slice(ids).to_vec(),
            spans: Vec::new(),
        };
        let mut at = document.first_span as usize;
        while example.spans.last().map_or(0, |span| span.end) < document.tokens {
            let span = (|| {
                let end = u32::try_from(*spans.span_end.get(at)?).ok()?;
                let flags = *spans.span_flags.get(at)?;
                Some(TokenSpan {
                    end: end.checked_sub(document.first_token)?,
                    message: u32::try_from(*spans.span_message.get(at)?).unwrap_or(NO_MESSAGE),
                    kind: SpanKind::from_u8(*spans.span_kind.get(at)?)?,
                    trained: flags & FLAG_TRAINED != 0,
                    straddles: flags & FLAG_STRADDLES != 0,
                    border: border_of(flags),
                    repeated: flags & FLAG_REPEATED != 0,
                    continues: flags & FLAG_CONTINUES != 0,
                    weight: spans.span_weight.get(at).copied().unwrap_or(1.0),
                })
            })();
            example
                .spans
                .push(span.ok_or_else(|| corrupt(row, "its spans make no sense"))?);
            at += 1;
        }
        Ok(example)
    }
}

fn corrupt(row: u64, what: &str) -> Error {
    Error::new(Code::ShardCorrupt, format!("packed row {row}: {what}"))
        .hint("run `sftprep verify`; fetch or pack the dataset again")
}
