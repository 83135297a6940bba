//! The temporary segment: tokenized documents on disk between the map phase and the gathering.
//!
//! Every task of the map phase appends its documents to a file of its own in input order; they are
//! read back in the order of the plan as one segment. Only 12 bytes per document stay in memory
//! (its length, which the plan needs, and its offset). Reads are positioned reads and not a memory
//! map: the whole segment is read once in random order, and pages of a map would count as the
//! process's own memory until the kernel takes them back.
//!
//! The layout is private to one run of one version: little-endian 32-bit words; per document 8
//! words of header (source, part, line, byte offset, tokens, spans), 4 words per span (end,
//! message, kind and flags, weight), then the ids.

use std::fs::File;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Code, Error, Result};
use crate::types::{Piece, RowPlace, SourceId, SpanKind, TokenSpan};

use super::columns::{FLAG_CONTINUES, FLAG_REPEATED, FLAG_STRADDLES, FLAG_TRAINED, border_of};

const HEADER_WORDS: usize = 8;
const SPAN_WORDS: usize = 4;

/// Files of the segment that are kept open, at most.
const OPEN_FILES: usize = 200;

/// Errors of the system that say "too many open files".
const TOO_MANY_FILES: [i32; 2] = [23, 24];

/// Spans read at once when only a piece of a document is wanted.
const SPAN_BLOCK: usize = 256;

/// Where a document comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DocMeta {
    /// The row it was made of.
    pub place: RowPlace,
    /// Which document of that row it is, counted from 0.
    pub part: u32,
}

/// Reads documents of a segment, from any number of threads.
#[derive(Debug, Default)]
pub struct SegmentReader {
    files: Vec<SegmentFile>,
    /// Open files, by index in `files`.
    open: Mutex<Vec<(usize, Arc<File>)>>,
    lengths: Vec<u32>,
    /// Where each document begins in its file.
    offsets: Vec<u64>,
}

/// The file of one task.
#[derive(Debug)]
struct SegmentFile {
    path: PathBuf,
    /// Its words, if it is not on disk.
    held: Option<Vec<u32>>,
    /// Index of its first document.
    first: usize,
    /// Bytes of its documents.
    end: u64,
    /// Added to line numbers of this source: the task counted them from its own first line.
    source: SourceId,
    lines_before: u64,
}

/// A piece of a document, as it was appended. One value is reused for many reads.
#[derive(Debug, Default)]
pub struct DocumentPiece {
    words: Vec<u32>,
    first_id: usize,
    spans: Vec<TokenSpan>,
}

impl DocumentPiece {
    /// Token ids of the piece.
    pub fn input_ids(&self) -> &[u32] {
        &self.words[self.first_id..]
    }

    /// Spans of the piece, ends counted from its first token, none empty.
    pub fn spans(&self) -> &[TokenSpan] {
        &self.spans
    }
}

impl SegmentReader {
    /// Goes on with the file of another task, whose line numbers in `source` count from
    /// `lines_before`.
    pub fn begin_file(&mut self, path: PathBuf, source: SourceId, lines_before: u64) {
        self.files.push(SegmentFile {
            path,
            held: None,
            first: self.lengths.len(),
            end: 0,
            source,
            lines_before,
        });
    }

    /// The words of the current file, which is not on disk.
    pub fn hold(&mut self, words: Vec<u32>) {
        if let Some(file) = self.files.last_mut() {
            file.held = Some(words);
        }
    }

    /// The next document of the current file has this many tokens and spans.
    pub fn push(&mut self, tokens: u32, spans: u32) {
        if let Some(file) = self.files.last_mut() {
            self.lengths.push(tokens);
            self.offsets.push(file.end);
            let words =
                HEADER_WORDS as u64 + SPAN_WORDS as u64 * u64::from(spans) + u64::from(tokens);
            file.end += 4 * words;
        }
    }

    /// Bytes of the file that is being gone through, as far as its documents were pushed.
    pub fn bytes_of_file(&self) -> u64 {
        self.files.last().map_or(0, |file| file.end)
    }

    /// Whether a token of a document lies in a trained span.
    pub fn is_trained(&self, document: u32, token: u32) -> Result<bool> {
        let piece = Piece {
            document,
            start: token,
            len: 1,
        };
        let mut out = DocumentPiece::default();
        self.read(piece, &mut out)?;
        Ok(out.spans.first().is_some_and(|span| span.trained))
    }

    /// The file that holds a document.
    fn file_of(&self, document: usize) -> Result<Source<'_>> {
        let index = self.files.partition_point(|file| file.first <= document) - 1;
        let file = &self.files[index];
        if let Some(words) = &file.held {
            let place = Place::Memory(words);
            return Ok(Source { file, place });
        }
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, handle)) = open.iter().find(|(at, _)| *at == index) {
            let place = Place::Disk(Arc::clone(handle));
            return Ok(Source { file, place });
        }
        if open.len() >= OPEN_FILES {
            open.clear();
        }
        let handle = File::open(&file.path).or_else(|error| {
            let many = error
                .raw_os_error()
                .is_some_and(|code| TOO_MANY_FILES.contains(&code));
            if many && !open.is_empty() {
                open.clear();
                return File::open(&file.path);
            }
            Err(error)
        });
        let handle =
            Arc::new(handle.map_err(|error| Error::io(Code::OutputIo, &file.path, &error))?);
        open.push((index, Arc::clone(&handle)));
        let place = Place::Disk(handle);
        Ok(Source { file, place })
    }

    /// Lengths of the documents, in tokens.
    pub fn lengths(&self) -> &[u32] {
        &self.lengths
    }

    /// Number of documents.
    pub fn len(&self) -> usize {
        self.lengths.len()
    }

    /// Whether there is no document.
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// Reads a piece of a document into `out`, and returns where the document comes from.
    pub fn read(&self, piece: Piece, out: &mut DocumentPiece) -> Result<DocMeta> {
        let document = piece.document as usize;
        let Some(&tokens) = self.lengths.get(document) else {
            let message = format!("document {document} of {}", self.len());
            return Err(Error::new(Code::RunInternal, message));
        };
        let end = u64::from(piece.start) + u64::from(piece.len);
        if piece.len == 0 || end > u64::from(tokens) {
            let message = format!("{piece:?} of a document of {tokens} tokens");
            return Err(Error::new(Code::RunInternal, message));
        }
        out.spans.clear();
        let source = self.file_of(document)?;
        let start = self.offsets[document];
        let mut meta = if piece.start == 0 && piece.len == tokens {
            // the next document, unless it begins another file
            let next = self.offsets.get(document + 1).copied();
            let end = next.filter(|next| *next > start).unwrap_or(source.file.end);
            source.read_whole(start..end, tokens, out)?
        } else {
            source.read_piece(start, tokens, piece, out)?
        };
        if meta.place.source == source.file.source {
            meta.place.line += source.file.lines_before;
        }
        Ok(meta)
    }
}

/// A file of the segment, open.
struct Source<'a> {
    file: &'a SegmentFile,
    place: Place<'a>,
}

enum Place<'a> {
    Disk(Arc<File>),
    Memory(&'a [u32]),
}

impl Source<'_> {
    fn read_whole(
        &self,
        bytes: Range<u64>,
        tokens: u32,
        out: &mut DocumentPiece,
    ) -> Result<DocMeta> {
        let Range { start, end } = bytes;
        self.read_words(start, ((end - start) / 4) as usize, &mut out.words)?;
        let (meta, spans) = self.header(&out.words, tokens)?;
        out.first_id = HEADER_WORDS + SPAN_WORDS * spans;
        if out.words.len() != out.first_id + tokens as usize {
            return Err(self.damaged());
        }
        self.clip(
            &out.words[HEADER_WORDS..out.first_id],
            0,
            tokens,
            &mut out.spans,
        )?;
        Ok(meta)
    }

    /// Reads only what a piece needs: a very long document has very many of them.
    fn read_piece(
        &self,
        start: u64,
        tokens: u32,
        piece: Piece,
        out: &mut DocumentPiece,
    ) -> Result<DocMeta> {
        self.read_words(start, HEADER_WORDS, &mut out.words)?;
        let (meta, spans) = self.header(&out.words, tokens)?;
        let first_span = start + 4 * HEADER_WORDS as u64;
        let span_at = |index: usize| first_span + 4 * (SPAN_WORDS * index) as u64;
        // The first span that ends after the start of the piece, by bisection.
        let (mut low, mut high) = (0, spans);
        while low < high {
            let middle = usize::midpoint(low, high);
            self.read_words(span_at(middle), 1, &mut out.words)?;
            if out.words[0] <= piece.start {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let last = piece.start + piece.len;
        while low < spans && out.spans.last().is_none_or(|span| span.end < piece.len) {
            let block = SPAN_BLOCK.min(spans - low);
            self.read_words(span_at(low), SPAN_WORDS * block, &mut out.words)?;
            self.clip(&out.words, piece.start, last, &mut out.spans)?;
            low += block;
        }
        let first_id = span_at(spans) + 4 * u64::from(piece.start);
        self.read_words(first_id, piece.len as usize, &mut out.words)?;
        out.first_id = 0;
        Ok(meta)
    }

    fn header(&self, words: &[u32], tokens: u32) -> Result<(DocMeta, usize)> {
        let &[
            source,
            part,
            line,
            line_high,
            offset,
            offset_high,
            length,
            spans,
        ] = words.first_chunk().ok_or_else(|| self.damaged())?;
        if length != tokens {
            return Err(self.damaged());
        }
        let place = RowPlace {
            source,
            line: u64::from(line) | u64::from(line_high) << 32,
            offset: u64::from(offset) | u64::from(offset_high) << 32,
        };
        Ok((DocMeta { place, part }, spans as usize))
    }

    /// Appends the spans that lie in tokens `first..last`, cut to it and counted from `first`.
    fn clip(&self, words: &[u32], first: u32, last: u32, out: &mut Vec<TokenSpan>) -> Result<()> {
        let mut from = out.last().map_or(first, |span| first + span.end);
        for &[end, message, kind, weight] in words.as_chunks::<SPAN_WORDS>().0 {
            let to = end.min(last);
            if to <= from {
                continue;
            }
            from = to;
            let flags = (kind >> 8) as u8;
            out.push(TokenSpan {
                end: to - first,
                message,
                kind: SpanKind::from_u8(kind as u8).ok_or_else(|| self.damaged())?,
                trained: flags & FLAG_TRAINED != 0,
                straddles: flags & FLAG_STRADDLES != 0,
                border: border_of(flags),
                repeated: flags & FLAG_REPEATED != 0,
                continues: flags & FLAG_CONTINUES != 0,
                weight: f32::from_bits(weight),
            });
        }
        Ok(())
    }

    fn read_words(&self, offset: u64, count: usize, words: &mut Vec<u32>) -> Result<()> {
        words.clear();
        match &self.place {
            Place::Memory(held) => {
                let from = (offset / 4) as usize;
                let part = held.get(from..from + count);
                words.extend_from_slice(part.ok_or_else(|| self.damaged())?);
                Ok(())
            }
            Place::Disk(file) => {
                words.resize(count, 0);
                read_exact_at(file, bytemuck::cast_slice_mut(words), offset)
                    .map_err(|error| Error::io(Code::OutputIo, &self.file.path, &error))
            }
        }
    }

    fn damaged(&self) -> Error {
        let message = "the temporary segment is not what was written to it";
        Error::new(Code::OutputIo, message)
            .at_path(&self.file.path)
            .hint("another program changed it, or the disk is failing; run again")
    }
}

#[cfg(unix)]
fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut buffer: &mut [u8], mut offset: u64) -> std::io::Result<()> {
    while !buffer.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, buffer, offset) {
            Ok(0) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => {
                buffer = &mut buffer[n..];
                offset += n as u64;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "segment_tests.rs"]
mod tests;
