//! Class balance: how rows and trained tokens spread over sources, classes, tasks, scripts, lengths.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::Rows;
use super::issues::Issue;
use super::row::Facts;

/// Classes of a panel that are shown; the others are summed.
const SHOWN: usize = 12;
/// Distinct tasks or classes that are counted one by one.
const COUNTED: usize = 100_000;
const REST: &str = "(others)";

/// One way to divide the rows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Panel {
    /// Name of the division.
    pub id: &'static str,
    /// What it divides by.
    pub title: &'static str,
    /// Entropy of the shares of rows over that of equal shares, 0 to 1.
    pub evenness: f64,
    /// The same for trained tokens.
    pub token_evenness: f64,
    /// Distinct classes.
    pub distinct: usize,
    /// The classes, in their natural order or the largest first.
    pub classes: Vec<Class>,
}

/// A class of rows.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Class {
    /// Its name.
    pub name: String,
    /// Its rows.
    pub rows: u64,
    /// Their trained tokens.
    pub trained_tokens: u64,
}

type Counts = HashMap<String, (u64, u64)>;

/// Counts as rows come.
#[derive(Default)]
pub(super) struct Balance {
    classes: Option<Counts>,
    tasks: Counts,
    pub(super) panels: Vec<Panel>,
}

impl Balance {
    pub(super) fn new(with_classes: bool) -> Self {
        Self {
            classes: with_classes.then(Counts::new),
            ..Self::default()
        }
    }

    pub(super) fn add(&mut self, class: Option<&str>, task: &str, trained: u32) {
        if let Some(classes) = &mut self.classes {
            bump(classes, class.unwrap_or("(none)"), trained);
        }
        bump(
            &mut self.tasks,
            if task.is_empty() { "(none)" } else { task },
            trained,
        );
    }

    /// Makes the panels.
    pub(super) fn finish(&mut self, rows: &Rows, names: &[String]) {
        let source = |at: usize, _: &Facts| rows.places[at].source as usize;
        let mut panels = vec![ordered("source", "input", rows, names, source)];
        if let Some(classes) = self.classes.take() {
            panels.push(largest("class", "class", classes));
        }
        panels.push(largest(
            "task",
            "first word of the prompt",
            std::mem::take(&mut self.tasks),
        ));
        let mut scripts = Counts::new();
        for facts in &rows.facts {
            bump(&mut scripts, facts.script.name(), facts.trained);
        }
        panels.push(largest("script", "script of the answer", scripts));
        let lengths = [
            "0", "1-4", "5-19", "20-49", "50-99", "100-199", "200-499", "500+",
        ];
        let length = |_: usize, facts: &Facts| {
            [1, 5, 20, 50, 100, 200, 500].partition_point(|least| *least <= facts.answer_words)
        };
        panels.push(ordered(
            "length",
            "words of the last answer",
            rows,
            &lengths.map(str::to_owned),
            length,
        ));
        let turns = ["0-1", "2", "3-4", "5-8", "9-16", "17+"];
        let turn = |_: usize, facts: &Facts| {
            [2, 3, 5, 9, 17].partition_point(|least| *least <= facts.turns)
        };
        panels.push(ordered(
            "turns",
            "messages",
            rows,
            &turns.map(str::to_owned),
            turn,
        ));
        let answers = ["complies", "refuses"].map(str::to_owned);
        let answer = |_: usize, facts: &Facts| usize::from(facts.issues.has(Issue::Refusal));
        panels.push(ordered("refusal", "answer", rows, &answers, answer));
        self.panels = panels;
    }

    /// The panel whose evenness stands for the balance: classes where rows name them, inputs where
    /// there are several, else tasks.
    pub(super) fn main(&self) -> Option<&Panel> {
        let panel = |id: &str| self.panels.iter().find(|panel| panel.id == id);
        panel("class")
            .or_else(|| panel("source").filter(|panel| panel.distinct > 1))
            .or_else(|| panel("task"))
    }
}

fn bump(counts: &mut Counts, name: &str, trained: u32) {
    let name = if counts.len() >= COUNTED && !counts.contains_key(name) {
        REST
    } else {
        name
    };
    let count = counts.entry(name.to_owned()).or_default();
    count.0 += 1;
    count.1 += u64::from(trained);
}

/// A panel whose classes have an order of their own.
fn ordered(
    id: &'static str,
    title: &'static str,
    rows: &Rows,
    names: &[String],
    class: impl Fn(usize, &Facts) -> usize,
) -> Panel {
    let named = |name: &String| Class {
        name: name.clone(),
        ..Class::default()
    };
    let mut classes: Vec<Class> = names.iter().map(named).collect();
    for (at, facts) in rows.facts.iter().enumerate() {
        let class = &mut classes[class(at, facts)];
        class.rows += 1;
        class.trained_tokens += u64::from(facts.trained);
    }
    if classes.len() > SHOWN * 2 {
        let counts = classes
            .into_iter()
            .map(|it| (it.name, (it.rows, it.trained_tokens)));
        return largest(id, title, counts.collect());
    }
    panel(id, title, classes)
}

/// A panel that shows the largest classes.
fn largest(id: &'static str, title: &'static str, counts: Counts) -> Panel {
    let counts: BTreeMap<String, (u64, u64)> = counts.into_iter().collect();
    let mut classes: Vec<Class> = counts
        .into_iter()
        .map(|(name, (rows, trained_tokens))| Class {
            name,
            rows,
            trained_tokens,
        })
        .collect();
    classes.sort_by(|a, b| b.rows.cmp(&a.rows).then_with(|| a.name.cmp(&b.name)));
    let mut panel = panel(id, title, classes);
    if panel.classes.len() > SHOWN {
        let rest = panel.classes.split_off(SHOWN - 1);
        panel.classes.push(Class {
            name: format!("{REST}, {} kinds", rest.len()),
            rows: rest.iter().map(|class| class.rows).sum(),
            trained_tokens: rest.iter().map(|class| class.trained_tokens).sum(),
        });
    }
    panel
}

fn panel(id: &'static str, title: &'static str, classes: Vec<Class>) -> Panel {
    Panel {
        id,
        title,
        evenness: evenness(classes.iter().map(|class| class.rows)),
        token_evenness: evenness(classes.iter().map(|class| class.trained_tokens)),
        distinct: classes.iter().filter(|class| class.rows > 0).count(),
        classes,
    }
}

/// Entropy over that of as many equal shares; 1 for a single class.
fn evenness(counts: impl Iterator<Item = u64>) -> f64 {
    let counts: Vec<f64> = counts
        .filter(|count| *count > 0)
        .map(|count| count as f64)
        .collect();
    let total: f64 = counts.iter().sum();
    if counts.len() < 2 {
        return 1.0;
    }
    let entropy: f64 = counts
        .iter()
        .map(|count| -(count / total) * (count / total).ln())
        .sum();
    entropy / (counts.len() as f64).ln()
}

#[cfg(test)]
mod tests {
    use super::evenness;

    #[test]
    fn evenness_is_one_for_equal_shares() {
        assert!((evenness([5, 5, 5].into_iter()) - 1.0).abs() < 1e-12);
        assert!((evenness([9, 0].into_iter()) - 1.0).abs() < 1e-12);
        assert!(evenness([99, 1].into_iter()) < 0.1);
    }
}
