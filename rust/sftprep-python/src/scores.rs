//! Score files: columns in, a file out, and back.

use std::collections::BTreeMap;
use std::path::PathBuf;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyTuple};
use sftprep_core::quality::{ScoreColumn, ScoreValues, read_scores as read, write_scores as write};

use crate::array::array;
use crate::error::{bad_argument, detached, to_py};

type Metadata = BTreeMap<String, String>;
/// Name, kind, what it is, values.
type Given<'py> = (String, String, Metadata, Bound<'py, PyAny>);

/// Writes a score file.
#[pyfunction]
pub(crate) fn write_scores(
    py: Python<'_>,
    path: PathBuf,
    metadata: Metadata,
    columns: Vec<Given<'_>>,
) -> PyResult<()> {
    let columns = columns
        .into_iter()
        .map(|(name, kind, metadata, values)| {
            let values = values_of(&name, &kind, &values)?;
            Ok(ScoreColumn {
                name,
                metadata,
                values,
            })
        })
        .collect::<PyResult<Vec<_>>>()?;
    detached(py, || write(&path, &metadata, &columns))
}

/// The values of a column: little-endian bytes of numbers, lists of anything else.
fn values_of(name: &str, kind: &str, values: &Bound<'_, PyAny>) -> PyResult<ScoreValues> {
    Ok(match kind {
        "int64" => ScoreValues::Int64(numbers(values, i64::from_le_bytes)?),
        "float64" => ScoreValues::Float64(numbers(values, f64::from_le_bytes)?),
        "bool" => ScoreValues::Bool(values.extract()?),
        "utf8" => ScoreValues::Utf8(values.extract()?),
        "name" => ScoreValues::Name(values.extract()?),
        _ => {
            let width = kind.strip_prefix("vector:").and_then(|it| it.parse().ok());
            let Some(width) = width.filter(|width| *width > 0) else {
                let message = format!("column {name} is of the unknown kind {kind:?}");
                return Err(to_py(values.py(), &bad_argument("columns", message)));
            };
            let values = numbers(values, f32::from_le_bytes)?;
            ScoreValues::Vectors { width, values }
        }
    })
}

fn numbers<T, const N: usize>(
    values: &Bound<'_, PyAny>,
    number: impl Fn([u8; N]) -> T,
) -> PyResult<Vec<T>> {
    let bytes = values.cast::<PyBytes>()?.as_bytes();
    let (items, rest) = bytes.as_chunks::<N>();
    if !rest.is_empty() {
        let message = format!("{} bytes are no numbers of {N} bytes", bytes.len());
        return Err(to_py(values.py(), &bad_argument("columns", message)));
    }
    Ok(items.iter().copied().map(number).collect())
}

/// The metadata and the columns of a score file.
#[pyfunction]
pub(crate) fn read_scores(
    py: Python<'_>,
    path: PathBuf,
) -> PyResult<(Metadata, Bound<'_, PyList>)> {
    let (metadata, columns) = detached(py, || read(&path))?;
    let list = PyList::empty(py);
    for column in columns {
        let (kind, values) = match column.values {
            ScoreValues::Int64(values) => ("int64".to_owned(), array(py, values)?),
            ScoreValues::Float64(values) => ("float64".to_owned(), array(py, values)?),
            ScoreValues::Bool(values) => ("bool".to_owned(), PyList::new(py, values)?.into_any()),
            ScoreValues::Utf8(values) => ("utf8".to_owned(), PyList::new(py, values)?.into_any()),
            ScoreValues::Name(values) => ("name".to_owned(), PyList::new(py, values)?.into_any()),
            ScoreValues::Vectors { width, values } => {
                let rows = values.len() / width.max(1);
                let flat = array(py, values)?;
                let shaped = flat.call_method1("reshape", ((rows, width),))?;
                (format!("vector:{width}"), shaped)
            }
        };
        let (name, metadata) = (column.name, column.metadata);
        list.append(PyTuple::new(
            py,
            [
                name.into_pyobject(py)?.into_any(),
                kind.into_pyobject(py)?.into_any(),
                metadata.into_pyobject(py)?.into_any(),
                values,
            ],
        )?)?;
    }
    Ok((metadata, list))
}
