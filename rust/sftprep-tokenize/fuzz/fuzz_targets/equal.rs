//! Any text: the ids are those of `tokenizers`, and the spans cover the text.
//!
//! Run with `cargo +nightly fuzz run equal` in the folder above. The seeds in `corpus/equal` are
//! replayed by `tests/fuzz_corpus.rs` with any compiler.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/support/fuzz.rs"]
mod fuzz;

fuzz_target!(|text: &str| fuzz::check(text));
