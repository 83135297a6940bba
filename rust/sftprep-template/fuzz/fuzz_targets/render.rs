//! Any text as a template: it compiles and renders within the limits or gives an error, and
//! tracing and labelling change no byte.
//!
//! Run with `cargo +nightly fuzz run render` in the folder above. The seeds in `corpus/render`
//! are replayed by `tests/fuzz_corpus.rs` with any compiler.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/common/fuzz.rs"]
mod fuzz;

fuzz_target!(|source: &str| fuzz::check(source));
