//! A file of a dataset in memory, with every access checked against what is really there.

use std::fs::File;
use std::path::Path;

use bytemuck::AnyBitPattern;
use memmap2::Mmap;

use crate::error::{Code, Error, Result};

use super::manifest::FileInfo;

// The files are little-endian, and so are all views on them.
#[cfg(target_endian = "big")]
compile_error!("sftprep reads and writes little-endian shards in place");

/// A mapped file and what the manifest says of it.
#[derive(Debug)]
pub(super) struct MappedFile {
    bytes: Option<Mmap>, // an empty file cannot be mapped
    info: FileInfo,
}

impl MappedFile {
    /// Maps a file of the dataset in `dir`; its size must be the one that the manifest gives.
    pub(super) fn open(dir: &Path, info: &FileInfo) -> Result<Self> {
        let path = dir.join(&info.name);
        let failed = |error: &std::io::Error| Error::io(Code::ShardCorrupt, &path, error);
        let file = File::open(&path).map_err(|error| failed(&error))?;
        let found = file.metadata().map_err(|error| failed(&error))?;
        if !found.is_file() || found.len() != info.bytes {
            let message = format!("{} bytes, the manifest says {}", found.len(), info.bytes);
            return Err(Error::new(Code::ShardCorrupt, message).at_path(path));
        }
        if info.bytes == 0 {
            return Ok(Self {
                bytes: None,
                info: info.clone(),
            });
        }
        // SAFETY: the map is read-only, and what is read through it is checked before it is used
        // as an index or a length, so foreign content cannot cause undefined behaviour here. A
        // process that writes to a finished file changes values under us, and one that truncates
        // it provokes a bus error; sftprep never does either, and FORMAT.md forbids both.
        #[allow(unsafe_code)]
        let bytes = unsafe { Mmap::map(&file) }.map_err(|error| failed(&error))?;
        if bytes.len() as u64 != info.bytes {
            return Err(Error::new(Code::ShardCorrupt, "the file changed its size").at_path(path));
        }
        Ok(Self {
            bytes: Some(bytes),
            info: info.clone(),
        })
    }

    /// Lets go of the pages that were read, which count as the process's memory; they come back when
    /// they are read again.
    pub(super) fn let_go(&self) {
        #[cfg(target_os = "linux")]
        if let Some(bytes) = &self.bytes {
            // SAFETY: the map is of a file and never written to, so a page that is dropped has the
            // same bytes when it is read again as one that stayed.
            #[allow(unsafe_code)]
            let _ = unsafe { bytes.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) };
        }
    }

    pub(super) fn info(&self) -> &FileInfo {
        &self.info
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.as_deref().unwrap_or_default()
    }

    /// A buffer of a record batch.
    pub(super) fn buffer<T: AnyBitPattern>(&self, batch: usize, buffer: usize) -> Result<&[T]> {
        let place = self
            .info
            .batches
            .get(batch)
            .and_then(|batch| batch.buffers.get(buffer));
        let bytes = place.and_then(|&[offset, length]| {
            let start = usize::try_from(offset).ok()?;
            let end = start.checked_add(usize::try_from(length).ok()?)?;
            self.bytes().get(start..end)
        });
        let values = bytes.and_then(|bytes| bytemuck::try_cast_slice(bytes).ok());
        values.ok_or_else(|| self.corrupt(format!("buffer {buffer} of batch {batch} is not whole")))
    }

    /// The items of a list column in one row; `buffer` is that of its offsets.
    pub(super) fn list<T: AnyBitPattern>(
        &self,
        batch: usize,
        buffer: usize,
        row: usize,
    ) -> Result<&[T]> {
        let offsets: &[i32] = self.buffer(batch, buffer)?;
        let values: &[T] = self.buffer(batch, buffer + 1)?;
        let range = match offsets.get(row..).and_then(|offsets| offsets.first_chunk()) {
            Some(&[start, end]) => usize::try_from(start).ok().zip(usize::try_from(end).ok()),
            None => None,
        };
        range
            .and_then(|(start, end)| values.get(start..end))
            .ok_or_else(|| {
                self.corrupt(format!(
                    "list offsets of row {row} of batch {batch} point outside"
                ))
            })
    }

    /// The value of a column of fixed width in one row.
    pub(super) fn value<T: AnyBitPattern>(
        &self,
        batch: usize,
        buffer: usize,
        row: usize,
    ) -> Result<T> {
        let values: &[T] = self.buffer(batch, buffer)?;
        let value = values.get(row).copied();
        value.ok_or_else(|| self.corrupt(format!("batch {batch} has no row {row}")))
    }

    pub(super) fn corrupt(&self, message: String) -> Error {
        Error::new(Code::ShardCorrupt, message)
            .at_path(&self.info.name)
            .hint("run `sftprep verify --full`; fetch or pack the dataset again")
    }
}
