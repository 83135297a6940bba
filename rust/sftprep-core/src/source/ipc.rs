//! Record batches of an Arrow IPC stream, whose declared sizes are checked before they are used.
//!
//! The library's own readers trust the sizes that a file declares: a damaged one makes them ask
//! for more memory than there is, which ends the process. So messages are cut out here, each no
//! longer than what is left of the file, and only then decoded. An IPC file is a stream between
//! two magic words, and is read as one; its footer serves random access, which nothing here needs.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};

use arrow_array::RecordBatch;
use arrow_buffer::{Buffer, MutableBuffer};
use arrow_ipc::reader::StreamDecoder;
use arrow_ipc::{Message, RecordBatch as BatchHeader, root_as_message};
use arrow_schema::{ArrowError, SchemaRef};

/// What stands before every message (and may be missing in files of before 2019).
const CONTINUATION: [u8; 4] = [0xff; 4];
/// Bytes that a compressed buffer may always claim to become.
const CLAIM_BYTES: u64 = 64 << 20;
/// Beyond those, how many times its size a compressed buffer may claim to become.
const CLAIM_RATIO: u64 = 1000;

/// The batches of a stream.
pub(super) struct IpcStream {
    file: BufReader<File>,
    left: u64,
    decoder: StreamDecoder,
    schema: SchemaRef,
    undecoded: Buffer,
    ended: bool,
}

impl IpcStream {
    /// A stream that begins where the file stands, `left` bytes before its end.
    pub(super) fn open(file: File, left: u64) -> Result<Self, ArrowError> {
        let mut stream = Self {
            file: BufReader::new(file),
            left,
            decoder: StreamDecoder::new(),
            schema: SchemaRef::new(arrow_schema::Schema::empty()),
            undecoded: Buffer::from(CONTINUATION),
            ended: false,
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
        check_claims(
            &message[4..4 + length as usize],
            &message[4 + length as usize..],
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

/// Compressed buffers begin with the size they become; that is asked for before it is earned.
fn check_claims(metadata: &[u8], body: &[u8]) -> Result<(), ArrowError> {
    let message = header(metadata)?;
    let batch: Option<BatchHeader<'_>> = message
        .header_as_record_batch()
        .or_else(|| message.header_as_dictionary_batch()?.data());
    let Some(batch) = batch.filter(|batch| batch.compression().is_some()) else {
        return Ok(());
    };
    for buffer in batch.buffers().into_iter().flatten() {
        let (start, length) = (buffer.offset() as usize, buffer.length() as usize);
        let bytes = start
            .checked_add(length)
            .and_then(|end| body.get(start..end));
        let Some(bytes) = bytes else {
            return Err(ArrowError::ParseError(
                "a buffer lies outside its message".into(),
            ));
        };
        let Some(claim) = bytes.first_chunk().map(|claim| i64::from_le_bytes(*claim)) else {
            continue;
        };
        let limit = CLAIM_BYTES.max(CLAIM_RATIO * length as u64);
        if u64::try_from(claim).is_ok_and(|claim| claim > limit) {
            let message = format!("a buffer of {length} bytes claims to become {claim}");
            return Err(ArrowError::ParseError(message));
        }
    }
    Ok(())
}

fn ended(message: &str) -> ArrowError {
    let cause = std::io::Error::new(ErrorKind::UnexpectedEof, message);
    ArrowError::IoError(message.to_owned(), cause)
}
