//! Encoding speed: `bench TOKENIZER.json CORPUS.jsonl` (one JSON string per line, halved):
//! cold (first half on a new encoder), steady (second half), hot (first half again), in bytes per
//! second of CPU time of this thread.

use sftprep_tokenize::{Encoding, Tokenizer};
use std::error::Error;

/// CPU seconds of this thread (Linux), or wall time elsewhere.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    match stat.split(' ').next().and_then(|s| s.parse::<f64>().ok()) {
        Some(ns) => ns / 1e9,
        None => std::time::UNIX_EPOCH
            .elapsed()
            .map_or(0.0, |d| d.as_secs_f64()),
    }
}

#[allow(clippy::print_stdout)]
fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, tokenizer, corpora @ ..] = args.as_slice() else {
        return Err("arguments".into());
    };
    let start = cpu();
    let tokenizer = Tokenizer::from_file(tokenizer.as_ref())?;
    println!(
        "load {:.1} ms, {}",
        (cpu() - start) * 1e3,
        tokenizer.engine()
    );
    for corpus in corpora {
        let fresh = Tokenizer::from_file(args[1].as_ref())?;
        let file = std::fs::read_to_string(corpus)?;
        let docs: Vec<String> = file
            .lines()
            .map(serde_json::from_str)
            .collect::<Result<_, _>>()?;
        let (first, second) = docs.split_at(docs.len() / 2);
        let (mut encoder, mut e) = (fresh.encoder(), Encoding::default());
        let mut tokens = 0;
        let mut timed = |docs: &[String]| -> Result<f64, Box<dyn Error>> {
            let bytes: usize = docs.iter().map(String::len).sum();
            let start = cpu();
            for d in docs {
                encoder.encode(d, &mut e)?;
                tokens += e.ids.len();
            }
            Ok(bytes as f64 / (cpu() - start) / 1e6)
        };
        let cold = timed(first)?;
        let steady = timed(second)?;
        let hot = if std::env::var_os("NO_HOT").is_some() {
            0.0
        } else {
            timed(first)?.max(timed(first)?).max(timed(first)?)
        };
        println!("{corpus}: cold {cold:.1} steady {steady:.1} hot {hot:.1} MB/s ({tokens} tokens)");
    }
    Ok(())
}
