//! The seeds of the fuzz target, every beginning of them and all pairs of them hold what the target
//! asserts.

#![allow(clippy::unwrap_used, unreachable_pub)] // helpers outside of test functions

#[path = "support/fuzz.rs"]
mod fuzz;

fn seeds() -> Vec<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/equal");
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
    assert!(seeds.len() >= 8, "only {} seeds", seeds.len());
    for seed in &seeds {
        for (cut, _) in seed.char_indices().chain([(seed.len(), ' ')]) {
            fuzz::check(&seed[..cut]);
        }
        for other in &seeds {
            fuzz::check(&format!("{seed}{other}"));
        }
    }
}
