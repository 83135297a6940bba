//! Near-duplicates from raw text to verified decisions: documents per CPU second.
//!
//! `cargo run --release --example dedup_speed -- ROWS.jsonl [COLUMN…]` reads the columns
//! (`instruction`, `input`, `output` unless named) of a JSON Lines file, adds one edited copy per
//! 20 rows, and prints what each way of searching finds and what it costs on one thread. Reading
//! and JSON are not part of the times. `CORPUS=FILE` writes the texts as JSON strings, one per
//! line, so that other programs can be given the same ones.

#![allow(clippy::print_stdout, clippy::unwrap_used)] // a program to look at

use std::io::Write;

use sftprep_quality::{
    DedupRules, Document, Fate, MinHash, Shingler, SketchedDedup, dedup, jaccard, similar_pairs,
};

/// Seconds this process has been on a processor.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap();
    let nanoseconds: f64 = text.split(' ').next().unwrap().parse().unwrap();
    nanoseconds / 1e9
}

fn timed<T>(what: &str, count: usize, work: impl FnOnce() -> T) -> (T, f64) {
    let start = cpu_seconds();
    let out = work();
    let seconds = cpu_seconds() - start;
    println!(
        "{what:44} {seconds:7.3} s {:9.0} docs/s",
        count as f64 / seconds
    );
    (out, seconds)
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().expect("give a JSON Lines file");
    let mut columns: Vec<String> = arguments.collect();
    if columns.is_empty() {
        columns = ["instruction", "input", "output"].map(str::to_owned).into();
    }
    let mut texts: Vec<String> = Vec::new();
    for line in std::fs::read_to_string(path).unwrap().lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let parts = columns
            .iter()
            .map(|column| row[column].as_str().unwrap_or(""));
        texts.push(parts.collect::<Vec<_>>().join(" "));
    }
    plant(&mut texts);
    if let Some(file) = std::env::var_os("CORPUS") {
        let mut file = std::io::BufWriter::new(std::fs::File::create(file).unwrap());
        for text in &texts {
            writeln!(file, "{}", serde_json::to_string(text).unwrap()).unwrap();
        }
    }
    let count = texts.len();
    let bytes: usize = texts.iter().map(String::len).sum();
    println!("{count} documents, {bytes} bytes");

    let rules = DedupRules {
        near: Some(0.7),
        ..DedupRules::default()
    };
    let (documents, shingling) = timed("n-grams", count, || {
        let mut shingler = Shingler::default();
        let each = texts.iter().map(|text| shingler.document(text));
        each.collect::<Vec<Document>>()
    });
    let (fates, deciding) = timed("decisions, exact join", count, || dedup(&documents, &rules));
    let gone = fates.iter().filter(|fate| **fate != Fate::Kept).count();
    let total = shingling + deciding;
    println!(
        "raw text to decisions, exact: {:.0} docs/s, {gone} dropped",
        count as f64 / total
    );

    let (sketched, sketching) = timed("band keys", count, || {
        let mut sketched = SketchedDedup::new(rules);
        for document in &documents {
            sketched.push(document);
        }
        sketched
    });
    let (_, verifying) = timed("candidates, verified", count, || {
        let wanted = sketched.candidates();
        let set = |at: &u32| documents[*at as usize].shingles.clone();
        let sets: Vec<Vec<u64>> = wanted.documents.iter().map(set).collect();
        sketched.finish(&wanted, &sets)
    });
    let total = shingling + sketching + verifying;
    println!(
        "raw text to decisions, sketched: {:.0} docs/s",
        count as f64 / total
    );

    let sets: Vec<Vec<u64>> = documents.into_iter().map(|each| each.shingles).collect();
    let (pairs, _) = timed("all pairs, exact join", count, || similar_pairs(&sets, 0.7));
    let bands = MinHash::new(0.7);
    let names: Vec<u32> = (0..count as u32)
        .filter(|at| !sets[*at as usize].is_empty())
        .collect();
    let mut keys = Vec::new();
    for name in &names {
        bands.keys(&sets[*name as usize], &mut keys);
    }
    let candidates = bands.candidates(&names, &keys);
    let right = |pair: &&(u32, u32)| jaccard(&sets[pair.0 as usize], &sets[pair.1 as usize]) >= 0.7;
    let found = candidates.iter().filter(right).count();
    println!(
        "{} pairs; {} candidates, recall {:.4}, precision before verification {:.3}",
        pairs.len(),
        candidates.len(),
        found as f64 / pairs.len() as f64,
        found as f64 / candidates.len() as f64,
    );
}

/// Appends copies of every 20th text with one to three words replaced.
fn plant(texts: &mut Vec<String>) {
    let mut state = 1_u64;
    let mut random = move |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for at in (0..texts.len()).step_by(20) {
        let mut words: Vec<String> = texts[at].split_whitespace().map(str::to_owned).collect();
        if words.is_empty() {
            continue;
        }
        for _ in 0..=random(3) {
            let place = random(words.len());
            words[place] = format!("edited{}", random(1000));
        }
        texts.push(words.join(" "));
    }
}
