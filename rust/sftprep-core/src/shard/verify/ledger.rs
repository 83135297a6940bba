//! The ledger's rows, added up again, against the totals of the manifest.

use std::fs;
use std::path::Path;

use crate::error::Result;
use crate::shard::ledger::DECISIONS;
use crate::shard::manifest::{FileInfo, FileKind, MANIFEST_NAME, Manifest};
use crate::shard::mapped::MappedFile;
use crate::shard::totals::SourceTotals;

use super::VerifyReport;

/// Rows by decision, then tokens encoded, trained, cut, then documents.
type Sums = [u64; 7];

/// Checks the ledger and its extract.
pub(super) fn check(dir: &Path, manifest: &Manifest, report: &mut VerifyReport) {
    let mut all = SourceTotals::default();
    for totals in &manifest.totals_by_source {
        if let Err(what) = totals.balance() {
            report.add(MANIFEST_NAME, format!("its totals do not balance: {what}"));
        }
        all.add(totals);
    }
    if all != manifest.totals {
        report.add(
            MANIFEST_NAME,
            "its totals are not the sum of those by source",
        );
    }
    for file in manifest.files_of(FileKind::Ledger) {
        match sums(dir, file, manifest.totals_by_source.len()) {
            Ok(found) => {
                let told: Vec<Sums> = manifest.totals_by_source.iter().map(expected).collect();
                if found != told {
                    report.add(
                        &file.name,
                        "its rows do not add up to the manifest's totals",
                    );
                }
            }
            Err(error) => report.add(&file.name, error.message),
        }
    }
    for file in manifest.files_of(FileKind::Rejects) {
        let text = fs::read(dir.join(&file.name)).unwrap_or_default();
        let lines = memchr::memchr_iter(b'\n', &text).count() as u64;
        let told = manifest
            .totals
            .rows_rejected()
            .saturating_add(manifest.totals.rows_dropped());
        if lines != file.rows || lines != told {
            report.add(
                &file.name,
                format!("{lines} lines for {told} rows left out"),
            );
        }
    }
}

fn expected(totals: &SourceTotals) -> Sums {
    let cut = totals
        .cut
        .values()
        .fold(0, |sum: u64, n| sum.saturating_add(*n));
    [
        totals.packed,
        totals.rows_rejected(),
        totals.rows_dropped(),
        totals.encoded,
        totals.trained,
        cut,
        totals.documents,
    ]
}

/// Adds up the ledger, source by source.
fn sums(dir: &Path, file: &FileInfo, sources: usize) -> Result<Vec<Sums>> {
    let mapped = MappedFile::open(dir, file)?;
    let mut all = vec![Sums::default(); sources];
    for (batch, info) in file.batches.iter().enumerate() {
        // Buffers in the order of the columns; the two strings have two each.
        let source: &[i32] = mapped.buffer(batch, 0)?;
        let decision: &[i8] = mapped.buffer(batch, 3)?;
        let tokens: &[i64] = mapped.buffer(batch, 9)?;
        let trained: &[i64] = mapped.buffer(batch, 10)?;
        let cut: &[i64] = mapped.buffer(batch, 11)?;
        let documents: &[i32] = mapped.buffer(batch, 12)?;
        let lengths = [
            decision.len(),
            tokens.len(),
            trained.len(),
            cut.len(),
            documents.len(),
        ];
        if lengths.iter().any(|&length| length as u64 != info.rows) {
            return Err(mapped.corrupt(format!("the columns of batch {batch} differ in length")));
        }
        for (row, &source) in source.iter().enumerate() {
            let sums = usize::try_from(source)
                .ok()
                .and_then(|source| all.get_mut(source));
            let place = usize::try_from(decision[row])
                .ok()
                .filter(|&at| at < DECISIONS.len());
            let (Some(sums), Some(place)) = (sums, place) else {
                return Err(mapped.corrupt(format!("row {row} of batch {batch} makes no sense")));
            };
            sums[place] += 1;
            let counts = [
                tokens[row],
                trained[row],
                cut[row],
                i64::from(documents[row]),
            ];
            for (sum, count) in sums[DECISIONS.len()..].iter_mut().zip(counts) {
                *sum = sum.saturating_add(count as u64);
            }
        }
    }
    Ok(all)
}
