//! The columns of the two files of a shard, and the batch that fills them row by row.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields, Schema};

use crate::huge;
use crate::types::{Border, IGNORE_INDEX, NO_MESSAGE, TokenSpan};

use super::ipc::{Column, list_of};
use super::ledger::LEDGER_SHAPES;
use super::manifest::FileKind;
use super::segment::{DocMeta, DocumentPiece};

/// Columns of a data file, in order.
pub const DATA_COLUMNS: [&str; 3] = ["input_ids", "labels", "seq_lengths"];

/// What the buffers of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// Values.
    Fixed,
    /// Offsets, then text.
    Utf8,
    /// Offsets, then values.
    List,
}

/// Shapes of the columns of a file of that kind.
pub(super) fn shapes(kind: FileKind) -> Vec<Shape> {
    let list = |list| if list { Shape::List } else { Shape::Fixed };
    match kind {
        FileKind::Data => vec![Shape::List; DATA_COLUMNS.len()],
        FileKind::Spans => SPANS_COLUMNS
            .iter()
            .map(|column| list(column.list))
            .collect(),
        FileKind::Ledger => LEDGER_SHAPES.to_vec(),
        FileKind::Rejects | FileKind::Metadata => Vec::new(),
    }
}

/// Bit of a span's flags: its tokens are trained.
pub const FLAG_TRAINED: u8 = 1;

/// Bit of a span's flags: one token that straddles two spans of the text.
pub const FLAG_STRADDLES: u8 = 2;

/// Bits of a span's flags: how its token lies to the spans of the text, by the order of [`BORDERS`].
const BORDER_SHIFT: u8 = 2;

/// Bit of a span's flags: its tokens stand in an earlier window of the sample too.
pub const FLAG_REPEATED: u8 = 16;

/// Bit of a span's flags: the last of a window that another one follows.
pub const FLAG_CONTINUES: u8 = 32;

/// All bits that flags may have.
pub(super) const KNOWN_FLAGS: u8 =
    FLAG_TRAINED | FLAG_STRADDLES | 3 << BORDER_SHIFT | FLAG_REPEATED | FLAG_CONTINUES;

const BORDERS: [Border; 4] = [
    Border::Inside,
    Border::Crosses,
    Border::Leaves,
    Border::Swallows,
];

/// The flags of a span.
pub(super) fn flags_of(span: &TokenSpan) -> u8 {
    let flag = |is: bool, flag: u8| if is { flag } else { 0 };
    flag(span.trained, FLAG_TRAINED)
        | flag(span.straddles, FLAG_STRADDLES)
        | flag(span.repeated, FLAG_REPEATED)
        | flag(span.continues, FLAG_CONTINUES)
        | (span.border as u8) << BORDER_SHIFT
}

/// What the flags say of how a token lies to the spans of the text.
pub(super) fn border_of(flags: u8) -> Border {
    BORDERS[usize::from(flags >> BORDER_SHIFT & 3)]
}

/// One column of a spans file.
pub(super) struct SpansColumn {
    pub(super) name: &'static str,
    pub(super) item: DataType,
    pub(super) list: bool,
}

/// Columns of a spans file, in order; FORMAT.md says what each one holds.
pub(super) static SPANS_COLUMNS: [SpansColumn; 15] = {
    use DataType::{Float32, Int32, Int64, UInt8};
    const fn column(name: &'static str, list: bool, item: DataType) -> SpansColumn {
        SpansColumn { name, item, list }
    }
    [
        column("tokens", false, Int32),
        column("trained_tokens", false, Int32),
        column("documents", false, Int32),
        column("attention_cost", false, Int64),
        column("doc_source", true, Int32),
        column("doc_line", true, Int64),
        column("doc_byte_offset", true, Int64),
        column("doc_part", true, Int32),
        column("doc_start", true, Int32),
        column("doc_tokens", true, Int32),
        column("span_end", true, Int32),
        column("span_kind", true, UInt8),
        column("span_message", true, Int32),
        column("span_flags", true, UInt8),
        column("span_weight", true, Float32),
    ]
};

/// Schema of a data file.
pub(super) fn data_schema() -> Schema {
    let field = |name: &&str| Field::new(*name, list_of(DataType::Int32), true);
    Schema::new(DATA_COLUMNS.iter().map(field).collect::<Vec<_>>())
}

/// Schema of a spans file.
pub(super) fn spans_schema() -> Schema {
    let field = |column: &SpansColumn| {
        let item = column.item.clone();
        Arc::new(Field::new(
            column.name,
            if column.list { list_of(item) } else { item },
            true,
        ))
    };
    Schema::new(SPANS_COLUMNS.iter().map(field).collect::<Fields>())
}

/// Offsets of a list column: one more than there are rows.
#[derive(Debug)]
struct Offsets(Vec<i32>);

impl Offsets {
    fn clear(&mut self) {
        self.0.truncate(1);
    }

    /// Ends a row whose items are all that a column holds by now.
    fn end_row(&mut self, items: usize) {
        self.0.push(items as i32);
    }
}

impl Default for Offsets {
    fn default() -> Self {
        Self(vec![0])
    }
}

/// Sums over some rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RowSums {
    /// Packed rows.
    pub rows: u64,
    /// Tokens.
    pub tokens: u64,
    /// Tokens that have a label.
    pub trained_tokens: u64,
    /// Documents; each piece of a cut one counts.
    pub documents: u64,
}

impl RowSums {
    pub(super) fn add(&mut self, other: Self) {
        self.rows = self.rows.saturating_add(other.rows);
        self.tokens = self.tokens.saturating_add(other.tokens);
        self.trained_tokens = self.trained_tokens.saturating_add(other.trained_tokens);
        self.documents = self.documents.saturating_add(other.documents);
    }
}

/// A record batch of both files while it is filled. Buffers are kept from batch to batch.
#[derive(Debug, Default)]
pub(super) struct Batch {
    sums: RowSums,
    // Data file.
    input_ids: Vec<u32>,
    labels: Vec<i32>,
    token_offsets: Offsets,
    doc_offsets: Offsets,
    // Spans file, per row.
    tokens: Vec<i32>,
    trained: Vec<i32>,
    documents: Vec<i32>,
    cost: Vec<i64>,
    // Per document.
    source: Vec<u32>,
    line: Vec<u64>,
    byte_offset: Vec<u64>,
    part: Vec<u32>,
    start: Vec<u32>,
    doc_tokens: Vec<u32>,
    // Per span.
    end: Vec<u32>,
    kind: Vec<u8>,
    message: Vec<i32>,
    flags: Vec<u8>,
    span_offsets: Offsets,
    weight: Vec<f32>,
    weight_offsets: Offsets,
    // Where the row being filled began.
    row: RowStart,
}

/// Lengths of a batch's buffers when a row began.
#[derive(Debug, Clone, Copy, Default)]
struct RowStart {
    token: usize,
    document: usize,
    weight: usize,
    trained: u64,
    weighted: bool,
}

impl Batch {
    /// An empty batch that will take so many tokens.
    pub(super) fn with_room(tokens: usize) -> Self {
        Self {
            input_ids: huge::with_room(tokens),
            labels: huge::with_room(tokens),
            ..Self::default()
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.tokens.len()
    }

    pub(super) fn sums(&self) -> RowSums {
        self.sums
    }

    /// Appends a piece to the row that is being filled. Its first token gets no label, whatever its
    /// span says: nothing in the row predicts it.
    pub(super) fn push_piece(&mut self, piece: &DocumentPiece, meta: DocMeta, start: u32) {
        let ids = piece.input_ids();
        let first = self.input_ids.len();
        self.input_ids.extend_from_slice(ids);
        self.labels.resize(first + ids.len(), IGNORE_INDEX);
        let labels = &mut self.labels[first..];
        let in_row = (first - self.row.token) as u32;
        let mut from = 0;
        for span in piece.spans() {
            if span.trained {
                // Ids fit in 31 bits: the segment refuses others.
                let range = from.max(1)..(span.end as usize).max(1);
                labels[range.clone()].copy_from_slice(bytemuck::cast_slice(&ids[range.clone()]));
                self.sums.trained_tokens += range.len() as u64;
            }
            from = span.end as usize;
            self.end.push(in_row + span.end);
            self.kind.push(span.kind as u8);
            self.message.push(if span.message == NO_MESSAGE {
                -1
            } else {
                span.message as i32
            });
            self.flags.push(flags_of(span));
            self.weight.push(span.weight);
            self.row.weighted |= span.weight.to_bits() != 1f32.to_bits();
        }
        self.source.push(meta.place.source);
        self.line.push(meta.place.line);
        self.byte_offset.push(meta.place.offset);
        self.part.push(meta.part);
        self.start.push(start);
        self.doc_tokens.push(ids.len() as u32);
    }

    /// Ends the row that is being filled.
    pub(super) fn end_row(&mut self) {
        if !self.row.weighted {
            self.weight.truncate(self.row.weight);
        }
        let tokens = self.input_ids.len() - self.row.token;
        let lengths = &self.doc_tokens[self.row.document..];
        let cost = lengths
            .iter()
            .map(|&length| i64::from(length) * i64::from(length))
            .sum();
        self.tokens.push(tokens as i32);
        self.trained
            .push((self.sums.trained_tokens - self.row.trained) as i32);
        self.documents.push(lengths.len() as i32);
        self.cost.push(cost);
        self.sums.rows += 1;
        self.sums.tokens += tokens as u64;
        self.sums.documents += lengths.len() as u64;
        self.token_offsets.end_row(self.input_ids.len());
        self.doc_offsets.end_row(self.doc_tokens.len());
        self.span_offsets.end_row(self.end.len());
        self.weight_offsets.end_row(self.weight.len());
        self.row = RowStart {
            token: self.input_ids.len(),
            document: self.doc_tokens.len(),
            weight: self.weight.len(),
            trained: self.sums.trained_tokens,
            weighted: false,
        };
    }

    pub(super) fn data_columns(&self) -> [Column<'_>; 3] {
        [
            Column::List(&self.token_offsets.0, bytemuck::cast_slice(&self.input_ids)),
            Column::List(&self.token_offsets.0, bytemuck::cast_slice(&self.labels)),
            Column::List(&self.doc_offsets.0, bytemuck::cast_slice(&self.doc_tokens)),
        ]
    }

    pub(super) fn spans_columns(&self) -> [Column<'_>; SPANS_COLUMNS.len()] {
        use bytemuck::cast_slice as bytes;
        let (documents, spans) = (&self.doc_offsets.0, &self.span_offsets.0);
        [
            Column::Fixed(bytes(&self.tokens)),
            Column::Fixed(bytes(&self.trained)),
            Column::Fixed(bytes(&self.documents)),
            Column::Fixed(bytes(&self.cost)),
            Column::List(documents, bytes(&self.source)),
            Column::List(documents, bytes(&self.line)),
            Column::List(documents, bytes(&self.byte_offset)),
            Column::List(documents, bytes(&self.part)),
            Column::List(documents, bytes(&self.start)),
            Column::List(documents, bytes(&self.doc_tokens)),
            Column::List(spans, bytes(&self.end)),
            Column::List(spans, &self.kind),
            Column::List(spans, bytes(&self.message)),
            Column::List(spans, &self.flags),
            Column::List(&self.weight_offsets.0, bytes(&self.weight)),
        ]
    }

    /// Empties the batch for the next one.
    pub(super) fn clear(&mut self) {
        self.sums = RowSums::default();
        self.row = RowStart::default();
        self.input_ids.clear();
        self.labels.clear();
        self.tokens.clear();
        self.trained.clear();
        self.documents.clear();
        self.cost.clear();
        self.source.clear();
        self.line.clear();
        self.byte_offset.clear();
        self.part.clear();
        self.start.clear();
        self.doc_tokens.clear();
        self.end.clear();
        self.kind.clear();
        self.message.clear();
        self.flags.clear();
        self.weight.clear();
        self.token_offsets.clear();
        self.doc_offsets.clear();
        self.span_offsets.clear();
        self.weight_offsets.clear();
    }
}
