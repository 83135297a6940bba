//! Each rule of the normal form by a small row, and each way a row can be wrong.

use super::*;
use crate::json;
use crate::types::{Conversation, TokenTargets};

pub(super) fn data(text: &str) -> Data {
    json::parse(text.as_bytes(), &mut JsonNotes::default()).unwrap()
}

pub(super) fn options(
    format: Format,
    map: &[(&str, &str)],
    roles: &[(&str, &str)],
) -> FormatOptions {
    let owned = |pairs: &[(&str, &str)]| {
        let pairs = pairs.iter();
        pairs
            .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
            .collect()
    };
    FormatOptions {
        map: owned(map),
        roles: owned(roles),
        ..FormatOptions::new(format)
    }
}

pub(super) fn parse_with(options: FormatOptions, row: &str) -> Result<Sample, Reject> {
    Parser::new(options)
        .unwrap()
        .parse(data(row), &mut JsonNotes::default())
}

pub(super) fn parse(format: Format, row: &str) -> Result<Sample, Reject> {
    parse_with(FormatOptions::new(format), row)
}

pub(super) fn talk(sample: Result<Sample, Reject>) -> Conversation {
    match sample {
        Ok(Sample::Conversation(conversation)) => conversation,
        other => panic!("no conversation but {other:?}"),
    }
}

/// The messages of a row equal those of a JSON text, key order included.
#[track_caller]
pub(super) fn becomes(format: Format, row: &str, messages: &str) {
    let conversation = talk(parse(format, row));
    assert_eq!(
        keyed(&Data::List(conversation.messages)),
        keyed(&data(messages))
    );
}

/// The keys in order and the values, because maps compare in order.
fn keyed(value: &Data) -> String {
    format!("{value:?}")
}

#[track_caller]
pub(super) fn refused(format: Format, row: &str, expected: &str) {
    let reject = parse(format, row).expect_err("the row is accepted");
    assert_eq!(format!("{}: {}", reject.code, reject.detail), expected);
}

use super::Format::{Alpaca, Messages, Pretokenized, PromptCompletion, Sharegpt, Text};

#[test]
fn sharegpt_names_and_calls() {
    becomes(
        Sharegpt,
        r#"{"system":"s","conversations":[{"from":"human","value":"a"},
            {"from":"function_call","value":"{\"name\": \"f\", \"arguments\": {\"x\": 1}}"},
            {"from":"observation","value":"o"},{"from":"gpt","value":"b","extra":1},
            {"role":"user","content":"c"},{"from":"bing","value":""}]}"#,
        r#"[{"role":"system","content":"s"},{"role":"user","content":"a"},
            {"role":"assistant","content":"","tool_calls":[{"type":"function","function":{"name":"f","arguments":{"x":1}}}]},
            {"role":"tool","content":"o"},{"role":"assistant","content":"b","extra":1},
            {"role":"user","content":"c"},{"role":"assistant","content":""}]"#,
    );
    let same = r#"[{"role":"system","content":"s"},{"role":"user","content":"a"}]"#;
    let turns = r#"[{"from":"system","value":"s"},{"from":"user","value":"a"}]"#;
    becomes(Sharegpt, &format!(r#"{{"conversation":{turns}}}"#), same);
    becomes(
        Sharegpt,
        &format!(r#"{{"system":"s","conversations":{turns}}}"#),
        same,
    );
    becomes(
        Sharegpt,
        &format!(r#"{{"system":"","conversations":{turns}}}"#),
        same,
    );
    let tools = talk(parse(
        Sharegpt,
        r#"{"tools":"[{\"name\":\"f\"}]","conversations":[{"from":"gpt","value":"a","weight":0}]}"#,
    ));
    assert_eq!(
        tools.tools,
        Some(vec![data(r#"{"type":"function","function":{"name":"f"}}"#)])
    );
    assert_eq!(tools.weight, [0.0]);
    for (row, expected) in [
        (
            format!(r#"{{"system":"t","conversations":{turns}}}"#),
            "format.type: system and conversations[0] are two different system messages",
        ),
        (
            r#"{"conversations":[{"from":"alien","value":"a"}]}"#.into(),
            "format.role: conversations[0].from is 'alien', which is not a known role",
        ),
        (
            r#"{"conversations":[{"from":"human"}]}"#.into(),
            "format.missing: conversations[0].value is missing",
        ),
        (
            r#"{"conversations":[{"from":"human","value":null}]}"#.into(),
            "format.missing: conversations[0].value is null",
        ),
        (
            r#"{"conversations":[{"value":"a"}]}"#.into(),
            "format.missing: conversations[0].from is missing",
        ),
        (
            r#"{"conversations":[]}"#.into(),
            "format.empty: conversations has no message",
        ),
        (
            r#"{"conversations":[{"from":"function_call","value":"f(x)"}]}"#.into(),
            "format.json_string: conversations[0].value is a string that is not JSON: expected ident at byte 2: near \"f(x)\"",
        ),
    ] {
        refused(Sharegpt, &row, expected);
    }
}

#[test]
fn alpaca_joins_or_hands_on_the_input() {
    becomes(
        Alpaca,
        r#"{"instruction":"i","input":"j","output":"o","system":"s","history":[["a","b"]],"id":1}"#,
        r#"[{"role":"system","content":"s"},{"role":"user","content":"a"},{"role":"assistant","content":"b"},
            {"role":"user","content":"i\nj"},{"role":"assistant","content":"o"}]"#,
    );
    let row = r#"{"instruction":"i","input":"","output":"o","system":null,"history":[]}"#;
    becomes(
        Alpaca,
        row,
        r#"[{"role":"user","content":"i"},{"role":"assistant","content":"o"}]"#,
    );
    let row = r#"{"instruction":"","input":"j","output":""}"#;
    becomes(
        Alpaca,
        row,
        r#"[{"role":"user","content":"j"},{"role":"assistant","content":""}]"#,
    );
    let history = talk(parse(
        Alpaca,
        r#"{"instruction":"i","output":"o","history":[["a","b"]]}"#,
    ));
    assert_eq!(history.train, [None, Some(false), None, None]);
    let field = FormatOptions {
        alpaca_input: AlpacaInput::Field,
        ..FormatOptions::new(Alpaca)
    };
    let row = r#"{"instruction":"i","input":"j","output":"o"}"#;
    assert_eq!(
        talk(parse_with(field, row)).messages[0],
        data(r#"{"role":"user","content":"i","input":"j"}"#)
    );
    for (row, expected) in [
        (
            r#"{"instruction":"i"}"#,
            "format.missing: output is missing; the row has instruction",
        ),
        (
            r#"{"instruction":"","output":"o"}"#,
            "format.empty: instruction is empty, and there is no input",
        ),
        (
            r#"{"instruction":"i","output":5}"#,
            "format.type: output is 5, it must be a string",
        ),
        (
            r#"{"instruction":"i","output":"o","history":[["a"]]}"#,
            "format.type: history[0] is an array of 1, it must be a pair of strings [question, answer]",
        ),
    ] {
        refused(Alpaca, row, expected);
    }
}

#[test]
fn prompt_and_completion_are_texts_or_messages() {
    assert_eq!(
        parse(PromptCompletion, r#"{"prompt":"p","completion":"c"}"#),
        Ok(Sample::Completion {
            prompt: "p".into(),
            completion: "c".into()
        })
    );
    let lists = talk(parse(
        PromptCompletion,
        r#"{"prompt":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}],
            "completion":[{"role":"assistant","content":"c"}],"tools":[{"name":"f"}]}"#,
    ));
    assert_eq!(lists.train, [Some(false), Some(false), None]);
    assert_eq!(
        (lists.messages.len(), lists.tools.map(|tools| tools.len())),
        (3, Some(1))
    );
    assert_eq!(parse(Text, r#"{"text":"t"}"#), Ok(Sample::Text("t".into())));
    for (format, row, expected) in [
        (
            PromptCompletion,
            r#"{"prompt":"p","completion":[]}"#,
            "format.type: completion is an array of 0, it must be of the same kind as prompt, which is 'p'",
        ),
        (
            PromptCompletion,
            r#"{"prompt":[],"completion":[]}"#,
            "format.empty: completion is empty",
        ),
        (
            PromptCompletion,
            r#"{"prompt":"","completion":""}"#,
            "format.empty: prompt and completion is empty",
        ),
        (
            PromptCompletion,
            r#"{"prompt":1,"completion":""}"#,
            "format.type: prompt is 1, it must be a string or an array of messages",
        ),
        (
            PromptCompletion,
            r#"{"prompt":""}"#,
            "format.missing: completion is missing; the row has prompt",
        ),
        (Text, r#"{"text":""}"#, "format.empty: text is empty"),
        (
            Text,
            r#"{"text":["a"]}"#,
            "format.type: text is an array of 1, it must be a string",
        ),
    ] {
        refused(format, row, expected);
    }
}

#[test]
fn pretokenized_targets() {
    let targets = |columns: &str| {
        let row = format!(r#"{{"input_ids":[5,6,7]{columns},"attention_mask":[1,1,1]}}"#);
        match parse(Pretokenized, &row) {
            Ok(Sample::Tokens { input_ids, targets }) => {
                assert_eq!(input_ids, [5, 6, 7]);
                targets
            }
            other => panic!("{other:?}"),
        }
    };
    let last = TokenTargets::Mask(vec![false, false, true]);
    assert_eq!(targets(""), TokenTargets::All);
    assert_eq!(targets(r#","labels":[-100,-100,7]"#), last);
    assert_eq!(targets(r#","loss_mask":[0,0,1]"#), last);
    assert_eq!(targets(r#","completion_mask":[false,false,true]"#), last);
    assert_eq!(
        targets(r#","completion_mask":[0,1,1],"assistant_masks":[1,0,1]"#),
        last
    );
    assert_eq!(targets(r#","labels":[-100,6,7],"loss_mask":[1,0,1]"#), last);
    for (row, expected) in [
        (r#"{"input_ids":[]}"#, "format.empty: input_ids is empty"),
        (
            r#"{"input_ids":"1 2"}"#,
            "format.type: input_ids is '1 2', it must be an array of integers",
        ),
        (
            r#"{"input_ids":[1,-2]}"#,
            "format.tokens: input_ids[1] is -2, which is not a token id (an integer from 0 to 2147483647)",
        ),
        (
            r#"{"input_ids":[1,2147483648]}"#,
            "format.tokens: input_ids[1] is 2147483648, which is not a token id (an integer from 0 to 2147483647)",
        ),
        (
            r#"{"input_ids":[1,2],"labels":[1]}"#,
            "format.tokens: labels has 1 values for 2 tokens",
        ),
        (
            r#"{"input_ids":[1,2],"labels":[1,3]}"#,
            "format.tokens: labels[1] is 3, which is neither -100 nor the token's id 2",
        ),
        (
            r#"{"input_ids":[1,2],"loss_mask":[1,2]}"#,
            "format.tokens: loss_mask[1] is 2, which is neither 0 nor 1",
        ),
    ] {
        refused(Pretokenized, row, expected);
    }
}

#[test]
fn columns_and_roles_are_mapped() {
    let nested = options(
        Alpaca,
        &[("output", "instances.0.output"), ("instruction", "q.text")],
        &[],
    );
    let row = r#"{"q":{"text":"i"},"instances":[{"output":"o"}]}"#;
    assert_eq!(talk(parse_with(nested.clone(), row)).messages.len(), 2);
    let reject = parse_with(nested, r#"{"q":{"text":"i"},"instances":[]}"#).unwrap_err();
    assert_eq!(
        reject.detail,
        "instances.0.output is missing; the row has q, instances"
    );
    let dotted = options(Text, &[("text", "a.b")], &[]);
    assert_eq!(
        parse_with(dotted, r#"{"a.b":"t","a":{"b":"u"}}"#),
        Ok(Sample::Text("t".into()))
    );
    let twice = options(
        PromptCompletion,
        &[("prompt", "x"), ("completion", "x")],
        &[],
    );
    assert!(parse_with(twice, r#"{"x":"t"}"#).is_ok());
    let named = options(
        Messages,
        &[
            ("messages", "dialog"),
            ("messages.role", "speaker"),
            ("messages.content", "said"),
        ],
        &[("narrator", "system"), ("Bot", "assistant")],
    );
    let row = r#"{"dialog":[{"speaker":"narrator","said":"a"},{"speaker":"Bot","said":"b"}]}"#;
    assert_eq!(
        talk(parse_with(named, row)).messages,
        [
            data(r#"{"role":"system","content":"a"}"#),
            data(r#"{"role":"assistant","content":"b"}"#)
        ]
    );
    let share = options(
        Sharegpt,
        &[("messages.content", "txt")],
        &[("alien", "user")],
    );
    let row = r#"{"conversations":[{"from":"alien","txt":"a"}]}"#;
    assert_eq!(
        talk(parse_with(share, row)).messages,
        [data(r#"{"role":"user","content":"a"}"#)]
    );
    let error = Parser::new(options(Text, &[("txt", "a")], &[])).unwrap_err();
    assert_eq!(error.code, Code::ConfigValue);
    assert!(Parser::new(options(Text, &[], &[("a", "human")])).is_err());
}
