//! The self-check: a new plan encodes some thousand strings, and `tokenizers` the same. Any
//! difference, and the plan is not used.

use crate::encoder::Encoding;
use crate::error::TokenizerError;
use crate::hf::Hf;

/// Strings that the check makes.
const STRINGS: usize = 2500;

/// Things that split patterns, normalizers and vocabularies treat in their own ways.
const PARTS: [&str; 74] = [
    " ",
    " ",
    " ",
    " ",
    "  ",
    "   ",
    "\n",
    "\n\n",
    "\r\n",
    "\t",
    "\t\t",
    " \n",
    "\n  ",
    "\r",
    "\u{b}",
    "\u{85}",
    "\u{a0}",
    "\u{2009}",
    "\u{3000}",
    "'s",
    "'S",
    "'\u{17f}",
    "'t",
    "'LL",
    "'re",
    "'",
    "\"",
    "1",
    "12",
    "345",
    "6789012",
    "\u{663}",
    "½",
    "Ⅷ",
    "²",
    ".",
    ",",
    "...",
    "!\n",
    "/",
    "//",
    "/\n/",
    "(",
    "=",
    "->",
    "::",
    "_",
    "—",
    "。",
    "，",
    "・",
    "ー",
    "\u{200b}",
    "\u{200d}",
    "\u{feff}",
    "\u{0}",
    "\u{378}",
    "🚀",
    "👩\u{200d}👧",
    "e\u{301}",
    "\u{301}",
    "\u{345}",
    "\u{fb01}",
    "\u{2126}",
    "각",
    "\u{1100}\u{1161}",
    "क्षि",
    "ก็",
    "▁",
    "▁▁",
    "<0x0A>",
    "ǅ",
    "ʰ",
    "ß",
];

const WORDS: [&str; 30] = [
    "the",
    "The",
    "THE",
    "quick",
    "internationalization",
    "don",
    "CamelCase",
    "HTMLParser",
    "aB",
    "x",
    "naïve",
    "straße",
    "İstanbul",
    "слово",
    "Привет",
    "λόγος",
    "שלום",
    "العربية",
    "हिन्दी",
    "ไทย",
    "한국어",
    "日本語",
    "中文",
    "你好世界",
    "龥龦",
    "カタカナ",
    "㐀",
    "𠀀",
    "self",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
];

/// Makes strings, compares, and tells the first difference.
pub(crate) fn differs(
    hf: &Hf,
    encode: &mut dyn FnMut(&str, &mut Encoding) -> Result<(), TokenizerError>,
) -> Option<String> {
    let mut seed = 0x2545_F491_4F6C_DD1Du64;
    let mut below = move |n: usize| {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % n
    };
    let size = hf.vocab_size() as usize;
    let (mut a, mut b) = (Encoding::default(), Encoding::default());
    for i in 0..STRINGS {
        let mut text = String::new();
        for _ in 0..=below(12) {
            match below(16) {
                0..6 => text += PARTS[below(PARTS.len())],
                6..10 => text += WORDS[below(WORDS.len())],
                10..13 => {
                    let token = hf.token_bytes(below(size) as u32).unwrap_or_default();
                    text += &String::from_utf8_lossy(&token);
                }
                13 => text.extend(char::from_u32(below(0x3_2000) as u32)),
                14 => {
                    let part = PARTS[below(PARTS.len())];
                    (0..below(40)).for_each(|_| text += part);
                }
                _ if i % 2 == 0 && !hf.added.is_empty() => {
                    text += &hf.added[below(hf.added.len())].content;
                }
                _ => text.push(' '),
            }
        }
        a.clear();
        if hf.encode(&text, &mut |_| true, &mut a).is_err() {
            return Some(format!("tokenizers cannot encode {text:?}"));
        }
        if encode(&text, &mut b).is_err() || a.ids != b.ids || a.offsets != b.offsets {
            return Some(format!("the self-check found {text:?} encoded otherwise"));
        }
    }
    None
}
