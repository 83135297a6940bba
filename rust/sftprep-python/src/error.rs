//! From the core's errors to Python's exceptions, and from panics to `run.internal`.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use sftprep_core::error::{Code, Error};

static BUILD: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// The Python exception of an error: `sftprep.errors.build` knows the class of each code.
pub(crate) fn to_py(py: Python<'_>, error: &Error) -> PyErr {
    let made = BUILD
        .get_or_try_init(py, || {
            let errors = py.import("sftprep.errors")?;
            Ok::<_, PyErr>(errors.getattr("build")?.unbind())
        })
        .and_then(|build| {
            let path = error.path.as_ref().map(|path| path.display().to_string());
            build.bind(py).call1((
                error.code.as_str(),
                &error.message,
                path,
                error.line,
                error.field.as_deref(),
                error.hint.as_deref(),
            ))
        });
    match made {
        Ok(exception) => PyErr::from_value(exception),
        Err(failure) => failure,
    }
}

/// An argument of the wrong kind.
pub(crate) fn bad_argument(field: &str, message: impl Into<String>) -> Error {
    Error::new(Code::ConfigValue, message).at_field(field)
}

/// Runs `work` without the interpreter, and turns its error or its panic into an exception.
pub(crate) fn detached<T: Send>(
    py: Python<'_>,
    work: impl FnOnce() -> Result<T, Error> + Send,
) -> PyResult<T> {
    py.detach(|| caught(work))
        .map_err(|error| to_py(py, &error))
}

/// Runs `work` with the interpreter held (it takes microseconds), and turns its error or its
/// panic into an exception.
pub(crate) fn attached<T>(py: Python<'_>, work: impl FnOnce() -> Result<T, Error>) -> PyResult<T> {
    caught(work).map_err(|error| to_py(py, &error))
}

fn caught<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    // Unwind safety: what a panicking call was working on is dropped or reset by its owner; the
    // error says that it is a bug either way.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| Err(of_panic(&*payload)))
}

fn of_panic(payload: &(dyn Any + Send)) -> Error {
    let text = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned());
    Error::new(Code::RunInternal, format!("the core panicked: {text}"))
        .hint("please report it with the command and this message")
}
