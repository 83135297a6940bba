//! Encodes JSON strings, one per line on standard input, and writes one JSON object per line:
//! `{"ids": [...], "offsets": [[start, end], ...]}`. For comparisons with other tokenizers.

use sftprep_tokenize::{Encoding, Tokenizer};
use std::error::Error;
use std::io::{BufRead, BufWriter, Write};

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args()
        .nth(1)
        .ok_or("usage: encode_batch TOKENIZER.json < strings.jsonl")?;
    let tokenizer = Tokenizer::from_file(path.as_ref())?;
    let (mut encoder, mut e) = (tokenizer.encoder(), Encoding::default());
    let mut out = BufWriter::new(std::io::stdout().lock());
    for line in std::io::stdin().lock().lines() {
        let text: String = serde_json::from_str(&line?)?;
        encoder.encode(&text, &mut e)?;
        let row = serde_json::json!({"ids": e.ids, "offsets": e.offsets});
        writeln!(out, "{row}")?;
    }
    Ok(())
}
