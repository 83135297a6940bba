//! Where rows come from, and the chunks in which they travel from the reader to the workers.

use sftprep_template::Data;

/// Index of an input file in the run's list of inputs.
pub type SourceId = u32;

/// The place of one row: enough to find it again in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowPlace {
    /// Which input file.
    pub source: SourceId,
    /// Line (1-based) in a `.jsonl`; element (1-based) of a `.json` array; row (1-based) of a
    /// columnar file.
    pub line: u64,
    /// Byte offset of the row in the (decompressed) text; 0 for columnar files.
    pub offset: u64,
}

/// One row, not yet looked into.
#[derive(Debug, Clone, Copy)]
pub enum Record<'a> {
    /// The bytes of one JSON value, as they stand in the file.
    Json(&'a [u8]),
    /// A row of a columnar file.
    Data(&'a Data),
    /// A row that the reader had to give up on (too long, say) without ending the run.
    Unreadable(&'a crate::error::Reject),
}

/// Some consecutive rows of one input: the unit that a worker takes.
#[derive(Debug, Default)]
pub struct Chunk {
    /// Sequence number of the chunk over all inputs; results are put back into this order.
    pub sequence: u64,
    /// The rows.
    pub rows: Rows,
}

/// The rows of a [`Chunk`], with one buffer for all of them.
#[derive(Debug, Default)]
pub struct Rows {
    text: Vec<u8>,
    data_bytes: usize,
    entries: Vec<(RowPlace, Entry)>,
}

#[derive(Debug)]
enum Entry {
    Json(std::ops::Range<usize>),
    Data(Box<Data>),
    Unreadable(Box<crate::error::Reject>),
}

impl Rows {
    /// No rows yet, with room for so many bytes of JSON.
    pub fn with_room(bytes: usize) -> Self {
        Self {
            text: Vec::with_capacity(bytes),
            ..Self::default()
        }
    }

    /// Appends the bytes of one JSON value.
    pub fn push_json(&mut self, place: RowPlace, json: &[u8]) {
        let start = self.text.len();
        self.text.extend_from_slice(json);
        self.entries
            .push((place, Entry::Json(start..self.text.len())));
    }

    /// Appends a row of a columnar file, which would be about that many bytes of JSON.
    pub fn push_data(&mut self, place: RowPlace, row: Data, bytes: usize) {
        self.data_bytes += bytes;
        self.entries.push((place, Entry::Data(Box::new(row))));
    }

    /// Appends a row that could not be read but must not get lost.
    pub fn push_unreadable(&mut self, place: RowPlace, reject: crate::error::Reject) {
        self.entries
            .push((place, Entry::Unreadable(Box::new(reject))));
    }

    /// The rows in order, each with its place.
    pub fn iter(&self) -> impl Iterator<Item = (RowPlace, Record<'_>)> {
        self.entries.iter().map(|(place, entry)| {
            let record = match entry {
                Entry::Json(range) => Record::Json(&self.text[range.clone()]),
                Entry::Data(row) => Record::Data(row),
                Entry::Unreadable(reject) => Record::Unreadable(reject),
            };
            (*place, record)
        })
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of all rows, as JSON.
    pub fn bytes(&self) -> usize {
        self.text.len() + self.data_bytes
    }

    /// Bytes of JSON text held.
    pub fn text_bytes(&self) -> usize {
        self.text.len()
    }
}
