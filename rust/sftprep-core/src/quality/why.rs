//! One line of a ledger: what became of a row, and why.
//!
//! Reads the ledgers of stages and of `pack` alike, by the names of their columns.

use std::fs::File;
use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::{ArrowDictionaryKeyType, Float64Type, Int8Type, Int32Type, Int64Type};
use arrow_array::{Array, RecordBatch};
use arrow_ipc::reader::FileReader;
use arrow_schema::DataType;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::error::{Code, Error, Result};

/// Which line.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Wanted {
    /// The row of that number (from 1) among the rows that were read.
    pub row: Option<u64>,
    /// The row of that line of its input; with `source` if there are several inputs.
    pub line: Option<u64>,
    /// Name of the input.
    pub source: Option<String>,
    /// The row that is line N (from 1) of the output, or one of its lines.
    pub kept: Option<u64>,
}

/// The line of a ledger, as JSON: `row`, `output_line` of a row that stays, `columns`, `metadata`.
/// `names` are those of the inputs, for ledgers that only number them.
///
/// # Errors
/// `source.missing`, `source.corrupt`; `config.value` if there is no such row.
pub fn ledger_row(path: &Path, wanted: &Wanted, names: &[String]) -> Result<Value> {
    let damaged = |error: arrow_schema::ArrowError| {
        Error::new(Code::SourceCorrupt, error.to_string())
            .at_path(path)
            .hint("run the stage again; it writes the ledger anew")
    };
    let file = File::open(path).map_err(|error| {
        Error::io(Code::SourceMissing, path, &error)
            .hint("give the output of a stage (its ledger lies beside it), or a packed folder")
    })?;
    let reader = FileReader::try_new(file, None).map_err(damaged)?;
    let metadata: Map<String, Value> = {
        let mut pairs: Vec<_> = reader.schema().metadata().clone().into_iter().collect();
        pairs.sort();
        pairs
            .into_iter()
            .map(|(key, value)| (key, Value::String(value)))
            .collect()
    };
    let numbered = reader.schema().field_with_name("output_line").is_ok();
    let part = metadata.get("sftprep.part").and_then(Value::as_str);
    let part = part.map(str::to_owned);
    let (mut rows, mut kept) = (0_u64, 0_u64);
    for batch in reader {
        let batch = batch.map_err(damaged)?;
        for at in 0..batch.num_rows() {
            let stays = matches!(
                text(&batch, "decision", at).as_deref(),
                Some("kept" | "packed")
            );
            kept += u64::from(stays);
            rows += 1;
            let found = match (wanted.row, wanted.line, wanted.kept) {
                (Some(row), _, _) => row == rows,
                (_, _, Some(line)) => match lines_in_output(&batch, at, part.as_deref()) {
                    Some(lines) => lines.contains(&line),
                    None => stays && !numbered && line == kept,
                },
                (_, Some(line), _) => {
                    number(&batch, "line", at) == i64::try_from(line).ok()
                        && wanted
                            .source
                            .as_ref()
                            .is_none_or(|it| source(&batch, at, names).as_ref() == Some(it))
                }
                _ => false,
            };
            if found {
                let lines = lines_in_output(&batch, at, part.as_deref());
                let first = lines.map(|lines| lines.start);
                let mut columns = cells(&batch, at);
                if let Some(name) = source(&batch, at, names) {
                    columns.insert("source".to_owned(), Value::String(name));
                }
                return Ok(json!({
                    "row": rows,
                    "output_line": if numbered { first } else { stays.then_some(kept) },
                    "columns": columns,
                    "metadata": metadata,
                }));
            }
        }
    }
    let what = match (wanted.row, wanted.kept, wanted.line, &wanted.source) {
        (Some(row), ..) => format!("there is no row {row}"),
        (_, Some(line), ..) => format!("the output has no line {line}"),
        (_, _, Some(line), Some(source)) => format!("there is no line {line} of {source}"),
        (_, _, Some(line), None) => format!("there is no line {line}"),
        _ => "no row is named".to_owned(),
    };
    Err(Error::new(
        Code::ConfigValue,
        format!("{what}; the ledger has {rows} rows, {kept} of them stay"),
    )
    .at_path(path)
    .at_field("row")
    .hint("rows are counted from 1"))
}

/// The lines of the output beside the ledger that a row takes, where the ledger says it.
fn lines_in_output(
    batch: &RecordBatch,
    at: usize,
    part: Option<&str>,
) -> Option<std::ops::Range<u64>> {
    let first = u64::try_from(number(batch, "output_line", at)?).ok()?;
    let times = u64::try_from(number(batch, "times", at).unwrap_or(1)).ok()?;
    let here = part.is_none() || text(batch, "part", at).as_deref() == part;
    here.then(|| first..first.saturating_add(times))
}

fn cells(batch: &RecordBatch, at: usize) -> Map<String, Value> {
    let schema = batch.schema();
    let fields = schema.fields().iter();
    fields
        .map(|field| (field.name().clone(), cell(batch, field.name(), at)))
        .collect()
}

fn cell(batch: &RecordBatch, name: &str, at: usize) -> Value {
    if let Some(number) = number(batch, name, at) {
        return Value::from(number);
    }
    if let Some(text) = text(batch, name, at) {
        return Value::String(text);
    }
    let column = batch.column_by_name(name);
    let float = column.and_then(|column| column.as_primitive_opt::<Float64Type>());
    float
        .filter(|it| it.is_valid(at))
        .map_or(Value::Null, |it| Value::from(it.value(at)))
}

fn number(batch: &RecordBatch, name: &str, at: usize) -> Option<i64> {
    let column = batch
        .column_by_name(name)
        .filter(|column| column.is_valid(at))?;
    match column.data_type() {
        DataType::Int64 => Some(column.as_primitive::<Int64Type>().value(at)),
        DataType::Int32 => Some(i64::from(column.as_primitive::<Int32Type>().value(at))),
        _ => None,
    }
}

fn text(batch: &RecordBatch, name: &str, at: usize) -> Option<String> {
    let column = batch
        .column_by_name(name)
        .filter(|column| column.is_valid(at))?;
    match column.data_type() {
        DataType::Utf8 => Some(column.as_string::<i32>().value(at).to_owned()),
        DataType::Dictionary(key, _) if **key == DataType::Int8 => word::<Int8Type>(column, at),
        DataType::Dictionary(key, _) if **key == DataType::Int32 => word::<Int32Type>(column, at),
        _ => None,
    }
}

fn word<K: ArrowDictionaryKeyType>(column: &dyn Array, at: usize) -> Option<String> {
    let dictionary = column.as_dictionary_opt::<K>()?;
    let key = dictionary.key(at)?;
    let words = dictionary.values().as_string_opt::<i32>()?;
    (key < words.len()).then(|| words.value(key).to_owned())
}

/// Name of the input of a row.
fn source(batch: &RecordBatch, at: usize, names: &[String]) -> Option<String> {
    text(batch, "source", at).or_else(|| {
        let number = usize::try_from(number(batch, "source", at)?).ok()?;
        names.get(number).cloned()
    })
}
