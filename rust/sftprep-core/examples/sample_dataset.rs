//! Writes a small dataset of random documents, to be opened with other readers.
//!
//! `cargo run -p sftprep-core --example sample_dataset -- OUT [DOCUMENTS]`

#![allow(clippy::print_stdout, clippy::unwrap_used)]

#[path = "../tests/shards/common.rs"]
mod common;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let out = arguments
        .next()
        .expect("usage: sample_dataset OUT [DOCUMENTS]");
    let documents = arguments
        .next()
        .and_then(|n| n.parse().ok())
        .unwrap_or(5000);
    let spec = common::Spec {
        documents,
        shard_bytes: 256 << 10,
        ..common::Spec::default()
    };
    common::write_dataset(out.as_ref(), &spec, true);
    println!("{out}");
}
