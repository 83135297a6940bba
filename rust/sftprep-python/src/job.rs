//! `PackJob`: a run on threads of its own, polled from Python.

use std::sync::Mutex;
use std::time::Duration;

use pyo3::prelude::*;
use sftprep_core::config::PackConfig;
use sftprep_core::error::{Code, Error};
use sftprep_core::pipeline;

use crate::catalog::to_json;
use crate::error::detached;

/// How long a wait holds the lock.
const STEP: Duration = Duration::from_millis(50);

/// A run. The lock is held for a poll at most, and never while Python runs.
#[pyclass(frozen, module = "sftprep")]
pub(crate) struct PackJob {
    inner: Mutex<pipeline::PackJob>,
}

#[pymethods]
impl PackJob {
    #[new]
    fn new(py: Python<'_>, json: &str) -> PyResult<Self> {
        detached(py, || {
            let job = pipeline::PackJob::start(PackConfig::from_json(json)?)?;
            Ok(Self {
                inner: Mutex::new(job),
            })
        })
    }

    /// Waits until the run is done, at most `seconds`; returns a snapshot as JSON.
    fn poll(&self, py: Python<'_>, seconds: f64) -> PyResult<String> {
        detached(py, || {
            let timeout = Duration::try_from_secs_f64(seconds).unwrap_or_default();
            let (done, progress) = self.lock()?.poll(timeout);
            let mut snapshot = serde_json::to_value(progress).unwrap_or_default();
            snapshot["done"] = done.into();
            to_json(&snapshot)
        })
    }

    /// Asks the run to stop.
    fn cancel(&self, py: Python<'_>) -> PyResult<()> {
        detached(py, || {
            self.lock()?.cancel();
            Ok(())
        })
    }

    /// Waits for the end; returns the report as JSON.
    fn wait(&self, py: Python<'_>) -> PyResult<String> {
        detached(py, || {
            // In steps, so that another thread can cancel meanwhile.
            while !self.lock()?.poll(STEP).0 {}
            to_json(&self.lock()?.wait()?)
        })
    }
}

impl PackJob {
    fn lock(&self) -> Result<std::sync::MutexGuard<'_, pipeline::PackJob>, Error> {
        let panicked = |_| Error::new(Code::RunInternal, "an earlier call of this job panicked");
        self.inner.lock().map_err(panicked)
    }
}
