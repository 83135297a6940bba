//! The language, line by line, against texts that the reference rendered.

mod common;

use serde_json::Value;
use sftprep_template::{ChatTemplate, Data, Map, Request};

#[test]
fn every_line_renders_as_the_reference_does() {
    let fixture = include_str!("fixtures/semantics.jsonl");
    let mut lines = fixture
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let setup = lines.next().unwrap();
    let messages = common::list(&setup["messages"]);
    let Data::Map(kwargs) = common::data(&setup["kwargs"]) else {
        panic!("kwargs is an object")
    };
    let special = [("bos_token".to_owned(), "<s>".to_owned())];
    let mut wrong = Vec::new();
    let mut checked = 0;
    for case in lines {
        checked += 1;
        let source = case["template"].as_str().unwrap();
        let request = Request {
            special_tokens: &special,
            ..common::request(&messages, &kwargs)
        };
        let template = ChatTemplate::compile("line", source);
        let plain = template
            .as_ref()
            .map_err(Clone::clone)
            .and_then(|t| t.render(&request));
        let traced = template
            .as_ref()
            .map_err(Clone::clone)
            .and_then(|t| t.render_traced(&request));
        match (&plain, &traced) {
            (Ok(plain), Ok(traced)) => assert_eq!(*plain, traced.text, "tracing changes {source}"),
            (Err(_), Err(_)) => {}
            _ => panic!("tracing changes whether {source} renders"),
        }
        let right = match (&plain, case["text"].as_str()) {
            (Ok(text), Some(expected)) => text == expected,
            (Err(_), None) => true,
            _ => false,
        };
        if !right {
            wrong.push(format!(
                "{source}\n  expected {:?}\n  got {plain:?}",
                case.get("text")
            ));
        }
    }
    assert!(checked > 140, "the fixture is cut: {checked}");
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn errors_point_at_their_place() {
    let kwargs = Map::new();
    let messages = [common::message("user", "x")];
    let source = "first\n{%- if nothing.here > 0 %}\nx{% endif %}";
    let error = ChatTemplate::compile("chat_template", source)
        .and_then(|template| template.render(&common::request(&messages, &kwargs)))
        .unwrap_err();
    assert_eq!(error.code(), "template.undefined");
    assert_eq!((error.line(), error.column()), (2, 16));
    assert_eq!(error.source_line(), "{%- if nothing.here > 0 %}");
    let shown = error.to_string();
    assert!(
        shown.starts_with("error[template.undefined]: 'nothing' is undefined\n"),
        "{shown}"
    );
    assert!(shown.contains("--> chat_template, line 2"), "{shown}");
}

#[test]
fn what_a_template_reads_is_known() {
    let source = "{% if enable_thinking %}{{ strftime_now('%Y') }}{% endif %}{% generation %}x\
                  {% endgeneration %}{% for p in messages[0].content %}{{ p.type == 'text' }}\
                  {% endfor %}";
    let template = ChatTemplate::compile("t", source).unwrap();
    assert!(template.reads("enable_thinking") && template.reads_clock());
    assert!(template.has_generation_tags() && template.handles_content_parts());
    assert_eq!(
        template.variables_read(),
        ["enable_thinking", "strftime_now", "messages"]
    );
    let plain = ChatTemplate::compile("t", "{{ messages[0].content }}").unwrap();
    assert!(!plain.reads_clock() && !plain.handles_content_parts());
}
