//! Score files: columns that say something about rows, as an Arrow IPC file.
//!
//! What a column means stands in the metadata of its field, the inputs in that of the file. A row
//! without a value has null there; a number is never NaN.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::{FixedSizeListBuilder, Float32Builder};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, Int32Type, Int64Type};
use arrow_array::{
    Array, ArrayRef, BooleanArray, DictionaryArray, Float64Array, Int64Array, RecordBatch,
    StringArray,
};
use arrow_ipc::reader::FileReader;
use arrow_ipc::writer::FileWriter;
use arrow_schema::{ArrowError, DataType, Field, Schema};

use crate::error::{Code, Error, Result};

/// Rows of a record batch.
const BATCH_ROWS: usize = 1 << 16;

/// The values of a column.
#[derive(Debug, Clone, PartialEq)]
pub enum ScoreValues {
    /// Whole numbers, none missing.
    Int64(Vec<i64>),
    /// Numbers; NaN where there is none.
    Float64(Vec<f64>),
    /// Flags.
    Bool(Vec<Option<bool>>),
    /// Texts.
    Utf8(Vec<Option<String>>),
    /// Texts of which there are few, each stored once.
    Name(Vec<Option<String>>),
    /// Vectors of one width, end to end; NaN first where there is none.
    Vectors {
        /// Numbers of a vector.
        width: usize,
        /// All numbers.
        values: Vec<f32>,
    },
}

/// A column of a score file.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreColumn {
    /// Its name.
    pub name: String,
    /// What it is: definition, options, hashes.
    pub metadata: BTreeMap<String, String>,
    /// One per row.
    pub values: ScoreValues,
}

impl ScoreValues {
    fn array(&self) -> std::result::Result<ArrayRef, ArrowError> {
        let number = |value: &f64| (!value.is_nan()).then_some(*value);
        Ok(match self {
            Self::Int64(values) => Arc::new(Int64Array::from(values.clone())),
            Self::Float64(values) => Arc::new(values.iter().map(number).collect::<Float64Array>()),
            Self::Bool(values) => Arc::new(BooleanArray::from(values.clone())),
            Self::Utf8(values) => Arc::new(StringArray::from_iter(values)),
            Self::Name(values) => {
                let texts = values.iter().map(Option::as_deref);
                Arc::new(texts.collect::<DictionaryArray<Int32Type>>())
            }
            Self::Vectors { width, values } => {
                let size = i32::try_from(*width)
                    .map_err(|error| ArrowError::InvalidArgumentError(error.to_string()))?;
                let mut vectors = FixedSizeListBuilder::new(Float32Builder::new(), size);
                for vector in values.chunks((*width).max(1)) {
                    let there = !vector.first().is_some_and(|value| value.is_nan());
                    vectors.values().append_slice(vector);
                    vectors.append(there);
                }
                Arc::new(vectors.finish())
            }
        })
    }
}

/// Writes columns of one length, beside the final name first; an existing file is replaced.
///
/// # Errors
/// `output.io`; `run.internal` if the columns differ in length.
pub fn write_scores(
    path: &Path,
    metadata: &BTreeMap<String, String>,
    columns: &[ScoreColumn],
) -> Result<()> {
    let failed = |error: ArrowError| Error::new(Code::OutputIo, error.to_string()).at_path(path);
    let refused = |error: &std::io::Error| Error::io(Code::OutputIo, path, error);
    let mut fields = Vec::new();
    let mut arrays = Vec::new();
    for column in columns {
        let array = column.values.array().map_err(failed)?;
        let field = Field::new(&column.name, array.data_type().clone(), true);
        fields.push(field.with_metadata(hash_map(&column.metadata)));
        arrays.push(array);
    }
    let schema = Schema::new(fields).with_metadata(hash_map(metadata));
    let all = RecordBatch::try_new(Arc::new(schema), arrays)
        .map_err(|error| Error::new(Code::RunInternal, error.to_string()).at_path(path))?;
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let part = tempfile::Builder::new()
        .prefix(".scores-")
        .tempfile_in(folder)
        .map_err(|error| refused(&error))?;
    let mut writer =
        FileWriter::try_new(BufWriter::new(part.as_file()), &all.schema()).map_err(failed)?;
    for first in (0..all.num_rows()).step_by(BATCH_ROWS) {
        let rows = BATCH_ROWS.min(all.num_rows() - first);
        writer.write(&all.slice(first, rows)).map_err(failed)?;
    }
    writer.finish().map_err(failed)?;
    let mut buffer = writer.into_inner().map_err(failed)?;
    buffer.flush().map_err(|error| refused(&error))?;
    drop(buffer);
    readable(part.as_file()).map_err(|error| refused(&error))?;
    part.as_file().sync_all().map_err(|error| refused(&error))?;
    part.persist(path).map_err(|error| refused(&error.error))?;
    Ok(())
}

/// Temporary files are for their owner alone; a score file is like any other.
#[cfg(unix)]
fn readable(file: &File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
#[allow(clippy::unnecessary_wraps)] // as above
fn readable(_file: &File) -> std::io::Result<()> {
    Ok(())
}

/// The metadata and the columns of a score file; columns of other types are left out.
///
/// # Errors
/// `source.missing`, `source.corrupt`.
pub fn read_scores(path: &Path) -> Result<(BTreeMap<String, String>, Vec<ScoreColumn>)> {
    let damaged = |error: ArrowError| {
        Error::new(Code::SourceCorrupt, error.to_string())
            .at_path(path)
            .hint("run `sftprep score` again; it writes the file anew")
    };
    let file = File::open(path).map_err(|error| {
        Error::io(Code::SourceMissing, path, &error).hint("give the output of `sftprep score`")
    })?;
    let reader = FileReader::try_new(file, None).map_err(damaged)?;
    let schema = reader.schema();
    let mut columns: Vec<Option<ScoreColumn>> = schema
        .fields()
        .iter()
        .map(|field| {
            Some(ScoreColumn {
                name: field.name().clone(),
                metadata: field.metadata().clone().into_iter().collect(),
                values: empty(field.data_type())?,
            })
        })
        .collect();
    for batch in reader {
        let batch = batch.map_err(damaged)?;
        for (column, array) in columns.iter_mut().zip(batch.columns()) {
            if let Some(column) = column {
                append(&mut column.values, array);
            }
        }
    }
    let metadata = schema.metadata().clone().into_iter().collect();
    Ok((metadata, columns.into_iter().flatten().collect()))
}

fn empty(kind: &DataType) -> Option<ScoreValues> {
    Some(match kind {
        DataType::Int64 => ScoreValues::Int64(Vec::new()),
        DataType::Float64 => ScoreValues::Float64(Vec::new()),
        DataType::Boolean => ScoreValues::Bool(Vec::new()),
        DataType::Utf8 => ScoreValues::Utf8(Vec::new()),
        DataType::Dictionary(key, value)
            if **key == DataType::Int32 && **value == DataType::Utf8 =>
        {
            ScoreValues::Name(Vec::new())
        }
        DataType::FixedSizeList(item, width) if *item.data_type() == DataType::Float32 => {
            ScoreValues::Vectors {
                width: usize::try_from(*width).ok()?,
                values: Vec::new(),
            }
        }
        _ => return None,
    })
}

fn append(values: &mut ScoreValues, array: &ArrayRef) {
    match values {
        ScoreValues::Int64(into) => {
            let column = array.as_primitive::<Int64Type>();
            into.extend(column.iter().map(Option::unwrap_or_default));
        }
        ScoreValues::Float64(into) => {
            let column = array.as_primitive::<Float64Type>();
            into.extend(column.iter().map(|value| value.unwrap_or(f64::NAN)));
        }
        ScoreValues::Bool(into) => into.extend(array.as_boolean().iter()),
        ScoreValues::Utf8(into) => {
            let column = array.as_string::<i32>();
            into.extend(column.iter().map(|text| text.map(str::to_owned)));
        }
        ScoreValues::Name(into) => {
            let column = array.as_dictionary::<Int32Type>();
            let words = column.values().as_string::<i32>();
            let text = |key: i32| {
                let at = usize::try_from(key).ok().filter(|at| *at < words.len())?;
                Some(words.value(at).to_owned())
            };
            into.extend(column.keys().iter().map(|key| key.and_then(text)));
        }
        ScoreValues::Vectors { width, values } => {
            let column = array.as_fixed_size_list();
            for at in 0..column.len() {
                if column.is_valid(at) {
                    let vector = column.value(at);
                    values.extend(vector.as_primitive::<Float32Type>().values().iter());
                } else {
                    values.extend(std::iter::repeat_n(f32::NAN, *width));
                }
            }
        }
    }
}

fn hash_map(pairs: &BTreeMap<String, String>) -> HashMap<String, String> {
    pairs.clone().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.scores.arrow");
        let column = |name: &str, values| ScoreColumn {
            name: name.to_owned(),
            metadata: BTreeMap::from([("sftprep.definition".to_owned(), name.to_owned())]),
            values,
        };
        let names = vec![Some("x".to_owned()), None, Some("x".to_owned())];
        let columns = vec![
            column("row", ScoreValues::Int64(vec![1, 2, 3])),
            column("source", ScoreValues::Name(names.clone())),
            column("reason", ScoreValues::Utf8(names)),
            column(
                "flag",
                ScoreValues::Bool(vec![Some(true), None, Some(false)]),
            ),
            column("score", ScoreValues::Float64(vec![0.5, 1.0, -2.0])),
            column(
                "vector",
                ScoreValues::Vectors {
                    width: 2,
                    values: vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
                },
            ),
        ];
        let metadata = BTreeMap::from([("sftprep.version".to_owned(), "0".to_owned())]);
        write_scores(&path, &metadata, &columns).unwrap();
        assert_eq!(read_scores(&path).unwrap(), (metadata, columns));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn nan_is_null() {
        let array = ScoreValues::Float64(vec![f64::NAN, 1.0]).array().unwrap();
        assert!(array.is_null(0) && array.is_valid(1));
        let values = vec![f32::NAN, 0.0, 1.0, 2.0];
        let array = ScoreValues::Vectors { width: 2, values }.array().unwrap();
        assert!(array.is_null(0) && array.is_valid(1));
    }

    #[test]
    fn columns_of_different_length_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let column = |values: Vec<i64>| ScoreColumn {
            name: "row".to_owned(),
            metadata: BTreeMap::new(),
            values: ScoreValues::Int64(values),
        };
        let path = folder.path().join("a.scores.arrow");
        let done = write_scores(&path, &BTreeMap::new(), &[column(vec![1]), column(vec![])]);
        assert_eq!(done.unwrap_err().code, Code::RunInternal);
        assert!(!path.exists());
    }

    #[test]
    fn cut_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.scores.arrow");
        let values = ScoreValues::Float64((0..100).map(f64::from).collect());
        let column = ScoreColumn {
            name: "score".to_owned(),
            metadata: BTreeMap::new(),
            values,
        };
        write_scores(&path, &BTreeMap::new(), &[column]).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        for length in (0..bytes.len()).step_by(37) {
            std::fs::write(&path, &bytes[..length]).unwrap();
            assert_eq!(read_scores(&path).unwrap_err().code, Code::SourceCorrupt);
        }
    }
}
