//! A run on a thread of its own, polled and cancelled by its caller.
//!
//! Nothing here calls back: the caller polls, so an interactive caller answers Ctrl-C between two
//! polls and no worker thread ever needs the Python interpreter.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::control::{Control, Progress};
use super::report::PackReport;
use super::{Mix, Phase, Repack, mix, repack, run};
use crate::config::PackConfig;
use crate::error::{Code, Error, Result};

/// A `pack` run under way.
pub struct PackJob {
    control: Arc<Control>,
    done: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<Result<PackReport>>>,
}

impl PackJob {
    /// Checks the options and starts the run.
    ///
    /// # Errors
    /// `config.value`; `run.internal` if no thread can be started.
    pub fn start(config: PackConfig, phase: Phase) -> Result<Self> {
        if matches!(phase, Phase::All | Phase::Map(_)) {
            config.check()?;
        }
        Self::spawn(move |control| run(&config, phase, control))
    }

    /// Starts to pack a finished dataset again.
    ///
    /// # Errors
    /// `run.internal` if no thread can be started.
    pub fn repack(options: Repack) -> Result<Self> {
        Self::spawn(move |control| repack(&options, control))
    }

    /// Starts to mix finished datasets.
    ///
    /// # Errors
    /// `run.internal` if no thread can be started.
    pub fn mix(options: Mix) -> Result<Self> {
        Self::spawn(move |control| mix(&options, control))
    }

    fn spawn(work: impl FnOnce(&Control) -> Result<PackReport> + Send + 'static) -> Result<Self> {
        let control = Arc::new(Control::default());
        let done = Arc::new((Mutex::new(false), Condvar::new()));
        let thread = std::thread::Builder::new()
            .name("sftprep-pack".to_owned())
            .spawn({
                let (control, done) = (Arc::clone(&control), Arc::clone(&done));
                move || {
                    let _announce = Announce(done);
                    work(&control)
                }
            });
        let thread =
            thread.map_err(|e| Error::new(Code::RunInternal, format!("no thread: {e}")))?;
        Ok(Self {
            control,
            done,
            thread: Some(thread),
        })
    }

    /// Waits until the run is done, at most `timeout`; returns whether it is, and how far it is.
    pub fn poll(&self, timeout: Duration) -> (bool, Progress) {
        let (flag, changed) = &*self.done;
        let guard = flag.lock().unwrap_or_else(PoisonError::into_inner);
        let (guard, _) = changed
            .wait_timeout_while(guard, timeout, |done| !*done)
            .unwrap_or_else(PoisonError::into_inner);
        (*guard || self.control.abandoned(), self.control.snapshot())
    }

    /// Asks the run to stop.
    pub fn cancel(&self) {
        self.control.cancel();
    }

    /// Waits for the end and returns the report; a run that was cancelled while it loaded its
    /// tokenizer, which may take seconds, is left to end by itself.
    ///
    /// # Errors
    /// Whatever ended the run; `run.internal` if it panicked or was waited for twice.
    pub fn wait(&mut self) -> Result<PackReport> {
        let Some(thread) = self.thread.take() else {
            return Err(Error::new(
                Code::RunInternal,
                "the result was taken already",
            ));
        };
        if self.control.abandoned() {
            self.control.check()?;
        }
        thread.join().unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("panic");
            Err(Error::new(Code::RunInternal, text).hint("please report this with the command"))
        })
    }
}

impl Drop for PackJob {
    fn drop(&mut self) {
        self.cancel();
        if let Some(thread) = self.thread.take().filter(|_| !self.control.abandoned()) {
            let _ = thread.join();
        }
    }
}

/// Sets the flag when the run ends, also when it panics.
struct Announce(Arc<(Mutex<bool>, Condvar)>);

impl Drop for Announce {
    fn drop(&mut self) {
        let (flag, changed) = &*self.0;
        *flag.lock().unwrap_or_else(PoisonError::into_inner) = true;
        changed.notify_all();
    }
}
