//! How long a packing plan takes, from lengths to stats, counting included.
//!
//! `cargo bench -p sftprep-core --bench plan`. Lengths follow the log-normal shapes of chat and of
//! reasoning data; they are simulated, and the generator is fixed, so runs compare.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use sftprep_core::config::Strategy;
use sftprep_core::pack::plan;
use sftprep_core::types::PackedRows;

/// Log-normal lengths in `1..=max_len`, from a fixed generator (SplitMix64, Box-Muller).
fn lengths(documents: usize, mean: f64, deviation: f64, max_len: u32) -> Vec<u32> {
    let mut state = 1u64;
    let mut uniform = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((word ^ (word >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    };
    (0..documents)
        .map(|_| {
            let normal =
                (-2.0 * (1.0 - uniform()).ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos();
            ((mean + deviation * normal).exp() as u32).clamp(1, max_len)
        })
        .collect()
}

fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("plan");
    group.sample_size(10);
    for documents in [1_000_000, 10_000_000] {
        group.throughput(Throughput::Elements(documents as u64));
        let shapes = [("chat", 5.9, 0.9, 4096), ("reasoning", 8.6, 0.8, 32_768)];
        for (name, mean, deviation, max_len) in shapes {
            let lengths = lengths(documents, mean, deviation, max_len);
            group.bench_function(format!("bfd/{name}/{documents}"), |bencher| {
                bencher.iter_batched(
                    || (),
                    |()| plan(black_box(&lengths), max_len, Strategy::Bfd, 0),
                    BatchSize::PerIteration,
                );
            });
            if documents == 1_000_000 {
                group.bench_function(format!("first_fit/{name}/{documents}"), |bencher| {
                    bencher.iter(|| plan(black_box(&lengths), max_len, Strategy::FirstFit, 0));
                });
            }
        }
    }
    let lengths = lengths(1_000_000, 5.9, 0.9, 4096);
    let plan = plan(&lengths, 4096, Strategy::Bfd, 0).expect("lengths are in range");
    group.throughput(Throughput::Elements(plan.stats().pieces));
    group.bench_function("list every row/chat/1000000", |bencher| {
        let mut pieces = Vec::new();
        bencher.iter(|| {
            for row in 0..plan.rows() {
                plan.row(row, &mut pieces);
                black_box(&pieces);
            }
        });
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
