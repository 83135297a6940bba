//! The stages of encoding: normal form, scanning, cutting, merging, cache hits, whole texts.
//!
//! `cargo bench -p sftprep-tokenize`. With the shared data (`SFTPREP_TEST_DATA`) the vocabularies are
//! real ones; without it there is nothing to measure with, which is said. Texts are made of a list
//! of words by a fixed generator: they are for comparing a stage with itself after a change, not
//! with other engines (`benches/python/compare_tokenizers.py` does that, on real texts).

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use sftprep_tokenize::{Encoding, Tokenizer, stages};
use std::hint::black_box;
use std::path::PathBuf;

const ENGLISH: &str = "the quick answer to a question about tokenizing is that it depends, because \
    (as always) most words come again; \"rare\" ones like antidisestablishmentarianism don't.\n";
const CODE: &str = "    def forward(self, input_ids=None):\n        return [x_i ** 2 for x_i in \
    range(0x10)]  # first half\n";
const CHINESE: &str =
    "我们认为，这个问题的答案取决于具体的情况。人工智能的发展为社会带来了新的机遇，但是也有挑战！";

/// About 100 kB of the parts of a text in an order of no pattern.
fn shuffled(text: &str, chars: usize) -> String {
    let all: Vec<char> = text.chars().collect();
    let parts: Vec<String> = if chars == 0 {
        text.split_inclusive(' ').map(str::to_owned).collect()
    } else {
        all.chunks(chars).map(String::from_iter).collect()
    };
    let (mut out, mut seed) = (String::new(), 1u64);
    while out.len() < 100_000 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        out += &parts[(seed >> 33) as usize % parts.len()];
    }
    out
}

fn tokenizer(name: &str) -> Option<Tokenizer> {
    let root = std::env::var_os("SFTPREP_TEST_DATA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    );
    Tokenizer::from_file(&root.join("tokenizers").join(name).join("tokenizer.json")).ok()
}

type Group<'a> = BenchmarkGroup<'a, WallTime>;

fn stages_of(group: &mut Group<'_>, tokenizer: &Tokenizer, kind: &str, text: &str) {
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function(format!("normal/{kind}"), |b| {
        b.iter(|| stages::is_normal(black_box(text)));
    });
    group.bench_function(format!("split/{kind}"), |b| {
        b.iter(|| stages::split(tokenizer, black_box(text)));
    });
    group.bench_function(format!("cut/{kind}"), |b| {
        b.iter(|| stages::cut(tokenizer, black_box(text)));
    });
    let units: Vec<&str> = text.split_inclusive([' ', '\n', '，', '。']).collect();
    group.bench_function(format!("merge/{kind}"), |b| {
        b.iter(|| stages::merge(tokenizer, black_box(&units)));
    });
    let (mut encoder, mut out) = (tokenizer.encoder(), Encoding::default());
    group.bench_function(format!("known/{kind}"), |b| {
        b.iter(|| {
            encoder
                .encode(black_box(text), &mut out)
                .map(|()| out.ids.len())
        });
    });
}

#[allow(clippy::print_stderr)]
fn bench(criterion: &mut Criterion) {
    for name in ["qwen3", "gemma3"] {
        let Some(tokenizer) = tokenizer(name) else {
            eprintln!("skipped: no tokenizer {name} in the shared data (SFTPREP_TEST_DATA)");
            continue;
        };
        let mut group = criterion.benchmark_group(name);
        group.sample_size(20);
        let texts = [
            ("english", shuffled(ENGLISH, 0)),
            ("code", shuffled(CODE, 0)),
            ("chinese", shuffled(CHINESE, 2)),
            ("joined", shuffled(ENGLISH, 0).replace([' ', '\n'], "")),
            ("ideograph", "中".repeat(30_000)),
        ];
        for (kind, text) in &texts {
            stages_of(&mut group, &tokenizer, kind, text);
        }
        group.finish();
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
