//! Template source to tokens, with Jinja2's whitespace rules for `trim_blocks` and
//! `lstrip_blocks` on and `keep_trailing_newline` off, as transformers sets them.

use crate::error::{Fault, Res};
use crate::escape::unescape;
use crate::unicode::is_space;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Tok {
    Data(String),
    VarBegin,
    VarEnd,
    BlockBegin,
    BlockEnd,
    Name(String),
    Str(String),
    Int(i64),
    BigInt(String),
    Float(f64),
    Op(&'static str),
    Eof,
}

#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub tok: Tok,
    pub at: u32,
}

/// Line ends become `\n` and one final line end goes, before anything else is looked at.
pub(crate) fn normalise(source: &str) -> String {
    let mut text = source.replace("\r\n", "\n").replace('\r', "\n");
    if text.ends_with('\n') {
        text.pop();
    }
    text
}

/// Longest first, so that `**` is not read as two `*`.
const OPERATORS: [&str; 26] = [
    "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}",
    ">", "<", "=", ".", ":", "|", ",", ";",
];

pub(crate) fn lex(source: &str) -> Res<Vec<Token>> {
    let mut lexer = Lexer {
        source,
        pos: 0,
        tokens: Vec::new(),
        line_starting: true,
    };
    lexer.root()?;
    let at = source.len() as u32;
    lexer.tokens.push(Token { tok: Tok::Eof, at });
    Ok(lexer.tokens)
}

struct Lexer<'s> {
    source: &'s str,
    pos: usize,
    tokens: Vec<Token>,
    /// Whether the last match ended a line: only then may spaces before a tag be stripped
    /// although the text before the tag holds no line end.
    line_starting: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Tag {
    Block,
    Variable,
    Comment,
}

impl<'s> Lexer<'s> {
    fn rest(&self) -> &'s str {
        &self.source[self.pos..]
    }

    fn push(&mut self, tok: Tok, at: usize) {
        self.tokens.push(Token { tok, at: at as u32 });
    }

    fn root(&mut self) -> Res<()> {
        while self.pos < self.source.len() {
            let Some((offset, tag)) = find_tag(self.rest()) else {
                let at = self.pos;
                self.push(Tok::Data(self.rest().to_owned()), at);
                self.pos = self.source.len();
                break;
            };
            let start = self.pos;
            let open = start + offset;
            let sign = sign_at(self.source, open + 2);
            self.data(start, open, sign, tag != Tag::Variable);
            self.pos = open + 2 + usize::from(sign.is_some());
            match tag {
                Tag::Block => {
                    if let Some(skip) = raw_open(&self.source[open + 2..]) {
                        self.pos = open + 2 + skip;
                        self.line_starting = self.source[..self.pos].ends_with('\n');
                        self.raw(open)?;
                    } else {
                        self.line_starting = false;
                        self.push(Tok::BlockBegin, open);
                        self.inside(Tag::Block, open)?;
                    }
                }
                Tag::Variable => {
                    self.line_starting = false;
                    self.push(Tok::VarBegin, open);
                    self.inside(Tag::Variable, open)?;
                }
                Tag::Comment => self.comment(open)?,
            }
        }
        Ok(())
    }

    /// Emits the text between two tags after the strips that the next tag asks for.
    fn data(&mut self, start: usize, end: usize, sign: Option<char>, lstrip: bool) {
        let mut text = &self.source[start..end];
        match sign {
            Some('-') => text = text.trim_end_matches(is_space),
            Some(_) => {}
            None if lstrip => {
                let line = text.rfind('\n').map_or(0, |index| index + 1);
                let tail = &text[line..];
                if (line > 0 || self.line_starting)
                    && !tail.is_empty()
                    && tail.chars().all(is_space)
                {
                    text = &text[..line];
                }
            }
            None => {}
        }
        if !text.is_empty() {
            self.push(Tok::Data(text.to_owned()), start);
        }
    }

    fn raw(&mut self, open: usize) -> Res<()> {
        let body = self.pos;
        let mut search = body;
        while let Some(found) = self.source[search..].find("{%") {
            let tag = search + found;
            let sign = sign_at(self.source, tag + 2);
            let mut rest =
                self.source[tag + 2 + usize::from(sign.is_some())..].trim_start_matches(is_space);
            if let Some(after) = rest.strip_prefix("endraw") {
                rest = after.trim_start_matches(is_space);
                if let Some(end) = block_end(rest) {
                    self.data(body, tag, sign, true);
                    self.pos = self.source.len() - rest.len() + end;
                    self.line_starting = self.source[..self.pos].ends_with('\n');
                    return Ok(());
                }
            }
            search = tag + 2;
        }
        Err(Fault::syntax("missing end of raw directive", open as u32))
    }

    fn comment(&mut self, open: usize) -> Res<()> {
        // The sign after `{#` belongs to the opening mark, as in Jinja2's own rule.
        let Some(found) = self.rest().find("#}") else {
            return Err(Fault::syntax("missing end of comment tag", open as u32));
        };
        let close = self.pos + found;
        let sign = self.source[self.pos..close].chars().next_back();
        self.pos = close + 2;
        match sign {
            Some('-') => self.skip_space(),
            Some('+') => {}
            _ => self.skip_newline(),
        }
        self.line_starting = self.source[..self.pos].ends_with('\n');
        Ok(())
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        self.pos += rest.len() - rest.trim_start_matches(is_space).len();
    }

    fn skip_newline(&mut self) {
        if self.rest().starts_with('\n') {
            self.pos += 1;
        }
    }

    /// Tokens of one tag, up to its end mark.
    fn inside(&mut self, tag: Tag, open: usize) -> Res<()> {
        let mut brackets: Vec<&'static str> = Vec::new();
        loop {
            if brackets.is_empty() && self.end_mark(tag) {
                self.line_starting = self.source[..self.pos].ends_with('\n');
                return Ok(());
            }
            let at = self.pos;
            let Some(first) = self.rest().chars().next() else {
                let what = if tag == Tag::Block {
                    "statement"
                } else {
                    "print statement"
                };
                return Err(Fault::syntax(
                    format!("unexpected end of template, expected the end of this {what}"),
                    open as u32,
                ));
            };
            if is_space(first) {
                self.skip_space();
            } else if first.is_ascii_digit() {
                self.number()?;
            } else if first.is_alphanumeric() || first == '_' {
                self.name(at)?;
            } else if first == '\'' || first == '"' {
                self.string(at, first)?;
            } else {
                self.operator(at, first, &mut brackets)?;
            }
        }
    }

    fn end_mark(&mut self, tag: Tag) -> bool {
        let rest = self.rest();
        let at = self.pos;
        let (end, tok) = match tag {
            Tag::Block => (block_end(rest), Tok::BlockEnd),
            _ => (variable_end(rest), Tok::VarEnd),
        };
        let Some(end) = end else { return false };
        self.push(tok, at);
        self.pos += end;
        true
    }

    fn operator(&mut self, at: usize, first: char, brackets: &mut Vec<&'static str>) -> Res<()> {
        let rest = self.rest();
        let Some(op) = OPERATORS.iter().find(|op| rest.starts_with(**op)) else {
            return Err(Fault::syntax(
                format!("unexpected char {first:?}"),
                at as u32,
            ));
        };
        match *op {
            "{" => brackets.push("}"),
            "(" => brackets.push(")"),
            "[" => brackets.push("]"),
            "}" | ")" | "]" => match brackets.pop() {
                Some(expected) if expected == *op => {}
                Some(expected) => {
                    let message = format!("unexpected '{op}', expected '{expected}'");
                    return Err(Fault::syntax(message, at as u32));
                }
                None => return Err(Fault::syntax(format!("unexpected '{op}'"), at as u32)),
            },
            _ => {}
        }
        self.push(Tok::Op(op), at);
        self.pos += op.len();
        Ok(())
    }

    fn name(&mut self, at: usize) -> Res<()> {
        let rest = self.rest();
        let end = rest
            .find(|c: char| !(c.is_alphanumeric() || c == '_'))
            .unwrap_or(rest.len());
        let name = &rest[..end];
        if name.starts_with(|c: char| !(c.is_alphabetic() || c == '_')) {
            return Err(Fault::syntax("invalid character in identifier", at as u32));
        }
        self.push(Tok::Name(name.to_owned()), at);
        self.pos += end;
        Ok(())
    }

    fn number(&mut self) -> Res<()> {
        let at = self.pos;
        let bytes = self.rest().as_bytes();
        let preceded_by_dot = at > 0 && self.source.as_bytes()[at - 1] == b'.';
        if !preceded_by_dot && let Some(len) = float_len(bytes) {
            let text: String = self.rest()[..len].chars().filter(|c| *c != '_').collect();
            let value: f64 = text
                .parse()
                .map_err(|_| Fault::syntax("invalid number", at as u32))?;
            self.push(Tok::Float(value), at);
            self.pos += len;
            return Ok(());
        }
        let (radix, len) = int_len(bytes);
        let digits: String = self.rest()[if radix == 10 { 0 } else { 2 }..len]
            .chars()
            .filter(|c| *c != '_')
            .collect();
        let tok = match i64::from_str_radix(&digits, radix) {
            Ok(value) => Tok::Int(value),
            Err(_) if radix == 10 => Tok::BigInt(digits.trim_start_matches('0').to_owned()),
            Err(_) => return Err(Fault::syntax("number beyond 64 bits", at as u32)),
        };
        self.push(tok, at);
        self.pos += len;
        Ok(())
    }

    fn string(&mut self, at: usize, quote: char) -> Res<()> {
        let body = &self.source[at + 1..];
        let mut escaped = false;
        for (index, c) in body.char_indices() {
            if escaped {
                escaped = false;
            } else if c == '\\' {
                escaped = true;
            } else if c == quote {
                let text = unescape(&body[..index], at as u32)?;
                self.push(Tok::Str(text), at);
                self.pos = at + 1 + index + 1;
                return Ok(());
            }
        }
        Err(Fault::syntax(
            format!("unexpected char {quote:?}: the string does not end"),
            at as u32,
        ))
    }
}

fn find_tag(text: &str) -> Option<(usize, Tag)> {
    let bytes = text.as_bytes();
    let mut from = 0;
    while let Some(found) = bytes[from..].iter().position(|byte| *byte == b'{') {
        let at = from + found;
        match bytes.get(at + 1) {
            Some(b'%') => return Some((at, Tag::Block)),
            Some(b'{') => return Some((at, Tag::Variable)),
            Some(b'#') => return Some((at, Tag::Comment)),
            _ => from = at + 1,
        }
    }
    None
}

fn sign_at(source: &str, at: usize) -> Option<char> {
    match source.as_bytes().get(at) {
        Some(b'-') => Some('-'),
        Some(b'+') => Some('+'),
        _ => None,
    }
}

/// Length of `[-+] raw %}` at the head of `text`, if it is that.
fn raw_open(text: &str) -> Option<usize> {
    let rest = text
        .strip_prefix(['-', '+'])
        .unwrap_or(text)
        .trim_start_matches(is_space);
    let rest = rest.strip_prefix("raw")?.trim_start_matches(is_space);
    let rest = match rest.strip_prefix("-%}") {
        Some(after) => after.trim_start_matches(is_space),
        None => rest.strip_prefix("%}")?,
    };
    Some(text.len() - rest.len())
}

/// Length of a block end mark with what it eats.
fn block_end(text: &str) -> Option<usize> {
    if text.starts_with("+%}") {
        return Some(3);
    }
    if let Some(after) = text.strip_prefix("-%}") {
        return Some(text.len() - after.trim_start_matches(is_space).len());
    }
    let after = text.strip_prefix("%}")?;
    Some(2 + usize::from(after.starts_with('\n')))
}

fn variable_end(text: &str) -> Option<usize> {
    if let Some(after) = text.strip_prefix("-}}") {
        return Some(text.len() - after.trim_start_matches(is_space).len());
    }
    text.starts_with("}}").then_some(2)
}

/// Length of `\d(_?\d)*` from `from`.
fn digits_len(bytes: &[u8], from: usize, allowed: impl Fn(u8) -> bool) -> usize {
    let mut at = from;
    loop {
        match bytes.get(at) {
            Some(byte) if allowed(*byte) => at += 1,
            Some(b'_') if at > from && bytes.get(at + 1).is_some_and(|byte| allowed(*byte)) => {
                at += 2;
            }
            _ => return at - from,
        }
    }
}

fn float_len(bytes: &[u8]) -> Option<usize> {
    let digit = |byte: u8| byte.is_ascii_digit();
    let whole = digits_len(bytes, 0, digit);
    let mut at = whole;
    let mut is_float = false;
    if bytes.get(at) == Some(&b'.') {
        let fraction = digits_len(bytes, at + 1, digit);
        if fraction > 0 {
            at += 1 + fraction;
            is_float = true;
        }
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        let exponent = digits_len(bytes, at + 1 + sign, digit);
        if exponent > 0 {
            at += 1 + sign + exponent;
            is_float = true;
        }
    }
    (whole > 0 && is_float).then_some(at)
}

fn int_len(bytes: &[u8]) -> (u32, usize) {
    let radix = match (bytes.first(), bytes.get(1).map(u8::to_ascii_lowercase)) {
        (Some(b'0'), Some(b'b')) => 2,
        (Some(b'0'), Some(b'o')) => 8,
        (Some(b'0'), Some(b'x')) => 16,
        _ => 10,
    };
    if radix != 10 {
        let from = if bytes.get(2) == Some(&b'_') { 3 } else { 2 };
        let len = digits_len(bytes, from, |byte| char::from(byte).is_digit(radix));
        if len > 0 {
            return (radix, from + len);
        }
    }
    // A number that starts with 0 is only zeros: `012` is `0` and then `12`.
    if bytes.first() == Some(&b'0') {
        return (10, digits_len(bytes, 0, |byte| byte == b'0'));
    }
    (10, digits_len(bytes, 0, |byte| byte.is_ascii_digit()))
}
