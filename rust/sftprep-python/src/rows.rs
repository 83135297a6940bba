//! `RowReader` and `InputRow`: the rows of files, as `pack` reads them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use pyo3::prelude::*;
use sftprep_core::error::{Code, Error, Reject};
use sftprep_core::format::{Format, Parser, detect};
use sftprep_core::json::{self, JsonNotes};
use sftprep_core::pipeline::{Recipe, row_parser};
use sftprep_core::source::{ReadOptions, Reader, resolve};
use sftprep_core::types::{Chunk, Record};
use sftprep_template::Data;

use crate::error::detached;

/// Rows looked at to detect a format, as in a run.
const DETECT_ROWS: usize = 100;

/// A row of a file with its place and the parser of its file.
#[pyclass(frozen, module = "sftprep")]
pub(crate) struct InputRow {
    /// Name of the input.
    #[pyo3(get)]
    source: String,
    /// Line (1-based) in the input.
    #[pyo3(get)]
    line: u64,
    pub(crate) row: Result<Data, Reject>,
    pub(crate) parser: Arc<Parser>,
}

impl InputRow {
    /// Names the place of the row.
    pub(crate) fn place(&self, error: Error) -> Error {
        error.at_path(&self.source).at_line(self.line)
    }
}

/// Iterates over the rows of a configuration's inputs.
#[pyclass(frozen, module = "sftprep")]
pub(crate) struct RowReader {
    state: Mutex<State>,
}

struct State {
    recipe: Arc<Recipe>,
    reader: Reader,
    waiting: VecDeque<InputRow>,
    parser: Option<(u32, Arc<Parser>)>,
}

#[pymethods]
impl RowReader {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<InputRow>> {
        detached(py, || {
            let panicked = |_| Error::new(Code::RunInternal, "an earlier read panicked");
            self.state.lock().map_err(panicked)?.next()
        })
    }
}

impl RowReader {
    /// The rows of the recipe's inputs.
    pub(crate) fn open(recipe: &Arc<Recipe>) -> Result<Self, Error> {
        let source = &recipe.config.source;
        let options = ReadOptions {
            max_line_bytes: source.max_line_bytes,
            limit: source.limit,
            ..ReadOptions::default()
        };
        let state = State {
            reader: Reader::new(resolve(&source.inputs)?, options),
            recipe: Arc::clone(recipe),
            waiting: VecDeque::new(),
            parser: None,
        };
        Ok(Self {
            state: Mutex::new(state),
        })
    }
}

impl State {
    fn next(&mut self) -> Result<Option<InputRow>, Error> {
        while self.waiting.is_empty() {
            let Some(chunk) = self.reader.next_chunk()? else {
                return Ok(None);
            };
            self.take(&chunk)?;
        }
        Ok(self.waiting.pop_front())
    }

    /// Parses the JSON of a chunk's rows; what is in them is for the encoder to judge.
    fn take(&mut self, chunk: &Chunk) -> Result<(), Error> {
        let mut notes = JsonNotes::default();
        let rows: Vec<_> = chunk
            .rows
            .iter()
            .map(|(place, record)| (place, read(record, &mut notes)))
            .collect();
        let Some((place, _)) = rows.first() else {
            return Ok(());
        };
        let source = place.source;
        let parser = match &self.parser {
            Some((known, parser)) if *known == source => Arc::clone(parser),
            _ => {
                let readable = rows.iter().filter_map(|(_, row)| row.as_ref().ok());
                let first: Vec<Data> = readable.take(DETECT_ROWS).cloned().collect();
                parser_for(&self.recipe, &first)?
            }
        };
        self.parser = Some((source, Arc::clone(&parser)));
        let name = &self.reader.files()[source as usize].name;
        self.waiting
            .extend(rows.into_iter().map(|(place, row)| InputRow {
                source: name.clone(),
                line: place.line,
                row,
                parser: Arc::clone(&parser),
            }));
        Ok(())
    }
}

fn read(record: Record<'_>, notes: &mut JsonNotes) -> Result<Data, Reject> {
    match record {
        Record::Json(bytes) => json::parse(bytes, notes),
        Record::Data(row) => Ok(row.clone()),
        Record::Unreadable(reject) => Err(reject.clone()),
    }
}

/// The parser of the format that the options name, or that these rows have.
pub(crate) fn parser_for(recipe: &Recipe, rows: &[Data]) -> Result<Arc<Parser>, Error> {
    let source = &recipe.config.source;
    let format = match Format::chosen(source.format) {
        Some(format) => format,
        None if rows.is_empty() => Format::Messages,
        None => detect(rows, &source.map)?.format,
    };
    row_parser(recipe, format).map(Arc::new)
}
