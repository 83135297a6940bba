//! Loads tokenizers and says which engine each one got, and how long that took.

use sftprep_tokenize::Tokenizer;
use std::error::Error;
use std::time::Instant;

#[allow(clippy::print_stdout)]
fn main() -> Result<(), Box<dyn Error>> {
    for path in std::env::args().skip(1) {
        let start = Instant::now();
        let tokenizer = Tokenizer::from_file(path.as_ref())?;
        let ms = start.elapsed().as_secs_f64() * 1e3;
        println!("{path}: {}, {ms:.1} ms", tokenizer.engine());
    }
    Ok(())
}
