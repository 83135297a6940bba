//! The shared data, read in place.

#![allow(dead_code)] // every test file uses a part of it

use std::io::Read;
use std::path::PathBuf;

use serde_json::Value;

/// A file of the shared data; `None`, with a printed reason, where it is absent (a failure if
/// `SFTPREP_REQUIRE_DATA` is set).
pub(crate) fn file(name: &str) -> Option<String> {
    let root = std::env::var_os("SFTPREP_TEST_DATA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    );
    let path = root.join(name);
    let Ok(mut file) = std::fs::File::open(&path) else {
        assert!(
            std::env::var_os("SFTPREP_REQUIRE_DATA").is_none(),
            "SFTPREP_REQUIRE_DATA is set and {} is absent",
            path.display()
        );
        eprintln!("skipped: {} is absent", path.display());
        return None;
    };
    let mut text = String::new();
    if path.extension().is_some_and(|it| it == "gz") {
        let mut unpacked = flate2::read::MultiGzDecoder::new(file);
        unpacked.read_to_string(&mut text).unwrap();
    } else {
        file.read_to_string(&mut text).unwrap();
    }
    Some(text)
}

/// The rows of a file of the shared data.
pub(crate) fn rows(name: &str) -> Option<Vec<Value>> {
    let parse = |line| serde_json::from_str(line).unwrap();
    Some(file(name)?.lines().map(parse).collect())
}

/// A column of a row as text; empty where there is none.
pub(crate) fn text<'r>(row: &'r Value, column: &str) -> &'r str {
    row[column].as_str().unwrap_or("")
}

/// Instruction, input and output of an Alpaca row.
pub(crate) fn alpaca(row: &Value) -> String {
    let parts = ["instruction", "input", "output"].map(|column| text(row, column));
    parts.join("\n")
}
