//! A file for the Parquet decoder that refuses ranges beyond its end before memory is set aside.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::sync::Arc;

use bytes::Bytes;
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};

use super::gauge::{Gauge, unpacked_page_bytes};

/// A file of a known length, whose pages are counted before they are unpacked.
pub(super) struct BoundedFile {
    file: File,
    length: u64,
    gauge: Arc<Gauge>,
}

impl BoundedFile {
    pub(super) fn new(file: File, gauge: Arc<Gauge>) -> Result<Self> {
        let length = file.metadata()?.len();
        Ok(Self {
            file,
            length,
            gauge,
        })
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
        let mut reader = BufReader::new(file);
        // what is read in this way begins with the header of a page
        match unpacked_page_bytes(reader.fill_buf()?) {
            Some(bytes) if !self.gauge.take(bytes) => {
                let message = format!("a page of {bytes} bytes does not fit in the memory budget");
                Err(ParquetError::General(message))
            }
            _ => Ok(reader),
        }
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
