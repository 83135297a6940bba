//! Split patterns that are recognised, and the scanner that finds the next pre-token.
//!
//! A pattern is taken apart at its top-level `|` and each alternative looked up; so what is known
//! is a family of patterns (GPT-2, cl100k, Llama-3, Qwen, o200k, Tekken and mixtures of their
//! parts), not a list of models. The scanner below is the plain reading of the alternatives; the
//! fast path for ASCII is in `scan.rs` and must agree with it.

use crate::classes::{
    SET_ALL, SET_L, SET_LOWER, SET_M, SET_N, SET_PS, SET_UPPER, SET_WS, Set, Table, code_point,
    within,
};
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

    /// The end of the pre-token that begins at `p`; `t` ends where the piece ends.
    pub(crate) fn next(&self, classes: &Table, t: &[u8], p: usize) -> usize {
        let s = Scanner {
            split: self,
            classes,
            t,
        };
        if self.word == Word::DeepSeek {
            s.next_deepseek(p)
        } else {
            s.next(p)
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

/// One piece of text being scanned.
struct Scanner<'a> {
    split: &'a Split,
    classes: &'a Table,
    t: &'a [u8],
}

/// A character: code point, class, length in bytes (0 at the end of the piece).
#[derive(Clone, Copy)]
struct Char {
    code: u32,
    class: u8,
    len: usize,
}

impl Scanner<'_> {
    #[inline]
    fn at(&self, p: usize) -> Char {
        if p >= self.t.len() {
            return Char {
                code: 0,
                class: 15,
                len: 0,
            };
        }
        let (code, len) = code_point(self.t, p);
        Char {
            code,
            class: self.classes.get(code),
            len,
        }
    }

    /// End of the run of a set that begins at `p`.
    fn run(&self, mut p: usize, set: Set) -> usize {
        loop {
            let c = self.at(p);
            if c.len == 0 || !within(c.class, set) {
                return p;
            }
            p += c.len;
        }
    }

    /// Length of a contraction at `p`, or 0.
    fn contraction(&self, p: usize, kind: Contraction) -> usize {
        if kind == Contraction::None || self.t.get(p) != Some(&b'\'') {
            return 0;
        }
        let fold = kind == Contraction::Fold;
        let get = |i: usize| {
            let b = self.t.get(p + i).copied().unwrap_or(0);
            if fold { b.to_ascii_lowercase() } else { b }
        };
        match (get(1), get(2)) {
            (b's' | b't' | b'm' | b'd', _) => 2,
            (b'r' | b'v', b'e') | (b'l', b'l') => 3,
            (0xC5, 0xBF) if fold => 3,
            _ => 0,
        }
    }

    fn next(&self, p: usize) -> usize {
        let s = self.split;
        let n = self.contraction(p, s.lead);
        if n > 0 {
            return p + n;
        }
        let c = self.at(p);
        if let Some(end) = self.word(p, c) {
            return end;
        }
        let after = p + c.len;
        let next = self.at(after);
        let space = c.code == 0x20;
        if within(c.class, SET_N) || (space && s.spaced_digits && within(next.class, SET_N)) {
            return self.number(if space { after } else { p });
        }
        if within(c.class, s.other) {
            return self.punctuation(p);
        }
        if space && next.len > 0 && within(next.class, s.other) {
            return self.punctuation(after);
        }
        self.whitespace(p)
    }

    fn number(&self, p: usize) -> usize {
        if self.split.digits == 0 {
            return self.run(p, SET_N);
        }
        let mut end = p;
        for _ in 0..self.split.digits {
            let c = self.at(end);
            if c.len == 0 || !within(c.class, SET_N) {
                break;
            }
            end += c.len;
        }
        end
    }

    fn punctuation(&self, p: usize) -> usize {
        let mut end = self.run(p, self.split.other);
        while let Some(b) = self.t.get(end) {
            match b {
                b'\r' | b'\n' if self.split.newline_tail => end += 1,
                b'/' if self.split.slash_tail => end += 1,
                _ => break,
            }
        }
        end
    }

    /// `\s*[\r\n]+|\s+(?!\S)|\s+`, `p` being whitespace.
    fn whitespace(&self, p: usize) -> usize {
        let (mut end, mut last, mut newline) = (p, p, None);
        loop {
            let c = self.at(end);
            if c.len == 0 || !within(c.class, SET_WS) {
                break;
            }
            last = end;
            end += c.len;
            if c.code == 0x0A || c.code == 0x0D {
                newline = Some(end);
            }
        }
        match newline {
            Some(n) if self.split.newlines => n,
            _ if end == self.t.len() || last == p => end,
            _ => last,
        }
    }

    fn word(&self, p: usize, c: Char) -> Option<usize> {
        let after = p + c.len;
        let letter = within(c.class, SET_L);
        // `[^\r\n\p{L}\p{N}]`
        let prefix = !letter && !within(c.class, SET_N) && c.code != 0x0A && c.code != 0x0D;
        let run = |from: usize, set: Set| {
            let end = self.run(from, set);
            (end > from).then_some(end)
        };
        match self.split.word {
            Word::Spaced if c.code == 0x20 => run(after, SET_L),
            Word::Prefixed if prefix => run(after, SET_L),
            Word::Spaced | Word::Prefixed => run(p, SET_L),
            Word::PrefixedMarks => {
                let tail = if prefix {
                    run(after, SET_L | SET_M)
                } else {
                    None
                };
                tail.or_else(|| run(p, SET_L | SET_M))
            }
            Word::Cased => {
                let tail = if prefix {
                    self.upper_lower(after)
                } else {
                    None
                };
                let tail = tail.or_else(|| self.upper_lower(p));
                let tail = tail.or_else(|| if prefix { run(after, SET_UPPER) } else { None });
                let end = tail.or_else(|| run(p, SET_UPPER))?;
                Some(end + self.contraction(end, self.split.tail))
            }
            Word::DeepSeek => None,
        }
    }

    /// `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+` from `p`: where the first run
    /// leaves nothing for the second, it gives back down to its last character of both kinds.
    fn upper_lower(&self, p: usize) -> Option<usize> {
        let (mut end, mut both) = (p, None);
        loop {
            let c = self.at(end);
            if c.len == 0 || !within(c.class, SET_UPPER) {
                break;
            }
            end += c.len;
            if within(c.class, SET_LOWER) {
                both = Some(end);
            }
        }
        let lower = self.run(end, SET_LOWER);
        if lower > end { Some(lower) } else { both }
    }

    /// Digits in threes and runs of Han and kana are pieces of their own, and pieces end the text
    /// for what stands before them.
    fn next_deepseek(&self, p: usize) -> usize {
        if within(self.at(p).class, SET_N) {
            return self.number(p);
        }
        let t = &self.t[..self.deepseek_limit(p)];
        Scanner {
            split: self.split,
            classes: self.classes,
            t,
        }
        .deepseek_third(p)
    }

    /// Where the piece around `p` ends, if that is within what one pre-token can look at: four
    /// runs of a kind. Longer pieces are cut there, so that no piece is walked again and again.
    fn deepseek_limit(&self, p: usize) -> usize {
        let han = |c: Char| matches!(c.code, 0x4E00..=0x9FA5 | 0x3040..=0x30FF);
        let kind = |class: u8| match class {
            c if within(c, SET_WS) => 1,
            c if within(c, SET_L | SET_M) => 2,
            c if within(c, SET_PS) => 3,
            _ => 4,
        };
        let inside = han(self.at(p));
        let (mut end, mut changes, mut last) = (p, 0, 0);
        loop {
            let c = self.at(end);
            if c.len == 0 || han(c) != inside || within(c.class, SET_N) {
                return end;
            }
            changes += u32::from(kind(c.class) != last);
            if changes > 4 {
                return end;
            }
            last = kind(c.class);
            end += c.len;
        }
    }

    fn deepseek_third(&self, p: usize) -> usize {
        let c = self.at(p);
        let after = p + c.len;
        if c.code < 0x80 && within(c.class, SET_PS) {
            let letters = self.t[after..]
                .iter()
                .take_while(|b| b.is_ascii_alphabetic())
                .count();
            if letters > 0 {
                return after + letters;
            }
        }
        let prefix = !within(c.class, SET_L | SET_PS) && c.code != 0x0A && c.code != 0x0D;
        if prefix {
            let end = self.run(after, SET_L | SET_M);
            if end > after {
                return end;
            }
        }
        let end = self.run(p, SET_L | SET_M);
        if end > p {
            return end;
        }
        if within(c.class, SET_PS) {
            return self.punctuation(p);
        }
        if c.code == 0x20 && self.run(after, SET_PS) > after {
            return self.punctuation(after);
        }
        if within(c.class, SET_WS) {
            return self.whitespace(p);
        }
        // Nothing matches here: what lies before the next match is one piece.
        let mut end = after;
        loop {
            let c = self.at(end);
            let after = end + c.len;
            let begins = c.len == 0
                || within(c.class, SET_L | SET_M | SET_PS | SET_WS)
                || self.run(after, SET_L | SET_M) > after;
            if begins {
                return end;
            }
            end = after;
        }
    }
}
