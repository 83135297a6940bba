//! Runs `pack` without Python, for profiling: `pack CONFIG.json` or `pack INPUT TOKENIZER OUT [THREADS]`.

use std::time::Duration;

use sftprep_core::config::PackConfig;
use sftprep_core::error::{Code, Error, Result};
use sftprep_core::pipeline::{PackJob, Phase};

#[allow(clippy::print_stdout)]
fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let config = match arguments.as_slice() {
        [file] => PackConfig::from_json(
            &std::fs::read_to_string(file).map_err(|e| Error::io(Code::SourceMissing, file, &e))?,
        )?,
        [input, tokenizer, out, rest @ ..] => {
            let mut config = PackConfig::default();
            config.source.inputs = vec![input.clone()];
            config.template.tokenizer.clone_from(tokenizer);
            config.output.dir.clone_from(out);
            config.output.overwrite = true;
            config.output.threads = rest.first().and_then(|n| n.parse().ok()).unwrap_or(1);
            config
        }
        _ => {
            return Err(Error::new(
                Code::ConfigValue,
                "usage: pack INPUT TOKENIZER OUT [THREADS]",
            ));
        }
    };
    let mut job = PackJob::start(config, Phase::All)?;
    while !job.poll(Duration::from_secs(1)).0 {}
    let report = job.wait()?;
    println!(
        "{}",
        serde_json::to_string_pretty(&report).unwrap_or_default()
    );
    Ok(())
}
