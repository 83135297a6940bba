//! A ledger read whole: those of stages and of `pack` alike, by the names of their columns.

use std::fs::File;
use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::{ArrowDictionaryKeyType, Float64Type, Int8Type, Int32Type, Int64Type};
use arrow_array::{Array, RecordBatch};
use arrow_ipc::reader::FileReader;
use arrow_schema::DataType;

use super::verdict::Partner;
use crate::error::{Code, Error, Result};

/// A ledger.
#[derive(Debug, Default)]
pub(super) struct LedgerFile {
    /// The stage that wrote it.
    pub(super) stage: String,
    /// Names of the inputs.
    pub(super) inputs: Vec<String>,
    /// Names of the inputs with their paths.
    pub(super) paths: Vec<(String, String)>,
    /// Names of the inputs and of what they were compared with.
    pub(super) names: Vec<String>,
    /// Names of the stages, in a ledger of several.
    pub(super) stages: Vec<String>,
    /// Names of the outputs, if there are several.
    pub(super) parts: Vec<String>,
    /// Name of the output that it lies beside, if there are several.
    pub(super) part: Option<String>,
    /// Whether it says which lines of an output the rows are.
    pub(super) numbered: bool,
    /// Its lines.
    pub(super) rows: Vec<Entry>,
}

/// A line of a ledger.
#[derive(Debug, Clone, Default)]
pub(super) struct Entry {
    /// Index of the input among [`LedgerFile::names`].
    pub(super) source: u32,
    pub(super) line: u64,
    pub(super) offset: u64,
    pub(super) kept: bool,
    pub(super) rejected: bool,
    pub(super) code: Option<Code>,
    pub(super) detail: String,
    pub(super) partner: Option<Partner>,
    pub(super) score: Option<f64>,
    pub(super) times: u32,
    /// Index among [`LedgerFile::parts`].
    pub(super) part: Option<u32>,
    pub(super) output_line: Option<u64>,
    pub(super) tokens: u64,
    pub(super) trained_tokens: u64,
    /// Name of the stage, in a ledger of several.
    pub(super) stage: Option<u32>,
    /// Hash of the row's content, where the ledger has it.
    pub(super) hash: Option<u128>,
}

impl LedgerFile {
    /// Index of the output that it lies beside, if there are several.
    pub(super) fn own_part(&self) -> Option<u32> {
        let own = self.part.as_ref()?;
        let at = self.parts.iter().position(|it| it == own)?;
        u32::try_from(at).ok()
    }
}

/// Reads a ledger.
///
/// # Errors
/// `source.missing`, `source.corrupt`.
pub(super) fn read_ledger(path: &Path) -> Result<LedgerFile> {
    let damaged = |what: String| {
        Error::new(Code::SourceCorrupt, what)
            .at_path(path)
            .hint("run the stage again; it writes the ledger anew")
    };
    let file = File::open(path).map_err(|error| Error::io(Code::SourceMissing, path, &error))?;
    let reader = FileReader::try_new(file, None).map_err(|it| damaged(it.to_string()))?;
    let schema = reader.schema();
    let metadata = schema.metadata();
    let pairs = metadata
        .get("sftprep.inputs")
        .map(|it| serde_json::from_str(it));
    let paths: Vec<(String, String)> = match pairs {
        Some(pairs) => pairs.map_err(|it| damaged(it.to_string()))?,
        None => Vec::new(),
    };
    let stage = metadata.get("sftprep.stage").map_or("pack", String::as_str);
    let mut out = LedgerFile {
        stage: stage.to_owned(),
        part: metadata.get("sftprep.part").cloned(),
        inputs: paths.iter().map(|it| it.0.clone()).collect(),
        paths,
        numbered: schema.field_with_name("output_line").is_ok(),
        ..LedgerFile::default()
    };
    for batch in reader {
        let batch = batch.map_err(|it| damaged(it.to_string()))?;
        let columns = Columns::of(&batch);
        if out.names.is_empty() {
            out.names = columns.source.words();
        }
        if out.stages.is_empty() {
            out.stages = columns.stage.words();
        }
        if out.parts.is_empty() {
            out.parts = columns.part.words();
        }
        out.rows.reserve(batch.num_rows());
        for at in 0..batch.num_rows() {
            let line = columns.line(at);
            out.rows.push(line.ok_or_else(|| {
                let row = out.rows.len() + 1;
                damaged(format!(
                    "line {row} of the ledger has no place or no decision"
                ))
            })?);
        }
    }
    Ok(out)
}

/// The columns of a batch.
struct Columns<'b> {
    source: Cells<'b>,
    number: Cells<'b>,
    offset: Cells<'b>,
    decision: Cells<'b>,
    code: Cells<'b>,
    detail: Cells<'b>,
    partner_row: Cells<'b>,
    partner_source: Cells<'b>,
    partner_line: Cells<'b>,
    score: Cells<'b>,
    times: Cells<'b>,
    part: Cells<'b>,
    output_line: Cells<'b>,
    tokens: Cells<'b>,
    trained: Cells<'b>,
    stage: Cells<'b>,
    hash: Cells<'b>,
    decisions: Vec<String>,
    codes: Vec<Option<Code>>,
}

impl<'b> Columns<'b> {
    fn of(batch: &'b RecordBatch) -> Self {
        let cells = |name: &str| Cells(batch.column_by_name(name).map(AsRef::as_ref));
        let (decision, code) = (cells("decision"), cells("code"));
        Self {
            source: cells("source"),
            number: cells("line"),
            offset: cells("byte_offset"),
            decisions: decision.words(),
            codes: code.words().iter().map(|it| Code::from_name(it)).collect(),
            decision,
            code,
            detail: cells("detail"),
            partner_row: cells("partner_row"),
            partner_source: cells("partner_source"),
            partner_line: cells("partner_line"),
            score: cells("score"),
            times: cells("times"),
            part: cells("part"),
            output_line: cells("output_line"),
            tokens: cells("tokens"),
            trained: cells("trained_tokens"),
            stage: cells("stage"),
            hash: cells("row_hash"),
        }
    }

    fn line(&self, at: usize) -> Option<Entry> {
        let unsigned = |cells: &Cells<'_>| u64::try_from(cells.number(at)?).ok();
        let small = |cells: &Cells<'_>| u32::try_from(cells.number(at)?).ok();
        let decision = self.decisions.get(small(&self.decision)? as usize)?;
        let partner = unsigned(&self.partner_row).and_then(|row| {
            Some(Partner {
                row,
                source: small(&self.partner_source)?,
                line: unsigned(&self.partner_line)?,
            })
        });
        let code = small(&self.code).and_then(|code| *self.codes.get(code as usize)?);
        let kept = matches!(decision.as_str(), "kept" | "packed");
        Some(Entry {
            source: small(&self.source)?,
            line: unsigned(&self.number)?,
            offset: unsigned(&self.offset).unwrap_or_default(),
            kept,
            rejected: decision == "rejected",
            code,
            detail: self.detail.text(at).unwrap_or_default().to_owned(),
            partner,
            score: self.score.float(at),
            times: small(&self.times).unwrap_or(u32::from(kept)),
            part: small(&self.part),
            output_line: unsigned(&self.output_line),
            tokens: unsigned(&self.tokens).unwrap_or_default(),
            trained_tokens: unsigned(&self.trained).unwrap_or_default(),
            stage: small(&self.stage),
            hash: self
                .hash
                .text(at)
                .and_then(|it| u128::from_str_radix(it, 16).ok()),
        })
    }
}

/// A column, if there is one.
#[derive(Clone, Copy)]
struct Cells<'b>(Option<&'b dyn Array>);

impl<'b> Cells<'b> {
    /// The whole number of a row, or that of its word in the dictionary.
    fn number(&self, at: usize) -> Option<i64> {
        let column = self.0.filter(|column| column.is_valid(at))?;
        match column.data_type() {
            DataType::Int64 => Some(column.as_primitive::<Int64Type>().value(at)),
            DataType::Int32 => Some(i64::from(column.as_primitive::<Int32Type>().value(at))),
            DataType::Dictionary(key, _) if **key == DataType::Int8 => {
                let key = column.as_dictionary_opt::<Int8Type>()?.key(at)?;
                i64::try_from(key).ok()
            }
            DataType::Dictionary(key, _) if **key == DataType::Int32 => {
                let key = column.as_dictionary_opt::<Int32Type>()?.key(at)?;
                i64::try_from(key).ok()
            }
            _ => None,
        }
    }

    fn text(&self, at: usize) -> Option<&'b str> {
        let column = self.0.filter(|column| column.is_valid(at))?;
        Some(column.as_string_opt::<i32>()?.value(at))
    }

    fn float(&self, at: usize) -> Option<f64> {
        let column = self.0.filter(|column| column.is_valid(at))?;
        Some(column.as_primitive_opt::<Float64Type>()?.value(at))
    }

    /// The words of the dictionary.
    fn words(&self) -> Vec<String> {
        let Some(column) = self.0 else {
            return Vec::new();
        };
        match column.data_type() {
            DataType::Dictionary(key, _) if **key == DataType::Int8 => words::<Int8Type>(column),
            DataType::Dictionary(key, _) if **key == DataType::Int32 => words::<Int32Type>(column),
            _ => Vec::new(),
        }
    }
}

fn words<K: ArrowDictionaryKeyType>(column: &dyn Array) -> Vec<String> {
    let values = column.as_dictionary_opt::<K>();
    let words = values.and_then(|it| it.values().as_string_opt::<i32>());
    words.map_or_else(Vec::new, |words| {
        words
            .iter()
            .map(|it| it.unwrap_or_default().to_owned())
            .collect()
    })
}
