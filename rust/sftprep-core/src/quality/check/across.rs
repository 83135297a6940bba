//! What only several rows together show: duplicates, leaks across a split, conflicting answers.

use sftprep_quality::{Fate, Likeness};

use super::Rows;
use super::issues::Issue;

/// Answers that share more than this are near-duplicates, no conflict.
const SAME_ANSWER: f64 = 0.5;

/// A row and the other row because of which it has an issue.
#[derive(Debug, Clone, Copy)]
pub(super) struct Link {
    pub(super) row: u32,
    pub(super) partner: u32,
    pub(super) issue: Issue,
    /// How alike they are.
    pub(super) score: f64,
}

/// Marks duplicates; `compared` are the rows that have a fate.
pub(super) fn duplicates(rows: &mut Rows, compared: &[u32], fates: &[Fate], names: &[String]) {
    let tests: Vec<bool> = names.iter().map(|name| is_test(name)).collect();
    for (&row, fate) in compared.iter().zip(fates) {
        let Fate::Dropped {
            partner,
            likeness,
            score,
        } = *fate
        else {
            continue;
        };
        let partner = compared[partner as usize];
        let issue = match likeness {
            Likeness::Identical => Issue::Identical,
            Likeness::Normalised => Issue::Normalised,
            Likeness::Near | Likeness::Sequence => Issue::Near,
        };
        let mut add = |issue| {
            rows.facts[row as usize].issues.add(issue);
            rows.links.push(Link {
                row,
                partner,
                issue,
                score,
            });
        };
        add(issue);
        let source = |row: u32| rows.places[row as usize].source as usize;
        let (one, other) = (source(row), source(partner));
        if one != other {
            add(Issue::AcrossSources);
            if tests[one] != tests[other] {
                add(Issue::Leak);
            }
        }
    }
}

/// Whether the name of an input says that it is held out.
pub(super) fn is_test(name: &str) -> bool {
    let name = name.to_lowercase();
    let words = name.split(|c: char| !c.is_alphanumeric());
    words.into_iter().any(|word| {
        matches!(
            word,
            "test"
                | "tests"
                | "val"
                | "valid"
                | "validation"
                | "dev"
                | "eval"
                | "evaluation"
                | "heldout"
                | "holdout"
                | "exam"
        )
    })
}

/// Marks rows whose prompt has another answer elsewhere.
pub(super) fn conflicts(rows: &mut Rows) {
    let mut order: Vec<u32> = (0..rows.facts.len() as u32).collect();
    order.retain(|&row| {
        let facts = &rows.facts[row as usize];
        facts.prompt != 0 && facts.answer != 0
    });
    order.sort_by_key(|&row| (rows.facts[row as usize].prompt, row));
    let mut found = Vec::new();
    let prompt = |row: u32| rows.facts[row as usize].prompt;
    for group in order.chunk_by(|&a, &b| prompt(a) == prompt(b)) {
        if group.len() < 2 {
            continue;
        }
        for &row in group {
            let facts = &rows.facts[row as usize];
            let other = group.iter().copied().find(|&other| {
                let there = &rows.facts[other as usize];
                there.answer != facts.answer
                    && facts.answer_sketch.likeness(&there.answer_sketch) <= SAME_ANSWER
            });
            if let Some(partner) = other {
                found.push(Link {
                    row,
                    partner,
                    issue: Issue::Conflict,
                    score: 1.0,
                });
            }
        }
    }
    for link in &found {
        rows.facts[link.row as usize].issues.add(Issue::Conflict);
    }
    rows.links.extend(found);
}

#[cfg(test)]
mod tests {
    use super::is_test;

    #[test]
    fn names_of_held_out_inputs() {
        for name in [
            "data/test",
            "gsm8k-test-v2",
            "chat.dev",
            "eval_set",
            "Validation",
        ] {
            assert!(is_test(name), "{name}");
        }
        for name in ["latest", "train", "contest", "developer-chat"] {
            assert!(!is_test(name), "{name}");
        }
    }
}
