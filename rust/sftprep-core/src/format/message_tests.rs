//! The normal form of messages, rule by rule, and each way a message can be wrong.

use super::Format::Messages;
use super::tests::{becomes, data, parse, parse_with, refused, talk};
use super::*;

#[test]
fn messages_keep_their_keys_and_lose_nulls() {
    becomes(
        Messages,
        r#"{"messages":[{"content":"a","role":"user","name":null,"x":null},
            {"role":"assistant","content":"b","reasoning_content":"r","thinking":"t","tool_calls":[]}]}"#,
        r#"[{"content":"a","role":"user","x":null},
            {"role":"assistant","content":"b","reasoning_content":"r","thinking":"t"}]"#,
    );
    becomes(
        Messages,
        r#"{"messages":[{"role":"function","name":"f","content":{"b":1,"a":null}},
            {"role":"tool","content":[1,{"type":"text"}]},{"role":"tool","content":[]}]}"#,
        r#"[{"role":"tool","name":"f","content":{"b":1,"a":null}},
            {"role":"tool","content":[1,{"type":"text"}]},{"role":"tool","content":[]}]"#,
    );
}

#[test]
fn tool_calls_come_in_every_shape() {
    let normal = r#"[{"role":"assistant","content":"","tool_calls":[
        {"type":"function","function":{"name":"f","arguments":{"b":1,"a":[2]}}}]}]"#;
    for call in [
        r#""content":"","tool_calls":[{"type":"function","function":{"name":"f","arguments":{"b":1,"a":[2]}}}]"#,
        r#""content":"","tool_calls":[{"function":{"name":"f","arguments":"{\"b\":1,\"a\":[2]}"}}]"#,
        r#""content":"","tool_calls":[{"name":"f","arguments":{"b":1,"a":[2]}}]"#,
        r#""content":"","tool_calls":"[{\"name\":\"f\",\"arguments\":{\"b\":1,\"a\":[2]}}]""#,
        r#""content":"","function_call":{"name":"f","arguments":"{\"b\":1,\"a\":[2]}"}"#,
        r#""content":[{"type":"tool_call","value":"{\"name\":\"f\",\"arguments\":{\"b\":1,\"a\":[2]}}"}]"#,
        r#""content":[{"type":"tool_call","value":[{"name":"f","arguments":{"b":1,"a":[2]}}]}]"#,
    ] {
        becomes(
            Messages,
            &format!(r#"{{"messages":[{{"role":"assistant",{call}}}]}}"#),
            normal,
        );
    }
    let call = r#"{"type":"function","function":{"name":"f","arguments":{}}}"#;
    for content in [r#""content":null,"#, ""] {
        let message = format!(r#"{{"role":"assistant",{content}"tool_calls":[{call}]}}"#);
        let kept = format!("[{message}]");
        becomes(Messages, &format!(r#"{{"messages":[{message}]}}"#), &kept);
    }
    let calls = |arguments: &str| {
        let row = format!(
            r#"{{"messages":[{{"role":"assistant","tool_calls":[{{"id":"1","type":"function","function":{{"name":"f"{arguments}}}}}]}}]}}"#
        );
        let conversation = talk(parse(Messages, &row));
        let message = conversation.messages[0].as_map().unwrap();
        assert_eq!(message.get("content"), None);
        let call = message.get("tool_calls").unwrap().as_list().unwrap()[0]
            .as_map()
            .unwrap();
        assert_eq!(call.get("id"), Some(&"1".into()));
        call.get("function")
            .unwrap()
            .as_map()
            .unwrap()
            .get("arguments")
            .unwrap()
            .clone()
    };
    assert_eq!(calls(""), data("{}"));
    assert_eq!(calls(r#","arguments":null"#), data("{}"));
    assert_eq!(calls(r#","arguments":" ""#), data("{}"));
    assert_eq!(calls(r#","arguments":"[1]""#), "[1]".into());
    assert_eq!(calls(r#","arguments":"not json""#), "not json".into());
    assert_eq!(calls(r#","arguments":[1]"#), data("[1]"));
    let mut notes = JsonNotes::default();
    let row = data(
        r#"{"messages":[{"role":"assistant","tool_calls":[{"name":"f","arguments":"{\"a\":1,\"a\":2}"}]}]}"#,
    );
    Parser::new(FormatOptions::new(Messages))
        .unwrap()
        .parse(row, &mut notes)
        .unwrap();
    assert_eq!(notes.duplicate_keys, 1);
}

#[test]
fn parts_are_joined_or_left() {
    let row = r#"{"messages":[
        {"role":"user","content":[{"type":"text","text":"a"},"b",{"type":"input_text","value":"c"}]},
        {"role":"assistant","content":[{"type":"reasoning","value":"r"},{"type":"thinking","thinking":"s"},
            {"type":"text","content":"d"}]},
        {"role":"tool","content":[{"type":"text","text":"e"}]},
        {"role":"assistant","content":[]}]}"#;
    becomes(
        Messages,
        row,
        r#"[{"role":"user","content":"abc"},{"role":"assistant","content":"d","reasoning_content":"rs"},
            {"role":"tool","content":"e"},{"role":"assistant","content":""}]"#,
    );
    let raw = FormatOptions {
        parts_raw: true,
        ..FormatOptions::new(Messages)
    };
    let conversation = talk(parse_with(raw.clone(), row));
    let before = data(row);
    let before = before.as_map().unwrap().get("messages").unwrap();
    assert_eq!(Data::List(conversation.messages), *before);
    let image = r#"{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{}}]}]}"#;
    let expected =
        "format.type: messages[0].content[0] is of type 'image_url'; only text can be prepared";
    refused(Messages, image, expected);
    assert!(parse_with(raw, image).is_err());
    refused(
        Messages,
        r#"{"messages":[{"role":"user","content":[{"type":"reasoning","text":"x"}]}]}"#,
        "format.type: messages[0].content[0] is 'reasoning', it must be a text part, \
         because only an assistant reasons and calls tools",
    );
    refused(
        Messages,
        r#"{"messages":[{"role":"user","content":[{"type":"poem","text":"x"}]}]}"#,
        "format.type: messages[0].content[0] is 'poem', it must be a text, reasoning or tool_call part",
    );
    refused(
        Messages,
        r#"{"messages":[{"role":"user","content":[{"type":"text"}]}]}"#,
        "format.missing: messages[0].content[0] has none of text, value and content",
    );
    refused(
        Messages,
        r#"{"messages":[{"role":"assistant","reasoning_content":"a","content":[{"type":"reasoning","text":"x"}]}]}"#,
        "format.type: messages[0] has both reasoning_content and content parts of that kind",
    );
}

#[test]
fn tools_documents_and_arguments_of_the_template() {
    let tools = |columns: &str| {
        let row = format!(r#"{{"messages":[{{"role":"user","content":"a"}}],{columns}}}"#);
        talk(parse(Messages, &row)).tools.map(Data::List)
    };
    let wrapped = Some(data(
        r#"[{"type":"function","function":{"name":"f","parameters":{}}}]"#,
    ));
    for columns in [
        r#""tools":[{"type":"function","function":{"name":"f","parameters":{}}}]"#,
        r#""tools":[{"function":{"name":"f","parameters":{}}}]"#,
        r#""tools":[{"name":"f","parameters":{}}]"#,
        r#""tools":[{"type":"function","name":"f","parameters":{}}]"#,
        r#""tools":"[{\"name\":\"f\",\"parameters\":{}}]""#,
        r#""tools":{"name":"f","parameters":{}}"#,
        r#""functions":[{"name":"f","parameters":{}}],"tools":null"#,
    ] {
        assert_eq!(tools(columns), wrapped, "{columns}");
    }
    for columns in [
        r#""tools":null"#,
        r#""tools":[]"#,
        r#""tools":"""#,
        r#""tools":"[]""#,
    ] {
        assert_eq!(tools(columns), None, "{columns}");
    }
    assert_eq!(
        tools(r#""tools":[{"type":"web"}]"#),
        Some(data(r#"[{"type":"web"}]"#))
    );
    let more = talk(parse(
        Messages,
        r#"{"messages":[{"role":"user","content":"a"}],"documents":[{"text":"d"}],
            "chat_template_kwargs":"{\"enable_thinking\":false}"}"#,
    ));
    assert_eq!(more.documents, Some(vec![data(r#"{"text":"d"}"#)]));
    assert_eq!(Data::Map(more.kwargs), data(r#"{"enable_thinking":false}"#));
    for (columns, expected) in [
        (
            r#""tools":"[{""#,
            "format.json_string: tools is a string that is not JSON: end while parsing an object at byte 3: near \"[{\"",
        ),
        (
            r#""tools":[1]"#,
            "format.type: tools[0] is 1, it must be an object that describes a tool",
        ),
        (
            r#""tools":7"#,
            "format.type: tools is 7, it must be an array of tools",
        ),
        (
            r#""documents":{}"#,
            "format.type: documents is an object with , it must be an array",
        ),
        (
            r#""chat_template_kwargs":[]"#,
            "format.type: chat_template_kwargs is an array of 0, it must be an object",
        ),
    ] {
        let row = format!(r#"{{"messages":[{{"role":"user","content":"a"}}],{columns}}}"#);
        refused(Messages, &row, expected);
    }
}

#[test]
fn train_and_weight_leave_the_message() {
    let row = r#"{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b","train":0},
        {"role":"assistant","content":"c","weight":0.5,"train":true}]}"#;
    let conversation = talk(parse(Messages, row));
    assert_eq!(conversation.train, [None, Some(false), Some(true)]);
    assert_eq!(conversation.weight, [1.0, 1.0, 0.5]);
    assert_eq!(
        conversation.messages[2],
        data(r#"{"role":"assistant","content":"c"}"#)
    );
    let plain = talk(parse(
        Messages,
        r#"{"messages":[{"role":"user","content":"a","weight":1}]}"#,
    ));
    assert!(plain.train.is_empty() && plain.weight.is_empty());
    for (field, expected) in [
        (
            r#""train":"yes""#,
            "messages[0].train is 'yes', it must be true, false, 0 or 1",
        ),
        (
            r#""weight":-1"#,
            "messages[0].weight is -1, it must be a number that is not negative",
        ),
        (
            r#""weight":"1""#,
            "messages[0].weight is '1', it must be a number that is not negative",
        ),
    ] {
        let row = format!(r#"{{"messages":[{{"role":"assistant","content":"a",{field}}}]}}"#);
        refused(Messages, &row, &format!("format.type: {expected}"));
    }
}

#[test]
fn wrong_messages_are_refused_by_name() {
    for (row, expected) in [
        (
            r#"{"x":1}"#,
            "format.missing: messages is missing; the row has x",
        ),
        (
            r#"{"messages":null}"#,
            "format.missing: messages is null; the row has messages",
        ),
        (
            r#"{"messages":"hello"}"#,
            "format.type: messages is 'hello', it must be an array of messages",
        ),
        (
            r#"{"messages":[]}"#,
            "format.empty: messages has no message",
        ),
        (
            r#"{"messages":["hi"]}"#,
            "format.type: messages[0] is 'hi', it must be an object with role and content",
        ),
        (
            r#"{"messages":[{"content":"a"}]}"#,
            "format.missing: messages[0].role is missing",
        ),
        (
            r#"{"messages":[{"role":3,"content":"a"}]}"#,
            "format.type: messages[0].role is 3, it must be a string",
        ),
        (
            r#"{"messages":[{"role":"narrator","content":"a"}]}"#,
            "format.role: messages[0].role is 'narrator', which is not a known role",
        ),
        (
            r#"{"messages":[{"role":"user"}]}"#,
            "format.missing: messages[0].content is missing",
        ),
        (
            r#"{"messages":[{"role":"assistant","content":null}]}"#,
            "format.missing: messages[0].content is null",
        ),
        (
            r#"{"messages":[{"role":"user","content":5}]}"#,
            "format.type: messages[0].content is 5, it must be a string or a list of parts",
        ),
        (
            r#"{"messages":[{"role":"user","content":"a","tool_calls":[{"name":"f"}]}]}"#,
            "format.type: messages[0] has tool_calls and the role user; only an assistant calls tools",
        ),
        (
            r#"{"messages":[{"role":"assistant","tool_calls":[{"arguments":{}}]}]}"#,
            "format.missing: messages[0].tool_calls[0].name is missing",
        ),
        (
            r#"{"messages":[{"role":"assistant","tool_calls":[{"function":"f"}]}]}"#,
            "format.type: messages[0].tool_calls[0].function is 'f', it must be an object",
        ),
        (
            r#"{"messages":[{"role":"assistant","tool_calls":{"name":"f"}}]}"#,
            "format.type: messages[0].tool_calls is an object with name, it must be an array of tool calls",
        ),
        (
            "[1]",
            "row.not_object: the row is an array of 1, it must be an object",
        ),
    ] {
        refused(Messages, row, expected);
    }
    let long = format!(r#"{{"messages":"{}\n"}}"#, "é".repeat(100));
    let reject = parse(Messages, &long).unwrap_err();
    assert_eq!(reject.detail.matches('é').count(), 60);
    assert_eq!(reject.field, "messages");
}
