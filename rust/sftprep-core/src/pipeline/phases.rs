//! The phases of a run, one after the other in one process, or each in processes of its own.
//!
//! There is one code path: a process that does everything is one that has every task and every
//! shard to itself. What passes from phase to phase lies in the work area.

use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;

use tempfile::TempDir;

use super::control::{Control, Stage};
use super::memory::Memory;
use super::merge::{Mapping, merge, reopen};
use super::recipe::Recipe;
use super::report::{PackReport, Timer};
use super::rows::RowSink;
use super::tasks::TaskSource;
use super::work::{self, Order, TaskFiles, TaskRecord};
use super::{MappedRows, facts, map, write};
use crate::assets::ModelAssets;
use crate::config::PackConfig;
use crate::error::{Code, Error, Result};
use crate::faults;
use crate::pack::{self, PackPlan};
use crate::shard::{Access, FileInfo, Manifest, OutputDir, write_huggingface_files};
use crate::source::{self, Compression, InputFile, Part};

/// What a process does of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase {
    /// Everything.
    #[default]
    All,
    /// Its share of the tasks.
    Map(Share),
    /// The plan, once all tasks are done.
    Plan,
    /// Its share of the shards, once there is a plan.
    Write(Share),
    /// The manifest, once all shards are written.
    Commit,
}

/// Part `index` (from 0) of `of` equal parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Which part.
    pub index: usize,
    /// How many there are.
    pub of: usize,
}

impl Share {
    pub(super) const ALL: Self = Self { index: 0, of: 1 };

    /// Whether task or shard `number` belongs to it.
    pub(super) fn has(self, number: usize) -> bool {
        number % self.of == self.index
    }
}

/// Does a phase of a run, or all of it, and reports.
///
/// # Errors
/// Whatever ends the run. The output folder is then as it was before, unless there is a work area
/// that another run can go on with.
pub fn run(config: &PackConfig, phase: Phase, control: &Control) -> Result<PackReport> {
    let mut timer = Timer::start();
    let mut config = config.clone();
    let mut date = config.template.date.clone();
    if let Phase::Plan | Phase::Write(_) | Phase::Commit = phase {
        let order = Order::find(Path::new(&config.output.dir))?;
        let given = std::mem::replace(&mut config, order.config).output;
        (config.output.dir, config.output.threads) = (given.dir, given.threads);
        date = order.date;
    }
    check_phase(&config, phase)?;
    let memory = Memory::of(&config);
    memory.limit_rows(&mut config);
    let there = match phase {
        Phase::All if !config.output.resume => None,
        _ => Order::find(Path::new(&config.output.dir)).ok(),
    };
    if let (true, Some(order)) = (date.is_empty(), there) {
        date = order.date;
    }
    let (mut recipe, assets) = Recipe::load_on(&config, &date)?;
    memory.check_loaded("the tokenizer")?;
    // from here on the run may write, and whoever cancels it waits for it
    control.enter(Stage::Map);
    control.check()?;
    let files = source::resolve(&config.source.inputs)?;
    if config.output.resume
        && let Some(report) = finished(&recipe, &assets, &files)?
    {
        return Ok(report);
    }
    let access = match phase {
        Phase::Map(_) | Phase::Write(_) => Access::Share,
        Phase::All if !config.output.resume => Access::New,
        Phase::All | Phase::Plan | Phase::Commit => Access::Resume,
    };
    control
        .bytes_total
        .store(files.iter().map(|file| file.bytes).sum(), Relaxed);
    let (mut output, _temporary) = open_output(&config, &files, access)?;
    let tasks = source::tasks(&files, config.output.task_bytes);
    // what is worth going on with stays
    let keeps = |output: &OutputDir| {
        let done = |task| matches!(TaskFiles::new(output, task).record(), Ok(Some(_)));
        access != Access::New || tasks.len() > 1 && (0..tasks.len()).any(done)
    };
    let outcome = (|| {
        let date = Order::new(&recipe, &files).agree(&output)?;
        if date != recipe.date {
            recipe = Recipe::load_on(&config, &date)?.0; // another process was quicker
        }
        timer.lap("load");
        let run = Run {
            recipe: &recipe,
            assets: &assets,
            files: &files,
            tasks: &tasks,
            control,
            output: &output,
        };
        run.phase(phase, &mut timer)
    })();
    let (mut report, manifest) = match outcome {
        Ok(done) => done,
        Err(error) => {
            output.keep_work(can_go_on(error.code) && keeps(&output));
            return Err(error);
        }
    };
    output.keep_work(keeps(&output));
    if let Some(manifest) = manifest {
        output.commit(&manifest)?;
    }
    report.seconds = timer.laps();
    control.enter(Stage::Done);
    Ok(report)
}

/// Whether a run that ended so may get further when it is tried again.
fn can_go_on(code: Code) -> bool {
    code == Code::RunCancelled
        || code == Code::RunIncomplete
        || matches!(code.stage(), "output" | "source")
}

/// Refuses what cannot be shared or repeated.
fn check_phase(config: &PackConfig, phase: Phase) -> Result<()> {
    let refuse =
        |field: &str, message: &str| Err(Error::new(Code::ConfigValue, message).at_field(field));
    let stdin = config.source.inputs.iter().any(|input| is_stdin(input));
    if stdin && (config.output.resume || phase != Phase::All) {
        return refuse(
            "output.resume",
            "standard input cannot be read twice, nor by several processes: save it to a file, or \
             leave out --resume and --task",
        );
    }
    let Phase::Map(share) = phase else {
        return Ok(());
    };
    if config.output.dry_run {
        return refuse("output.dry_run", "a dry run has no tasks: leave out --task");
    }
    if config.source.limit > 0 && share.of > 1 {
        return refuse(
            "source.limit",
            "a limit counts the rows of all tasks together: leave out --limit or --task",
        );
    }
    Ok(())
}

fn is_stdin(input: &str) -> bool {
    input == source::STDIN
        || input
            .split_once('=')
            .is_some_and(|(_, path)| path == source::STDIN)
}

/// The report of the dataset in the output folder, if it is what this run would write: an earlier
/// one died after its last step.
fn finished(
    recipe: &Recipe,
    assets: &ModelAssets,
    files: &[InputFile],
) -> Result<Option<PackReport>> {
    let target = Path::new(&recipe.config.output.dir);
    let Ok(manifest) = Manifest::read(target) else {
        return Ok(None);
    };
    let facts = facts::identity(recipe, assets);
    let inputs = manifest
        .inputs
        .iter()
        .map(|input| (&input.name, input.bytes));
    let same = manifest.config_hash == crate::shard::value_blake3(&facts.config)
        && manifest.tokenizer.files == facts.tokenizer.files
        && manifest.template.blake3 == facts.template.blake3
        && inputs.eq(files.iter().map(|file| (&file.name, file.bytes)));
    if !same {
        return Ok(None);
    }
    OutputDir::tidy(target)?;
    let mut report = PackReport::load(target).unwrap_or_default();
    report.seal(&manifest);
    Ok(Some(report))
}

/// A phase's surroundings.
struct Run<'a> {
    recipe: &'a Recipe,
    assets: &'a ModelAssets,
    files: &'a [InputFile],
    tasks: &'a [Vec<Part>],
    control: &'a Control,
    output: &'a OutputDir,
}

impl Run<'_> {
    fn phase(&self, phase: Phase, timer: &mut Timer) -> Result<(PackReport, Option<Vec<u8>>)> {
        match phase {
            Phase::Map(share) => {
                let (done, _) = self.map(share, false)?;
                timer.lap("map");
                Ok((PackReport::of_phase("map", done, self.tasks.len()), None))
            }
            Phase::Plan => {
                let records = self.records()?;
                let mapped = self.merge(&records, None)?;
                let plan = self.plan(&mapped)?;
                work::write_plan(self.output, &mapped.plan)?;
                faults::point("plan.done");
                timer.lap("plan");
                let mut report = PackReport::new(self.recipe, &mapped, &plan);
                "plan".clone_into(&mut report.phase);
                Ok((report, None))
            }
            Phase::Write(share) => {
                let (mapped, plan) = self.planned()?;
                let (done, shards) = self.write(&mapped, &plan, share)?;
                timer.lap("write");
                let done = done.len() / 2;
                Ok((PackReport::of_phase("write", done, shards), None))
            }
            Phase::Commit => {
                let (mapped, plan) = self.planned()?;
                let files = write::written(&plan, &self.recipe.config, self.output)?;
                self.seal(&mapped, &plan, files, timer)
            }
            Phase::All => self.all(timer),
        }
    }

    fn all(&self, timer: &mut Timer) -> Result<(PackReport, Option<Vec<u8>>)> {
        let (_, held) = self.map(Share::ALL, self.tasks.len() == 1)?;
        timer.lap("map");
        let records = self.records()?;
        let mapped = self.merge(&records, held)?;
        let plan = self.plan(&mapped)?;
        faults::point("plan.done");
        timer.lap("plan");
        if self.recipe.config.output.dry_run {
            return Ok((PackReport::new(self.recipe, &mapped, &plan), None));
        }
        let (files, _) = self.write(&mapped, &plan, Share::ALL)?;
        self.seal(&mapped, &plan, files, timer)
    }

    /// Maps the tasks of a share that are not done yet; returns how many are, and the segment of the
    /// only one if it was held.
    fn map(&self, share: Share, hold: bool) -> Result<(usize, Option<Vec<u32>>)> {
        let control = self.control;
        control.enter(Stage::Map);
        let wanted: Vec<usize> = (0..self.tasks.len())
            .filter(|task| share.has(*task))
            .collect();
        let mut locks = Vec::new();
        if share.of > 1 {
            for task in &wanted {
                locks.push(TaskFiles::new(self.output, *task).lock()?);
            }
        }
        let (mut done, mut left) = (Vec::new(), Vec::new());
        for &task in &wanted {
            let files = TaskFiles::new(self.output, task);
            control.check()?;
            match files.done()? {
                Some(record) => done.push((files, record)),
                None => left.push(task),
            }
        }
        // rows are judged in the order of the input, or when all are there
        let in_order = share.of == 1 && left.iter().all(|task| *task >= done.len());
        let config = &self.recipe.config;
        let mut sink = RowSink::new(
            config,
            self.files,
            self.tasks,
            control,
            self.output,
            in_order,
        );
        if hold {
            sink.hold();
        }
        let mut rows = 0;
        for (files, record) in &done {
            sink.done_before(files, record)?;
            rows += record.rows;
            let bytes = record.parts.iter().map(|part| part.bytes).sum();
            control.bytes_read.fetch_add(bytes, Relaxed);
        }
        let mut source = TaskSource::new(self.recipe, control, self.files, self.tasks, &left, rows);
        map::map(
            self.recipe,
            super::threads(config),
            control,
            || source.next(),
            |mapped| sink.take(mapped),
        )?;
        Ok((wanted.len(), sink.into_held()))
    }

    /// The records of all tasks.
    fn records(&self) -> Result<Vec<TaskRecord>> {
        let mut records = Vec::with_capacity(self.tasks.len());
        let mut missing = Vec::new();
        for task in 0..self.tasks.len() {
            match TaskFiles::new(self.output, task).record()? {
                Some(record) => records.push(record),
                None => missing.push(task),
            }
        }
        if missing.is_empty() {
            return Ok(records);
        }
        let first = missing.iter().take(10).map(ToString::to_string);
        let first: Vec<String> = first.collect();
        let message = format!(
            "{} of {} tasks are not done, such as {}",
            missing.len(),
            self.tasks.len(),
            first.join(", ")
        );
        Err(Error::new(Code::RunIncomplete, message)
            .at_path(self.output.target())
            .hint("run `sftprep pack ... --task I/N` for every I from 1 to N"))
    }

    fn mapping<'a>(&'a self, records: &'a [TaskRecord]) -> Mapping<'a> {
        Mapping {
            config: &self.recipe.config,
            files: self.files,
            tasks: self.tasks,
            records,
            output: self.output,
        }
    }

    fn merge(&self, records: &[TaskRecord], held: Option<Vec<u32>>) -> Result<MappedRows> {
        self.control.enter(Stage::Plan);
        merge(&self.mapping(records), held, self.control)
    }

    fn plan(&self, mapped: &MappedRows) -> Result<PackPlan> {
        let packing = &self.recipe.config.pack;
        let lengths = mapped.segment.lengths();
        pack::plan_as(lengths, packing)
    }

    /// What the plan phase left, for another process.
    fn planned(&self) -> Result<(MappedRows, PackPlan)> {
        let plan = work::read_plan(self.output)?;
        let records = self.records()?;
        let mapped = reopen(&self.mapping(&records), plan)?;
        let plan = self.plan(&mapped)?;
        Ok((mapped, plan))
    }

    /// Writes the shards of a share; returns their files and the number of all shards.
    fn write(
        &self,
        mapped: &MappedRows,
        plan: &PackPlan,
        share: Share,
    ) -> Result<(Vec<FileInfo>, usize)> {
        self.control.enter(Stage::Write);
        let config = &self.recipe.config;
        write::write_shards(plan, mapped, config, share, self.control, self.output)
    }

    /// Writes what is not a shard; returns the manifest.
    fn seal(
        &self,
        mapped: &MappedRows,
        plan: &PackPlan,
        mut files: Vec<FileInfo>,
        timer: &mut Timer,
    ) -> Result<(PackReport, Option<Vec<u8>>)> {
        let dir = self.output.files();
        let kept = facts::keep_model_files(&dir, self.recipe, self.assets)?;
        files.extend(mapped.plan.ledger.files.iter().cloned());
        files.extend(write_huggingface_files(&dir, &files)?);
        files.extend(kept);
        let facts = facts::run_facts(self.recipe, self.assets, mapped, plan);
        let manifest = Manifest::new(facts, &mapped.plan.ledger.totals, files);
        timer.lap("write");
        let mut report = PackReport::new(self.recipe, mapped, plan);
        report.seal(&manifest);
        report.seconds = timer.laps();
        report.save(&dir)?;
        let manifest = manifest.to_bytes();
        // what no reader would accept must not be committed
        Manifest::parse(&manifest).map_err(|error| Error::new(Code::RunInternal, error.message))?;
        Ok((report, Some(manifest)))
    }
}

/// Takes the output folder; a dry run works in a temporary one, which goes when it is dropped.
fn open_output(
    config: &PackConfig,
    files: &[InputFile],
    access: Access,
) -> Result<(OutputDir, Option<TempDir>)> {
    let tag = facts::work_tag(config);
    if config.output.dry_run {
        let temporary = tempfile::tempdir()
            .map_err(|error| Error::io(Code::OutputIo, std::env::temp_dir(), &error))?;
        let output = OutputDir::open(temporary.path(), false, &tag, Access::New)?;
        return Ok((output, Some(temporary)));
    }
    if config.output.dir.is_empty() {
        return Err(Error::new(Code::ConfigValue, "no output folder was given")
            .at_field("output.dir")
            .hint("add --out FOLDER, or --dry-run"));
    }
    let target = Path::new(&config.output.dir);
    let output = OutputDir::open(target, config.output.overwrite, &tag, access)?;
    if access == Access::New {
        output.check_space(files.iter().map(expected_bytes).sum())?;
    }
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
