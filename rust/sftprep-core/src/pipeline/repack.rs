//! Other options of packing, or less to train, for a finished dataset, without its inputs: its
//! documents are read back in input order, labelled anew where that is asked for, and go through
//! plan, write and commit as if they had just been tokenized.
//!
//! The result is, byte for byte, what packing the inputs with these options would have given,
//! wherever the source lost nothing and cut nothing. Where it did, the run refuses. It also refuses
//! conversations of which other windows would be made: those are rendered, from the inputs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::control::{Control, Stage};
use super::map::{Mapped, MappedRow};
use super::merge::{Mapping, merge};
use super::phases::Share;
use super::prepare::Prepared;
use super::report::{PackReport, Timer};
use super::rows::RowSink;
use super::tasks::TaskEnd;
use super::windows::{Window, raw_windows};
use super::work::{PartRecord, SourceFormat, TaskFiles};
use super::{MappedRows, facts, write};
use crate::config::{Overlong, PackConfig, StopPolicy, Strategy, TrainOn};
use crate::error::{Code, Error, Reject, Result};
use crate::label::{Remask, Remasked};
use crate::pack;
use crate::shard::{
    Access, FileInfo, FileKind, LoggedOutcome, Manifest, OutputDir, PastDocuments, PastRow,
    RunFacts, ShardReader, keep_file, past_rows, write_huggingface_files,
};
use crate::source::{Compression, InputFile, Kind, Part};
use crate::types::{Example, RowPlace};

/// Rows handed on at a time.
const CHUNK_ROWS: usize = 256;

/// Rows named in the error when a source lost some.
const SHOWN: usize = 10;

/// What to repack, and how. What is not given stays as it was.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Repack {
    /// Folder of the dataset.
    pub from: PathBuf,
    /// Output folder.
    pub out: PathBuf,
    /// Tokens per row, at most.
    pub max_len: Option<u32>,
    /// Packing strategy.
    pub strategy: Option<Strategy>,
    /// What to do with longer documents.
    pub overlong: Option<Overlong>,
    /// Seed of the placement.
    pub seed: Option<u64>,
    /// Bytes of a shard, about.
    pub shard_bytes: Option<u64>,
    /// Which turns are trained.
    pub train_on: Option<TrainOn>,
    /// Train reasoning.
    pub reasoning: Option<bool>,
    /// Train tool calls.
    pub tool_calls: Option<bool>,
    /// Which stop tokens are trained.
    pub stop: Option<StopPolicy>,
    /// Replace an existing output.
    pub overwrite: bool,
    /// Go on although the source lost tokens that the new options would have kept.
    pub allow_lost: bool,
    /// Worker threads (0: all cores).
    pub threads: u32,
}

/// Packs the documents of a finished dataset again.
///
/// # Errors
/// `shard.*` if the source is not whole; `config.value` if its documents were cut, or if it lost
/// some that the new options would have kept; else as a run.
pub fn repack(options: &Repack, control: &Control) -> Result<PackReport> {
    let mut timer = Timer::start();
    let reader = ShardReader::open(&options.from)?;
    let manifest = reader.manifest();
    let (value, config) = new_config(manifest, options)?;
    let files: Vec<InputFile> = manifest.inputs.iter().map(input).collect();
    let part = |source| Part {
        source: source as u32,
        range: None,
    };
    let tasks = vec![(0..files.len()).map(part).collect::<Vec<Part>>()];
    control.enter(Stage::Map);
    control.check()?;
    let tag = facts::work_tag(&config);
    let output = OutputDir::open(&options.out, options.overwrite, &tag, Access::New)?;
    output.check_space(manifest.files.iter().map(|file| file.bytes * 3 / 2).sum())?;
    timer.lap("load");

    let before = PackReport::load(&options.from).unwrap_or_default();
    let old = old_config(manifest)?;
    let source = Source {
        reader: &reader,
        options,
        remask: Remask::new(&old.label, &config.label)?,
        old: &old,
        config: &config,
    };
    let mut sink = RowSink::new(&config, &files, &tasks, control, &output, true);
    sink.hold();
    let lost = source.rows(&mut sink, control)?;
    sink.take(end(manifest, &before))?;
    let record = TaskFiles::new(&output, 0).record();
    let records: Vec<_> = record.into_iter().collect();
    timer.lap("map");

    control.enter(Stage::Plan);
    let mapping = Mapping {
        config: &config,
        files: &files,
        tasks: &tasks,
        records: &records,
        output: &output,
    };
    let mapped = merge(&mapping, sink.into_held(), control)?;
    let packing = &config.pack;
    let lengths = mapped.segment.lengths();
    let plan = pack::plan(lengths, packing.max_len, packing.strategy, packing.seed)?;
    timer.lap("plan");

    control.enter(Stage::Write);
    let (shards, _) = write::write_shards(&plan, &mapped, &config, Share::ALL, control, &output)?;
    let facts = RunFacts {
        config: value,
        tokenizer: manifest.tokenizer.clone(),
        template: manifest.template.clone(),
        inputs: facts::inputs(&mapped.plan.inputs),
        packing: facts::packing_info(&config, &plan),
    };
    let files = other_files(options, manifest, &mapped, shards, &output)?;
    let new = Manifest::new(facts, &mapped.plan.ledger.totals, files);
    timer.lap("write");
    let mut report = as_before(PackReport::of_rows(&mapped, &plan), &before);
    report.warnings.extend(lost);
    report.seal(&new);
    report.seconds = timer.laps();
    report.save(&output.files())?;
    let new = new.to_bytes();
    Manifest::parse(&new).map_err(|error| Error::new(Code::RunInternal, error.message))?;
    output.commit(&new)?;
    control.enter(Stage::Done);
    Ok(report)
}

/// The configuration of the source with the new options, as the manifest has it and typed.
fn new_config(manifest: &Manifest, options: &Repack) -> Result<(Value, PackConfig)> {
    let mut value = manifest.config.clone();
    let mut put = |section: &str, name: &str, new: Option<Value>| {
        if let (Some(new), Some(section)) = (new, value.get_mut(section)) {
            section[name] = new;
        }
    };
    put("pack", "max_len", options.max_len.map(Value::from));
    put("pack", "strategy", named(options.strategy));
    put("pack", "overlong", named(options.overlong));
    put("pack", "seed", options.seed.map(Value::from));
    put(
        "output",
        "shard_bytes",
        options.shard_bytes.map(Value::from),
    );
    put("label", "train_on", named(options.train_on.as_ref()));
    put("label", "reasoning", options.reasoning.map(Value::from));
    put("label", "tool_calls", options.tool_calls.map(Value::from));
    put("label", "stop", named(options.stop));
    let mut typed = value.clone();
    // the canonical form of a manifest writes fractions as strings
    if let Some(rate) = typed.pointer_mut("/source/max_reject_rate")
        && let Some(number) = rate.as_str().and_then(|text| text.parse::<f64>().ok())
    {
        *rate = number.into();
    }
    let mut config = PackConfig::unchecked(&typed.to_string())?;
    config.source.inputs = manifest.inputs.iter().map(|it| it.name.clone()).collect();
    config.output.threads = options.threads;
    config.check()?;
    Ok((value, config))
}

/// An option as a configuration has it.
fn named<T: Serialize>(option: Option<T>) -> Option<Value> {
    option.and_then(|it| serde_json::to_value(it).ok())
}

/// Where documents come from.
struct Source<'a> {
    reader: &'a ShardReader,
    options: &'a Repack,
    remask: Option<Remask>,
    old: &'a PackConfig,
    config: &'a PackConfig,
}

impl Source<'_> {
    /// Hands all input rows to the sink; returns what there is to say about rows of which the
    /// source knows too little.
    fn rows(&self, sink: &mut RowSink<'_>, control: &Control) -> Result<Option<String>> {
        let check = || control.check();
        let documents = PastDocuments::find(self.reader, &check)?;
        let mut waiting = Mapped::default();
        let mut lost = Lost::default();
        sink.take(Mapped::default())?; // begins the task
        past_rows(&self.options.from, self.reader, |row| {
            let PastRow {
                place,
                encoded,
                cut,
                in_parts,
                left_out,
            } = row;
            let mut lose = |why: &'static str| {
                let input = &self.reader.manifest().inputs[place.source as usize].name;
                lost.add(why, || format!("{input}:{}", place.line));
            };
            if in_parts && self.cuts_anew() || self.drops_more(left_out.as_ref()) {
                lose(LOST_TOKENS);
            }
            let result = match left_out {
                None => {
                    let examples = examples(&documents, place, &mut lose)?;
                    let examples = self.labelled(examples, &mut lose);
                    examples.map(|it| self.samples(it, in_parts.then_some(cut), lose))
                }
                Some((true, reject)) => {
                    if self
                        .remask
                        .as_ref()
                        .is_some_and(|it| !it.rejects_again(&reject))
                    {
                        lose("they were rejected for their labels");
                    }
                    Err(reject)
                }
                Some((false, reject)) => {
                    sink.take(std::mem::take(&mut waiting))?;
                    let reject = self.renamed(reject);
                    return sink.past_row(place, encoded, &LoggedOutcome::Dropped(reject));
                }
            };
            waiting.rows.push(MappedRow {
                place,
                result,
                excerpt: None,
            });
            if waiting.rows.len() >= CHUNK_ROWS {
                control.check()?;
                sink.take(std::mem::take(&mut waiting))?;
            }
            Ok(())
        })?;
        sink.take(waiting)?;
        let Some(message) = lost.told() else {
            return Ok(None);
        };
        if self.options.allow_lost {
            return Ok(Some(message));
        }
        Err(Error::new(Code::ConfigValue, message)
            .at_path(&self.options.from)
            .hint("pack the inputs again, or go on without them with --allow-lost"))
    }

    /// The documents of a row with the labels of the new options.
    fn labelled(
        &self,
        examples: Vec<Example>,
        mut lose: impl FnMut(&'static str),
    ) -> Result<Vec<Example>, Reject> {
        let Some(remask) = &self.remask else {
            return Ok(examples);
        };
        match remask.apply(examples) {
            Remasked::Known(examples) => Ok(examples),
            Remasked::Unknown(examples, why) => {
                lose(why);
                Ok(examples)
            }
            Remasked::Rejected(reject) => Err(reject),
        }
    }

    /// Whether a row was dropped for its length that might not be dropped now.
    fn drops_more(&self, left_out: Option<&(bool, Reject)>) -> bool {
        let overlong = matches!(left_out, Some((false, it)) if it.code == Code::PackOverlong);
        overlong && self.would_keep()
    }

    /// Whether rows that the source dropped for their length would be dropped again.
    fn would_keep(&self) -> bool {
        let (old, new) = (&self.old.pack, &self.config.pack);
        new.max_len > old.max_len || new.splits() || new.overlong != old.overlong
    }

    /// Whether rows that were packed in parts would be cut in other places.
    fn cuts_anew(&self) -> bool {
        let (old, new) = (&self.old.pack, &self.config.pack);
        let elsewhere = new.max_len != old.max_len || new.splits() || new.overlong != old.overlong;
        elsewhere || self.remask.is_some()
    }

    /// The documents of a row as if they had just been tokenized. `cut` is what was cut off, if the
    /// row is there in parts.
    fn samples(
        &self,
        examples: Vec<Example>,
        cut: Option<u64>,
        mut lose: impl FnMut(&'static str),
    ) -> Vec<Prepared> {
        let packing = &self.config.pack;
        let sample = |(part, example)| Prepared {
            example,
            window: cut.map(|cut| {
                Box::new(Window {
                    cut: if part == 0 { cut } else { 0 },
                    ..Window::default()
                })
            }),
            ..Prepared::default()
        };
        let samples = raw_windows((0..).zip(examples).map(sample).collect(), packing);
        let too_long = |it: &Prepared| it.example.input_ids.len() > packing.max_len as usize;
        if packing.windows() && samples.iter().any(too_long) {
            lose("windows of a conversation are rendered, which takes the inputs");
        }
        samples
    }

    /// The reason of a drop in the words of the new options.
    fn renamed(&self, mut reject: Reject) -> Reject {
        if reject.code == Code::PackOverlong {
            let of = |config: &PackConfig| format!("more than max_len {}", config.pack.max_len);
            reject.detail = reject.detail.replacen(&of(self.old), &of(self.config), 1);
        }
        reject
    }
}

/// The documents of an input row.
fn examples(
    documents: &PastDocuments<'_>,
    place: RowPlace,
    lose: &mut impl FnMut(&'static str),
) -> Result<Vec<Example>> {
    let examples = documents.of_row(place)?;
    if examples.is_empty() {
        let message = format!("no document of line {} is there", place.line);
        return Err(Error::new(Code::ShardCorrupt, message)
            .hint("run `sftprep verify`; fetch or pack the dataset again"));
    }
    if (0..).zip(&examples).any(|(at, (part, _))| at != *part) {
        lose(LOST_TOKENS);
    }
    Ok(examples.into_iter().map(|(_, example)| example).collect())
}

const LOST_TOKENS: &str = "the source lost tokens of them that these options would have kept, or \
                           cut them elsewhere";

/// Rows that packing the inputs anew may treat otherwise.
#[derive(Default)]
struct Lost {
    rows: u64,
    shown: Vec<String>,
    why: BTreeSet<&'static str>,
}

impl Lost {
    fn add(&mut self, why: &'static str, name: impl FnOnce() -> String) {
        self.rows += 1;
        self.why.insert(why);
        if self.shown.len() < SHOWN {
            self.shown.push(name());
        }
    }

    fn told(self) -> Option<String> {
        let why: Vec<&str> = self.why.into_iter().collect();
        (self.rows > 0).then(|| {
            format!(
                "{} rows may come out otherwise than from the inputs, such as {}: {}",
                self.rows,
                self.shown.join(", "),
                why.join("; ")
            )
        })
    }
}

fn old_config(manifest: &Manifest) -> Result<PackConfig> {
    Ok(new_config(manifest, &Repack::default())?.1)
}

fn input(info: &crate::shard::InputInfo) -> InputFile {
    InputFile {
        name: info.name.clone(),
        path: PathBuf::from(&info.name),
        kind: Kind::JsonLines,
        compression: Compression::None,
        bytes: info.bytes,
    }
}

/// The end of the one task.
fn end(manifest: &Manifest, before: &PackReport) -> Mapped {
    let parts = (0..)
        .zip(&manifest.inputs)
        .map(|(source, input)| PartRecord {
            source,
            bytes: input.bytes,
            lines: 0,
            blake3: Some(input.blake3.clone()).filter(|hash| !hash.is_empty()),
        });
    let formats = (0..)
        .zip(&before.sources)
        .map(|(source, told)| SourceFormat {
            source,
            format: told.format.clone(),
            evidence: told.evidence.clone(),
        });
    Mapped {
        end: Some(TaskEnd {
            parts: parts.collect(),
            formats: formats.collect(),
        }),
        ..Mapped::default()
    }
}

/// Writes what is not a shard; returns all files.
fn other_files(
    options: &Repack,
    manifest: &Manifest,
    mapped: &MappedRows,
    mut files: Vec<FileInfo>,
    output: &OutputDir,
) -> Result<Vec<FileInfo>> {
    let dir = output.files();
    files.extend(mapped.plan.ledger.files.iter().cloned());
    files.extend(write_huggingface_files(&dir, &files)?);
    let made = |name: &str| files.iter().any(|file| file.name == name);
    let kept: Vec<&FileInfo> = manifest
        .files_of(FileKind::Metadata)
        .filter(|file| !made(&file.name))
        .collect();
    for file in kept {
        let path: &Path = &options.from.join(&file.name);
        let bytes =
            std::fs::read(path).map_err(|error| Error::io(Code::ShardCorrupt, path, &error))?;
        let copy = keep_file(&dir, &file.name, &bytes)?;
        if copy.blake3 != file.blake3 {
            let message = "the file differs from what its manifest promises";
            return Err(Error::new(Code::ShardCorrupt, message).at_path(path));
        }
        files.push(copy);
    }
    Ok(files)
}

/// What only the run that tokenized the rows can know.
fn as_before(mut report: PackReport, before: &PackReport) -> PackReport {
    report.tokenizer_engine.clone_from(&before.tokenizer_engine);
    report.date.clone_from(&before.date);
    report.warnings.clone_from(&before.warnings);
    report.duplicate_keys = before.duplicate_keys;
    report.control_text_rows = before.control_text_rows;
    report.boundary_rows = before.boundary_rows;
    report.boundary_turns = before.boundary_turns;
    report.boundary_list.clone_from(&before.boundary_list);
    report.expanded_rows = before.expanded_rows;
    report.expanded_samples = before.expanded_samples;
    if before.windows > 0 {
        report.window_rows = before.window_rows;
        report.windows = before.windows;
        report.repeated_tokens = before.repeated_tokens;
    }
    report.dropped_fields.clone_from(&before.dropped_fields);
    report.turns_by_method.clone_from(&before.turns_by_method);
    for (new, old) in report.sources.iter_mut().zip(&before.sources) {
        new.path.clone_from(&old.path);
    }
    report
}
