//! Documents and small datasets for the tests of shards.

use std::path::Path;

use sftprep_core::config::Strategy;
use sftprep_core::error::{Code, Reject};
use sftprep_core::pack::{self, Cuts};
use sftprep_core::types::{Border, Example, NO_MESSAGE, PackedRows, RowPlace, SpanKind, TokenSpan};

use sftprep_core::shard::{
    Access, DocMeta, InputInfo, LedgerRow, LedgerWriter, Manifest, Outcome, OutputDir, PackingInfo,
    RunFacts, SegmentWriter, ShardPlan, write_huggingface_files, write_shard,
};

/// SplitMix64.
pub(crate) fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut word = *state;
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// A document of `n` tokens with random spans, some of them empty, some with a weight.
pub(crate) fn example(n: u32, mut seed: u64) -> Example {
    let state = &mut seed;
    let input_ids = (0..n).map(|_| random(state) as u32 % 50_000).collect();
    let weighted = random(state).is_multiple_of(4);
    let mut spans = Vec::new();
    let mut end = 0;
    while end < n {
        end = n.min(end + random(state) as u32 % 9);
        let kind = SpanKind::ALL[random(state) as usize % SpanKind::ALL.len()];
        let no_message = random(state).is_multiple_of(3);
        let message = if no_message {
            NO_MESSAGE
        } else {
            random(state) as u32 % 40
        };
        let trained = random(state).is_multiple_of(2);
        let straddles = !trained && random(state).is_multiple_of(5);
        let weight = if weighted { 0.5 } else { 1.0 };
        spans.push(TokenSpan {
            end,
            message,
            kind,
            trained,
            straddles,
            border: Border::Inside,
            repeated: false,
            continues: false,
            weight,
        });
    }
    Example { input_ids, spans }
}

pub(crate) fn meta(index: u32) -> DocMeta {
    let place = RowPlace {
        source: index % 2,
        line: u64::from(index) + 1,
        offset: u64::from(index) << 33,
    };
    DocMeta {
        place,
        part: index % 3,
    }
}

/// What a test dataset is made of.
pub(crate) struct Spec {
    pub(crate) documents: u32,
    pub(crate) longest: u32,
    pub(crate) max_len: u32,
    pub(crate) strategy: Strategy,
    pub(crate) shard_bytes: u64,
    pub(crate) seed: u64,
}

impl Default for Spec {
    fn default() -> Self {
        let strategy = Strategy::Bfd;
        Self {
            documents: 300,
            longest: 60,
            max_len: 64,
            strategy,
            shard_bytes: 16 << 10,
            seed: 1,
        }
    }
}

/// Writes a dataset as the pipeline would, shards in an odd order; returns the documents.
pub(crate) fn write_dataset(dir: &Path, spec: &Spec, overwrite: bool) -> Vec<Example> {
    let sources = ["a".to_owned(), "b".to_owned()];
    let output = OutputDir::open(dir, overwrite, "0123456789abcdef", Access::New).unwrap();
    output.check_space(1 << 20).unwrap();
    let mut ledger = LedgerWriter::create(&output.files(), &sources, true).unwrap();
    let mut segment = SegmentWriter::create(&output.scratch().join("segment")).unwrap();
    let mut cuts = Cuts::new(spec.strategy, spec.max_len);
    let mut seed = spec.seed;
    let mut examples = Vec::new();
    for index in 0..spec.documents {
        let example = example(
            1 + random(&mut seed) as u32 % spec.longest,
            random(&mut seed),
        );
        let meta = meta(index);
        segment.append(&example, meta).unwrap();
        let tokens = example.input_ids.len() as u64;
        let labels = example.labels();
        let starts: Vec<u32> = cuts.next(tokens as u32).collect();
        let lost = starts
            .iter()
            .filter(|at| labels[**at as usize] >= 0)
            .count() as u64;
        let trained = u64::from(example.trained_tokens()) - lost;
        let documents = 1 + starts.len() as u32;
        ledger.rows_read(meta.place.source, 1).unwrap();
        let outcome = Outcome::Packed {
            tokens,
            trained,
            documents,
            cut: None,
        };
        let row = LedgerRow {
            place: meta.place,
            encoded: tokens,
            outcome,
            text: b"",
            text_bytes: 0,
        };
        ledger.append(&row).unwrap();
        examples.push(example);
    }
    let reject = Reject::new(Code::RowJson, "expected value at column 1").at_field("messages");
    let place = RowPlace {
        source: 0,
        line: 9999,
        offset: 7,
    };
    for outcome in [Outcome::Rejected(&reject), Outcome::Dropped(&reject)] {
        ledger.rows_read(0, 1).unwrap();
        ledger
            .append(&LedgerRow {
                place,
                encoded: 3,
                outcome,
                text: b"{]",
                text_bytes: 2,
            })
            .unwrap();
    }
    let segment = segment.finish().unwrap();
    let plan = pack::plan(segment.lengths(), spec.max_len, spec.strategy, spec.seed).unwrap();
    let shards = ShardPlan::new(&plan, spec.shard_bytes);
    let ledger = ledger.finish().unwrap();
    let mut files = ledger.files.to_vec();
    for index in (0..shards.shards()).rev() {
        let info =
            write_shard(&output.files(), &plan, &shards, &segment, index, &|| Ok(())).unwrap();
        files.extend([info.data, info.spans]);
    }
    files.extend(write_huggingface_files(&output.files(), &files).unwrap());
    let input = |name: &str| InputInfo {
        name: name.to_owned(),
        bytes: 1,
        blake3: String::new(),
    };
    let stats = plan.stats();
    let facts = RunFacts {
        config: serde_json::json!({"pack": {"max_len": spec.max_len}, "rate": 0.05}),
        inputs: vec![input("a"), input("b")],
        packing: PackingInfo {
            strategy: format!("{:?}", spec.strategy),
            max_len: u64::from(spec.max_len),
            rows: plan.rows() as u64,
            documents: stats.documents,
            pieces: stats.pieces,
            tokens: stats.tokens,
            ..PackingInfo::default()
        },
        ..RunFacts::default()
    };
    let manifest = Manifest::new(facts, &ledger.totals, files);
    output.commit(&manifest.to_bytes()).unwrap();
    examples
}
