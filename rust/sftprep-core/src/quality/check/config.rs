//! Options of `check`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::issues::{Dimension, Issue};
use crate::config::{LabelConfig, PackConfig, SourceConfig, TemplateConfig};
use crate::error::{Code, Error, Result};

/// Options of `check`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CheckConfig {
    /// What to read.
    pub source: SourceConfig,
    /// How rows are rendered and tokenized, to count what is trained; the built-in tokenizer if
    /// none is named.
    pub template: TemplateConfig,
    /// What is trained.
    pub label: LabelConfig,
    /// Tokens of a row, at most.
    pub max_len: u32,
    /// Least Jaccard similarity of near-duplicates, 0.1 to 1, over word 3-grams.
    pub threshold: f64,
    /// N-grams of more than so many distinct rows count as template; 0: none does.
    pub common: u32,
    /// Rows shown of each issue.
    pub examples: usize,
    /// Column that says which class a row is of.
    pub class: Option<String>,
    /// Share that a dimension or an issue may reach, by name.
    pub fail_on: BTreeMap<String, f64>,
    /// File for all findings, one line of JSON per row that has some.
    pub findings: Option<PathBuf>,
    /// Rows to draw for a second look by a person; 0: none.
    pub review: u32,
    /// Seed of that draw.
    pub review_seed: u64,
    /// File for the drawn rows.
    pub review_out: Option<PathBuf>,
    /// Replace existing output.
    pub overwrite: bool,
    /// Worker threads (0: all cores).
    pub threads: usize,
}

impl Default for CheckConfig {
    fn default() -> Self {
        Self {
            source: SourceConfig::default(),
            template: TemplateConfig::default(),
            label: LabelConfig::default(),
            max_len: 4096,
            threshold: 0.8,
            common: 50,
            examples: 5,
            class: None,
            fail_on: BTreeMap::new(),
            findings: None,
            review: 0,
            review_seed: 0,
            review_out: None,
            overwrite: false,
            threads: 0,
        }
    }
}

impl CheckConfig {
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
        if !(0.1..=1.0).contains(&config.threshold) {
            let message = format!("threshold is {}, it must be 0.1 to 1", config.threshold);
            return bad(
                "threshold",
                message,
                "0.8 finds rows that differ in a few words",
            );
        }
        if config.max_len < 2 {
            let message = format!("max_len is {}, it must be at least 2", config.max_len);
            return bad("max_len", message, "4096 tokens are usual");
        }
        for (name, share) in &config.fail_on {
            let dimension = Dimension::ALL.iter().any(|it| it.name() == name);
            if !dimension && !Issue::ALL.iter().any(|it| it.name() == name) {
                let message = format!("fail_on names {name:?}, which is no dimension and no issue");
                let known: Vec<&str> = Dimension::ALL
                    .iter()
                    .map(|it| it.name())
                    .chain(Issue::ALL.iter().map(|it| it.name()))
                    .collect();
                return bad(
                    "fail_on",
                    message,
                    &format!("name one of {}", known.join(", ")),
                );
            }
            if !(0.0..=1.0).contains(share) {
                let message = format!("the share of {name} is {share}, it must be 0 to 1");
                return bad("fail_on", message, "0.02 is two rows of a hundred");
            }
        }
        Ok(config)
    }

    /// The same as a packing run would have them.
    pub(super) fn pack(&self) -> PackConfig {
        let mut template = self.template.clone();
        if template.tokenizer.is_empty() {
            "builtin".clone_into(&mut template.tokenizer);
        }
        PackConfig {
            source: self.source.clone(),
            template,
            label: self.label.clone(),
            ..PackConfig::default()
        }
    }

    /// Refuses to replace a file that was not meant.
    pub(super) fn check_output(&self) -> Result<()> {
        let mut outputs = [&self.findings, &self.review_out].into_iter().flatten();
        match outputs.find(|path| path.exists() && !self.overwrite) {
            Some(path) => Err(Error::new(Code::OutputExists, "the output exists")
                .at_path(path)
                .hint("choose another --out, or add --overwrite")),
            None => Ok(()),
        }
    }
}
