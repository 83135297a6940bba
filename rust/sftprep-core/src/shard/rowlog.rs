//! The log of a task: what became of each of its rows, and the sizes of the documents made of them.
//!
//! Written while a task maps its rows, read once in task order when all are done: the ledger, the
//! totals and the lengths for the plan follow from it. Private to one run of one version, like the
//! segment beside it. Numbers are LEB128.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use crate::error::{Code, Error, Reject, Result};
use crate::types::RowPlace;

use super::hashed::{Digest, HashedFile};
use super::ledger::EXCERPT_BYTES;

/// A document of a row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LoggedDocument {
    /// Tokens.
    pub tokens: u32,
    /// Spans.
    pub spans: u32,
    /// Tokens that get a label if no strategy cuts the document.
    pub trained: u32,
}

/// What became of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoggedOutcome {
    /// Documents were made of it.
    Packed {
        /// The documents, in order; they follow those of the row before in the segment.
        documents: Vec<LoggedDocument>,
        /// Why tokens were cut off, and how many.
        cut: Option<(Code, u64)>,
    },
    /// It was bad.
    Rejected(Reject),
    /// It was good but left out.
    Dropped(Reject),
}

/// A row of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedRow {
    /// Its place; the line is counted from the start of the task's part of the input.
    pub place: RowPlace,
    /// Tokens that the tokenizer gave for it; 0 if it did not get that far.
    pub encoded: u64,
    /// What became of it.
    pub outcome: LoggedOutcome,
    /// The beginning of its text, if that is wanted.
    pub text: Vec<u8>,
    /// Bytes of the whole text.
    pub text_bytes: u64,
}

/// Writes a log.
pub struct RowLogWriter {
    out: HashedFile,
    buffer: Vec<u8>,
    rows: u64,
}

impl RowLogWriter {
    /// Starts the file.
    pub fn create(path: &Path) -> Result<Self> {
        Ok(Self {
            out: HashedFile::scratch(path)?,
            buffer: Vec::new(),
            rows: 0,
        })
    }

    /// Appends a row; of its text only the first bytes are kept.
    pub fn append(
        &mut self,
        place: RowPlace,
        encoded: u64,
        outcome: &LoggedOutcome,
        text: &[u8],
    ) -> Result<()> {
        let out = &mut self.buffer;
        out.clear();
        let kind = match outcome {
            LoggedOutcome::Packed { .. } => 0,
            LoggedOutcome::Rejected(_) => 1,
            LoggedOutcome::Dropped(_) => 2,
        };
        for number in [
            kind,
            u64::from(place.source),
            place.line,
            place.offset,
            encoded,
        ] {
            put(out, number);
        }
        match outcome {
            LoggedOutcome::Packed { documents, cut } => {
                let (code, tokens) = cut.map_or((0, 0), |(code, n)| (code_number(code), n));
                for number in [code, tokens, documents.len() as u64] {
                    put(out, number);
                }
                for document in documents {
                    for number in [document.tokens, document.spans, document.trained] {
                        put(out, u64::from(number));
                    }
                }
            }
            LoggedOutcome::Rejected(reject) | LoggedOutcome::Dropped(reject) => {
                put(out, code_number(reject.code));
                put_bytes(out, reject.detail.as_bytes());
                put_bytes(out, reject.field.as_bytes());
                put(out, text.len() as u64);
                put_bytes(out, &text[..text.len().min(EXCERPT_BYTES)]);
            }
        }
        self.rows += 1;
        self.out.write(out)
    }

    /// Rows so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Makes the file durable.
    pub fn seal(self) -> Result<Digest> {
        self.out.seal()
    }
}

/// Reads a log from its start.
pub struct RowLogReader {
    input: BufReader<File>,
    path: PathBuf,
    left: u64,
}

impl RowLogReader {
    /// Opens a log of `rows` rows.
    pub fn open(path: &Path, rows: u64) -> Result<Self> {
        let file = File::open(path).map_err(|error| Error::io(Code::OutputIo, path, &error))?;
        Ok(Self {
            input: BufReader::with_capacity(256 << 10, file),
            path: path.to_owned(),
            left: rows,
        })
    }

    fn row(&mut self) -> Result<LoggedRow> {
        let kind = self.number()?;
        let place = RowPlace {
            source: self.small()?,
            line: self.number()?,
            offset: self.number()?,
        };
        let encoded = self.number()?;
        let (mut text, mut text_bytes) = (Vec::new(), 0);
        let outcome = if kind == 0 {
            let (code, tokens) = (self.number()?, self.number()?);
            let cut = match code {
                0 => None,
                code => Some((self.code(code)?, tokens)),
            };
            let count = self.number()?;
            let mut documents = Vec::with_capacity(count.min(1 << 10) as usize);
            for _ in 0..count {
                documents.push(LoggedDocument {
                    tokens: self.small()?,
                    spans: self.small()?,
                    trained: self.small()?,
                });
            }
            LoggedOutcome::Packed { documents, cut }
        } else {
            let code = self.number()?;
            let reject = Reject {
                code: self.code(code)?,
                detail: self.string()?,
                field: self.string()?,
            };
            text_bytes = self.number()?;
            text = self.bytes()?;
            if kind == 1 {
                LoggedOutcome::Rejected(reject)
            } else {
                LoggedOutcome::Dropped(reject)
            }
        };
        Ok(LoggedRow {
            place,
            encoded,
            outcome,
            text,
            text_bytes,
        })
    }

    fn number(&mut self) -> Result<u64> {
        let mut number = 0;
        for (at, byte) in self.input.buffer().iter().take(10).enumerate() {
            number |= u64::from(byte & 0x7f) << (7 * at);
            if *byte < 0x80 {
                self.input.consume(at + 1);
                return Ok(number);
            }
        }
        // it goes on behind the buffer, or it is none
        number = 0;
        for shift in (0..64).step_by(7) {
            let mut byte = [0];
            self.read(&mut byte)?;
            number |= u64::from(byte[0] & 0x7f) << shift;
            if byte[0] < 0x80 {
                return Ok(number);
            }
        }
        Err(self.damaged())
    }

    fn small(&mut self) -> Result<u32> {
        let number = self.number()?;
        u32::try_from(number).map_err(|_| self.damaged())
    }

    fn bytes(&mut self) -> Result<Vec<u8>> {
        let count = self.number()?;
        let mut bytes = Vec::new();
        let read = (&mut self.input).take(count).read_to_end(&mut bytes);
        read.map_err(|error| Error::io(Code::OutputIo, &self.path, &error))?;
        if bytes.len() as u64 == count {
            Ok(bytes)
        } else {
            Err(self.damaged())
        }
    }

    fn string(&mut self) -> Result<String> {
        String::from_utf8(self.bytes()?).map_err(|_| self.damaged())
    }

    fn code(&self, number: u64) -> Result<Code> {
        let found = Code::ALL.get((number as usize).wrapping_sub(1));
        found.copied().ok_or_else(|| self.damaged())
    }

    fn read(&mut self, into: &mut [u8]) -> Result<()> {
        self.input
            .read_exact(into)
            .map_err(|error| Error::io(Code::OutputIo, &self.path, &error))
    }

    fn damaged(&self) -> Error {
        let message = "the temporary log is not what was written to it";
        Error::new(Code::OutputIo, message)
            .at_path(&self.path)
            .hint("another program changed it, or the disk is failing; run again")
    }
}

impl Iterator for RowLogReader {
    type Item = Result<LoggedRow>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        Some(self.row())
    }
}

fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Number of a code, from 1.
fn code_number(code: Code) -> u64 {
    let index = Code::ALL.iter().position(|&other| other == code);
    index.map_or(0, |index| index as u64 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_what_was_appended() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut writer = RowLogWriter::create(&path).unwrap();
        let reject = Reject::new(Code::ShardCorrupt, "ß".repeat(300)).at_field("a[1]");
        let document = |tokens| LoggedDocument {
            tokens,
            spans: u32::MAX,
            trained: tokens / 2,
        };
        let rows: Vec<LoggedRow> = (0..300u64)
            .map(|index| {
                let outcome = match index % 3 {
                    0 => LoggedOutcome::Packed {
                        documents: (0..index as u32 % 5).map(document).collect(),
                        cut: (index % 2 == 0).then_some((Code::PackOverlong, 1 << index.min(63))),
                    },
                    1 => LoggedOutcome::Rejected(reject.clone()),
                    _ => LoggedOutcome::Dropped(reject.clone()),
                };
                let text = if index % 3 == 0 {
                    0
                } else {
                    100 * index as usize
                };
                LoggedRow {
                    place: RowPlace {
                        source: index as u32,
                        line: index << 20,
                        offset: index << 40,
                    },
                    encoded: u64::MAX - index,
                    outcome,
                    text: vec![7; text.min(EXCERPT_BYTES)],
                    text_bytes: text as u64,
                }
            })
            .collect();
        for row in &rows {
            let text = vec![7; row.text_bytes as usize];
            writer
                .append(row.place, row.encoded, &row.outcome, &text)
                .unwrap();
        }
        assert_eq!(writer.rows(), 300);
        writer.seal().unwrap();
        let read: Result<Vec<_>> = RowLogReader::open(&path, 300).unwrap().collect();
        assert_eq!(read.unwrap(), rows);
        // one row more than there is, and a cut file, are errors
        assert!(
            RowLogReader::open(&path, 301)
                .unwrap()
                .any(|row| row.is_err())
        );
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        assert!(
            RowLogReader::open(&path, 300)
                .unwrap()
                .any(|row| row.is_err())
        );
    }
}
