//! Does a dataset on disk still say what its manifest promises?
//!
//! `Fast` looks at what is cheap: the manifest's own hash, names and sizes, the structure of every
//! Arrow file, and the quick hash of the small files and of a few shards. `Full` reads everything:
//! both hashes of every file, every row, every span, the ledger's sums.

use std::fs;
use std::path::Path;

use crate::error::{Code, Result};

use super::hashed::digest_file;
use super::manifest::{FileInfo, FileKind, MANIFEST_NAME, Manifest, REPORT_NAME};
use super::mapped::MappedFile;
use super::reader::ShardReader;

mod ledger;
mod rows;
mod structure;

/// Files up to this size are hashed even by `Fast`.
const SMALL: u64 = 1 << 20;

/// Larger files that `Fast` hashes, at most.
const SAMPLE: usize = 4;

/// Findings of one kind that are listed; more of them say nothing new.
const MAX_FINDINGS: usize = 20;

/// How closely to look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// Milliseconds per shard.
    #[default]
    Fast,
    /// Reads every byte.
    Full,
}

/// Something that is not as the manifest promises.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// File concerned.
    pub file: String,
    /// What is wrong with it.
    pub what: String,
}

/// What `verify` saw.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// What is wrong; empty if nothing is.
    pub findings: Vec<Finding>,
    /// Files looked at.
    pub files: u64,
    /// Bytes whose hash was computed.
    pub bytes_hashed: u64,
    /// Packed rows looked into.
    pub rows_checked: u64,
}

impl VerifyReport {
    /// Whether nothing is wrong.
    pub fn is_ok(&self) -> bool {
        self.findings.is_empty()
    }

    fn add(&mut self, file: &str, what: impl Into<String>) {
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(Finding {
                file: file.to_owned(),
                what: what.into(),
            });
        }
    }
}

/// Verifies the dataset in `dir`. `check` is called now and then and ends the work when it fails.
///
/// # Errors
///
/// `shard.missing` if there is no manifest, `shard.version` if it is too new. All else that is wrong
/// is a finding.
pub fn verify(dir: &Path, mode: Mode, check: &dyn Fn() -> Result<()>) -> Result<VerifyReport> {
    let mut report = VerifyReport::default();
    let manifest = match Manifest::read(dir) {
        Ok(manifest) => manifest,
        Err(error) if error.code == Code::ShardManifest => {
            report.add(MANIFEST_NAME, error.message);
            return Ok(report);
        }
        Err(error) => return Err(error),
    };
    check_names(dir, &manifest, &mut report);
    let sampled = sample(&manifest);
    let mut whole = true;
    for file in &manifest.files {
        check()?;
        report.files += 1;
        let findings = report.findings.len();
        let hash = match mode {
            Mode::Full => Hash::Both,
            Mode::Fast if file.bytes <= SMALL || sampled.contains(&file.name.as_str()) => {
                Hash::Quick
            }
            Mode::Fast => Hash::None,
        };
        check_file(dir, file, hash, &mut report);
        whole &= report.findings.len() == findings;
    }
    // Rows of a file that is known to be damaged would only repeat that in other words.
    if mode == Mode::Full && whole {
        ledger::check(dir, &manifest, &mut report);
        match ShardReader::with_manifest(dir, manifest) {
            Ok(reader) => rows::check(&reader, check, &mut report)?,
            Err(error) => report.add(MANIFEST_NAME, error.message),
        }
    }
    Ok(report)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Hash {
    None,
    Quick,
    Both,
}

fn check_file(dir: &Path, file: &FileInfo, hash: Hash, report: &mut VerifyReport) {
    let mapped = match MappedFile::open(dir, file) {
        Ok(mapped) => mapped,
        Err(error) => return report.add(&file.name, error.message),
    };
    // The bytes are read before they are looked at through the map: where the disk cannot read them,
    // a call says so, and a map ends the process.
    let digest = match hash {
        Hash::None => None,
        Hash::Quick | Hash::Both => {
            report.bytes_hashed += file.bytes;
            match digest_file(&dir.join(&file.name)) {
                Ok(digest) => Some(digest),
                Err(error) => return report.add(&file.name, error.message),
            }
        }
    };
    if let Err(what) = structure::check(&mapped) {
        report.add(&file.name, what);
    }
    let Some(digest) = digest else {
        return;
    };
    if digest.xxh3_128 != file.xxh3_128 {
        report.add(
            &file.name,
            format!("xxh3_128 is {}, not {}", digest.xxh3_128, file.xxh3_128),
        );
    } else if hash == Hash::Both && digest.blake3 != file.blake3 {
        report.add(
            &file.name,
            format!("blake3 is {}, not {}", digest.blake3, file.blake3),
        );
    }
}

/// Finds files that are missing and files that do not belong here.
fn check_names(dir: &Path, manifest: &Manifest, report: &mut VerifyReport) {
    let Ok(names) = super::output::list(dir) else {
        return report.add(MANIFEST_NAME, "the folder cannot be listed");
    };
    for file in &manifest.files {
        if fs::metadata(dir.join(&file.name)).is_err() {
            report.add(&file.name, "it is missing");
        }
    }
    for name in names {
        let listed = manifest.files.iter().any(|file| file.name == name);
        // `datasets` leaves its caches beside the data.
        let known = name == MANIFEST_NAME || name == REPORT_NAME || name.starts_with("cache-");
        // left by a run that died after it had put the manifest in its place
        let known = known || name == super::output::LOCK_NAME;
        let known = known || name.starts_with(super::output::WORK_PREFIX);
        if !listed && !known {
            report.add(&name, "the manifest does not list it");
        }
    }
}

/// The large files that `Fast` hashes: the first, the last and some between.
fn sample(manifest: &Manifest) -> Vec<&str> {
    let large: Vec<&FileInfo> = manifest
        .files
        .iter()
        .filter(|file| file.bytes > SMALL && matches!(file.kind, FileKind::Data | FileKind::Spans))
        .collect();
    let step = large.len().div_ceil(SAMPLE).max(1);
    large
        .iter()
        .step_by(step)
        .chain(large.last())
        .map(|file| file.name.as_str())
        .collect()
}
