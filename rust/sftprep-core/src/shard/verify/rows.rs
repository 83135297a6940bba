//! Every row of the shards against its sidecar, and their sums against the manifest.

use crate::error::Result;
use crate::shard::columns::{FLAG_TRAINED, KNOWN_FLAGS, RowSums};
use crate::shard::manifest::{FileKind, MANIFEST_NAME};
use crate::shard::reader::{RowView, ShardReader, SpansView};
use crate::types::{IGNORE_INDEX, SpanKind};

use super::VerifyReport;

/// Rows between two looks at whether to go on.
const CHECK_ROWS: u64 = 256;

/// Checks all rows.
pub(super) fn check(
    reader: &ShardReader,
    check: &dyn Fn() -> Result<()>,
    report: &mut VerifyReport,
) -> Result<()> {
    let manifest = reader.manifest();
    let limits = Limits {
        max_len: manifest.packing.max_len,
        vocab_size: manifest.tokenizer.vocab_size,
        sources: manifest.inputs.len() as u64,
    };
    let mut row = 0;
    for file in manifest.files_of(FileKind::Data) {
        let mut sums = RowSums::default();
        let end = row + file.rows;
        while row < end {
            if row.is_multiple_of(CHECK_ROWS) {
                check()?;
            }
            match check_row(reader, row, &limits) {
                Ok(found) => sums.add(found),
                Err(what) => {
                    report.add(&file.name, format!("row {row}: {what}"));
                    row = end; // the sums are wrong from here on
                    continue;
                }
            }
            row += 1;
            report.rows_checked += 1;
        }
        if sums.rows == file.rows && sums != file.sums() {
            report.add(
                &file.name,
                format!("its rows hold {sums:?}, the manifest says otherwise"),
            );
        }
    }
    if manifest.packing.rows != reader.len() {
        let what = format!(
            "packing.rows is {}, not {}",
            manifest.packing.rows,
            reader.len()
        );
        report.add(MANIFEST_NAME, what);
    }
    Ok(())
}

struct Limits {
    max_len: u64,
    vocab_size: u64,
    sources: u64,
}

fn check_row(reader: &ShardReader, row: u64, limits: &Limits) -> Result<RowSums, String> {
    let data = reader.row(row).map_err(|error| error.message)?;
    let spans = reader.spans(row).map_err(|error| error.message)?;
    let trained = check_labels(&data, limits)?;
    check_documents(&data, &spans, limits)?;
    check_spans(&data, &spans)?;
    let sums = RowSums {
        rows: 1,
        tokens: data.input_ids.len() as u64,
        trained_tokens: trained,
        documents: data.seq_lengths.len() as u64,
    };
    let told = (
        spans.tokens as u64,
        spans.trained_tokens as u64,
        spans.documents as u64,
    );
    if told != (sums.tokens, sums.trained_tokens, sums.documents) {
        return Err("the sidecar gives other sums".to_owned());
    }
    Ok(sums)
}

/// Ids and labels; returns the number of labels.
fn check_labels(data: &RowView<'_>, limits: &Limits) -> Result<u64, String> {
    let tokens = data.input_ids.len() as u64;
    if tokens == 0 || tokens > limits.max_len || data.labels.len() as u64 != tokens {
        return Err(format!("{tokens} ids and {} labels", data.labels.len()));
    }
    let known = |id: i32| id >= 0 && (limits.vocab_size == 0 || (id as u64) < limits.vocab_size);
    let mut trained = 0;
    for (&id, &label) in data.input_ids.iter().zip(data.labels) {
        if !known(id) || label != IGNORE_INDEX && label != id {
            return Err(format!("id {id} with label {label}"));
        }
        trained += u64::from(label == id);
    }
    Ok(trained)
}

fn check_documents(
    data: &RowView<'_>,
    spans: &SpansView<'_>,
    limits: &Limits,
) -> Result<(), String> {
    let mut start = 0usize;
    let mut cost = 0i64;
    for &length in data.seq_lengths {
        let label = data
            .labels
            .get(start)
            .ok_or("its documents are longer than it is")?;
        if length < 1 || *label != IGNORE_INDEX {
            return Err(format!(
                "document at token {start}: length {length}, label {label}"
            ));
        }
        start += length as usize;
        cost += i64::from(length) * i64::from(length);
    }
    if start != data.input_ids.len() || spans.doc_tokens != data.seq_lengths {
        return Err("its sequence lengths do not add up".to_owned());
    }
    let documents = data.seq_lengths.len();
    let lists = [
        spans.doc_source.len(),
        spans.doc_line.len(),
        spans.doc_byte_offset.len(),
        spans.doc_part.len(),
        spans.doc_start.len(),
    ];
    let source = |&source: &i32| source >= 0 && (source as u64) < limits.sources;
    if cost != spans.attention_cost
        || lists.iter().any(|&length| length != documents)
        || !spans.doc_source.iter().all(source)
        || spans.doc_line.iter().any(|&line| line < 0)
    {
        return Err("the sidecar's documents do not fit".to_owned());
    }
    Ok(())
}

fn check_spans(data: &RowView<'_>, spans: &SpansView<'_>) -> Result<(), String> {
    let n = spans.span_end.len();
    let weights = spans.span_weight.len();
    let lists = [
        spans.span_kind.len(),
        spans.span_message.len(),
        spans.span_flags.len(),
    ];
    if lists.iter().any(|&length| length != n) || weights != 0 && weights != n {
        return Err("the sidecar's span lists differ in length".to_owned());
    }
    let mut ends = data.seq_lengths.iter().scan(0, |end, &length| {
        *end += length;
        Some(*end)
    });
    let (mut first, mut document, mut document_end) = (0i32, 0i32, ends.next().unwrap_or(0));
    for index in 0..n {
        let (end, flags) = (spans.span_end[index], spans.span_flags[index]);
        let trained = flags & FLAG_TRAINED != 0;
        if end <= first || end > document_end {
            return Err(format!("span {index} ends at {end}, after {first}"));
        }
        if SpanKind::from_u8(spans.span_kind[index]).is_none() || flags & !KNOWN_FLAGS != 0 {
            return Err(format!("span {index} is of no known kind"));
        }
        let labels = &data.labels[first as usize..end as usize];
        let skip = usize::from(first == document); // the first token never has a label
        if labels[skip..]
            .iter()
            .any(|&label| (label != IGNORE_INDEX) != trained)
        {
            return Err(format!(
                "span {index} does not say which tokens are trained"
            ));
        }
        first = end;
        if end == document_end {
            document = end;
            document_end = ends.next().unwrap_or(end);
        }
    }
    if first as usize != data.input_ids.len() {
        return Err(format!("its spans end at {first}"));
    }
    Ok(())
}
