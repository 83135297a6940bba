//! Reads the `use` lines of the sources and fails on an import that goes upward or sideways.
//!
//! Floors of this crate, from the bottom: `error`, `faults` and `huge`; `config` and `json`; `types`; then
//! `assets`, `source`, `format`, `label`, `pack` and `shard`, which never import each other; then
//! `pipeline`, the only module that knows all of them; `replay`, which makes rows of its results
//! again; and `audit` and `explain`, which look at them.

#![allow(clippy::unwrap_used)] // a failing read fails the test

use std::fs;
use std::path::{Path, PathBuf};

const FLOORS: &[(&str, u8)] = &[
    ("error", 0),
    ("faults", 0),
    ("huge", 0),
    ("config", 1),
    ("json", 1),
    ("types", 2),
    ("assets", 3),
    ("source", 3),
    ("format", 3),
    ("label", 3),
    ("pack", 3),
    ("shard", 3),
    ("pipeline", 4),
    ("replay", 5),
    ("audit", 6),
    ("explain", 6),
    ("quality", 6),
];

fn floor(module: &str) -> Option<u8> {
    FLOORS
        .iter()
        .find(|(name, _)| *name == module)
        .map(|(_, floor)| *floor)
}

fn rust_files(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push(path);
        }
    }
}

/// Modules of this crate that a source file names through `crate::`.
fn imports(source: &str) -> Vec<String> {
    let code = source
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    let mut found = Vec::new();
    for line in code {
        for (at, _) in line.match_indices("crate::") {
            let rest = &line[at + "crate::".len()..];
            let name: String = rest
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            found.push(name);
        }
    }
    found
}

#[test]
fn no_module_imports_upward_or_sideways() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&root, &mut files);
    let mut wrong = Vec::new();
    let mut seen = 0;
    for file in &files {
        let inside = file.strip_prefix(&root).unwrap();
        let first = inside
            .components()
            .next()
            .unwrap()
            .as_os_str()
            .to_string_lossy()
            .into_owned();
        let module = first.trim_end_matches(".rs").to_owned();
        // tests may look around; what ships may not
        let file_name = inside.file_name().unwrap().to_string_lossy();
        let is_test = file_name.ends_with("tests.rs") || module == "test_data";
        if module == "lib" || is_test {
            continue;
        }
        let own = floor(&module).unwrap_or_else(|| panic!("{module} has no floor: add it here"));
        for import in imports(&fs::read_to_string(file).unwrap()) {
            let Some(other) = floor(&import) else {
                continue;
            };
            seen += 1;
            if import != module && other >= own {
                wrong.push(format!("{} imports crate::{import}", inside.display()));
            }
        }
    }
    assert!(seen > 20, "the test no longer sees the imports");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn stand_alone_crates_know_nothing_of_the_others() {
    let rust = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for (name, others) in [
        (
            "sftprep-template",
            ["sftprep-tokenize", "sftprep-core", "pyo3"],
        ),
        (
            "sftprep-tokenize",
            ["sftprep-template", "sftprep-core", "pyo3"],
        ),
        (
            "sftprep-quality",
            ["sftprep-template", "sftprep-core", "arrow-array"],
        ),
        ("sftprep-core", ["sftprep-python", "pyo3", "numpy"]),
    ] {
        let manifest = fs::read_to_string(rust.join(name).join("Cargo.toml")).unwrap();
        for other in others {
            assert!(
                !manifest.contains(&format!("{other} ")),
                "{name} depends on {other}"
            );
        }
    }
}

#[test]
fn files_stay_under_five_hundred_lines() {
    let rust = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut files = Vec::new();
    for krate in [
        "sftprep-template",
        "sftprep-tokenize",
        "sftprep-quality",
        "sftprep-core",
        "sftprep-python",
    ] {
        rust_files(&rust.join(krate).join("src"), &mut files);
    }
    let long: Vec<String> = files
        .iter()
        .map(|file| (file, fs::read_to_string(file).unwrap().lines().count()))
        .filter(|(_, lines)| *lines > 500)
        .map(|(file, lines)| format!("{}: {lines} lines", file.display()))
        .collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}
