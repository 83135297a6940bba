//! Where the tests find the shared data, which is read in place and never copied.

use std::path::PathBuf;

/// The path of a file or folder of the shared data; `None`, with a printed reason, where it is
/// absent (a failure if `SFTPREP_REQUIRE_DATA` is set).
#[allow(clippy::print_stderr)] // a skipped test must say so
pub(crate) fn path(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("SFTPREP_TEST_DATA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    );
    let path = root.join(name);
    if path.exists() {
        return Some(path);
    }
    assert!(
        std::env::var_os("SFTPREP_REQUIRE_DATA").is_none(),
        "SFTPREP_REQUIRE_DATA is set and {} is absent",
        path.display()
    );
    eprintln!("skipped: {} is absent", path.display());
    None
}
