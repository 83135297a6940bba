//! What `check` found, in numbers and examples; the same numbers that the page shows.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;
use tempfile::NamedTempFile;

use super::super::report::SourceReport;
use super::Rows;
use super::balance::{Balance, Panel};
use super::config::CheckConfig;
use super::issues::{Dimension, Issue};
use super::worst::{CUT_OFF, Shown, Worst};
use crate::error::{Code, Error, Result};

/// What `check` found.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct CheckReport {
    /// Rows read.
    pub rows: u64,
    /// Tokens of all rows that can be rendered.
    pub tokens: u64,
    /// Those that are trained.
    pub trained_tokens: u64,
    /// Tokenizer that counted them.
    pub tokenizer: String,
    /// Tokens of a row, at most.
    pub max_len: u32,
    /// The inputs.
    pub sources: Vec<SourceReport>,
    /// The six dimensions.
    pub dimensions: Vec<DimensionReport>,
    /// How the rows divide.
    pub panels: Vec<Panel>,
    /// What the policy allows, and what is.
    pub policy: Vec<Rule>,
    /// Whether nothing is above what the policy allows.
    pub ok: bool,
    /// Where all findings are, if they were asked for.
    pub findings: Option<PathBuf>,
    /// Where the rows for a second look are, if they were asked for.
    pub review: Option<PathBuf>,
    /// Seconds it took.
    pub seconds: f64,
}

/// A dimension of quality.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DimensionReport {
    /// Its name.
    pub id: &'static str,
    /// The question that it answers.
    pub question: &'static str,
    /// What the number is.
    pub measure: String,
    /// The number: the share of rows with a counted issue; for class balance, what is missing to
    /// equal shares.
    pub number: f64,
    /// The same by trained tokens.
    pub token_number: f64,
    /// Rows with a counted issue.
    pub rows: u64,
    /// Their trained tokens.
    pub trained_tokens: u64,
    /// Its issues.
    pub issues: Vec<IssueReport>,
}

/// An issue of a dimension.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct IssueReport {
    /// Its name.
    pub id: &'static str,
    /// What it means.
    pub title: &'static str,
    /// What to do.
    pub fix: &'static str,
    /// Whether it counts towards the dimension.
    pub counted: bool,
    /// Rows that have it.
    pub rows: u64,
    /// Their share.
    pub row_share: f64,
    /// Their trained tokens.
    pub trained_tokens: u64,
    /// Their share.
    pub token_share: f64,
    /// The worst of them.
    pub examples: Vec<Shown>,
}

/// A rule of the policy.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rule {
    /// Dimension or issue.
    pub name: String,
    /// Share that is allowed.
    pub allowed: f64,
    /// Share that is.
    pub seen: f64,
    /// Whether that is no more.
    pub ok: bool,
}

pub(super) fn make(
    config: &CheckConfig,
    rows: &Rows,
    balance: &Balance,
    mut worst: Worst,
    names: &[String],
) -> CheckReport {
    let sum = |value: &dyn Fn(usize) -> u32| -> u64 {
        (0..rows.facts.len()).map(|at| u64::from(value(at))).sum()
    };
    let mut report = CheckReport {
        rows: rows.facts.len() as u64,
        tokens: sum(&|at| rows.facts[at].tokens),
        trained_tokens: sum(&|at| rows.facts[at].trained),
        max_len: config.max_len,
        panels: balance.panels.clone(),
        ok: true,
        ..CheckReport::default()
    };
    for dimension in Dimension::ALL {
        let made = one(dimension, rows, &report, balance, &mut worst, names);
        report.dimensions.push(made);
    }
    report
}

fn one(
    dimension: Dimension,
    rows: &Rows,
    report: &CheckReport,
    balance: &Balance,
    worst: &mut Worst,
    names: &[String],
) -> DimensionReport {
    let count = |has: &dyn Fn(usize) -> bool| {
        let having = (0..rows.facts.len()).filter(|at| has(*at));
        having.fold((0_u64, 0_u64), |(count, tokens), at| {
            (count + 1, tokens + u64::from(rows.facts[at].trained))
        })
    };
    let of_dimension = Issue::ALL
        .iter()
        .filter(|issue| issue.dimension() == dimension);
    let issues = of_dimension.map(|&issue| {
        let (found, tokens) = match issue {
            Issue::Truncated => count(&|at| rows.facts[at].truncation >= CUT_OFF),
            Issue::Swapped => count(&|at| rows.facts[at].fit >= CUT_OFF),
            _ => count(&|at| rows.facts[at].issues.has(issue)),
        };
        IssueReport {
            id: issue.name(),
            title: issue.title(),
            fix: issue.fix(),
            counted: issue.counted(),
            rows: found,
            row_share: share(found, report.rows),
            trained_tokens: tokens,
            token_share: share(tokens, report.trained_tokens),
            examples: worst.take(issue, rows, names),
        }
    });
    let issues = issues.collect();
    let (found, tokens) = count(&|at| rows.facts[at].issues.touches(dimension));
    let (measure, number, token_number) = match (dimension, balance.main()) {
        (Dimension::ClassBalance, Some(panel)) => (
            format!("1 - evenness by {}", panel.title),
            1.0 - panel.evenness,
            1.0 - panel.token_evenness,
        ),
        _ => (
            "share of rows with a finding".to_owned(),
            share(found, report.rows),
            share(tokens, report.trained_tokens),
        ),
    };
    DimensionReport {
        id: dimension.name(),
        question: dimension.question(),
        measure,
        number,
        token_number,
        rows: found,
        trained_tokens: tokens,
        issues,
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

impl CheckReport {
    /// Holds the numbers against a policy.
    pub(super) fn apply(&mut self, policy: &BTreeMap<String, f64>) {
        for (name, &allowed) in policy {
            let mut seen = 0.0;
            for dimension in &self.dimensions {
                if dimension.id == name {
                    seen = dimension.number;
                }
                let issue = dimension.issues.iter().find(|issue| issue.id == name);
                seen = issue.map_or(seen, |issue| issue.row_share);
            }
            let ok = seen <= allowed;
            self.ok &= ok;
            self.policy.push(Rule {
                name: name.clone(),
                allowed,
                seen,
                ok,
            });
        }
    }
}

/// A row with findings, as a line of the file of findings.
#[derive(Serialize)]
struct Line<'r> {
    row: u64,
    source: &'r str,
    #[serde(rename = "line")]
    place: u64,
    issues: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    partners: Vec<Partner<'r>>,
    trained_tokens: u32,
    truncated: f32,
    swapped: f32,
}

#[derive(Serialize)]
struct Partner<'r> {
    issue: &'static str,
    row: u64,
    source: &'r str,
    #[serde(rename = "line")]
    place: u64,
    score: f64,
}

/// Writes a file as a whole or not at all.
pub(super) fn replace(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> Result<()> {
    let failed = |error: std::io::Error| Error::io(Code::OutputIo, path, &error);
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
    let file = NamedTempFile::new_in(folder.unwrap_or(Path::new("."))).map_err(failed)?;
    let mut out = std::io::BufWriter::new(file);
    write(&mut out).map_err(failed)?;
    let file = out
        .into_inner()
        .map_err(|error| failed(error.into_error()))?;
    super::super::target::readable(file.as_file()).map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

/// Writes every row that has a finding or a place in a ranking.
pub(super) fn write_findings(path: &Path, rows: &Rows, names: &[String]) -> Result<()> {
    let mut links = rows.links.clone();
    links.sort_by_key(|link| (link.row, link.issue));
    let mut links = links.as_slice();
    replace(path, |out| {
        for (at, facts) in rows.facts.iter().enumerate() {
            let own = links
                .iter()
                .take_while(|link| link.row as usize == at)
                .count();
            let (mine, rest) = links.split_at(own);
            links = rest;
            if facts.issues.is_empty() && facts.truncation <= 0.0 && facts.fit <= 0.0 {
                continue;
            }
            let place = rows.places[at];
            let line = Line {
                row: at as u64 + 1,
                source: &names[place.source as usize],
                place: place.line,
                issues: facts.issues.iter().map(Issue::name).collect(),
                partners: mine.iter().map(|link| partner(link, rows, names)).collect(),
                trained_tokens: facts.trained,
                truncated: facts.truncation,
                swapped: facts.fit,
            };
            serde_json::to_writer(&mut *out, &line)?;
            out.write_all(b"\n")?;
        }
        Ok(())
    })
}

fn partner<'r>(link: &super::Link, rows: &Rows, names: &'r [String]) -> Partner<'r> {
    let place = rows.places[link.partner as usize];
    Partner {
        issue: link.issue.name(),
        row: u64::from(link.partner) + 1,
        source: &names[place.source as usize],
        place: place.line,
        score: link.score,
    }
}
