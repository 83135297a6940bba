//! What a template can be trusted with, and whether the masks of a dataset are right.

use std::path::PathBuf;

use pyo3::prelude::*;
use sftprep_core::audit::audit as audit_dataset;
use sftprep_core::config::PackConfig;
use sftprep_core::error::{Code, Error};
use sftprep_core::pipeline::check_template as certify;

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
