//! A look at rows, and stages that decide which rows go on: options and report as JSON.

use pyo3::prelude::*;
use sftprep_core::quality::{
    CheckConfig, CleanConfig, CompareConfig, DecontaminateConfig, DedupConfig, GroupsConfig,
    TrailConfig, TreesConfig, Wanted, check as check_rows, clean as clean_rows, compare,
    decontaminate as decontaminate_rows, dedup as dedup_rows, divide, garbled_texts as garbled,
    groups, ledger_row as row_of_ledger, trail, trees as put_together,
};

use std::path::PathBuf;

use sftprep_core::error::{Code, Error};

use crate::array;
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

/// Takes out, flags or drops what rows show by themselves; returns the report as JSON.
#[pyfunction]
pub(crate) fn clean(py: Python<'_>, config: &str) -> PyResult<String> {
    interruptible(py, |check| {
        to_json(&clean_rows(&CleanConfig::from_json(config)?, check)?)
    })
}

/// The different garbled texts of rows.
#[pyfunction]
pub(crate) fn garbled_texts(py: Python<'_>, config: &str) -> PyResult<Vec<String>> {
    interruptible(py, |check| garbled(&CleanConfig::from_json(config)?, check))
}

/// For every row the index of the first row of its group.
#[pyfunction]
pub(crate) fn similar_groups(py: Python<'_>, config: &str) -> PyResult<Py<PyAny>> {
    let found = interruptible(py, |check| groups(&GroupsConfig::from_json(config)?, check))?;
    Ok(array::array(py, found)?.unbind())
}

/// Makes one ledger of those of stages that follow each other; returns the report as JSON.
#[pyfunction]
pub(crate) fn combine_ledgers(py: Python<'_>, config: &str) -> PyResult<String> {
    interruptible(py, |_| to_json(&trail(&TrailConfig::from_json(config)?)?))
}

/// Divides the output of a stage by its inputs; returns names and files.
#[pyfunction]
pub(crate) fn divide_output(
    py: Python<'_>,
    out: PathBuf,
    folder: PathBuf,
) -> PyResult<Vec<(String, PathBuf)>> {
    interruptible(py, |_| divide(&out, &folder))
}

/// Compares the rows of two runs; returns the report as JSON.
#[pyfunction]
pub(crate) fn compare_ledgers(py: Python<'_>, config: &str) -> PyResult<String> {
    interruptible(py, |_| {
        to_json(&compare(&CompareConfig::from_json(config)?)?)
    })
}

/// Puts messages together to trees; returns the report as JSON.
#[pyfunction]
pub(crate) fn trees(py: Python<'_>, config: &str) -> PyResult<String> {
    interruptible(py, |check| {
        to_json(&put_together(&TreesConfig::from_json(config)?, check)?)
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
