//! Real rows: every shared set is read to its end, its format told right, its rejects known.

use std::collections::BTreeMap;
use std::path::Path;

use super::*;
use crate::json;
use crate::source::{ReadOptions, Reader, resolve};
use crate::test_data;
use crate::types::Record;

struct Outcome {
    format: String,
    samples: usize,
    rejects: BTreeMap<String, usize>,
}

fn read(path: &Path, map: &[(&str, &str)]) -> Outcome {
    let files = resolve(&[path.to_str().unwrap().to_owned()]).unwrap();
    let mut reader = Reader::new(files, ReadOptions::default());
    let mut notes = JsonNotes::default();
    let map: BTreeMap<String, String> = map
        .iter()
        .map(|(a, b)| ((*a).into(), (*b).into()))
        .collect();
    let mut outcome = Outcome {
        format: String::new(),
        samples: 0,
        rejects: BTreeMap::new(),
    };
    let mut parser: Option<Parser> = None;
    while let Some(chunk) = reader.next_chunk().unwrap() {
        let rows: Vec<Result<Data, Reject>> = chunk
            .rows
            .iter()
            .map(|(_, record)| match record {
                Record::Json(bytes) => json::parse(bytes, &mut notes),
                Record::Data(row) => Ok(row.clone()),
                Record::Unreadable(reject) => Err(reject.clone()),
            })
            .collect();
        if parser.is_none() {
            let first: Vec<Data> = rows.iter().flatten().take(100).cloned().collect();
            let detected = match detect(&first, &map) {
                Ok(detected) => detected,
                Err(error) => {
                    outcome.format = error.hint.unwrap();
                    return outcome;
                }
            };
            outcome.format = detected.format.to_string();
            let options = FormatOptions {
                map: map.clone(),
                ..FormatOptions::new(detected.format)
            };
            parser = Some(Parser::new(options).unwrap());
        }
        let parser = parser.as_ref().unwrap();
        for row in rows {
            match row.and_then(|row| parser.parse(row, &mut notes)) {
                Ok(_) => outcome.samples += 1,
                Err(reject) => *outcome.rejects.entry(reject.to_string()).or_default() += 1,
            }
        }
    }
    outcome
}

#[track_caller]
fn check(name: &str, format: &str, samples: usize, rejects: usize) {
    let Some(path) = test_data::path(name) else {
        return;
    };
    let outcome = read(&path, &[]);
    let rejected: usize = outcome.rejects.values().sum();
    assert_eq!(
        (outcome.format.as_str(), outcome.samples, rejected),
        (format, samples, rejects),
        "{name}: {:?}",
        outcome.rejects
    );
}

#[test]
fn sft_sets() {
    check("sft/alpaca_en.jsonl.gz", "alpaca", 6000, 0);
    check("sft/alpaca_zh.jsonl.gz", "alpaca", 3040, 0);
    check("sft/fastchat_dummy.sharegpt.jsonl", "sharegpt", 250, 0);
    check("sft/gpteacher_codegen.alpaca.jsonl.gz", "alpaca", 1500, 0);
    check(
        "sft/instruct_long_answers.messages.jsonl.gz",
        "messages",
        2500,
        0,
    );
    check("sft/llamafactory_alpaca_zh_demo.jsonl", "alpaca", 500, 0);
    check(
        "sft/llamafactory_glaive_toolcall_en_demo.jsonl",
        "sharegpt",
        150,
        0,
    );
    check(
        "sft/llamafactory_glaive_toolcall_zh_demo.jsonl",
        "sharegpt",
        150,
        0,
    );
    check(
        "sft/llamafactory_reason_tool_use.v1.jsonl",
        "messages",
        25,
        0,
    );
    check("sft/longest_answers.messages.jsonl", "messages", 150, 0);
    check("sft/sgd_multiturn.messages.jsonl.gz", "messages", 1100, 0);
    check("sft/sgd_multiturn.sharegpt.jsonl.gz", "sharegpt", 400, 0);
    check("sft/sgd_tools.messages.jsonl.gz", "messages", 598, 0);
    check(
        "sft/stitched_long_multiturn.messages.jsonl.gz",
        "messages",
        400,
        0,
    );
    check("conversations.jsonl", "messages", 32, 0);
}

#[test]
fn quality_sets() {
    check("quality/alpaca/alpaca_data.jsonl.gz", "alpaca", 52_002, 0);
    check("quality/alpaca/mergeit_merged.jsonl.gz", "alpaca", 1219, 0);
    check("quality/planted/alpaca_10k.jsonl.gz", "alpaca", 10_963, 127);
    check(
        "quality/planted/sharegpt_roles.jsonl.gz",
        "sharegpt",
        224,
        26,
    );
    check(
        "quality/refusal/safety_tuned_first1000.jsonl.gz",
        "alpaca",
        1000,
        0,
    );
    for (name, rows) in [
        ("llama2new", 450),
        ("mistralguard", 450),
        ("mistralinstruct", 450),
    ] {
        let name = format!("quality/refusal/xstest_{name}.jsonl.gz");
        check(&name, "prompt_completion", rows, 0);
    }
    for (name, rows) in [
        ("koala", 180),
        ("mt_bench", 80),
        ("sinstruct", 252),
        ("vicuna", 80),
    ] {
        check(&format!("quality/bench/{name}.jsonl.gz"), "text", rows, 0);
    }
}

#[test]
fn sets_in_no_format_get_advice() {
    let question = "try --format alpaca --map instruction=question --map output=answer";
    check(
        "quality/gsm8k/openai_train_first3700.jsonl.gz",
        question,
        0,
        0,
    );
    check("quality/gsm8k/flan_cot_first3700.jsonl.gz", question, 0, 0);
    check(
        "quality/flan/cot_strategyqa.jsonl.gz",
        "write one JSON object per row",
        0,
        0,
    );
    let Some(path) = test_data::path("quality/gsm8k/flan_cot_first3700.jsonl.gz") else {
        return;
    };
    let outcome = read(&path, &[("instruction", "question"), ("output", "answer")]);
    assert_eq!((outcome.format.as_str(), outcome.samples), ("alpaca", 3698));
    assert_eq!(
        outcome.rejects.into_iter().collect::<Vec<_>>(),
        [(
            "format.missing: answer is missing; the row has question".to_owned(),
            2
        )]
    );
    let Some(path) = test_data::path("quality/alpaca/seed_tasks.jsonl.gz") else {
        return;
    };
    let map = [
        ("output", "instances.0.output"),
        ("input", "instances.0.input"),
    ];
    let outcome = read(&path, &map);
    assert_eq!((outcome.format.as_str(), outcome.samples), ("alpaca", 175));
}

#[test]
fn reasoning_and_calls_in_parts_are_found() {
    let Some(path) = test_data::path("sft/llamafactory_reason_tool_use.v1.jsonl") else {
        return;
    };
    let text = std::fs::read_to_string(path).unwrap();
    let parser = Parser::new(FormatOptions::new(Format::Messages)).unwrap();
    let (mut reasoning, mut calls, mut tools) = (0, 0, 0);
    for line in text.lines() {
        let mut notes = JsonNotes::default();
        let row = json::parse(line.as_bytes(), &mut notes).unwrap();
        let Ok(Sample::Conversation(conversation)) = parser.parse(row, &mut notes) else {
            panic!("no conversation");
        };
        tools += conversation.tools.map_or(0, |tools| tools.len());
        for message in &conversation.messages {
            let message = message.as_map().unwrap();
            assert!(message.get("content").unwrap().as_str().is_some());
            reasoning += usize::from(message.contains_key("reasoning_content"));
            let called = message.get("tool_calls").and_then(Data::as_list);
            calls += called.map_or(0, <[Data]>::len);
        }
    }
    assert_eq!((reasoning, calls), (64, 44));
    assert!(tools > 25);
}
