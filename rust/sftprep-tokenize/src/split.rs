//! Split patterns that are recognised.
//!
//! A pattern is taken apart at its top-level `|` and each alternative looked up; so what is known
//! is a family of patterns (GPT-2, cl100k, Llama-3, Qwen, o200k, Tekken and mixtures of their
//! parts), not a list of models. The plain reading of the alternatives is in `scanner.rs`, the fast
//! path for ASCII in `scan.rs`.

use crate::classes::{SET_ALL, SET_L, SET_M, SET_N, SET_PS, SET_WS, Set};
use serde_json::Value;

/// `'s`, `'t`, `'re`, `'ve`, `'m`, `'ll`, `'d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contraction {
    None,
    /// Lower case only.
    Exact,
    /// `(?i: )`: also capitals, and U+017F for s.
    Fold,
}

/// How words are matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    /// ` ?\p{L}+`
    Spaced,
    /// `[^\r\n\p{L}\p{N}]?\p{L}+`
    Prefixed,
    /// `[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+`
    PrefixedMarks,
    /// Upper-case letters then lower-case ones, in two alternatives.
    Cased,
    /// The third pattern of DeepSeek-V3.
    DeepSeek,
}

/// A recognised split pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Split {
    /// Contractions tried before anything else.
    pub(crate) lead: Contraction,
    pub(crate) word: Word,
    /// Contractions that may end a word.
    pub(crate) tail: Contraction,
    /// Digits to a piece; 0 for any number.
    pub(crate) digits: u8,
    /// A space may begin a number.
    pub(crate) spaced_digits: bool,
    /// What punctuation is made of.
    pub(crate) other: Set,
    /// `[\r\n]*` after punctuation.
    pub(crate) newline_tail: bool,
    /// `[\r\n/]*` after punctuation.
    pub(crate) slash_tail: bool,
    /// `\s*[\r\n]+`.
    pub(crate) newlines: bool,
}

/// A pattern with its newlines written as escapes (files hold them both ways).
fn escaped(pattern: &str) -> String {
    pattern.replace('\r', r"\r").replace('\n', r"\n")
}

/// Alternatives of a pattern: cut at every `|` outside brackets and parentheses.
fn alternatives(pattern: &str) -> Vec<&str> {
    let (mut depth, mut class, mut escaped, mut start) = (0, false, false, 0);
    let mut out = Vec::new();
    for (i, b) in pattern.bytes().enumerate() {
        match b {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'[' => class = true,
            b']' => class = false,
            b'(' if !class => depth += 1,
            b')' if !class => depth -= 1,
            b'|' if !class && depth == 0 => {
                out.push(&pattern[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    out.push(&pattern[start..]);
    out
}

const FOLD: [&str; 2] = ["(?i:'s|'t|'re|'ve|'m|'ll|'d)", "'(?i:[sdmt]|ll|ve|re)"];
const UPPER: &str = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]";
const LOWER: &str = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]";
const PREFIX: &str = r"[^\r\n\p{L}\p{N}]?";

impl Split {
    /// The split of GPT-2, which `ByteLevel` does by default.
    pub(crate) const GPT2: &'static str =
        r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

    pub(crate) const DEEPSEEK: &'static str = concat!(
        r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"##,
        r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    );

    /// The meaning of a pattern, or `None` where some part is not known.
    pub(crate) fn parse(pattern: &str) -> Option<Self> {
        let pattern = escaped(pattern);
        let parts = alternatives(&pattern);
        let mut rest = parts.as_slice();
        let mut split = Self {
            lead: Contraction::None,
            word: Word::Spaced,
            tail: Contraction::None,
            digits: 0,
            spaced_digits: false,
            other: SET_ALL & !(SET_WS | SET_L | SET_N),
            newline_tail: false,
            slash_tail: false,
            newlines: false,
        };
        if rest.starts_with(&["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"]) {
            split.lead = Contraction::Exact;
            rest = &rest[7..];
        } else if rest.first().is_some_and(|r| FOLD.contains(r)) {
            split.lead = Contraction::Fold;
            rest = &rest[1..];
        }
        rest = split.parse_word(rest)?;
        let (number, punctuation) = (rest.first()?, rest.get(1)?);
        (split.digits, split.spaced_digits) = match *number {
            r" ?\p{N}+" => (0, true),
            r"\p{N}+" => (0, false),
            r"\p{N}{1,3}" => (3, false),
            r"\p{N}{1,2}" => (2, false),
            r"\p{N}" => (1, false),
            _ => return None,
        };
        let (class, tail) = punctuation.split_once(']')?;
        match class {
            r" ?[^\s\p{L}\p{N}" => {}
            r" ?[^\s\p{L}\p{M}\p{N}" => split.other &= !SET_M,
            _ => return None,
        }
        (split.newline_tail, split.slash_tail) = match tail {
            "+" | "++" => (false, false),
            r"+[\r\n]*" | r"++[\r\n]*" | r"++[\r\n]*+" => (true, false),
            r"+[\r\n/]*" | r"++[\r\n/]*" => (true, true),
            _ => return None,
        };
        rest = &rest[2..];
        if [r"\s*[\r\n]+", r"\s*[\r\n]"].contains(rest.first()?) {
            split.newlines = true;
            rest = &rest[1..];
        }
        let end = matches!(rest, [r"\s+(?!\S)" | r"\s++(?!\S)", r"\s+" | r"\s"]);
        (end && split.covers()).then_some(split)
    }

    fn parse_word<'a>(&mut self, rest: &'a [&'a str]) -> Option<&'a [&'a str]> {
        let first = *rest.first()?;
        self.word = match first {
            r" ?\p{L}+" => Word::Spaced,
            r"[^\r\n\p{L}\p{N}]?\p{L}+" | r"[^\r\n\p{L}\p{N}]?+\p{L}+" => Word::Prefixed,
            r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+" => Word::PrefixedMarks,
            _ => Word::Cased,
        };
        if self.word != Word::Cased {
            return Some(&rest[1..]);
        }
        for tail in [String::new(), format!("{}?", FOLD[0])] {
            let a = format!("{PREFIX}{UPPER}*{LOWER}+{tail}");
            let b = format!("{PREFIX}{UPPER}+{LOWER}*{tail}");
            if first == a && *rest.get(1)? == b {
                if !tail.is_empty() {
                    self.tail = Contraction::Fold;
                }
                return Some(&rest[2..]);
            }
        }
        None
    }

    /// Whether every character matches some alternative, so that no text lies between matches.
    fn covers(&self) -> bool {
        let word = match self.word {
            Word::Spaced | Word::Prefixed => SET_L,
            _ => SET_L | SET_M,
        };
        word | SET_N | self.other | SET_WS == SET_ALL
    }

    /// The splits of a pre-tokenizer that ends in `ByteLevel`.
    pub(crate) fn from_pre_tokenizer(json: &Value) -> Option<Self> {
        let parts = match json.get("type")?.as_str()? {
            "Sequence" => json.get("pretokenizers")?.as_array()?.as_slice(),
            _ => std::slice::from_ref(json),
        };
        let (last, splits) = parts.split_last()?;
        if last.get("type")?.as_str()? != "ByteLevel" || last.get("add_prefix_space")? != false {
            return None;
        }
        let use_regex = last.get("use_regex").is_none_or(|v| v == true);
        let patterns: Option<Vec<String>> = splits.iter().map(isolated).collect();
        let patterns = patterns?;
        let patterns: Vec<&str> = patterns.iter().map(String::as_str).collect();
        match (patterns.as_slice(), use_regex) {
            ([], true) => Self::parse(Self::GPT2),
            ([pattern], false) => Self::parse(pattern),
            ([r"\p{N}{1,3}", "[一-龥\u{3040}-ゟ゠-ヿ]+", Self::DEEPSEEK], false) => {
                Some(Self {
                    lead: Contraction::None,
                    word: Word::DeepSeek,
                    tail: Contraction::None,
                    digits: 3,
                    spaced_digits: false,
                    other: SET_PS,
                    newline_tail: true,
                    slash_tail: false,
                    newlines: true,
                })
            }
            _ => None,
        }
    }
}

/// The pattern of a `Split` that keeps what matches and what lies between as pieces.
fn isolated(json: &Value) -> Option<String> {
    let plain = json.get("type")? == "Split"
        && json.get("behavior")? == "Isolated"
        && json.get("invert")? == false;
    if plain {
        json.pointer("/pattern/Regex")?.as_str().map(escaped)
    } else {
        None
    }
}
