//! A window on the decompressed text of an input: bytes are taken from its front, read at its end.

use super::bytes::ByteStream;
use crate::error::{Code, Error, Result};

/// Bytes read at a time, at most.
const READ: usize = 256 << 10;

/// The text that was read and not yet taken.
pub(super) struct TextBuffer {
    stream: ByteStream,
    data: Vec<u8>,
    start: usize,
    end: usize,
    offset: u64,
}

impl TextBuffer {
    /// Reads the first bytes, steps over a byte order mark, and refuses UTF-16.
    pub(super) fn new(stream: ByteStream) -> Result<Self> {
        let mut text = Self {
            stream,
            data: Vec::new(),
            start: 0,
            end: 0,
            offset: 0,
        };
        while text.unread().len() < 3 && text.fill()? {}
        let head = text.unread();
        if head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff") {
            return Err(
                Error::new(Code::SourceKind, "the text is UTF-16, not UTF-8")
                    .at_path(text.stream.path())
                    .hint("convert it first: iconv -f UTF-16 -t UTF-8"),
            );
        }
        if head.starts_with(b"\xef\xbb\xbf") {
            text.take(3);
        }
        Ok(text)
    }

    /// Text from the middle of an input, whose first byte stands at `offset`.
    pub(super) fn from_middle(stream: ByteStream, offset: u64) -> Self {
        Self {
            stream,
            data: Vec::new(),
            start: 0,
            end: 0,
            offset,
        }
    }

    /// What was read and not yet taken.
    pub(super) fn unread(&self) -> &[u8] {
        &self.data[self.start..self.end]
    }

    /// Offset of the first unread byte in the decompressed text.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Takes bytes from the front of what is unread.
    pub(super) fn take(&mut self, count: usize) {
        debug_assert!(count <= self.unread().len());
        self.start += count;
        self.offset += count as u64;
    }

    /// Reads some more bytes; false at the end of the text.
    pub(super) fn fill(&mut self) -> Result<bool> {
        if self.data.len() - self.end < READ {
            self.data.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            if self.data.len() - self.end < READ {
                // Doubled, so that a long line is moved a bounded number of times.
                self.data.resize((self.end * 2).max(4 * READ), 0);
            }
        }
        let count = self
            .stream
            .read(&mut self.data[self.end..self.end + READ])?;
        self.end += count;
        Ok(count > 0)
    }

    /// The stream below.
    pub(super) fn stream(&self) -> &ByteStream {
        &self.stream
    }

    /// Gives the stream back, to finish it.
    pub(super) fn into_stream(self) -> ByteStream {
        self.stream
    }
}
