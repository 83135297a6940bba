//! Arrow IPC with every byte placed on purpose: the stream format, then a footer.
//!
//! A file is an IPC stream (schema, dictionaries, record batches, end-of-stream) followed by the
//! footer of the IPC file format, whose blocks point into that stream. Stream readers stop at the
//! end-of-stream marker; file readers find the footer from the end. Every message body starts at a
//! multiple of 64 in the file, and so does every buffer, which no library's writer promises; that
//! is why messages are put together here from the flatbuffer types and not by a library's writer.
//! FORMAT.md gives the layout byte by byte.

use std::path::Path;

use arrow_ipc::convert::IpcSchemaEncoder;
use arrow_ipc::writer::DictionaryTracker;
use arrow_ipc::{
    Block, Buffer, DictionaryBatchBuilder, FieldNode, FooterBuilder, MessageBuilder, MessageHeader,
    MetadataVersion, RecordBatch, RecordBatchBuilder, Schema as FlatSchema,
};
use arrow_schema::{DataType, Schema};
use flatbuffers::{FlatBufferBuilder, UnionWIPOffset, WIPOffset};

use crate::error::Result;

use super::hashed::{Digest, HashedFile};

/// Bodies and buffers start at multiples of this.
pub(super) const ALIGNMENT: u64 = 64;

/// Before each message, and with a length of 0 at the end of the stream.
pub(super) const CONTINUATION: [u8; 4] = [0xff; 4];

/// Last bytes of the file.
pub(super) const MAGIC: [u8; 6] = *b"ARROW1";

/// One column of a record batch, without nulls.
pub(super) enum Column<'a> {
    /// Values of fixed width, one per row.
    Fixed(&'a [u8]),
    /// Strings.
    Utf8(&'a [i32], &'a [u8]),
    /// Lists of values of fixed width.
    List(&'a [i32], &'a [u8]),
}

/// Where the buffers of a batch lie in the file: (offset, bytes), in the order of the columns,
/// offsets before values, without the absent validity bitmaps.
pub(super) type BufferPlaces = Vec<[u64; 2]>;

/// An Arrow file being written.
pub(super) struct IpcFile {
    out: HashedFile,
    schema: Schema,
    dictionaries: Vec<Block>,
    batches: Vec<Block>,
}

impl IpcFile {
    /// Starts the file and writes its schema.
    pub(super) fn create(path: &Path, schema: Schema) -> Result<Self> {
        let mut file = Self {
            out: HashedFile::create(path)?,
            schema,
            dictionaries: Vec::new(),
            batches: Vec::new(),
        };
        let mut builder = FlatBufferBuilder::new();
        let header = file.encode_schema(&mut builder);
        let header = header.as_union_value();
        file.message(builder, MessageHeader::Schema, header, 0)?;
        Ok(file)
    }

    /// Writes the values of the dictionary with that id (dictionaries count from 0 in the order of
    /// the fields).
    pub(super) fn dictionary(&mut self, id: i64, values: &[&str]) -> Result<()> {
        let mut offsets = vec![0];
        let mut text = Vec::new();
        for value in values {
            text.extend_from_slice(value.as_bytes());
            offsets.push(text.len() as i32);
        }
        let columns = [Column::Utf8(&offsets, &text)];
        let body = Body::new(values.len(), &columns);
        let mut builder = FlatBufferBuilder::new();
        let data = body.encode(&mut builder);
        let mut header = DictionaryBatchBuilder::new(&mut builder);
        header.add_id(id);
        header.add_data(data);
        let header = header.finish().as_union_value();
        let block = self.message(builder, MessageHeader::DictionaryBatch, header, body.bytes)?;
        self.dictionaries.push(block);
        self.body(&body)?;
        Ok(())
    }

    /// Writes a record batch.
    pub(super) fn batch(&mut self, rows: usize, columns: &[Column<'_>]) -> Result<BufferPlaces> {
        let body = Body::new(rows, columns);
        let mut builder = FlatBufferBuilder::new();
        let header = body.encode(&mut builder).as_union_value();
        let block = self.message(builder, MessageHeader::RecordBatch, header, body.bytes)?;
        self.batches.push(block);
        self.body(&body)
    }

    /// Writes end-of-stream and footer, and makes the file durable under its name.
    pub(super) fn finish(mut self) -> Result<Digest> {
        self.out.write(&CONTINUATION)?;
        self.out.write(&[0; 4])?;
        let mut builder = FlatBufferBuilder::new();
        let schema = self.encode_schema(&mut builder);
        let dictionaries = builder.create_vector(&self.dictionaries);
        let batches = builder.create_vector(&self.batches);
        let mut footer = FooterBuilder::new(&mut builder);
        footer.add_version(MetadataVersion::V5);
        footer.add_schema(schema);
        footer.add_dictionaries(dictionaries);
        footer.add_recordBatches(batches);
        let footer = footer.finish();
        builder.finish(footer, None);
        let footer = builder.finished_data();
        self.out.write(footer)?;
        self.out.write(&(footer.len() as i32).to_le_bytes())?;
        self.out.write(&MAGIC)?;
        self.out.seal()
    }

    fn encode_schema<'a>(&self, builder: &mut FlatBufferBuilder<'a>) -> WIPOffset<FlatSchema<'a>> {
        let mut tracker = DictionaryTracker::new(true);
        IpcSchemaEncoder::new()
            .with_dictionary_tracker(&mut tracker)
            .schema_to_fb_offset(builder, &self.schema)
    }

    /// Writes everything of a message but its body, padded so that the body is aligned.
    fn message(
        &mut self,
        mut builder: FlatBufferBuilder<'_>,
        kind: MessageHeader,
        header: WIPOffset<UnionWIPOffset>,
        body_bytes: u64,
    ) -> Result<Block> {
        let mut message = MessageBuilder::new(&mut builder);
        message.add_version(MetadataVersion::V5);
        message.add_header_type(kind);
        message.add_bodyLength(body_bytes as i64);
        message.add_header(header);
        let message = message.finish();
        builder.finish(message, None);
        let metadata = builder.finished_data();
        let start = self.out.position();
        let end = (start + 8 + metadata.len() as u64).next_multiple_of(ALIGNMENT);
        let length = (end - start) as i32; // prefix and padding included
        self.out.write(&CONTINUATION)?;
        self.out.write(&(length - 8).to_le_bytes())?;
        self.out.write(metadata)?;
        self.out.pad()?;
        Ok(Block::new(start as i64, length, body_bytes as i64))
    }

    fn body(&mut self, body: &Body<'_>) -> Result<BufferPlaces> {
        let mut places = Vec::with_capacity(body.buffers.len());
        for buffer in body.buffers.iter().flatten() {
            places.push([self.out.position(), buffer.len() as u64]);
            self.out.write(buffer)?;
            self.out.pad()?;
        }
        Ok(places)
    }
}

/// Nodes and buffers of a record batch; `None` is an absent validity bitmap.
struct Body<'a> {
    rows: usize,
    nodes: Vec<FieldNode>,
    buffers: Vec<Option<&'a [u8]>>,
    bytes: u64,
}

impl<'a> Body<'a> {
    fn new(rows: usize, columns: &[Column<'a>]) -> Self {
        let mut nodes = Vec::new();
        let mut buffers: Vec<Option<&'a [u8]>> = Vec::new();
        for column in columns {
            nodes.push(FieldNode::new(rows as i64, 0));
            buffers.push(None);
            match column {
                Column::Fixed(values) => buffers.push(Some(values)),
                Column::Utf8(offsets, text) => {
                    buffers.extend([Some(bytemuck::cast_slice(offsets)), Some(*text)]);
                }
                Column::List(offsets, values) => {
                    let items = offsets.last().copied().unwrap_or_default();
                    nodes.push(FieldNode::new(i64::from(items), 0));
                    buffers.extend([Some(bytemuck::cast_slice(offsets)), None, Some(*values)]);
                }
            }
        }
        let bytes = buffers
            .iter()
            .flatten()
            .map(|buffer| padded(buffer.len()))
            .sum();
        Self {
            rows,
            nodes,
            buffers,
            bytes,
        }
    }

    fn encode<'b>(&self, builder: &mut FlatBufferBuilder<'b>) -> WIPOffset<RecordBatch<'b>> {
        let nodes = builder.create_vector(&self.nodes);
        let mut at = 0;
        let buffers: Vec<Buffer> = self
            .buffers
            .iter()
            .map(|buffer| {
                let buffer = buffer.unwrap_or_default();
                let place = Buffer::new(at as i64, buffer.len() as i64);
                at += padded(buffer.len());
                place
            })
            .collect();
        let buffers = builder.create_vector(&buffers);
        let mut batch = RecordBatchBuilder::new(builder);
        batch.add_length(self.rows as i64);
        batch.add_nodes(nodes);
        batch.add_buffers(buffers);
        batch.finish()
    }
}

fn padded(bytes: usize) -> u64 {
    (bytes as u64).next_multiple_of(ALIGNMENT)
}

/// `List<item: ...>` as pyarrow declares it: nullable by declaration, though there are never nulls.
pub(super) fn list_of(item: DataType) -> DataType {
    DataType::new_list(item, true)
}
