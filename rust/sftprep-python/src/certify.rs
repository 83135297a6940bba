//! What a template can be trusted with, whether the masks of a dataset are right, and where one of
//! its tokens came from.

use std::path::PathBuf;

use pyo3::prelude::*;
use sftprep_core::audit::{audit as audit_dataset, parity as audit_parity};
use sftprep_core::config::PackConfig;
use sftprep_core::error::{Code, Error};
use sftprep_core::explain::{Explanation, explain as explain_token, explain_with};
use sftprep_core::pipeline::check_template as certify;
use sftprep_core::replay::Replay;
use sftprep_core::shard::ShardReader;

use crate::catalog::to_json;
use crate::error::detached;
use crate::shards::interruptible;

/// Tries a template on hard conversation shapes; returns the certificate as JSON.
#[pyfunction]
#[pyo3(signature = (template, config))]
pub(crate) fn check_template(py: Python<'_>, template: &str, config: &str) -> PyResult<String> {
    detached(py, || {
        let certificate = certify(template, &PackConfig::from_json(config)?)?;
        let mut value = serde_json::to_value(&certificate)
            .map_err(|error| Error::new(Code::RunInternal, error.to_string()))?;
        value["blake3"] = certificate.blake3().into();
        to_json(&value)
    })
}

/// Audits the masks of a dataset; returns what was found as JSON.
#[pyfunction]
pub(crate) fn audit(py: Python<'_>, path: PathBuf) -> PyResult<String> {
    interruptible(py, |check| to_json(&audit_dataset(&path, check)?))
}

/// Explains tokens of one packed row of a dataset; returns a list as JSON.
#[pyfunction]
#[pyo3(signature = (path, row, position = None, inputs = None))]
pub(crate) fn explain(
    py: Python<'_>,
    path: PathBuf,
    row: u64,
    position: Option<u64>,
    inputs: Option<Vec<String>>,
) -> PyResult<String> {
    let inputs = inputs.unwrap_or_default();
    interruptible(py, |check| {
        if let Some(position) = position {
            return to_json(&[explain_token(&path, row, position, &inputs)?]);
        }
        let reader = ShardReader::open(&path)?;
        let replay = Replay::open(&path, reader.manifest(), &inputs)?;
        let tokens = reader.row(row)?.input_ids.len() as u64;
        let each = |position| {
            check()?;
            explain_with(&reader, &replay, row, position)
        };
        let all: Vec<Explanation> = (0..tokens).map(each).collect::<Result<_, Error>>()?;
        to_json(&all)
    })
}

/// Holds the ids before every trained turn against those of its prompt; returns what was found as
/// JSON.
#[pyfunction]
#[pyo3(signature = (path, inputs = None))]
pub(crate) fn parity(
    py: Python<'_>,
    path: PathBuf,
    inputs: Option<Vec<String>>,
) -> PyResult<String> {
    let inputs = inputs.unwrap_or_default();
    interruptible(py, |check| to_json(&audit_parity(&path, &inputs, check)?))
}
