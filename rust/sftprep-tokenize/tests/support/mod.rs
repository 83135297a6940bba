//! What the tests share: where the data lies, and strings that are hard to tokenize.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)] // each test binary uses its part

use sftprep_tokenize::Tokenizer;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

/// Folders of `tokenizers/` in the shared data.
pub const TOKENIZERS: [&str; 7] = [
    "qwen3",
    "llama3_1",
    "gpt2",
    "deepseek_v3",
    "mistral_tekken",
    "gemma3",
    "mistral_v3_spm",
];

/// A path in the shared data, or `None` (said on standard error) where it is not there.
pub fn data(relative: &str) -> Option<PathBuf> {
    let root = std::env::var_os("SFTPREP_TEST_DATA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    );
    let path = root.join(relative);
    if path.exists() {
        return Some(path);
    }
    assert!(
        std::env::var_os("SFTPREP_REQUIRE_DATA").is_none(),
        "{} is required and not there",
        path.display()
    );
    #[allow(clippy::print_stderr)]
    {
        eprintln!("skipped: {} is not there", path.display());
    }
    None
}

/// The tokenizer file of a folder.
pub fn tokenizer(name: &str) -> Option<PathBuf> {
    data(&format!("tokenizers/{name}/tokenizer.json"))
}

/// A shared tokenizer by our engine (compiled anew: a kept plan could be of older code) and by the
/// `tokenizers` crate. Loaded once per test binary.
pub fn both(name: &str) -> Option<&'static (Tokenizer, tokenizers::Tokenizer)> {
    static LOADED: OnceLock<Mutex<BTreeMap<String, &'static (Tokenizer, tokenizers::Tokenizer)>>> =
        OnceLock::new();
    let mut loaded = LOADED.get_or_init(Mutex::default).lock().unwrap();
    if let Some(pair) = loaded.get(name) {
        return Some(pair);
    }
    let path = tokenizer(name)?;
    let ours = Tokenizer::load(name, std::fs::read(&path).unwrap(), None).unwrap();
    let pair = Box::leak(Box::new((
        ours,
        tokenizers::Tokenizer::from_file(&path).unwrap(),
    )));
    loaded.insert(name.to_owned(), pair);
    Some(pair)
}

/// Whether all of the data is to be run, not a sample.
pub fn whole() -> bool {
    std::env::var_os("SFTPREP_REQUIRE_DATA").is_some()
}

/// Runs a check with every tokenizer that is there, on all cores.
pub fn for_each_tokenizer(
    check: impl Fn(&str, &'static (Tokenizer, tokenizers::Tokenizer)) + Sync,
) {
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(name) = TOKENIZERS.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Some(pair) = both(name) {
                check(name, pair);
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
}

/// The distinct texts of the shared sets: of those that are not packed, or of all.
pub fn texts(all: bool) -> Vec<String> {
    let mut texts = BTreeSet::new();
    for folder in ["sft", "bench", "quality"] {
        let Some(folder) = data(folder) else { continue };
        for file in files(&folder) {
            let rows = folder.ends_with("sft");
            let packed = file.extension().is_some_and(|e| e == "gz");
            let lines = file
                .with_extension("")
                .extension()
                .is_some_and(|e| e == "jsonl");
            let text = if file.extension().is_some_and(|e| e == "jsonl") && (rows || all) {
                std::fs::read_to_string(&file).unwrap()
            } else if packed && lines && all {
                let mut text = String::new();
                let packed = std::fs::File::open(&file).unwrap();
                let read = flate2::read::GzDecoder::new(packed).read_to_string(&mut text);
                read.unwrap();
                text
            } else {
                continue;
            };
            for line in text.lines() {
                let mut strings = Vec::new();
                strings_of(&serde_json::from_str(line).unwrap(), &mut strings);
                texts.extend(strings);
                if rows {
                    texts.insert(line.to_owned());
                }
            }
        }
    }
    if let Some(list) = data("hostile/naughty_strings/blns.json") {
        let json = std::fs::read_to_string(list).unwrap();
        let mut strings = Vec::new();
        strings_of(&serde_json::from_str(&json).unwrap(), &mut strings);
        texts.extend(strings);
    }
    texts.into_iter().collect()
}

/// All files below a folder, in order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path());
    let mut found: Vec<PathBuf> = entries
        .flat_map(|path| {
            if path.is_dir() {
                files(&path)
            } else {
                vec![path]
            }
        })
        .collect();
    found.sort();
    found
}

/// A small fast generator of numbers (xorshift64*); the same seed gives the same strings.
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub fn below(&mut self, n: usize) -> usize {
        ((self.next() >> 33) as usize) % n
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

const WORDS: [&str; 66] = [
    "hello",
    "World",
    "don't",
    "I'LL",
    "we've",
    "'s",
    "'S",
    "'\u{17f}",
    "x'RE",
    "naïve",
    "straße",
    "ﬁne",
    "İstanbul",
    "ſ",
    "\u{212a}",
    "你好",
    "世界。",
    "東京",
    "한국어",
    "हिन्दी",
    "ไทยแลนด์",
    "עִבְרִית",
    "العربية",
    "ру́сский",
    "e\u{301}",
    "q\u{307}\u{323}",
    "\u{344}",
    "\u{2126}",
    "🚀",
    "👩\u{200d}👩\u{200d}👧",
    "🇫🇷",
    "\u{1FAE8}",
    "\u{31350}",
    "\u{200b}",
    "\u{a0}",
    "\u{3000}",
    "\u{2028}",
    "\u{feff}",
    "1234567",
    "٣٤٥",
    "½",
    "Ⅷ",
    "x=1;",
    "->",
    "/**/",
    "</div>",
    "====",
    "``",
    "foo_bar",
    "CamelCaseID",
    "SQLite3",
    "http://a.b/c?d=1",
    "\\n",
    "\u{1cfa}",
    "\u{897}",
    "\u{a7cb}",
    "\u{1DFFF}",
    "▁",
    "▁the",
    " the",
    "\u{1E9B}\u{323}",
    "각",
    "\u{1100}\u{1161}\u{11a8}",
    "internationalization",
    "これは日本語",
    "!\n\n",
];

const SPACES: [&str; 17] = [
    " ", " ", " ", "  ", "\n", "\r\n", "\n\n", "\t", " \n", "   \n  ", "\r", " \t ", "\u{b}",
    "\u{c}", "\u{85}", "\u{2009}", "        ",
];

const BLOCKS: [u32; 18] = [
    0x80, 0x300, 0x400, 0x590, 0x900, 0xE00, 0x1100, 0x1E00, 0x2000, 0x2100, 0x3040, 0x4E00,
    0xA640, 0xAC00, 0xFB00, 0x1D400, 0x1F300, 0x1F900,
];

/// A hard string: words and punctuation of many scripts, odd whitespace, runs, any code point,
/// and the added tokens given.
pub fn hard_string(rng: &mut Rng, added: &[String]) -> String {
    let mut out = String::new();
    for _ in 0..=rng.below(14) {
        match rng.below(100) {
            0..36 => out += *rng.pick(&WORDS),
            36..62 => out += *rng.pick(&SPACES),
            62..70 if !added.is_empty() => out += rng.pick(added).as_str(),
            62..74 => {
                (0..=rng.below(12)).for_each(|_| out.push((32 + rng.below(95) as u8) as char));
            }
            74..78 => {
                let c = *rng.pick(&[
                    'a', ' ', '\n', '=', '1', '中', 'é', '\u{301}', 'A', '-', '🚀',
                ]);
                (0..rng.below(60)).for_each(|_| out.push(c));
            }
            78..90 => {
                let base = *rng.pick(&BLOCKS);
                let n = rng.below(6);
                out.extend((0..=n).filter_map(|_| char::from_u32(base + rng.below(256) as u32)));
            }
            _ => out.extend(char::from_u32(rng.below(0x323AF) as u32)),
        }
    }
    out
}

/// The distinct runs of a JSON document's strings, for texts of real data.
pub fn strings_of(value: &serde_json::Value, out: &mut Vec<String>) {
    match value {
        serde_json::Value::String(s) => out.push(s.clone()),
        serde_json::Value::Array(a) => a.iter().for_each(|v| strings_of(v, out)),
        serde_json::Value::Object(o) => o.values().for_each(|v| strings_of(v, out)),
        _ => {}
    }
}

/// Checks that spans begin at 0, touch, and end at the text's length.
pub fn assert_cover(e: &sftprep_tokenize::Encoding, text: &str) {
    assert_eq!(e.ids.len(), e.offsets.len());
    let mut at = 0;
    for &[start, end] in &e.offsets {
        assert!(start == at && start <= end, "{:?} in {text:?}", e.offsets);
        at = end;
    }
    assert!(
        e.ids.is_empty() || at as usize == text.len(),
        "{:?} in {text:?}",
        e.offsets
    );
}
