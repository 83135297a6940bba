//! Files of rows that stay: in order of reading or in another, once or repeated, in one or several.

use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::target::{Target, folder};
use super::verdict::Row;
use crate::error::{Code, Error, Result};

/// Bytes of a writer's buffer.
const BUFFER: usize = 1 << 18;

/// Rows that stay, as indices, in the order in which they are written.
pub(super) fn order_of(rows: &[Row], order: Option<&[i64]>) -> Vec<usize> {
    let mut kept: Vec<usize> = (0..rows.len())
        .filter(|&at| rows[at].written() > 0)
        .collect();
    if let Some(order) = order {
        kept.sort_by_key(|&at| (order[at], at)); // equal positions keep the order of reading
    }
    kept
}

/// Per row the number (from 1) of the first line that it takes in its output.
pub(super) fn lines_of(rows: &[Row], kept: &[usize], parts: usize) -> Vec<Option<u64>> {
    let mut next = vec![1_u64; parts];
    let mut lines = vec![None; rows.len()];
    for &at in kept {
        let part = &mut next[usize::from(rows[at].part)];
        lines[at] = Some(*part);
        *part += u64::from(rows[at].written());
    }
    lines
}

/// The files of an output while they are written.
pub(super) struct KeptFiles<'t> {
    target: &'t Target,
    files: Vec<BufWriter<NamedTempFile>>,
    spool: Option<Spool>,
}

/// Rows in the order of reading, to be copied in another one.
struct Spool {
    file: BufWriter<NamedTempFile>,
    /// Per row that stays: its index, and where it is.
    places: Vec<(usize, u64, usize)>,
    end: u64,
}

impl<'t> KeptFiles<'t> {
    /// Files that replace those of `target` once they are finished; `ordered` if rows are not
    /// written in the order of reading.
    pub(super) fn new(target: &'t Target, ordered: bool) -> Result<Self> {
        let open = |path: &PathBuf| {
            let file = NamedTempFile::new_in(folder(path)).map_err(io(path))?;
            Ok(BufWriter::with_capacity(BUFFER, file))
        };
        let files = target.places.iter().map(|place| open(&place.out));
        let spool = match target.places.first() {
            Some(place) if ordered => Some(Spool {
                file: open(&place.out)?,
                places: Vec::new(),
                end: 0,
            }),
            _ => None,
        };
        Ok(Self {
            files: files.collect::<Result<_>>()?,
            target,
            spool,
        })
    }

    /// Takes the row of index `at`, which stays.
    pub(super) fn push(&mut self, at: usize, row: &Row, json: &[u8]) -> Result<()> {
        if let Some(spool) = &mut self.spool {
            let failed = io(&self.target.places[0].out);
            spool.file.write_all(json).map_err(failed)?;
            spool.places.push((at, spool.end, json.len()));
            spool.end += json.len() as u64;
            return Ok(());
        }
        self.write(row, json)
    }

    fn write(&mut self, row: &Row, json: &[u8]) -> Result<()> {
        let part = usize::from(row.part);
        let file = &mut self.files[part];
        let failed = io(&self.target.places[part].out);
        for _ in 0..row.written() {
            let written = file.write_all(json).and_then(|()| file.write_all(b"\n"));
            written.map_err(&failed)?;
        }
        Ok(())
    }

    /// Writes what is left, and gives the finished files in the order of the target's places.
    pub(super) fn finish(mut self, rows: &[Row], kept: &[usize]) -> Result<Vec<NamedTempFile>> {
        if let Some(spool) = self.spool.take() {
            let failed = io(&self.target.places[0].out);
            let mut spooled = spool
                .file
                .into_inner()
                .map_err(|error| failed(error.into_error()))?;
            let mut places = vec![(0, 0); rows.len()];
            for (at, start, len) in spool.places {
                places[at] = (start, len);
            }
            let mut json = Vec::new();
            for &at in kept {
                let (start, len) = places[at];
                json.resize(len, 0);
                let file = spooled.as_file_mut();
                let read = file
                    .seek(SeekFrom::Start(start))
                    .and_then(|_| file.read_exact(&mut json));
                read.map_err(&failed)?;
                self.write(&rows[at], &json)?;
            }
        }
        let mut done = Vec::with_capacity(self.files.len());
        for (file, place) in self.files.into_iter().zip(&self.target.places) {
            let failed = io(&place.out);
            let file = file.into_inner();
            let file = file.map_err(|error| failed(error.into_error()))?;
            file.as_file().sync_all().map_err(failed)?;
            done.push(file);
        }
        Ok(done)
    }
}

/// Errors of writing to a place.
pub(super) fn io(path: &Path) -> impl Fn(std::io::Error) -> Error {
    let path = path.to_owned();
    move |error| Error::io(Code::OutputIo, &path, &error)
}
