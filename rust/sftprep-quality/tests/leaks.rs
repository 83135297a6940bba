//! Leaked test items: planted ones are found with their place, and boilerplate is not a leak.

#![allow(clippy::unwrap_used, clippy::print_stderr)] // tests

mod support;

use std::collections::BTreeMap;

use sftprep_quality::{Leak, LeakRules, TestItems};
use support::{alpaca, rows, text};

/// Searches texts for items as a run does: twice.
fn search(items: &[String], texts: &[String], rules: LeakRules) -> Vec<Vec<Leak>> {
    let mut scratch = Vec::new();
    let mut tests = TestItems::new(items, rules);
    for text in texts {
        let shared = tests.shared(text, &mut scratch);
        tests.see(&shared);
    }
    tests.settle();
    texts
        .iter()
        .map(|text| tests.find(text, &mut scratch))
        .collect()
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn planted_leaks_are_found() {
    let (Some(rows), Some(truth)) = (
        rows("quality/planted/alpaca_10k.jsonl.gz"),
        rows("quality/planted/alpaca_10k.truth.jsonl.gz"),
    ) else {
        return;
    };
    let mut ids = Vec::new();
    let mut items = Vec::new();
    for name in ["mt_bench", "vicuna", "koala", "sinstruct"] {
        let Some(bench) = support::rows(&format!("quality/bench/{name}.jsonl.gz")) else {
            return;
        };
        for row in &bench {
            ids.push(row["id"].to_string());
            items.push(text(row, "text").to_owned());
        }
    }
    let Some(gsm8k) = support::rows("quality/gsm8k/openai_test_first660.jsonl.gz") else {
        return;
    };
    for (at, row) in gsm8k.iter().enumerate() {
        ids.push(format!("\"gsm8k-{at}\""));
        items.push(text(row, "question").to_owned());
    }
    let texts: Vec<String> = rows.iter().map(alpaca).collect();
    let leaks = search(&items, &texts, LeakRules::default());
    let place: BTreeMap<&str, usize> = rows.iter().map(|row| text(row, "id")).zip(0..).collect();
    let mut planted: BTreeMap<usize, (String, String)> = BTreeMap::new();
    for line in &truth {
        if text(line, "defect") == "leaked_test" {
            let item = line["item"].to_string();
            planted.insert(
                place[text(line, "id")],
                (item, text(line, "form").to_owned()),
            );
        }
    }
    let mut by_form: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
    for (at, (item, form)) in &planted {
        let counts = by_form.entry(form).or_default();
        counts.1 += 1;
        let right = leaks[*at]
            .iter()
            .any(|leak| ids[leak.item as usize] == *item);
        counts.0 += u32::from(right);
        if !right {
            eprintln!("missed {form} {item}: {:.150}", texts[*at]);
        }
    }
    let flagged: Vec<usize> = (0..texts.len())
        .filter(|at| !leaks[*at].is_empty())
        .collect();
    let right = flagged.iter().filter(|at| planted.contains_key(at)).count();
    for at in flagged.iter().filter(|at| !planted.contains_key(at)) {
        let leak = &leaks[*at][0];
        let item = &items[leak.item as usize];
        eprintln!(
            "extra {:.2} {item:.100}\n   in {:.100}",
            leak.containment, texts[*at]
        );
    }
    eprintln!(
        "{by_form:?}; {right} of {} flagged rows were planted",
        flagged.len()
    );
    for (form, (found, all)) in by_form {
        let wanted = if form == "edited" { 0.85 } else { 1.0 };
        assert!(
            f64::from(found) >= wanted * f64::from(all),
            "{form}: {found} of {all}"
        );
    }
    assert!(right as f64 >= 0.97 * flagged.len() as f64);
}

const QUESTION: &str = "Lena reads 14 pages every morning and twice as many pages every evening. \
                        How many pages does she read in a week?";

#[test]
fn spans_point_at_the_characters() {
    let text = format!(
        "Größe — hör zu:\n“{}” Danke schön!",
        QUESTION.to_uppercase()
    );
    let leaks = search(
        &owned(&[QUESTION]),
        std::slice::from_ref(&text),
        LeakRules::default(),
    );
    assert_eq!(leaks[0].len(), 1);
    assert!((leaks[0][0].containment - 1.0).abs() < 1e-12);
    let spans: Vec<&str> = leaks[0][0]
        .spans
        .iter()
        .map(|span| &text[span.clone()])
        .collect();
    assert_eq!(spans, [QUESTION.to_uppercase().trim_end_matches('?')]);

    let edited = QUESTION.replace("every evening", "each and every night");
    let leaks = search(
        &owned(&[QUESTION]),
        std::slice::from_ref(&edited),
        LeakRules::default(),
    );
    let spans: Vec<&str> = leaks[0][0]
        .spans
        .iter()
        .map(|span| &edited[span.clone()])
        .collect();
    assert_eq!(
        spans,
        [
            "Lena reads 14 pages every morning and twice as many pages",
            "How many pages does she read in a week"
        ]
    );
}

#[test]
fn the_threshold_is_read() {
    // 21 words have 17 5-grams; the first 13 words have 9 of them
    let half: String = QUESTION.split(' ').take(13).collect::<Vec<_>>().join(" ");
    let texts = [
        QUESTION.to_owned(),
        half,
        "Lena reads 14 pages every morning, she says.".into(),
    ];
    for (containment, found) in [
        (0.0, [true, true, false]),
        (0.5, [true, true, false]),
        (0.85, [true, false, false]),
        (1.0, [true, false, false]),
    ] {
        let rules = LeakRules {
            containment,
            ..LeakRules::default()
        };
        let leaks = search(&owned(&[QUESTION]), &texts, rules);
        let seen: Vec<bool> = leaks.iter().map(|leaks| !leaks.is_empty()).collect();
        assert_eq!(seen, found, "at {containment}");
    }
}

#[test]
fn boilerplate_is_no_leak() {
    let boilerplate = "The following are multiple choice questions with answers about the topic \
                       named below. Choose the best of the four answers given and write its letter.";
    let items = [
        format!("{boilerplate} {QUESTION}"),
        format!("{boilerplate} Which planet has the most moons of all in the solar system?"),
    ];
    let mut texts: Vec<String> = (0..60)
        .map(|at| {
            format!(
                "{boilerplate} What is {at} apples and {at} pears and {} nuts?",
                at + 1
            )
        })
        .collect();
    texts.push(format!("{boilerplate} {QUESTION}"));
    texts.push(format!("Tell me. {QUESTION}"));
    let flagged = |common| {
        let rules = LeakRules {
            common,
            ..LeakRules::default()
        };
        let leaks = search(&items, &texts, rules);
        (0..texts.len())
            .filter(|at| !leaks[*at].is_empty())
            .collect::<Vec<_>>()
    };
    assert!(flagged(0).len() > 60, "the boilerplate must tempt");
    assert_eq!(flagged(50), [60, 61]);
    // an item that half of the data set holds is one all the same
    let many: Vec<String> = (0..200).map(|at| format!("{at}: {QUESTION}")).collect();
    let leaks = search(&owned(&[QUESTION]), &many, LeakRules::default());
    assert!(leaks.iter().all(|leaks| leaks.len() == 1));
}

#[test]
fn short_items_are_found_as_lines_only() {
    let items = owned(&["Name a fruit.", "", "?!", "Hi"]);
    let texts = owned(&[
        "Name a fruit\nAn apple.",
        "Name a fruit that is red.\nAn apple.",
        "Say:\nhi!\n",
        "Hi there",
        "",
    ]);
    let leaks = search(&items, &texts, LeakRules::default());
    let found: Vec<Vec<u32>> = leaks
        .iter()
        .map(|leaks| leaks.iter().map(|leak| leak.item).collect())
        .collect();
    assert_eq!(found, [vec![0], vec![], vec![3], vec![], vec![]]);
    assert_eq!(&texts[2][leaks[2][0].spans[0].clone()], "hi");
}
