//! The shared data, read in place.

use std::io::Read;
use std::path::PathBuf;

use serde_json::Value;

/// The rows of a file of the shared data; `None`, with a printed reason, where it is absent (a
/// failure if `SFTPREP_REQUIRE_DATA` is set).
pub(crate) fn rows(name: &str) -> Option<Vec<Value>> {
    let root = std::env::var_os("SFTPREP_TEST_DATA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    );
    let path = root.join(name);
    let Ok(file) = std::fs::File::open(&path) else {
        assert!(
            std::env::var_os("SFTPREP_REQUIRE_DATA").is_none(),
            "SFTPREP_REQUIRE_DATA is set and {} is absent",
            path.display()
        );
        eprintln!("skipped: {} is absent", path.display());
        return None;
    };
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(file)
        .read_to_string(&mut text)
        .unwrap();
    let parse = |line| serde_json::from_str(line).unwrap();
    Some(text.lines().map(parse).collect())
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
