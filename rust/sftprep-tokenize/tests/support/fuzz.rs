//! What the fuzz target asserts of any text, and its seeds are replayed with: the ids are those of
//! `tokenizers`, and the spans cover the text. The tokenizers are made here, so that no file is
//! needed: every family, with merges that leave words in several tokens.

use serde_json::{Value, json};
use sftprep_tokenize::{Encoding, Tokenizer};
use std::sync::OnceLock;

/// Words of which the vocabularies know the beginnings, the first half of them also the ends.
const WORDS: [&str; 24] = [
    " the",
    "tion",
    "'s",
    "return",
    "    ",
    "==",
    "的时候",
    "我们",
    "，我",
    "12",
    "ab",
    "aaaa",
    "function",
    "international",
    " self",
    "\n\n",
    "x =",
    "。\n",
    "中国人民",
    "ются",
    "é",
    "🚀",
    "한국",
    "//",
];

const CL100K: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

/// The character that byte-level vocabularies write for a byte.
fn letter(b: u8) -> char {
    let plain = |b: u8| matches!(b, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF);
    if plain(b) {
        return char::from(b);
    }
    let before = (0..b).filter(|b| !plain(*b)).count() as u32;
    char::from_u32(0x100 + before).unwrap_or_default()
}

/// Vocabulary and merges from an alphabet and words in its letters.
fn model(alphabet: Vec<String>, words: &[Vec<String>]) -> (Vec<String>, Vec<Value>) {
    let (mut tokens, mut merges) = (alphabet, Vec::new());
    let mut add = |a: String, b: String| {
        let joined = format!("{a}{b}");
        if !tokens.contains(&joined) {
            tokens.push(joined);
        }
        let merge = json!([a, b]);
        if !merges.contains(&merge) {
            merges.push(merge);
        }
    };
    for (i, word) in words.iter().enumerate() {
        for k in 1..word.len() {
            add(word[..k].concat(), word[k].clone());
        }
        for k in (1..word.len()).rev().filter(|_| i < WORDS.len() / 2) {
            add(word[k - 1].clone(), word[k..].concat());
        }
    }
    // Ends were added from the shortest on, so that every part is known before it is merged.
    merges.retain(|m| {
        let known = |v: &Value| v.as_str().is_some_and(|t| tokens.iter().any(|x| x == t));
        known(&m[0]) && known(&m[1])
    });
    (tokens, merges)
}

fn file(pattern: Option<&str>, ignore_merges: bool) -> Value {
    let (alphabet, words): (Vec<String>, Vec<Vec<String>>) = if pattern.is_some() {
        let word = |w: &&str| w.bytes().map(|b| letter(b).to_string()).collect();
        let alphabet = (0..=255).map(|b| letter(b).to_string()).collect();
        (alphabet, WORDS.iter().map(word).collect())
    } else {
        let word = |w: &&str| w.replace(' ', "▁").chars().map(String::from).collect();
        let words: Vec<Vec<String>> = WORDS.iter().map(word).collect();
        let mut alphabet: Vec<String> = (0..=255).map(|b| format!("<0x{b:02X}>")).collect();
        for c in words.iter().flatten() {
            if !alphabet.contains(c) {
                alphabet.push(c.clone());
            }
        }
        (alphabet, words)
    };
    let (tokens, merges) = model(alphabet, &words);
    let first = tokens.len();
    let vocab: serde_json::Map<String, Value> =
        tokens.into_iter().zip((0..).map(|i| json!(i))).collect();
    let added = json!({"id": first, "content": "<|end|>", "special": true, "lstrip": false,
        "rstrip": false, "single_word": false, "normalized": false});
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
        "use_regex": false});
    let split = pattern.map(|p| {
        json!({"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": p}, "behavior": "Isolated", "invert": false},
            byte_level]})
    });
    let replace = json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"});
    let nfc = json!({"type": "NFC"});
    json!({"version": "1.0", "added_tokens": [added],
        "normalizer": if pattern.is_none() { replace } else if ignore_merges { nfc } else { Value::Null },
        "pre_tokenizer": split, "decoder": if pattern.is_some() { byte_level } else { Value::Null },
        "model": {"type": "BPE", "vocab": vocab, "merges": merges, "ignore_merges": ignore_merges,
            "byte_fallback": pattern.is_none()}})
}

fn tokenizers() -> &'static [(Tokenizer, tokenizers::Tokenizer)] {
    static MADE: OnceLock<Vec<(Tokenizer, tokenizers::Tokenizer)>> = OnceLock::new();
    MADE.get_or_init(|| {
        let kinds = [
            (Some(CL100K), false),
            (Some(CL100K), true),
            (Some(GPT2), false),
            (None, false),
        ];
        let made = kinds.map(|(pattern, ignore)| {
            let json = serde_json::to_vec(&file(pattern, ignore)).unwrap();
            let ours = Tokenizer::load("made", json.clone(), None).unwrap();
            let fast = matches!(ours.engine(), sftprep_tokenize::EngineReport::Fast { .. });
            assert!(fast, "{}", ours.engine());
            (ours, tokenizers::Tokenizer::from_bytes(&json).unwrap())
        });
        made.into_iter().collect()
    })
}

/// Encodes a text with every tokenizer both ways.
pub fn check(text: &str) {
    let mut e = Encoding::default();
    for (i, (ours, hf)) in tokenizers().iter().enumerate() {
        ours.encoder().encode(text, &mut e).unwrap();
        let expected = hf.encode_fast(text, false).unwrap();
        assert_eq!(e.ids, expected.get_ids(), "tokenizer {i}: {text:?}");
        let mut at = 0;
        for &[start, end] in &e.offsets {
            assert!(
                start == at && end >= start,
                "tokenizer {i}: {text:?} {:?}",
                e.offsets
            );
            at = end;
        }
        assert!(
            e.ids.is_empty() || at as usize == text.len(),
            "tokenizer {i}: {text:?}"
        );
    }
}
