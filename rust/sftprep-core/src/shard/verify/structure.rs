//! Does an Arrow file say of itself what the manifest says of it?
//!
//! Other readers go by the file's own footer and messages, ours by the manifest: they must agree.
//! The flatbuffers are verified before they are read.

use arrow_ipc::{Block, MetadataVersion, root_as_footer, root_as_message};

use crate::shard::columns::{Shape, shapes};
use crate::shard::ipc::{CONTINUATION, MAGIC};
use crate::shard::manifest::BatchInfo;
use crate::shard::mapped::MappedFile;

/// Checks the file if it is an Arrow file; the message says what is wrong.
pub(super) fn check(file: &MappedFile) -> Result<(), String> {
    let shapes = shapes(file.info().kind);
    if shapes.is_empty() {
        return Ok(());
    }
    let bytes = file.bytes();
    let (rest, magic) = bytes
        .split_last_chunk()
        .ok_or("it is too short for an Arrow file")?;
    if *magic != MAGIC || !bytes.starts_with(&CONTINUATION) {
        return Err("it does not begin and end as an Arrow file does".to_owned());
    }
    let (rest, length) = rest.split_last_chunk().ok_or("it has no footer")?;
    let length = usize::try_from(i32::from_le_bytes(*length)).map_err(|_| "its footer is cut")?;
    let start = rest.len().checked_sub(length).ok_or("its footer is cut")?;
    let footer = root_as_footer(&rest[start..]).map_err(|error| format!("footer: {error}"))?;
    if footer.version() != MetadataVersion::V5 {
        return Err("its footer is not of Arrow's version 5".to_owned());
    }
    let blocks = footer
        .recordBatches()
        .ok_or("its footer lists no batches")?;
    let batches = &file.info().batches;
    if blocks.len() != batches.len() {
        return Err(format!(
            "{} batches, the manifest says {}",
            blocks.len(),
            batches.len()
        ));
    }
    for (index, (block, batch)) in blocks.iter().zip(batches).enumerate() {
        check_batch(rest, block, batch, &shapes)
            .map_err(|what| format!("batch {index}: {what}"))?;
    }
    Ok(())
}

fn check_batch(
    bytes: &[u8],
    block: &Block,
    batch: &BatchInfo,
    shapes: &[Shape],
) -> Result<(), String> {
    let outside = "it lies outside the file";
    let start = usize::try_from(block.offset()).map_err(|_| outside)?;
    let length = usize::try_from(block.metaDataLength()).map_err(|_| outside)?;
    let body = start.checked_add(length).ok_or(outside)?;
    let message = bytes
        .get(start..body)
        .and_then(|bytes| bytes.get(8..))
        .ok_or(outside)?;
    let message = root_as_message(message).map_err(|error| error.to_string())?;
    let header = message
        .header_as_record_batch()
        .ok_or("it is not a record batch")?;
    if header.length() != batch.rows as i64 {
        return Err(format!(
            "{} rows, the manifest says {}",
            header.length(),
            batch.rows
        ));
    }
    let present = shapes.iter().flat_map(|shape| match shape {
        Shape::Fixed => &[false, true][..],
        Shape::Utf8 => &[false, true, true],
        Shape::List => &[false, true, false, true],
    });
    let buffers = header.buffers().ok_or("it has no buffers")?;
    let mut places = batch.buffers.iter();
    let mut listed = 0;
    for (buffer, present) in buffers.iter().zip(present) {
        listed += 1;
        let place = match places.as_slice().first() {
            Some(&place) if *present => {
                places.next();
                place
            }
            _ if buffer.length() == 0 => continue,
            _ => return Err("it has a validity bitmap".to_owned()),
        };
        let offset = buffer.offset().checked_add(body as i64);
        let same = offset == i64::try_from(place[0]).ok() && buffer.length() as u64 == place[1];
        if !same {
            return Err(format!(
                "a buffer is not at {} with {} bytes",
                place[0], place[1]
            ));
        }
    }
    if places.next().is_some() || listed != buffers.len() {
        return Err("it has another number of buffers".to_owned());
    }
    Ok(())
}
