//! Formats are told from columns, with evidence, or with advice where none fits.

use super::Format::{Alpaca, Messages, Pretokenized, PromptCompletion, Sharegpt, Text};
use super::tests::{data, options};
use super::*;

#[track_caller]
fn detected(rows: &[&str], map: &[(&str, &str)]) -> Result<Detected, Error> {
    let rows: Vec<Data> = rows.iter().map(|row| data(row)).collect();
    detect(&rows, &options(Text, map, &[]).map)
}

#[test]
fn formats_are_told_with_their_evidence() {
    for (row, map, format, evidence) in [
        (
            r#"{"id":1,"messages":[{"role":"user","content":"a"}],"prompt":"x"}"#,
            vec![],
            Messages,
            "column `messages`: list of {role, content} in 1 of 1 rows",
        ),
        (
            r#"{"conversation":[{"from":"human","value":"a"}]}"#,
            vec![],
            Sharegpt,
            "column `conversation`: list of {from, value} in 1 of 1 rows",
        ),
        (
            r#"{"instruction":"a","output":"b","text":"ab"}"#,
            vec![],
            Alpaca,
            "columns `instruction` and `output`: strings in 1 of 1 rows",
        ),
        (
            r#"{"prompt":[{"role":"user","content":"a"}],"completion":[{"role":"assistant","content":"a"}]}"#,
            vec![],
            PromptCompletion,
            "columns `prompt` and `completion`: list of {role, content} in 1 of 1 rows",
        ),
        (
            r#"{"prompt":"a","completion":"b"}"#,
            vec![],
            PromptCompletion,
            "columns `prompt` and `completion`: strings in 1 of 1 rows",
        ),
        (
            r#"{"body":"a"}"#,
            vec![("text", "body")],
            Text,
            "column `body`: string in 1 of 1 rows",
        ),
        (
            r#"{"input_ids":[1]}"#,
            vec![],
            Pretokenized,
            "column `input_ids`: list of integers in 1 of 1 rows",
        ),
        (
            r#"{"question":"a","answer":"b"}"#,
            vec![("instruction", "question"), ("output", "answer")],
            Alpaca,
            "columns `question` and `answer`: strings in 1 of 1 rows",
        ),
    ] {
        let evidence = evidence.to_owned();
        assert_eq!(detected(&[row], &map), Ok(Detected { format, evidence }));
    }
    let alpaca = r#"{"instruction":"a","output":"b"}"#;
    let some = detected(&[alpaca, "[]", alpaca, r#"{"instruction":"a"}"#], &[]).unwrap();
    assert!(some.evidence.ends_with("in 2 of 4 rows"));
}

#[test]
fn what_is_not_known_is_explained() {
    for (rows, message, hint) in [
        (
            vec![r#"{"question":"a","answer":"b"}"#],
            "no known format fits; the rows have the columns question, answer",
            "try --format alpaca --map instruction=question --map output=answer",
        ),
        (
            vec![r#"{"dialog":[{"role":"user"}]}"#],
            "no known format fits; the rows have the columns dialog",
            "try --format messages --map messages=dialog",
        ),
        (
            vec![r#"{"messages":[{"from":"user","value":""}]}"#],
            "no known format fits; the rows have the columns messages",
            "try --format sharegpt --map conversations=messages",
        ),
        (
            vec![r#"{"foo":1}"#, r#"{"bar":1}"#, r#"{"text":"a"}"#],
            "no known format fits; the rows have the columns foo, bar, text",
            "name the format with --format, or map your columns with --map",
        ),
        (
            vec![r#"["a"]"#],
            "no row is a JSON object; the first is an array of 1",
            "write one JSON object per row",
        ),
        (
            vec![r#"{"instruction":"a","output":"b","messages":[{"role":"user"}]}"#],
            "several formats fit: messages (1 of 1 rows), alpaca (1 of 1 rows); \
             the rows have the columns instruction, output, messages",
            "say which with --format, for example --format messages",
        ),
        (
            vec![r#"{"instruction":"a","output":"b"}"#, "{}", "{}"],
            "no known format fits; the rows have the columns instruction, output; only 1 of 3 rows look like alpaca",
            "try --format alpaca --map instruction=instruction --map output=output",
        ),
    ] {
        let error = detected(&rows, &[]).unwrap_err();
        assert_eq!(error.code, Code::FormatUnknown);
        assert_eq!(
            (error.message.as_str(), error.hint.as_deref()),
            (message, Some(hint))
        );
    }
    assert!(detect(&[], &BTreeMap::new()).is_err());
}
