//! Signs of single texts on real data: answers that were labelled, templates that are known broken,
//! and how fast damaged characters are looked for.

#![allow(clippy::unwrap_used, clippy::print_stderr)] // tests

mod support;

use std::time::Instant;

use proptest::prelude::*;
use sftprep_quality::signs::{
    Template, ai_phrase, asks_for_language, broken_template, characters, control_text,
    final_number, find_loop, identity, incapable, main_script, merged_record, missing_attachment,
    names_danger, no_input_marker, open_fence, private_data, refusal, truncation, url_only,
    wrong_calculation,
};
use sftprep_quality::words;
use support::{alpaca, file, rows, text};

#[test]
fn labels_of_solutions_follow_from_their_last_number() {
    let Some(rows) = rows("quality/gsm8k/model_solutions_first660.jsonl.gz") else {
        return;
    };
    let (mut agree, mut all) = (0, 0);
    for row in &rows {
        let truth = final_number(text(row, "ground_truth"), "A:").unwrap();
        let columns = row.as_object().unwrap().values();
        for solution in columns.filter_map(|value| value.as_object()) {
            let said = solution["solution"].as_str().unwrap();
            let right = final_number(said, "A:").is_some_and(|it| (it - truth).abs() < 1e-6);
            agree += usize::from(right == solution["is_correct"].as_bool().unwrap());
            all += 1;
        }
    }
    eprintln!("{agree} of {all} labels agree");
    assert!(all >= 1_000);
    assert!(agree * 1_000 >= all * 995, "{agree} of {all}");
}

#[test]
fn calculations_in_reference_answers_are_right() {
    let Some(rows) = rows("quality/gsm8k/openai_train_first3700.jsonl.gz") else {
        return;
    };
    let answers: Vec<&str> = rows.iter().map(|row| text(row, "answer")).collect();
    let marks: usize = answers.iter().map(|it| it.matches("<<").count()).sum();
    assert!(marks > 5_000, "the rows hold marks");
    let wrong = answers.iter().filter(|it| wrong_calculation(it).is_some());
    let wrong: Vec<&&str> = wrong.collect();
    for answer in wrong.iter().take(5) {
        eprintln!("{answer}\n");
    }
    assert!(
        wrong.len() * 200 <= answers.len(),
        "{} are wrong",
        wrong.len()
    );
}

#[test]
fn templates_with_a_lost_backslash_are_found() {
    let Some(json) = file("quality/flan/templates_v1.json") else {
        return;
    };
    let tasks: serde_json::Value = serde_json::from_str(&json).unwrap();
    let (mut seen, mut found) = (0, Vec::new());
    for (task, templates) in tasks.as_object().unwrap() {
        for (at, template) in templates.as_array().unwrap().iter().enumerate() {
            seen += 1;
            let lost = template.as_array().unwrap().iter().any(|side| {
                let found = broken_template(side.as_str().unwrap());
                found.is_some_and(|(_, kind)| kind == Template::LostBreak)
            });
            if lost {
                found.push(format!("{task} {at}"));
            }
        }
    }
    assert_eq!(seen, 310);
    assert_eq!(found, ["anli 5", "anli 6", "anli 7"]);
}

#[test]
fn damaged_characters_are_looked_for_fast() {
    let Some(rows) = rows("quality/planted/alpaca_10k.jsonl.gz") else {
        return;
    };
    let texts: Vec<String> = rows.iter().map(alpaca).collect();
    let start = Instant::now();
    let damaged = texts
        .iter()
        .filter(|it| characters(it).mojibake.is_some())
        .count();
    let rate = texts.len() as f64 / start.elapsed().as_secs_f64();
    eprintln!("{rate:.0} rows a second, {damaged} damaged");
    assert!(damaged >= 119);
    // fifty times what ftfy does on one core (1,800 rows a second)
    assert!(rate > 90_000.0 || cfg!(debug_assertions), "{rate}");
}

/// Texts made of what the detectors look for, and of anything else.
fn any_text() -> impl Strategy<Value = String> {
    let pieces = [
        "<<",
        ">>",
        "=",
        "1+2",
        "{",
        "}",
        "{question}n",
        "###",
        "12. Instruction:",
        "\n",
        "Output:",
        "jane@example.com",
        "4111 1111 1111 1111",
        "+49 (30) 123-45",
        "```",
        "Â°",
        "â€",
        "\u{fffd}",
        "\u{200b}",
        "I'm sorry, but I can't",
        "as an AI language model",
        "OpenAI",
        "A:",
        "-$1,5.",
        "https://a.b/c",
        "![x](y)",
        "[INST]",
        "我爱北京",
        "é",
        "\u{326}",
        "a a a a a a a a a a a a",
    ];
    let piece = prop_oneof![
        prop::sample::select(pieces.to_vec()).prop_map(str::to_owned),
        any::<String>(),
        "[ -~]{0,12}",
    ];
    prop::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_text_makes_a_detector_fail(text in any_text()) {
        let mut spelled = Vec::new();
        words(&text, &mut spelled);
        let found = characters(&text);
        let counted = [found.mojibake, found.control, found.replaced];
        let offsets = counted
            .into_iter()
            .flatten()
            .map(|(count, at)| {
                assert!(count > 0);
                at
            })
            .chain(merged_record(&text))
            .chain(control_text(&text))
            .chain(missing_attachment(&text))
            .chain(wrong_calculation(&text))
            .chain(broken_template(&text).map(|(at, _)| at))
            .chain(private_data(&text).map(|(at, _)| at))
            .chain(find_loop(&text, &spelled).map(|found| found.start));
        for at in offsets {
            prop_assert!(at < text.len() && text.is_char_boundary(at), "{at}");
        }
        for word in [identity(&spelled), ai_phrase(&spelled), incapable(&spelled)] {
            prop_assert!(word.is_none_or(|at| at < spelled.len()));
        }
        prop_assert!((0.0..=1.0).contains(&truncation(&text, &spelled)));
        prop_assert!(refusal(&text, &spelled).is_none_or(f32::is_finite));
        let (_, share) = main_script(&text);
        prop_assert!((0.0..=1.0).contains(&share));
        let _ = (final_number(&text, "A:"), open_fence(&text), url_only(&text));
        let _ = (no_input_marker(&text), names_danger(&text), asks_for_language(&text));
    }
}
