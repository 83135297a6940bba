//! What is damaged is found, and reading it never crashes.

use std::fs;
use std::path::Path;

use sftprep_core::error::Code;
use sftprep_core::shard::{
    MANIFEST_NAME, Manifest, Mode, ShardReader, VerifyReport, content_id, digest_file, verify,
};

use super::common::{Spec, random, write_dataset};
use super::roundtrip::contents;

/// Flips in all; the seed is fixed so that a failure can be repeated.
const FLIPS: usize = 500;

fn full(dir: &Path) -> VerifyReport {
    verify(dir, Mode::Full, &|| Ok(())).unwrap()
}

/// Reads everything that can be read, and minds no error.
fn read_all(dir: &Path) {
    if let Ok(reader) = ShardReader::open(dir) {
        for row in 0..reader.len() {
            let _ = (reader.row(row), reader.spans(row));
        }
    }
}

#[test]
fn every_flipped_bit_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    write_dataset(
        &out,
        &Spec {
            documents: 60,
            shard_bytes: 8 << 10,
            ..Spec::default()
        },
        false,
    );
    let files: Vec<(String, Vec<u8>)> = contents(&out).into_iter().collect();
    assert!(files.len() >= 8, "{} files", files.len());
    let mut seed = 7;
    for flip in 0..FLIPS {
        let (name, bytes) = &files[flip % files.len()];
        let bit = random(&mut seed) as usize % (8 * bytes.len());
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        fs::write(out.join(name), &flipped).unwrap();
        // A flip in the version number gives an error of its own.
        let found = match verify(&out, Mode::Full, &|| Ok(())) {
            Ok(report) => report.findings.iter().any(|finding| finding.file == *name),
            Err(error) => error.code == Code::ShardVersion && name == MANIFEST_NAME,
        };
        assert!(found, "bit {bit} of {name} was not found");
        read_all(&out);
        fs::write(out.join(name), bytes).unwrap();
    }
    assert!(full(&out).is_ok());
}

#[test]
fn cut_swapped_missing_and_extra_files_are_found_fast() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    write_dataset(&out, &Spec::default(), false);
    let fast = || verify(&out, Mode::Fast, &|| Ok(())).unwrap();
    let (one, two) = ("data-00000-of-", "data-00001-of-");
    let name = |prefix: &str| {
        contents(&out)
            .into_keys()
            .find(|name| name.starts_with(prefix))
            .unwrap()
    };
    let (one, two) = (out.join(name(one)), out.join(name(two)));
    assert!(fast().is_ok());

    let bytes = fs::read(&one).unwrap();
    for keep in [0, 1, 64, bytes.len() / 2, bytes.len() - 1] {
        fs::write(&one, &bytes[..keep]).unwrap();
        assert!(!fast().is_ok(), "cut to {keep}");
        assert_eq!(
            ShardReader::open(&out).unwrap_err().code,
            Code::ShardCorrupt
        );
    }
    fs::write(&one, &bytes).unwrap();

    let other = fs::read(&two).unwrap();
    fs::write(&one, &other).unwrap();
    fs::write(&two, &bytes).unwrap();
    assert!(!fast().is_ok());
    read_all(&out);
    fs::write(&one, &bytes).unwrap();
    fs::write(&two, &other).unwrap();

    fs::write(out.join("notes.txt"), "mine").unwrap();
    assert_eq!(fast().findings[0].file, "notes.txt");
    fs::remove_file(out.join("notes.txt")).unwrap();

    fs::remove_file(&two).unwrap();
    assert!(
        fast()
            .findings
            .iter()
            .any(|finding| finding.what == "it is missing")
    );
    fs::write(&two, &other).unwrap();

    fs::remove_file(out.join(MANIFEST_NAME)).unwrap();
    let error = verify(&out, Mode::Fast, &|| Ok(())).unwrap_err();
    assert_eq!(error.code, Code::ShardMissing);
    assert_eq!(
        ShardReader::open(&out).unwrap_err().code,
        Code::ShardMissing
    );
}

/// Files whose hashes are right and whose content lies: written by an enemy, not by a failing disk.
#[test]
fn hostile_offsets_give_errors() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    write_dataset(
        &out,
        &Spec {
            documents: 40,
            ..Spec::default()
        },
        false,
    );
    let manifest = Manifest::read(&out).unwrap();
    let (mut seed, mut tried, mut found) = (3, 0, 0);
    for file in manifest
        .files
        .iter()
        .filter(|file| !file.batches.is_empty())
    {
        let path = out.join(&file.name);
        let bytes = fs::read(&path).unwrap();
        for &[offset, length] in &file.batches[0].buffers {
            for value in [i32::MIN, -1, 1 << 30, i32::MAX, random(&mut seed) as i32] {
                if length < 8 {
                    continue;
                }
                let mut hostile = bytes.clone();
                let at = offset as usize + 4 * (random(&mut seed) % (length / 4)) as usize;
                hostile[at..at + 4].copy_from_slice(&value.to_le_bytes());
                if hostile == bytes {
                    continue;
                }
                fs::write(&path, &hostile).unwrap();
                let mut lying = manifest.clone();
                let info = lying
                    .files
                    .iter_mut()
                    .find(|info| info.name == file.name)
                    .unwrap();
                let digest = digest_file(&path).unwrap();
                (info.xxh3_128, info.blake3) = (digest.xxh3_128, digest.blake3);
                lying.content_id = content_id(&lying.files);
                fs::write(out.join(MANIFEST_NAME), lying.sealed().to_bytes()).unwrap();
                read_all(&out);
                found += usize::from(!full(&out).is_ok());
                tried += 1;
            }
        }
        fs::write(&path, &bytes).unwrap();
    }
    fs::write(out.join(MANIFEST_NAME), manifest.to_bytes()).unwrap();
    assert!(full(&out).is_ok());
    // Not every lie can be told from the truth (a line number, say), but offsets and sums can.
    assert!(
        tried > 100 && found * 10 > tried * 6,
        "{found} of {tried} found"
    );
}

#[test]
fn hostile_manifests_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    write_dataset(
        &out,
        &Spec {
            documents: 40,
            ..Spec::default()
        },
        false,
    );
    let good = Manifest::read(&out).unwrap();
    // Written back as it is, with its own hash made right, it reads.
    Manifest::parse(&good.clone().sealed().to_bytes()).unwrap();
    let refused = |change: &dyn Fn(&mut Manifest)| {
        let mut manifest = good.clone();
        change(&mut manifest);
        let error = Manifest::parse(&manifest.sealed().to_bytes()).unwrap_err();
        assert_eq!(error.code, Code::ShardManifest, "{error}");
        error.message
    };
    for name in [
        "../x",
        "a/b",
        "a\\b",
        "",
        "..",
        ".",
        "é",
        "a b",
        "/etc/passwd",
        "x\0",
        "c:x",
    ] {
        let message = refused(&|manifest| manifest.files[0].name = name.to_owned());
        assert!(message.contains("not a file name"), "{message}");
    }
    refused(&|manifest| manifest.files[0].name = MANIFEST_NAME.to_owned());
    refused(&|manifest| manifest.files[0].bytes = u64::MAX);
    refused(&|manifest| manifest.files[0].tokens += 1);
    refused(&|manifest| manifest.files[0].rows += 1);
    refused(&|manifest| manifest.files[0].xxh3_128.push('0'));
    refused(&|manifest| manifest.files[0].batches[0].rows = u64::MAX);
    refused(&|manifest| manifest.files[0].batches[0].buffers[0][0] = u64::MAX - 63);
    refused(&|manifest| manifest.files[0].batches[0].buffers[1][1] = u64::MAX);
    refused(&|manifest| manifest.files[0].batches[0].buffers[1][0] += 4);
    refused(&|manifest| _ = manifest.files[0].batches[0].buffers.pop());
    refused(&|manifest| manifest.files.swap(0, 1));
    refused(&|manifest| _ = manifest.files.remove(0));
    refused(&|manifest| manifest.totals.trained = u64::MAX);
    refused(&|manifest| manifest.content_id = "0".repeat(64));
    refused(&|manifest| manifest.config = serde_json::json!({}));
    refused(&|manifest| manifest.format = "other".to_owned());
    let mut newer = good.clone();
    newer.format_version = 99;
    let error = Manifest::parse(&newer.sealed().to_bytes()).unwrap_err();
    assert_eq!(error.code, Code::ShardVersion);
    let deep = [b"{\"format\":".as_slice(), &b"[".repeat(100_000)].concat();
    for bytes in [
        b"".as_slice(),
        b"{",
        b"null",
        b"[]",
        b"{\"format\":\"sftprep-dataset\"}\n",
        &deep,
    ] {
        assert_eq!(
            Manifest::parse(bytes).unwrap_err().code,
            Code::ShardManifest
        );
    }
    // Nothing but its canonical bytes is accepted.
    let mut spaced = good.to_bytes();
    spaced.insert(1, b' ');
    assert!(
        Manifest::parse(&spaced)
            .unwrap_err()
            .message
            .contains("canonical")
    );
}
