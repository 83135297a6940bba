//! Python values to the template's [`Data`].

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyMapping, PyString, PyTuple};
use sftprep_core::error::{Code, Error};
use sftprep_template::{Data, Map};

use crate::error::{bad_argument, to_py};

/// Deepest nesting of a row, as for rows that are read from files.
const MAX_DEPTH: usize = 128;

/// A JSON-like Python value as [`Data`]; `field` names it in errors.
pub(crate) fn to_data(value: &Bound<'_, PyAny>, field: &str) -> PyResult<Data> {
    convert(value, &mut Path::new(field))
}

/// A mapping as [`Map`].
pub(crate) fn to_map(value: &Bound<'_, PyAny>, field: &str) -> PyResult<Map> {
    match to_data(value, field)? {
        Data::Map(map) => Ok(map),
        other => Err(wrong(value.py(), field, "a mapping", other.type_name())),
    }
}

/// A list (or tuple) of values, or `None`.
pub(crate) fn to_list(value: &Bound<'_, PyAny>, field: &str) -> PyResult<Option<Vec<Data>>> {
    match to_data(value, field)? {
        Data::Null => Ok(None),
        Data::List(items) => Ok(Some(items)),
        other => Err(wrong(value.py(), field, "a list", other.type_name())),
    }
}

fn wrong(py: Python<'_>, field: &str, want: &str, seen: &str) -> PyErr {
    let message = format!("{field} is of type {seen}, it must be {want}");
    to_py(py, &bad_argument(field, message))
}

/// Where a value stands in its argument, kept as text only when an error needs it.
struct Path<'a> {
    root: &'a str,
    steps: Vec<Step>,
}

enum Step {
    Key(Arc<str>),
    Index(usize),
}

impl<'a> Path<'a> {
    fn new(root: &'a str) -> Self {
        Self {
            root,
            steps: Vec::new(),
        }
    }

    fn text(&self) -> String {
        let mut text = self.root.to_owned();
        for step in &self.steps {
            match step {
                Step::Key(key) => {
                    text.push('.');
                    text.push_str(key);
                }
                Step::Index(index) => text.extend(["[", &index.to_string(), "]"]),
            }
        }
        text
    }
}

fn convert(value: &Bound<'_, PyAny>, path: &mut Path<'_>) -> PyResult<Data> {
    if value.is_none() {
        return Ok(Data::Null);
    }
    if let Ok(text) = value.cast::<PyString>() {
        return Ok(Data::Str(string(text, path)?));
    }
    if let Ok(flag) = value.cast::<PyBool>() {
        return Ok(Data::Bool(flag.is_true()));
    }
    if let Ok(number) = value.cast::<PyInt>() {
        return integer(number);
    }
    if let Ok(number) = value.cast::<PyFloat>() {
        return Ok(Data::Float(number.value()));
    }
    if path.steps.len() >= MAX_DEPTH {
        let message = format!("nested deeper than {MAX_DEPTH} levels");
        let error = Error::new(Code::RowDepth, message).at_field(path.root);
        return Err(to_py(value.py(), &error));
    }
    if let Ok(map) = value.cast::<PyDict>() {
        return entries(map.iter(), map.len(), path);
    }
    if let Ok(items) = value.cast::<PyList>() {
        return list(items.iter(), path);
    }
    if let Ok(items) = value.cast::<PyTuple>() {
        return list(items.iter(), path);
    }
    if let Ok(map) = value.cast::<PyMapping>() {
        let items = map.items()?;
        let len = items.len();
        let pairs = items
            .iter()
            .map(|pair| pair.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>())
            .collect::<PyResult<Vec<_>>>()?;
        return entries(pairs.into_iter(), len, path);
    }
    // Scalars of numpy and the like: what says it is an integer or a float is taken at its word.
    if let Ok(number) = value.call_method0("__index__") {
        return integer(&number.cast_into::<PyInt>()?);
    }
    if let Ok(number) = value.extract::<f64>() {
        return Ok(Data::Float(number));
    }
    let seen = value.get_type().fully_qualified_name()?.to_string();
    let message = format!("{} is of type {seen}, which is not JSON", path.text());
    Err(to_py(value.py(), &bad_argument(&path.text(), message)))
}

fn string(text: &Bound<'_, PyString>, path: &Path<'_>) -> PyResult<Arc<str>> {
    text.to_str().map(Arc::from).map_err(|_| {
        let message = format!("{} holds a lone surrogate, which has no UTF-8", path.text());
        let error = Error::new(Code::RowEncoding, message).at_field(path.text());
        to_py(text.py(), &error)
    })
}

fn integer(number: &Bound<'_, PyInt>) -> PyResult<Data> {
    if let Ok(small) = number.extract::<i64>() {
        return Ok(Data::Int(small));
    }
    // `int.__repr__`, because an enum's own `__str__` need not print digits.
    let digits = number
        .py()
        .get_type::<PyInt>()
        .call_method1("__repr__", (number,))?;
    Ok(Data::BigInt(Arc::from(
        digits.cast::<PyString>()?.to_str()?,
    )))
}

fn list<'py>(
    items: impl Iterator<Item = Bound<'py, PyAny>>,
    path: &mut Path<'_>,
) -> PyResult<Data> {
    let mut out = Vec::new();
    for (index, item) in items.enumerate() {
        path.steps.push(Step::Index(index));
        out.push(convert(&item, path)?);
        path.steps.pop();
    }
    Ok(Data::List(out))
}

fn entries<'py>(
    items: impl Iterator<Item = (Bound<'py, PyAny>, Bound<'py, PyAny>)>,
    len: usize,
    path: &mut Path<'_>,
) -> PyResult<Data> {
    let mut out = Map::with_capacity(len);
    for (key, value) in items {
        let Ok(name) = key.cast::<PyString>() else {
            let seen = key.repr()?.to_string();
            let message = format!("{} has the key {seen}, keys must be strings", path.text());
            return Err(to_py(key.py(), &bad_argument(&path.text(), message)));
        };
        let name = string(name, path)?;
        path.steps.push(Step::Key(name.clone()));
        let value = convert(&value, path)?;
        path.steps.pop();
        out.insert(name, value);
    }
    Ok(Data::Map(out))
}
