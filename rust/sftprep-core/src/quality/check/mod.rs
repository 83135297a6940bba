//! `check`: what is wrong with the rows, in six dimensions, without changing any.
//!
//! The first reading looks at every row by itself, counts its tokens and remembers what comparing
//! needs. Then duplicates and conflicts are decided. Further readings rank answers by how well
//! they fit their prompts, and fetch the texts that the report shows.

mod across;
mod balance;
mod config;
mod fit;
mod issues;
mod report;
mod review;
mod row;
mod sketch;
mod turns;
mod worst;

use std::collections::BTreeMap;
use std::time::Instant;

use super::dedup::{DedupConfig, Store};
use super::report::SourceReport;
use super::scan::{Check, Inputs, Visited};
use super::text::{Field, text_of};
use super::write::json_line;
use crate::error::{Code, Error, Result};
use crate::format::AlpacaInput;
use crate::pipeline::{Recipe, Worker};
use crate::types::{Record, RowPlace};

use across::Link;
use balance::Balance;
pub use config::CheckConfig;
use fit::Vocabulary;
pub(super) use issues::Issue;
pub use report::CheckReport;
use review::Review;
use row::{Facts, Looked, Looker};
pub(super) use turns::{Part, Role, parts, turns};
use worst::Worst;

/// All that is known of the rows.
#[derive(Default)]
struct Rows {
    places: Vec<RowPlace>,
    facts: Vec<Facts>,
    /// Rows that are like another one, or in conflict with it.
    links: Vec<Link>,
}

/// Looks at all rows and reports. `check` is called now and then and ends the work when it fails.
///
/// # Errors
/// `config.*`, `source.*`, `format.unknown`, `tokenizer.*`, `template.*`, `output.*`. A bad row is
/// a finding.
pub fn check(config: &CheckConfig, check: Check<'_>) -> Result<CheckReport> {
    let start = Instant::now();
    config.check_output()?;
    let (recipe, _) = Recipe::load(&config.pack())?;
    let mut inputs = Inputs::open(&config.source, config.threads)?;
    inputs.shape(recipe.parts_raw(), alpaca_input(&recipe));
    inputs.class(config.class.clone());
    let duplicates = DedupConfig {
        source: config.source.clone(),
        threshold: Some(config.threshold),
        common: config.common,
        ..DedupConfig::default()
    };
    let mut rows = Rows::default();
    let mut worst = Worst::new(config.examples);
    let mut balance = Balance::new(config.class.is_some());
    let mut store = Store::new(&duplicates);
    let mut compared: Vec<u32> = Vec::new();
    let words = Vocabulary::default();
    inputs.visit(
        check,
        || Looker::new(Worker::new(&recipe), config.max_len, &words),
        |looker, row: Visited, sample| (row.class, looker.look(sample)),
        |place, (class, looked): (Option<String>, Looked)| {
            if let Some(error) = looked.fatal {
                return Err(error);
            }
            let at = rows.facts.len();
            if at > u32::MAX as usize - 2 {
                return Err(
                    Error::new(Code::ConfigValue, "more than 4,294,967,293 rows")
                        .hint("check them in parts"),
                );
            }
            balance.add(class.as_deref(), &looked.task, looked.facts.trained);
            for seen in looked.seen {
                worst.meet(at as u64, seen);
            }
            if let Some(document) = looked.document {
                store.push(document);
                store.shrink(duplicates.rules());
                compared.push(at as u32);
            }
            rows.places.push(place);
            rows.facts.push(looked.facts);
            Ok(())
        },
    )?;
    if rows.facts.is_empty() {
        return Err(Error::new(Code::SourceEmpty, "the inputs hold no row")
            .hint("check that the path is the one you meant"));
    }
    let (fates, _) = store.decide(&mut inputs, &duplicates, check)?;
    let names: Vec<String> = inputs.files.iter().map(|file| file.name.clone()).collect();
    across::duplicates(&mut rows, &compared, &fates, &names);
    across::conflicts(&mut rows);
    worst.link(&rows);
    fit::rank(&mut inputs, &mut rows, &words, check)?;
    worst.rank(&rows);
    let review = Review::draw(&rows, &names, config.review, config.review_seed);
    let drawn = fetch(&mut inputs, &mut worst, &review, check)?;
    balance.finish(&rows, &names);
    let mut report = report::make(config, &rows, &balance, worst, &names);
    report
        .tokenizer
        .clone_from(&config.pack().template.tokenizer);
    report.sources = sources(&inputs, &rows, &names);
    report.apply(&config.fail_on);
    if let Some(path) = &config.findings {
        report::write_findings(path, &rows, &names)?;
        report.findings = Some(path.clone());
    }
    if let (Some(path), true) = (&config.review_out, config.review > 0) {
        review.write(path, &rows, &names, &drawn)?;
        report.review = Some(path.clone());
    }
    report.seconds = start.elapsed().as_secs_f64();
    Ok(report)
}

/// Reads the texts of rows that are shown; returns the rows that are drawn for review.
fn fetch(
    inputs: &mut Inputs,
    worst: &mut Worst,
    review: &Review,
    check: Check<'_>,
) -> Result<BTreeMap<u64, String>> {
    let mut texts = worst.wanted();
    let mut drawn = BTreeMap::new();
    let mut wanted: Vec<(u64, usize, Vec<u8>)> = Vec::new();
    let (mut at, mut line) = (0_u64, String::new());
    inputs.records(check, |place, record| {
        if review.has(at) {
            let json = json_line(record, &mut line);
            drawn.insert(at, String::from_utf8_lossy(json).into_owned());
        }
        if texts.contains_key(&at) {
            let json = json_line(record, &mut line).to_vec();
            wanted.push((at, place.source as usize, json));
        }
        at += 1;
        Ok(())
    })?;
    for (at, source, json) in wanted {
        if let (Some(sample), Some(text)) = (
            inputs.sample(source, Record::Json(&json)),
            texts.get_mut(&at),
        ) {
            text_of(&sample, Field::All, text);
        }
    }
    worst.tell(&texts);
    Ok(drawn)
}

fn alpaca_input(recipe: &Recipe) -> AlpacaInput {
    let builtin = recipe.templates.as_ref().ok().and_then(|it| it.builtin);
    if builtin == Some("alpaca") {
        AlpacaInput::Field
    } else {
        AlpacaInput::Join
    }
}

fn sources(inputs: &Inputs, rows: &Rows, names: &[String]) -> Vec<SourceReport> {
    let one = |(source, name): (usize, &String)| {
        let (format, evidence) = inputs.format(source);
        let of = |place: &&RowPlace| place.source as usize == source;
        let count = rows.places.iter().filter(of).count() as u64;
        SourceReport {
            name: name.clone(),
            format: format.to_owned(),
            evidence: evidence.to_owned(),
            rows: count,
            kept: count,
        }
    };
    names.iter().enumerate().map(one).collect()
}
