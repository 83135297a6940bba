//! The whole of a `pack` run: map, plan, write, commit. The only module that knows all others.
//!
//! - *map*: rows become labelled documents in a temporary segment, each row with its line in the
//!   ledger, in input order whatever the number of threads;
//! - *plan*: the lengths of all documents become one global plan;
//! - *write*: whole shards are gathered from the segment, each by any thread;
//! - *commit*: hashes and counts go into the manifest, which is written last. No manifest, no
//!   dataset.

mod budget;
mod certify;
mod control;
mod facts;
mod job;
mod map;
mod prepare;
mod recipe;
mod report;
mod rows;
mod write;

use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;

use tempfile::TempDir;

pub use certify::{
    Certificate, ControlToken, Outcome, ShapeReport, TurnReport, certify, check_template,
    trial_samples,
};
pub use control::{Control, Progress, Stage};
pub use job::PackJob;
pub use prepare::{Failure, Prepared, Trace, Worker, WorkerState};
pub use recipe::{CompiledTemplate, Recipe, Templates, compile, template_failure, tokenizer_of};
pub use report::{PackReport, SourceReport};
pub use rows::row_parser;

use crate::config::PackConfig;
use crate::error::{Code, Error, Result};
use crate::pack;
use crate::shard::{
    FileInfo, LedgerFiles, Manifest, OutputDir, SegmentReader, write_huggingface_files,
};
use crate::source::{self, Compression, InputDigest, InputFile, ReadOptions, Reader};

use report::Timer;
use rows::{RowSink, Sources};

/// Bytes of text in a chunk: small enough that few rows wait for a slow one, large enough that
/// handing chunks over costs nothing.
const CHUNK_BYTES: u64 = 256 << 10;

/// Packs what the options say, and reports.
///
/// # Errors
/// Whatever ends the run; the output folder is then as it was before.
pub fn run(config: &PackConfig, control: &Control) -> Result<PackReport> {
    let mut timer = Timer::start();
    let (recipe, assets) = Recipe::load(config)?;
    // from here on the run may write, and whoever cancels it waits for it
    control.enter(Stage::Map);
    control.check()?;
    let files = source::resolve(&config.source.inputs)?;
    control
        .bytes_total
        .store(files.iter().map(|file| file.bytes).sum(), Relaxed);
    let (output, _temporary) = open_output(config, &files)?;
    timer.lap("load");

    let mapped = map_rows(&recipe, files, control, &output)?;
    timer.lap("map");

    control.enter(Stage::Plan);
    let lengths = mapped.segment.lengths();
    let plan = pack::plan(
        lengths,
        config.pack.max_len,
        config.pack.strategy,
        config.pack.seed,
    )?;
    timer.lap("plan");

    let mut report = PackReport::new(&recipe, &mapped, &plan);
    if !config.output.dry_run {
        control.enter(Stage::Write);
        let written = write::write_shards(&plan, &mapped, config, control, &output)?;
        let kept = facts::keep_model_files(&output.files(), &recipe, &assets)?;
        let mut files: Vec<FileInfo> = written;
        files.extend(mapped.ledger.files.iter().cloned());
        files.extend(write_huggingface_files(&output.files(), &files)?);
        files.extend(kept);
        let facts = facts::run_facts(&recipe, &assets, &mapped, &plan);
        let manifest = Manifest::new(facts, &mapped.ledger.totals, files);
        timer.lap("write");
        report.seal(&manifest);
        report.seconds = timer.laps();
        report.save(&output.files())?;
        let manifest = manifest.to_bytes();
        // what no reader would accept must not be committed
        Manifest::parse(&manifest).map_err(|error| Error::new(Code::RunInternal, error.message))?;
        output.commit(&manifest)?;
    }
    report.seconds = timer.laps();
    control.enter(Stage::Done);
    Ok(report)
}

/// What the map phase leaves behind.
pub(crate) struct MappedRows {
    /// The documents.
    pub(crate) segment: SegmentReader,
    /// The ledger, balanced.
    pub(crate) ledger: LedgerFiles,
    /// The inputs as they were read.
    pub(crate) inputs: Vec<InputDigest>,
    /// The format of each source, and why it was taken for that.
    pub(crate) formats: Vec<(String, String)>,
    /// Counts that are not part of the ledger.
    pub(crate) counts: rows::Counts,
}

/// Takes the output folder; a dry run works in a temporary one, which goes when it is dropped.
fn open_output(config: &PackConfig, files: &[InputFile]) -> Result<(OutputDir, Option<TempDir>)> {
    let tag = facts::work_tag(config);
    if config.output.dry_run {
        let temporary = tempfile::tempdir()
            .map_err(|error| Error::io(Code::OutputIo, std::env::temp_dir(), &error))?;
        return Ok((
            OutputDir::open(temporary.path(), false, &tag)?,
            Some(temporary),
        ));
    }
    if config.output.dir.is_empty() {
        return Err(Error::new(Code::ConfigValue, "no output folder was given")
            .at_field("output.dir")
            .hint("add --out FOLDER, or --dry-run"));
    }
    let output = OutputDir::open(Path::new(&config.output.dir), config.output.overwrite, &tag)?;
    output.check_space(files.iter().map(expected_bytes).sum())?;
    Ok((output, None))
}

/// Bytes on disk that packing a file takes, about: a token stands for some four bytes of text and
/// takes four bytes in the segment and eight in the shards.
fn expected_bytes(file: &InputFile) -> u64 {
    let unpacked = if file.compression == Compression::None {
        1
    } else {
        4
    };
    file.bytes * unpacked * 3
}

fn map_rows(
    recipe: &Recipe,
    files: Vec<InputFile>,
    control: &Control,
    output: &OutputDir,
) -> Result<MappedRows> {
    let config = &recipe.config;
    let names: Vec<String> = files.iter().map(|file| file.name.clone()).collect();
    let paths: Vec<String> = files
        .iter()
        .map(|file| file.path.display().to_string())
        .collect();
    let options = ReadOptions {
        max_line_bytes: config.source.max_line_bytes,
        chunk_bytes: CHUNK_BYTES,
        limit: config.source.limit,
    };
    let mut sink = RowSink::create(config, &names, &paths, control, output)?;
    let mut sources = Sources::new(recipe, Reader::new(files, options), control);
    let threads = threads(config);
    map::map(
        recipe,
        threads,
        control,
        || sources.next(),
        |mapped| sink.take(mapped),
    )?;
    let (inputs, formats) = sources.finish();
    sink.finish(inputs, formats)
}

/// Worker threads: as many as asked for, or one per core.
fn threads(config: &PackConfig) -> usize {
    match config.output.threads {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        threads => threads as usize,
    }
}
