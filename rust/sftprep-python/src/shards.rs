//! Finished datasets: their manifest, and whether their bytes are what it promises.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use serde_json::json;
use sftprep_core::error::{Code, Error};
use sftprep_core::shard::{Manifest, Mode, verify as verify_dataset};
use sftprep_core::types::SpanKind;

use crate::catalog::to_json;
use crate::error::detached;

/// Names of the span kinds, by number.
#[pyfunction]
pub(crate) fn span_kinds() -> Vec<&'static str> {
    SpanKind::ALL.iter().map(|kind| kind.name()).collect()
}

/// Names of the places at which a test can end a run.
#[pyfunction]
pub(crate) fn kill_points() -> Vec<&'static str> {
    sftprep_core::faults::POINTS.to_vec()
}

/// The checked manifest of a dataset as JSON.
#[pyfunction]
pub(crate) fn read_manifest(py: Python<'_>, path: PathBuf) -> PyResult<String> {
    detached(py, || {
        let bytes = Manifest::read(&path)?.to_bytes();
        String::from_utf8(bytes).map_err(|error| Error::new(Code::RunInternal, error.to_string()))
    })
}

/// Checks a dataset against its manifest; returns what was found as JSON.
#[pyfunction]
#[pyo3(signature = (path, *, full = true))]
pub(crate) fn verify(py: Python<'_>, path: PathBuf, full: bool) -> PyResult<String> {
    let mode = if full { Mode::Full } else { Mode::Fast };
    interruptible(py, |check| {
        let report = verify_dataset(&path, mode, check)?;
        let findings: Vec<_> = report
            .findings
            .iter()
            .map(|finding| json!({"file": finding.file, "what": finding.what}))
            .collect();
        to_json(&json!({
            "ok": report.is_ok(),
            "files": report.files,
            "rows_checked": report.rows_checked,
            "bytes_hashed": report.bytes_hashed,
            "findings": findings,
        }))
    })
}

/// Runs `work` without the interpreter, with a function that it calls now and then and that fails
/// once a signal has arrived.
pub(crate) fn interruptible<T: Send>(
    py: Python<'_>,
    work: impl FnOnce(&dyn Fn() -> Result<(), Error>) -> Result<T, Error> + Send,
) -> PyResult<T> {
    // The one place that asks Python from inside a long call: there is no job to poll, and the
    // asking thread is the caller's own.
    let interrupt = Mutex::new(None);
    let done = detached(py, || {
        #[allow(clippy::redundant_closure_for_method_calls)]
        // the method alone is not general enough
        let signals = || Python::attach(|py| py.check_signals());
        let check = || match signals() {
            Ok(()) => Ok(()),
            Err(error) => {
                *interrupt.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                Err(Error::new(Code::RunCancelled, "the check was interrupted"))
            }
        };
        work(&check)
    });
    match interrupt
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
    {
        Some(error) => Err(error),
        None => done,
    }
}
