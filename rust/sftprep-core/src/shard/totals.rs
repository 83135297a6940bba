//! What became of every row and every token, and the proof that none is missing.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Code, Error, Result};

/// Counts by reason code.
pub type ByCode = BTreeMap<String, u64>;

/// Rows and tokens of one source, or of all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SourceTotals {
    /// Rows that the reader gave.
    pub rows: u64,
    /// Rows of which at least one document was packed.
    pub packed: u64,
    /// Rows that were bad, by reason.
    pub rejected: ByCode,
    /// Rows that were good but left out, by reason.
    pub dropped: ByCode,
    /// Tokens that the tokenizer gave.
    pub encoded: u64,
    /// Tokens that have a label.
    pub trained: u64,
    /// Tokens that are packed without a label.
    pub context: u64,
    /// Tokens cut off packed rows, by reason.
    pub cut: ByCode,
    /// Tokens of rows that were rejected or dropped after tokenizing, by reason.
    pub dropped_tokens: ByCode,
    /// Documents.
    pub documents: u64,
}

/// Totals of a run, per source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    sources: Vec<(String, SourceTotals)>,
}

impl SourceTotals {
    /// Rows that were rejected.
    pub fn rows_rejected(&self) -> u64 {
        sum(&self.rejected)
    }

    /// Rows that were dropped.
    pub fn rows_dropped(&self) -> u64 {
        sum(&self.dropped)
    }

    /// Whether every row and every token is accounted for; the message says which is not.
    pub fn balance(&self) -> Result<(), String> {
        let rows = [self.packed, self.rows_rejected(), self.rows_dropped()];
        let tokens = [
            self.trained,
            self.context,
            sum(&self.cut),
            sum(&self.dropped_tokens),
        ];
        if self.rows != saturating_sum(&rows) {
            let [packed, rejected, dropped] = rows;
            return Err(format!(
                "{} rows in, but {packed} packed + {rejected} rejected + {dropped} dropped",
                self.rows
            ));
        }
        if self.encoded != saturating_sum(&tokens) {
            let [trained, context, cut, dropped] = tokens;
            return Err(format!(
                "{} tokens encoded, but {trained} trained + {context} context + {cut} cut + \
                 {dropped} dropped",
                self.encoded
            ));
        }
        Ok(())
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.rows += other.rows;
        self.packed += other.packed;
        self.encoded += other.encoded;
        self.trained += other.trained;
        self.context += other.context;
        self.documents += other.documents;
        for (mine, theirs) in [
            (&mut self.rejected, &other.rejected),
            (&mut self.dropped, &other.dropped),
            (&mut self.cut, &other.cut),
            (&mut self.dropped_tokens, &other.dropped_tokens),
        ] {
            for (code, n) in theirs {
                *mine.entry(code.clone()).or_default() += n;
            }
        }
    }
}

impl Totals {
    /// Totals of these sources, all zero.
    pub fn new(sources: &[String]) -> Self {
        let zero = |name: &String| (name.clone(), SourceTotals::default());
        Self {
            sources: sources.iter().map(zero).collect(),
        }
    }

    /// Sum over all sources.
    pub fn all(&self) -> SourceTotals {
        let mut all = SourceTotals::default();
        for (_, totals) in &self.sources {
            all.add(totals);
        }
        all
    }

    /// Totals of each source, with its name.
    pub fn by_source(&self) -> impl Iterator<Item = (&str, &SourceTotals)> {
        self.sources
            .iter()
            .map(|(name, totals)| (name.as_str(), totals))
    }

    /// Totals of the source with that number.
    pub(super) fn source(&mut self, source: u32) -> Result<&mut SourceTotals> {
        let sources = self.sources.len();
        let found = self
            .sources
            .get_mut(source as usize)
            .map(|(_, totals)| totals);
        found.ok_or_else(|| {
            Error::new(
                Code::RunInternal,
                format!("a row of source {source} of {sources}"),
            )
        })
    }

    /// Proves that no row and no token is missing.
    ///
    /// # Errors
    ///
    /// `run.internal` that names the source and the numbers that do not add up.
    pub fn check(&self) -> Result<()> {
        for (name, totals) in &self.sources {
            totals.balance().map_err(|what| {
                let message = format!("the ledger of source {name:?} does not balance: {what}");
                Error::new(Code::RunInternal, message)
            })?;
        }
        Ok(())
    }
}

fn sum(counts: &ByCode) -> u64 {
    counts.values().fold(0, |sum, n| sum.saturating_add(*n))
}

fn saturating_sum(parts: &[u64]) -> u64 {
    parts.iter().fold(0, |sum, n| sum.saturating_add(*n))
}

impl fmt::Display for SourceTotals {
    /// One line per count, reasons indented below.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |name: &str, n: u64, reasons: Option<&ByCode>| {
            writeln!(f, "  {name:<28}{:>16}", group(n))?;
            for (code, n) in reasons.into_iter().flatten() {
                writeln!(f, "    {code:<26}{:>16}", group(*n))?;
            }
            Ok(())
        };
        line("rows in", self.rows, None)?;
        line("= packed", self.packed, None)?;
        line("+ rejected", self.rows_rejected(), Some(&self.rejected))?;
        line("+ dropped", self.rows_dropped(), Some(&self.dropped))?;
        line("tokens encoded", self.encoded, None)?;
        line("= trained", self.trained, None)?;
        line("+ context", self.context, None)?;
        line("+ cut", sum(&self.cut), Some(&self.cut))?;
        line(
            "+ dropped",
            sum(&self.dropped_tokens),
            Some(&self.dropped_tokens),
        )
    }
}

impl fmt::Display for Totals {
    /// Each source by itself where there are several, then the sum.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.sources.len() > 1 {
            for (name, totals) in &self.sources {
                writeln!(f, "{name}")?;
                write!(f, "{totals}")?;
            }
        }
        writeln!(f, "all sources")?;
        write!(f, "{}", self.all())
    }
}

/// Digits in groups of three.
fn group(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unbalanced_ledger_is_found() {
        let mut totals = Totals::new(&["a".to_owned(), "b".to_owned()]);
        totals.check().unwrap();
        let b = totals.source(1).unwrap();
        b.rows = 3;
        b.packed = 1;
        b.rejected.insert("row.json".to_owned(), 1);
        let error = totals.check().unwrap_err();
        assert_eq!(error.code, Code::RunInternal);
        assert!(error.message.contains("\"b\"") && error.message.contains("3 rows in"));
        let b = totals.source(1).unwrap();
        b.dropped.insert("pack.overlong".to_owned(), 1);
        b.encoded = 1_234_567;
        b.trained = 1_000_000;
        assert!(
            totals
                .check()
                .unwrap_err()
                .message
                .contains("1234567 tokens encoded")
        );
        totals.source(1).unwrap().context = 234_567;
        totals.check().unwrap();
        assert!(totals.to_string().contains("1,234,567"));
        assert!(totals.source(2).is_err());
    }
}
