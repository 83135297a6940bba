//! Rows of a `.json` file: the elements of one array, or values one after the other.
//!
//! Only brackets and quotes are looked at, to find where an element ends; whether it is valid JSON
//! is for the parser to say, so one bad element is one rejected row. The array around them has to
//! be right, because after a wrong comma nothing tells which element is which.

use memchr::memchr2;

use super::buffer::TextBuffer;
use super::lines::too_long;
use super::reader::Budget;
use crate::error::{Code, Error, Result};
use crate::types::{RowPlace, Rows, SourceId};

/// Where the end of one JSON value is; remembers where it stopped, so no byte is seen twice.
#[derive(Debug, Default, Clone)]
struct ValueEnd {
    scanned: usize,
    depth: u64,
    in_string: bool,
    is_bare: bool,
}

impl ValueEnd {
    /// Length of the value that the text begins with; `None` if it goes on beyond the text.
    fn find(&mut self, text: &[u8]) -> Option<usize> {
        while self.scanned < text.len() {
            if self.in_string {
                let Some(at) = memchr2(b'"', b'\\', &text[self.scanned..]) else {
                    self.scanned = text.len();
                    return None;
                };
                let at = self.scanned + at;
                if text[at] == b'\\' {
                    if at + 1 == text.len() {
                        self.scanned = at; // the escaped byte is not here yet
                        return None;
                    }
                    self.scanned = at + 2;
                    continue;
                }
                self.scanned = at + 1;
                self.in_string = false;
                if self.depth == 0 {
                    return Some(self.scanned);
                }
                continue;
            }
            if let Some(end) = self.outside_string(text[self.scanned]) {
                return Some(end);
            }
            self.scanned += 1;
        }
        None
    }

    fn outside_string(&mut self, byte: u8) -> Option<usize> {
        match byte {
            b'"' | b'{' | b'[' | b'}' | b']' | b',' | b' ' | b'\t' | b'\r' | b'\n'
                if self.is_bare =>
            {
                return Some(self.scanned);
            }
            b'"' => self.in_string = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                if self.depth == 0 {
                    return Some(self.scanned + 1);
                }
            }
            _ if self.depth == 0 => self.is_bare = true,
            _ => {}
        }
        None
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// The first element of the array, or its end.
    ElementOrEnd,
    /// An element: there was a comma.
    Element,
    /// A comma, or the end of the array.
    CommaOrEnd,
    /// Nothing but white space.
    Nothing,
    /// The next value of a file without an array.
    Value,
}

/// How the rows of a `.json` file stand in it.
pub(super) enum Layout {
    /// In one array.
    Array,
    /// One per line, as in a `.jsonl`.
    Lines,
    /// One after the other, on any number of lines.
    Concatenated,
}

/// Looks at the first value to see how the file is laid out; takes white space before it.
pub(super) fn layout(text: &mut TextBuffer) -> Result<Layout> {
    while !skip_space(text) && text.fill()? {}
    match text.unread().first() {
        Some(b'[') => return Ok(Layout::Array),
        Some(b'{') => {}
        _ => return Ok(Layout::Lines),
    }
    let mut end = ValueEnd::default();
    loop {
        let unread = text.unread();
        let found = end.find(unread);
        let seen = &unread[..found.unwrap_or(unread.len())];
        if seen.contains(&b'\n') {
            return Ok(Layout::Concatenated);
        }
        let rest = &unread[seen.len()..];
        let next = rest
            .iter()
            .find(|byte| !matches!(byte, b' ' | b'\t' | b'\r'))
            .copied();
        let is_long = unread.len() > 1 << 20;
        match (found, next) {
            (Some(_), Some(b'\n')) => return Ok(Layout::Lines),
            (Some(_), Some(_)) => return Ok(Layout::Concatenated),
            // A first value that long is on one line, or it is beyond every limit anyway.
            _ if is_long || !text.fill()? => return Ok(Layout::Lines),
            _ => {}
        }
    }
}

/// Takes white space from the front; true if something else is there.
fn skip_space(text: &mut TextBuffer) -> bool {
    let space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    let count = text.unread().iter().take_while(|byte| space(byte)).count();
    text.take(count);
    !text.unread().is_empty()
}

/// Splits text into JSON values.
pub(super) struct Values {
    text: TextBuffer,
    source: SourceId,
    max_bytes: u64,
    expected: Expected,
    rows: u64,
    end: ValueEnd,
    inside: bool,
    dropped: u64,
}

impl Values {
    pub(super) fn new(
        mut text: TextBuffer,
        source: SourceId,
        max_bytes: u64,
        in_array: bool,
    ) -> Self {
        if in_array {
            text.take(1);
        }
        Self {
            text,
            source,
            max_bytes,
            expected: if in_array {
                Expected::ElementOrEnd
            } else {
                Expected::Value
            },
            rows: 0,
            end: ValueEnd::default(),
            inside: false,
            dropped: 0,
        }
    }

    /// Appends rows until the budget is spent (true) or the text ends (false).
    pub(super) fn fill(&mut self, rows: &mut Rows, budget: &Budget) -> Result<bool> {
        let start = self.text.offset();
        loop {
            if budget.is_spent(rows, self.text.offset() - start) {
                return Ok(true);
            }
            if self.inside {
                if !self.element(rows)? {
                    return Ok(false);
                }
                continue;
            }
            if !skip_space(&mut self.text) {
                if self.text.fill()? {
                    continue;
                }
                return self.at_end().map(|()| false);
            }
            self.between()?;
        }
    }

    pub(super) fn text(&self) -> &TextBuffer {
        &self.text
    }

    pub(super) fn into_text(self) -> TextBuffer {
        self.text
    }

    /// One byte that is not white space, between two elements.
    fn between(&mut self) -> Result<()> {
        let byte = self.text.unread()[0];
        self.expected = match (self.expected, byte) {
            (Expected::ElementOrEnd | Expected::CommaOrEnd, b']') => Expected::Nothing,
            (Expected::CommaOrEnd, b',') => Expected::Element,
            (Expected::Element | Expected::ElementOrEnd, b',' | b']' | b'}')
            | (Expected::CommaOrEnd | Expected::Nothing, _) => return Err(self.wrong_byte(byte)),
            (Expected::Element | Expected::ElementOrEnd | Expected::Value, _) => {
                self.inside = true;
                return Ok(());
            }
        };
        self.text.take(1);
        Ok(())
    }

    /// Goes on with an element; false at the end of the text.
    fn element(&mut self, rows: &mut Rows) -> Result<bool> {
        if let Some(length) = self.end.find(self.text.unread()) {
            self.end_element(length, rows);
            return Ok(true);
        }
        let scanned = self.end.scanned;
        if self.dropped + scanned as u64 > self.max_bytes {
            self.dropped += scanned as u64;
            self.text.take(scanned);
            self.end.scanned = 0;
        }
        if self.text.fill()? {
            return Ok(true);
        }
        if self.expected != Expected::Value {
            return self.at_end().map(|()| false);
        }
        let length = self.text.unread().len(); // cut off: the parser says what is missing
        self.end_element(length, rows);
        Ok(false)
    }

    fn end_element(&mut self, length: usize, rows: &mut Rows) {
        self.rows += 1;
        let place = RowPlace {
            source: self.source,
            line: self.rows,
            offset: self.text.offset() - self.dropped,
        };
        let bytes = self.dropped + length as u64;
        if bytes > self.max_bytes {
            rows.push_unreadable(place, too_long("value", bytes, self.max_bytes));
        } else {
            rows.push_json(place, &self.text.unread()[..length]);
        }
        // A closing bracket where a value should be is taken as a value of one byte.
        self.text.take(length);
        self.end = ValueEnd::default();
        self.inside = false;
        self.dropped = 0;
        if self.expected != Expected::Value {
            self.expected = Expected::CommaOrEnd;
        }
    }

    fn at_end(&self) -> Result<()> {
        if matches!(self.expected, Expected::Nothing | Expected::Value) {
            return Ok(());
        }
        let message = format!("the JSON array is not closed; it has {} rows", self.rows);
        Err(Error::new(Code::SourceTruncated, message)
            .at_path(self.text.stream().path())
            .hint("fetch the file again, or write it as .jsonl"))
    }

    fn wrong_byte(&self, byte: u8) -> Error {
        let wanted = match self.expected {
            Expected::CommaOrEnd => "`,` or `]`",
            Expected::Nothing => "nothing after the end of the array",
            _ => "an element",
        };
        let message = format!(
            "expected {wanted} after row {} of the array, saw `{}` at byte {}",
            self.rows,
            char::from(byte).escape_default(),
            self.text.offset() + 1
        );
        Error::new(Code::SourceCorrupt, message)
            .at_path(self.text.stream().path())
            .hint("a .json file holds one array of rows; rows on lines of their own are a .jsonl")
    }
}
