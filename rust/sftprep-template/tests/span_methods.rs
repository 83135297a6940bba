//! Every way in which the start of a turn is proven, and turns that other messages lie inside of.

#![allow(clippy::unwrap_used)] // helpers outside of test functions

mod common;

use serde_json::json;
use sftprep_template::{
    ChatTemplate, Data, Declaration, Labelled, Map, Method, Rule, SpanKind, SpanOptions,
};

const PROMPT: &str = "{% if add_generation_prompt %}<|assistant|>{% endif %}";

fn label(source: &str, messages: &[Data], options: &SpanOptions) -> Labelled {
    let template = ChatTemplate::compile("test", source).unwrap();
    let kwargs = Map::new();
    let request = common::request(messages, &kwargs);
    template.session().label(&request, options).unwrap()
}

/// Method and text of the only turn.
fn turn(source: &str, messages: &[Data]) -> (Method, String) {
    let labelled = label(source, messages, &SpanOptions::default());
    assert_eq!(labelled.turns.len(), 1);
    let turn = labelled.turns[0].as_ref().unwrap();
    (turn.method, ranges(&labelled, 0).concat())
}

fn ranges(labelled: &Labelled, turn: usize) -> Vec<String> {
    let turn = labelled.turns[turn].as_ref().unwrap();
    let text = &labelled.rendered.text;
    turn.ranges
        .iter()
        .map(|(from, to)| text[*from as usize..*to as usize].to_owned())
        .collect()
}

fn asked(answer: &serde_json::Value) -> Vec<Data> {
    vec![common::message("user", "hi"), common::data(answer)]
}

fn plain() -> Vec<Data> {
    asked(&json!({"role": "assistant", "content": "yes"}))
}

fn calling() -> Vec<Data> {
    asked(&json!({"role": "assistant", "content": "",
                  "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": {}}}]}))
}

fn thinking() -> Vec<Data> {
    asked(&json!({"role": "assistant", "content": "yes", "reasoning_content": "hm"}))
}

const CALLS: &str = "{% for m in messages %}<|{{ m.role }}|>{% for c in m.tool_calls or [] %}\
                     <call>{{ c.function.name }}</call>{% endfor %}{{ m.content }}<|end|>\
                     {% endfor %}";

#[test]
fn origin_header_part_plain_turn_and_empty() {
    let whole = format!("{CALLS}{PROMPT}");
    assert_eq!(
        turn(&whole, &plain()),
        (Method::Origin, "yes<|end|>".into())
    );
    let open = whole.replace("<|assistant|>{%", "<|assistant|><think>{%");
    assert_eq!(
        turn(&open, &plain()),
        (Method::HeaderPart, "yes<|end|>".into())
    );
    assert_eq!(
        turn(&open, &calling()),
        (Method::PlainTurn, "<call>f</call><|end|>".into())
    );
    let silent = "{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}";
    let empty = asked(&json!({"role": "assistant", "content": ""}));
    assert_eq!(turn(silent, &empty), (Method::Empty, String::new()));
}

#[test]
fn a_prompt_of_another_thinking_switch_that_stands_in_full() {
    let source = "{% for m in messages %}<|{{ m.role }}|>{% if m.reasoning_content %}\
                  <think>{{ m.reasoning_content }}</think>{% endif %}{{ m.content }}<|end|>\
                  {% endfor %}{% if add_generation_prompt %}<|assistant|>\
                  {% if not enable_thinking | default(false) %}<think></think>{% endif %}\
                  {% endif %}";
    // The default prompt shares `<think>` with the turn, but only by chance.
    assert_eq!(
        turn(source, &thinking()),
        (Method::ThinkingSwitch, "<think>hm</think>yes<|end|>".into())
    );
}

#[test]
fn contrast_of_roles_without_a_generation_prompt() {
    assert_eq!(
        turn(CALLS, &plain()),
        (Method::RoleContrast, "yes<|end|>".into())
    );
}

/// No prompt, but a header before plain answers, which calls do not have.
const BARE_CALLS: &str = "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}\
                          {% elif m.tool_calls %}<calls>{{ m.tool_calls[0].function.name }}\
                          </calls><|end|>{% else %}>> {{ m.content }}<|end|>{% endif %}{% endfor %}";

#[test]
fn prefix_difference_where_no_header_stands() {
    assert_eq!(
        turn(BARE_CALLS, &calling()),
        (Method::PrefixDiff, "<calls>f</calls><|end|>".into())
    );
    // Before a plain answer the difference would take the header in: it is not accepted.
    let labelled = label(BARE_CALLS, &plain(), &SpanOptions::default());
    assert_eq!(labelled.turns[0].as_ref().unwrap_err().rule, Rule::C);
    // A template that writes the history otherwise has no prefix to compare with.
    let counted = format!("{{{{ messages|length }}}}{BARE_CALLS}");
    let labelled = label(&counted, &calling(), &SpanOptions::default());
    assert!(labelled.turns[0].is_err());
}

#[test]
fn a_declaration_is_verified() {
    let declare = |header: &str, stop: &str| {
        let declared = Declaration {
            header: header.to_owned(),
            stop: stop.to_owned(),
        };
        let options = SpanOptions {
            declared: Some(declared),
            ..SpanOptions::default()
        };
        label(BARE_CALLS, &plain(), &options)
    };
    let labelled = declare(">> ", "<|end|>");
    assert_eq!(labelled.turns[0].as_ref().unwrap().method, Method::Declared);
    assert_eq!(ranges(&labelled, 0), ["yes<|end|>"]);
    for (header, stop) in [
        ("hi", "<|end|>"), // the user's text is no header
        ("<|bot|>", "<|end|>"),
        (">> ", "<|eot|>"),
        (">> ", "yes"), // the answer's text is no stop
    ] {
        let labelled = declare(header, stop);
        assert_eq!(
            labelled.turns[0].as_ref().unwrap_err().rule,
            Rule::C,
            "{header} {stop}"
        );
    }
    // What origins prove needs no declaration.
    let wrong = SpanOptions {
        declared: Some(Declaration {
            header: "<|".to_owned(),
            stop: "|>".to_owned(),
        }),
        ..SpanOptions::default()
    };
    let labelled = label(&format!("{CALLS}{PROMPT}"), &plain(), &wrong);
    assert_eq!(ranges(&labelled, 0), ["yes<|end|>"]);
}

fn folded(result: &str) -> (Vec<Data>, String) {
    let call =
        |id: &str| json!({"id": id, "function": {"name": format!("f{id}"), "arguments": {}}});
    let messages = [
        json!({"role": "user", "content": "hi"}),
        json!({"role": "assistant", "content": "both", "tool_calls": [call("1"), call("2")]}),
        json!({"role": "tool", "content": "first", "tool_call_id": "1"}),
        json!({"role": "tool", "content": "second", "tool_call_id": "2"}),
    ];
    let source = format!(
        "{{% for m in messages if m.role != 'tool' %}}<|{{{{ m.role }}}}|>\
         {{% for c in m.tool_calls or [] %}}<call>{{{{ c.function.name }}}}</call>{result}\
         {{% endfor %}}{{{{ m.content }}}}<|end|>{{% endfor %}}{PROMPT}"
    );
    (messages.iter().map(common::data).collect(), source)
}

#[test]
fn results_that_are_folded_into_a_turn_split_it() {
    let (messages, source) = folded(
        "{% for r in messages if r.role == 'tool' and r.tool_call_id == c.id %}\
         <result>{{ r.content }}</result>{% endfor %}",
    );
    let labelled = label(&source, &messages, &SpanOptions::default());
    assert_eq!(
        ranges(&labelled, 0),
        ["<call>f1</call>", "<call>f2</call>", "both<|end|>"]
    );
    let text = &labelled.rendered.text;
    for span in &labelled.spans {
        let said = &text[span.start as usize..span.end as usize];
        let of_result = said.contains("first") || said.contains("second");
        assert_eq!(of_result, span.kind == SpanKind::ToolOutput, "{said}");
    }
}

#[test]
fn literals_beside_folded_text_may_be_its_frame_and_stay_out() {
    let (messages, source) = folded("<result>{{ messages[2 + loop.index0].content }}</result>");
    let labelled = label(&source, &messages, &SpanOptions::default());
    assert_eq!(ranges(&labelled, 0), ["<call>f1", "f2", "both<|end|>"]);
}

#[test]
fn a_name_repeated_behind_the_turn_is_no_part_of_it() {
    let source = "{% for m in messages %}{% if m.role == 'tool' %}<|tool|>\
                  {% for c in messages[loop.index0 - 1].tool_calls %}{{ c.function.name }}\
                  {% endfor %}: {{ m.content }}<|end|>{% else %}<|{{ m.role }}|>\
                  {% for c in m.tool_calls or [] %}<call>{{ c.function.name }}</call>{% endfor %}\
                  {{ m.content }}<|end|>{% endif %}{% endfor %}\
                  {% if add_generation_prompt %}<|assistant|>{% endif %}";
    let mut messages = calling();
    messages.push(common::message("tool", "42"));
    let labelled = label(source, &messages, &SpanOptions::default());
    assert_eq!(ranges(&labelled, 0), ["<call>f</call><|end|>"]);
}

#[test]
fn turns_of_other_roles_start_behind_their_own_header() {
    let options = SpanOptions {
        roles: vec!["user".to_owned(), "system".to_owned()],
        ..SpanOptions::default()
    };
    let messages = [
        common::message("system", "be brief"),
        common::message("user", "hi"),
        common::message("assistant", "yes"),
        common::message("user", "bye"),
    ];
    let labelled = label(&format!("{CALLS}{PROMPT}"), &messages, &options);
    let texts: Vec<_> = (0..3)
        .map(|turn| ranges(&labelled, turn).concat())
        .collect();
    assert_eq!(texts, ["be brief<|end|>", "hi<|end|>", "bye<|end|>"]);
    let user = labelled
        .spans
        .iter()
        .find(|span| span.message == Some(1))
        .unwrap();
    assert_eq!(user.kind, SpanKind::User);
    // A message that is written in another way than a plain one of its role is not guessed at.
    let odd = "{% for m in messages %}{{ '!' if m.content == 'hi' }}<|{{ m.role }}|>\
               {{ m.content }}<|end|>{% endfor %}";
    let labelled = label(odd, &messages, &options);
    assert_eq!(labelled.turns[1].as_ref().unwrap_err().rule, Rule::C);
}

#[test]
fn a_stop_behind_the_loop_is_the_one_that_followed_turns_get() {
    let source = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}\
                  {% if not loop.last %}<STOP_1>{% endif %}{% endfor %}\
                  {% if messages[-1].role == 'assistant' %}<STOP_1>{% endif %}{% if \
                  add_generation_prompt %}{% if messages[-1].role != 'assistant' %}<STOP_1>\
                  {% endif %}<|assistant|>{% endif %}";
    let labelled = label(source, &plain(), &SpanOptions::default());
    assert_eq!(ranges(&labelled, 0), ["yes<STOP_1>"]);
    assert!(labelled.turns[0].as_ref().unwrap().stop.is_some());
}

#[test]
fn a_second_stop_is_found_whatever_the_tokenizer_knows() {
    let source = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}\
                  {% if m.role == 'assistant' %}<|/assistant|></s>{% endif %}{% endfor %}\
                  {% if add_generation_prompt %}<|assistant|>{% endif %}";
    for stop_tokens in [
        vec![],
        vec!["<|/assistant|>"],
        vec!["<|im_end|>"],
        vec!["</s>"],
    ] {
        let options = SpanOptions {
            stop_tokens: stop_tokens.into_iter().map(str::to_owned).collect(),
            ..SpanOptions::default()
        };
        let mut messages = plain();
        messages.extend(plain());
        let labelled = label(source, &messages, &options);
        for turn in 0..2 {
            assert_eq!(
                ranges(&labelled, turn),
                ["yes<|/assistant|></s>"],
                "{options:?}"
            );
        }
    }
    // A mark that comes only if another turn follows belongs to that turn.
    let ahead = source.replace(
        "<|/assistant|></s>",
        "<|end|>{% if not loop.last %}<|next|>{% endif %}",
    );
    let options = SpanOptions {
        stop_tokens: vec!["<|end|>".to_owned()],
        ..SpanOptions::default()
    };
    let mut messages = plain();
    messages.extend(plain());
    assert_eq!(
        ranges(&label(&ahead, &messages, &options), 0),
        ["yes<|end|>"]
    );
}
