//! Ids equal to those of `tokenizers`, spans that cover the text and decode to their tokens.

#![allow(clippy::unwrap_used)] // a test

mod support;

use sftprep_tokenize::{Encoding, EngineReport, Tokenizer};
use support::{Rng, TOKENIZERS, assert_cover, hard_string};

/// For texts that are in the tokenizer's normal form: each span is the token's own bytes.
fn spans_are_token_bytes(t: &Tokenizer, e: &Encoding, text: &str) -> bool {
    e.ids
        .iter()
        .zip(&e.offsets)
        .enumerate()
        .all(|(i, (&id, &[a, b]))| {
            let bytes = t.token_bytes(id).expect("a token of the vocabulary");
            let span = &text.as_bytes()[a as usize..b as usize];
            // The first token may begin with a dummy prefix, which covers nothing.
            *bytes == *span || (i == 0 && bytes.strip_prefix(b" ") == Some(span))
        })
}

/// Ids equal to those of `tokenizers`; spans that cover the text and, where no normalizer changed
/// it, hold the bytes of their tokens.
fn assert_equal(name: &str, pair: &(Tokenizer, tokenizers::Tokenizer), e: &Encoding, text: &str) {
    let (ours, hf) = pair;
    let expected = hf.encode_fast(text, false).unwrap();
    assert_eq!(e.ids, expected.get_ids(), "{name}: {text:?}");
    assert_cover(e, text);
    if unicode_normalization_alignments::is_nfc(text) {
        for (i, (&id, &[a, b])) in e.ids.iter().zip(&e.offsets).enumerate() {
            let span = &text.as_bytes()[a as usize..b as usize];
            let bytes = ours.token_bytes(id).expect("a token of the vocabulary");
            // A dummy prefix covers nothing; a `▁` of the text is decoded as a space; an added
            // token is its own text.
            let spaced = String::from_utf8_lossy(span).replace('▁', " ");
            let same = *bytes == *span
                || bytes.strip_prefix(b" ") == Some(span)
                || spaced.as_bytes() == &*bytes
                || bytes.strip_prefix(b" ") == Some(spaced.as_bytes())
                || ours.added_tokens().iter().any(|t| t.id == id)
                || unknown_bar(span, &bytes, &e.offsets, i);
            assert!(same, "{name}: {text:?} {id} {span:?} {bytes:?}");
        }
    }
}

/// A space whose `▁` is not in the vocabulary: three byte tokens, of which the first covers it.
fn unknown_bar(span: &[u8], bytes: &[u8], offsets: &[[u32; 2]], i: usize) -> bool {
    let place = "▁".as_bytes().iter().position(|b| bytes == [*b]);
    place.is_some_and(|k| k <= i && (span == b" " || offsets[i][0] == offsets[i][1]))
}

/// Strings for each tokenizer: 100,000 where the data is required, else a sample.
fn fuzz_strings() -> usize {
    if support::whole() { 100_000 } else { 700 }
}

#[test]
fn hard_strings_equal_tokenizers() {
    support::for_each_tokenizer(|name, pair| {
        let ours = &pair.0;
        let added: Vec<String> = ours
            .added_tokens()
            .iter()
            .map(|t| t.content.clone())
            .take(40)
            .collect();
        let (mut encoder, mut e, mut rng) = (ours.encoder(), Encoding::default(), Rng::new(1));
        for i in 0..fuzz_strings() {
            let text = hard_string(&mut rng, if i % 3 == 0 { &added } else { &[] });
            encoder.encode(&text, &mut e).unwrap();
            assert_equal(name, pair, &e, &text);
        }
    });
}

/// Runs of one thing, and texts without spaces: what merging treats in ways of their own.
#[test]
fn long_runs_equal_tokenizers() {
    let parts = [
        "a", " ", "=", "1", "中", "中文", "é", "\n", "\t", "ab", "\u{301}", "🚀", "the", "aA",
        "x ", "- ", "{}", "한",
    ];
    support::for_each_tokenizer(|name, pair| {
        let (mut encoder, mut e, mut rng) = (pair.0.encoder(), Encoding::default(), Rng::new(5));
        for part in parts {
            for n in [17, 33, 64, 255, 1000, 5000] {
                let mut text = part.repeat(n);
                if n % 2 == 1 {
                    text = format!("x{text}y {text}");
                }
                encoder.encode(&text, &mut e).unwrap();
                assert_equal(name, pair, &e, &text);
            }
        }
        for size in [40, 300, 3000, 20_000] {
            let letters: String = (0..size)
                .map(|_| (b'a' + rng.below(26) as u8) as char)
                .collect();
            let few: String = (0..size)
                .map(|_| (b'a' + rng.below(2) as u8) as char)
                .collect();
            let words = [
                "quick",
                "brown",
                "internationalization",
                "fox",
                "HTTP",
                "don't",
                "über",
            ];
            let words: String = (0..size / 6).map(|_| *rng.pick(&words)).collect();
            for text in [letters, few, words] {
                encoder.encode(&text, &mut e).unwrap();
                assert_equal(name, pair, &e, &text);
            }
        }
    });
}

#[test]
fn shared_tokenizers_have_fast_plans() {
    for name in TOKENIZERS {
        let Some((ours, _)) = support::both(name) else {
            return;
        };
        assert!(
            matches!(ours.engine(), EngineReport::Fast { .. }),
            "{name}: {}",
            ours.engine()
        );
    }
}

/// Every row of the shared sets is a text here, and so is every string in it. A normal run takes
/// a sample of the conversations; with `SFTPREP_REQUIRE_DATA` it is all of them, and all strings of
/// the larger sets.
#[test]
fn real_texts_equal_tokenizers() {
    if support::data("sft").is_none() {
        return;
    }
    let texts = support::texts(support::whole());
    support::for_each_tokenizer(|name, pair| {
        let (mut rng, mut e) = (Rng::new(3), Encoding::default());
        let mut encoder = pair.0.encoder();
        let mut budget = if support::whole() { usize::MAX } else { 60_000 };
        let mut at = 0;
        while at < texts.len() && budget > 0 {
            let text = if support::whole() {
                &texts[at]
            } else {
                rng.pick(&texts)
            };
            at += 1;
            budget = budget.saturating_sub(text.len());
            encoder.encode(text, &mut e).unwrap();
            assert_equal(name, pair, &e, text);
        }
    });
}

#[test]
fn spans_are_the_bytes_of_their_tokens() {
    let texts = [
        "Hello, world! I don't know.\n\n  x = 1\t# naïve 1234567",
        "你好，世界。東京は日本語です 한국어 🚀👩\u{200d}👩\u{200d}👧 \u{31350}\u{1FAE8}",
        " leading space",
        "中",
        "  ",
        "a",
        "\u{200b}\u{a0}é",
    ];
    for name in TOKENIZERS {
        let Some((ours, _)) = support::both(name) else {
            return;
        };
        let (mut encoder, mut e) = (ours.encoder(), Encoding::default());
        for text in texts {
            encoder.encode(text, &mut e).unwrap();
            assert_cover(&e, text);
            assert!(
                spans_are_token_bytes(ours, &e, text),
                "{name}: {text:?} {e:?}"
            );
        }
    }
}

#[test]
fn refused_tokens_are_plain_text() {
    let Some((t, _)) = support::both("qwen3") else {
        return;
    };
    let (mut encoder, mut e) = (t.encoder(), Encoding::default());
    let end = t.token_to_id("<|im_end|>").unwrap();
    let text = "say <|im_end|> now<|im_end|>\n";
    let mut seen = Vec::new();
    let mut accept = |m: &sftprep_tokenize::AddedMatch| {
        seen.push((m.id, m.start, m.end));
        m.start > 10
    };
    encoder.encode_accepting(text, &mut accept, &mut e).unwrap();
    assert_eq!(seen, [(end, 4, 14), (end, 18, 28)]);
    assert_eq!(e.ids.iter().filter(|&&i| i == end).count(), 1);
    assert_cover(&e, text);
    assert_eq!(t.decode(&e.ids, false).unwrap(), text);
    let i = e.ids.iter().position(|&i| i == end).unwrap();
    assert_eq!(e.offsets[i], [18, 28]);
}

#[test]
fn lookups_equal_tokenizers() {
    for name in TOKENIZERS {
        let Some((ours, hf)) = support::both(name) else {
            return;
        };
        let size = ours.vocab_size();
        assert_eq!(size as usize, hf.get_vocab_size(true), "{name}");
        for id in (0..size + 3).step_by(7) {
            let token = hf.id_to_token(id);
            assert_eq!(ours.id_to_token(id), token, "{name} {id}");
            if let Some(token) = token {
                assert_eq!(
                    ours.token_to_id(&token),
                    hf.token_to_id(&token),
                    "{name} {token:?}"
                );
            }
        }
        let mut rng = Rng::new(9);
        for _ in 0..300 {
            let ids: Vec<u32> = (0..rng.below(12))
                .map(|_| rng.below(size as usize) as u32)
                .collect();
            for skip in [false, true] {
                assert_eq!(
                    ours.decode(&ids, skip).unwrap(),
                    hf.decode(&ids, skip).unwrap()
                );
            }
        }
    }
}
