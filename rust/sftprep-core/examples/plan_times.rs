//! Prints how long the plan of N lengths takes and what memory it needs at most.
//!
//! `cargo run --release -p sftprep-core --example plan_times -- 10000000`

#![allow(clippy::print_stdout)]

use std::time::Instant;

use sftprep_core::config::Strategy;
use sftprep_core::pack::plan;
use sftprep_core::types::PackedRows;

fn main() {
    let documents = std::env::args()
        .nth(1)
        .and_then(|n| n.parse().ok())
        .unwrap_or(1_000_000);
    for (name, mean, spread, max_len) in [("chat", 400, 900, 4096), ("long", 6000, 9000, 32_768)] {
        let mut state = 1u32;
        let lengths: Vec<u32> = (0..documents)
            .map(|_| {
                // A sum of three uniform draws, squeezed towards the short end.
                let mut draw = || {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (state >> 8) % spread
                };
                let sum = draw() + draw() * draw() / spread;
                (sum + mean / 8).clamp(1, max_len)
            })
            .collect();
        for strategy in [Strategy::Bfd, Strategy::Wrapped, Strategy::Sequential] {
            let start = Instant::now();
            let plan = plan(&lengths, max_len, strategy, 0).expect("lengths are in range");
            let planned = start.elapsed();
            let start = Instant::now();
            let (mut pieces, mut listed) = (Vec::new(), 0);
            for row in 0..plan.rows() {
                plan.row(row, &mut pieces);
                listed += pieces.len();
            }
            println!(
                "{name} {strategy:?} {documents}: plan {planned:?}, {listed} pieces listed in {:?}, {:?}",
                start.elapsed(),
                plan.stats()
            );
        }
    }
    if let Ok(status) = std::fs::read_to_string("/proc/self/status") {
        let peak = status
            .lines()
            .find(|line| line.starts_with("VmHWM"))
            .unwrap_or_default();
        println!("{peak} (with the lengths themselves)");
    }
}
