//! Every Arrow type that a row can hold, in every container, whole, cut and damaged.

use std::io::Write;
use std::sync::Arc;

use arrow_array::builder::{
    ListBuilder, MapBuilder, StringBuilder, StringDictionaryBuilder, StructBuilder,
};
use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array,
    Int8Array, Int64Array, ListArray, RecordBatch, StringArray, StringViewArray,
    Time64MicrosecondArray, TimestampMillisecondArray, UInt64Array,
};
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use arrow_schema::{DataType, Field, Fields};
use parquet::arrow::ArrowWriter;
use sftprep_template::Data;

use crate::error::{Code, Error};
use crate::json::{self, JsonNotes};
use crate::source::{ReadOptions, Reader, resolve};
use crate::types::Record;

fn message_fields() -> Fields {
    Fields::from(vec![
        Field::new("role", DataType::Utf8, true),
        Field::new("content", DataType::Utf8, true),
    ])
}

/// A column of messages as data sets have it: a list of structs, here with a null and an empty one.
fn messages() -> ArrayRef {
    let mut list = ListBuilder::new(StructBuilder::from_fields(message_fields(), 4));
    let mut add = |turns: &[(&str, Option<&str>)]| {
        for (role, content) in turns {
            let turn = list.values();
            turn.field_builder::<StringBuilder>(0)
                .unwrap()
                .append_value(role);
            turn.field_builder::<StringBuilder>(1)
                .unwrap()
                .append_option(*content);
            turn.append(true);
        }
        list.append(true);
    };
    add(&[("user", Some("é\0")), ("assistant", None)]);
    add(&[]);
    list.append(false);
    Arc::new(list.finish())
}

fn map() -> ArrayRef {
    let mut map = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    for row in [&[("b", "1"), ("a", "2")][..], &[]] {
        for (key, value) in row {
            map.keys().append_value(key);
            map.values().append_value(value);
        }
        map.append(true).unwrap();
    }
    map.append(false).unwrap();
    Arc::new(map.finish())
}

pub(in crate::source) fn batch() -> RecordBatch {
    let words = ["x", "y", "x"].iter().map(|word| Some(*word));
    let mut dictionary = StringDictionaryBuilder::<Int32Type>::new();
    dictionary.extend(words);
    dictionary.append_null();
    let decimals = Decimal128Array::from(vec![Some(-12_345), None, Some(5)]);
    let times = TimestampMillisecondArray::from(vec![Some(1_714_564_800_123), None, Some(0)]);
    let ids = ListArray::from_iter_primitive::<Int32Type, _, _>([
        Some(vec![Some(1), None]),
        None,
        Some(vec![Some(-3)]),
    ]);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("messages", messages()),
        ("map", map()),
        ("ids", Arc::new(ids)),
        ("word", Arc::new(dictionary.finish().slice(1, 3))),
        (
            "decimal",
            Arc::new(decimals.with_precision_and_scale(10, 2).unwrap()),
        ),
        ("zoned", Arc::new(times.clone().with_timezone("+02:00"))),
        ("time", Arc::new(times)),
        (
            "clock",
            Arc::new(Time64MicrosecondArray::from(vec![
                Some(3_600_000_001),
                None,
                Some(0),
            ])),
        ),
        (
            "date",
            Arc::new(Date32Array::from(vec![Some(19_844), None, Some(-1)])),
        ),
        (
            "flag",
            Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)])),
        ),
        (
            "small",
            Arc::new(Int8Array::from(vec![Some(-128), None, Some(1)])),
        ),
        (
            "large",
            Arc::new(Int64Array::from(vec![Some(i64::MIN), None, Some(1)])),
        ),
        (
            "huge",
            Arc::new(UInt64Array::from(vec![Some(u64::MAX), None, Some(1)])),
        ),
        (
            "half",
            Arc::new(Float32Array::from(vec![Some(0.5), None, Some(-0.0)])),
        ),
        (
            "float",
            Arc::new(Float64Array::from(vec![Some(0.1), None, Some(1e300)])),
        ),
        (
            "view",
            Arc::new(StringViewArray::from(vec![
                Some("a long text beyond twelve"),
                None,
                Some(""),
            ])),
        ),
        ("empty", Arc::new(StringArray::new_null(3))),
    ];
    let columns = columns.into_iter();
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, true)))
        .unwrap()
}

fn expected() -> Vec<Data> {
    [
        r#"{"messages":[{"role":"user","content":"é\u0000"},{"role":"assistant","content":null}],
            "map":{"b":"1","a":"2"},"ids":[1,null],"word":"y","decimal":"-123.45",
            "zoned":"2024-05-01T12:00:00.123Z","time":"2024-05-01T12:00:00.123","clock":"01:00:00.000001",
            "date":"2024-05-01","flag":true,"small":-128,"large":-9223372036854775808,
            "huge":18446744073709551615,"half":0.5,"float":0.1,"view":"a long text beyond twelve","empty":null}"#,
        r#"{"messages":[],"map":{},"ids":null,"word":"x","decimal":null,"zoned":null,"time":null,"clock":null,
            "date":null,"flag":null,"small":null,"large":null,"huge":null,"half":null,"float":null,"view":null,
            "empty":null}"#,
        r#"{"messages":null,"map":null,"ids":[-3],"word":null,"decimal":"0.05","zoned":"1970-01-01T00:00:00Z",
            "time":"1970-01-01T00:00:00","clock":"00:00:00","date":"1969-12-31","flag":false,"small":1,"large":1,
            "huge":1,"half":-0.0,"float":1e300,"view":"","empty":null}"#,
    ]
    .map(|row| json::parse(row.as_bytes(), &mut JsonNotes::default()).unwrap())
    .to_vec()
}

fn parquet(batches: &[RecordBatch]) -> Vec<u8> {
    let mut writer = ArrowWriter::try_new(Vec::new(), batches[0].schema(), None).unwrap();
    for batch in batches {
        writer.write(batch).unwrap();
    }
    writer.into_inner().unwrap()
}

fn ipc(batches: &[RecordBatch], compression: Option<CompressionType>, stream: bool) -> Vec<u8> {
    let options = IpcWriteOptions::default()
        .try_with_compression(compression)
        .unwrap();
    let schema = batches[0].schema();
    if stream {
        let mut writer = StreamWriter::try_new_with_options(Vec::new(), &schema, options).unwrap();
        for batch in batches {
            writer.write(batch).unwrap();
        }
        writer.finish().unwrap();
        return writer.into_inner().unwrap();
    }
    let mut writer = FileWriter::try_new_with_options(Vec::new(), &schema, options).unwrap();
    for batch in batches {
        writer.write(batch).unwrap();
    }
    writer.finish().unwrap();
    writer.into_inner().unwrap()
}

thread_local! {
    /// What a batch may take in this test, if not everything.
    static BATCH_BYTES: std::cell::Cell<Option<u64>> = const { std::cell::Cell::new(None) };
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn read(name: &str, bytes: &[u8], options: ReadOptions) -> (Vec<Data>, Option<Error>, Reader) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    let files = match resolve(&[path.to_str().unwrap().to_owned()]) {
        Ok(files) => files,
        Err(error) => return (Vec::new(), Some(error), Reader::new(Vec::new(), options)),
    };
    let mut reader = Reader::new(files, options);
    if let Some(bytes) = BATCH_BYTES.get() {
        reader.limit_batches(bytes);
    }
    let mut rows = Vec::new();
    let error = loop {
        match reader.next_chunk() {
            Ok(None) => break None,
            Err(error) => break Some(error),
            Ok(Some(chunk)) => {
                for (place, record) in chunk.rows.iter() {
                    let Record::Data(row) = record else {
                        panic!("a columnar row is text");
                    };
                    rows.push(row.clone());
                    assert_eq!((place.line, place.offset), (rows.len() as u64, 0));
                }
            }
        }
    };
    (rows, error, reader)
}

pub(in crate::source) fn containers(batches: &[RecordBatch]) -> Vec<(&'static str, Vec<u8>)> {
    let parquet = parquet(batches);
    vec![
        ("a.parquet.gz", gzip(&parquet)),
        ("a.parquet.zst", zstd::encode_all(&parquet[..], 1).unwrap()),
        ("a.parquet", parquet),
        ("a.arrow", ipc(batches, None, false)),
        ("a.arrow", ipc(batches, None, true)),
        (
            "a.feather",
            ipc(batches, Some(CompressionType::LZ4_FRAME), false),
        ),
        ("a.ipc", ipc(batches, Some(CompressionType::ZSTD), true)),
        ("a.ipc.gz", gzip(&ipc(batches, None, true))),
    ]
}

#[test]
fn every_type_in_every_container() {
    let batches = [batch(), batch().slice(1, 2), batch().slice(0, 0)];
    let rows = expected();
    let rows = [&rows[..], &rows[1..]].concat();
    for (name, bytes) in containers(&batches) {
        for chunk_bytes in [1, 2000, 1 << 20] {
            let options = ReadOptions {
                chunk_bytes,
                ..ReadOptions::default()
            };
            let (seen, error, reader) = read(name, &bytes, options);
            assert_eq!(error, None, "{name}");
            assert_eq!(seen, rows, "{name}");
            let digest = &reader.finished()[0];
            assert_eq!((digest.bytes, digest.rows), (bytes.len() as u64, 5));
            assert_eq!(
                digest.blake3.as_deref(),
                Some(blake3::hash(&bytes).to_hex().as_str())
            );
        }
        let (seen, _, reader) = read(
            name,
            &bytes,
            ReadOptions {
                limit: 4,
                ..ReadOptions::default()
            },
        );
        assert_eq!((seen.len(), &reader.finished()[0].blake3), (4, &None));
    }
}

#[test]
fn many_rows_are_streamed_in_order() {
    let numbers = |from: i64| {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(from..from + 30_000));
        RecordBatch::try_from_iter([("n", column)]).unwrap()
    };
    for (name, bytes) in containers(&[numbers(0), numbers(30_000)]) {
        let (rows, error, _) = read(name, &bytes, ReadOptions::default());
        assert_eq!((rows.len(), error), (60_000, None), "{name}");
        let wrong = rows.iter().enumerate().find(|(index, row)| {
            row.as_map().and_then(|row| row.get("n")) != Some(&Data::Int(*index as i64))
        });
        assert!(wrong.is_none(), "{name}: {wrong:?}");
    }
}

#[test]
fn cut_files_are_errors_that_name_the_file() {
    for (name, bytes) in containers(&[batch()]) {
        for cut in [0, 3, 5, 7, 20, bytes.len() / 2, bytes.len() - 12] {
            let (_, error, _) = read(name, &bytes[..cut], ReadOptions::default());
            let error = error.unwrap_or_else(|| panic!("{name} cut at {cut} is accepted"));
            assert_eq!(error.code, Code::SourceTruncated, "{name} {cut}: {error}");
            assert!(error.path.as_ref().unwrap().ends_with(name), "{error}");
        }
    }
}

#[test]
fn damaged_files_never_crash() {
    for (name, bytes) in containers(&[batch()]) {
        let step = (bytes.len() / 80).max(1);
        for at in (0..bytes.len()).step_by(step) {
            for byte in [0x00, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] ^= byte | 1;
                let (_, error, _) = read(name, &damaged, ReadOptions::default());
                if let Some(error) = error {
                    assert_eq!(error.code.stage(), "source", "{name} at {at}: {error}");
                }
            }
        }
    }
}

#[test]
fn columns_without_text_are_named() {
    let bytes: ArrayRef = Arc::new(BinaryArray::from_iter_values([b"x"]));
    let fields = Fields::from(vec![Field::new("bytes", DataType::Binary, true)]);
    let image: ArrayRef = Arc::new(arrow_array::StructArray::new(fields, vec![bytes], None));
    let batch = RecordBatch::try_from_iter([("image", image)]).unwrap();
    for (name, bytes) in containers(&[batch]) {
        let (_, error, _) = read(name, &bytes, ReadOptions::default());
        let error = error.unwrap();
        let message = "column `image.bytes` has type Binary, which no row of text can hold";
        assert_eq!(
            (error.code, error.message.as_str()),
            (Code::SourceKind, message)
        );
    }
}

#[test]
fn what_does_not_fit_in_the_budget_is_refused_and_named() {
    let text = |length: usize| "x1 ".repeat(length / 3);
    let rows = |lengths: &[usize]| {
        let column: ArrayRef = Arc::new(StringArray::from_iter_values(
            lengths.iter().map(|length| text(*length)),
        ));
        RecordBatch::try_from_iter([("text", column)]).unwrap()
    };
    // one batch of 8 MB that packs to nothing, in each container
    let large = rows(&[400_000; 20]);
    BATCH_BYTES.set(Some(2 << 20));
    for (name, bytes) in containers(std::slice::from_ref(&large)) {
        let (seen, error, _) = read(name, &bytes, ReadOptions::default());
        if name.contains("parquet") {
            // its pages are small enough, so it is decoded in slices
            assert_eq!((seen.len(), error), (20, None), "{name}");
            continue;
        }
        let error = error.unwrap_or_else(|| panic!("{name} is accepted"));
        assert_eq!(error.code, Code::RunMemory, "{name}: {error}");
        assert_eq!(error.line, Some(1), "{name}: {error}");
        assert!(error.path.as_ref().unwrap().ends_with(name), "{error}");
        assert!(error.message.contains("has 2 MiB for it"), "{error}");
    }
    BATCH_BYTES.set(Some(1 << 20));
    let bytes = parquet(&[rows(&[100; 2000]), rows(&[2_000_000])]);
    let (seen, error, _) = read("a.parquet", &bytes, ReadOptions::default());
    let error = error.unwrap();
    assert_eq!(error.code, Code::RunMemory);
    assert_eq!(error.line, Some(seen.len() as u64 + 1));
    BATCH_BYTES.set(Some(1 << 30));
    for (name, bytes) in containers(&[large]) {
        let (seen, error, _) = read(name, &bytes, ReadOptions::default());
        assert_eq!((seen.len(), error), (20, None), "{name}");
    }
}

#[test]
fn rows_beyond_the_limit_are_rejected_by_their_number() {
    let column: ArrayRef = Arc::new(StringArray::from(vec!["a".repeat(100), "b".repeat(5000)]));
    let batch = RecordBatch::try_from_iter([("text", column)]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in containers(&[batch]) {
        let path = dir.path().join(name);
        std::fs::write(&path, &bytes).unwrap();
        let options = ReadOptions {
            max_line_bytes: 1000,
            ..ReadOptions::default()
        };
        let files = resolve(&[path.to_str().unwrap().to_owned()]).unwrap();
        let mut reader = Reader::new(files, options);
        let mut seen = Vec::new();
        while let Some(chunk) = reader.next_chunk().unwrap() {
            seen.extend(chunk.rows.iter().map(|(place, record)| match record {
                Record::Unreadable(reject) => (place.line, Some(reject.code)),
                _ => (place.line, None),
            }));
        }
        assert_eq!(seen, [(1, None), (2, Some(Code::RowTooLong))], "{name}");
    }
}
