//! What the core knows about itself: its error codes and its default configuration.

use pyo3::prelude::*;
use sftprep_core::config::PackConfig;
use sftprep_core::error::{Code, Error};

use crate::error::{attached, bad_argument, detached};

/// Every error code: name, exit code, cause, example, fix.
#[pyfunction]
pub(crate) fn codes() -> Vec<(&'static str, u8, &'static str, &'static str, &'static str)> {
    let page = |code: &Code| {
        let page = code.page();
        (
            code.as_str(),
            code.exit_code(),
            page.cause,
            page.example,
            page.fix,
        )
    };
    Code::ALL.iter().map(page).collect()
}

/// The default configuration as JSON.
#[pyfunction]
pub(crate) fn default_config(py: Python<'_>) -> PyResult<String> {
    attached(py, || to_json(&PackConfig::default()))
}

/// Validates a configuration and returns it resolved, as JSON.
#[pyfunction]
pub(crate) fn check_config(py: Python<'_>, json: &str) -> PyResult<String> {
    attached(py, || to_json(&PackConfig::from_json(json)?))
}

/// Raises the error of a code through the same path as every other error; `panic` panics. Only
/// tests call it.
#[pyfunction]
#[pyo3(name = "_provoke")]
pub(crate) fn provoke(py: Python<'_>, code: &str) -> PyResult<()> {
    detached(py, || {
        assert!(code != "panic", "provoked");
        let code = Code::from_name(code)
            .ok_or_else(|| bad_argument("code", format!("there is no code {code:?}")))?;
        Err(Error::new(code, "provoked")
            .at_path("data/chat.jsonl")
            .at_line(7)
            .at_field("messages[2].role")
            .hint("do nothing"))
    })
}

pub(crate) fn to_json(value: &impl serde::Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| {
        Error::new(
            Code::RunInternal,
            format!("a value does not serialize: {error}"),
        )
    })
}
