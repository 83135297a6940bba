//! Rows of JSON Lines: one per `\n`, in memory bounded by the longest line that is allowed.

use memchr::memchr;

use super::buffer::TextBuffer;
use super::reader::Budget;
use crate::error::{Code, Reject, Result};
use crate::types::{RowPlace, Rows, SourceId};

/// Splits text into lines.
pub(super) struct Lines {
    text: TextBuffer,
    source: SourceId,
    max_line_bytes: u64,
    line: u64,
    /// Bytes at the front of the unread text known to hold no `\n`.
    scanned: usize,
    /// Bytes of the current line that were taken and dropped, because it is too long.
    dropped: u64,
    /// Lines that begin here or later belong to somebody else.
    end: u64,
    /// Whether the text begins inside a line that belongs to somebody else.
    skipping: bool,
}

impl Lines {
    pub(super) fn new(text: TextBuffer, source: SourceId, max_line_bytes: u64) -> Self {
        Self {
            text,
            source,
            max_line_bytes,
            line: 0,
            scanned: 0,
            dropped: 0,
            end: u64::MAX,
            skipping: false,
        }
    }

    /// Only the lines that begin before byte `end`, and not the first if `skipping`: the text
    /// begins with the last byte before the range then.
    pub(super) fn within(mut self, end: u64, skipping: bool) -> Self {
        (self.end, self.skipping) = (end, skipping);
        self
    }

    /// Lines so far, blank ones included.
    pub(super) fn lines(&self) -> u64 {
        self.line
    }

    /// Appends rows until the budget is spent (true) or the text ends (false).
    pub(super) fn fill(&mut self, rows: &mut Rows, budget: &Budget) -> Result<bool> {
        let start = self.text.offset();
        loop {
            let at_start = self.scanned == 0 && self.dropped == 0;
            if self.text.offset() >= self.end && (at_start || self.skipping) {
                return Ok(false);
            }
            if budget.is_spent(rows, self.text.offset() - start) {
                return Ok(true);
            }
            if self.skipping {
                if !self.skip()? {
                    return Ok(false);
                }
                continue;
            }
            if let Some(at) = memchr(b'\n', &self.text.unread()[self.scanned..]) {
                self.end_line(self.scanned + at, rows);
                self.text.take(1);
                continue;
            }
            self.scanned = self.text.unread().len();
            if self.dropped + self.scanned as u64 > self.max_line_bytes {
                self.dropped += self.scanned as u64;
                self.text.take(self.scanned);
                self.scanned = 0;
            }
            if !self.text.fill()? {
                if self.dropped > 0 || self.scanned > 0 {
                    self.end_line(self.scanned, rows);
                }
                return Ok(false);
            }
        }
    }

    /// Takes what is there of a line that belongs to somebody else; false at the end of the text.
    fn skip(&mut self) -> Result<bool> {
        match memchr(b'\n', self.text.unread()) {
            Some(at) => {
                self.text.take(at + 1);
                self.skipping = false;
            }
            None => self.text.take(self.text.unread().len()),
        }
        Ok(!self.skipping || self.text.fill()?)
    }

    pub(super) fn text(&self) -> &TextBuffer {
        &self.text
    }

    pub(super) fn into_text(self) -> TextBuffer {
        self.text
    }

    /// Takes the rest of a line, without its `\n`.
    fn end_line(&mut self, length: usize, rows: &mut Rows) {
        self.line += 1;
        let place = RowPlace {
            source: self.source,
            line: self.line,
            offset: self.text.offset() - self.dropped,
        };
        let bytes = self.dropped + length as u64;
        let line = &self.text.unread()[..length];
        if bytes > self.max_line_bytes {
            rows.push_unreadable(place, too_long("line", bytes, self.max_line_bytes));
        } else if !line.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r')) {
            rows.push_json(place, line);
        }
        self.text.take(length);
        self.scanned = 0;
        self.dropped = 0;
    }
}

/// The reject of a row beyond the limit.
pub(super) fn too_long(what: &str, bytes: u64, limit: u64) -> Reject {
    let detail = format!(
        "the {what} has {bytes} bytes, more than the {limit} allowed; \
         --max-line-bytes raises the limit"
    );
    Reject::new(Code::RowTooLong, detail)
}
