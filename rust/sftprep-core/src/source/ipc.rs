//! Record batches of Arrow IPC files and streams, whose declared sizes are checked before use.
//!
//! The library's own readers trust the sizes that a file declares: a damaged one makes them ask
//! for more memory than there is, which ends the process. So messages are cut out here, each no
//! longer than what is left of the file, and only then decoded. One batch is in memory at a time.
//!
//! A file is read by its footer, though by the specification it holds a stream between its magic
//! words: some writers leave the stream's framing out there.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_buffer::{Buffer, MutableBuffer};
use arrow_ipc::convert::try_fb_to_schema;
use arrow_ipc::reader::{FileDecoder, StreamDecoder};
use arrow_ipc::{Block, Message, RecordBatch as BatchHeader, root_as_footer, root_as_message};
use arrow_schema::{ArrowError, SchemaRef};

use super::gauge::Gauge;

/// What stands before every message (and may be missing in files of before 2019).
const CONTINUATION: [u8; 4] = [0xff; 4];
/// Bytes that a compressed buffer may always claim to become.
const CLAIM_BYTES: u64 = 64 << 20;
/// Beyond those, how many times its size a compressed buffer may claim to become.
const CLAIM_RATIO: u64 = 1000;

/// Bytes after the footer: its length and the magic word.
const TRAILER: u64 = 10;

/// The batches of a file.
pub(super) struct IpcFile {
    file: File,
    length: u64,
    bytes_read: u64,
    decoder: FileDecoder,
    schema: SchemaRef,
    batches: std::vec::IntoIter<Block>,
    gauge: Arc<Gauge>,
}

impl IpcFile {
    /// A file that ends with the magic word.
    pub(super) fn open(mut file: File, gauge: Arc<Gauge>) -> Result<Self, ArrowError> {
        let length = file.metadata()?.len();
        let mut size = [0; 4];
        file.seek(SeekFrom::End(-(TRAILER as i64)))?;
        file.read_exact(&mut size)?;
        let size = u64::from(u32::from_le_bytes(size));
        let start = length.checked_sub(TRAILER + size);
        let start = start.ok_or_else(|| ended("the footer is longer than the file"))?;
        let mut footer = vec![0; size as usize];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut footer)?;
        let footer =
            root_as_footer(&footer).map_err(|error| ArrowError::ParseError(error.to_string()))?;
        let missing = |what: &str| ArrowError::ParseError(format!("the footer has no {what}"));
        let schema = footer.schema().ok_or_else(|| missing("schema"))?;
        let schema = Arc::new(try_fb_to_schema(schema)?);
        let batches = footer.recordBatches().ok_or_else(|| missing("batches"))?;
        let mut opened = Self {
            file,
            length,
            bytes_read: 0,
            decoder: FileDecoder::new(schema.clone(), footer.version()),
            schema,
            batches: batches.iter().copied().collect::<Vec<_>>().into_iter(),
            gauge,
        };
        for block in footer.dictionaries().into_iter().flatten() {
            let message = opened.read(block)?;
            opened.decoder.read_dictionary(block, &message)?;
        }
        Ok(opened)
    }

    pub(super) fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// The next batch; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<RecordBatch>, ArrowError> {
        while let Some(block) = self.batches.next() {
            let message = self.read(&block)?;
            if let Some(batch) = self.decoder.read_record_batch(&block, &message)? {
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }

    fn read(&mut self, block: &Block) -> Result<Buffer, ArrowError> {
        let wrong = || damaged("a block lies outside the file");
        let start = u64::try_from(block.offset()).map_err(|_| wrong())?;
        let metadata = usize::try_from(block.metaDataLength()).map_err(|_| wrong())?;
        let body = usize::try_from(block.bodyLength()).map_err(|_| wrong())?;
        let length = metadata.checked_add(body).ok_or_else(wrong)?;
        let end = start.checked_add(length as u64).ok_or_else(wrong)?;
        if metadata < 8 || end > self.length {
            return Err(wrong());
        }
        room(&self.gauge, length as u64)?;
        let mut message = MutableBuffer::from_len_zeroed(length);
        self.file.seek(SeekFrom::Start(start))?;
        self.file.read_exact(&mut message)?;
        let prefix = if message[..4] == CONTINUATION { 8 } else { 4 };
        check_buffers(
            &message[prefix..metadata],
            &message[metadata..],
            &self.gauge,
        )?;
        self.bytes_read += length as u64;
        Ok(message.into())
    }

    /// Bytes of batches read so far.
    pub(super) fn bytes_read(&self) -> u64 {
        self.bytes_read
    }
}

/// The batches of a stream.
pub(super) struct IpcStream {
    file: BufReader<File>,
    length: u64,
    left: u64,
    decoder: StreamDecoder,
    schema: SchemaRef,
    undecoded: Buffer,
    ended: bool,
    gauge: Arc<Gauge>,
}

impl IpcStream {
    /// A stream that begins where the file stands, `length` bytes before its end.
    pub(super) fn open(file: File, length: u64, gauge: Arc<Gauge>) -> Result<Self, ArrowError> {
        let mut stream = Self {
            file: BufReader::new(file),
            length,
            left: length,
            decoder: StreamDecoder::new(),
            schema: SchemaRef::new(arrow_schema::Schema::empty()),
            undecoded: Buffer::from(CONTINUATION),
            ended: false,
            gauge,
        };
        while stream.decoder.schema().is_none() {
            let first = stream.decode()?;
            if first.is_some() || (stream.undecoded.is_empty() && !stream.read_message()?) {
                return Err(ended("the stream has no schema"));
            }
        }
        if let Some(schema) = stream.decoder.schema() {
            stream.schema = schema;
        }
        Ok(stream)
    }

    pub(super) fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// The next batch; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<RecordBatch>, ArrowError> {
        loop {
            if let Some(batch) = self.decode()? {
                return Ok(Some(batch));
            }
            if !self.read_message()? {
                return Ok(None);
            }
        }
    }

    /// Bytes read so far.
    pub(super) fn bytes_read(&self) -> u64 {
        self.length - self.left
    }

    fn decode(&mut self) -> Result<Option<RecordBatch>, ArrowError> {
        while !self.undecoded.is_empty() {
            if let Some(batch) = self.decoder.decode(&mut self.undecoded)? {
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }

    /// Reads one message; false at the end of the stream.
    fn read_message(&mut self) -> Result<bool, ArrowError> {
        if self.ended || self.left == 0 {
            return Ok(false);
        }
        let mut size = [0; 4];
        self.fill(&mut size)?;
        if size == CONTINUATION {
            self.fill(&mut size)?;
        }
        let length = u64::from(u32::from_le_bytes(size));
        if length == 0 {
            self.ended = true;
            return Ok(false);
        }
        let mut message = MutableBuffer::new(0);
        message.extend_from_slice(&size);
        self.append(&mut message, length)?;
        let body = body_length(&message[4..])?;
        self.append(&mut message, body)?;
        check_buffers(
            &message[4..4 + length as usize],
            &message[4 + length as usize..],
            &self.gauge,
        )?;
        // A message without a body is decoded only when something follows it.
        message.extend_from_slice(&CONTINUATION);
        self.undecoded = message.into();
        Ok(true)
    }

    fn append(&mut self, message: &mut MutableBuffer, count: u64) -> Result<(), ArrowError> {
        if count > self.left {
            return Err(ended("the stream ends within a message"));
        }
        room(&self.gauge, count)?;
        let start = message.len();
        message.resize(start + count as usize, 0);
        self.fill(&mut message[start..])
    }

    fn fill(&mut self, into: &mut [u8]) -> Result<(), ArrowError> {
        if into.len() as u64 > self.left {
            return Err(ended("the stream ends within a message"));
        }
        self.left -= into.len() as u64;
        Ok(self.file.read_exact(into)?)
    }
}

fn header(metadata: &[u8]) -> Result<Message<'_>, ArrowError> {
    root_as_message(metadata).map_err(|error| ArrowError::ParseError(error.to_string()))
}

fn body_length(metadata: &[u8]) -> Result<u64, ArrowError> {
    let length = header(metadata)?.bodyLength();
    length
        .try_into()
        .map_err(|_| ArrowError::ParseError(format!("a message has {length} bytes")))
}

/// Refuses buffers that lie outside their message, and compressed ones that claim to become more
/// than they can: they begin with that size, and it is asked for before it is earned.
fn check_buffers(metadata: &[u8], body: &[u8], gauge: &Gauge) -> Result<(), ArrowError> {
    let message = header(metadata)?;
    let batch: Option<BatchHeader<'_>> = message
        .header_as_record_batch()
        .or_else(|| message.header_as_dictionary_batch()?.data());
    let Some(batch) = batch else {
        return Ok(());
    };
    for buffer in batch.buffers().into_iter().flatten() {
        let (start, length) = (buffer.offset() as usize, buffer.length() as usize);
        let bytes = start
            .checked_add(length)
            .and_then(|end| body.get(start..end));
        let bytes = bytes.ok_or_else(|| damaged("a buffer lies outside its message"))?;
        let claim = match batch.compression() {
            Some(_) => bytes.first_chunk().map(|claim| i64::from_le_bytes(*claim)),
            None => None,
        };
        let limit = CLAIM_BYTES.max(CLAIM_RATIO.saturating_mul(length as u64));
        if claim.and_then(|claim| u64::try_from(claim).ok()) > Some(limit) {
            return Err(damaged("a buffer claims to become more than it can"));
        }
        room(
            gauge,
            claim.and_then(|claim| claim.try_into().ok()).unwrap_or(0),
        )?;
    }
    Ok(())
}

/// Refuses what is more than the memory budget has for a record batch.
fn room(gauge: &Gauge, bytes: u64) -> Result<(), ArrowError> {
    if gauge.take(bytes) {
        return Ok(());
    }
    let message = "a record batch does not fit in the memory budget";
    Err(ArrowError::MemoryError(message.to_owned()))
}

fn damaged(message: &str) -> ArrowError {
    ArrowError::ParseError(message.to_owned())
}

fn ended(message: &str) -> ArrowError {
    let cause = std::io::Error::new(ErrorKind::UnexpectedEof, message);
    ArrowError::IoError(message.to_owned(), cause)
}
