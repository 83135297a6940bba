//! Tokenizers that we do not have, made by editing those that we have: the result is equal to that
//! of `tokenizers`, fast where the parts are known and by `tokenizers` itself where not.

#![allow(clippy::unwrap_used)] // a test

mod support;

use serde_json::{Value, json};
use sftprep_tokenize::{Encoding, EngineReport, Tokenizer};
use support::{Rng, assert_cover, hard_string};

const CL100K: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const CL100K_POSSESSIVE: &str = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+";
const MARKS: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const O200K: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

fn read(name: &str) -> Option<Value> {
    let path = support::tokenizer(name)?;
    Some(serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
}

fn byte_level(pattern: &str) -> Value {
    json!({"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false},
        {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}]})
}

fn added(id: u32, content: &str, flags: &str) -> Value {
    let has = |f: &str| flags.contains(f);
    json!({"id": id, "content": content, "special": has("special"), "lstrip": has("lstrip"),
        "rstrip": has("rstrip"), "single_word": has("single"), "normalized": has("normalized")})
}

/// Encodes hard strings both ways; returns whether our engine ran.
fn compare(what: &str, file: &Value, strings: usize) -> bool {
    let bytes = serde_json::to_vec(file).unwrap();
    let ours = Tokenizer::load(what, bytes.clone(), None).unwrap();
    let hf = tokenizers::Tokenizer::from_bytes(&bytes).unwrap();
    let words: Vec<String> = ours
        .added_tokens()
        .iter()
        .map(|t| t.content.clone())
        .collect();
    let (mut encoder, mut e, mut rng) = (ours.encoder(), Encoding::default(), Rng::new(7));
    for i in 0..strings {
        let text = hard_string(&mut rng, if i % 2 == 0 { &words } else { &[] });
        encoder.encode(&text, &mut e).unwrap();
        let expected = hf.encode_fast(text.as_str(), false).unwrap();
        assert_eq!(e.ids, expected.get_ids(), "{what}: {text:?}");
        assert_cover(&e, &text);
        let skip = i % 3 == 0;
        assert_eq!(
            ours.decode(&e.ids, skip).unwrap(),
            hf.decode(&e.ids, skip).unwrap(),
            "{what}"
        );
    }
    matches!(ours.engine(), EngineReport::Fast { .. })
}

#[test]
fn split_patterns() {
    let Some(mut file) = read("gpt2") else { return };
    let cases = [
        ("cl100k", CL100K.to_owned(), true),
        ("cl100k, possessive", CL100K_POSSESSIVE.to_owned(), true),
        ("letters with marks", MARKS.to_owned(), true),
        ("o200k", O200K.to_owned(), true),
        ("two digits", CL100K.replace("{1,3}", "{1,2}"), true),
        (
            "no contractions",
            CL100K[CL100K.find(")|").unwrap() + 2..].to_owned(),
            true,
        ),
        (
            "unknown word",
            CL100K.replace(r"\p{L}+|", r"\p{L}{1,9}|"),
            false,
        ),
        ("unknown order", format!(r"\s|{CL100K}"), false),
    ];
    for (what, pattern, fast) in cases {
        file["pre_tokenizer"] = byte_level(&pattern);
        assert_eq!(compare(what, &file, 500), fast, "{what}");
    }
}

#[test]
fn normalizers_of_byte_level_models() {
    let Some(mut file) = read("gpt2") else { return };
    for (kind, fast) in [
        ("NFC", true),
        ("NFKC", false),
        ("NFD", false),
        ("Lowercase", false),
    ] {
        file["normalizer"] = json!({"type": kind});
        file["added_tokens"] = json!([
            added(50256, "<|endoftext|>", "special"),
            added(50257, "Å<é>", "normalized"),
            added(50258, "e\u{301}x", "normalized")
        ]);
        assert_eq!(compare(kind, &file, 500), fast, "{kind}");
    }
}

#[test]
fn flags_of_added_tokens() {
    for name in ["gpt2", "mistral_v3_spm"] {
        let Some(mut file) = read(name) else { return };
        let first = file["model"]["vocab"].as_object().unwrap().len() as u32;
        let list = file["added_tokens"].as_array_mut().unwrap();
        list.truncate(3);
        let flags = [
            "lstrip",
            "rstrip",
            "lstrip rstrip",
            "single",
            "single lstrip",
            "special rstrip",
        ];
        for (i, flags) in flags.iter().enumerate() {
            let content = ["<l>", "<r>", "<b>", "word", "wo", "<l><r>"][i];
            list.push(added(first + i as u32, content, flags));
        }
        assert!(compare(name, &file, 900), "{name} with flags");
        // A wrong id in the file: `tokenizers` gives its own.
        let list = file["added_tokens"].as_array_mut().unwrap();
        list.push(added(first + 100, "<far>", ""));
        list.push(added(first + 101, "Aa normalized", "normalized lstrip"));
        compare(name, &file, 300);
    }
}

#[test]
fn kinds_of_sentencepiece_models() {
    let Some(mut file) = read("mistral_v3_spm") else {
        return;
    };
    let replace = json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"});
    let metaspace = |scheme: &str, split: bool| json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": split});
    let cases = [
        ("replace", replace.clone(), Value::Null, true),
        (
            "metaspace always",
            Value::Null,
            metaspace("always", false),
            true,
        ),
        (
            "metaspace first",
            Value::Null,
            metaspace("first", false),
            true,
        ),
        (
            "metaspace never",
            Value::Null,
            metaspace("never", false),
            true,
        ),
        (
            "metaspace split",
            Value::Null,
            metaspace("always", true),
            false,
        ),
        ("nothing", Value::Null, Value::Null, false),
    ];
    for (what, normalizer, pre_tokenizer, fast) in cases {
        file["normalizer"] = normalizer;
        file["pre_tokenizer"] = pre_tokenizer;
        assert_eq!(compare(what, &file, 400), fast, "{what}");
    }
    file["normalizer"] = replace;
    file["model"]["vocab"]
        .as_object_mut()
        .unwrap()
        .remove("<0x41>");
    assert!(!compare("a byte is missing", &file, 100));
}

#[test]
fn kept_plans_are_used_and_doubtful_ones_are_not() {
    let Some(path) = support::tokenizer("gpt2") else {
        return;
    };
    let dir = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("plans-{}", std::process::id()));
    let json = std::fs::read(path).unwrap();
    let open = || Tokenizer::load("gpt2", json.clone(), Some(&dir)).unwrap();
    let text = "Some text, don't you see?\n\n  naïve 中文🚀 1234<|endoftext|> e\u{301}";
    let encode = |t: &Tokenizer| {
        let mut e = Encoding::default();
        t.encoder().encode(text, &mut e).unwrap();
        (
            e,
            t.engine().clone(),
            t.vocab_size(),
            t.added_tokens().to_vec(),
            t.token_to_id("Ġthe"),
        )
    };
    let first = encode(&open());
    let plan = std::fs::read_dir(&dir)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let whole = std::fs::read(&plan).unwrap();
    let kept = std::fs::metadata(&plan).unwrap().modified().unwrap();
    assert_eq!(encode(&open()), first);
    assert_eq!(
        std::fs::metadata(&plan).unwrap().modified().unwrap(),
        kept,
        "written again"
    );
    let mut wrong = whole.clone();
    wrong[whole.len() / 2] ^= 1;
    for bad in [&whole[..whole.len() - 1], &whole[..20], &[], &wrong] {
        std::fs::write(&plan, bad).unwrap();
        assert_eq!(encode(&open()), first);
        assert_eq!(std::fs::read(&plan).unwrap(), whole, "not made anew");
    }
    std::fs::remove_dir_all(&dir).unwrap();
}

/// A small byte-level tokenizer of random merges in a random order: rules may come before those
/// that make their parts, make a token in several ways, and stand twice.
fn random_tokenizer(rng: &mut Rng, ignore_merges: bool) -> Value {
    let mut alphabet: Vec<char> = (33..=126u8).map(char::from).collect();
    alphabet.extend((0xA1..=0xAC).chain(0xAE..=0xFF).filter_map(char::from_u32));
    alphabet.extend((0x100..0x100 + 68).filter_map(char::from_u32));
    let mut tokens: Vec<String> = alphabet.iter().map(ToString::to_string).collect();
    let few = ["a", "b", "c", "Ġ", "ä", "¸", "Ń", "1"];
    let mut pool: Vec<String> = few.iter().map(ToString::to_string).collect();
    let mut merges = Vec::new();
    for _ in 0..3 + rng.below(60) {
        let (a, b) = (rng.pick(&pool).clone(), rng.pick(&pool).clone());
        let joined = format!("{a}{b}");
        if joined.chars().count() > 24 {
            continue;
        }
        if !tokens.contains(&joined) {
            tokens.push(joined.clone());
            pool.push(joined);
        }
        let at = if rng.below(3) == 0 {
            rng.below(merges.len() + 1)
        } else {
            merges.len()
        };
        merges.insert(at, json!([a, b]));
    }
    let vocab: serde_json::Map<String, Value> = tokens
        .iter()
        .enumerate()
        .map(|(i, t)| (t.clone(), json!(i)))
        .collect();
    json!({"version": "1.0", "added_tokens": [], "normalizer": null,
        "pre_tokenizer": byte_level(CL100K),
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "vocab": vocab, "merges": merges, "ignore_merges": ignore_merges}})
}

/// Cuts, caches and every way of merging, on vocabularies of no order at all.
#[test]
fn random_vocabularies() {
    let mut rng = Rng::new(11);
    let mut fast = 0;
    for round in 0..if support::whole() { 2000 } else { 60 } {
        let file = serde_json::to_vec(&random_tokenizer(&mut rng, round % 4 == 0)).unwrap();
        let ours = Tokenizer::load("random", file.clone(), None).unwrap();
        let hf = tokenizers::Tokenizer::from_bytes(&file).unwrap();
        fast += usize::from(matches!(ours.engine(), EngineReport::Fast { .. }));
        let (mut encoder, mut e) = (ours.encoder(), Encoding::default());
        for _ in 0..60 {
            let mut text = String::new();
            for _ in 0..=rng.below(6) {
                let part = *rng.pick(&["a", "b", "c", "ab", " ", "1", "中", "丏", "ca", "bc a"]);
                let n = *rng.pick(&[1, 1, 2, 3, 7, 40, 300]);
                text += &part.repeat(n);
            }
            encoder.encode(&text, &mut e).unwrap();
            let expected = hf.encode_fast(text.as_str(), false).unwrap();
            assert_eq!(
                e.ids,
                expected.get_ids(),
                "{text:?} {}",
                String::from_utf8_lossy(&file)
            );
            assert_cover(&e, &text);
        }
    }
    assert!(fast > 0);
}

/// A sentencepiece vocabulary of no order; runs of spaces merge before all else, after it, or at
/// random.
fn random_sentencepiece(rng: &mut Rng, round: usize) -> Value {
    let mut tokens: Vec<String> = (0..=255u8).map(|b| format!("<0x{b:02X}>")).collect();
    let mut pool: Vec<String> = ["a", "b", "<", "▁", "中"].map(str::to_owned).to_vec();
    tokens.extend(pool.iter().cloned());
    let mut merges = Vec::new();
    let merge = |a: &str, b: &str, tokens: &mut Vec<String>, merges: &mut Vec<Value>| {
        let joined = format!("{a}{b}");
        if joined.chars().count() > 24 || merges.contains(&json!([a, b])) {
            return None;
        }
        merges.push(json!([a, b]));
        let new = !tokens.contains(&joined);
        tokens.extend(new.then(|| joined.clone()));
        new.then_some(joined)
    };
    let longest = [20, 20, 20, 0][round % 4].min(2 + rng.below(20));
    for n in 2..=longest {
        for left in (1..n).rev() {
            merge(
                &"▁".repeat(left),
                &"▁".repeat(n - left),
                &mut tokens,
                &mut merges,
            );
        }
    }
    if round.is_multiple_of(4) {
        merges.reverse(); // real files begin with the longest
    }
    let runs = merges.len();
    for _ in 0..3 + rng.below(60) {
        let (a, b) = (rng.pick(&pool).clone(), rng.pick(&pool).clone());
        if longest == 0 || rng.below(20) == 0 || !format!("{a}{b}").contains("▁▁") {
            pool.extend(merge(&a, &b, &mut tokens, &mut merges));
        }
    }
    if round % 4 == 1 {
        merges.rotate_left(runs);
    }
    let vocab: serde_json::Map<String, Value> = tokens
        .iter()
        .enumerate()
        .map(|(i, t)| (t.clone(), json!(i)))
        .collect();
    let mut normalizers = Vec::new();
    if round.is_multiple_of(3) {
        normalizers.push(json!({"type": "Prepend", "prepend": "▁"}));
    }
    normalizers.push(json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"}));
    let n = tokens.len() as u32;
    json!({"version": "1.0",
        "added_tokens": [added(n, "\n", ""), added(n + 1, "b ", ""), added(n + 2, "<x>", "special")],
        "normalizer": {"type": "Sequence", "normalizers": normalizers},
        "pre_tokenizer": null, "decoder": null,
        "model": {"type": "BPE", "vocab": vocab, "merges": merges, "byte_fallback": true}})
}

/// Cuts at the ends of runs of spaces, whatever stands around them.
#[test]
fn random_sentencepiece_vocabularies() {
    let mut rng = Rng::new(12);
    for round in 0..if support::whole() { 2000 } else { 80 } {
        let file = serde_json::to_vec(&random_sentencepiece(&mut rng, round)).unwrap();
        let ours = Tokenizer::load("random", file.clone(), None).unwrap();
        let hf = tokenizers::Tokenizer::from_bytes(&file).unwrap();
        let fast = matches!(ours.engine(), EngineReport::Fast { .. });
        assert!(
            fast,
            "{:?} {}",
            ours.engine(),
            String::from_utf8_lossy(&file)
        );
        let (mut encoder, mut e) = (ours.encoder(), Encoding::default());
        for i in 0..60 {
            let all = ["a", "b", "<", " ", "  ", "\n", "b ", "<x>", "é", "▁", "中"];
            let parts = &all[..if i % 2 == 0 { 8 } else { 11 }];
            let mut text = String::new();
            for _ in 0..=rng.below(12) {
                let n = *rng.pick(&[1, 1, 1, 2, 3, 7, 30, 70]);
                text += &rng.pick(parts).repeat(n);
            }
            encoder.encode(&text, &mut e).unwrap();
            let expected = hf.encode_fast(text.as_str(), false).unwrap();
            assert_eq!(
                e.ids,
                expected.get_ids(),
                "{text:?} {}",
                String::from_utf8_lossy(&file)
            );
            assert_cover(&e, &text);
        }
    }
}
