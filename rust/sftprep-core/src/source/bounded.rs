//! A file for the Parquet decoder that refuses ranges beyond its end before memory is set aside.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};

use bytes::Bytes;
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};

/// A file of a known length.
pub(super) struct BoundedFile {
    file: File,
    length: u64,
}

impl BoundedFile {
    pub(super) fn new(file: File) -> Result<Self> {
        let length = file.metadata()?.len();
        Ok(Self { file, length })
    }
}

impl Length for BoundedFile {
    fn len(&self) -> u64 {
        self.length
    }
}

impl ChunkReader for BoundedFile {
    type T = BufReader<File>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        let mut file = self.file.try_clone()?;
        file.seek(SeekFrom::Start(start))?;
        Ok(BufReader::new(file))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let end = start.checked_add(length as u64);
        if end.is_none_or(|end| end > self.length) {
            let message = format!("{length} bytes at {start} are beyond the end of the file");
            return Err(ParquetError::General(message));
        }
        let mut bytes = vec![0; length];
        let mut file = self.file.try_clone()?;
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut bytes)?;
        Ok(bytes.into())
    }
}
