//! What a run reports: typed for callers, JSON beside the shards. Never part of what is hashed.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::MappedRows;
use super::recipe::Recipe;
use super::rows::{BoundaryPlace, Counts};
use crate::error::{Code, Error, Result};
use crate::pack::PackPlan;
use crate::shard::{Manifest, MixInfo, REPORT_NAME, SourceTotals};
use crate::source::STDIN;
use crate::types::NO_MESSAGE;

/// Seconds per phase.
#[derive(Debug)]
pub(super) struct Timer {
    last: Instant,
    laps: BTreeMap<String, f64>,
}

impl Timer {
    pub(super) fn start() -> Self {
        Self {
            last: Instant::now(),
            laps: BTreeMap::new(),
        }
    }

    /// Ends a phase.
    pub(super) fn lap(&mut self, name: &str) {
        self.laps
            .insert(name.to_owned(), self.last.elapsed().as_secs_f64());
        self.last = Instant::now();
    }

    pub(super) fn laps(&self) -> BTreeMap<String, f64> {
        self.laps.clone()
    }
}

/// One input in the report.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct SourceReport {
    /// Source name.
    pub name: String,
    /// Where it lay.
    pub path: String,
    /// Format its rows were read in.
    pub format: String,
    /// Why that format.
    pub evidence: String,
    /// What became of its rows and tokens.
    pub totals: SourceTotals,
}

/// A row with a turn before which Hugging Face and an engine that serves the model have other ids.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BoundaryRow {
    /// Name of the input.
    pub source: String,
    /// Line in it, counted from 1.
    pub line: u64,
    /// The messages; none for a completion.
    pub messages: Vec<u32>,
}

/// The report of a `pack` run.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PackReport {
    /// Identity of the packed data; empty after a dry run.
    pub content_id: String,
    /// What became of all rows and tokens.
    pub totals: SourceTotals,
    /// The same per input.
    pub sources: Vec<SourceReport>,
    /// Packed sequences.
    pub sequences: u64,
    /// Shards (data files).
    pub shards: u64,
    /// Bytes of all files.
    pub bytes_written: u64,
    /// Share of `sequences * max_len` that holds tokens.
    pub fill: f64,
    /// Number of sequences that no packing can go below.
    pub lower_bound: u64,
    /// Sequences above that bound, as a share of it.
    pub gap: f64,
    /// Rows of a step, if the rows are ordered by their cost.
    pub balance: u32,
    /// Then: the costliest rows of all steps by the mean ones, 1 being perfect.
    pub imbalance: f64,
    /// The same without balancing.
    pub imbalance_before: f64,
    /// Which tokenizer engine ran, and why.
    pub tokenizer_engine: String,
    /// Object keys that occurred twice in one object; the last one won.
    pub duplicate_keys: u64,
    /// Rows whose text spelled a control token.
    pub control_text_rows: u64,
    /// Tokens across the edge of a trained span; never trained.
    pub straddling_tokens: u64,
    /// Rows that became one sample per trained turn, because the template leaves out reasoning of
    /// turns that others follow.
    pub expanded_rows: u64,
    /// Samples that they became.
    pub expanded_samples: u64,
    /// What became of the messages of trees of which a thread was packed: `used`, or why not.
    pub tree_messages: BTreeMap<String, u64>,
    /// Rows with a sample longer than a sequence, of which windows were made.
    pub window_rows: u64,
    /// Those windows.
    pub windows: u64,
    /// Tokens at their beginnings that an earlier window of the sample has too; never trained.
    pub repeated_tokens: u64,
    /// Trained turns of which the template left out a field, by field.
    pub dropped_fields: BTreeMap<String, u64>,
    /// Trained turns by how their start was proven.
    pub turns_by_method: BTreeMap<String, u64>,
    /// Rows with a trained turn before which Hugging Face and an engine that serves the model have
    /// other ids; which of the two the dataset has says the option `boundary`.
    pub boundary_rows: u64,
    /// Those turns.
    pub boundary_turns: u64,
    /// The first of those rows.
    pub boundary_list: Vec<BoundaryRow>,
    /// The datasets that it was mixed of, if it was.
    pub mix: Vec<MixInfo>,
    /// What the user should know.
    pub warnings: Vec<String>,
    /// Seconds per phase: load, map, plan, write.
    pub seconds: BTreeMap<String, f64>,
    /// Date that the template saw.
    pub date: String,
    /// The phase, if this is the report of one: map, plan or write.
    pub phase: String,
    /// Tasks or shards that this process did, or found done.
    pub parts_done: u64,
    /// Tasks or shards of the whole run.
    pub parts: u64,
}

impl PackReport {
    pub(super) fn new(recipe: &Recipe, mapped: &MappedRows, plan: &PackPlan) -> Self {
        Self {
            tokenizer_engine: recipe.tokenizer.engine().to_string(),
            warnings: warnings(recipe, mapped),
            date: recipe.date.clone(),
            ..Self::of_rows(mapped, plan)
        }
    }

    /// What rows and plan say, wherever the rows are from.
    pub(super) fn of_rows(mapped: &MappedRows, plan: &PackPlan) -> Self {
        let (stats, balance) = (plan.stats(), plan.balance());
        let Counts {
            duplicate_keys,
            control_text_rows,
            straddling_tokens,
            expanded_rows,
            expanded_samples,
            tree_messages,
            window_rows,
            windows,
            repeated_tokens,
            dropped_fields,
            turns_by_method,
            boundary_rows,
            boundary_turns,
            boundary_list,
            ..
        } = mapped.plan.counts.clone();
        let inputs = &mapped.plan.inputs;
        let boundary_row = |place: BoundaryPlace| BoundaryRow {
            source: inputs
                .get(place.source as usize)
                .map_or_else(String::new, |input| input.name.clone()),
            line: place.line,
            messages: place
                .turns
                .into_iter()
                .filter(|it| *it != NO_MESSAGE)
                .collect(),
        };
        let totals = &mapped.plan.ledger.totals;
        let sources = totals
            .by_source()
            .zip(&mapped.plan.formats)
            .zip(&mapped.plan.inputs)
            .map(|(((name, totals), format), input)| {
                let (format, evidence) = format.clone();
                SourceReport {
                    name: name.to_owned(),
                    path: absolute(&input.path),
                    format,
                    evidence,
                    totals: totals.clone(),
                }
            });
        Self {
            totals: totals.all(),
            sources: sources.collect(),
            sequences: stats.rows,
            fill: stats.fill,
            lower_bound: stats.lower_bound,
            gap: stats.gap,
            balance: balance.map_or(0, |it| it.ranks),
            imbalance: balance.map_or(0.0, |it| it.after),
            imbalance_before: balance.map_or(0.0, |it| it.before),
            duplicate_keys,
            control_text_rows,
            straddling_tokens,
            expanded_rows,
            expanded_samples,
            tree_messages,
            window_rows,
            windows,
            repeated_tokens,
            dropped_fields,
            turns_by_method,
            boundary_rows,
            boundary_turns,
            boundary_list: boundary_list.into_iter().map(boundary_row).collect(),
            ..Self::default()
        }
    }

    /// The report of a phase that only others can sum up.
    pub(super) fn of_phase(phase: &str, done: usize, of: usize) -> Self {
        Self {
            phase: phase.to_owned(),
            parts_done: done as u64,
            parts: of as u64,
            ..Self::default()
        }
    }

    /// Adds what is known once the files are written.
    pub(super) fn seal(&mut self, manifest: &Manifest) {
        self.content_id.clone_from(&manifest.content_id);
        self.shards = manifest.files_of(crate::shard::FileKind::Data).count() as u64;
        self.bytes_written = manifest.files.iter().map(|file| file.bytes).sum();
    }

    /// The report of a dataset that is whole.
    pub(super) fn load(dir: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(dir.join(REPORT_NAME)).ok()?).ok()
    }

    /// Writes the report beside the shards.
    pub(super) fn save(&self, dir: &Path) -> Result<()> {
        let path = dir.join(REPORT_NAME);
        let text = serde_json::to_vec_pretty(self)
            .map_err(|error| Error::new(Code::RunInternal, error.to_string()))?;
        std::fs::write(&path, text).map_err(|error| Error::io(Code::OutputIo, &path, &error))
    }
}

/// The whole path of an input; standard input has none.
fn absolute(path: &Path) -> String {
    let whole = if path.as_os_str() == STDIN {
        path.to_owned()
    } else {
        std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
    };
    whole.display().to_string()
}

fn warnings(recipe: &Recipe, mapped: &MappedRows) -> Vec<String> {
    let mut warnings = Vec::new();
    let conversations = mapped.plan.formats.iter().any(|(format, _)| {
        matches!(
            format.as_str(),
            "messages" | "sharegpt" | "alpaca" | "prompt_completion" | "oasst"
        )
    });
    if mapped.segment.is_empty() {
        warnings.push("no row was left to pack: the dataset has no shard".to_owned());
    }
    let split = recipe.split_control_strings();
    if conversations && !split.is_empty() {
        warnings.push(format!(
            "the template's control strings {} are not single tokens of this tokenizer; \
             add them with `sftprep add-tokens` and resize the model's embeddings",
            split.join(", ")
        ));
    }
    if recipe.eos.is_none() {
        warnings.push(
            "the tokenizer names no eos_token: completions are packed without a stop token"
                .to_owned(),
        );
    }
    if mapped.plan.counts.turns_without_stop > 0 {
        warnings.push(format!(
            "{} trained turns have no stop token, because the template writes none: the model \
             does not learn to end its answers",
            mapped.plan.counts.turns_without_stop
        ));
    }
    for (field, turns) in &mapped.plan.counts.dropped_fields {
        warnings.push(format!(
            "the template left out {field} of {turns} trained turns; see --dropped and --history"
        ));
    }
    if mapped.plan.counts.control_text_rows > 0 {
        let rows = match mapped.plan.counts.control_text_rows {
            1 => "1 row spells a control token in its own text".to_owned(),
            rows => format!("{rows} rows spell a control token in their own text"),
        };
        warnings.push(format!("{rows}; see --special-text"));
    }
    warnings
}
