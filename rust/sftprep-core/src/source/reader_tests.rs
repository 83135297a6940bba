//! Every row once, in order, at its exact place, whatever the sizes; and clear ends.

use std::io::Write;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;
use crate::error::Code;
use crate::source::{columnar, resolve};
use crate::types::{Record, RowPlace};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zst(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

struct Dir(tempfile::TempDir);

impl Dir {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

fn open(path: &Path, options: ReadOptions) -> Reader {
    let files = resolve(&[path.to_str().unwrap().to_owned()]).unwrap();
    Reader::new(files, options)
}

type Row = (RowPlace, Result<Vec<u8>, Code>);

fn drain(reader: &mut Reader) -> (Vec<Row>, Option<Error>) {
    let mut rows = Vec::new();
    let mut sequence = 0;
    loop {
        match reader.next_chunk() {
            Ok(None) => return (rows, None),
            Err(error) => return (rows, Some(error)),
            Ok(Some(chunk)) => {
                assert_eq!(chunk.sequence, sequence);
                sequence += 1;
                rows.extend(chunk.rows.iter().map(|(place, record)| {
                    let seen = match record {
                        Record::Json(bytes) => Ok(bytes.to_vec()),
                        Record::Data(row) => Ok(format!("{row:?}").into_bytes()),
                        Record::Unreadable(reject) => Err(reject.code),
                    };
                    (place, seen)
                }));
            }
        }
    }
}

fn read(name: &str, bytes: &[u8], options: ReadOptions) -> (Vec<Row>, Option<Error>) {
    let dir = Dir::new();
    let path = dir.write(name, bytes);
    drain(&mut open(&path, options))
}

/// The rows as `line:offset:text`.
fn shown(rows: &[Row]) -> Vec<String> {
    let text = |row: &Row| match &row.1 {
        Ok(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Err(code) => code.to_string(),
    };
    rows.iter()
        .map(|row| format!("{}:{}:{}", row.0.line, row.0.offset, text(row)))
        .collect()
}

#[test]
fn lines_end_at_newlines_only() {
    let text = "\u{feff}{\"a\":1}\r\n\n  \t\r\n{\"b\":\"\u{2028}\"}\n3";
    let (rows, error) = read("a.jsonl", text.as_bytes(), ReadOptions::default());
    assert_eq!(error, None);
    assert_eq!(
        shown(&rows),
        ["1:3:{\"a\":1}\r", "4:18:{\"b\":\"\u{2028}\"}", "5:30:3"]
    );
    for empty in ["", "\n", "\u{feff}"] {
        let (rows, error) = read("a.jsonl", empty.as_bytes(), ReadOptions::default());
        assert_eq!((rows.len(), error), (0, None));
    }
    let (_, error) = read("a.jsonl", b"\xff\xfe{\0}\0", ReadOptions::default());
    assert_eq!(error.unwrap().code, Code::SourceKind);
}

#[test]
fn a_line_beyond_the_limit_is_one_reject() {
    let mut text = b"{}\n".to_vec();
    text.extend(vec![b'x'; 3 << 20]);
    text.extend(b"\n[1]\n");
    text.extend(vec![b'y'; 1 << 20]);
    let options = ReadOptions {
        max_line_bytes: 1000,
        ..ReadOptions::default()
    };
    let expected = [
        "1:0:{}",
        "2:3:row.too_long",
        "3:3145732:[1]",
        "4:3145736:row.too_long",
    ];
    for (name, bytes) in [
        ("a.jsonl", text.clone()),
        ("a.jsonl.gz", gzip(&text)),
        ("a.jsonl.zst", zst(&text)),
    ] {
        let (rows, error) = read(name, &bytes, options.clone());
        assert_eq!(error, None);
        assert_eq!(shown(&rows), expected);
    }
    let at_limit = [vec![b'1'; 1000], vec![b'\n'], vec![b'1'; 1001]].concat();
    let (rows, _) = read("a.jsonl", &at_limit, options);
    assert_eq!(rows[0].1.as_ref().map(Vec::len), Ok(1000));
    assert_eq!(rows[1].1, Err(Code::RowTooLong));
}

#[test]
fn compressed_inputs_are_read_whole_or_the_file_is_named() {
    let two = "{\"a\":1}\n{\"b\":2}\n";
    for (name, bytes) in [
        (
            "a.jsonl.gz",
            [gzip(b"{\"a\":1}\n{\"b"), gzip(b"\":2}\n"), vec![0; 512]].concat(),
        ),
        (
            "a.jsonl.zst",
            [zst(b"{\"a\":1}\n{\"b"), zst(b""), zst(b"\":2}\n")].concat(),
        ),
        ("a.ndjson", two.into()),
    ] {
        let (rows, error) = read(name, &bytes, ReadOptions::default());
        assert_eq!(error, None, "{name}");
        assert_eq!(shown(&rows), ["1:0:{\"a\":1}", "2:8:{\"b\":2}"], "{name}");
    }
    let long: Vec<String> = (0..40_000)
        .map(|i| format!("{{\"n\":{}}}", i * 7919))
        .collect();
    let long = long.join(
        "
",
    );
    for (name, bytes) in [
        ("a.jsonl.gz", gzip(long.as_bytes())),
        ("a.jsonl.zst", zst(long.as_bytes())),
    ] {
        for cut in [0, 1, 9, bytes.len() / 2, bytes.len() - 1] {
            let (rows, error) = read(name, &bytes[..cut], ReadOptions::default());
            let error = error.unwrap_or_else(|| panic!("{name} cut at {cut} is accepted"));
            assert_eq!(error.code, Code::SourceTruncated, "{name} {cut}");
            assert!(error.path.unwrap().ends_with(name));
            assert!(rows.len() <= 40_000);
            for (row, line) in rows.iter().zip(long.lines()) {
                assert_eq!(row.1.as_deref(), Ok(line.as_bytes()));
            }
        }
        let mut damaged = bytes.clone();
        let middle = bytes.len() / 2;
        damaged[middle..middle + 40].fill(0x55);
        let (_, error) = read(name, &damaged, ReadOptions::default());
        assert_eq!(error.unwrap().code, Code::SourceCorrupt, "{name}");
    }
    let trailing = [gzip(b"{}\n"), b"rest".to_vec()].concat();
    let (rows, error) = read("a.jsonl.gz", &trailing, ReadOptions::default());
    assert_eq!((rows.len(), error.unwrap().code), (1, Code::SourceCorrupt));
}

#[test]
fn a_bomb_is_refused() {
    let zeros = vec![0_u8; 64 << 20];
    let frame = zst(&zeros); // 64 MiB in a few KiB
    let bomb: Vec<u8> = std::iter::repeat_n(frame, 20).flatten().collect();
    let (rows, error) = read("a.jsonl.zst", &bomb, ReadOptions::default());
    assert_eq!((rows.len(), error.unwrap().code), (0, Code::SourceBomb));
}

#[test]
fn json_files_are_arrays_lines_or_values() {
    let cases: [(&str, &[&str]); 9] = [
        (
            "[{\"a\":[1,\"]\\\"\"]}, 2 ,\"x\",\n[]]\n",
            &[
                "1:1:{\"a\":[1,\"]\\\"\"]}",
                "2:18:2",
                "3:21:\"x\"",
                "4:26:[]",
            ],
        ),
        (" [ ] ", &[]),
        (
            "{\"a\":1}\n\n{\"b\"\n{}\n",
            &["1:0:{\"a\":1}", "3:9:{\"b\"", "4:14:{}"],
        ),
        (
            "{\"a\":\n1}\n{\"b\":2}{}",
            &["1:0:{\"a\":\n1}", "2:9:{\"b\":2}", "3:16:{}"],
        ),
        (
            "{\"a\":1}{\"b\":2}\n3 {",
            &["1:0:{\"a\":1}", "2:7:{\"b\":2}", "3:15:3", "4:17:{"],
        ),
        ("{\"a\":1}", &["1:0:{\"a\":1}"]),
        ("{\n}\n]}{}", &["1:0:{\n}", "2:4:]", "3:5:}", "4:6:{}"]),
        ("", &[]),
        ("nonsense\n", &["1:0:nonsense"]),
    ];
    for (text, expected) in cases {
        let (rows, error) = read("a.json", text.as_bytes(), ReadOptions::default());
        assert_eq!(
            (shown(&rows), error),
            (expected.iter().map(ToString::to_string).collect(), None)
        );
    }
    for (text, count, code) in [
        ("[{},{}", 2, Code::SourceTruncated),
        ("[{},{\"a\":", 1, Code::SourceTruncated),
        ("[", 0, Code::SourceTruncated),
        ("[{} {}]", 1, Code::SourceCorrupt),
        ("[{},]", 1, Code::SourceCorrupt),
        ("[,{}]", 0, Code::SourceCorrupt),
        ("[{}]\n{}", 1, Code::SourceCorrupt),
    ] {
        let (rows, error) = read("a.json", text.as_bytes(), ReadOptions::default());
        assert_eq!(
            (rows.len(), error.map(|error| error.code)),
            (count, Some(code)),
            "{text}"
        );
    }
}

#[test]
fn a_value_beyond_the_limit_is_one_reject() {
    let long = "\\\"]".repeat(1 << 20);
    let text = format!("[{{}},[\"{long}\"],{{}}]");
    let options = ReadOptions {
        max_line_bytes: 100,
        ..ReadOptions::default()
    };
    let (rows, error) = read("a.json", text.as_bytes(), options);
    assert_eq!(error, None);
    assert_eq!(shown(&rows), ["1:1:{}", "2:4:row.too_long", "3:3145737:{}"]);
}

#[test]
fn a_changed_input_ends_the_run() {
    let dir = Dir::new();
    let path = dir.write("a.jsonl", b"{}\n{}\n");
    let files = resolve(&[path.to_str().unwrap().to_owned()]).unwrap();
    let options = ReadOptions {
        chunk_bytes: 1,
        ..ReadOptions::default()
    };
    let mut reader = Reader::new(files.clone(), options.clone());
    reader.next_chunk().unwrap();
    std::fs::OpenOptions::new()
        .append(true)
        .open(&path)
        .and_then(|mut file| file.write_all(b"{}\n"))
        .unwrap();
    let (_, error) = drain_any(&mut reader);
    assert_eq!(error.unwrap().code, Code::SourceChanged);
    let (_, error) = drain_any(&mut Reader::new(files, options));
    assert_eq!(error.unwrap().code, Code::SourceChanged);
}

fn drain_any(reader: &mut Reader) -> (usize, Option<Error>) {
    let mut rows = 0;
    loop {
        match reader.next_chunk() {
            Ok(None) => return (rows, None),
            Err(error) => return (rows, Some(error)),
            Ok(Some(chunk)) => rows += chunk.rows.len(),
        }
    }
}

#[test]
fn digests_and_limit() {
    let dir = Dir::new();
    let text = b"{}\n{}\n{}\n";
    let packed = gzip(text);
    let a = dir.write("a.jsonl", text);
    let b = dir.write("b.jsonl.gz", &packed);
    let inputs = [format!("first={}", a.display()), b.display().to_string()];
    let files = resolve(&inputs).unwrap();
    let mut reader = Reader::new(files.clone(), ReadOptions::default());
    assert_eq!(drain_any(&mut reader), (6, None));
    let [one, two] = reader.finished() else {
        panic!("two inputs");
    };
    assert_eq!((one.name.as_str(), one.bytes, one.rows), ("first", 9, 3));
    assert_eq!(
        one.blake3.as_deref(),
        Some(blake3::hash(text).to_hex().as_str())
    );
    assert_eq!((two.bytes, two.rows), (packed.len() as u64, 3));
    assert_eq!(
        two.blake3.as_deref(),
        Some(blake3::hash(&packed).to_hex().as_str())
    );
    assert_eq!(reader.bytes_read(), 9 + packed.len() as u64);

    let options = ReadOptions {
        limit: 4,
        chunk_bytes: 1,
        ..ReadOptions::default()
    };
    let mut reader = Reader::new(files, options);
    assert_eq!(drain_any(&mut reader), (4, None));
    assert_eq!(
        (reader.finished()[1].rows, &reader.finished()[1].blake3),
        (1, &None)
    );
}

#[test]
fn after_an_error_the_next_input_can_be_read() {
    let dir = Dir::new();
    let a = dir.write("a.jsonl.gz", &gzip(b"{}\n")[..20]);
    let b = dir.write("b.jsonl", b"{}\n");
    let files = resolve(&[a, b].map(|path| path.display().to_string())).unwrap();
    let mut reader = Reader::new(files, ReadOptions::default());
    assert!(
        matches!(drain_any(&mut reader), (_, Some(error)) if error.code == Code::SourceTruncated)
    );
    assert_eq!(drain_any(&mut reader), (1, None));
    assert_eq!(reader.finished().len(), 1);
}

/// Hands out its bytes one at a time, as a slow pipe does.
struct Drip(std::io::Cursor<Vec<u8>>);

impl std::io::Read for Drip {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let count = into.len().min(1);
        self.0.read(&mut into[..count])
    }
}

#[test]
fn what_standard_input_holds_is_seen_from_its_bytes() {
    let lines = b"{\"a\":1}\n{}\n3\n";
    let mut cases = vec![
        ("lines", lines.to_vec()),
        ("lines.gz", gzip(lines)),
        ("lines.zst", zst(lines)),
        ("array", b" [{}, {}, 3]".to_vec()),
        ("array.gz", gzip(b"[{},{},3]")),
        ("values", b"{\n}{}3".to_vec()),
    ];
    cases.extend(columnar::tests::containers(&[columnar::tests::batch()]));
    for (name, bytes) in cases {
        let digest = blake3::hash(&bytes).to_hex().to_string();
        let length = bytes.len() as u64;
        let pipe = Box::new(Drip(std::io::Cursor::new(bytes)));
        let stream = ByteStream::unnamed(pipe, Path::new("-")).unwrap();
        let limits = Limits {
            line_bytes: 1 << 20,
            batch_bytes: u64::MAX,
        };
        let mut open = open_stream(stream, None, 0, limits).unwrap();
        let mut rows = Rows::default();
        let budget = Budget {
            bytes: 1 << 20,
            rows: 100,
        };
        let more = match &mut open {
            Open::Lines(lines) => lines.fill(&mut rows, &budget),
            Open::Values(values) => values.fill(&mut rows, &budget),
            Open::Columnar(columnar) => columnar.fill(&mut rows, &budget),
        };
        assert_eq!((more, rows.len()), (Ok(false), 3), "{name}");
        assert_eq!(open.finish(), Ok((length, digest)), "{name}");
    }
}

/// The slow reference: split at `\n`, drop blank lines, count everything.
fn reference(text: &[u8], limit: usize) -> Vec<(u64, u64, Option<Vec<u8>>)> {
    let mut offset = 0;
    let mut rows = Vec::new();
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let blank = line.iter().all(|byte| b" \t\r".contains(byte));
        if line.len() > limit {
            rows.push((index as u64 + 1, offset, None));
        } else if !blank {
            rows.push((index as u64 + 1, offset, Some(line.to_vec())));
        }
        offset += line.len() as u64 + 1;
    }
    rows
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_chunk_size_gives_the_same_rows(
        lines in prop::collection::vec("[ a\r\t\u{2028}]{0,40}", 0..60),
        chunk_bytes in 1..200_u64,
        limit in 1..50_u64,
        packing in 0..3_usize,
    ) {
        let text = lines.join("\n").into_bytes();
        let (name, bytes) = match packing {
            0 => ("a.jsonl", text.clone()),
            1 => ("a.jsonl.gz", gzip(&text)),
            _ => ("a.jsonl.zst", zst(&text)),
        };
        let options = ReadOptions { max_line_bytes: limit, chunk_bytes, limit: 0 };
        let (rows, error) = read(name, &bytes, options);
        prop_assert_eq!(error, None);
        let rows: Vec<_> = rows.into_iter().map(|(place, row)| (place.line, place.offset, row.ok())).collect();
        prop_assert_eq!(rows, reference(&text, limit as usize));
    }

    #[test]
    fn any_array_gives_its_elements(
        values in prop::collection::vec("[a\"\\\\{}\\[\\], é\n]{0,30}", 0..20),
        space in "[ \n\t\r]{0,3}",
        chunk_bytes in 1..200_u64,
        in_array: bool,
    ) {
        let mut text = String::new();
        let mut expected = Vec::new();
        let open = if in_array { "[" } else { "\n" };
        text.push_str(open);
        for (index, value) in values.iter().enumerate() {
            let value = serde_json::json!({"a": [value], value.as_str(): {}}).to_string();
            if index > 0 && in_array {
                text.push(',');
            }
            text.push_str(&space);
            expected.push((index as u64 + 1, text.len() as u64, Some(value.clone().into_bytes())));
            text.push_str(&value);
        }
        text.push_str(&space);
        if in_array {
            text.push(']');
        }
        let options = ReadOptions { chunk_bytes, ..ReadOptions::default() };
        let (rows, error) = read("a.json", text.as_bytes(), options);
        prop_assert_eq!(error, None);
        let trimmed = |row: Vec<u8>| row.trim_ascii().to_vec();
        let rows = rows.into_iter();
        let rows: Vec<_> = rows
            .map(|(place, row)| (place.line, place.offset, row.ok().map(trimmed)))
            .collect();
        if in_array || !space.contains('\n') {
            prop_assert_eq!(rows, expected);
        } else {
            prop_assert_eq!(rows.len(), expected.len());
        }
    }
}
