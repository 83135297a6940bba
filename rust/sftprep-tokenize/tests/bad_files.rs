//! Broken and hostile tokenizer files end in a clear error.

use sftprep_tokenize::Tokenizer;

fn error(json: &str) -> (&'static str, String) {
    let e = Tokenizer::from_bytes("bad.json", json.as_bytes())
        .err()
        .expect("an error");
    assert!(e.to_string().contains("bad.json"), "{e}");
    (e.code(), e.to_string())
}

/// A byte-level tokenizer with the model given.
fn with_model(model: &str) -> String {
    format!(
        r#"{{"version":"1.0","added_tokens":[],"normalizer":null,
        "pre_tokenizer":{{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true}},
        "decoder":{{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true}},"model":{model}}}"#
    )
}

#[test]
fn broken_files_are_named() {
    assert_eq!(error("").0, "tokenizer-json");
    assert_eq!(
        error("{\"version\": \"1.0\", \"model\": {").0,
        "tokenizer-json"
    );
    assert_eq!(error(&"[".repeat(100_000)).0, "tokenizer-json");
    assert_eq!(error("[]").0, "tokenizer-model");
    assert_eq!(error("{}").0, "tokenizer-model");
    let models = [
        r#"{"type":"BPE","vocab":{"a":-1},"merges":[]}"#,
        r#"{"type":"BPE","vocab":{"a":4294967296},"merges":[]}"#,
        r#"{"type":"BPE","vocab":[1],"merges":[]}"#,
        r#"{"type":"BPE","vocab":{"a":0,"b":1},"merges":["a b"]}"#,
        r#"{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["ab"]}"#,
        r#"{"type":"BPE","vocab":{"a":0},"merges":[["a","a","a"]]}"#,
        r#"{"type":"BPE","vocab":{"a":0},"merges":[],"dropout":7}"#,
    ];
    for model in models {
        assert_eq!(error(&with_model(model)).0, "tokenizer-model", "{model}");
    }
}

#[test]
fn odd_but_sound_models_load() {
    for model in [
        r#"{"type":"BPE","vocab":{},"merges":[]}"#,
        r#"{"type":"BPE","vocab":{"a":4294967295},"merges":[]}"#,
        r#"{"type":"BPE","vocab":{"a":0,"aa":1,"aaa":2},"merges":["a a","aa a","a aa","a a"]}"#,
    ] {
        let t = Tokenizer::from_bytes("odd.json", with_model(model).as_bytes()).unwrap();
        let mut e = sftprep_tokenize::Encoding::default();
        t.encoder().encode("aaaaa b", &mut e).unwrap();
    }
}

#[test]
fn missing_files_are_named() {
    let e = Tokenizer::from_file("no/such/tokenizer.json".as_ref())
        .err()
        .unwrap();
    assert_eq!(e.code(), "tokenizer-read");
    assert!(e.to_string().contains("no/such/tokenizer.json"), "{e}");
}
