//! Groups of rows that say nearly the same, for splits that no pair of them straddles.

use serde::{Deserialize, Serialize};
use sftprep_quality::{Document, Shingler, similar_groups};

use super::scan::{Check, Inputs};
use super::text::{Field, text_of};
use crate::config::SourceConfig;
use crate::error::{Code, Error, Reject, Result};
use crate::types::Sample;

/// Options of [`groups`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GroupsConfig {
    /// What to read.
    pub source: SourceConfig,
    /// Least Jaccard similarity over word 3-grams of rows of one group, 0.1 to 1.
    pub threshold: f64,
    /// What is compared.
    pub field: Field,
    /// N-grams of more than so many distinct rows count as template; 0: none does.
    pub common: u32,
    /// Worker threads (0: all cores).
    pub threads: usize,
}

impl Default for GroupsConfig {
    fn default() -> Self {
        Self {
            source: SourceConfig::default(),
            threshold: 0.7,
            field: Field::All,
            common: 0,
            threads: 0,
        }
    }
}

impl GroupsConfig {
    /// Options from JSON.
    ///
    /// # Errors
    /// `config.unknown` and `config.value`.
    pub fn from_json(json: &str) -> Result<Self> {
        let config: Self = serde_json::from_str(json)
            .map_err(|error| Error::new(Code::ConfigUnknown, error.to_string()))?;
        if !(0.1..=1.0).contains(&config.threshold) {
            let message = format!("threshold is {}, it must be 0.1 to 1", config.threshold);
            return Err(Error::new(Code::ConfigValue, message)
                .at_field("threshold")
                .hint("0.7 keeps rows together that differ in a few words"));
        }
        Ok(config)
    }
}

/// For every row the index (from 0) of the first row of its group. Rows of one group are similar,
/// or similar to one that is, and so on; the search is exact. A row that cannot be read is alone.
///
/// # Errors
/// `config.*`, `source.*`, `format.unknown`.
pub fn groups(config: &GroupsConfig, check: Check<'_>) -> Result<Vec<i64>> {
    let mut inputs = Inputs::open(&config.source, config.threads)?;
    let mut documents: Vec<Document> = Vec::new();
    let mut rows: Vec<u32> = Vec::new();
    let mut count = 0_u32;
    inputs.samples(
        check,
        |scratch: &mut (Shingler, String), sample: Result<Sample, Reject>| {
            let sample = sample.ok()?;
            scratch.1.clear();
            text_of(&sample, config.field, &mut scratch.1);
            Some(scratch.0.document(&scratch.1))
        },
        |_, document| {
            if let Some(document) = document {
                documents.push(document);
                rows.push(count);
            }
            count = count.checked_add(1).ok_or_else(|| {
                Error::new(Code::ConfigValue, "more than 4,294,967,295 rows")
                    .hint("split them in parts")
            })?;
            Ok(())
        },
    )?;
    check()?;
    let first = similar_groups(&documents, config.threshold, config.common);
    let mut out: Vec<i64> = (0..i64::from(count)).collect();
    for (row, first) in rows.iter().zip(first) {
        out[*row as usize] = i64::from(rows[first as usize]);
    }
    Ok(out)
}
