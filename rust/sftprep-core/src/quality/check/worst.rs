//! The rows that a report shows: the worst of every issue.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Rows;
use super::issues::Issue;
use super::row::{Seen, around};

/// Rows of a ranking that are shown.
const RANKED: usize = 20;
/// Least score of a ranking at which a row is worth a look.
pub(super) const CUT_OFF: f32 = 0.5;

/// A row with an issue.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Shown {
    #[serde(skip)]
    pub(super) row: u64,
    #[serde(skip)]
    pub(super) partner: Option<u64>,
    #[serde(skip)]
    weight: f32,
    /// Its input.
    pub source: String,
    /// Its line.
    pub line: u64,
    /// What was seen.
    pub detail: String,
    /// The text there.
    pub excerpt: String,
    /// Input of the other row, if another row is concerned.
    pub partner_source: Option<String>,
    /// Its line.
    pub partner_line: Option<u64>,
    /// Its text.
    pub partner_excerpt: Option<String>,
}

/// Collects them.
pub(super) struct Worst {
    most: usize,
    by_issue: BTreeMap<Issue, Vec<Shown>>,
}

impl Worst {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            by_issue: BTreeMap::new(),
        }
    }

    /// Takes a finding if it is among the worst; of equally bad ones the first are.
    pub(super) fn meet(&mut self, row: u64, seen: Seen) {
        self.insert(
            seen.issue,
            Shown {
                row,
                weight: seen.weight,
                detail: seen.detail,
                excerpt: seen.excerpt,
                ..Shown::default()
            },
        );
    }

    fn insert(&mut self, issue: Issue, shown: Shown) {
        let most = match issue {
            Issue::Truncated | Issue::Swapped => self.most.max(RANKED),
            _ => self.most,
        };
        let worst = self.by_issue.entry(issue).or_default();
        let place = worst.partition_point(|known| known.weight >= shown.weight);
        if place < most {
            worst.insert(place, shown);
            worst.truncate(most);
        }
    }

    /// Takes rows that stand for another: near-duplicates the least alike first.
    pub(super) fn link(&mut self, rows: &Rows) {
        for link in &rows.links {
            let percent = link.score * 100.0;
            let detail = match link.issue {
                Issue::Near => format!("{percent:.1} % of the word 3-grams are shared"),
                Issue::Conflict => "the same prompt, another answer".to_owned(),
                _ => "the same text".to_owned(),
            };
            let shown = Shown {
                row: u64::from(link.row),
                partner: Some(u64::from(link.partner)),
                weight: 1.0 - link.score as f32,
                detail,
                ..Shown::default()
            };
            self.insert(link.issue, shown);
        }
    }

    /// Takes the answers that most look cut off, and those that fit their prompts least.
    pub(super) fn rank(&mut self, rows: &Rows) {
        for (row, facts) in rows.facts.iter().enumerate() {
            if facts.truncation >= CUT_OFF {
                self.ranked(Issue::Truncated, row as u64, facts.truncation);
            }
            if facts.fit >= CUT_OFF {
                self.ranked(Issue::Swapped, row as u64, facts.fit);
            }
        }
    }

    /// Takes a row of a ranking.
    fn ranked(&mut self, issue: Issue, row: u64, score: f32) {
        let shown = Shown {
            row,
            weight: score,
            detail: format!("score {score:.3}"),
            ..Shown::default()
        };
        self.insert(issue, shown);
    }

    /// Rows whose texts are wanted.
    pub(super) fn wanted(&self) -> BTreeMap<u64, String> {
        let shown = self
            .by_issue
            .values()
            .flatten()
            .filter(|it| it.excerpt.is_empty());
        let rows = shown.flat_map(|it| std::iter::once(it.row).chain(it.partner));
        rows.map(|row| (row, String::new())).collect()
    }

    /// Puts the texts in.
    pub(super) fn tell(&mut self, texts: &BTreeMap<u64, String>) {
        for (issue, shown) in &mut self.by_issue {
            let text = |row: u64| {
                let text = texts.get(&row).map_or("", String::as_str);
                // what was cut off is missing at the end
                let at = if *issue == Issue::Truncated {
                    text.len()
                } else {
                    0
                };
                around(text, at)
            };
            for each in shown {
                if each.excerpt.is_empty() {
                    each.excerpt = text(each.row);
                    each.partner_excerpt = each.partner.map(text);
                }
            }
        }
    }

    /// The worst of an issue with their places.
    pub(super) fn take(&mut self, issue: Issue, rows: &Rows, names: &[String]) -> Vec<Shown> {
        let mut shown = self.by_issue.remove(&issue).unwrap_or_default();
        for each in &mut shown {
            let place = |row: u64| {
                let place = rows.places[row as usize];
                (names[place.source as usize].clone(), place.line)
            };
            (each.source, each.line) = place(each.row);
            if let Some(partner) = each.partner {
                let (source, line) = place(partner);
                (each.partner_source, each.partner_line) = (Some(source), Some(line));
            }
        }
        shown
    }
}
