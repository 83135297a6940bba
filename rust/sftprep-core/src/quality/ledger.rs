//! The ledger of a stage: one line per input row, as an Arrow IPC file.

use std::collections::HashMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::sync::Arc;

use arrow_array::types::Int8Type;
use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, DictionaryArray, Float64Array, Int8Array, Int32Array, Int64Array, RecordBatch,
    StringArray,
};
use arrow_ipc::writer::FileWriter;
use arrow_schema::{ArrowError, DataType, Field, Schema};

use super::verdict::{Row, Verdict};
use crate::error::{Code, Error, Result};

/// Rows of a record batch.
const BATCH_ROWS: usize = 1 << 16;
/// Decisions, in the order of their numbers.
const DECISIONS: [&str; 3] = ["kept", "dropped", "rejected"];
/// Index of the column `stage`.
const STAGE_COLUMN: usize = 7;

/// What a ledger says of the stage as a whole.
#[derive(Debug)]
pub(super) struct Head<'a> {
    /// Name of the stage.
    pub(super) stage: &'a str,
    /// Names of the inputs and of what they are compared with.
    pub(super) names: &'a [String],
    /// Names of what was read, with their paths.
    pub(super) inputs: &'a [(String, String)],
    /// Names of the outputs, if there are several.
    pub(super) parts: &'a [String],
    /// Which of the outputs this ledger lies beside.
    pub(super) part: usize,
    /// The stage's options as JSON, if it gives them.
    pub(super) options: Option<&'a str>,
}

/// What a ledger of several stages says besides.
#[derive(Debug, Default)]
pub(super) struct Extra<'a> {
    /// Names of the stages; none: there is one.
    pub(super) stages: &'a [String],
    /// Per row the index of the stage that decided.
    pub(super) of: &'a [i8],
    /// Per row the hash of its content.
    pub(super) hashes: Option<&'a [String]>,
}

/// Writes the ledger of `rows`; `lines` are the first lines that each takes in its output.
pub(super) fn write(
    path: &Path,
    head: &Head<'_>,
    rows: &[Row],
    lines: &[Option<u64>],
) -> Result<()> {
    write_with(path, head, rows, lines, &Extra::default())
}

/// The same for several stages.
pub(super) fn write_with(
    path: &Path,
    head: &Head<'_>,
    rows: &[Row],
    lines: &[Option<u64>],
    extra: &Extra<'_>,
) -> Result<()> {
    let failed = |error: ArrowError| Error::new(Code::OutputIo, error.to_string()).at_path(path);
    let file = File::create(path).map_err(|error| Error::io(Code::OutputIo, path, &error))?;
    let schema = Arc::new(schema(head, extra)?);
    let mut writer = FileWriter::try_new(BufWriter::new(file), &schema).map_err(failed)?;
    let words = |words: &[&str]| Arc::new(StringArray::from(words.to_vec())) as ArrayRef;
    let codes: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    let dictionaries = Dictionaries {
        names: Arc::new(StringArray::from(head.names.to_vec())),
        decisions: words(&DECISIONS),
        codes: words(&codes),
        stages: match extra.stages {
            [] => words(&[head.stage]),
            stages => Arc::new(StringArray::from(stages.to_vec())),
        },
        parts: Arc::new(StringArray::from(head.parts.to_vec())),
    };
    let mut first = 1_i64;
    for (rows, lines) in rows.chunks(BATCH_ROWS).zip(lines.chunks(BATCH_ROWS)) {
        let mut columns = columns(rows, lines, first, &dictionaries).map_err(failed)?;
        let batch_rows = first as usize - 1..first as usize - 1 + rows.len();
        extra
            .add(&mut columns, batch_rows, &dictionaries)
            .map_err(failed)?;
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns).map_err(failed)?;
        writer.write(&batch).map_err(failed)?;
        first += rows.len() as i64;
    }
    writer.finish().map_err(failed)?;
    let file = writer.into_inner().map_err(failed)?;
    let synced = file
        .into_inner()
        .map_err(std::io::IntoInnerError::into_error);
    synced
        .and_then(|file| file.sync_all())
        .map_err(|error| Error::io(Code::OutputIo, path, &error))
}

impl Extra<'_> {
    /// Puts what is said besides into the columns of some rows.
    fn add(
        &self,
        columns: &mut Vec<ArrayRef>,
        rows: std::ops::Range<usize>,
        dictionaries: &Dictionaries,
    ) -> Result<(), ArrowError> {
        if let Some(of) = self
            .of
            .get(rows.clone())
            .filter(|_| !self.stages.is_empty())
        {
            let keys = Int8Array::from(of.to_vec());
            let values = Arc::clone(&dictionaries.stages);
            let stages = DictionaryArray::<Int8Type>::try_new(keys, values)?;
            columns[STAGE_COLUMN] = Arc::new(stages);
        }
        if let Some(hashes) = self.hashes.and_then(|hashes| hashes.get(rows)) {
            columns.push(Arc::new(StringArray::from(hashes.to_vec())));
        }
        Ok(())
    }
}

/// The same for every batch, so that the file holds each once.
struct Dictionaries {
    names: ArrayRef,
    decisions: ArrayRef,
    codes: ArrayRef,
    stages: ArrayRef,
    parts: ArrayRef,
}

fn schema(head: &Head<'_>, extra: &Extra<'_>) -> Result<Schema> {
    let small = || DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8));
    let names = || DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let columns = [
        ("row", DataType::Int64),
        ("source", names()),
        ("line", DataType::Int64),
        ("byte_offset", DataType::Int64),
        ("decision", small()),
        ("code", small()),
        ("detail", DataType::Utf8),
        ("stage", small()),
        ("partner_row", DataType::Int64),
        ("partner_source", names()),
        ("partner_line", DataType::Int64),
        ("score", DataType::Float64),
        ("times", DataType::Int32),
        ("part", small()),
        ("output_line", DataType::Int64),
    ];
    let field = |(name, kind)| Arc::new(Field::new(name, kind, true));
    let inputs = serde_json::to_string(head.inputs)
        .map_err(|error| Error::new(Code::RunInternal, error.to_string()))?;
    let mut metadata = vec![
        ("sftprep.stage", head.stage),
        ("sftprep.inputs", &inputs),
        ("sftprep.version", env!("CARGO_PKG_VERSION")),
    ];
    metadata.extend(head.options.map(|options| ("sftprep.options", options)));
    let part = head.parts.get(head.part);
    metadata.extend(part.map(|name| ("sftprep.part", name.as_str())));
    let metadata: HashMap<String, String> = metadata
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    let mut fields = columns.map(field).to_vec();
    fields.extend(extra.hashes.map(|_| field(("row_hash", DataType::Utf8))));
    Ok(Schema::new(fields).with_metadata(metadata))
}

fn columns(
    rows: &[Row],
    lines: &[Option<u64>],
    first: i64,
    dictionaries: &Dictionaries,
) -> Result<Vec<ArrayRef>, ArrowError> {
    let numbers = |number: &dyn Fn(&Row) -> Option<u64>| -> ArrayRef {
        let each = rows
            .iter()
            .map(|row| number(row).map(|number| number as i64));
        Arc::new(each.collect::<Int64Array>())
    };
    let small =
        |key: &dyn Fn(&Row) -> Option<i8>, values: &ArrayRef| -> Result<ArrayRef, ArrowError> {
            let keys: Int8Array = rows.iter().map(key).collect();
            let made = DictionaryArray::<Int8Type>::try_new(keys, Arc::clone(values))?;
            Ok(Arc::new(made))
        };
    let names = |key: &dyn Fn(&Row) -> Option<u32>| -> Result<ArrayRef, ArrowError> {
        let keys: Int32Array = rows
            .iter()
            .map(|row| key(row).map(|key| key as i32))
            .collect();
        let values = Arc::clone(&dictionaries.names);
        Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(
            keys, values,
        )?))
    };
    let ids = first..first + rows.len() as i64;
    let details: StringArray = rows.iter().map(|row| detail(&row.verdict)).collect();
    let scores: Float64Array = rows
        .iter()
        .map(|row| row.verdict.note().and_then(|note| note.score))
        .collect();
    let times: Int32Array = rows.iter().map(|row| Some(row.written() as i32)).collect();
    let outputs = lines.iter().map(|line| line.map(|line| line as i64));
    let several = !dictionaries.parts.is_empty();
    let part = |row: &Row| (several && row.verdict.stays()).then_some(row.part as i8);
    let partner = |row: &Row| row.verdict.note().and_then(|note| note.partner);
    Ok(vec![
        Arc::new(ids.collect::<Int64Array>()),
        names(&|row| Some(row.place.source))?,
        numbers(&|row| Some(row.place.line)),
        numbers(&|row| Some(row.place.offset)),
        small(&|row| Some(decision(&row.verdict)), &dictionaries.decisions)?,
        small(&|row| code(&row.verdict), &dictionaries.codes)?,
        Arc::new(details),
        small(&|_| Some(0), &dictionaries.stages)?,
        numbers(&|row| partner(row).map(|partner| partner.row)),
        names(&|row| partner(row).map(|partner| partner.source))?,
        numbers(&|row| partner(row).map(|partner| partner.line)),
        Arc::new(scores),
        Arc::new(times),
        small(&part, &dictionaries.parts)?,
        Arc::new(outputs.collect::<Int64Array>()),
    ])
}

fn decision(verdict: &Verdict) -> i8 {
    match verdict {
        Verdict::Kept | Verdict::Noted(_) | Verdict::NotCompared(_) => 0,
        Verdict::Dropped(_) => 1,
        Verdict::Rejected(_) => 2,
    }
}

fn code(verdict: &Verdict) -> Option<i8> {
    let code = match verdict {
        Verdict::Kept => return None,
        Verdict::NotCompared(reject) | Verdict::Rejected(reject) => reject.code,
        Verdict::Noted(note) | Verdict::Dropped(note) => note.code?,
    };
    let at = Code::ALL.iter().position(|other| *other == code)?;
    i8::try_from(at).ok()
}

fn detail(verdict: &Verdict) -> Option<&str> {
    match verdict {
        Verdict::Kept => None,
        Verdict::NotCompared(reject) | Verdict::Rejected(reject) => Some(&reject.detail),
        Verdict::Noted(note) | Verdict::Dropped(note) => {
            Some(note.detail.as_str()).filter(|detail| !detail.is_empty())
        }
    }
}
