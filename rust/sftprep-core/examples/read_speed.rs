//! How fast inputs are read, parsed and brought into the normal form, one thread, one line each.
//!
//! `cargo run --release --example read_speed -- data.jsonl [more inputs]`

use std::time::Instant;

use sftprep_core::error::Result;
use sftprep_core::format::{FormatOptions, Parser, detect};
use sftprep_core::json::{self, JsonNotes};
use sftprep_core::source::{ReadOptions, Reader, resolve};
use sftprep_core::types::Record;
use sftprep_template::Data;

/// How far down the line a row is taken.
#[derive(Clone, Copy, PartialEq)]
enum Until {
    Chunks,
    Data,
    Samples,
}

fn read(inputs: &[String], until: Until) -> Result<(u64, u64, usize)> {
    let mut reader = Reader::new(resolve(inputs)?, ReadOptions::default());
    let mut notes = JsonNotes::default();
    let mut parser = None;
    let (mut rows, mut bytes, mut rejects) = (0, 0, 0);
    while let Some(chunk) = reader.next_chunk()? {
        rows += chunk.rows.len() as u64;
        bytes += chunk.rows.text_bytes() as u64;
        if until == Until::Chunks {
            continue;
        }
        let parsed = chunk.rows.iter().map(|(_, record)| match record {
            Record::Json(bytes) => json::parse(bytes, &mut notes),
            Record::Data(row) => Ok(row.clone()),
            Record::Unreadable(reject) => Err(reject.clone()),
        });
        if until == Until::Data {
            rejects += parsed.filter(Result::is_err).count();
            continue;
        }
        let parsed: Vec<Result<Data, _>> = parsed.collect();
        if parser.is_none() {
            let sample: Vec<Data> = parsed.iter().flatten().take(100).cloned().collect();
            let detected = detect(&sample, &std::collections::BTreeMap::new())?;
            parser = Some(Parser::new(FormatOptions::new(detected.format))?);
        }
        for row in parsed {
            let sample = match &parser {
                Some(parser) => row.and_then(|row| parser.parse(row, &mut notes)),
                None => continue,
            };
            rejects += usize::from(sample.is_err());
        }
    }
    Ok((rows, bytes, rejects))
}

#[allow(clippy::print_stdout)] // it is what the example is for
fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let inputs: Vec<String> = std::env::args().skip(1).collect();
    for (name, until) in [
        ("chunks of rows", Until::Chunks),
        ("plain data", Until::Data),
        ("samples", Until::Samples),
    ] {
        let mut best = f64::INFINITY;
        let mut seen = (0, 0, 0);
        for _ in 0..5 {
            let start = Instant::now();
            seen = read(&inputs, until)?;
            best = best.min(start.elapsed().as_secs_f64());
        }
        let (rows, bytes, rejects) = seen;
        println!(
            "{name:>14}: {rows} rows, {rejects} rejects, {:.0} MB of text, {best:.3} s, {:.0} MB/s",
            bytes as f64 / 1e6,
            bytes as f64 / 1e6 / best
        );
    }
    Ok(())
}
