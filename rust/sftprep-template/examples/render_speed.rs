//! Times rendering: reads requests as `render_batch` does, renders each many times with origins
//! off, on, and labelled, and prints microseconds per conversation as one JSON object. With an
//! argument (`plain`, `traced` or `labelled`) it does that one only, for profilers; with a second,
//! so many conversations per measurement.

#[path = "../tests/common/mod.rs"]
mod common;

use std::io::BufRead;

use serde_json::{Value, json};
use sftprep_template::{ChatTemplate, Request, SpanOptions};

/// Renders per measurement, over all conversations: the clock ticks every four milliseconds.
const RENDERS: usize = 200_000;

/// Seconds that this process ran on a CPU (on Linux), so that a busy machine does not count.
fn cpu_seconds() -> f64 {
    let schedstat = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    match schedstat
        .split(' ')
        .next()
        .and_then(|text| text.parse::<f64>().ok())
    {
        Some(nanoseconds) => nanoseconds / 1e9,
        None => std::time::SystemTime::UNIX_EPOCH
            .elapsed()
            .map_or(0.0, |t| t.as_secs_f64()),
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut rows = Vec::new();
    let mut template = ChatTemplate::compile("template", "")?;
    for line in std::io::stdin().lock().lines() {
        let value: Value = serde_json::from_str(&line?)?;
        if let Some(source) = value["template"].as_str() {
            template = ChatTemplate::compile("template", source)?;
        }
        rows.push(common::Row::new(&value));
    }
    let requests: Vec<Request<'_>> = rows.iter().map(common::Row::request).collect();
    let mut session = template.session();
    let options = SpanOptions::default();
    let only = std::env::args().nth(1);
    let renders = match std::env::args().nth(2) {
        Some(count) => count.parse()?,
        None => RENDERS,
    };
    let rounds = u32::try_from(renders.div_ceil(requests.len()))?;
    let time = |name: &str, work: &mut dyn FnMut(&Request<'_>)| {
        if only.as_ref().is_some_and(|only| only != name) {
            return 0.0;
        }
        let mut best = f64::MAX;
        for _ in 0..5 {
            let start = cpu_seconds();
            for _ in 0..rounds {
                requests.iter().for_each(&mut *work);
            }
            let each = (cpu_seconds() - start) / f64::from(rounds) / requests.len() as f64;
            best = best.min(each * 1e6);
        }
        (best * 100.0).round() / 100.0
    };
    let mut bytes = 0;
    let plain = time("plain", &mut |request| {
        bytes += template.render(request).map_or(0, |t| t.len());
    });
    let traced = time("traced", &mut |request| {
        // (As `sftprep pack` does, which has no use for a result once it is tokenized.)
        if let Ok(rendered) = template.render_traced(request) {
            bytes += rendered.text.len();
            rendered.recycle();
        }
    });
    let labelled = time("labelled", &mut |request| {
        bytes += session.label(request, &options).map_or(0, |labelled| {
            labelled.rendered.recycle();
            labelled.spans.len()
        });
    });
    let report = json!({"plain_us": plain, "traced_us": traced, "labelled_us": labelled,
                        "checksum": bytes});
    std::io::Write::write_all(&mut std::io::stdout(), report.to_string().as_bytes())?;
    Ok(())
}
