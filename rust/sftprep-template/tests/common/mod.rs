//! JSON to template input, for all tests and examples.
#![allow(dead_code)] // each file uses a part

use serde_json::Value;
use sftprep_template::{Clock, Data, Map, Request};

pub(crate) const CLOCK: Clock = Clock {
    year: 2025,
    month: 6,
    day: 30,
    hour: 12,
    minute: 34,
    second: 56,
};

pub(crate) fn data(value: &Value) -> Data {
    match value {
        Value::Null => Data::Null,
        Value::Bool(flag) => Data::Bool(*flag),
        Value::Number(number) => number_data(&number.to_string()),
        Value::String(text) => Data::from(text.as_str()),
        Value::Array(items) => Data::List(items.iter().map(data).collect()),
        Value::Object(map) => Data::Map(map.iter().map(|(k, v)| (k.as_str(), data(v))).collect()),
    }
}

fn number_data(text: &str) -> Data {
    if text.contains(['.', 'e', 'E']) {
        return Data::Float(text.parse().unwrap_or(f64::NAN));
    }
    text.parse()
        .map_or_else(|_| Data::BigInt(text.into()), Data::Int)
}

pub(crate) fn list(value: &Value) -> Vec<Data> {
    given_list(value).unwrap_or_default()
}

fn given_list(value: &Value) -> Option<Vec<Data>> {
    value
        .as_array()
        .map(|items| items.iter().map(data).collect())
}

pub(crate) fn message(role: &str, content: &str) -> Data {
    Data::Map(Map::from_iter([
        ("role", Data::from(role)),
        ("content", Data::from(content)),
    ]))
}

pub(crate) fn request<'a>(messages: &'a [Data], kwargs: &'a Map) -> Request<'a> {
    Request::new(messages, kwargs, CLOCK)
}

/// One line of input: `{"messages": [...], "tools": null, "documents": null,`
/// `"add_generation_prompt": false, "special_tokens": {}, "kwargs": {}}`.
pub(crate) struct Row {
    messages: Vec<Data>,
    tools: Option<Vec<Data>>,
    documents: Option<Vec<Data>>,
    generation_prompt: bool,
    special: Vec<(String, String)>,
    kwargs: Map,
}

impl Row {
    pub(crate) fn new(value: &Value) -> Self {
        let special = value["special_tokens"].as_object().into_iter().flatten();
        Self {
            messages: list(&value["messages"]),
            tools: given_list(&value["tools"]),
            documents: given_list(&value["documents"]),
            generation_prompt: value["add_generation_prompt"] == true,
            special: special
                .map(|(k, v)| (k.clone(), v.as_str().unwrap_or_default().to_owned()))
                .collect(),
            kwargs: match data(&value["kwargs"]) {
                Data::Map(map) => map,
                _ => Map::new(),
            },
        }
    }

    pub(crate) fn request(&self) -> Request<'_> {
        Request {
            tools: self.tools.as_deref(),
            documents: self.documents.as_deref(),
            add_generation_prompt: self.generation_prompt,
            special_tokens: &self.special,
            ..request(&self.messages, &self.kwargs)
        }
    }
}
