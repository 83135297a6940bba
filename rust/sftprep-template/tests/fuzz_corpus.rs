//! The seeds of the fuzz target, and every prefix of them, hold what the target asserts.

#![allow(clippy::unwrap_used)] // helpers outside of test functions

#[path = "common/fuzz.rs"]
mod fuzz;

fn seeds() -> Vec<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/render");
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
        .iter()
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect()
}

#[test]
fn seeds_hold() {
    let seeds = seeds();
    assert!(seeds.len() >= 10, "only {} seeds", seeds.len());
    for seed in &seeds {
        fuzz::check(seed);
    }
}

#[test]
fn cut_seeds_hold() {
    for seed in &seeds() {
        for (cut, _) in seed.char_indices() {
            fuzz::check(&seed[..cut]);
        }
    }
}
