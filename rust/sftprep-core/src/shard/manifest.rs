//! The manifest: what a finished dataset consists of, and the promise that it is finished.
//!
//! It is written last. A folder without it is not a dataset; a folder with it holds every file it
//! lists, with these sizes and hashes. Nothing in it depends on time, host, path or thread count:
//! equal input gives an equal manifest, byte for byte.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::{Code, Error, Result};

use super::canonical::canonical;
use super::columns::RowSums;
use super::hashed::Digest;
use super::totals::{SourceTotals, Totals};

/// Name of the manifest.
pub const MANIFEST_NAME: &str = "sftprep.manifest.json";

/// Name of the report, the one file of a dataset that is not part of its identity.
pub const REPORT_NAME: &str = "sftprep.report.json";

/// Version of the format that this code writes, and the highest that it reads.
pub const FORMAT_VERSION: u64 = 1;

/// What `format` says.
const FORMAT: &str = "sftprep-dataset";

/// A manifest larger than this is refused before it is parsed: 100,000 shards need less.
const MAX_BYTES: u64 = 256 << 20;

/// The manifest of a dataset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Always `sftprep-dataset`.
    pub format: String,
    /// Version of the format; a reader refuses a higher one.
    pub format_version: u64,
    /// Identity of the packed data: BLAKE3 of the names, rows and hashes of all shards.
    pub content_id: String,
    /// The run's options, without what does not change the data.
    pub config: Value,
    /// BLAKE3 of the canonical form of `config`.
    pub config_hash: String,
    /// The tokenizer.
    pub tokenizer: TokenizerInfo,
    /// The chat template.
    pub template: TemplateInfo,
    /// The inputs, in the order of their source numbers.
    pub inputs: Vec<InputInfo>,
    /// How the rows were packed.
    pub packing: PackingInfo,
    /// The datasets that it was mixed of, if it was.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mix: Vec<MixInfo>,
    /// What became of every row and token, over all inputs.
    pub totals: SourceTotals,
    /// The same per input, in the order of `inputs`.
    pub totals_by_source: Vec<SourceTotals>,
    /// Every file of the folder but the manifest and the report, sorted by name.
    pub files: Vec<FileInfo>,
    /// BLAKE3 of the canonical form of everything above.
    #[serde(default)]
    pub manifest_blake3: String,
}

/// The tokenizer, as far as it decides about ids.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TokenizerInfo {
    /// Name for people; no path.
    pub name: String,
    /// BLAKE3 of each of its files, by file name.
    pub files: BTreeMap<String, String>,
    /// One more than the highest id, added tokens included; 0 if it is not known.
    pub vocab_size: u64,
    /// Control tokens by their role, such as `eos_token`.
    pub special_ids: BTreeMap<String, u64>,
}

/// The chat template, as far as it decides about text.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TemplateInfo {
    /// Name for people, such as `chatml` or `tokenizer`; no path. Empty if there is none.
    pub name: String,
    /// BLAKE3 of its text, empty if there is none.
    pub blake3: String,
    /// The date that it saw, as the run was given or chose it.
    pub date: String,
    /// BLAKE3 of the canonical form of its certificate; absent if there is none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub certificate: String,
    /// The added tokens that text of a row may not become, or not everywhere, by id.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub control_tokens: Vec<ControlTokenInfo>,
}

/// An added token that the run took for a control token or a tag.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ControlTokenInfo {
    /// Its id.
    pub id: u64,
    /// Its text.
    pub token: String,
    /// `control` (the template alone may write it) or `tag` (an assistant's text may too).
    pub class: String,
}

/// An input file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InputInfo {
    /// Source name; no path.
    pub name: String,
    /// Size as it lay on disk.
    pub bytes: u64,
    /// BLAKE3 as it lay on disk; empty where it could not be had (stdin).
    pub blake3: String,
}

/// How the rows were packed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PackingInfo {
    /// Strategy.
    pub strategy: String,
    /// Tokens per row, at most.
    pub max_len: u64,
    /// Seed of the placement.
    pub seed: u64,
    /// Packed rows.
    pub rows: u64,
    /// Documents before any was cut.
    pub documents: u64,
    /// Documents after that.
    pub pieces: u64,
    /// Tokens.
    pub tokens: u64,
    /// Rows that no packing can go below.
    pub lower_bound: u64,
    /// `tokens / (rows * max_len)`, six decimals.
    pub fill: String,
    /// `rows / lower_bound - 1`, six decimals.
    pub gap: String,
    /// Which rows share a step, if they are ordered by their cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub balance: Option<BalanceInfo>,
}

/// A dataset that others were mixed with.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MixInfo {
    /// Its identity.
    pub content_id: String,
    /// Its options.
    pub config: Value,
    /// Its inputs, which follow those of the datasets before.
    pub inputs: u64,
    /// The share that it was to have, of the sum of all.
    pub weight: String,
    /// Input rows that were packed in it.
    pub rows: u64,
    /// Those that were drawn.
    pub rows_drawn: u64,
    /// Their trained tokens before it was mixed.
    pub trained_tokens: u64,
    /// Those that were drawn.
    pub trained_tokens_drawn: u64,
}

/// An order of rows in which those of a step have like cost.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BalanceInfo {
    /// Rows of a step.
    pub ranks: u64,
    /// Steps of a window, at least, unless the whole data set has fewer.
    pub window_steps: u64,
    /// What a token costs beside its attention, in squared tokens.
    pub token_cost: u64,
    /// Sum of the costliest rows of all steps by that of the mean ones, six decimals.
    pub imbalance: String,
    /// The same without balancing.
    pub imbalance_before: String,
}

/// What a file of the dataset is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// Packed rows: ids, labels, sequence lengths.
    Data,
    /// Their sidecar: places, spans, sums.
    Spans,
    /// One row per input row.
    Ledger,
    /// The readable extract of the ledger.
    Rejects,
    /// What other readers want to find.
    Metadata,
}

/// A file of the dataset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileInfo {
    /// Name inside the folder: letters, digits, `.`, `_` and `-` only.
    pub name: String,
    /// What it is.
    pub kind: FileKind,
    /// Size.
    pub bytes: u64,
    /// XXH3-128 in hexadecimal.
    pub xxh3_128: String,
    /// BLAKE3 in hexadecimal.
    pub blake3: String,
    /// Rows (packed rows; input rows for the ledger; lines for the rejects).
    pub rows: u64,
    /// Tokens of its rows.
    pub tokens: u64,
    /// Tokens that have a label.
    pub trained_tokens: u64,
    /// Documents of its rows.
    pub documents: u64,
    /// Record batches of an Arrow file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub batches: Vec<BatchInfo>,
}

/// A record batch of an Arrow file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchInfo {
    /// Rows.
    pub rows: u64,
    /// (offset, bytes) in the file of each buffer: column by column, offsets before values.
    pub buffers: Vec<[u64; 2]>,
}

impl FileInfo {
    pub(super) fn new(
        name: String,
        kind: FileKind,
        digest: Digest,
        sums: RowSums,
        batches: Vec<BatchInfo>,
    ) -> Self {
        let Digest {
            bytes,
            xxh3_128,
            blake3,
        } = digest;
        let RowSums {
            rows,
            tokens,
            trained_tokens,
            documents,
        } = sums;
        Self {
            name,
            kind,
            bytes,
            xxh3_128,
            blake3,
            rows,
            tokens,
            trained_tokens,
            documents,
            batches,
        }
    }

    pub(super) fn sums(&self) -> RowSums {
        RowSums {
            rows: self.rows,
            tokens: self.tokens,
            trained_tokens: self.trained_tokens,
            documents: self.documents,
        }
    }
}

/// What the run knows about itself when its files are written.
#[derive(Debug, Clone, Default)]
pub struct RunFacts {
    /// The run's options, without what does not change the data (folders, threads, overwrite).
    pub config: Value,
    /// The tokenizer.
    pub tokenizer: TokenizerInfo,
    /// The chat template.
    pub template: TemplateInfo,
    /// The inputs, in the order of their source numbers.
    pub inputs: Vec<InputInfo>,
    /// How the rows were packed.
    pub packing: PackingInfo,
    /// The datasets that it was mixed of, if it was.
    pub mix: Vec<MixInfo>,
}

impl Manifest {
    /// The manifest of a run that wrote `files`.
    pub fn new(facts: RunFacts, totals: &Totals, mut files: Vec<FileInfo>) -> Self {
        files.sort_unstable_by(|one, two| one.name.cmp(&two.name));
        let mut manifest = Self {
            format: FORMAT.to_owned(),
            format_version: FORMAT_VERSION,
            content_id: content_id(&files),
            config_hash: hash(&facts.config),
            config: facts.config,
            tokenizer: facts.tokenizer,
            template: facts.template,
            inputs: facts.inputs,
            packing: facts.packing,
            mix: facts.mix,
            totals: totals.all(),
            totals_by_source: totals
                .by_source()
                .map(|(_, totals)| totals.clone())
                .collect(),
            files,
            manifest_blake3: String::new(),
        };
        // The canonical form decides what the values are (floats become strings), so what is kept
        // is what a reader will see.
        manifest.config = reread(&manifest.config);
        manifest.sealed()
    }

    /// The same manifest with its own hash made right.
    #[must_use]
    pub fn sealed(mut self) -> Self {
        self.manifest_blake3 = self.self_hash();
        self
    }

    /// The bytes of the manifest file.
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical(&self.to_value()).into_bytes()
    }

    /// Reads and checks the manifest of the dataset in `dir`.
    ///
    /// # Errors
    ///
    /// `shard.missing` without a manifest, `shard.version` for a newer one, `shard.manifest` for
    /// one that is damaged or names something outside the folder.
    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(MANIFEST_NAME);
        let found = std::fs::metadata(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => missing(dir),
            _ => Error::io(Code::ShardMissing, &path, &error),
        })?;
        if found.len() > MAX_BYTES {
            let message = format!("{} bytes, more than any manifest has", found.len());
            return Err(Error::new(Code::ShardManifest, message).at_path(path));
        }
        let bytes =
            std::fs::read(&path).map_err(|error| Error::io(Code::ShardMissing, &path, &error))?;
        Self::parse(&bytes).map_err(|error| error.at_path(path))
    }

    /// Reads and checks the bytes of a manifest file.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let damaged = |message: String| Error::new(Code::ShardManifest, message);
        let value: Value =
            serde_json::from_slice(bytes).map_err(|error| damaged(format!("not JSON: {error}")))?;
        if value.get("format").and_then(Value::as_str) != Some(FORMAT) {
            return Err(damaged(format!("`format` is not {FORMAT:?}")));
        }
        let version = value
            .get("format_version")
            .and_then(Value::as_u64)
            .unwrap_or(0);
        if version > FORMAT_VERSION {
            let message = format!("format_version {version}, this sftprep reads {FORMAT_VERSION}");
            return Err(Error::new(Code::ShardVersion, message).hint("update sftprep"));
        }
        if canonical(&value).as_bytes() != bytes {
            return Err(damaged(
                "not in canonical form, so not as it was written".to_owned(),
            ));
        }
        let manifest: Self =
            serde_json::from_value(value).map_err(|error| damaged(error.to_string()))?;
        if manifest.manifest_blake3 != manifest.self_hash() {
            return Err(damaged(
                "its own hash does not match: it was changed".to_owned(),
            ));
        }
        super::checks::check_manifest(&manifest)?;
        Ok(manifest)
    }

    /// Files of one kind, in the order of their names.
    pub fn files_of(&self, kind: FileKind) -> impl Iterator<Item = &FileInfo> {
        self.files.iter().filter(move |file| file.kind == kind)
    }

    fn to_value(&self) -> Value {
        // Infallible for this type: string keys only, no custom serializer.
        serde_json::to_value(self).unwrap_or_default()
    }

    fn self_hash(&self) -> String {
        let mut value = self.to_value();
        if let Value::Object(map) = &mut value {
            map.remove("manifest_blake3");
        }
        hash(&value)
    }
}

/// Identity of packed data: BLAKE3 over the canonical list of (name, rows, BLAKE3) of all data and
/// spans files, which must be sorted by name.
pub fn content_id(files: &[FileInfo]) -> String {
    let listed = |file: &&FileInfo| matches!(file.kind, FileKind::Data | FileKind::Spans);
    let list: Vec<Value> = files
        .iter()
        .filter(listed)
        .map(|file| json!([file.name, file.rows, file.blake3]))
        .collect();
    hash(&Value::Array(list))
}

/// BLAKE3 of the canonical form of a value, in hexadecimal.
pub(super) fn hash(value: &Value) -> String {
    blake3::hash(canonical(value).as_bytes())
        .to_hex()
        .to_string()
}

fn reread(value: &Value) -> Value {
    serde_json::from_str(&canonical(value)).unwrap_or_default()
}

fn missing(dir: &Path) -> Error {
    let message = format!("no {MANIFEST_NAME}: this is not a finished dataset");
    Error::new(Code::ShardMissing, message)
        .at_path(dir)
        .hint("check the path; a run that did not finish leaves no manifest")
}
