//! The next pre-token of any text, by the plain reading of a pattern's alternatives. The fast path
//! for ASCII in `scan.rs` must agree with it.

use crate::classes::{
    LO, SET_L, SET_LOWER, SET_M, SET_N, SET_PS, SET_UPPER, SET_WS, Set, Table, code_point, within,
};
use crate::split::{Contraction, Split, Word};

impl Split {
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

/// Whether a character that begins with two bytes is one of U+4E00 to U+9FBF.
#[inline]
const fn han(x: u8, y: u8) -> bool {
    let two = (x as u16) << 8 | y as u16;
    two.wrapping_sub(0xE4B8) < 0xE9BF - 0xE4B8
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
        let ideographs = within(LO, set);
        loop {
            // The bulk of Han: U+4E00 to U+9FBF are letters of no case, all of them.
            while ideographs && self.t.get(p..p + 2).is_some_and(|x| han(x[0], x[1])) {
                p += 3;
            }
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
