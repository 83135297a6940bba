//! A look at rows, and stages that decide which rows go on: options and report as JSON.

use pyo3::prelude::*;
use sftprep_core::quality::{
    CheckConfig, DecontaminateConfig, DedupConfig, Wanted, check as check_rows,
    decontaminate as decontaminate_rows, dedup as dedup_rows, ledger_row as row_of_ledger,
};

use std::path::PathBuf;

use sftprep_core::error::{Code, Error};

use crate::catalog::to_json;
use crate::shards::interruptible;

/// Leaves out duplicates; returns the report as JSON.
#[pyfunction]
pub(crate) fn dedup(py: Python<'_>, config: &str) -> PyResult<String> {
    interruptible(py, |check| {
        to_json(&dedup_rows(&DedupConfig::from_json(config)?, check)?)
    })
}

/// Leaves out rows that contain test items; returns the report as JSON.
#[pyfunction]
pub(crate) fn decontaminate(py: Python<'_>, config: &str) -> PyResult<String> {
    interruptible(py, |check| {
        let config = DecontaminateConfig::from_json(config)?;
        to_json(&decontaminate_rows(&config, check)?)
    })
}

/// Looks at rows in six dimensions; returns the report as JSON.
#[pyfunction]
pub(crate) fn check(py: Python<'_>, config: &str) -> PyResult<String> {
    interruptible(py, |check| {
        to_json(&check_rows(&CheckConfig::from_json(config)?, check)?)
    })
}

/// One line of a ledger as JSON; which one is given as JSON.
#[pyfunction]
pub(crate) fn ledger_row(
    py: Python<'_>,
    path: PathBuf,
    wanted: &str,
    names: Vec<String>,
) -> PyResult<String> {
    interruptible(py, |_| {
        let wanted: Wanted = serde_json::from_str(wanted)
            .map_err(|error| Error::new(Code::ConfigUnknown, error.to_string()))?;
        to_json(&row_of_ledger(&path, &wanted, &names)?)
    })
}
