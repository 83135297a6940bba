//! The second reading: kept rows into their files, texts of examples into the report, the ledger.

use std::collections::BTreeMap;

use tempfile::NamedTempFile;

use super::kept::{KeptFiles, io, lines_of, order_of};
use super::report::{Example, PartReport, SourceReport, StageReport, count, examples};
use super::scan::{Check, Inputs, changed_input};
use super::target::{Target, folder, readable};
use super::text::{Field, text_of};
use super::verdict::Row;
use super::{data_json, ledger};
use crate::error::Result;
use crate::source::InputFile;
use crate::types::Record;

/// Characters of a text that an example shows.
const SHOWN: usize = 300;

/// Rows that are no input but that inputs are compared with.
#[derive(Debug, Default)]
pub(super) struct Others {
    /// Names of their files; they follow those of the inputs.
    pub(super) names: Vec<String>,
    /// Texts by row number (from 1).
    pub(super) texts: BTreeMap<u64, String>,
}

/// How rows that stay are written where that is not as they were read.
#[derive(Debug, Default)]
pub(super) struct Arrangement<'a> {
    /// Per row its position.
    pub(super) order: Option<&'a [i64]>,
    /// Per row the JSON that is written instead, if there is one.
    pub(super) lines: Option<&'a [Option<String>]>,
    /// Names of the outputs, where there may be several.
    pub(super) parts: &'a [String],
    /// Options of the stage as JSON.
    pub(super) options: Option<String>,
}

/// Writes what the verdicts say and completes the report.
#[allow(clippy::too_many_arguments)] // the whole of a stage comes together here
pub(super) fn finish(
    inputs: &mut Inputs,
    rows: &[Row],
    target: Option<&Target>,
    field: Field,
    others: &Others,
    arranged: &Arrangement<'_>,
    check: Check<'_>,
    report: &mut StageReport,
) -> Result<()> {
    let mut names: Vec<String> = inputs.files.iter().map(|file| file.name.clone()).collect();
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
    parts(report, rows, target, arranged.parts);
    let kept = order_of(rows, arranged.order);
    let mut texts = wanted_texts(rows, names.len());
    let files = match target {
        Some(target) => Some(KeptFiles::new(target, arranged.order.is_some())?),
        None => None,
    };
    let files = read_again(inputs, rows, files, arranged, check, (field, &mut texts))?;
    names.extend(others.names.iter().cloned());
    shown(report, rows, &names, inputs.files.len(), &texts, others);
    let (Some(files), Some(target)) = (files, target) else {
        return Ok(());
    };
    let lines = lines_of(rows, &kept, target.places.len());
    let files = files.finish(rows, &kept)?;
    let read = (inputs.files.as_slice(), names.as_slice());
    put(files, target, read, rows, &lines, arranged, report)
}

/// Writes the ledgers of finished files and puts all in their places; `lines` are the first lines
/// that rows take there, `read` the inputs and the names of all that there is.
///
/// # Errors
/// `output.io`.
pub(super) fn put(
    files: Vec<NamedTempFile>,
    target: &Target,
    (inputs, names): (&[InputFile], &[String]),
    rows: &[Row],
    lines: &[Option<u64>],
    arranged: &Arrangement<'_>,
    report: &mut StageReport,
) -> Result<()> {
    let read: Vec<(String, String)> = inputs
        .iter()
        .map(|file| (file.name.clone(), file.path.display().to_string()))
        .collect();
    let mut books = Vec::with_capacity(files.len());
    for (part, place) in target.places.iter().enumerate() {
        let book = NamedTempFile::new_in(folder(&place.ledger)).map_err(io(&place.ledger))?;
        let head = ledger::Head {
            stage: &report.stage,
            names,
            inputs: &read,
            parts: arranged.parts,
            part,
            options: arranged.options.as_deref(),
        };
        ledger::write(book.path(), &head, rows, lines)?;
        books.push(book);
    }
    for ((book, file), place) in books.into_iter().zip(files).zip(&target.places) {
        for (file, path) in [(book, &place.ledger), (file, &place.out)] {
            readable(file.as_file()).map_err(io(path))?;
            file.persist(path).map_err(|error| io(path)(error.error))?;
        }
    }
    report.out = target.places.first().map(|place| place.out.clone());
    report.ledger = target.places.first().map(|place| place.ledger.clone());
    Ok(())
}

/// Counts what each of several outputs gets.
fn parts(report: &mut StageReport, rows: &[Row], target: Option<&Target>, names: &[String]) {
    report.parts = names
        .iter()
        .enumerate()
        .map(|(at, name)| PartReport {
            name: name.clone(),
            out: target.and_then(|target| Some(target.places.get(at)?.out.clone())),
            ..PartReport::default()
        })
        .collect();
    for row in rows.iter().filter(|row| row.verdict.stays()) {
        if let Some(part) = report.parts.get_mut(usize::from(row.part)) {
            part.rows += 1;
            part.lines += u64::from(row.times);
        }
    }
}

/// The rows whose texts the report shows, their own and those of their partners.
fn wanted_texts(rows: &[Row], sources: usize) -> BTreeMap<u64, String> {
    let mut texts = BTreeMap::new();
    for at in examples(rows) {
        texts.insert(at as u64, String::new());
        if let Some(partner) = rows[at].verdict.dropped().and_then(|note| note.partner)
            && (partner.source as usize) < sources
        {
            texts.insert(partner.row - 1, String::new());
        }
    }
    texts
}

/// Reads the inputs once more: rows that stay go to `files`, texts that are asked for get filled.
fn read_again<'t>(
    inputs: &mut Inputs,
    rows: &[Row],
    mut files: Option<KeptFiles<'t>>,
    arranged: &Arrangement<'_>,
    check: Check<'_>,
    (field, texts): (Field, &mut BTreeMap<u64, String>),
) -> Result<Option<KeptFiles<'t>>> {
    let paths: Vec<_> = inputs.files.iter().map(|file| file.path.clone()).collect();
    let mut at = 0;
    let mut line = String::new();
    let mut wanted: Vec<(u64, usize, Vec<u8>)> = Vec::new();
    inputs.records(check, |place, record| {
        let Some(row) = rows.get(at).filter(|row| row.place == place) else {
            return Err(changed_input(&paths[place.source as usize]));
        };
        let number = at as u64;
        if texts.contains_key(&number) {
            let json = json_line(record, &mut line).to_vec();
            wanted.push((number, place.source as usize, json));
        }
        if let Some(files) = &mut files
            && row.written() > 0
        {
            match arranged.lines.and_then(|lines| lines[at].as_ref()) {
                Some(instead) => files.push(at, row, instead.as_bytes())?,
                None => files.push(at, row, json_line(record, &mut line))?,
            }
        }
        at += 1;
        Ok(())
    })?;
    if at != rows.len() {
        return Err(changed_input(&paths[0]));
    }
    for (at, source, json) in wanted {
        if let Some(sample) = inputs.sample(source, Record::Json(&json)) {
            let mut text = String::new();
            text_of(&sample, field, &mut text);
            texts.insert(at, shortened(&text));
        }
    }
    Ok(files)
}

/// Fills the report's examples.
fn shown(
    report: &mut StageReport,
    rows: &[Row],
    names: &[String],
    inputs: usize,
    texts: &BTreeMap<u64, String>,
    others: &Others,
) {
    for at in examples(rows) {
        let row = &rows[at];
        let Some((note, code)) = row.verdict.dropped().and_then(|it| Some((it, it.code?))) else {
            continue;
        };
        let partner_text = note.partner.and_then(|partner| {
            if (partner.source as usize) < inputs {
                texts.get(&(partner.row - 1)).cloned()
            } else {
                others.texts.get(&partner.row).map(|text| shortened(text))
            }
        });
        report.examples.push(Example {
            code: code.as_str().to_owned(),
            score: note.score,
            source: names[row.place.source as usize].clone(),
            line: row.place.line,
            partner_source: note.partner.map(|it| names[it.source as usize].clone()),
            partner_line: note.partner.map(|it| it.line),
            text: texts.get(&(at as u64)).cloned().unwrap_or_default(),
            partner_text,
            detail: note.detail.clone(),
        });
    }
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
