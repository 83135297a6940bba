//! What must hold for any text used as a template; shared by the fuzz target and its replay.

use sftprep_template::{ChatTemplate, Clock, Data, Map, Request, SpanOptions};

fn object<const N: usize>(entries: [(&str, Data); N]) -> Data {
    Data::Map(entries.into_iter().collect())
}

fn conversation() -> Vec<Data> {
    let arguments = object([("city", Data::from("Zürich")), ("days", Data::Int(3))]);
    let function = object([("name", Data::from("weather")), ("arguments", arguments)]);
    let call = object([("type", Data::from("function")), ("function", function)]);
    vec![
        object([("role", "system".into()), ("content", "be  brief\n".into())]),
        object([("role", "user".into()), ("content", "a<b>\u{301} é".into())]),
        object([
            ("role", "assistant".into()),
            ("content", "".into()),
            ("reasoning_content", "let me see".into()),
            ("tool_calls", Data::List(vec![call])),
        ]),
        object([("role", "tool".into()), ("content", "sunny".into())]),
        object([("role", "assistant".into()), ("content", " a<b>".into())]),
    ]
}

/// Compiles, renders and labels; panics where one of the promises does not hold.
pub(crate) fn check(source: &str) {
    let Ok(template) = ChatTemplate::compile("fuzz", source) else {
        return;
    };
    let (messages, kwargs) = (conversation(), Map::new());
    let special = [("eos_token".to_owned(), "</s>".to_owned())];
    let request = Request {
        tools: Some(&messages[..1]),
        special_tokens: &special,
        ..Request::new(&messages, &kwargs, Clock::date(2025, 6, 30))
    };
    let plain = template.render(&request);
    let traced = template.render_traced(&request);
    match (&plain, &traced) {
        (Ok(plain), Ok(traced)) => {
            assert_eq!(*plain, traced.text, "tracing changes the text");
            let end = traced.segments.last().map_or(0, |last| last.end as usize);
            assert_eq!(end, plain.len(), "segments are no partition");
        }
        (Err(plain), Err(traced)) => assert_eq!(plain.code(), traced.code()),
        _ => panic!("tracing decides whether {source:?} renders"),
    }
    let labelled = template.session().label(&request, &SpanOptions::default());
    assert_eq!(
        labelled.is_ok(),
        traced.is_ok(),
        "labelling decides whether it renders"
    );
    if let Ok(labelled) = labelled {
        let mut end = 0;
        for span in &labelled.spans {
            assert_eq!(span.start, end, "spans are no partition");
            end = span.end;
            assert!(labelled.rendered.text.is_char_boundary(end as usize));
        }
        assert_eq!(end as usize, labelled.rendered.text.len());
    }
}
