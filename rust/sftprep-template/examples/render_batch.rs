//! Renders JSON lines from standard input, one request per line, to JSON lines on standard
//! output. For comparing with the reference from another language:
//!
//! `{"template": "...", "messages": [...], "tools": null, "documents": null,`
//! `"add_generation_prompt": false, "special_tokens": {}, "kwargs": {}}`
//!
//! answers `{"ok": true, "text": ..., "same": true}` (`same`: tracing gives the same text) or
//! `{"ok": false, "code": ..., "error": ...}`. With `"label": true` the answer also holds the
//! turns and spans (`stop_tokens`: list of strings); with `"origins": true` a checksum of segments
//! and leaves, for comparing two builds. A line without a template uses the one before.

#[path = "../tests/common/mod.rs"]
mod common;

use std::hash::{Hash, Hasher};
use std::io::{BufRead, Write};

use serde_json::{Value, json};
use sftprep_template::{ChatTemplate, OnDrop, Request, SpanOptions, TemplateError, Turn};

fn answer(template: &Result<ChatTemplate, TemplateError>, value: &Value) -> Value {
    let failed = |error: &TemplateError| json!({"ok": false, "code": error.code(), "error": error.to_string()});
    let template = match template {
        Ok(template) => template,
        Err(error) => return failed(error),
    };
    let row = common::Row::new(value);
    let request = row.request();
    let plain = template.render(&request);
    let traced = template.render_traced(&request);
    let same = match (&plain, &traced) {
        (Ok(plain), Ok(traced)) => {
            *plain == traced.text
                && traced.segments.last().map_or(0, |last| last.end as usize) == plain.len()
        }
        (Err(plain), Err(traced)) => plain.to_string() == traced.to_string(),
        _ => false,
    };
    match plain {
        Ok(text) => {
            let mut answer = json!({"ok": true, "text": text, "same": same});
            if value["origins"] == json!(true)
                && let Ok(traced) = &traced
            {
                let mut hasher = std::hash::DefaultHasher::new();
                format!("{:?} {:?}", traced.segments, traced.leaves).hash(&mut hasher);
                answer["origins"] = json!(hasher.finish());
            }
            if value["label"] == json!(true) {
                answer["label"] = label(template, &request, value);
            }
            answer
        }
        Err(error) => {
            let mut answer = failed(&error);
            answer["same"] = json!(same);
            answer
        }
    }
}

fn label(template: &ChatTemplate, request: &Request<'_>, row: &Value) -> Value {
    let stops = row["stop_tokens"].as_array().into_iter().flatten();
    let options = SpanOptions {
        stop_tokens: stops
            .filter_map(|stop| stop.as_str().map(str::to_owned))
            .collect(),
        dropped: if row["strict"] == json!(true) {
            OnDrop::Refuse
        } else {
            OnDrop::Allow
        },
        ..SpanOptions::default()
    };
    let labelled = match template.session().label(request, &options) {
        Ok(labelled) => labelled,
        Err(error) => return json!({"ok": false, "error": error.to_string()}),
    };
    let turn = |turn: &Turn| {
        json!({"message": turn.message, "method": format!("{:?}", turn.method),
               "ranges": turn.ranges, "stop": turn.stop, "dropped": turn.dropped,
               "tags_agree": turn.tags_agree})
    };
    let turns: Vec<Value> = labelled
        .turns
        .iter()
        .map(|result| match result {
            Ok(proven) => turn(proven),
            Err(refusal) => json!({"message": refusal.message, "around": refusal.around,
                                   "rule": format!("{:?}", refusal.rule), "detail": refusal.detail}),
        })
        .collect();
    let spans: Vec<Value> = labelled
        .spans
        .iter()
        .map(|span| {
            json!([
                span.start,
                span.end,
                format!("{:?}", span.kind),
                span.message
            ])
        })
        .collect();
    json!({"turns": turns, "spans": spans})
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut template = ChatTemplate::compile("template", "");
    for line in std::io::stdin().lock().lines() {
        let row: Value = serde_json::from_str(&line?)?;
        if let Some(source) = row["template"].as_str() {
            template = ChatTemplate::compile("template", source);
        }
        writeln!(out, "{}", answer(&template, &row))?;
    }
    Ok(())
}
