//! The two small files that make the folder one that `datasets.load_from_disk` opens.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::error::Result;

use super::columns::{DATA_COLUMNS, RowSums};
use super::hashed::write_whole;
use super::manifest::{FileInfo, FileKind, content_id};

/// Name of the file with the list of shards.
pub const STATE_NAME: &str = "state.json";

/// Name of the file with the columns.
pub const INFO_NAME: &str = "dataset_info.json";

/// Writes `state.json` and `dataset_info.json` for these files.
///
/// The format is `numpy`: rows come as arrays and not as lists of Python integers, which are fifty
/// times slower, and the folder opens without torch too.
pub fn write_huggingface_files(dir: &Path, files: &[FileInfo]) -> Result<[FileInfo; 2]> {
    let mut sorted = files.to_vec();
    sorted.sort_unstable_by(|one, two| one.name.cmp(&two.name));
    let data: Vec<Value> = sorted
        .iter()
        .filter(|file| file.kind == FileKind::Data)
        .map(|file| json!({"filename": file.name}))
        .collect();
    let state = json!({
        "_data_files": data,
        "_fingerprint": &content_id(&sorted)[..16],
        "_format_columns": null,
        "_format_kwargs": {},
        "_format_type": "numpy",
        "_output_all_columns": false,
        "_split": "train",
    });
    // "Sequence" is what every release of datasets reads; newer ones call it "List".
    let list = json!({"feature": {"dtype": "int32", "_type": "Value"}, "_type": "Sequence"});
    let features: Map<String, Value> = DATA_COLUMNS
        .iter()
        .map(|name| ((*name).to_owned(), list.clone()))
        .collect();
    let info = json!({"citation": "", "description": "", "features": features, "homepage": "",
                      "license": ""});
    let write = |name: &str, value: &Value| {
        let text = format!("{value:#}\n");
        let digest = write_whole(&dir.join(name), text.as_bytes())?;
        let sums = RowSums::default();
        Ok(FileInfo::new(
            name.to_owned(),
            FileKind::Metadata,
            digest,
            sums,
            Vec::new(),
        ))
    };
    Ok([write(STATE_NAME, &state)?, write(INFO_NAME, &info)?])
}
