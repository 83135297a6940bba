//! The records of a run in its work area: what it is about, and which of its parts are done.
//!
//! Each record is written in one piece, after the files that it vouches for. A part counts as done
//! only if its record is there and those files have the sizes and hashes that it gives; else it is
//! done again. As every part is a pure function of the options and its inputs, it does not matter
//! which process did it, or how often.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::facts::data_config;
use super::recipe::Recipe;
use super::rows::Counts;
use crate::config::PackConfig;
use crate::error::{Code, Error, Result};
use crate::shard::{self, Digest, LedgerFiles, OutputDir, ShardInfo};
use crate::source::{InputDigest, InputFile, Part};
use crate::types::SourceId;

/// Name of the record of what a run is about.
const ORDER: &str = "run.json";

/// How long a process waits for another that is writing that record.
const ORDER_WAIT: Duration = Duration::from_secs(10);

/// What a run is about; all processes that work on it agree on it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Order {
    /// The program: another version may map rows otherwise.
    program: String,
    /// All options, as the first process was given them.
    pub(super) config: PackConfig,
    /// Hashes of what the options only name.
    tokenizer: String,
    template: String,
    /// Date that the template sees.
    pub(super) date: String,
    /// The inputs, with what shows that they are the same.
    inputs: Vec<Stamp>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    name: String,
    path: PathBuf,
    bytes: u64,
    modified_ns: u128,
}

impl Stamp {
    fn of(file: &InputFile) -> Self {
        let modified = std::fs::metadata(&file.path).and_then(|meta| meta.modified());
        let since = modified
            .ok()
            .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        Self {
            name: file.name.clone(),
            path: file.path.clone(),
            bytes: file.bytes,
            modified_ns: since.unwrap_or_default().as_nanos(),
        }
    }
}

impl Order {
    pub(super) fn new(recipe: &Recipe, files: &[InputFile]) -> Self {
        let template = recipe.templates.as_ref().map(super::Templates::blake3);
        Self {
            program: format!("{} {}", env!("CARGO_PKG_VERSION"), Code::ALL.len()),
            config: recipe.config.clone(),
            tokenizer: recipe.tokenizer.json_hash().to_hex().to_string(),
            template: template.unwrap_or_default(),
            date: recipe.date.clone(),
            inputs: files.iter().map(Stamp::of).collect(),
        }
    }

    /// The order of the unfinished run whose output is to be `target`.
    ///
    /// # Errors
    /// `run.incomplete` if there is none.
    pub(super) fn find(target: &Path) -> Result<Self> {
        let none = || {
            let message = "no run is under way there: no task of it has been started";
            Error::new(Code::RunIncomplete, message)
                .at_path(target)
                .hint("start with `sftprep pack ... --task I/N`")
        };
        for area in OutputDir::work_areas(target)? {
            if let Some(order) = read(&area.join(ORDER))? {
                return Ok(order);
            }
        }
        Err(none())
    }

    /// Puts the order down for others, or makes sure that it is the one that is there; returns the
    /// date of the run.
    ///
    /// # Errors
    /// `output.exists` if the run there is about something else; `output.*`.
    pub(super) fn agree(&self, output: &OutputDir) -> Result<String> {
        let place = output.scratch().join(ORDER);
        let _turn = Turn::wait(&place.with_extension("lock"))?;
        let Some(there) = read::<Self>(&place)? else {
            write(&place, self)?;
            return Ok(self.date.clone());
        };
        let differs = |what: &str| {
            let message = format!("the unfinished run there had {what}");
            Err(Error::new(Code::OutputExists, message)
                .at_path(output.target())
                .hint("leave out --resume to begin anew"))
        };
        if there.program != self.program {
            return differs("another version of sftprep");
        }
        if let Some(option) = first_difference(&self.options(), &there.options()) {
            return differs(&format!("another value of {option}"));
        }
        if there.tokenizer != self.tokenizer || there.template != self.template {
            return differs("another tokenizer or chat template");
        }
        let changed = |(one, two): (&Stamp, &Stamp)| (one != two).then(|| one.path.clone());
        let changed = self.inputs.iter().zip(&there.inputs).find_map(changed);
        match changed {
            Some(path) => Err(Error::new(
                Code::SourceChanged,
                "the input is not what it was when the run was started",
            )
            .at_path(path)
            .hint("leave out --resume to begin anew")),
            None if self.inputs.len() != there.inputs.len() => differs("other inputs"),
            None => Ok(there.date),
        }
    }

    /// The options that decide about what is written.
    fn options(&self) -> Value {
        let mut options = data_config(&self.config);
        options["output"]["task_bytes"] = self.config.output.task_bytes.into();
        options["output"]["reject_excerpts"] = self.config.output.reject_excerpts.into();
        options["source"]["inputs"] = self.config.source.inputs.clone().into();
        options
    }
}

/// Name of the first option that differs.
pub(super) fn first_difference(one: &Value, two: &Value) -> Option<String> {
    let (Value::Object(one), Value::Object(two)) = (one, two) else {
        return (one != two).then(String::new);
    };
    let mut keys: Vec<&String> = one.keys().chain(two.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    keys.into_iter().find_map(|key| {
        let value = |map: &Map<String, Value>| map.get(key).cloned().unwrap_or_default();
        let inner = first_difference(&value(one), &value(two))?;
        Some(if inner.is_empty() {
            key.clone()
        } else {
            format!("{key}.{inner}")
        })
    })
}

/// A file of the work area, as its record vouches for it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Stored {
    bytes: u64,
    xxh3_128: String,
}

impl From<Digest> for Stored {
    fn from(digest: Digest) -> Self {
        Self {
            bytes: digest.bytes,
            xxh3_128: digest.xxh3_128,
        }
    }
}

/// What a task of the map phase left.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct TaskRecord {
    /// None if the task that ended was not worth a file: it is done again by whoever goes on.
    pub(super) segment: Option<Stored>,
    pub(super) log: Stored,
    /// Rows in the log.
    pub(super) rows: u64,
    pub(super) counts: Counts,
    pub(super) parts: Vec<PartRecord>,
    /// Formats of the sources that had rows.
    pub(super) formats: Vec<SourceFormat>,
}

/// The format of a source, and why it was taken for that.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct SourceFormat {
    pub(super) source: SourceId,
    pub(super) format: String,
    pub(super) evidence: String,
}

/// A part of an input as it was read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct PartRecord {
    pub(super) source: SourceId,
    pub(super) bytes: u64,
    pub(super) lines: u64,
    pub(super) blake3: Option<String>,
}

impl From<&InputDigest> for PartRecord {
    fn from(digest: &InputDigest) -> Self {
        Self {
            source: digest.source,
            bytes: digest.bytes,
            lines: digest.lines,
            blake3: digest.blake3.clone(),
        }
    }
}

/// What the plan phase left.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PlanRecord {
    pub(super) ledger: LedgerFiles,
    pub(super) inputs: Vec<PlannedInput>,
    pub(super) formats: Vec<(String, String)>,
    pub(super) counts: Counts,
}

/// An input in the manifest.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct PlannedInput {
    /// Source name.
    pub(crate) name: String,
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Size as it lay on disk.
    pub(crate) bytes: u64,
    /// BLAKE3 as it lay on disk, if it was read to its end.
    pub(crate) blake3: Option<String>,
}

/// The files of a task.
pub(super) struct TaskFiles {
    pub(super) segment: PathBuf,
    pub(super) log: PathBuf,
    record: PathBuf,
    lock: PathBuf,
}

impl TaskFiles {
    pub(super) fn new(output: &OutputDir, task: usize) -> Self {
        let file = |extension: &str| output.scratch().join(format!("map-{task:05}.{extension}"));
        Self {
            segment: file("seg"),
            log: file("log"),
            record: file("json"),
            lock: file("lock"),
        }
    }

    /// The record of the task, if it is done: its files are there as recorded.
    ///
    /// # Errors
    /// `output.io` if the record cannot be read.
    pub(super) fn done(&self) -> Result<Option<TaskRecord>> {
        let Some(record) = self.record()? else {
            return Ok(None);
        };
        let whole = |path: &Path, stored: &Stored| {
            shard::is_as_recorded(path, stored.bytes, &stored.xxh3_128)
        };
        let segment = record.segment.as_ref();
        let done =
            segment.is_some_and(|it| whole(&self.segment, it)) && whole(&self.log, &record.log);
        Ok(done.then_some(record))
    }

    /// The record of the task, without a look at its files.
    ///
    /// # Errors
    /// `output.io` if it cannot be read.
    pub(super) fn record(&self) -> Result<Option<TaskRecord>> {
        read(&self.record)
    }

    pub(super) fn finish(&self, record: &TaskRecord) -> Result<()> {
        write(&self.record, record)
    }

    /// Keeps other processes off the task.
    ///
    /// # Errors
    /// `output.locked` if one is at it.
    pub(super) fn lock(&self) -> Result<Turn> {
        Turn::take(&self.lock)
    }
}

/// Reads the plan.
///
/// # Errors
/// `run.incomplete` if it is not there.
pub(super) fn read_plan(output: &OutputDir) -> Result<PlanRecord> {
    read(&output.scratch().join("plan.json"))?.ok_or_else(|| {
        Error::new(Code::RunIncomplete, "the plan phase is not done")
            .at_path(output.target())
            .hint("run `sftprep plan` first")
    })
}

/// Writes the plan; the shards of another plan are done with.
pub(super) fn write_plan(output: &OutputDir, plan: &PlanRecord) -> Result<()> {
    write(&output.scratch().join("plan.json"), plan)
}

fn shard_record(output: &OutputDir, index: usize) -> PathBuf {
    output.scratch().join(format!("write-{index:05}.json"))
}

/// The files of a shard that is done.
///
/// # Errors
/// `output.io` if its record cannot be read.
pub(super) fn read_shard(output: &OutputDir, index: usize) -> Result<Option<ShardInfo>> {
    let Some(info): Option<ShardInfo> = read(&shard_record(output, index))? else {
        return Ok(None);
    };
    let dir = output.files();
    let whole = [&info.data, &info.spans]
        .iter()
        .all(|file| shard::is_as_recorded(&dir.join(&file.name), file.bytes, &file.xxh3_128));
    Ok(whole.then_some(info))
}

/// Records that a shard is done.
pub(super) fn write_shard_record(output: &OutputDir, index: usize, info: &ShardInfo) -> Result<()> {
    write(&shard_record(output, index), info)
}

/// Keeps other processes off a shard.
pub(super) fn lock_shard(output: &OutputDir, index: usize) -> Result<Turn> {
    Turn::take(&shard_record(output, index).with_extension("lock"))
}

/// The first byte of the task's range in a source that an earlier task began, with that source.
pub(super) fn middle_of(task: &[Part]) -> Option<(SourceId, u64)> {
    let first = task.first()?;
    let start = first.range.as_ref()?.start;
    (start > 0).then_some((first.source, start))
}

/// A record, if it is there and whole.
///
/// # Errors
/// `output.io` if the system cannot say: what is unreadable is not taken for undone.
fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    match std::fs::read(path) {
        Ok(text) => Ok(serde_json::from_slice(&text).ok()),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(Error::io(Code::OutputIo, path, &error)),
    }
}

fn write<T: Serialize>(path: &Path, record: &T) -> Result<()> {
    let text = serde_json::to_vec(record)
        .map_err(|error| Error::new(Code::RunInternal, error.to_string()))?;
    shard::write_record(path, &text)
}

/// A lock on a file, let go when dropped.
pub(super) struct Turn {
    _file: std::fs::File,
}

impl Turn {
    fn take(path: &Path) -> Result<Self> {
        let io = |error: &std::io::Error| Error::io(Code::OutputIo, path, error);
        let file = std::fs::File::create(path).map_err(|error| io(&error))?;
        match fs4::FileExt::try_lock(&file) {
            Ok(()) => Ok(Self { _file: file }),
            Err(fs4::TryLockError::WouldBlock) => Err(Error::new(
                Code::OutputLocked,
                "another process is at the same part of the run",
            )
            .at_path(path)
            .hint("wait for it to end")),
            Err(fs4::TryLockError::Error(error)) => Err(io(&error)),
        }
    }

    /// Takes the lock as soon as it is free.
    fn wait(path: &Path) -> Result<Self> {
        let mut waited = Duration::ZERO;
        let step = Duration::from_millis(20);
        loop {
            match Self::take(path) {
                Err(error) if error.code == Code::OutputLocked && waited < ORDER_WAIT => {
                    std::thread::sleep(step);
                    waited += step;
                }
                taken => return taken,
            }
        }
    }
}
