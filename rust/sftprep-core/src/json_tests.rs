//! What is accepted, what is refused and with which code, and that nothing panics.

use proptest::prelude::*;

use super::*;
use crate::test_data;

fn read(text: &str) -> Result<Data, Reject> {
    parse(text.as_bytes(), &mut JsonNotes::default())
}

fn code(text: &[u8]) -> Option<Code> {
    parse(text, &mut JsonNotes::default())
        .err()
        .map(|reject| reject.code)
}

#[test]
fn the_last_of_equal_keys_wins_in_the_place_of_the_first() {
    let mut notes = JsonNotes::default();
    let row = parse(br#"{"a":1,"b":2,"a":{"c":0,"c":0}}"#, &mut notes).unwrap();
    let keys: Vec<_> = row.as_map().unwrap().iter().map(|(k, _)| &**k).collect();
    assert_eq!(keys, ["a", "b"]);
    assert!(row.as_map().unwrap().get("a").unwrap().as_map().is_some());
    assert_eq!(notes.duplicate_keys, 2);
}

/// Ten seconds and more if each key were compared with all others.
#[test]
fn objects_of_many_keys_take_linear_time() {
    let pairs: Vec<String> = (0..200_000).map(|n| format!("\"k{n}\":{n}")).collect();
    let text = format!("{{{},\"k7\":0}}", pairs.join(","));
    let mut notes = JsonNotes::default();
    let start = std::time::Instant::now();
    let row = parse(text.as_bytes(), &mut notes).unwrap();
    assert!(start.elapsed().as_secs() < 5, "took {:?}", start.elapsed());
    let map = row.as_map().unwrap();
    assert_eq!((map.len(), notes.duplicate_keys), (200_000, 1));
    assert_eq!(map.at(7), Some((&"k7".into(), &Data::Int(0))));
}

#[test]
fn numbers_are_exact_or_refused() {
    assert_eq!(read("-9223372036854775808"), Ok(Data::Int(i64::MIN)));
    assert_eq!(
        read("9223372036854775808"),
        Ok(Data::BigInt("9223372036854775808".into()))
    );
    assert_eq!(read("-0"), Ok(Data::Int(0)));
    assert_eq!(read("-0.0"), Ok(Data::Float(-0.0)));
    assert_eq!(read("1.5e3"), Ok(Data::Float(1500.0)));
    assert_eq!(read("1e-999"), Ok(Data::Float(0.0)));
    assert_eq!(
        read("123123e100000").unwrap_err().to_string(),
        "row.json: number too large at byte 1: near \"123123e10000\""
    );
    for text in [
        "NaN",
        "-Infinity",
        "[Infinity]",
        "+1",
        "01",
        "1.",
        "0x1",
        ".5",
        "1e",
    ] {
        assert_eq!(code(text.as_bytes()), Some(Code::RowJson), "{text}");
    }
}

#[test]
fn text_is_kept_to_the_byte_or_refused() {
    assert_eq!(read("\"a\\u0000b\""), Ok(Data::from("a\0b")));
    assert_eq!(
        read("\"\\ud83d\\ude00 \u{2028}\""),
        Ok(Data::from("😀 \u{2028}"))
    );
    for lone in [
        r#""\ud800""#,
        r#""\udc00""#,
        r#""\ud800\n""#,
        r#""\uD800\uD800\n""#,
        r#""\uDd1e\uD834""#,
        r#"{"\udead":1}"#,
        r#""\ud83dx""#,
        r#""\uD800 and more text than a window holds""#,
    ] {
        assert_eq!(code(lone.as_bytes()), Some(Code::RowEncoding), "{lone}");
    }
    assert_eq!(code(b"\"\xed\xa0\x80\""), Some(Code::RowEncoding));
    assert_eq!(code(b"\"\xc0\xaf\""), Some(Code::RowEncoding));
    assert_eq!(code(b"{\"a\xff\":1}"), Some(Code::RowEncoding));
    assert_eq!(code(b"\"\\u12\""), Some(Code::RowJson));
    assert_eq!(code(b"\"a\nb\""), Some(Code::RowJson));
}

#[test]
fn nesting_ends_at_the_limit_without_a_stack_overflow() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    assert!(read(&nested(MAX_DEPTH as usize)).is_ok());
    assert_eq!(code(nested(129).as_bytes()), Some(Code::RowDepth));
    assert_eq!(code("[".repeat(100_000).as_bytes()), Some(Code::RowDepth));
    assert_eq!(code(&b"{\"\":".repeat(100_000)), Some(Code::RowDepth));
}

#[test]
fn messages_say_where() {
    assert_eq!(
        read(r#"{"messages": [,]}"#).unwrap_err().to_string(),
        r#"row.json: expected value at byte 15: near "messages\": [,]}""#
    );
    assert_eq!(
        read("{} x").unwrap_err().to_string(),
        "row.json: trailing characters at byte 4: near \"{} x\""
    );
    assert_eq!(code(b""), Some(Code::RowJson));
    assert_eq!(code(b"\xef\xbb\xbf{}"), Some(Code::RowJson));
}

#[test]
fn the_parsing_suite_is_judged_as_it_says() {
    let Some(dir) = test_data::path("hostile/JSONTestSuite/test_parsing") else {
        return;
    };
    let (mut accepted, mut refused, mut free) = (0, 0, Vec::new());
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read(&path).unwrap();
        let outcome = code(&text);
        agree(&text);
        match name.split('_').next().unwrap() {
            "y" => {
                assert_eq!(outcome, None, "{name}");
                accepted += 1;
            }
            "n" => {
                assert!(outcome.is_some(), "{name}");
                refused += 1;
            }
            _ => free.push((name, outcome)),
        }
    }
    assert_eq!((accepted, refused, free.len()), (95, 188, 35));
    // Where the grammar leaves the choice: accepted are numbers that a float or an exact integer
    // holds; refused are infinite floats, wrong encodings, lone surrogates, deep nesting, a BOM.
    for (name, outcome) in free {
        let expected = match name.as_str() {
            "i_number_double_huge_neg_exp.json"
            | "i_number_real_underflow.json"
            | "i_number_too_big_neg_int.json"
            | "i_number_too_big_pos_int.json"
            | "i_number_very_big_negative_int.json" => None,
            "i_structure_500_nested_arrays.json" => Some(Code::RowDepth),
            "i_structure_UTF-8_BOM_empty_object.json" => Some(Code::RowJson),
            other if other.starts_with("i_number") => Some(Code::RowJson),
            _ => Some(Code::RowEncoding),
        };
        assert_eq!(outcome, expected, "{name}");
    }
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        (-1e300..1e300_f64).prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::vec(("[a-z\"é]{0,3}", inner), 0..6)
                .prop_map(|entries| serde_json::Value::Object(entries.into_iter().collect())),
        ]
    })
}

fn same(ours: &Data, theirs: &serde_json::Value) -> bool {
    use serde_json::Value;
    match (ours, theirs) {
        (Data::Null, Value::Null) => true,
        (Data::Bool(a), Value::Bool(b)) => a == b,
        (Data::Int(a), Value::Number(b)) => b.as_i64() == Some(*a),
        (Data::BigInt(a), Value::Number(b)) => **a == b.to_string(),
        (Data::Float(a), Value::Number(b)) => b.as_f64().map(f64::to_bits) == Some(a.to_bits()),
        (Data::Str(a), Value::String(b)) => **a == **b,
        (Data::List(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Data::Map(a), Value::Object(b)) => {
            let pairs = a.iter().zip(b);
            a.len() == b.len()
                && pairs
                    .into_iter()
                    .all(|(a, b)| **a.0 == **b.0 && same(a.1, b.1))
        }
        _ => false,
    }
}

const PARTS: [&str; 44] = [
    "\"",
    "\\",
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    " ",
    "\n",
    "\t",
    "\r",
    "\u{1}",
    "\u{7f}",
    "é",
    "😀",
    "\\n",
    "\\\"",
    "\\\\",
    "\\/",
    "\\b",
    "\\f",
    "\\r",
    "\\t",
    "\\u0041",
    "\\u00e9",
    "\\ud83d",
    "\\ude00",
    "\\ud83d\\ude00",
    "\\u12",
    "\\x",
    "null",
    "true",
    "fals",
    "-",
    "0",
    "12",
    ".",
    "e",
    "+",
    "99999999999999999999",
    "\"key\"",
    "seven b",
    "a text that is longer than a word",
];

/// Whether the reader that knows no reasons takes what the other one takes, and makes the same of it.
fn agree(text: &[u8]) {
    let (mut quick, mut strict) = (JsonNotes::default(), JsonNotes::default());
    let shown = String::from_utf8_lossy(text);
    let value = parse_strictly(text, &mut strict).ok();
    assert_eq!(quick::parse(text, &mut quick), value, "{shown}");
    if value.is_some() {
        assert_eq!(quick.duplicate_keys, strict.duplicate_keys, "{shown}");
    }
}

proptest! {
    #[test]
    fn values_equal_those_of_another_parser(value in any_json()) {
        let mut notes = JsonNotes::default();
        for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
            let ours = parse(text.as_bytes(), &mut notes).unwrap();
            prop_assert!(same(&ours, &value), "{text} became {ours:?}");
        }
        prop_assert_eq!(notes.duplicate_keys, 0);
    }

    #[test]
    fn cut_and_changed_texts_never_panic(value in any_json(), cut: usize, byte: u8) {
        let mut text = value.to_string().into_bytes();
        let at = cut % text.len();
        text[at] = byte;
        agree(&text);
        agree(&text[..at]);
    }

    /// Near misses of what a text is made of, which changing a byte of a right one seldom gives.
    #[test]
    fn both_readers_take_the_same(parts in prop::collection::vec(0..PARTS.len(), 0..12)) {
        let text: Vec<u8> = parts.into_iter().flat_map(|part| PARTS[part].as_bytes()).copied().collect();
        agree(&text);
        agree(&[b"[", &*text, b"]"].concat());
        agree(&[b"{\"k\":\"", &*text, b"\"}"].concat());
    }
}
