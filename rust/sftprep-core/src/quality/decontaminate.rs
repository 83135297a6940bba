//! `decontaminate`: rows that contain an item of a test set leave the training set.

use std::path::PathBuf;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use sftprep_quality::{Leak, LeakRules, TestItems, Word};

use super::report::StageReport;
use super::scan::{Check, Inputs};
use super::target::{Target, target};
use super::text::{Field, text_of};
use super::verdict::{Note, Partner, Row, Verdict, check_rows};
use super::write::{Arrangement, Others, finish};
use crate::config::{FormatChoice, SourceConfig};
use crate::error::{Code, Error, Reject, Result};
use crate::types::Sample;

/// Spans that a row of the ledger lists.
const LISTED_SPANS: usize = 8;

/// Options of `decontaminate`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DecontaminateConfig {
    /// What to read.
    pub source: SourceConfig,
    /// Test sets: `path` or `name=path`, as inputs are.
    pub against: Vec<String>,
    /// Format of the test sets' rows.
    pub against_format: FormatChoice,
    /// Column mapping of the test sets.
    pub against_map: std::collections::BTreeMap<String, String>,
    /// What of a test row is searched for.
    pub against_field: Field,
    /// File for the kept rows, `.jsonl`; may be missing in a dry run.
    pub out: Option<PathBuf>,
    /// Least share of a test item's n-grams that a row must have to go, 0 to 1.
    pub containment: f64,
    /// Words of an n-gram, 1 to 50.
    pub ngram: usize,
    /// N-grams of more than so many rows do not count; 0: all count.
    pub common: u32,
    /// What of a row is searched.
    pub field: Field,
    /// Worker threads (0: all cores).
    pub threads: usize,
    /// Decide and report, write nothing.
    pub dry_run: bool,
    /// Replace existing output.
    pub overwrite: bool,
}

impl Default for DecontaminateConfig {
    fn default() -> Self {
        let rules = LeakRules::default();
        Self {
            source: SourceConfig::default(),
            against: Vec::new(),
            against_format: FormatChoice::Auto,
            against_map: std::collections::BTreeMap::new(),
            against_field: Field::Prompt,
            out: None,
            containment: rules.containment,
            ngram: rules.ngram,
            common: rules.common,
            field: Field::All,
            threads: 0,
            dry_run: false,
            overwrite: false,
        }
    }
}

impl DecontaminateConfig {
    /// Options from JSON.
    ///
    /// # Errors
    /// `config.unknown` and `config.value`.
    pub fn from_json(json: &str) -> Result<Self> {
        let config: Self = serde_json::from_str(json)
            .map_err(|error| Error::new(Code::ConfigUnknown, error.to_string()))?;
        let bad = |field: &str, message: String, hint: &str| {
            Err(Error::new(Code::ConfigValue, message)
                .at_field(field)
                .hint(hint))
        };
        if !(0.0..=1.0).contains(&config.containment) {
            let message = format!("containment is {}, it must be 0 to 1", config.containment);
            return bad("containment", message, "0.5 finds edited items too");
        }
        if !(1..=50).contains(&config.ngram) {
            let message = format!("ngram is {}, it must be 1 to 50", config.ngram);
            return bad("ngram", message, "5 is a good length");
        }
        if config.against.is_empty() {
            let message = "there is no test set".to_owned();
            return bad("against", message, "add --against TEST.jsonl");
        }
        Ok(config)
    }
}

/// Finds rows that contain an item of the test sets, and says of each which item that is and
/// where. `check` is called now and then and ends the work when it fails.
///
/// # Errors
/// `config.*`, `source.*`, `format.unknown`, `output.*`, `run.reject_rate`.
pub fn decontaminate(config: &DecontaminateConfig, check: Check<'_>) -> Result<StageReport> {
    let start = Instant::now();
    let mut inputs = Inputs::open(&config.source, config.threads)?;
    let target = target(
        config.out.as_ref(),
        config.dry_run,
        config.overwrite,
        &inputs,
    )?;
    let tests = Tests::read(config, inputs.files.len() as u32, target.as_ref(), check)?;
    let rules = LeakRules {
        containment: config.containment,
        ngram: config.ngram,
        common: config.common,
    };
    let mut items = TestItems::new(&tests.texts, rules);
    let mut rows: Vec<Row> = Vec::new();
    let searched = &items;
    let mut seen: Vec<Vec<u64>> = Vec::new();
    inputs.samples(
        check,
        |scratch: &mut Scratch, sample| {
            scratch.fill(sample, config.field)?;
            Ok(searched.shared(&scratch.text, &mut scratch.words))
        },
        |place, shared: Result<Vec<u64>, Reject>| {
            let verdict = match shared {
                Ok(shared) => {
                    if !shared.is_empty() {
                        seen.push(shared);
                    }
                    Verdict::Kept
                }
                Err(reject) => Verdict::of_reject(reject),
            };
            rows.push(Row::new(place, verdict));
            Ok(())
        },
    )?;
    check_rows(&rows, config.source.max_reject_rate)?;
    for shared in &seen {
        items.see(shared);
    }
    items.settle();
    let mut at = 0;
    inputs.samples(
        check,
        |scratch: &mut Scratch, sample| {
            scratch.fill(sample, config.field).ok()?;
            let leaks = items.find(&scratch.text, &mut scratch.words);
            let leak = leaks.into_iter().next()?;
            let detail = described(&leak, &scratch.text);
            Some((leak, detail))
        },
        |_, found| {
            if let (Some((leak, detail)), Some(row)) = (found, rows.get_mut(at)) {
                row.verdict = Verdict::Dropped(Box::new(Note {
                    code: Some(Code::QualityLeak),
                    detail,
                    partner: Some(tests.partners[leak.item as usize]),
                    score: Some(leak.containment),
                }));
            }
            at += 1;
            Ok(())
        },
    )?;
    let mut report = StageReport {
        stage: "decontaminate".to_owned(),
        method: "exact".to_owned(),
        items: Some(tests.texts.len() as u64),
        ..StageReport::default()
    };
    let numbers = tests.partners.iter().map(|partner| partner.row);
    let others = Others {
        texts: numbers.zip(tests.texts).collect(),
        names: tests.names,
    };
    finish(
        &mut inputs,
        &rows,
        target.as_ref(),
        config.field,
        &others,
        &Arrangement::default(),
        check,
        &mut report,
    )?;
    report.seconds = start.elapsed().as_secs_f64();
    Ok(report)
}

/// The items of all test sets.
struct Tests {
    names: Vec<String>,
    texts: Vec<String>,
    partners: Vec<Partner>,
}

impl Tests {
    /// Reads them; their sources are numbered from `first_source` on.
    fn read(
        config: &DecontaminateConfig,
        first_source: u32,
        target: Option<&Target>,
        check: Check<'_>,
    ) -> Result<Self> {
        let source = SourceConfig {
            inputs: config.against.clone(),
            format: config.against_format,
            map: config.against_map.clone(),
            role: config.source.role.clone(),
            max_line_bytes: config.source.max_line_bytes,
            ..SourceConfig::default()
        };
        let mut inputs = Inputs::open(&source, config.threads)?;
        let files = inputs.files.clone();
        if let Some(target) = target {
            target.is_not_among(&files)?;
        }
        let mut tests = Self {
            names: files.iter().map(|file| file.name.clone()).collect(),
            texts: Vec::new(),
            partners: Vec::new(),
        };
        let mut row = 0;
        inputs.samples(
            check,
            |scratch: &mut Scratch, sample| {
                let sample = sample?;
                // raw text is a prompt here: nothing else is in the row
                let field = match sample {
                    Sample::Text(_) => Field::All,
                    _ => config.against_field,
                };
                scratch.fill(Ok(sample), field)?;
                Ok(scratch.text.clone())
            },
            |place, text: Result<String, Reject>| {
                row += 1;
                // an item that is not searched for is a leak that is not found
                let text = text.map_err(|reject| {
                    let message = format!("a row of a test set cannot be read: {reject}");
                    Error::new(reject.code, message)
                        .at_path(&files[place.source as usize].path)
                        .at_line(place.line)
                        .hint("mend the row, or name its columns with --against-map")
                })?;
                tests.texts.push(text);
                tests.partners.push(Partner {
                    row,
                    source: first_source + place.source,
                    line: place.line,
                });
                Ok(())
            },
        )?;
        if tests.texts.iter().all(|text| text.trim().is_empty()) {
            return Err(Error::new(Code::SourceEmpty, "the test sets hold no text")
                .at_field("against")
                .hint("check the paths, and name the column with --against-map text=COLUMN"));
        }
        Ok(tests)
    }
}

/// What a thread keeps between rows.
#[derive(Default)]
struct Scratch {
    text: String,
    words: Vec<Word>,
}

impl Scratch {
    /// Puts the compared text of a sample into `text`.
    fn fill(&mut self, sample: Result<Sample, Reject>, field: Field) -> Result<(), Reject> {
        self.text.clear();
        text_of(&sample?, field, &mut self.text);
        Ok(())
    }
}

/// How much of the item is there, and where in the searched text.
fn described(leak: &Leak, text: &str) -> String {
    let mut places: Vec<String> = leak
        .spans
        .iter()
        .take(LISTED_SPANS)
        .map(|span| {
            let start = text[..span.start].chars().count();
            let end = start + text[span.clone()].chars().count();
            format!("{start}-{end}")
        })
        .collect();
    if leak.spans.len() > LISTED_SPANS {
        places.push(format!("and {} more", leak.spans.len() - LISTED_SPANS));
    }
    format!(
        "{:.1} % of the test item, at characters {}",
        leak.containment * 100.0,
        places.join(", ")
    )
}
