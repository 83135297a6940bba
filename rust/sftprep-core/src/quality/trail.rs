//! One ledger for stages that follow each other: what became of every row of the first inputs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::ledger::{self, Extra, Head};
use super::ledger_file::{Entry, LedgerFile, read_ledger};
use super::verdict::{Note, Partner, Row, Verdict};
use crate::error::{Code, Error, Reject, Result};
use crate::types::RowPlace;

/// Ledgers that are made one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrailConfig {
    /// The stages, in their order.
    pub steps: Vec<Step>,
    /// Where the ledger goes; nowhere in a dry run.
    pub out: Option<PathBuf>,
    /// Per row of the first inputs the hash of its content; may be missing.
    pub hashes: Vec<String>,
    /// Names of the first inputs with their paths, for a first ledger that only numbers them.
    pub inputs: Vec<(String, String)>,
}

/// A row that is not there.
const NOWHERE: u32 = u32::MAX;

/// A stage that ran.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Step {
    /// Its name.
    pub stage: String,
    /// Its ledger.
    pub ledger: PathBuf,
    /// Which of the parts that an earlier stage made it read; empty: there was one.
    pub part: String,
    /// Whether it read a file for each of the first inputs instead of one for all.
    pub divided: bool,
    /// Names of the files that it read, for a ledger that only numbers them.
    pub names: Vec<String>,
}

/// What became of the rows of all inputs.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct TrailReport {
    /// Rows of the first inputs; always kept + dropped + rejected.
    pub rows: u64,
    /// Rows that are in the result.
    pub kept: u64,
    /// Rows that went, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Rows that are none, or that could not be used, by reason.
    pub rejected: BTreeMap<String, u64>,
    /// Lines of the result: kept rows, each as often as it is repeated.
    pub lines: u64,
    /// Stages, each with what it read, kept and let go.
    pub funnel: Vec<Funnel>,
    /// The first inputs.
    pub sources: Vec<Share>,
}

/// A stage of the funnel.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Funnel {
    /// Its name.
    pub stage: String,
    /// The part that it read; empty: all.
    pub part: String,
    /// Lines read.
    pub rows: u64,
    /// Of those the ones that stay.
    pub kept: u64,
    /// Lines written, with repetitions.
    pub lines: u64,
    /// Lines that go, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Lines that could not be used, by reason.
    pub rejected: BTreeMap<String, u64>,
    /// Lines that stay with a note, by what it says.
    pub noted: BTreeMap<String, u64>,
}

/// What an input is before and after.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Share {
    /// Its name.
    pub name: String,
    /// Its rows.
    pub rows: u64,
    /// Of those the ones in the result.
    pub kept: u64,
    /// Lines that they are there.
    pub lines: u64,
    /// Their tokens, if the result is packed.
    pub tokens: u64,
    /// Of those the trained ones.
    pub trained_tokens: u64,
}

impl TrailConfig {
    /// Options from JSON.
    ///
    /// # Errors
    /// `config.unknown`; `config.value` without a step.
    pub fn from_json(json: &str) -> Result<Self> {
        let config: Self = serde_json::from_str(json)
            .map_err(|error| Error::new(Code::ConfigUnknown, error.to_string()))?;
        if config.steps.is_empty() {
            return Err(Error::new(Code::ConfigValue, "there is no stage").at_field("steps"));
        }
        Ok(config)
    }
}

/// Follows every row of the first stage's inputs through all stages, and writes one ledger.
///
/// # Errors
/// `source.*` for a ledger that is not there or damaged, `output.io`; `run.internal` if ledgers do
/// not follow each other.
pub fn trail(config: &TrailConfig) -> Result<TrailReport> {
    let mut trail = Trail {
        inputs: config.inputs.clone(),
        ..Trail::default()
    };
    for (number, step) in config.steps.iter().enumerate() {
        let stage = i8::try_from(number)
            .map_err(|_| Error::new(Code::ConfigValue, "more than 127 stages").at_field("steps"))?;
        trail.step(stage, step)?;
    }
    let report = trail.report()?;
    if let Some(out) = &config.out {
        trail.write(out, config)?;
    }
    Ok(report)
}

/// What is known of a row of the first inputs.
#[derive(Debug)]
struct Fate {
    place: RowPlace,
    /// How many lines of the newest outputs it is.
    alive: u32,
    /// Why its first line went, in which stage, and whether that rejected it.
    gone: Option<(i8, bool, Note)>,
    /// What was said of it while it stayed, and where first.
    note: Option<(i8, Note)>,
    tokens: u64,
    trained: u64,
}

#[derive(Debug, Default)]
struct Trail {
    /// Names of the first inputs, then of other files that rows went because of.
    names: Vec<String>,
    inputs: Vec<(String, String)>,
    fates: Vec<Fate>,
    /// Outputs of the newest stages that wrote rows, by part: per line the row that it is.
    files: BTreeMap<String, Vec<u32>>,
    parts: Vec<String>,
    funnel: Vec<Funnel>,
}

impl Trail {
    fn begin(&mut self, file: &LedgerFile) {
        if !file.paths.is_empty() {
            self.inputs.clone_from(&file.paths);
        }
        self.names = self.inputs.iter().map(|it| it.0.clone()).collect();
        let fate = |line: &Entry| Fate {
            place: RowPlace {
                source: line.source,
                line: line.line,
                offset: line.offset,
            },
            alive: 1,
            gone: None,
            note: None,
            tokens: 0,
            trained: 0,
        };
        self.fates = file.rows.iter().map(fate).collect();
        self.files = BTreeMap::from([(String::new(), (0..self.fates.len() as u32).collect())]);
    }

    fn step(&mut self, stage: i8, step: &Step) -> Result<()> {
        let file = read_ledger(&step.ledger)?;
        if stage == 0 {
            self.begin(&file);
        }
        let broken = |message: String| {
            let message = format!("the ledgers do not follow each other: {message}");
            Error::new(Code::RunInternal, message).at_path(&step.ledger)
        };
        let Some(read) = self.files.get(&step.part).cloned() else {
            return Err(broken(format!("no stage wrote the part `{}`", step.part)));
        };
        let read = self.order(read, &file, step, stage == 0);
        if read.len() != file.rows.len() || read.contains(&NOWHERE) {
            let message = format!("{} lines, {} rows", read.len(), file.rows.len());
            return Err(broken(message));
        }
        let mut funnel = Funnel {
            stage: step.stage.clone(),
            part: step.part.clone(),
            ..Funnel::default()
        };
        let mut written: BTreeMap<String, Vec<(u64, u32)>> = BTreeMap::new();
        for (line, &name) in file.rows.iter().zip(&read) {
            let note = self.note(line, &file, &read);
            self.fates[name as usize].meet(stage, line, note, &mut funnel);
            if let (true, Some(first)) = (line.kept, line.output_line) {
                let part = line.part.and_then(|part| file.parts.get(part as usize));
                let lines = written
                    .entry(part.cloned().unwrap_or_default())
                    .or_default();
                lines.extend((first..first + u64::from(line.times)).map(|at| (at, name)));
            }
        }
        self.funnel.push(funnel);
        if !file.numbered {
            return Ok(()); // it wrote no rows that another stage could read
        }
        self.files.remove(&step.part);
        let names = match file.parts.as_slice() {
            [] => vec![String::new()],
            parts => parts.to_vec(),
        };
        for name in &names {
            let mut lines = written.remove(name).unwrap_or_default();
            lines.sort_unstable();
            if lines.iter().zip(1..).any(|((at, _), want)| *at != want) {
                return Err(broken(format!("lines of the output {name} are missing")));
            }
            let lines = lines.into_iter().map(|it| it.1).collect();
            self.files.insert(name.clone(), lines);
        }
        self.parts.extend_from_slice(&file.parts);
        Ok(())
    }

    /// The rows of the first inputs that the lines of a ledger are.
    fn order(&self, read: Vec<u32>, file: &LedgerFile, step: &Step, first: bool) -> Vec<u32> {
        if first {
            return read;
        }
        let mut by_name: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
        for name in read {
            let source = self.fates[name as usize].place.source as usize;
            let key = match self.names.get(source) {
                Some(source) if step.divided => source.as_str(),
                _ => "",
            };
            by_name.entry(key).or_default().push(name);
        }
        let names = match file.names.as_slice() {
            [] => &step.names,
            names => names,
        };
        let find = |line: &Entry| {
            let key = match names.get(line.source as usize) {
                Some(source) if step.divided => source.as_str(),
                _ => "",
            };
            let at = usize::try_from(line.line).ok()?.checked_sub(1)?;
            by_name.get(key)?.get(at).copied()
        };
        let found = file.rows.iter().map(|line| find(line).unwrap_or(NOWHERE));
        found.collect()
    }

    /// What a stage says of a line, with partners among the rows of the first inputs.
    fn note(&mut self, line: &Entry, file: &LedgerFile, read: &[u32]) -> Note {
        let partner = line.partner.and_then(|partner| {
            if (partner.source as usize) < file.inputs.len() {
                let at = usize::try_from(partner.row).ok()?.checked_sub(1)?;
                let name = *read.get(at)?;
                let place = self.fates[name as usize].place;
                return Some(Partner {
                    row: u64::from(name) + 1,
                    source: place.source,
                    line: place.line,
                });
            }
            let name = file.names.get(partner.source as usize)?;
            let own = self.inputs.len();
            let known = self.names[own..].iter().position(|it| it == name);
            let source = known.map_or(self.names.len(), |at| own + at);
            if known.is_none() {
                self.names.push(name.clone());
            }
            Some(Partner {
                source: source as u32,
                ..partner
            })
        });
        Note {
            code: line.code,
            detail: line.detail.clone(),
            partner,
            score: line.score,
        }
    }

    fn report(&self) -> Result<TrailReport> {
        let mut report = TrailReport {
            funnel: self.funnel.clone(),
            sources: self
                .inputs
                .iter()
                .map(|(name, _)| Share {
                    name: name.clone(),
                    ..Share::default()
                })
                .collect(),
            ..TrailReport::default()
        };
        for fate in &self.fates {
            report.rows += 1;
            let mut nowhere = Share::default();
            let source = report
                .sources
                .get_mut(fate.place.source as usize)
                .unwrap_or(&mut nowhere);
            source.rows += 1;
            if fate.alive > 0 {
                report.kept += 1;
                report.lines += u64::from(fate.alive);
                source.kept += 1;
                source.lines += u64::from(fate.alive);
                source.tokens += fate.tokens;
                source.trained_tokens += fate.trained;
                continue;
            }
            let (rejected, code) = fate
                .gone
                .as_ref()
                .map_or((false, None), |it| (it.1, it.2.code));
            let counts = if rejected {
                &mut report.rejected
            } else {
                &mut report.dropped
            };
            let code = code.map(Code::as_str).unwrap_or_default().to_owned();
            *counts.entry(code).or_default() += 1;
        }
        let gone = report.dropped.values().chain(report.rejected.values());
        if report.kept + gone.sum::<u64>() != report.rows || report.dropped.contains_key("") {
            let message = format!("the combined ledger does not balance: {report:?}");
            return Err(Error::new(Code::RunInternal, message));
        }
        Ok(report)
    }

    fn write(self, out: &Path, config: &TrailConfig) -> Result<()> {
        let mut lines: Vec<Option<u64>> = vec![None; self.fates.len()];
        let mut parts: Vec<u8> = vec![0; self.fates.len()];
        for (part, rows) in &self.files {
            let number = self
                .parts
                .iter()
                .position(|it| it == part)
                .unwrap_or_default();
            for (at, name) in rows.iter().enumerate() {
                lines[*name as usize].get_or_insert(at as u64 + 1);
                parts[*name as usize] = number as u8;
            }
        }
        let stages: Vec<String> = config.steps.iter().map(|step| step.stage.clone()).collect();
        let last = stages.len().saturating_sub(1) as i8;
        let mut of: Vec<i8> = Vec::with_capacity(self.fates.len());
        let mut rows: Vec<Row> = Vec::with_capacity(self.fates.len());
        for (at, fate) in self.fates.into_iter().enumerate() {
            let alive = fate.alive > 0;
            let (stage, verdict) = match (fate.gone, fate.note) {
                (Some((stage, true, note)), _) if !alive => (stage, rejected(note)),
                (Some((stage, false, note)), _) if !alive => {
                    (stage, Verdict::Dropped(Box::new(note)))
                }
                (_, Some((stage, note))) => (stage, Verdict::Noted(Box::new(note))),
                _ => (last, Verdict::Kept),
            };
            if !alive {
                lines[at] = None;
            }
            let mut row = Row::new(fate.place, verdict);
            row.times = fate.alive;
            row.part = parts[at];
            rows.push(row);
            of.push(stage);
        }
        let head = Head {
            stage: "prep",
            names: &self.names,
            inputs: &self.inputs,
            parts: &self.parts,
            part: usize::MAX,
            options: None,
        };
        let extra = Extra {
            stages: &stages,
            of: &of,
            hashes: Some(config.hashes.as_slice()).filter(|it| it.len() == rows.len()),
        };
        ledger::write_with(out, &head, &rows, &lines, &extra)
    }
}

fn rejected(note: Note) -> Verdict {
    let code = note.code.unwrap_or(Code::RunInternal);
    Verdict::Rejected(Box::new(Reject::new(code, note.detail)))
}

impl Fate {
    /// Takes in what a stage says of one of its lines.
    fn meet(&mut self, stage: i8, line: &Entry, note: Note, funnel: &mut Funnel) {
        funnel.rows += 1;
        let code = note.code.map(Code::as_str).unwrap_or_default().to_owned();
        if !line.kept {
            self.alive = self.alive.saturating_sub(1);
            let counts = if line.rejected {
                &mut funnel.rejected
            } else {
                &mut funnel.dropped
            };
            *counts.entry(code).or_default() += 1;
            self.gone.get_or_insert((stage, line.rejected, note));
            return;
        }
        funnel.kept += 1;
        funnel.lines += u64::from(line.times);
        self.alive = self.alive.saturating_add(line.times.saturating_sub(1));
        self.tokens += line.tokens;
        self.trained += line.trained_tokens;
        if note.code.is_none() {
            return;
        }
        *funnel.noted.entry(code).or_default() += 1;
        match &mut self.note {
            None => self.note = Some((stage, note)),
            Some((_, known)) if !known.detail.ends_with(&note.detail) => {
                known.detail = format!("{}; {}", known.detail, note.detail);
            }
            Some(_) => {}
        }
    }
}
