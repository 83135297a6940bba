//! What is written is what is read, whatever the strategy, and the bytes never depend on chance.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use proptest::prelude::*;
use sftprep_core::config::Strategy;
use sftprep_core::shard::{Manifest, Mode, REJECTS_NAME, ShardReader, verify};
use sftprep_core::types::{Example, IGNORE_INDEX};

use super::common::{Spec, meta, write_dataset};

/// All files of a folder, by name.
pub(crate) fn contents(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(dir).unwrap().map(Result::unwrap);
    entries
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect()
}

/// Every token of every document is in exactly one row, with the label and span it should have.
fn check_rows(dir: &Path, examples: &[Example], max_len: u32) {
    let reader = ShardReader::open(dir).unwrap();
    let mut seen: Vec<Vec<bool>> = examples
        .iter()
        .map(|example| vec![false; example.input_ids.len()])
        .collect();
    for row in 0..reader.len() {
        let (data, spans) = (reader.row(row).unwrap(), reader.spans(row).unwrap());
        assert!(data.input_ids.len() <= max_len as usize);
        let mut at = 0;
        for (document, &length) in data.seq_lengths.iter().enumerate() {
            let index = spans.doc_line[document] as usize - 1;
            let (example, meta) = (&examples[index], meta(index as u32));
            assert_eq!(spans.doc_source[document] as u32, meta.place.source);
            assert_eq!(spans.doc_byte_offset[document] as u64, meta.place.offset);
            assert_eq!(spans.doc_part[document] as u32, meta.part);
            let start = spans.doc_start[document] as usize;
            let labels = example.labels();
            for token in 0..length as usize {
                let (there, here) = (start + token, at + token);
                assert!(
                    !std::mem::replace(&mut seen[index][there], true),
                    "a token twice"
                );
                assert_eq!(data.input_ids[here] as u32, example.input_ids[there]);
                let label = if token == 0 {
                    IGNORE_INDEX
                } else {
                    labels[there]
                };
                assert_eq!(data.labels[here], label);
                let wanted =
                    example.spans[example.spans.partition_point(|s| s.end as usize <= there)];
                let span = spans.span_end.partition_point(|end| *end as usize <= here);
                assert_eq!(spans.span_kind[span], wanted.kind as u8);
                assert_eq!(spans.span_message[span], wanted.message as i32);
                assert_eq!(spans.span_flags[span] & 1 != 0, wanted.trained);
                assert_eq!(spans.span_flags[span] & 2 != 0, wanted.straddles);
                let weight = spans.span_weight.get(span).copied().unwrap_or(1.0);
                assert_eq!(weight.to_bits(), wanted.weight.to_bits());
            }
            at += length as usize;
        }
    }
    assert!(
        seen.iter().flatten().all(|seen| *seen),
        "a token is missing"
    );
    assert!(reader.row(reader.len()).is_err());
}

fn strategy() -> impl proptest::strategy::Strategy<Value = Strategy> {
    prop_oneof![
        Just(Strategy::Bfd),
        Just(Strategy::BfdSplit),
        Just(Strategy::FirstFit),
        Just(Strategy::Sequential),
        Just(Strategy::Wrapped),
        Just(Strategy::None),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_is_written_is_what_is_read(
        strategy in strategy(),
        documents in 1u32..900,
        longest in 1u32..150,
        shard_bytes in 2000u64..60_000,
        seed in any::<u64>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let cuts = matches!(strategy, Strategy::BfdSplit | Strategy::Wrapped);
        let max_len = if cuts { 50 } else { 150 };
        let spec = Spec { documents, longest, max_len, strategy, shard_bytes, seed };
        let examples = write_dataset(&dir.path().join("out"), &spec, false);
        check_rows(&dir.path().join("out"), &examples, max_len);
        for mode in [Mode::Fast, Mode::Full] {
            let report = verify(&dir.path().join("out"), mode, &|| Ok(())).unwrap();
            prop_assert!(report.is_ok(), "{:?}", report.findings);
        }
    }
}

#[test]
fn equal_input_gives_equal_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let spec = Spec::default();
    let (one, two) = (dir.path().join("one"), dir.path().join("elsewhere/two"));
    write_dataset(&one, &spec, false);
    write_dataset(&two, &spec, false);
    assert_eq!(contents(&one), contents(&two));
    assert!(contents(&one).len() > 7, "several shards");
}

#[test]
fn rejects_are_readable() {
    let dir = tempfile::tempdir().unwrap();
    write_dataset(&dir.path().join("out"), &Spec::default(), false);
    let text = fs::read_to_string(dir.path().join("out").join(REJECTS_NAME)).unwrap();
    let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let expected = serde_json::json!({
        "source": "a", "line": 9999, "byte_offset": 7, "decision": "rejected", "code": "row.json",
        "message": "expected value at column 1", "field": "messages", "text": "{]",
        "text_cut": false,
    });
    assert_eq!(first, expected);
    assert_eq!(text.lines().count(), 2);
}

/// The bytes of format version 1. If this fails, either the format changed, and `format_version`
/// must change with it, or a dependency writes other bytes for the same thing.
#[test]
fn the_bytes_are_those_of_format_version_1() {
    let dir = tempfile::tempdir().unwrap();
    write_dataset(&dir.path().join("out"), &Spec::default(), false);
    let manifest = Manifest::read(&dir.path().join("out")).unwrap();
    assert_eq!(manifest.format_version, 1);
    assert_eq!(
        manifest.content_id,
        "48eba4194458d93a1060a5f6936fd71181f1541f18e4e01715ae17ac8630b573"
    );
}
