//! Ids equal to those of `tokenizers`, spans that cover the text and decode to their tokens.

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

#[test]
fn hard_strings_equal_tokenizers() {
    for name in TOKENIZERS {
        let Some((ours, hf)) = support::both(name) else {
            return;
        };
        let added: Vec<String> = ours
            .added_tokens()
            .iter()
            .map(|t| t.content.clone())
            .take(40)
            .collect();
        let (mut encoder, mut e, mut rng) = (ours.encoder(), Encoding::default(), Rng::new(1));
        for i in 0..700 {
            let text = hard_string(&mut rng, if i % 3 == 0 { &added } else { &[] });
            encoder.encode(&text, &mut e).unwrap();
            let expected = hf.encode(text.as_str(), false).unwrap();
            assert_eq!(e.ids, expected.get_ids(), "{name}: {text:?}");
            assert_cover(&e, &text);
        }
    }
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
/// a sample; with `SFTPREP_REQUIRE_DATA` it is all of them.
#[test]
fn real_texts_equal_tokenizers() {
    let Some(folder) = support::data("sft") else {
        return;
    };
    let whole = std::env::var_os("SFTPREP_REQUIRE_DATA").is_some();
    let mut texts = Vec::new();
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|f| f.unwrap().path())
        .collect();
    files.sort();
    for file in files
        .iter()
        .filter(|f| f.extension().is_some_and(|e| e == "jsonl"))
    {
        for line in std::fs::read_to_string(file).unwrap().lines() {
            support::strings_of(&serde_json::from_str(line).unwrap(), &mut texts);
            texts.push(line.to_owned());
        }
    }
    if let Some(list) = support::data("hostile/naughty_strings/blns.json") {
        let json = std::fs::read_to_string(list).unwrap();
        support::strings_of(&serde_json::from_str(&json).unwrap(), &mut texts);
    }
    let (mut rng, mut e) = (Rng::new(3), Encoding::default());
    for name in TOKENIZERS {
        let Some((ours, hf)) = support::both(name) else {
            return;
        };
        let mut encoder = ours.encoder();
        let mut budget = if whole { usize::MAX } else { 60_000 };
        let mut at = 0;
        while at < texts.len() && budget > 0 {
            let text = if whole { &texts[at] } else { rng.pick(&texts) };
            at += 1;
            budget = budget.saturating_sub(text.len());
            encoder.encode(text, &mut e).unwrap();
            let expected = hf.encode_fast(text.as_str(), false).unwrap();
            assert_eq!(e.ids, expected.get_ids(), "{name}: {text:?}");
            assert_cover(&e, text);
        }
    }
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
