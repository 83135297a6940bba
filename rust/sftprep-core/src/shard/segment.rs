//! The temporary segment: tokenized documents on disk between the map phase and the gathering.
//!
//! Documents are appended in input order and read back in the order of the plan. Only 12 bytes per
//! document stay in memory (its length, which the plan needs, and its offset). Reads are positioned
//! reads and not a memory map: the whole segment is read once in random order, and pages of a map
//! would count as the process's own memory until the kernel takes them back.
//!
//! The layout is private to one run of one version: little-endian 32-bit words; per document 8
//! words of header (source, part, line, byte offset, tokens, spans), 4 words per span (end,
//! message, kind and flags, weight), then the ids.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::error::{Code, Error, Result};
use crate::types::{Example, Piece, RowPlace, SpanKind, TokenSpan};

const HEADER_WORDS: usize = 8;
const SPAN_WORDS: usize = 4;

/// Bytes gathered before a write call.
const BUFFER: usize = 1 << 20;

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

/// Appends documents to a segment.
#[derive(Debug)]
pub struct SegmentWriter {
    out: BufWriter<File>,
    path: PathBuf,
    lengths: Vec<u32>,
    offsets: Vec<u64>,
    /// Bytes written.
    end: u64,
    words: Vec<u32>,
}

impl SegmentWriter {
    /// Starts a segment in `dir`, which is a folder for temporary files.
    pub fn create(dir: &Path) -> Result<Self> {
        let path = dir.join("segment-00000.tmp");
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .map_err(|error| Error::io(Code::OutputIo, &path, &error))?;
        Ok(Self {
            out: BufWriter::with_capacity(BUFFER, file),
            path,
            lengths: Vec::new(),
            offsets: Vec::new(),
            end: 0,
            words: Vec::new(),
        })
    }

    /// Appends a document.
    ///
    /// # Errors
    ///
    /// `run.internal` if the document is empty, if its spans do not partition its tokens, or if an
    /// id does not fit in 31 bits; `output.*` if it cannot be written.
    pub fn append(&mut self, example: &Example, meta: DocMeta) -> Result<()> {
        check_example(example, meta)?;
        let DocMeta { place, part } = meta;
        let words = &mut self.words;
        words.clear();
        words.extend([place.source, part]);
        words.extend([place.line as u32, (place.line >> 32) as u32]);
        words.extend([place.offset as u32, (place.offset >> 32) as u32]);
        words.extend([example.input_ids.len() as u32, example.spans.len() as u32]);
        for span in &example.spans {
            let flags = u32::from(span.trained) << 8 | u32::from(span.straddles) << 9;
            let kind = u32::from(span.kind as u8) | flags;
            words.extend([span.end, span.message, kind, span.weight.to_bits()]);
        }
        let written = self
            .out
            .write_all(bytemuck::cast_slice(words))
            .and_then(|()| self.out.write_all(bytemuck::cast_slice(&example.input_ids)));
        written.map_err(|error| Error::io(Code::OutputIo, &self.path, &error))?;
        self.lengths.push(example.input_ids.len() as u32);
        self.offsets.push(self.end);
        self.end += 4 * (words.len() + example.input_ids.len()) as u64;
        Ok(())
    }

    /// Lengths of the documents so far, in tokens: what the plan is made of.
    pub fn lengths(&self) -> &[u32] {
        &self.lengths
    }

    /// Bytes on disk so far, about.
    pub fn bytes(&self) -> u64 {
        self.end
    }

    /// Ends the writing; documents can be read from now on.
    pub fn finish(self) -> Result<SegmentReader> {
        let file = self
            .out
            .into_inner()
            .map_err(|error| Error::io(Code::OutputIo, &self.path, error.error()))?;
        Ok(SegmentReader {
            file,
            path: self.path,
            lengths: self.lengths,
            offsets: self.offsets,
            end: self.end,
        })
    }
}

fn check_example(example: &Example, meta: DocMeta) -> Result<()> {
    let bad = |what: String| {
        let at = meta.place;
        let message = format!("{what} (source {}, line {})", at.source, at.line);
        Err(Error::new(Code::RunInternal, message))
    };
    let tokens = example.input_ids.len();
    if tokens == 0 || tokens >= u32::MAX as usize {
        return bad(format!("a document of {tokens} tokens"));
    }
    if let Some(id) = example.input_ids.iter().find(|&&id| id > i32::MAX as u32) {
        return bad(format!("token id {id} does not fit in 31 bits"));
    }
    let mut last = 0;
    for span in &example.spans {
        if span.end < last {
            return bad(format!("span end {} after {last}", span.end));
        }
        last = span.end;
    }
    if last as usize != tokens {
        return bad(format!("spans end at {last} of {tokens} tokens"));
    }
    Ok(())
}

/// Reads documents of a segment, from any number of threads.
#[derive(Debug)]
pub struct SegmentReader {
    file: File,
    path: PathBuf,
    lengths: Vec<u32>,
    offsets: Vec<u64>,
    end: u64,
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
        if piece.start == 0 && piece.len == tokens {
            self.read_whole(document, tokens, out)
        } else {
            self.read_piece(document, tokens, piece, out)
        }
    }

    fn read_whole(&self, document: usize, tokens: u32, out: &mut DocumentPiece) -> Result<DocMeta> {
        let start = self.offsets[document];
        let end = self.offsets.get(document + 1).copied().unwrap_or(self.end);
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
        document: usize,
        tokens: u32,
        piece: Piece,
        out: &mut DocumentPiece,
    ) -> Result<DocMeta> {
        let start = self.offsets[document];
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
            out.push(TokenSpan {
                end: to - first,
                message,
                kind: SpanKind::from_u8(kind as u8).ok_or_else(|| self.damaged())?,
                trained: kind & 1 << 8 != 0,
                straddles: kind & 1 << 9 != 0,
                weight: f32::from_bits(weight),
            });
        }
        Ok(())
    }

    fn read_words(&self, offset: u64, count: usize, words: &mut Vec<u32>) -> Result<()> {
        words.clear();
        words.resize(count, 0);
        read_exact_at(&self.file, bytemuck::cast_slice_mut(words), offset)
            .map_err(|error| Error::io(Code::OutputIo, &self.path, &error))
    }

    fn damaged(&self) -> Error {
        let message = "the temporary segment is not what was written to it";
        Error::new(Code::OutputIo, message)
            .at_path(&self.path)
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
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::shard::testing::{example, meta};

    proptest! {
        #[test]
        fn what_is_read_is_what_was_appended(
            seeds in prop::collection::vec((1u32..600, any::<u64>()), 1..20),
            cut in any::<u64>(),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let mut writer = SegmentWriter::create(dir.path()).unwrap();
            let examples: Vec<Example> = seeds.iter().map(|(n, seed)| example(*n, *seed)).collect();
            for (index, example) in examples.iter().enumerate() {
                writer.append(example, meta(index as u32)).unwrap();
            }
            let reader = writer.finish().unwrap();
            let mut piece = DocumentPiece::default();
            for (index, example) in (0..).zip(&examples) {
                let len = example.input_ids.len() as u32;
                let whole = Piece { document: index, start: 0, len };
                prop_assert_eq!(reader.read(whole, &mut piece).unwrap(), meta(index));
                prop_assert_eq!(piece.input_ids(), &example.input_ids[..]);
                let solid: Vec<TokenSpan> = piece.spans().to_vec();
                let start = (cut % u64::from(len)) as u32;
                let part = 1 + (cut >> 32) as u32 % (len - start);
                let cut = Piece { document: index, start, len: part };
                prop_assert_eq!(reader.read(cut, &mut piece).unwrap(), meta(index));
                let range = start as usize..(start + part) as usize;
                prop_assert_eq!(piece.input_ids(), &example.input_ids[range.clone()]);
                // Token by token, the piece's spans say what the document's spans say.
                let says = |spans: &[TokenSpan], token: u32| {
                    let span = spans[spans.partition_point(|span| span.end <= token)];
                    (span.kind, span.message, span.trained, span.straddles, span.weight.to_bits())
                };
                for token in range {
                    let token = token as u32;
                    prop_assert_eq!(says(piece.spans(), token - start), says(&solid, token));
                    prop_assert_eq!(says(&example.spans, token), says(&solid, token));
                }
                prop_assert_eq!(piece.spans().last().unwrap().end, part);
            }
        }
    }

    #[test]
    fn what_cannot_be_a_document_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = SegmentWriter::create(dir.path()).unwrap();
        let whole = example(5, 1);
        let mut refused = |example: &Example| {
            let error = writer.append(example, meta(7)).unwrap_err();
            assert_eq!(error.code, Code::RunInternal);
            error.message
        };
        assert!(refused(&Example::default()).contains("0 tokens"));
        let mut short = whole.clone();
        short.input_ids.push(1);
        assert!(refused(&short).contains("spans end at 5 of 6 tokens"));
        let mut large = whole;
        large.input_ids[2] = 1 << 31;
        assert!(refused(&large).contains("2147483648"));
        let reader = writer.finish().unwrap();
        assert!(reader.is_empty());
        let piece = Piece {
            document: 0,
            start: 0,
            len: 1,
        };
        let error = reader
            .read(piece, &mut DocumentPiece::default())
            .unwrap_err();
        assert_eq!(error.code, Code::RunInternal);
    }
}
