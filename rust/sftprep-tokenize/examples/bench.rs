//! Encoding speed: `bench TOKENIZER.json CORPUS.jsonl` (one JSON string per line, halved):
//! cold (first half on a new encoder), steady (second half), hot (first half again), in bytes per
//! second of CPU time of this thread. `HOT=n` sets how often the last is repeated.

use sftprep_tokenize::{Encoding, Tokenizer};
use std::error::Error;

/// CPU seconds of this thread.
#[allow(unsafe_code)]
fn cpu() -> f64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the call writes to the structure given and to nothing else.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
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
        let rounds = std::env::var("HOT").ok().and_then(|n| n.parse().ok());
        let mut hot = 0.0;
        for _ in 0..rounds.unwrap_or(3) {
            hot = timed(first)?.max(hot);
        }
        println!("{corpus}: cold {cold:.1} steady {steady:.1} hot {hot:.1} MB/s ({tokens} tokens)");
    }
    Ok(())
}
