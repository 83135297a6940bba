//! JSON to template input, for all tests.
#![allow(dead_code)] // each test file uses a part

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
    value
        .as_array()
        .map(|items| items.iter().map(data).collect())
        .unwrap_or_default()
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
