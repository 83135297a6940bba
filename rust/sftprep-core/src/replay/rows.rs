//! Rows of an input by their places: one by seeking where that can be done, many in one pass.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use sftprep_template::Data;

use super::{Replay, Source};
use crate::error::{Code, Error, Reject, Result};
use crate::format::{Format, Parser, detect};
use crate::json::{self, JsonNotes};
use crate::pipeline::row_parser;
use crate::source::{self, Compression, InputFile, Kind, ReadOptions, Reader};
use crate::types::{Record, RowPlace, Sample};

/// Rows looked at to detect a format, and bytes of the chunk that they come from, as packing does.
const DETECT_ROWS: usize = 100;
const CHUNK_BYTES: u64 = 256 << 10;

/// A row of an input, read again.
pub struct SourceRow {
    /// The row as it stands in the input.
    pub row: Data,
    /// What it means.
    pub sample: Sample,
}

impl Replay {
    /// One row. Of plain JSON Lines no other line is read.
    ///
    /// # Errors
    /// `source.missing` if the input is gone, `source.changed` if no readable row stands there any
    /// more, and whatever reading gives.
    pub fn row(&self, place: RowPlace) -> Result<SourceRow> {
        let source = self.input(place)?;
        let file = source.file()?;
        let seekable = file.kind == Kind::JsonLines && file.compression == Compression::None;
        if !seekable {
            let mut found = None;
            self.rows(&[place], &mut |_, row| {
                found = Some(row);
                Ok(())
            })?;
            return found.unwrap_or_else(|| Err(source.changed(place, "it has no such row")));
        }
        let line = line_at(
            &file.path,
            place.offset,
            self.recipe.config.source.max_line_bytes,
        );
        let line = line.map_err(|error| Error::io(Code::SourceUnreadable, &file.path, &error))?;
        let parser = self.parser(source, &file)?;
        read(&parser, Record::Json(&line))
            .map_err(|reject| source.changed(place, &reject.to_string()))
    }

    /// Rows of one input, their places in ascending order, each given to `each` as it is met.
    ///
    /// # Errors
    /// As [`Self::row`] for the input; what is wrong with one row is given to `each`, whose errors
    /// end the work.
    pub fn rows(
        &self,
        places: &[RowPlace],
        each: &mut dyn FnMut(RowPlace, Result<SourceRow>) -> Result<()>,
    ) -> Result<()> {
        let Some(first) = places.first() else {
            return Ok(());
        };
        let source = self.input(*first)?;
        let file = source.file()?;
        let parser = self.parser(source, &file)?;
        let mut wanted = places.iter().peekable();
        let mut reader = self.reader(file);
        while wanted.peek().is_some() {
            let Some(chunk) = reader.next_chunk()? else {
                break;
            };
            for (place, record) in chunk.rows.iter() {
                while let Some(asked) = wanted.next_if(|asked| asked.line == place.line) {
                    let row = if asked.offset == place.offset {
                        read(&parser, record)
                            .map_err(|reject| source.changed(*asked, &reject.to_string()))
                    } else {
                        Err(source.changed(*asked, "the row lies elsewhere in it"))
                    };
                    each(*asked, row)?;
                }
            }
        }
        for asked in wanted {
            each(*asked, Err(source.changed(*asked, "it has no such row")))?;
        }
        Ok(())
    }

    fn input(&self, place: RowPlace) -> Result<&Source> {
        self.sources.get(place.source as usize).ok_or_else(|| {
            let message = format!("the dataset has no input {}", place.source);
            Error::new(Code::ShardManifest, message)
        })
    }

    fn reader(&self, file: InputFile) -> Reader {
        let options = ReadOptions {
            max_line_bytes: self.recipe.config.source.max_line_bytes,
            chunk_bytes: CHUNK_BYTES,
            limit: 0,
        };
        Reader::new(vec![file], options)
    }

    /// The parser of an input's rows: of the format that was chosen, or found when it was packed,
    /// or that its first rows have.
    fn parser(&self, source: &Source, file: &InputFile) -> Result<Parser> {
        let config = &self.recipe.config.source;
        let known = Format::chosen(config.format).or(source.format);
        let format = known.map_or_else(|| self.detect(file), Ok)?;
        row_parser(&self.recipe, format)
    }

    fn detect(&self, file: &InputFile) -> Result<Format> {
        let chunk = self.reader(file.clone()).next_chunk()?;
        let mut notes = JsonNotes::default();
        let rows = chunk.iter().flat_map(|chunk| chunk.rows.iter());
        let first: Vec<Data> = rows
            .take(DETECT_ROWS)
            .filter_map(|(_, record)| value(record, &mut notes).ok())
            .collect();
        if first.is_empty() {
            return Ok(Format::Messages);
        }
        Ok(detect(&first, &self.recipe.config.source.map)?.format)
    }
}

impl Source {
    fn file(&self) -> Result<InputFile> {
        let path = self.path.as_deref().filter(|path| path.is_file());
        let path = path.ok_or_else(|| self.gone())?;
        let found = source::resolve(&[format!("{}={}", self.name, path.display())])
            .or_else(|_| source::resolve(&[path.display().to_string()]))?;
        found.into_iter().next().ok_or_else(|| self.gone())
    }

    /// What to say where the row is not the one that was packed.
    pub(super) fn changed(&self, place: RowPlace, what: &str) -> Error {
        let size = self.path.as_deref().and_then(|path| path.metadata().ok());
        let size = match size.map(|meta| meta.len()) {
            Some(bytes) if bytes != self.bytes => {
                format!(
                    " (it has {bytes} bytes now, {} when it was packed)",
                    self.bytes
                )
            }
            _ => String::new(),
        };
        Error::new(
            Code::SourceChanged,
            format!("the input is not what it was when it was packed{size}: {what}"),
        )
        .at_path(self.path.clone().unwrap_or_default())
        .at_line(place.line)
        .hint(format!(
            "name the input as it was with --input {}=PATH",
            self.name
        ))
    }
}

impl Replay {
    /// The error of a row that reads well and is another one.
    pub fn changed(&self, place: RowPlace, what: &str) -> Error {
        match self.input(place) {
            Ok(source) => source.changed(place, what),
            Err(error) => error,
        }
    }
}

fn value(record: Record<'_>, notes: &mut JsonNotes) -> Result<Data, Reject> {
    match record {
        Record::Json(bytes) => json::parse(bytes, notes),
        Record::Data(row) => Ok(row.clone()),
        Record::Unreadable(reject) => Err(reject.clone()),
    }
}

fn read(parser: &Parser, record: Record<'_>) -> Result<SourceRow, Reject> {
    let mut notes = JsonNotes::default();
    let row = value(record, &mut notes)?;
    let sample = parser.parse(row.clone(), &mut notes)?;
    Ok(SourceRow { row, sample })
}

/// The line that begins at a byte.
fn line_at(path: &Path, offset: u64, limit: u64) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut line = Vec::new();
    BufReader::new(file.take(limit.saturating_add(1))).read_until(b'\n', &mut line)?;
    while line
        .last()
        .is_some_and(|byte| matches!(byte, b'\n' | b'\r'))
    {
        line.pop();
    }
    Ok(line)
}
