//! `dedup`: of rows that say the same, one stays.

use std::path::PathBuf;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use sftprep_quality::{
    DedupRules, Document, Fate, Keep, Likeness, Novelty, Shingler, SketchedDedup, dedup as decide,
    rouge_words,
};

use super::report::StageReport;
use super::scan::{Check, Inputs};
use super::target::target;
use super::text::{Field, text_of};
use super::verdict::{Note, Partner, Row, Verdict, check_rows};
use super::write::{Arrangement, Others, finish};
use crate::config::SourceConfig;
use crate::error::{Code, Error, Reject, Result};
use crate::types::Sample;

/// N-grams that are held at most before signatures take their place: 2 GiB.
const HELD_NGRAMS: usize = 256 << 20;

/// How near-duplicates are searched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Exactly where memory allows (256 million n-grams, 2 GiB), else by sketches.
    #[default]
    Auto,
    /// The exact join.
    Exact,
    /// MinHash signatures, every candidate verified exactly; inputs are read three times.
    Sketch,
    /// Not by sets of n-grams but by ROUGE-L, exactly: the rule by which Alpaca's instructions were
    /// kept or left out.
    #[serde(rename = "rouge-l")]
    RougeL,
}

/// Least Jaccard similarity of near-duplicates unless another is given.
const NEAR: f64 = 0.8;
/// Highest ROUGE-L F1 of rows that both stay, unless another is given.
const NOVEL: f64 = 0.7;

/// Which of several duplicates is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeepChoice {
    /// The longest, whatever the order of rows.
    #[default]
    Longest,
    /// The first.
    First,
}

/// Options of `dedup`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DedupConfig {
    /// What to read.
    pub source: SourceConfig,
    /// File for the kept rows, `.jsonl`; may be missing in a dry run.
    pub out: Option<PathBuf>,
    /// Least Jaccard similarity of near-duplicates over word 3-grams, 0.1 to 1 (0.8 if not given);
    /// with [`Method::RougeL`] the F1 that no two kept rows exceed, 0 to 1 (0.7 if not given).
    pub threshold: Option<f64>,
    /// Equal rows only, no near-duplicates.
    pub exact_only: bool,
    /// What is compared.
    pub field: Field,
    /// Which row is kept; by ROUGE-L it is the first, else the longest if nothing is said.
    pub keep: Option<KeepChoice>,
    /// N-grams of more than so many distinct rows count as template; 0: none does.
    pub common: u32,
    /// How near-duplicates are searched.
    pub method: Method,
    /// Worker threads (0: all cores).
    pub threads: usize,
    /// Decide and report, write nothing.
    pub dry_run: bool,
    /// Replace existing output.
    pub overwrite: bool,
}

impl Default for DedupConfig {
    fn default() -> Self {
        Self {
            source: SourceConfig::default(),
            out: None,
            threshold: None,
            exact_only: false,
            field: Field::All,
            keep: None,
            common: 50,
            method: Method::Auto,
            threads: 0,
            dry_run: false,
            overwrite: false,
        }
    }
}

impl DedupConfig {
    /// Options from JSON.
    ///
    /// # Errors
    /// `config.unknown` and `config.value`.
    pub fn from_json(json: &str) -> Result<Self> {
        let config: Self = serde_json::from_str(json)
            .map_err(|error| Error::new(Code::ConfigUnknown, error.to_string()))?;
        let by_sequence = config.method == Method::RougeL;
        let least = if by_sequence { 0.0 } else { 0.1 };
        let threshold = config.threshold();
        if !(least..=1.0).contains(&threshold) {
            let message = format!("threshold is {threshold}, it must be {least} to 1");
            return Err(Error::new(Code::ConfigValue, message)
                .at_field("threshold")
                .hint("0.8 finds rows that differ in a few words; ROUGE-L is mostly used at 0.7"));
        }
        if by_sequence && config.keep == Some(KeepChoice::Longest) {
            let message = "by ROUGE-L rows are taken in their order, and the first is kept";
            return Err(Error::new(Code::ConfigValue, message)
                .at_field("keep")
                .hint("leave out --keep, or sort the rows first"));
        }
        if by_sequence && config.exact_only {
            let message = "only equal rows are wanted, which needs no ROUGE-L";
            return Err(Error::new(Code::ConfigValue, message)
                .at_field("exact_only")
                .hint("leave out --exact or --method rouge-l"));
        }
        Ok(config)
    }

    fn threshold(&self) -> f64 {
        self.threshold.unwrap_or(match self.method {
            Method::RougeL => NOVEL,
            _ => NEAR,
        })
    }

    pub(super) fn rules(&self) -> DedupRules {
        DedupRules {
            near: (!self.exact_only).then(|| self.threshold()),
            keep: match self.keep {
                Some(KeepChoice::First) => Keep::First,
                Some(KeepChoice::Longest) | None => Keep::Longest,
            },
            common: self.common,
        }
    }
}

/// Finds duplicates among the rows of all inputs, keeps one of each, and says of every other row
/// which one that is. `check` is called now and then and ends the work when it fails.
///
/// # Errors
/// `config.*`, `source.*`, `format.unknown`, `output.*`, `run.reject_rate`.
pub fn dedup(config: &DedupConfig, check: Check<'_>) -> Result<StageReport> {
    let start = Instant::now();
    let mut inputs = Inputs::open(&config.source, config.threads)?;
    let target = target(
        config.out.as_ref(),
        config.dry_run,
        config.overwrite,
        &inputs,
    )?;
    let Compared {
        mut rows,
        names,
        fates,
        method,
    } = match config.method {
        Method::RougeL => by_sequence(&mut inputs, config, check)?,
        _ => by_ngrams(&mut inputs, config, check)?,
    };
    for (&name, fate) in names.iter().zip(&fates) {
        if let Fate::Dropped {
            partner,
            likeness,
            score,
        } = *fate
        {
            let partner = names[partner as usize] as usize;
            let place = rows[partner].place;
            let (code, detail) = reason(likeness, score);
            rows[name as usize].verdict = Verdict::Dropped(Box::new(Note {
                code: Some(code),
                detail,
                partner: Some(Partner {
                    row: partner as u64 + 1,
                    source: place.source,
                    line: place.line,
                }),
                score: Some(score),
            }));
        }
    }
    let mut report = StageReport {
        stage: "dedup".to_owned(),
        method: method.to_owned(),
        ..StageReport::default()
    };
    let others = Others::default();
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

/// Rows, those of them that were compared, and what becomes of these.
struct Compared {
    rows: Vec<Row>,
    /// Index among the rows, for each fate.
    names: Vec<u32>,
    fates: Vec<Fate>,
    method: &'static str,
}

fn by_ngrams(inputs: &mut Inputs, config: &DedupConfig, check: Check<'_>) -> Result<Compared> {
    let rules = config.rules();
    let mut store = Store::new(config);
    let (rows, names) = read(
        inputs,
        config,
        check,
        |scratch, text| scratch.shingler.document(text),
        |document| {
            store.push(document);
            store.shrink(rules);
        },
    )?;
    let (fates, method) = store.decide(inputs, config, check)?;
    Ok(Compared {
        rows,
        names,
        fates,
        method,
    })
}

fn by_sequence(inputs: &mut Inputs, config: &DedupConfig, check: Check<'_>) -> Result<Compared> {
    let mut novelty = Novelty::default();
    let words = |_: &mut Scratch, text: &str| {
        let mut words = Vec::new();
        rouge_words(text, &mut words);
        words
    };
    let (rows, names) = read(inputs, config, check, words, |words: Vec<u64>| {
        novelty.push(&words);
    })?;
    let fates = novelty.decide(config.threshold(), check)?;
    Ok(Compared {
        rows,
        names,
        fates,
        method: "rouge-l",
    })
}

/// Reads all rows: `make` makes of a row's text what is compared, `take` takes it, in order.
/// Returns the rows, and which of them were taken.
fn read<T: Send>(
    inputs: &mut Inputs,
    config: &DedupConfig,
    check: Check<'_>,
    make: impl Fn(&mut Scratch, &str) -> T + Sync,
    mut take: impl FnMut(T),
) -> Result<(Vec<Row>, Vec<u32>)> {
    let mut rows: Vec<Row> = Vec::new();
    let mut names: Vec<u32> = Vec::new();
    inputs.samples(
        check,
        |scratch: &mut Scratch, sample| {
            let mut text = std::mem::take(&mut scratch.text);
            let made = sample.map(|sample| {
                text.clear();
                text_of(&sample, config.field, &mut text);
                make(scratch, &text)
            });
            scratch.text = text;
            made
        },
        |place, made| {
            let verdict = match made {
                Ok(made) => {
                    take(made);
                    names.push(rows.len() as u32);
                    Verdict::Kept
                }
                Err(reject) => Verdict::of_reject(reject),
            };
            rows.push(Row::new(place, verdict));
            if rows.len() > u32::MAX as usize - 2 {
                return Err(
                    Error::new(Code::ConfigValue, "more than 4,294,967,293 rows")
                        .hint("deduplicate them in parts"),
                );
            }
            Ok(())
        },
    )?;
    check_rows(&rows, config.source.max_reject_rate)?;
    check()?;
    Ok((rows, names))
}

fn reason(likeness: Likeness, score: f64) -> (Code, String) {
    match likeness {
        Likeness::Identical => (Code::QualityIdentical, "the same text".to_owned()),
        Likeness::Normalised => {
            let detail = "the same text but for letter case, white space or quotes";
            (Code::QualityNormalised, detail.to_owned())
        }
        Likeness::Near => (
            Code::QualityNear,
            format!(
                "{:.1} % of the word 3-grams of both are shared",
                score * 100.0
            ),
        ),
        Likeness::Sequence => (
            Code::QualityRougeL,
            format!("ROUGE-L F1 {score:.3}: most words in the same order"),
        ),
    }
}

/// What a thread keeps between rows.
#[derive(Default)]
struct Scratch {
    shingler: Shingler,
    text: String,
}

impl Scratch {
    fn document(
        &mut self,
        sample: Result<Sample, Reject>,
        field: Field,
    ) -> Result<Document, Reject> {
        let sample = sample?;
        self.text.clear();
        text_of(&sample, field, &mut self.text);
        Ok(self.shingler.document(&self.text))
    }
}

/// Documents, or what is kept of them.
pub(super) enum Store {
    Held(Vec<Document>, usize),
    Sketched(SketchedDedup),
}

impl Store {
    pub(super) fn new(config: &DedupConfig) -> Self {
        if config.method == Method::Sketch && !config.exact_only {
            Self::Sketched(SketchedDedup::new(config.rules()))
        } else {
            let limit = match config.method {
                Method::Exact => usize::MAX,
                _ => HELD_NGRAMS,
            };
            Self::Held(Vec::new(), limit)
        }
    }

    pub(super) fn push(&mut self, document: Document) {
        match self {
            Self::Held(documents, left) => {
                *left = left.saturating_sub(document.shingles.len());
                documents.push(document);
            }
            Self::Sketched(sketched) => sketched.push(&document),
        }
    }

    /// Gives n-grams up for signatures once there are too many.
    pub(super) fn shrink(&mut self, rules: DedupRules) {
        if let Self::Held(documents, 0) = self {
            let mut sketched = SketchedDedup::new(rules);
            for document in documents.drain(..) {
                sketched.push(&document);
            }
            *self = Self::Sketched(sketched);
        }
    }

    pub(super) fn decide(
        self,
        inputs: &mut Inputs,
        config: &DedupConfig,
        check: Check<'_>,
    ) -> Result<(Vec<Fate>, &'static str)> {
        let sketched = match self {
            Self::Held(documents, _) => return Ok((decide(&documents, &config.rules()), "exact")),
            Self::Sketched(sketched) => sketched,
        };
        let wanted = sketched.candidates();
        let mut sets = Vec::with_capacity(wanted.documents.len());
        let mut name = 0;
        inputs.samples(
            check,
            |scratch: &mut Scratch, sample| scratch.document(sample, config.field),
            |_, document| {
                if let Ok(document) = document {
                    if wanted.documents.get(sets.len()) == Some(&name) {
                        sets.push(document.shingles);
                    }
                    name += 1;
                }
                Ok(())
            },
        )?;
        Ok((sketched.finish(&wanted, &sets), "sketch"))
    }
}
