//! The ledger: what became of each input row, written while the rows pass in input order.
//!
//! `ledger.arrow` has one row per input row; `rejects.jsonl` is the part of it that people read.
//! Both are streamed: memory does not grow with the number of rows.

use std::path::Path;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Code, Reject, Result};
use crate::types::RowPlace;

use super::columns::{RowSums, Shape};
use super::hashed::HashedFile;
use super::ipc::{Column, IpcFile};
use super::manifest::{BatchInfo, FileInfo, FileKind};
use super::totals::Totals;

/// Name of the ledger.
pub const LEDGER_NAME: &str = "ledger.arrow";

/// Name of its readable extract.
pub const REJECTS_NAME: &str = "rejects.jsonl";

/// Rows of a record batch of the ledger.
const BATCH_ROWS: usize = 1 << 16;

/// Bytes of text after which a batch ends early.
const BATCH_TEXT: usize = 4 << 20;

/// Bytes of a row's text in `rejects.jsonl`, at most.
pub(super) const EXCERPT_BYTES: usize = 8 << 10;

/// Shapes of its columns.
pub(super) const LEDGER_SHAPES: [Shape; 11] = {
    use Shape::{Fixed, Utf8};
    [
        Fixed, Fixed, Fixed, Fixed, Fixed, Utf8, Utf8, Fixed, Fixed, Fixed, Fixed,
    ]
};

/// Decisions, in the order of their numbers.
pub(super) const DECISIONS: [&str; 3] = ["packed", "rejected", "dropped"];

// Codes are numbered in eight bits with a sign, 0 for "no code".
const _: () = assert!(Code::ALL.len() < 127);

/// What became of a row.
#[derive(Debug, Clone, Copy)]
pub enum Outcome<'a> {
    /// Documents were made of it.
    Packed {
        /// Tokens packed, labelled or not.
        tokens: u64,
        /// Tokens that have a label.
        trained: u64,
        /// Documents.
        documents: u32,
        /// Why tokens were cut off, and how many.
        cut: Option<(Code, u64)>,
    },
    /// It was bad.
    Rejected(&'a Reject),
    /// It was good but left out.
    Dropped(&'a Reject),
}

/// An input row as the ledger sees it.
#[derive(Debug, Clone, Copy)]
pub struct LedgerRow<'a> {
    /// Its place.
    pub place: RowPlace,
    /// Tokens that the tokenizer gave for it; 0 if it did not get that far.
    pub encoded: u64,
    /// What became of it.
    pub outcome: Outcome<'a>,
    /// The beginning of its text, for `rejects.jsonl` if excerpts are on.
    pub text: &'a [u8],
    /// Bytes of the whole text.
    pub text_bytes: u64,
}

/// Writes the ledger and its extract, and keeps the totals.
pub struct LedgerWriter {
    ledger: IpcFile,
    rejects: HashedFile,
    reject_lines: u64,
    excerpts: bool,
    names: Vec<String>,
    totals: Totals,
    batch: Batch,
    batches: Vec<BatchInfo>,
}

/// The finished ledger.
#[derive(Debug, Serialize, Deserialize)]
pub struct LedgerFiles {
    /// `ledger.arrow` and `rejects.jsonl`.
    pub files: [FileInfo; 2],
    /// What became of every row and token, checked.
    pub totals: Totals,
}

impl LedgerWriter {
    /// Starts the ledger of these sources (by source number) in `dir`.
    pub fn create(dir: &Path, sources: &[String], excerpts: bool) -> Result<Self> {
        let mut ledger = IpcFile::create(&dir.join(LEDGER_NAME), schema())?;
        ledger.dictionary(0, &DECISIONS)?;
        let codes: Vec<&str> = std::iter::once("")
            .chain(Code::ALL.iter().map(|code| code.as_str()))
            .collect();
        ledger.dictionary(1, &codes)?;
        Ok(Self {
            ledger,
            rejects: HashedFile::create(&dir.join(REJECTS_NAME))?,
            reject_lines: 0,
            excerpts,
            names: sources.to_vec(),
            totals: Totals::new(sources),
            batch: Batch::default(),
            batches: Vec::new(),
        })
    }

    /// Counts rows that the reader gave. Told apart from [`append`](Self::append), so that a row
    /// lost on the way is found.
    pub fn rows_read(&mut self, source: u32, rows: u64) -> Result<()> {
        self.totals.source(source)?.rows += rows;
        Ok(())
    }

    /// The totals so far.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Appends the next row in input order.
    pub fn append(&mut self, row: &LedgerRow<'_>) -> Result<()> {
        let totals = self.totals.source(row.place.source)?;
        let count = |counts: &mut super::totals::ByCode, code: Code, n: u64| {
            if n > 0 {
                *counts.entry(code.as_str().to_owned()).or_default() += n;
            }
        };
        totals.encoded += row.encoded;
        let entry = match row.outcome {
            Outcome::Packed {
                tokens,
                trained,
                documents,
                cut,
            } => {
                totals.packed += 1;
                totals.trained += trained;
                totals.context += tokens.saturating_sub(trained);
                totals.documents += u64::from(documents);
                if let Some((code, tokens)) = cut {
                    count(&mut totals.cut, code, tokens);
                }
                let code = cut.map(|(code, _)| code);
                Entry {
                    decision: 0,
                    code,
                    reject: None,
                    trained,
                    documents,
                    cut: cut.map_or(0, |cut| cut.1),
                }
            }
            Outcome::Rejected(reject) => {
                count(&mut totals.rejected, reject.code, 1);
                count(&mut totals.dropped_tokens, reject.code, row.encoded);
                Entry::left_out(1, reject)
            }
            Outcome::Dropped(reject) => {
                count(&mut totals.dropped, reject.code, 1);
                count(&mut totals.dropped_tokens, reject.code, row.encoded);
                Entry::left_out(2, reject)
            }
        };
        if let Some(reject) = entry.reject {
            self.extract(row, reject, entry.decision)?;
        }
        self.batch.push(row, &entry);
        if self.batch.is_full() {
            self.flush()
        } else {
            Ok(())
        }
    }

    /// Ends the ledger and proves that it balances.
    pub fn finish(mut self) -> Result<LedgerFiles> {
        self.flush()?;
        self.totals.check()?;
        let all = self.totals.all();
        let ledger = self.ledger.finish()?;
        let sums = RowSums {
            rows: all.rows,
            tokens: all.encoded,
            trained_tokens: all.trained,
            documents: all.documents,
        };
        let rejects = self.rejects.seal()?;
        let lines = RowSums {
            rows: self.reject_lines,
            ..RowSums::default()
        };
        let name = |name: &str| name.to_owned();
        Ok(LedgerFiles {
            files: [
                FileInfo::new(
                    name(LEDGER_NAME),
                    FileKind::Ledger,
                    ledger,
                    sums,
                    self.batches,
                ),
                FileInfo::new(
                    name(REJECTS_NAME),
                    FileKind::Rejects,
                    rejects,
                    lines,
                    Vec::new(),
                ),
            ],
            totals: self.totals,
        })
    }

    fn extract(&mut self, row: &LedgerRow<'_>, reject: &Reject, decision: i8) -> Result<()> {
        let mut line = Map::new();
        let mut put = |key: &str, value: Value| line.insert(key.to_owned(), value);
        put(
            "source",
            self.names[row.place.source as usize].as_str().into(),
        );
        put("line", row.place.line.into());
        put("byte_offset", row.place.offset.into());
        put("decision", DECISIONS[decision as usize].into());
        put("code", reject.code.as_str().into());
        put("message", reject.detail.as_str().into());
        put("field", reject.field.as_str().into());
        if self.excerpts {
            let shown = &row.text[..row.text.len().min(EXCERPT_BYTES)];
            put("text", String::from_utf8_lossy(shown).into());
            put("text_cut", ((shown.len() as u64) < row.text_bytes).into());
        }
        self.reject_lines += 1;
        self.rejects
            .write(format!("{}\n", Value::Object(line)).as_bytes())
    }

    fn flush(&mut self) -> Result<()> {
        let rows = self.batch.source.len();
        if rows > 0 {
            let buffers = self.ledger.batch(rows, &self.batch.columns())?;
            self.batches.push(BatchInfo {
                rows: rows as u64,
                buffers,
            });
            self.batch = Batch::default();
        }
        Ok(())
    }
}

/// What the ledger says of a row beside its place.
struct Entry<'a> {
    decision: i8,
    code: Option<Code>,
    reject: Option<&'a Reject>,
    trained: u64,
    documents: u32,
    cut: u64,
}

impl<'a> Entry<'a> {
    fn left_out(decision: i8, reject: &'a Reject) -> Self {
        Self {
            decision,
            code: Some(reject.code),
            reject: Some(reject),
            trained: 0,
            documents: 0,
            cut: 0,
        }
    }
}

/// A record batch while it is filled.
#[derive(Default)]
struct Batch {
    source: Vec<u32>,
    line: Vec<u64>,
    byte_offset: Vec<u64>,
    decision: Vec<i8>,
    code: Vec<i8>,
    detail: Text,
    field: Text,
    tokens: Vec<u64>,
    trained: Vec<u64>,
    cut: Vec<u64>,
    documents: Vec<u32>,
}

/// A string column.
struct Text {
    offsets: Vec<i32>,
    text: Vec<u8>,
}

impl Text {
    fn push(&mut self, text: &str) {
        self.text.extend_from_slice(text.as_bytes());
        self.offsets.push(self.text.len() as i32);
    }
}

impl Default for Text {
    fn default() -> Self {
        Self {
            offsets: vec![0],
            text: Vec::new(),
        }
    }
}

impl Batch {
    fn push(&mut self, row: &LedgerRow<'_>, entry: &Entry<'_>) {
        self.source.push(row.place.source);
        self.line.push(row.place.line);
        self.byte_offset.push(row.place.offset);
        self.decision.push(entry.decision);
        self.code.push(entry.code.map_or(0, code_number));
        self.detail
            .push(entry.reject.map_or("", |reject| &reject.detail));
        self.field
            .push(entry.reject.map_or("", |reject| &reject.field));
        self.tokens.push(row.encoded);
        self.trained.push(entry.trained);
        self.cut.push(entry.cut);
        self.documents.push(entry.documents);
    }

    fn is_full(&self) -> bool {
        self.source.len() >= BATCH_ROWS
            || self.detail.text.len() + self.field.text.len() >= BATCH_TEXT
    }

    fn columns(&self) -> [Column<'_>; 11] {
        use bytemuck::cast_slice as bytes;
        [
            Column::Fixed(bytes(&self.source)),
            Column::Fixed(bytes(&self.line)),
            Column::Fixed(bytes(&self.byte_offset)),
            Column::Fixed(bytes(&self.decision)),
            Column::Fixed(bytes(&self.code)),
            Column::Utf8(&self.detail.offsets, &self.detail.text),
            Column::Utf8(&self.field.offsets, &self.field.text),
            Column::Fixed(bytes(&self.tokens)),
            Column::Fixed(bytes(&self.trained)),
            Column::Fixed(bytes(&self.cut)),
            Column::Fixed(bytes(&self.documents)),
        ]
    }
}

/// Number of a code in the ledger's dictionary.
fn code_number(code: Code) -> i8 {
    let index = Code::ALL.iter().position(|&other| other == code);
    index.map_or(0, |index| index as i8 + 1)
}

fn schema() -> Schema {
    let names = || DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8));
    let columns = [
        ("source", DataType::Int32),
        ("line", DataType::Int64),
        ("byte_offset", DataType::Int64),
        ("decision", names()),
        ("code", names()),
        ("detail", DataType::Utf8),
        ("field", DataType::Utf8),
        ("tokens", DataType::Int64),
        ("trained_tokens", DataType::Int64),
        ("cut_tokens", DataType::Int64),
        ("documents", DataType::Int32),
    ];
    let field = |(name, kind)| Arc::new(Field::new(name, kind, true));
    Schema::new(columns.map(field).to_vec())
}
