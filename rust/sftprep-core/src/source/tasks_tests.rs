use proptest::prelude::*;

use super::*;
use crate::source::{ReadOptions, Reader, resolve};
use crate::types::Record;

fn file(bytes: u64, kind: Kind, compression: Compression) -> InputFile {
    InputFile {
        name: "a".to_owned(),
        path: "a".into(),
        kind,
        compression,
        bytes,
    }
}

#[test]
fn tasks_follow_from_sizes_alone() {
    let plain = |bytes| file(bytes, Kind::JsonLines, Compression::None);
    let files = [
        plain(100),
        plain(900),
        plain(3000),
        file(5000, Kind::JsonLines, Compression::Gzip),
        file(5000, Kind::Parquet, Compression::None),
        plain(10),
    ];
    let part = |source, range| Part { source, range };
    let want = vec![
        vec![part(0, None), part(1, None)],
        vec![part(2, Some(0..1024))],
        vec![part(2, Some(1024..2048))],
        vec![part(2, Some(2048..3000))],
        vec![part(3, None)],
        vec![part(4, None)],
        vec![part(5, None)],
    ];
    assert_eq!(tasks(&files, 1000), want); // rounded up to 1,024
    assert_eq!(tasks(&files, 0).len(), 1);
    assert!(tasks(&[], 0).is_empty());
    let huge = tasks(&[plain(1 << 40)], 0);
    assert_eq!(huge.len(), 256);
}

/// Rows with their places, line numbers counted from the start of each file.
type Row = (u32, u64, u64, String);

fn read(files: &[InputFile], tasks: &[Vec<Part>]) -> (Vec<Row>, Vec<String>) {
    let mut rows = Vec::new();
    let mut hashes = vec![Vec::new(); files.len()];
    let mut base = vec![0; files.len()];
    for task in tasks {
        let options = ReadOptions {
            max_line_bytes: 300,
            chunk_bytes: 64,
            limit: 0,
        };
        let mut reader = Reader::of_parts(files.to_vec(), task.clone(), options);
        let mut first = base.clone();
        while let Some(chunk) = reader.next_chunk().unwrap() {
            for (place, record) in chunk.rows.iter() {
                let text = match record {
                    Record::Json(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                    Record::Unreadable(reject) => reject.to_string(),
                    Record::Data(_) => unreachable!(),
                };
                let line = first[place.source as usize] + place.line;
                rows.push((place.source, line, place.offset, text));
            }
        }
        for digest in reader.finished() {
            base[digest.source as usize] += digest.lines;
            hashes[digest.source as usize].push(digest.blake3.clone().unwrap());
        }
        first.clone_from(&base);
    }
    let join = |(file, parts): (&InputFile, Vec<String>)| match &parts[..] {
        [one] => one.clone(),
        parts => {
            let value = |hex: &String| *blake3::Hash::from_hex(hex).unwrap().as_bytes();
            let values: Vec<_> = parts.iter().map(value).collect();
            let size = tasks
                .iter()
                .flatten()
                .find_map(|part| part.range.as_ref().map(|range| range.end))
                .unwrap();
            join_hashes(&values, file.bytes, size)
                .unwrap()
                .to_hex()
                .to_string()
        }
    };
    (rows, files.iter().zip(hashes).map(join).collect())
}

proptest! {
    #[test]
    fn parts_give_the_rows_and_the_hash_of_the_whole(
        lines in prop::collection::vec((0usize..700, any::<bool>()), 0..60),
        ends_open in any::<bool>(),
        bom in any::<bool>(),
        shift in 0u32..4,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jsonl");
        let mut text = if bom { "\u{feff}".to_owned() } else { String::new() };
        for (index, (length, crlf)) in lines.iter().enumerate() {
            let fill: String = (0..*length).map(|at| char::from(b'a' + ((at + index) % 26) as u8)).collect();
            text.push_str(&fill);
            text.push_str(if *crlf { "\r\n" } else { "\n" });
        }
        if ends_open {
            text.push_str("last");
        }
        std::fs::write(&path, &text).unwrap();
        let files = resolve(&[path.display().to_string()]).unwrap();
        let whole = read(&files, &tasks(&files, 1 << 40));
        prop_assert_eq!(&whole.1[0], &blake3::hash(text.as_bytes()).to_hex().to_string());
        let parts = read(&files, &tasks(&files, 1 << (10 + shift)));
        prop_assert_eq!(&parts, &whole);
        for (_, line, offset, _) in &parts.0 {
            prop_assert_eq!(lines_before(&files[0], *offset).unwrap() + 1, *line);
        }
    }
}
