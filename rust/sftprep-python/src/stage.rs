//! Stages that decide in Python: columns of rows as arrays, decisions as arrays.

use std::sync::Mutex;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};
use serde_json::Value;
use sftprep_core::error::{Code, Error};
use sftprep_core::quality::{
    Column, Decisions, StageConfig, StageRows as Rows, WriteConfig, stage_columns as read_columns,
};

use crate::array::array;
use crate::catalog::to_json;
use crate::error::{attached, bad_argument, to_py};
use crate::shards::interruptible;

/// Rows that were read once and wait for decisions.
#[pyclass(frozen, module = "sftprep._core")]
pub(crate) struct StageRows {
    rows: Mutex<Rows>,
}

/// Reads rows; the columns come as arrays or lists.
#[pyfunction]
pub(crate) fn stage_columns<'py>(
    py: Python<'py>,
    config: &str,
) -> PyResult<(StageRows, Bound<'py, PyDict>)> {
    let (rows, table) = interruptible(py, |check| {
        read_columns(&StageConfig::from_json(config)?, check)
    })?;
    let columns = PyList::empty(py);
    for column in table.columns {
        columns.append(match column {
            Column::Numbers(numbers) => array(py, numbers)?,
            Column::Vectors { width, values } => {
                array(py, values)?.call_method1("reshape", (-1, width))?
            }
            Column::Values(values) => {
                let list = PyList::empty(py);
                for value in &values {
                    list.append(cell(py, value)?)?;
                }
                list.into_any()
            }
        })?;
    }
    let read = PyDict::new(py);
    read.set_item("names", table.names)?;
    read.set_item("paths", table.paths)?;
    read.set_item("source", array(py, table.source)?)?;
    read.set_item("line", array(py, table.line)?)?;
    read.set_item("state", array(py, table.state)?)?;
    read.set_item("columns", columns)?;
    let rows = Mutex::new(rows);
    Ok((StageRows { rows }, read))
}

fn cell<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    Ok(match value {
        Value::String(text) => text.into_pyobject(py)?.into_any(),
        Value::Number(number) => number.as_f64().into_pyobject(py)?.into_any(),
        Value::Array(items) => {
            let list = PyList::empty(py);
            for item in items {
                list.append(cell(py, item)?)?;
            }
            list.into_any()
        }
        _ => py.None().into_bound(py),
    })
}

/// Writes what decisions leave of the rows; returns the report as JSON.
#[pyfunction]
pub(crate) fn stage_write(
    py: Python<'_>,
    rows: &StageRows,
    config: &str,
    decisions: &Bound<'_, PyDict>,
) -> PyResult<String> {
    let decisions = decisions_of(decisions)?;
    interruptible(py, |check| {
        let config = WriteConfig::from_json(config)?;
        let mut rows = rows.rows.lock().map_err(|_| {
            Error::new(Code::RunInternal, "an earlier write of these rows panicked")
        })?;
        to_json(&rows.write(&config, &decisions, check)?)
    })
}

fn decisions_of(given: &Bound<'_, PyDict>) -> PyResult<Decisions> {
    let mut decisions = Decisions::default();
    for (key, value) in given {
        let key: String = key.extract()?;
        if value.is_none() {
            continue;
        }
        match key.as_str() {
            "times" => decisions.times = numbers(&key, &value, "int32", i32::from_ne_bytes)?,
            "code" => decisions.code = Some(numbers(&key, &value, "int32", i32::from_ne_bytes)?),
            "partner_row" => {
                decisions.partner_row = Some(numbers(&key, &value, "int64", i64::from_ne_bytes)?);
            }
            "score" => {
                decisions.score = Some(numbers(&key, &value, "float64", f64::from_ne_bytes)?);
            }
            "order" => decisions.order = Some(numbers(&key, &value, "int64", i64::from_ne_bytes)?),
            "part" => decisions.part = Some(numbers(&key, &value, "int8", i8::from_ne_bytes)?),
            "detail" => decisions.detail = Some(texts(&key, &value)?),
            "line" => decisions.line = Some(texts(&key, &value)?),
            _ => {
                let message = format!("there is no decision {key:?}");
                return Err(to_py(given.py(), &bad_argument("decisions", message)));
            }
        }
    }
    Ok(decisions)
}

/// The numbers of an array, or of anything that numpy makes one of without loss.
pub(crate) fn numbers<const N: usize, T>(
    key: &str,
    value: &Bound<'_, PyAny>,
    dtype: &str,
    read: impl Fn([u8; N]) -> T,
) -> PyResult<Vec<T>> {
    let py = value.py();
    let bad = |message: String| to_py(py, &bad_argument(key, message));
    let numpy = py.import("numpy")?;
    let array = numpy.call_method1("asarray", (value,))?;
    let axes: usize = array.getattr("ndim")?.extract()?;
    if axes != 1 {
        return Err(bad(format!("{key} has {axes} axes, it must have one")));
    }
    let wanted = numpy.call_method1("dtype", (dtype,))?;
    let given = array.getattr("dtype")?;
    let kind: String = given.getattr("kind")?.extract()?;
    let floats = dtype.starts_with("float");
    let allowed = if floats { "biuf" } else { "biu" };
    if array.len()? > 0 && !allowed.contains(&kind) {
        return Err(bad(format!(
            "{key} has the dtype {given}, it must be {dtype}"
        )));
    }
    let cast = array.call_method1("astype", (&wanted,))?;
    if !floats {
        let same = numpy.call_method1("array_equal", (&cast, &array))?;
        if !same.extract::<bool>()? {
            return Err(bad(format!("{key} holds numbers that do not fit {dtype}")));
        }
    }
    let bytes = cast.call_method0("tobytes")?;
    let (items, _) = bytes.cast::<PyBytes>()?.as_bytes().as_chunks::<N>();
    Ok(items.iter().map(|item| read(*item)).collect())
}

fn texts(key: &str, value: &Bound<'_, PyAny>) -> PyResult<Vec<Option<String>>> {
    let py = value.py();
    value.extract().or_else(|error: PyErr| {
        attached(py, || {
            let message = format!("{key} must be a list of str or None: {error}");
            Err(bad_argument(key, message))
        })
    })
}
