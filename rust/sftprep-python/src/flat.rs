//! Tokens of many texts end to end, in as little memory as can be.
//!
//! Getting the pages of 12 bytes per token (an id and a span) took half as long as tokenizing did.
//! So there are 4 bytes for an id and one for a length, from which spans are made when somebody asks
//! for them, and they lie in huge pages.

use pyo3::pybacked::PyBackedStr;
use sftprep_core::huge;
use sftprep_tokenize::Encoding;

/// Bytes of text to a token, at least, in nearly all texts. (More tokens make the vectors grow.)
const BYTES_PER_TOKEN: usize = 2;
/// A length that does not fit into a byte, and is kept aside.
const LONG: u8 = u8::MAX;

/// Ids, rows and lengths.
#[derive(Default)]
pub(crate) struct Flat {
    /// Ids of all texts; spans of none but the text that is being encoded.
    pub(crate) tokens: Encoding,
    /// Where each text's tokens begin, and the end of the last.
    pub(crate) row_starts: Vec<i64>,
    pub(crate) lengths: Lengths,
}

impl Flat {
    /// Room for the tokens of some texts.
    pub(crate) fn with_room(texts: &[PyBackedStr]) -> Self {
        let bytes: usize = texts.iter().map(|text| text.len()).sum();
        let tokens = bytes / BYTES_PER_TOKEN;
        let mut row_starts = Vec::with_capacity(texts.len() + 1);
        row_starts.push(0);
        Self {
            tokens: Encoding {
                ids: huge::with_room(tokens),
                offsets: Vec::new(),
            },
            row_starts,
            lengths: Lengths {
                short: huge::with_room(tokens),
                ..Lengths::default()
            },
        }
    }

    /// The tokens that were added are those of one text.
    pub(crate) fn end_text(&mut self) {
        self.row_starts.push(self.tokens.ids.len() as i64);
        self.lengths.push(&self.tokens.offsets);
        self.tokens.offsets.clear();
    }

    /// Adds the texts of another.
    pub(crate) fn append(&mut self, other: Self) {
        let before = self.tokens.ids.len() as i64;
        self.tokens.ids.extend_from_slice(&other.tokens.ids);
        let ends = other.row_starts.iter().skip(1);
        self.row_starts.extend(ends.map(|end| before + end));
        self.lengths.append(other.lengths);
    }
}

/// How many bytes each token covers. Tokens cover their text from its beginning, one after another.
#[derive(Default)]
pub(crate) struct Lengths {
    short: Vec<u8>,
    /// Those that are `LONG` in `short`, in order.
    long: Vec<u32>,
    /// Tokens of each text.
    texts: Vec<u32>,
}

impl Lengths {
    fn push(&mut self, spans: &[[u32; 2]]) {
        let first = self.short.len();
        let short = |[from, to]: &[u32; 2]| (to - from).min(u32::from(LONG)) as u8;
        self.short.extend(spans.iter().map(short));
        if self.short[first..].contains(&LONG) {
            let lengths = spans.iter().map(|[from, to]| to - from);
            self.long
                .extend(lengths.filter(|length| *length >= u32::from(LONG)));
        }
        self.texts.push(spans.len() as u32);
    }

    fn append(&mut self, other: Self) {
        self.short.extend_from_slice(&other.short);
        self.long.extend(other.long);
        self.texts.extend(other.texts);
    }

    /// First and one past the last byte of each token in its own text.
    pub(crate) fn spans(&self) -> Vec<[u32; 2]> {
        let mut spans = Vec::with_capacity(self.short.len());
        let (mut short, mut long) = (self.short.as_slice(), self.long.iter());
        for &tokens in &self.texts {
            let (of_text, rest) = short.split_at(tokens as usize);
            short = rest;
            let mut at = 0;
            spans.extend(of_text.iter().map(|&length| {
                let from = at;
                at += match length {
                    LONG => long.next().copied().unwrap_or(0),
                    _ => u32::from(length),
                };
                [from, at]
            }));
        }
        spans
    }
}
