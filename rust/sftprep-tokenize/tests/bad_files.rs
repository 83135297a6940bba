//! Broken and hostile tokenizer files end in a clear error.

#![allow(clippy::unwrap_used)] // a test

use sftprep_tokenize::Tokenizer;
use std::fmt::Write;

fn error(json: &str) -> (&'static str, String) {
    let e = Tokenizer::from_bytes("bad.json", json.as_bytes().to_vec())
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

/// Every part as something else: an error that names the file, or a tokenizer that encodes.
#[test]
fn wrong_types_are_named() {
    let sound = with_model(
        r#"{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":[["a","b"]],"dropout":null}"#,
    );
    let sound: serde_json::Value = serde_json::from_str(&sound).unwrap();
    let places = [
        "/version",
        "/added_tokens",
        "/normalizer",
        "/pre_tokenizer",
        "/pre_tokenizer/type",
        "/pre_tokenizer/add_prefix_space",
        "/decoder",
        "/model",
        "/model/type",
        "/model/vocab",
        "/model/vocab/ab",
        "/model/merges",
        "/model/merges/0",
        "/model/merges/0/1",
        "/model/dropout",
    ];
    let wrong = [
        "null",
        "true",
        "-1",
        "1e999",
        "1.5",
        "99999999999999999999",
        "\"x\"",
        "[]",
        "[[[]]]",
        "{}",
        "{\"type\":\"x\"}",
        "[{\"id\":-1}]",
        "[{\"id\":4294967295,\"content\":\"\"}]",
    ];
    for place in places {
        for value in wrong {
            let mut file = sound.clone();
            *file.pointer_mut(place).unwrap() = serde_json::json!("@@");
            loads_or_says(&file.to_string().replace("\"@@\"", value), place, value);
        }
    }
}

/// Loads a file and encodes, or gets an error that names it and is not endless.
fn loads_or_says(json: &str, place: &str, value: &str) {
    match Tokenizer::load("bad.json", json.as_bytes().to_vec(), None) {
        Ok(t) => {
            let mut e = sftprep_tokenize::Encoding::default();
            let _ = t.encoder().encode("abcab abc", &mut e);
            let _ = t.decode(&[0, 2, u32::MAX], false);
        }
        Err(e) => {
            let message = e.to_string();
            let clear = message.contains("bad.json") && message.len() < 2000;
            assert!(clear, "{place} = {value}: {message}");
        }
    }
}

/// Ids that stand twice or lie far out, added tokens with ids of others, and merges that lead in
/// circles: each is an error or a tokenizer with the ids of `tokenizers`.
#[test]
fn odd_ids_and_circles_equal_tokenizers() {
    let models = [
        r#"{"type":"BPE","vocab":{"a":5,"b":5,"ab":2},"merges":["a b"]}"#,
        r#"{"type":"BPE","vocab":{"a":2097151,"b":2097150,"ab":4294967294},"merges":["a b"]}"#,
        r#"{"type":"BPE","vocab":{"a":0,"b":1,"ab":2,"ba":3,"aba":4,"bab":5,"abab":6},
            "merges":["a b","b a","ab a","ba b","ab ab","a ba","b ab","ba ba"]}"#,
        r#"{"type":"BPE","vocab":{"a":0,"b":1,"ab":2,"abab":3},"merges":["ab ab","a b","a b","ab ab"]}"#,
        r#"{"type":"BPE","vocab":{"a":0,"":1,"b":2},"merges":[["a",""],["","b"],["",""]]}"#,
    ];
    for model in models {
        for added in [
            "[]",
            r#"[{"id":0,"content":"b","special":true,"single_word":false,"lstrip":false,"rstrip":false,"normalized":false},
            {"id":4294967295,"content":"c","special":false,"single_word":false,"lstrip":false,"rstrip":false,"normalized":true}]"#,
        ] {
            let json = with_model(model)
                .replace("\"added_tokens\":[]", &format!("\"added_tokens\":{added}"));
            let hf = tokenizers::Tokenizer::from_bytes(json.as_bytes());
            let ours = Tokenizer::load("odd.json", json.as_bytes().to_vec(), None);
            let (Ok(hf), Ok(ours)) = (&hf, &ours) else {
                assert!(hf.is_err() && ours.is_err(), "{model}: {:?}", ours.err());
                continue;
            };
            let mut e = sftprep_tokenize::Encoding::default();
            for text in [
                "",
                "a",
                "abababab",
                "bababa ab",
                "aabbc abcab",
                &"ab".repeat(400),
            ] {
                ours.encoder().encode(text, &mut e).unwrap();
                let expected = hf.encode_fast(text, false).unwrap();
                assert_eq!(e.ids, expected.get_ids(), "{model} {text:?}");
            }
        }
    }
}

#[test]
fn odd_but_sound_models_load() {
    for model in [
        r#"{"type":"BPE","vocab":{},"merges":[]}"#,
        r#"{"type":"BPE","vocab":{"a":4294967295},"merges":[]}"#,
        r#"{"type":"BPE","vocab":{"a":0,"aa":1,"aaa":2},"merges":["a a","aa a","a aa","a a"]}"#,
    ] {
        let t = Tokenizer::from_bytes("odd.json", with_model(model).into_bytes()).unwrap();
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

/// A real file cut off anywhere, or with a byte changed, loads or ends in an error that names it.
#[test]
fn damaged_files_do_not_panic() {
    let (mut vocab, mut merges) = (String::new(), String::new());
    for i in 0..40u8 {
        let (a, b) = (char::from(b'a' + i % 7), char::from(b'a' + i % 5));
        let _ = write!(vocab, "\"{a}{b}{i}\":{},", 300 + u32::from(i));
        let _ = write!(merges, "[\"{a}\",\"{b}\"],");
    }
    let model = format!(
        r#"{{"type":"BPE","vocab":{{{vocab}"a":0}},"merges":[{merges}["a","a"]],"byte_fallback":true}}"#
    );
    let json = with_model(&model).into_bytes();
    for at in 0..json.len() {
        for bytes in [json[..at].to_vec(), {
            let mut changed = json.clone();
            changed[at] = b"\"[]{}:,0x\xFF"[at % 10];
            changed
        }] {
            match Tokenizer::load("bad.json", bytes, None) {
                Ok(t) => {
                    let mut e = sftprep_tokenize::Encoding::default();
                    let _ = t.encoder().encode("abcab abc", &mut e);
                    let _ = t.decode(&[0, 300, 5000], false);
                }
                Err(e) => assert!(e.to_string().contains("bad.json"), "{e}"),
            }
        }
    }
}

/// A hundred megabytes of merges: some seconds, and then a tokenizer or an error.
#[test]
fn a_hundred_megabytes_of_merges() {
    let long = "x".repeat(500);
    let merge = format!("[\"{long}\",\"b\"],");
    let n = 100_000_000 / merge.len();
    let model = format!(
        r#"{{"type":"BPE","vocab":{{"{long}":0,"b":1,"{long}b":2}},"merges":[{}["b","b"]]}}"#,
        merge.repeat(n)
    );
    let (code, message) = error(&with_model(&model));
    assert_eq!(code, "tokenizer-model", "{message}");
    assert!(message.len() < 2000, "{message}");
}
