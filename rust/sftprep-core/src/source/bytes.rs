//! The decompressed bytes of one input, hashed and counted as they are read.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use blake3::hazmat::HasherExt;
use flate2::bufread::GzDecoder;

use super::{Compression, InputFile};
use crate::error::{Code, Error, Result};

/// Bytes taken from the file at a time.
const BLOCK: usize = 256 << 10;
/// Decompressed bytes below which no ratio is suspicious.
const BOMB_BYTES: u64 = 1 << 30;
/// Ratio of decompressed to compressed bytes above which an input is refused.
const BOMB_RATIO: u64 = 1000;

/// Size and time of an input when it was opened, to notice that it changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp {
    path: PathBuf,
    bytes: u64,
    modified: Option<SystemTime>,
}

impl Stamp {
    pub(super) fn of(input: &InputFile) -> Result<Self> {
        let meta = std::fs::metadata(&input.path)
            .map_err(|error| Error::io(Code::SourceUnreadable, &input.path, &error))?;
        let stamp = Self {
            path: input.path.clone(),
            bytes: meta.len(),
            modified: meta.modified().ok(),
        };
        if stamp.bytes != input.bytes {
            return Err(stamp.changed(input.bytes, stamp.bytes));
        }
        Ok(stamp)
    }

    /// Fails if the file is no longer what it was, or if another number of bytes was read.
    pub(super) fn check(&self, read: u64) -> Result<()> {
        let now = std::fs::metadata(&self.path);
        let bytes = now.as_ref().map_or(0, std::fs::Metadata::len);
        if bytes != self.bytes || read != self.bytes {
            let seen = if bytes == self.bytes { read } else { bytes };
            return Err(self.changed(self.bytes, seen));
        }
        if now.ok().and_then(|meta| meta.modified().ok()) != self.modified {
            let message = "the file was written to while it was read";
            return Err(self.with_hint(Error::new(Code::SourceChanged, message)));
        }
        Ok(())
    }

    fn changed(&self, before: u64, now: u64) -> Error {
        let message = format!("the file had {before} bytes at first and {now} bytes later");
        self.with_hint(Error::new(Code::SourceChanged, message))
    }

    fn with_hint(&self, error: Error) -> Error {
        error
            .at_path(&self.path)
            .hint("let the writer finish, then run again")
    }
}

/// The bytes as they stand in the file: counted and hashed.
pub(super) struct Raw {
    input: Box<dyn Read + Send>,
    head: io::Cursor<Vec<u8>>,
    hasher: blake3::Hasher,
    bytes: u64,
    /// Which of the bytes that pass are hashed.
    window: Range<u64>,
    failed: bool,
}

impl Raw {
    pub(super) fn new(input: Box<dyn Read + Send>) -> Self {
        Self {
            input,
            head: io::Cursor::default(),
            hasher: blake3::Hasher::new(),
            bytes: 0,
            window: 0..u64::MAX,
            failed: false,
        }
    }

    /// The first bytes (fewer only at the end of the input), which stay to be read.
    fn peek(&mut self, count: usize) -> io::Result<&[u8]> {
        let mut head = Vec::with_capacity(count);
        io::copy(&mut self.by_ref().take(count as u64), &mut head)?;
        self.bytes = 0;
        self.hasher.reset();
        self.head = io::Cursor::new(head);
        Ok(self.head.get_ref())
    }
}

impl Read for Raw {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut count = self.head.read(into)?;
        while count == 0 && !into.is_empty() {
            match self.input.read(into) {
                Ok(0) => return Ok(0),
                Ok(some) => count = some,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.failed = true;
                    return Err(error);
                }
            }
        }
        let now = self.bytes..self.bytes + count as u64;
        let first = self.window.start.clamp(now.start, now.end) - now.start;
        let last = self.window.end.clamp(now.start, now.end) - now.start;
        self.hasher.update(&into[first as usize..last as usize]);
        self.bytes = now.end;
        Ok(count)
    }
}

/// gzip members one after the other, with zero padding after the last as tape tools leave it.
struct Members {
    member: Option<GzDecoder<BufReader<Raw>>>,
}

impl Members {
    fn raw(&self) -> Option<&BufReader<Raw>> {
        self.member.as_ref().map(GzDecoder::get_ref)
    }

    /// Goes to the next member; false at the end.
    fn advance(&mut self) -> io::Result<bool> {
        let Some(done) = self.member.take() else {
            return Ok(false);
        };
        let mut rest = done.into_inner();
        loop {
            let block = rest.fill_buf()?;
            let zeros = block.iter().take_while(|byte| **byte == 0).count();
            let (end, clean) = (block.is_empty(), zeros == block.len());
            let next = block.get(zeros).is_some_and(|byte| *byte == 0x1f);
            rest.consume(zeros);
            if end || next || !clean {
                self.member = Some(GzDecoder::new(rest));
                return match (end, next) {
                    (true, _) => Ok(false),
                    (_, true) => Ok(true),
                    _ => Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "there are other bytes after the end of the gzip data",
                    )),
                };
            }
        }
    }
}

impl Read for Members {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let count = member.read(into)?;
            if count > 0 || into.is_empty() {
                return Ok(count);
            }
            if !self.advance()? {
                break;
            }
        }
        Ok(0)
    }
}

enum Decoder {
    Plain(Box<Raw>),
    Gzip(Box<Members>),
    Zstd(Box<zstd::stream::read::Decoder<'static, BufReader<Raw>>>),
}

/// The decompressed bytes of one input.
pub(super) struct ByteStream {
    decoder: Decoder,
    head: io::Cursor<Vec<u8>>,
    path: PathBuf,
    stamp: Option<Stamp>,
    compression: Compression,
    produced: u64,
    ended: bool,
    /// The bytes that are hashed, if they are not the whole file.
    range: Option<Range<u64>>,
}

impl ByteStream {
    /// Opens a plain file one byte before `range`, or at its start, to read the rows of that range
    /// and hash its bytes.
    pub(super) fn open_range(input: &InputFile, range: &Range<u64>) -> Result<Self> {
        let stamp = Stamp::of(input)?;
        let failed = |error: &io::Error| Error::io(Code::SourceUnreadable, &input.path, error);
        let mut file = File::open(&input.path).map_err(|error| failed(&error))?;
        let before = range.start.min(1);
        file.seek(SeekFrom::Start(range.start - before))
            .map_err(|error| failed(&error))?;
        let mut raw = Raw::new(Box::new(file));
        raw.window = before..before + (range.end - range.start);
        raw.hasher.set_input_offset(range.start);
        let mut stream = Self::new(raw, Compression::None, input.path.clone(), Some(stamp))?;
        stream.range = Some(range.clone());
        Ok(stream)
    }

    pub(super) fn open(input: &InputFile) -> Result<Self> {
        if input.is_stdin() {
            return Self::unnamed(Box::new(io::stdin()), &input.path);
        }
        let stamp = Stamp::of(input)?;
        let file = File::open(&input.path)
            .map_err(|error| Error::io(Code::SourceUnreadable, &input.path, &error))?;
        let raw = Raw::new(Box::new(file));
        Self::new(raw, input.compression, input.path.clone(), Some(stamp))
    }

    /// An input without a name that would say how it is compressed.
    pub(super) fn unnamed(input: Box<dyn Read + Send>, path: &Path) -> Result<Self> {
        let mut raw = Raw::new(input);
        let head = raw
            .peek(8)
            .map_err(|error| Error::io(Code::SourceUnreadable, path, &error))?;
        let compression = Compression::from_magic(head);
        Self::new(raw, compression, path.to_path_buf(), None)
    }

    pub(super) fn new(
        raw: Raw,
        compression: Compression,
        path: PathBuf,
        stamp: Option<Stamp>,
    ) -> Result<Self> {
        let decoder = match compression {
            Compression::None => Decoder::Plain(Box::new(raw)),
            Compression::Gzip => Decoder::Gzip(Box::new(Members {
                member: Some(GzDecoder::new(BufReader::with_capacity(BLOCK, raw))),
            })),
            Compression::Zstd => {
                let buffered = BufReader::with_capacity(BLOCK, raw);
                let decoder = zstd::stream::read::Decoder::with_buffer(buffered)
                    .map_err(|error| Error::io(Code::SourceCorrupt, &path, &error))?;
                Decoder::Zstd(Box::new(decoder))
            }
        };
        Ok(Self {
            decoder,
            head: io::Cursor::default(),
            path,
            stamp,
            compression,
            produced: 0,
            ended: false,
            range: None,
        })
    }

    /// The first decompressed bytes (fewer only at the end), which stay to be read.
    pub(super) fn peek(&mut self, count: usize) -> Result<&[u8]> {
        let mut head = vec![0; count];
        let mut filled = 0;
        while filled < count {
            match self.read(&mut head[filled..])? {
                0 => break,
                some => filled += some,
            }
        }
        head.truncate(filled);
        self.head = io::Cursor::new(head);
        Ok(self.head.get_ref())
    }

    /// Reads some bytes; 0 only at the end.
    pub(super) fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        let ahead = self.head.read(into).unwrap_or(0); // reading memory does not fail
        if ahead > 0 || self.ended {
            return Ok(ahead);
        }
        let outcome = match &mut self.decoder {
            Decoder::Plain(raw) => raw.read(into),
            Decoder::Gzip(members) => members.read(into),
            Decoder::Zstd(decoder) => decoder.read(into),
        };
        let count = outcome.map_err(|error| self.error(&error))?;
        self.produced += count as u64;
        self.ended = count == 0 && !into.is_empty();
        self.check_bomb()?;
        Ok(count)
    }

    /// Bytes taken from the file so far.
    pub(super) fn raw_bytes(&self) -> u64 {
        self.raw().map_or(0, |raw| raw.bytes)
    }

    /// After the end: size and BLAKE3 of the file as it was read; of a range its size and, as the
    /// hash, its chaining value.
    pub(super) fn finish(self) -> Result<(u64, String)> {
        if let (Some(range), Some(raw), Some(stamp)) = (&self.range, self.raw(), &self.stamp) {
            // nothing past the range needs to have been read, everything in it has to
            let whole = raw.bytes >= raw.window.end;
            stamp.check(if whole { stamp.bytes } else { raw.bytes })?;
            let value = blake3::Hash::from_bytes(raw.hasher.finalize_non_root());
            return Ok((range.end - range.start, value.to_hex().to_string()));
        }
        let (bytes, hash) = self.raw().map_or_else(
            || (0, blake3::Hasher::new().finalize()),
            |raw| (raw.bytes, raw.hasher.finalize()),
        );
        if let Some(stamp) = &self.stamp {
            stamp.check(bytes)?;
        }
        Ok((bytes, hash.to_hex().to_string()))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn raw(&self) -> Option<&Raw> {
        match &self.decoder {
            Decoder::Plain(raw) => Some(raw),
            Decoder::Gzip(members) => members.raw().map(BufReader::get_ref),
            Decoder::Zstd(decoder) => Some(decoder.get_ref().get_ref()),
        }
    }

    fn check_bomb(&self) -> Result<()> {
        if self.produced <= BOMB_BYTES {
            return Ok(());
        }
        let (bytes, ahead) = match &self.decoder {
            Decoder::Plain(_) => return Ok(()),
            Decoder::Gzip(members) => members
                .raw()
                .map_or((0, 0), |raw| (raw.get_ref().bytes, raw.buffer().len())),
            Decoder::Zstd(decoder) => {
                let raw = decoder.get_ref();
                (raw.get_ref().bytes, raw.buffer().len())
            }
        };
        let taken = bytes.saturating_sub(ahead as u64).max(1);
        if self.produced / taken < BOMB_RATIO {
            return Ok(());
        }
        let message = format!(
            "{taken} compressed bytes became {} bytes, more than {BOMB_RATIO} times as many",
            self.produced
        );
        Err(Error::new(Code::SourceBomb, message)
            .at_path(&self.path)
            .hint("unpack the file yourself if you trust it"))
    }

    fn error(&self, error: &io::Error) -> Error {
        if self.raw().is_none_or(|raw| raw.failed) {
            return Error::io(Code::SourceUnreadable, &self.path, error);
        }
        let at = self.produced;
        if error.kind() == io::ErrorKind::UnexpectedEof {
            let message = format!(
                "the {} data ends before its end, after {at} decompressed bytes",
                self.compression
            );
            return Error::new(Code::SourceTruncated, message)
                .at_path(&self.path)
                .hint("fetch the file again; its last bytes are missing");
        }
        let message = format!(
            "the {} data is damaged after {at} decompressed bytes: {error}",
            self.compression
        );
        Error::new(Code::SourceCorrupt, message)
            .at_path(&self.path)
            .hint("fetch the file again, or compress it again")
    }
}
