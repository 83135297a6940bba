//! `PackJob`: a run on threads of its own, polled from Python.

use std::sync::Mutex;
use std::time::Duration;

use pyo3::prelude::*;
use sftprep_core::config::PackConfig;
use sftprep_core::error::{Code, Error};
use sftprep_core::pipeline::{self, Mix, Phase, Repack, Share};

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
    #[pyo3(signature = (json, phase = "all", index = 0, of = 1))]
    fn new(py: Python<'_>, json: &str, phase: &str, index: usize, of: usize) -> PyResult<Self> {
        detached(py, || {
            let phase = phase_of(phase, Share { index, of })?;
            let config = match phase {
                Phase::All | Phase::Map(_) => PackConfig::from_json(json)?,
                // the run's own options are in its folder; these only say where that is
                Phase::Plan | Phase::Write(_) | Phase::Commit => PackConfig::unchecked(json)?,
            };
            let job = pipeline::PackJob::start(config, phase)?;
            Ok(Self {
                inner: Mutex::new(job),
            })
        })
    }

    /// Starts to pack a finished dataset again; the options are a JSON object.
    #[staticmethod]
    fn repack(py: Python<'_>, json: &str) -> PyResult<Self> {
        detached(py, || {
            let options: Repack = serde_json::from_str(json)
                .map_err(|error| Error::new(Code::ConfigValue, error.to_string()))?;
            let job = pipeline::PackJob::repack(options)?;
            Ok(Self {
                inner: Mutex::new(job),
            })
        })
    }

    /// Starts to mix finished datasets; the options are a JSON object.
    #[staticmethod]
    fn mix(py: Python<'_>, json: &str) -> PyResult<Self> {
        detached(py, || {
            let options: Mix = serde_json::from_str(json)
                .map_err(|error| Error::new(Code::ConfigValue, error.to_string()))?;
            let job = pipeline::PackJob::mix(options)?;
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

fn phase_of(name: &str, share: Share) -> Result<Phase, Error> {
    if share.index >= share.of {
        let message = format!("there is no part {} of {}", share.index + 1, share.of);
        return Err(Error::new(Code::ConfigValue, message).at_field("task"));
    }
    Ok(match name {
        "all" => Phase::All,
        "map" => Phase::Map(share),
        "plan" => Phase::Plan,
        "write" => Phase::Write(share),
        "commit" => Phase::Commit,
        _ => {
            let message = format!("there is no phase {name:?}");
            return Err(Error::new(Code::ConfigValue, message));
        }
    })
}

impl PackJob {
    fn lock(&self) -> Result<std::sync::MutexGuard<'_, pipeline::PackJob>, Error> {
        let panicked = |_| Error::new(Code::RunInternal, "an earlier call of this job panicked");
        self.inner.lock().map_err(panicked)
    }
}
