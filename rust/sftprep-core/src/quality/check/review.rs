//! A sample of rows for a second look by a person.
//!
//! Rows are drawn from strata: per input, those with a finding that counts and those without. Inputs
//! that are held out come first: they get two thirds of the sample, because a wrong test set misjudges
//! every model. Within that, strata get equal parts, so that rare findings are seen; every line says
//! how many rows its stratum has, so that shares can be told from verdicts. A row is drawn by a hash
//! of seed and place: the same seed draws the same rows.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::Rows;
use super::across::is_test;
use super::issues::{Dimension, Issue};
use crate::error::{Error, Result};

/// A stratum and the rows that were drawn from it.
struct Stratum {
    name: String,
    held_out: bool,
    /// Rows by their hash.
    rows: Vec<(u64, u64)>,
}

/// A drawn row as a line of the file.
#[derive(Serialize)]
struct Line<'r> {
    row: u64,
    source: &'r str,
    #[serde(rename = "line")]
    place: u64,
    stratum: &'r str,
    stratum_rows: u64,
    issues: Vec<&'static str>,
    verdict: Option<&'static str>,
    note: &'static str,
}

/// What was drawn.
pub(super) struct Review {
    drawn: Vec<(u64, String, u64)>,
}

impl Review {
    /// Draws `count` rows.
    pub(super) fn draw(rows: &Rows, names: &[String], count: u32, seed: u64) -> Self {
        let mut strata: BTreeMap<(u32, bool), Stratum> = BTreeMap::new();
        for (at, (place, facts)) in rows.places.iter().zip(&rows.facts).enumerate() {
            let flagged = Dimension::ALL.iter().any(|it| facts.issues.touches(*it));
            let stratum = strata.entry((place.source, flagged)).or_insert_with(|| {
                let name = &names[place.source as usize];
                Stratum {
                    name: format!(
                        "{name}, {}",
                        if flagged { "findings" } else { "no finding" }
                    ),
                    held_out: is_test(name),
                    rows: Vec::new(),
                }
            });
            let hash = xxh3_64_with_seed(&(at as u64).to_le_bytes(), seed);
            stratum.rows.push((hash, at as u64));
        }
        let (mut held_out, mut others): (Vec<Stratum>, Vec<Stratum>) =
            strata.into_values().partition(|stratum| stratum.held_out);
        let available = |strata: &[Stratum]| strata.iter().map(|it| it.rows.len()).sum::<usize>();
        let count = (count as usize).min(available(&held_out) + available(&others));
        let wanted = if others.is_empty() {
            count
        } else {
            count.div_ceil(3) * 2
        };
        let left = count.saturating_sub(available(&others));
        let first = wanted.min(count).max(left).min(available(&held_out));
        let mut drawn = Vec::new();
        take(&mut held_out, first, &mut drawn);
        take(&mut others, count - first, &mut drawn);
        Self { drawn }
    }

    /// Rows whose data is wanted.
    pub(super) fn has(&self, row: u64) -> bool {
        self.drawn.iter().any(|(drawn, _, _)| *drawn == row)
    }

    /// Writes the drawn rows, held-out inputs first.
    pub(super) fn write(
        &self,
        path: &Path,
        rows: &Rows,
        names: &[String],
        data: &BTreeMap<u64, String>,
    ) -> Result<()> {
        super::report::replace(path, |out| {
            for (row, stratum, stratum_rows) in &self.drawn {
                let place = rows.places[*row as usize];
                let line = Line {
                    row: row + 1,
                    source: &names[place.source as usize],
                    place: place.line,
                    stratum,
                    stratum_rows: *stratum_rows,
                    issues: rows.facts[*row as usize]
                        .issues
                        .iter()
                        .map(Issue::name)
                        .collect(),
                    verdict: None,
                    note: "",
                };
                let line = serde_json::to_string(&line)?;
                let data = data.get(row).map_or("null", String::as_str);
                // the row's own bytes, numbers and order of keys included
                writeln!(out, "{}, \"data\": {data}}}", line.trim_end_matches('}'))?;
            }
            Ok(())
        })
        .map_err(|error: Error| error.at_field("review_out"))
    }
}

/// Draws rows from strata in equal parts; what a small one lacks goes to the others.
fn take(strata: &mut [Stratum], count: usize, drawn: &mut Vec<(u64, String, u64)>) {
    let mut left = count;
    let mut order: Vec<usize> = (0..strata.len()).collect();
    order.sort_by_key(|&at| strata[at].rows.len());
    let mut parts = vec![0; strata.len()];
    for (done, &at) in order.iter().enumerate() {
        parts[at] = (left / (order.len() - done)).min(strata[at].rows.len());
        left -= parts[at];
    }
    for (stratum, part) in strata.iter_mut().zip(parts) {
        stratum.rows.sort_unstable();
        let total = stratum.rows.len() as u64;
        let mut chosen: Vec<u64> = stratum
            .rows
            .iter()
            .take(part)
            .map(|(_, row)| *row)
            .collect();
        chosen.sort_unstable();
        drawn.extend(
            chosen
                .into_iter()
                .map(|row| (row, stratum.name.clone(), total)),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::row::Facts;
    use super::*;
    use crate::types::RowPlace;

    fn rows(counts: [(u32, usize); 2]) -> Rows {
        let mut rows = Rows::default();
        for (source, count) in counts {
            for line in 1..=count as u64 {
                rows.places.push(RowPlace {
                    source,
                    line,
                    offset: 0,
                });
                let mut facts = Facts::default();
                if line % 10 == 0 {
                    facts.issues.add(Issue::EmptyAnswer);
                }
                rows.facts.push(facts);
            }
        }
        rows
    }

    #[test]
    fn held_out_rows_come_first_and_the_seed_decides() {
        let names = ["train".to_owned(), "test".to_owned()];
        let rows = rows([(0, 1000), (1, 100)]);
        let review = Review::draw(&rows, &names, 30, 7);
        let held_out = review
            .drawn
            .iter()
            .filter(|(row, _, _)| *row >= 1000)
            .count();
        assert_eq!((review.drawn.len(), held_out), (30, 20));
        assert!(review.drawn[..20].iter().all(|(row, _, _)| *row >= 1000));
        let again = Review::draw(&rows, &names, 30, 7);
        assert_eq!(review.drawn, again.drawn);
        assert_ne!(review.drawn, Review::draw(&rows, &names, 30, 8).drawn);
        let flagged = review
            .drawn
            .iter()
            .filter(|(_, name, _)| name.ends_with("findings"))
            .count();
        assert_eq!(flagged, 15);
        let all = Review::draw(&rows, &names, 5000, 7);
        assert_eq!(all.drawn.len(), 1100);
    }
}
