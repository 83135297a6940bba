//! Every template of the shared set over every conversation: tracing changes no byte, labelling
//! never panics, spans partition the text, and a turn's spans do not depend on what others said.
//!
//! Skipped where the data is absent, unless `SFTPREP_REQUIRE_DATA=1` makes that a failure.

#![allow(clippy::unwrap_used)] // helpers outside of test functions
#![allow(clippy::print_stderr)] // a skipped test says why

mod common;

use std::path::PathBuf;

use serde_json::Value;
use sftprep_template::{
    ChatTemplate, Data, Labelled, Map, Method, OnDrop, Request, Session, SpanOptions, Turn,
};

/// Proven turns of all turns that render, where fields that a template leaves out are allowed.
const PROVEN: f64 = 0.97;

struct Source {
    file: String,
    template: ChatTemplate,
    special: Vec<(String, String)>,
}

struct Conversation {
    id: String,
    messages: Vec<Data>,
    tools: Option<Vec<Data>>,
    kwargs: Map,
    generation_prompt: bool,
}

struct Shared {
    sources: Vec<Source>,
    conversations: Vec<Conversation>,
}

fn required() -> bool {
    std::env::var_os("SFTPREP_REQUIRE_DATA").is_some_and(|value| value == "1")
}

/// The shared data, or `None` after printing why the test is skipped.
fn shared() -> Option<Shared> {
    let root = std::env::var_os("SFTPREP_TEST_DATA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    );
    let index = match std::fs::read_to_string(root.join("chat_templates/INDEX.tsv")) {
        Ok(index) => index,
        Err(error) => {
            assert!(!required(), "no shared data at {}: {error}", root.display());
            eprintln!("skipped: no shared data at {}: {error}", root.display());
            return None;
        }
    };
    let mut lines = index.lines();
    let columns: Vec<&str> = lines.next().unwrap().split('\t').collect();
    let sources = lines
        .filter_map(|line| {
            let cells: Vec<&str> = line.split('\t').collect();
            source(&root, &columns, &cells)
        })
        .collect();
    let text = std::fs::read_to_string(root.join("conversations.jsonl")).unwrap();
    let conversations = text.split('\n').filter(|line| !line.is_empty());
    Some(Shared {
        sources,
        conversations: conversations.map(conversation).collect(),
    })
}

/// A template that compiles; one that does not must say where.
fn source(root: &std::path::Path, columns: &[&str], cells: &[&str]) -> Option<Source> {
    let file = cells[0];
    let text = std::fs::read_to_string(root.join("chat_templates").join(file)).unwrap();
    let tokens = columns.iter().zip(cells).filter(|(column, cell)| {
        column.ends_with("_token") && !cell.is_empty() // bos_token, eos_token, ...
    });
    let special = tokens.map(|(column, cell)| ((*column).to_owned(), (*cell).to_owned()));
    match ChatTemplate::compile(file, &text) {
        Ok(template) => Some(Source {
            file: file.to_owned(),
            template,
            special: special.collect(),
        }),
        Err(error) => {
            let message = error.to_string();
            assert!(
                message.contains(file) && message.contains("line"),
                "{message}"
            );
            None
        }
    }
}

fn conversation(line: &str) -> Conversation {
    let value: Value = serde_json::from_str(line).unwrap();
    let Data::Map(kwargs) = common::data(&value["template_kwargs"]) else {
        panic!("template_kwargs must be an object: {line}");
    };
    Conversation {
        id: value["id"].as_str().unwrap().to_owned(),
        messages: common::list(&value["messages"]),
        tools: value["tools"]
            .is_array()
            .then(|| common::list(&value["tools"])),
        kwargs,
        generation_prompt: value["add_generation_prompt"] == true,
    }
}

fn request<'a>(source: &'a Source, chat: &'a Conversation, messages: &'a [Data]) -> Request<'a> {
    Request {
        tools: chat.tools.as_deref(),
        special_tokens: &source.special,
        add_generation_prompt: chat.generation_prompt,
        ..common::request(messages, &chat.kwargs)
    }
}

/// What the chat format's own tokenizer would name as end of turn, and nothing left out refused.
fn options(source: &Source) -> SpanOptions {
    let eos = source
        .special
        .iter()
        .filter(|(name, _)| name == "eos_token");
    SpanOptions {
        stop_tokens: eos.map(|(_, token)| token.clone()).collect(),
        dropped: OnDrop::Allow,
        ..SpanOptions::default()
    }
}

#[test]
fn tracing_changes_no_byte() {
    let Some(shared) = shared() else { return };
    let mut pairs = 0;
    for source in &shared.sources {
        for chat in &shared.conversations {
            for generation_prompt in [false, true] {
                let request = Request {
                    add_generation_prompt: generation_prompt,
                    ..request(source, chat, &chat.messages)
                };
                let plain = source.template.render(&request);
                let traced = source.template.render_traced(&request);
                match (plain, traced) {
                    (Ok(plain), Ok(traced)) => {
                        assert_eq!(plain, traced.text, "{} {}", source.file, chat.id);
                        let end = traced.segments.last().map_or(0, |last| last.end);
                        assert_eq!(end as usize, plain.len(), "{} {}", source.file, chat.id);
                    }
                    (Err(plain), Err(traced)) => assert_eq!(plain.code(), traced.code()),
                    (plain, traced) => {
                        panic!("{} {}: {plain:?} but {traced:?}", source.file, chat.id)
                    }
                }
                pairs += 1;
            }
        }
    }
    assert!(pairs >= 12_800, "only {pairs} pairs");
}

#[test]
fn spans_are_proven_and_independent_of_other_messages() {
    let Some(shared) = shared() else { return };
    let (mut turns, mut proven, mut compared) = (0_u32, 0_u32, 0_u32);
    for source in &shared.sources {
        let options = options(source);
        let mut session = source.template.session();
        for chat in &shared.conversations {
            let Ok(labelled) = session.label(&request(source, chat, &chat.messages), &options)
            else {
                continue;
            };
            let place = format!("{} {}", source.file, chat.id);
            check_partition(&labelled, &place);
            for turn in &labelled.turns {
                turns += 1;
                let Ok(turn) = turn else { continue };
                proven += 1;
                check_turn(&labelled, turn, &place);
                compared += u32::from(unchanged(
                    &mut session,
                    &request(source, chat, &chat.messages),
                    &options,
                    (&labelled, turn),
                    &place,
                ));
            }
        }
    }
    let share = f64::from(proven) / f64::from(turns);
    eprintln!("{turns} turns, {proven} proven ({share:.4}), {compared} compared");
    assert!(turns >= 9_000, "only {turns} turns");
    assert!(share >= PROVEN, "only {proven} of {turns} turns proven");
    assert!(
        compared * 10 >= proven * 9,
        "only {compared} of {proven} compared"
    );
}

fn check_partition(labelled: &Labelled, place: &str) {
    let text = &labelled.rendered.text;
    let mut end = 0;
    for span in &labelled.spans {
        assert_eq!(span.start, end, "{place}: spans are no partition");
        assert!(span.end > span.start, "{place}: empty span");
        assert!(
            text.is_char_boundary(span.end as usize),
            "{place}: half a character"
        );
        end = span.end;
    }
    assert_eq!(end as usize, text.len(), "{place}: spans end early");
}

fn check_turn(labelled: &Labelled, turn: &Turn, place: &str) {
    assert_eq!(
        turn.ranges.is_empty(),
        turn.method == Method::Empty,
        "{place}"
    );
    let mut end = 0;
    for (from, to) in &turn.ranges {
        assert!(from >= &end && from < to, "{place}: ranges out of order");
        end = *to;
    }
    if let Some(stop) = turn.stop {
        let last = turn.ranges.last().unwrap();
        assert!(
            stop.0 >= last.0 && stop.1 <= last.1,
            "{place}: stop outside of the turn"
        );
    }
    for span in &labelled.spans {
        let inside = turn
            .ranges
            .iter()
            .any(|(from, to)| span.start >= *from && span.start < *to);
        assert!(
            !inside || span.message == Some(turn.message),
            "{place}: {span:?} inside of the turn of message {}",
            turn.message
        );
    }
}

/// Labels the conversation with other text in all other messages; false if the template minds.
fn unchanged(
    session: &mut Session<'_>,
    request: &Request<'_>,
    options: &SpanOptions,
    (before, turn): (&Labelled, &Turn),
    place: &str,
) -> bool {
    let messages: Vec<Data> = request
        .messages
        .iter()
        .enumerate()
        .map(|(index, message)| match message {
            Data::Map(map) if index != turn.message as usize => Data::Map(other_words(map)),
            _ => message.clone(),
        })
        .collect();
    let changed = Request {
        messages: &messages,
        ..*request
    };
    let Ok(after) = session.label(&changed, options) else {
        return false;
    };
    let found = after
        .turns
        .iter()
        .flatten()
        .find(|t| t.message == turn.message);
    let found = found.unwrap_or_else(|| panic!("{place}: message {} refused", turn.message));
    assert_eq!(
        texts(&after, found),
        texts(before, turn),
        "{place}: message {} depends on others",
        turn.message
    );
    true
}

fn texts<'l>(labelled: &'l Labelled, turn: &Turn) -> Vec<&'l str> {
    let ranges = turn.ranges.iter();
    ranges
        .map(|(from, to)| &labelled.rendered.text[*from as usize..*to as usize])
        .collect()
}

/// The message with other text of the same length: what templates look at (roles, names, ids,
/// types, and marks such as `</think>`) stays.
fn other_words(message: &Map) -> Map {
    let kept = ["role", "name", "id", "type", "tool_call_id"];
    message
        .iter()
        .map(|(key, value)| {
            let value = if kept.contains(&&**key) {
                value.clone()
            } else {
                other_value(value)
            };
            (key.clone(), value)
        })
        .collect()
}

fn other_value(value: &Data) -> Data {
    match value {
        Data::Str(text) => Data::from(other_text(text)),
        Data::List(items) => Data::List(items.iter().map(other_value).collect()),
        Data::Map(map) => Data::Map(other_words(map)),
        _ => value.clone(),
    }
}

fn other_text(text: &str) -> String {
    let mut inside = 0_i32;
    text.chars()
        .map(|c| {
            inside += i32::from(matches!(c, '<' | '[' | '{'));
            inside -= i32::from(matches!(c, '>' | ']' | '}'));
            match c {
                _ if inside > 0 => c,
                'a'..='y' | 'A'..='Y' => char::from_u32(c as u32 + 1).unwrap(),
                'z' => 'a',
                'Z' => 'A',
                _ => c,
            }
        })
        .collect()
}
