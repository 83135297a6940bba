//! The output folder: never two writers, never somebody else's files, never half a dataset.

use std::fs;

use sftprep_core::error::{Code, Error};
use sftprep_core::shard::{Access, MANIFEST_NAME, Mode, OutputDir, verify};

use super::common::{Spec, write_dataset};
use super::roundtrip::contents;

fn open(dir: &std::path::Path, overwrite: bool) -> Result<OutputDir, Error> {
    OutputDir::open(dir, overwrite, "tag", Access::New)
}

#[test]
fn an_existing_dataset_is_refused_or_replaced_whole() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    write_dataset(&out, &Spec::default(), false);
    let before = contents(&out);
    let error = open(&out, false).unwrap_err();
    assert_eq!(error.code, Code::OutputExists);
    assert!(error.hint.unwrap().contains("--overwrite"));
    // A replacement that is given up leaves the old one as it was.
    let given_up = open(&out, true).unwrap();
    fs::write(given_up.files().join("data-00000-of-00001.arrow"), "half").unwrap();
    drop(given_up);
    assert_eq!(contents(&out), before);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    // One that is finished replaces it whole.
    write_dataset(
        &out,
        &Spec {
            documents: 20,
            ..Spec::default()
        },
        true,
    );
    assert_ne!(contents(&out), before);
    assert!(verify(&out, Mode::Full, &|| Ok(())).unwrap().is_ok());
    assert_eq!(
        fs::read_dir(dir.path()).unwrap().count(),
        1,
        "nothing is left beside it"
    );
}

#[test]
fn what_sftprep_did_not_write_is_never_touched() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    // A dataset saved by `datasets` has files of the same names.
    for name in ["thesis.tex", "data-00000-of-00001.arrow"] {
        fs::create_dir_all(&out).unwrap();
        fs::write(out.join(name), "mine").unwrap();
        for overwrite in [false, true] {
            let error = open(&out, overwrite).unwrap_err();
            assert_eq!(error.code, Code::OutputExists);
            assert!(error.message.contains(name), "{error}");
        }
        assert_eq!(contents(&out).len(), 1);
        fs::remove_dir_all(&out).unwrap();
    }
    write_dataset(
        &out,
        &Spec {
            documents: 20,
            ..Spec::default()
        },
        false,
    );
    fs::write(out.join("thesis.tex"), "mine").unwrap();
    assert_eq!(open(&out, true).unwrap_err().code, Code::OutputExists);
    assert_eq!(fs::read(out.join("thesis.tex")).unwrap(), b"mine");
}

#[test]
fn a_second_writer_is_turned_away() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let first = open(&out, false).unwrap();
    let error = open(&out, false).unwrap_err();
    assert_eq!(error.code, Code::OutputLocked);
    assert!(
        error.message.contains(&std::process::id().to_string()),
        "{error}"
    );
    drop(first);
    drop(open(&out, false).unwrap());
    assert!(
        !out.exists(),
        "a folder that was made for nothing is removed"
    );
}

#[test]
fn what_a_dead_run_left_is_swept() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    fs::create_dir_all(out.join(".work-dead/files")).unwrap();
    fs::write(
        out.join(".work-dead/files/data-00001-of-00002.arrow"),
        "half",
    )
    .unwrap();
    fs::write(
        out.join("data-00000-of-00002.arrow"),
        "it died while moving files",
    )
    .unwrap();
    fs::write(out.join(".sftprep.lock"), "process 1\n").unwrap();
    write_dataset(
        &out,
        &Spec {
            documents: 20,
            ..Spec::default()
        },
        false,
    );
    assert!(verify(&out, Mode::Full, &|| Ok(())).unwrap().is_ok());
    assert!(contents(&out).contains_key(MANIFEST_NAME));
}

#[test]
fn a_run_that_is_given_up_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("a/b/out");
    let output = open(&out, false).unwrap();
    fs::write(output.scratch().join("segment"), "tokens").unwrap();
    fs::write(output.files().join("ledger.arrow"), "rows").unwrap();
    drop(output);
    assert!(!out.exists());
}

#[test]
fn too_little_space_is_told_with_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let output = open(&dir.path().join("out"), false).unwrap();
    output.check_space(1).unwrap();
    let error = output.check_space(1 << 62).unwrap_err();
    assert_eq!(error.code, Code::OutputDiskFull);
    assert!(
        error.message.starts_with("4194304.0 TiB needed, "),
        "{error}"
    );
}
