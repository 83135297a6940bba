//! Stages that decide which rows go on: options and report as JSON.

use pyo3::prelude::*;
use sftprep_core::quality::{
    DecontaminateConfig, DedupConfig, decontaminate as decontaminate_rows, dedup as dedup_rows,
};

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
