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

use super::control::Control;
use super::map::{Mapped, MappedRow};
use super::memory::Memory;
use super::prepare::Prepared;
use super::report::{PackReport, Timer};
use super::rewrite::Rewrite;
use super::rows::RowSink;
use super::windows::{Window, raw_windows};
use crate::config::{Overlong, PackConfig, PackingConfig, StopPolicy, Strategy, TrainOn};
use crate::error::{Code, Error, Reject, Result};
use crate::label::{Remask, Remasked};
use crate::shard::{
    LoggedOutcome, Manifest, PastDocuments, PastRow, ShardReader, past_documents, past_rows,
};
use crate::types::{Example, RowPlace};

/// Rows handed on at a time.
const CHUNK_ROWS: usize = 256;

/// Rows between two looks at the memory, if it is limited: each may bring two pages of 2 MiB with it.
const TIGHT_ROWS: u64 = 8;

/// Their tokens, about.
const CHUNK_TOKENS: u64 = 1 << 18;

/// Rows named in the error when a source lost some.
const SHOWN: usize = 10;

/// What the ledger says of a row that a mixture did not take.
const NOT_DRAWN: &str = "its dataset has more trained tokens than its share takes";

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
    /// Rows that all ranks together read in a step.
    pub balance: Option<u32>,
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
    /// Memory of the process, at most, in bytes (0: not limited).
    pub memory: u64,
}

/// Packs the documents of a finished dataset again.
///
/// # Errors
/// `shard.*` if the source is not whole; `config.value` if its documents were cut, or if it lost
/// some that the new options would have kept; else as a run.
pub fn repack(options: &Repack, control: &Control) -> Result<PackReport> {
    let timer = Timer::start();
    let reader = ShardReader::open(&options.from)?;
    let manifest = reader.manifest();
    let (value, config) = resolved(manifest, options)?;
    let old = old_config(manifest)?;
    let past = Past {
        dir: &options.from,
        reader: &reader,
        remask: Remask::new(&old.label, &config.label)?,
        old,
        first_input: 0,
        drawn: None,
    };
    let rewrite = Rewrite {
        options,
        past: vec![past],
        config: &config,
        value,
        mix: manifest.mix.clone(),
    };
    rewrite.run(timer, control)
}

impl Repack {
    /// Names of the packing options that are given.
    pub(super) fn given(&self) -> Vec<&'static str> {
        let all = [
            ("max_len", self.max_len.is_some()),
            ("strategy", self.strategy.is_some()),
            ("overlong", self.overlong.is_some()),
            ("seed", self.seed.is_some()),
            ("balance", self.balance.is_some()),
        ];
        all.into_iter().filter(|it| it.1).map(|it| it.0).collect()
    }
}

/// The configuration of the source with the new options, as the manifest has it and typed.
pub(super) fn resolved(manifest: &Manifest, options: &Repack) -> Result<(Value, PackConfig)> {
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
    put("pack", "balance", options.balance.map(Value::from));
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
    config.output.memory = options.memory;
    config.check()?;
    Ok((value, config))
}

/// An option as a configuration has it.
fn named<T: Serialize>(option: Option<T>) -> Option<Value> {
    option.and_then(|it| serde_json::to_value(it).ok())
}

/// A dataset that documents come from.
pub(super) struct Past<'a> {
    pub(super) dir: &'a Path,
    pub(super) reader: &'a ShardReader,
    pub(super) remask: Option<Remask>,
    /// The options it was packed with.
    pub(super) old: PackConfig,
    /// Number of its first input in the new dataset.
    pub(super) first_input: u32,
    /// Which of its packed rows are wanted, if not all.
    pub(super) drawn: Option<Vec<bool>>,
}

impl Past<'_> {
    /// The place of a row in the new dataset.
    fn place(&self, place: RowPlace) -> RowPlace {
        RowPlace {
            source: self.first_input + place.source,
            ..place
        }
    }

    /// Hands all input rows to the sink; returns what there is to say about rows of which the
    /// source knows too little.
    pub(super) fn rows(
        &self,
        job: &Rewrite<'_>,
        sink: &mut RowSink<'_>,
        control: &Control,
    ) -> Result<Option<String>> {
        let memory = Memory::of(job.config);
        let check = || {
            if memory.is_tight() {
                self.reader.let_go();
            }
            control.check()
        };
        memory.check_past(past_documents(self.reader.manifest()))?;
        let documents = PastDocuments::find(self.reader, &check)?;
        let mut waiting = Mapped::default();
        let (mut waiting_tokens, mut seen) = (0, 0u64);
        let mut lost = Lost::default();
        let mut wanted = self.drawn.iter().flatten();
        sink.take(Mapped::default())?; // begins the task
        past_rows(self.dir, self.reader, |row| {
            let PastRow {
                place,
                encoded,
                cut,
                in_parts,
                left_out,
                ..
            } = row;
            seen += 1;
            if memory.is_limited() && seen.is_multiple_of(TIGHT_ROWS) {
                check()?;
            }
            if left_out.is_none() && wanted.next() == Some(&false) {
                sink.take(std::mem::take(&mut waiting))?;
                let reject = Reject::new(Code::MixNotDrawn, NOT_DRAWN);
                let outcome = LoggedOutcome::Dropped(reject);
                return sink.past_row(self.place(place), encoded, &outcome);
            }
            let mut lose = |why: &'static str| {
                let input = &self.reader.manifest().inputs[place.source as usize].name;
                lost.add(why, || format!("{input}:{}", place.line));
            };
            if in_parts && self.cuts_anew(job.config)
                || self.drops_more(job.config, left_out.as_ref())
            {
                lose(LOST_TOKENS);
            }
            let result = match left_out {
                None => {
                    let examples = examples(&documents, place, &mut lose)?;
                    let examples = self.labelled(examples, &mut lose);
                    examples.map(|it| samples(&job.config.pack, it, in_parts.then_some(cut), lose))
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
                    let outcome = LoggedOutcome::Dropped(self.renamed(job.config, reject));
                    return sink.past_row(self.place(place), encoded, &outcome);
                }
            };
            waiting_tokens += encoded;
            waiting.rows.push(MappedRow {
                place: self.place(place),
                result,
                excerpt: None,
            });
            if waiting.rows.len() >= CHUNK_ROWS || waiting_tokens >= CHUNK_TOKENS {
                check()?;
                waiting_tokens = 0;
                sink.take(std::mem::take(&mut waiting))?;
            }
            Ok(())
        })?;
        sink.take(waiting)?;
        if memory.is_limited() {
            self.reader.let_go();
        }
        let Some(message) = lost.told() else {
            return Ok(None);
        };
        if job.options.allow_lost {
            return Ok(Some(message));
        }
        Err(Error::new(Code::ConfigValue, message)
            .at_path(self.dir)
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
    fn drops_more(&self, new: &PackConfig, left_out: Option<&(bool, Reject)>) -> bool {
        let overlong = matches!(left_out, Some((false, it)) if it.code == Code::PackOverlong);
        overlong && self.would_keep(new)
    }

    /// Whether rows that the source dropped for their length would be dropped again.
    fn would_keep(&self, new: &PackConfig) -> bool {
        let (old, new) = (&self.old.pack, &new.pack);
        new.max_len > old.max_len || new.splits() || new.overlong != old.overlong
    }

    /// Whether rows that were packed in parts would be cut in other places.
    fn cuts_anew(&self, new: &PackConfig) -> bool {
        let (old, new) = (&self.old.pack, &new.pack);
        let elsewhere = new.max_len != old.max_len || new.splits() || new.overlong != old.overlong;
        elsewhere || self.remask.is_some()
    }

    /// The reason of a drop in the words of the new options.
    fn renamed(&self, new: &PackConfig, mut reject: Reject) -> Reject {
        if reject.code == Code::PackOverlong {
            let of = |config: &PackConfig| format!("more than max_len {}", config.pack.max_len);
            reject.detail = reject.detail.replacen(&of(&self.old), &of(new), 1);
        }
        reject
    }
}

/// The documents of a row as if they had just been tokenized. `cut` is what was cut off, if the
/// row is there in parts.
fn samples(
    packing: &PackingConfig,
    examples: Vec<Example>,
    cut: Option<u64>,
    mut lose: impl FnMut(&'static str),
) -> Vec<Prepared> {
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

pub(super) fn old_config(manifest: &Manifest) -> Result<PackConfig> {
    Ok(resolved(manifest, &Repack::default())?.1)
}
