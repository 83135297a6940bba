//! The second reading: kept rows into their file, texts of examples into the report.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::report::{Example, SourceReport, StageReport, count, examples};
use super::scan::{Check, Inputs, changed_input};
use super::text::{Field, text_of};
use super::verdict::{Row, Verdict};
use super::{data_json, ledger};
use crate::error::{Code, Error, Result};
use crate::source::InputFile;
use crate::types::Record;

/// Characters of a text that an example shows.
const SHOWN: usize = 300;

/// Where the results go.
#[derive(Debug)]
pub(super) struct Target {
    out: PathBuf,
    ledger: PathBuf,
}

impl Target {
    /// Checks the place before any work.
    ///
    /// # Errors
    /// `config.value` for a file that is not `.jsonl` or one of the inputs; `output.exists`;
    /// `output.io`.
    fn check(out: &Path, overwrite: bool, inputs: &Inputs) -> Result<Self> {
        let extension = out.extension().and_then(|extension| extension.to_str());
        if extension != Some("jsonl") {
            let message = format!("--out {} does not end in .jsonl", out.display());
            return Err(Error::new(Code::ConfigValue, message)
                .at_field("out")
                .hint("rows are written as JSON Lines, whatever kind of file they are read from"));
        }
        let ledger = out.with_extension("ledger.arrow");
        refuse_input(out, &inputs.files, "inputs")?;
        for path in [out, &ledger] {
            if path.exists() && !overwrite {
                return Err(Error::new(Code::OutputExists, "the output exists")
                    .at_path(path)
                    .hint("choose another --out, or add --overwrite"));
            }
        }
        if !folder(out).is_dir() {
            return Err(Error::new(Code::OutputIo, "the folder does not exist")
                .at_path(folder(out))
                .hint("make it first"));
        }
        Ok(Self {
            out: out.to_owned(),
            ledger,
        })
    }
}

/// Refuses an output that is one of the files that are read.
fn refuse_input(out: &Path, files: &[InputFile], what: &str) -> Result<()> {
    let Ok(real) = fs::canonicalize(out) else {
        return Ok(()); // not there yet
    };
    let same = |file: &InputFile| fs::canonicalize(&file.path).is_ok_and(|path| path == real);
    if !files.iter().any(same) {
        return Ok(());
    }
    let message = format!("the output is one of the {what}");
    Err(Error::new(Code::ConfigValue, message)
        .at_path(out)
        .at_field("out")
        .hint("choose another file; what is read stays as it is"))
}

impl Target {
    /// Refuses an output that is one of the test sets.
    pub(super) fn is_not_among(&self, tests: &[InputFile]) -> Result<()> {
        refuse_input(&self.out, tests, "test sets")
    }
}

/// Where results go; a dry run has no place.
pub(super) fn target(
    out: Option<&PathBuf>,
    dry_run: bool,
    overwrite: bool,
    inputs: &Inputs,
) -> Result<Option<Target>> {
    if dry_run {
        return Ok(None);
    }
    let Some(out) = out else {
        let message = "there is no --out for the kept rows";
        return Err(Error::new(Code::ConfigValue, message)
            .at_field("out")
            .hint("add --out FILE.jsonl, or --dry-run to see what would go"));
    };
    Target::check(out, overwrite, inputs).map(Some)
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Writes what the verdicts say and completes the report.
pub(super) fn finish(
    inputs: &mut Inputs,
    rows: &[Row],
    target: Option<&Target>,
    field: Field,
    others: &Others,
    check: Check<'_>,
    report: &mut StageReport,
) -> Result<()> {
    let names: Vec<String> = inputs.files.iter().map(|file| file.name.clone()).collect();
    for (source, name) in names.iter().enumerate() {
        let (format, evidence) = inputs.format(source);
        report.sources.push(SourceReport {
            name: name.clone(),
            format: format.to_owned(),
            evidence: evidence.to_owned(),
            ..SourceReport::default()
        });
    }
    count(report, rows)?;
    let shown = examples(rows);
    let mut texts: BTreeMap<u64, String> = BTreeMap::new();
    for &at in &shown {
        texts.insert(at as u64, String::new());
        if let Verdict::Dropped { partner, .. } = &rows[at].verdict
            && (partner.source as usize) < names.len()
        {
            texts.insert(partner.row - 1, String::new());
        }
    }
    let io = |path: &Path| {
        let path = path.to_owned();
        move |error: std::io::Error| Error::io(Code::OutputIo, &path, &error)
    };
    let mut kept = match target {
        Some(target) => {
            let file = NamedTempFile::new_in(folder(&target.out)).map_err(io(&target.out))?;
            Some((std::io::BufWriter::with_capacity(1 << 18, file), target))
        }
        None => None,
    };
    let files = inputs.files.clone();
    let mut at = 0_u64;
    let mut line = String::new();
    let mut wanted: Vec<(u64, usize, Vec<u8>)> = Vec::new();
    inputs.records(check, |place, record| {
        let Some(row) = rows.get(at as usize).filter(|row| row.place == place) else {
            return Err(changed_input(&files[place.source as usize].path));
        };
        if texts.contains_key(&at) {
            wanted.push((
                at,
                place.source as usize,
                json_line(record, &mut line).to_vec(),
            ));
        }
        at += 1;
        if let Some((file, target)) = &mut kept
            && row.verdict.stays()
        {
            let json = json_line(record, &mut line);
            let written = file.write_all(json).and_then(|()| file.write_all(b"\n"));
            written.map_err(io(&target.out))?;
        }
        Ok(())
    })?;
    if at as usize != rows.len() {
        return Err(changed_input(&files[0].path));
    }
    for (at, source, json) in wanted {
        if let Some(sample) = inputs.sample(source, Record::Json(&json)) {
            let mut text = String::new();
            text_of(&sample, field, &mut text);
            texts.insert(at, shortened(&text));
        }
    }
    let mut all_names = names;
    all_names.extend(others.names.iter().cloned());
    for &at in &shown {
        let Verdict::Dropped {
            code,
            detail,
            partner,
            score,
        } = &rows[at].verdict
        else {
            continue;
        };
        let own = (partner.source as usize) < files.len();
        let partner_text = if own {
            texts.get(&(partner.row - 1)).cloned()
        } else {
            others.texts.get(&partner.row).map(|text| shortened(text))
        };
        report.examples.push(Example {
            code: code.as_str().to_owned(),
            score: *score,
            source: all_names[rows[at].place.source as usize].clone(),
            line: rows[at].place.line,
            partner_source: all_names[partner.source as usize].clone(),
            partner_line: partner.line,
            text: texts.get(&(at as u64)).cloned().unwrap_or_default(),
            partner_text: partner_text.unwrap_or_default(),
            detail: detail.clone(),
        });
    }
    let Some((file, target)) = kept else {
        return Ok(());
    };
    let file = file
        .into_inner()
        .map_err(|error| io(&target.out)(error.into_error()))?;
    file.as_file().sync_all().map_err(io(&target.out))?;
    let book = NamedTempFile::new_in(folder(&target.ledger)).map_err(io(&target.ledger))?;
    let read: Vec<(String, String)> = files
        .iter()
        .map(|file| (file.name.clone(), file.path.display().to_string()))
        .collect();
    ledger::write(book.path(), &report.stage, &all_names, &read, rows)?;
    for (file, path) in [(book, &target.ledger), (file, &target.out)] {
        readable(file.as_file()).map_err(io(path))?;
        file.persist(path).map_err(|error| io(path)(error.error))?;
    }
    report.out = Some(target.out.clone());
    report.ledger = Some(target.ledger.clone());
    Ok(())
}

/// Rows that are no input but that inputs are compared with.
#[derive(Debug, Default)]
pub(super) struct Others {
    /// Names of their files; they follow those of the inputs.
    pub(super) names: Vec<String>,
    /// Texts by row number (from 1).
    pub(super) texts: BTreeMap<u64, String>,
}

/// The row as one line of JSON: its own bytes, or without line breaks where it has some.
pub(super) fn json_line<'a>(record: Record<'a>, scratch: &'a mut String) -> &'a [u8] {
    scratch.clear();
    match record {
        Record::Json(bytes) if !bytes.contains(&b'\n') && !bytes.contains(&b'\r') => {
            return bytes.trim_ascii();
        }
        // line breaks of a JSON text are only ever between its tokens
        Record::Json(bytes) => {
            let lines = bytes.split(|byte| matches!(byte, b'\n' | b'\r'));
            for line in lines {
                scratch.push_str(&String::from_utf8_lossy(line.trim_ascii()));
                scratch.push(' ');
            }
        }
        Record::Data(row) => data_json::push(row, scratch),
        Record::Unreadable(_) => {}
    }
    scratch.as_bytes().trim_ascii()
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Temporary files are private; results are as readable as other files.
#[cfg(unix)]
pub(super) fn readable(file: &fs::File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
pub(super) fn readable(_: &fs::File) -> std::io::Result<()> {
    Ok(())
}
