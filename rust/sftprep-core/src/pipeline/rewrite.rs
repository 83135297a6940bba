//! A new dataset of the documents of finished ones: they are read back in input order and go through
//! plan, write and commit as if they had just been tokenized.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::control::{Control, Stage};
use super::map::Mapped;
use super::memory::Memory;
use super::merge::{Mapping, merge};
use super::phases::Share;
use super::repack::{Past, Repack};
use super::report::{PackReport, Timer};
use super::rows::RowSink;
use super::tasks::TaskEnd;
use super::work::{PartRecord, SourceFormat, TaskFiles};
use super::{MappedRows, facts, write};
use crate::config::PackConfig;
use crate::error::{Code, Error, Result};
use crate::pack;
use crate::shard::{
    Access, FileInfo, FileKind, InputInfo, Manifest, MixInfo, OutputDir, RunFacts, keep_file,
    write_huggingface_files,
};
use crate::source::{Compression, InputFile, Kind, Part};

/// A new dataset of the documents of others.
pub(super) struct Rewrite<'a> {
    pub(super) options: &'a Repack,
    /// Where the documents are from; tokenizer and template are those of the first.
    pub(super) past: Vec<Past<'a>>,
    pub(super) config: &'a PackConfig,
    /// The configuration as the manifest is to have it.
    pub(super) value: Value,
    pub(super) mix: Vec<MixInfo>,
}

impl Rewrite<'_> {
    /// Maps, plans, writes and commits.
    pub(super) fn run(mut self, mut timer: Timer, control: &Control) -> Result<PackReport> {
        let config = self.config;
        let files = self.inputs();
        let part = |source| Part {
            source: source as u32,
            range: None,
        };
        let tasks = vec![(0..files.len()).map(part).collect::<Vec<Part>>()];
        control.enter(Stage::Map);
        control.check()?;
        Memory::of(config).check_loaded("the program")?;
        let Repack { out, overwrite, .. } = self.options;
        let output = OutputDir::open(out, *overwrite, &facts::work_tag(config), Access::New)?;
        let old_files = self
            .past
            .iter()
            .flat_map(|past| &past.reader.manifest().files);
        output.check_space(old_files.map(|file| file.bytes * 3 / 2).sum())?;
        timer.lap("load");

        let before = self.before();
        let mut sink = RowSink::new(config, &files, &tasks, control, &output, true);
        sink.hold();
        let mut lost = Vec::new();
        for past in &self.past {
            lost.extend(past.rows(&self, &mut sink, control)?);
        }
        sink.take(end(&files, &before, &self.past))?;
        let record = TaskFiles::new(&output, 0).record()?;
        let records: Vec<_> = record.into_iter().collect();
        timer.lap("map");

        control.enter(Stage::Plan);
        let mapping = Mapping {
            config,
            files: &files,
            tasks: &tasks,
            records: &records,
            output: &output,
        };
        let mapped = merge(&mapping, sink.into_held(), control)?;
        let plan = pack::plan_as(mapped.segment.lengths(), &config.pack)?;
        timer.lap("plan");

        control.enter(Stage::Write);
        let shards = write::write_shards(&plan, &mapped, config, Share::ALL, control, &output)?.0;
        let first = &self.past[0];
        let manifest = first.reader.manifest();
        let facts = RunFacts {
            config: std::mem::take(&mut self.value),
            tokenizer: manifest.tokenizer.clone(),
            template: manifest.template.clone(),
            inputs: facts::inputs(&mapped.plan.inputs),
            packing: facts::packing_info(config, &plan),
            mix: self.mix.clone(),
        };
        let files = other_files(first, &mapped, shards, &output)?;
        let new = Manifest::new(facts, &mapped.plan.ledger.totals, files);
        timer.lap("write");
        let mut report = as_before(PackReport::of_rows(&mapped, &plan), &before);
        report.warnings.extend(lost);
        report.mix = self.mix;
        report.seal(&new);
        report.seconds = timer.laps();
        report.save(&output.files())?;
        let new = new.to_bytes();
        Manifest::parse(&new).map_err(|error| Error::new(Code::RunInternal, error.message))?;
        output.commit(&new)?;
        control.enter(Stage::Done);
        Ok(report)
    }

    /// The inputs, under the names that the configuration has.
    fn inputs(&self) -> Vec<InputFile> {
        let manifests = self.past.iter().map(|past| past.reader.manifest());
        let inputs = manifests.flat_map(|manifest| &manifest.inputs);
        inputs
            .zip(&self.config.source.inputs)
            .map(|(info, name)| input(info, name))
            .collect()
    }

    /// What the runs that tokenized the rows said; of several, only what is true of them together.
    fn before(&self) -> PackReport {
        let load = |past: &Past<'_>| PackReport::load(past.dir).unwrap_or_default();
        let mut reports: Vec<PackReport> = self.past.iter().map(load).collect();
        if reports.len() == 1 {
            return reports.remove(0);
        }
        let mut warnings = Vec::new();
        let mut sources = Vec::new();
        let mut together = PackReport {
            tokenizer_engine: reports[0].tokenizer_engine.clone(),
            date: reports[0].date.clone(),
            ..PackReport::default()
        };
        for (past, report) in self.past.iter().zip(reports) {
            let dir = past.dir.display();
            warnings.extend(report.warnings.iter().map(|text| format!("{dir}: {text}")));
            let mut own = report.sources;
            own.resize_with(past.reader.manifest().inputs.len(), Default::default);
            sources.append(&mut own);
        }
        (together.warnings, together.sources) = (warnings, sources);
        together
    }
}

fn input(info: &InputInfo, name: &str) -> InputFile {
    InputFile {
        name: name.to_owned(),
        path: PathBuf::from(name),
        kind: Kind::JsonLines,
        compression: Compression::None,
        bytes: info.bytes,
    }
}

/// The end of the one task.
fn end(files: &[InputFile], before: &PackReport, past: &[Past<'_>]) -> Mapped {
    let manifests = past.iter().map(|past| past.reader.manifest());
    let parts = (0..files.len() as u32)
        .zip(manifests.flat_map(|manifest| &manifest.inputs))
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
    past: &Past<'_>,
    mapped: &MappedRows,
    mut files: Vec<FileInfo>,
    output: &OutputDir,
) -> Result<Vec<FileInfo>> {
    let dir = output.files();
    files.extend(mapped.plan.ledger.files.iter().cloned());
    files.extend(write_huggingface_files(&dir, &files)?);
    let made = |name: &str| files.iter().any(|file| file.name == name);
    let kept: Vec<&FileInfo> = past
        .reader
        .manifest()
        .files_of(FileKind::Metadata)
        .filter(|file| !made(&file.name))
        .collect();
    for file in kept {
        let path: &Path = &past.dir.join(&file.name);
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
    report.tree_messages.clone_from(&before.tree_messages);
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
