//! Blocks against the plain scanner, the plain scanner against Oniguruma.

use super::*;
use crate::classes::classes;
use proptest::prelude::*;

const PATTERNS: [&str; 5] = [
    Split::GPT2,
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
];

fn splits() -> Vec<Split> {
    let mut all: Vec<Split> = PATTERNS.iter().map(|p| Split::parse(p).unwrap()).collect();
    let third = Split::DEEPSEEK;
    let json = serde_json::json!({"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": r"\p{N}{1,3}"}, "behavior": "Isolated", "invert": false},
        {"type": "Split", "pattern": {"Regex": "[一-龥\u{3040}-ゟ゠-ヿ]+"}, "behavior": "Isolated", "invert": false},
        {"type": "Split", "pattern": {"Regex": third}, "behavior": "Isolated", "invert": false},
        {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}]});
    all.push(Split::from_pre_tokenizer(&json).unwrap());
    // Combinations that no known file has, and that are accepted.
    let each = all.clone();
    all.extend(each.iter().flat_map(|s| {
        [
            Split {
                lead: Contraction::Exact,
                ..*s
            },
            Split {
                lead: Contraction::Fold,
                digits: 2,
                spaced_digits: false,
                ..*s
            },
            Split {
                newline_tail: !s.newline_tail,
                slash_tail: false,
                ..*s
            },
            Split {
                newlines: !s.newlines,
                ..*s
            },
        ]
        .into_iter()
        .filter(|s| s.word != Word::DeepSeek || s.lead == Contraction::None && s.newlines)
    }));
    all
}

/// All of a text by blocks, and by the plain scanner where they do not tell.
fn split(s: &Split, t: &[u8]) -> Result<(Vec<usize>, usize), String> {
    let (rules, mut p, mut out, mut told) = (Rules::new(s), 0, Vec::new(), 0);
    while p < t.len() {
        let mut tail = [0; BLOCK + 16];
        let bytes = load(t, p, &mut tail);
        let mut ends = starts(&Plain::kinds(bytes), bytes, t.len() - p, &rules) & !1;
        let from = p;
        while ends != 0 {
            let end = from + ends.trailing_zeros() as usize;
            let expected = s.next(classes(), t, p);
            if end != expected {
                return Err(format!("{p}..{end}, not {expected}, {s:?}"));
            }
            out.push(end);
            (p, told) = (end, told + 1);
            ends &= ends - 1;
        }
        if p == from {
            p = s.next(classes(), t, p);
            out.push(p);
        }
    }
    Ok((out, told))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6000))]

    #[test]
    fn blocks_agree_with_the_scanner(
        text in r"([ -~\n\r\t \x00-\x20'aAzZ09/éſ中\u{301}\u{a0}]|[a-z]{1,9} |'[a-zA-Z]{2}|[ \n]{1,4}|[(/']|[0-9]{1,7}){1,60}"
    ) {
        for s in splits() {
            let done = split(&s, text.as_bytes());
            prop_assert!(done.is_ok(), "{text:?} {}", done.unwrap_err());
        }
    }

    #[test]
    fn vector_masks_equal_plain_ones(bytes in any::<[u8; 64]>(), ascii in any::<bool>()) {
        let mut padded = [FILL; BLOCK + 16];
        padded[..64].copy_from_slice(&bytes.map(|b| if ascii { b & 0x7F } else { b }));
        let expected = Plain::kinds(&padded);
        let by_byte = |flag: u8| (0..64).map(|i| u64::from(flags(padded[i]) & flag != 0) << i).sum();
        prop_assert_eq!(expected, Kinds { upper: by_byte(1), lower: by_byte(2), digit: by_byte(4),
            white: by_byte(8), newline: by_byte(16), space: by_byte(32), quote: by_byte(64),
            stop: by_byte(128) });
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") {
                prop_assert_eq!(Avx2::kinds(&padded), expected);
            }
        }
    }
}

#[test]
fn blocks_tell_nearly_all_of_plain_text() {
    let text = "The quick (brown) fox's \"tail\":\n\n    x = [1, 23];\t// it's 4567\n".repeat(40);
    for s in splits() {
        let (all, told) = split(&s, text.as_bytes()).unwrap();
        assert_eq!(all.len(), told, "{s:?}");
    }
}

#[test]
fn the_scanner_splits_as_oniguruma_does() {
    use tokenizers::utils::SysRegex;
    let words = [
        "a", "B", "ab", "AB", "Ab", "é", "É", "ǅ", "ʰ", "中", "\u{301}", "'", "'s", "'S",
        "'\u{17f}", "'LL", "'rE", "'x", " ", "  ", "\n", "\r", "\t", "\u{a0}", "\u{2028}", "1",
        "٣", "Ⅷ", "12", "!", "//", "/", "-", "\u{0}", "\u{378}", "🚀", "\u{200d}", "ー", "゛",
        "・", "\u{7f}", "$",
    ];
    let mut seed = 1u64;
    let mut pick = |n: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) as usize % n
    };
    for pattern in PATTERNS {
        let (split, regex) = (
            Split::parse(pattern).unwrap(),
            SysRegex::new(pattern).unwrap(),
        );
        for _ in 0..6000 {
            let text: String = (0..=pick(9)).map(|_| words[pick(words.len())]).collect();
            let expected: Vec<usize> = regex.find_iter(&text).map(|m| m.1).collect();
            let (mut got, mut p) = (Vec::new(), 0);
            while p < text.len() {
                p = split.next(classes(), text.as_bytes(), p);
                got.push(p);
            }
            assert_eq!(got, expected, "{text:?} {pattern}");
        }
        // Which character after an apostrophe makes a contraction, of all there are.
        for c in '\0'..=char::MAX {
            let text = format!("'{c}e");
            let expected = regex.find_iter(&text).next().unwrap().1;
            assert_eq!(
                split.next(classes(), text.as_bytes(), 0),
                expected,
                "{text:?} {pattern}"
            );
        }
    }
}
