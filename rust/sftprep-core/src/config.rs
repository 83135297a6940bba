//! The user's options, validated once; what is written here goes into the manifest.
//!
//! Python holds mirror dataclasses; the crossing is one JSON string, and a test compares names,
//! types and defaults on both sides.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{Code, Error, Result};

/// Everything a `pack` run needs to know.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PackConfig {
    /// What to read.
    pub source: SourceConfig,
    /// How to render and tokenize.
    pub template: TemplateConfig,
    /// What to train on.
    pub label: LabelConfig,
    /// How to pack.
    pub pack: PackingConfig,
    /// Where to write.
    pub output: OutputConfig,
}

/// What to read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SourceConfig {
    /// Inputs: `path` or `name=path`; a path is a file, a folder, a pattern or `-` (stdin).
    pub inputs: Vec<String>,
    /// Row format, or `auto` to detect it per source.
    pub format: FormatChoice,
    /// Column mapping: field that the format wants -> column in the file.
    pub map: BTreeMap<String, String>,
    /// Role mapping: role in the file -> system, developer, user, assistant or tool.
    pub role: BTreeMap<String, String>,
    /// What to take of message trees: rule -> value.
    pub tree: BTreeMap<String, String>,
    /// What to do with a message's content that is a list of parts.
    pub parts: PartsPolicy,
    /// Stop after that many rows (0: all).
    pub limit: u64,
    /// Share of rows that may be rejected before the run ends, judged after 100 rows and at the end.
    pub max_reject_rate: f64,
    /// Longest line in bytes; a longer one is rejected and skipped.
    pub max_line_bytes: u64,
}

impl Default for SourceConfig {
    fn default() -> Self {
        Self {
            inputs: Vec::new(),
            format: FormatChoice::Auto,
            map: BTreeMap::new(),
            role: BTreeMap::new(),
            tree: BTreeMap::new(),
            parts: PartsPolicy::Auto,
            limit: 0,
            max_reject_rate: 0.05,
            max_line_bytes: 64 << 20,
        }
    }
}

/// Row formats.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FormatChoice {
    /// Detect it per source.
    #[default]
    Auto,
    /// OpenAI / ChatML `messages`.
    Messages,
    /// `conversations` with `from` and `value`.
    Sharegpt,
    /// `instruction`, `input`, `output`.
    Alpaca,
    /// `prompt` and `completion`, as text or as messages.
    PromptCompletion,
    /// `text`.
    Text,
    /// `input_ids` with `labels` or a mask.
    Pretokenized,
    /// Open-Assistant's message trees: `prompt` with nested `replies`.
    Oasst,
}

/// What to do with a message's content that is a list of typed parts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartsPolicy {
    /// `raw` if the template handles lists itself, else `join`.
    #[default]
    Auto,
    /// Join text parts; reasoning parts become `reasoning_content`.
    Join,
    /// Hand the list to the template as it is.
    Raw,
}

/// How to render and tokenize.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TemplateConfig {
    /// Tokenizer: a folder, a `tokenizer.json`, or `builtin`.
    pub tokenizer: String,
    /// Chat template: a file, the template itself, or a built-in name; empty: the tokenizer's own.
    pub chat_template: String,
    /// Global `chat_template_kwargs`; a row's own win.
    pub kwargs: serde_json::Map<String, serde_json::Value>,
    /// Date (`YYYY-MM-DD` or `YYYY-MM-DDTHH:MM:SS`) that templates see; empty: today, recorded.
    pub date: String,
}

/// What to train on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LabelConfig {
    /// Which turns: a role, several with commas between, or `last_turn`.
    pub train_on: TrainOn,
    /// What to do where the template leaves out reasoning of turns that others follow.
    pub history: History,
    /// What to do where it leaves out any other field of a trained turn.
    pub dropped: Dropped,
    /// Train reasoning that the template keeps.
    pub reasoning: bool,
    /// Train tool calls.
    pub tool_calls: bool,
    /// Which stop tokens.
    pub stop: StopPolicy,
    /// What to do with text of a row that spells a control token.
    pub special_text: SpecialText,
    /// How text is tokenized where an answer begins.
    pub boundary: Boundary,
    /// Whether raw rows end with the tokenizer's eos token.
    pub append_eos: AppendEos,
    /// Literal text that ends where an assistant's turn begins, for templates that prove no start.
    pub assistant_header: String,
    /// Literal text that ends such a turn; goes with the header.
    pub assistant_stop: String,
}

impl Default for LabelConfig {
    fn default() -> Self {
        Self {
            train_on: TrainOn::default(),
            history: History::PerTurn,
            dropped: Dropped::Refuse,
            reasoning: true,
            tool_calls: true,
            stop: StopPolicy::Turn,
            special_text: SpecialText::AsText,
            boundary: Boundary::Hf,
            append_eos: AppendEos::Auto,
            assistant_header: String::new(),
            assistant_stop: String::new(),
        }
    }
}

/// Which turns are trained. As text: `last_turn`, or roles with commas between.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TrainOn {
    /// Roles whose messages are trained.
    pub roles: Vec<String>,
    /// The last assistant turn only.
    pub last_turn: bool,
}

/// Roles that messages can have.
const ROLES: [&str; 5] = ["system", "developer", "user", "assistant", "tool"];

/// Memory that a run can be held to, at least.
const MIN_MEMORY: u64 = 192 << 20;

/// Rows of a step, at most.
const MAX_BALANCE: u32 = 1 << 16;

const LAST_TURN: &str = "last_turn";

impl Default for TrainOn {
    /// Every assistant turn.
    fn default() -> Self {
        Self {
            roles: vec!["assistant".to_owned()],
            last_turn: false,
        }
    }
}

impl TryFrom<String> for TrainOn {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        if text == LAST_TURN {
            return Ok(Self {
                last_turn: true,
                ..Self::default()
            });
        }
        let roles: Vec<String> = text.split(',').map(|role| role.trim().to_owned()).collect();
        let wrong = roles.iter().find(|role| !ROLES.contains(&role.as_str()));
        match wrong {
            Some(role) => Err(format!(
                "train_on names {role:?}; it must be last_turn, or roles of {} with commas between",
                ROLES.join(", ")
            )),
            None => Ok(Self {
                roles,
                last_turn: false,
            }),
        }
    }
}

impl From<TrainOn> for String {
    fn from(train_on: TrainOn) -> Self {
        if train_on.last_turn {
            LAST_TURN.to_owned()
        } else {
            train_on.roles.join(",")
        }
    }
}

/// What becomes of a row whose template leaves out the reasoning of turns that others follow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum History {
    /// One sample per trained turn: the conversation up to that turn, with that turn trained, as
    /// inference would have seen it.
    #[default]
    PerTurn,
    /// One sample; the turns are trained without their reasoning.
    Allow,
    /// The row is rejected.
    Refuse,
}

/// What becomes of a row whose template leaves out a field of a trained turn altogether.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dropped {
    /// The row is rejected, with the name of the field.
    #[default]
    Refuse,
    /// The turn is trained without it, and counted.
    Allow,
}

/// Which stop tokens are trained.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopPolicy {
    /// That of every trained turn.
    #[default]
    Turn,
    /// Only that of the last trained turn.
    Last,
    /// None.
    None,
}

/// What to do with text of a row that spells a control token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpecialText {
    /// Tokenize it as plain text: it never becomes the control token.
    #[default]
    AsText,
    /// Reject the row.
    Refuse,
    /// As transformers does: it becomes the control token.
    AsTransformers,
}

/// How text is tokenized where an answer begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Boundary {
    /// As one text, as transformers does; a token across the place is not trained.
    #[default]
    Hf,
    /// As an engine that serves the model does: the prompt, then what goes on from it.
    Inference,
}

/// Whether rows without a template end with the tokenizer's eos token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AppendEos {
    /// Completions do (their stop token), raw text does not.
    #[default]
    Auto,
    /// Both do.
    Always,
    /// Neither does.
    Never,
}

/// How to pack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PackingConfig {
    /// Tokens per packed sequence, at most.
    pub max_len: u32,
    /// Packing strategy.
    pub strategy: Strategy,
    /// What to do with samples longer than `max_len` (`bfd_split` and `wrapped` split instead).
    pub overlong: Overlong,
    /// Seed of the order in which documents of equal length are placed.
    pub seed: u64,
    /// Rows that all ranks together read in a step: they get rows of like cost (0: any rows).
    pub balance: u32,
}

impl PackingConfig {
    /// Whether the strategy itself cuts what is too long.
    pub fn splits(&self) -> bool {
        matches!(self.strategy, Strategy::BfdSplit | Strategy::Wrapped)
    }

    /// Whether samples that are too long become windows.
    pub fn windows(&self) -> bool {
        !self.splits() && matches!(self.overlong, Overlong::Window | Overlong::DropOldestTurns)
    }
}

impl Default for PackingConfig {
    fn default() -> Self {
        Self {
            max_len: 4096,
            strategy: Strategy::Bfd,
            overlong: Overlong::Window,
            seed: 0,
            balance: 0,
        }
    }
}

/// Packing strategies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Exact best-fit decreasing over all documents.
    #[default]
    Bfd,
    /// As `bfd`, after cutting over-long documents into pieces of `max_len`.
    BfdSplit,
    /// First fit in input order.
    FirstFit,
    /// Fill the current sequence in input order; start the next when a document does not fit.
    Sequential,
    /// Concatenate everything and cut every `max_len` tokens.
    Wrapped,
    /// One document per sequence.
    None,
}

/// What to do with samples longer than `max_len`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlong {
    /// Several windows, cut where turns begin, so that each token to train is trained once.
    #[default]
    Window,
    /// The last of those windows.
    DropOldestTurns,
    /// Drop the row, counted in rows and tokens.
    Drop,
    /// Keep the first `max_len` tokens.
    Truncate,
    /// End the run.
    Error,
}

/// Where to write, and with what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OutputConfig {
    /// Output folder.
    pub dir: String,
    /// Size of a shard in bytes, about.
    pub shard_bytes: u64,
    /// Replace an existing output.
    pub overwrite: bool,
    /// Put the text of rejected rows into `rejects.jsonl`.
    pub reject_excerpts: bool,
    /// Plan and count only; write nothing.
    pub dry_run: bool,
    /// Worker threads (0: all cores).
    pub threads: u32,
    /// Bytes of input per task, rounded up to a power of two (0: chosen from the inputs' sizes).
    pub task_bytes: u64,
    /// Go on with what a run with the same options left.
    pub resume: bool,
    /// Memory of the process in bytes, at most (0: not limited). Longer rows than fit are rejected.
    pub memory: u64,
}

impl Default for OutputConfig {
    fn default() -> Self {
        Self {
            dir: String::new(),
            shard_bytes: 256 << 20,
            overwrite: false,
            reject_excerpts: false,
            dry_run: false,
            threads: 0,
            task_bytes: 0,
            resume: false,
            memory: 0,
        }
    }
}

impl PackConfig {
    /// Reads the JSON that Python sends.
    pub fn from_json(json: &str) -> Result<Self> {
        let config = Self::unchecked(json)?;
        config.check()?;
        Ok(config)
    }

    /// The same without a look at the values.
    pub fn unchecked(json: &str) -> Result<Self> {
        serde_json::from_str(json)
            .map_err(|error| Error::new(Code::ConfigUnknown, error.to_string()))
    }

    /// Checks ranges that the types do not.
    pub fn check(&self) -> Result<()> {
        let bad = |field: &str, seen: String, want: &str| {
            Err(Error::new(
                Code::ConfigValue,
                format!("{field} is {seen}, it must be {want}"),
            )
            .at_field(field))
        };
        if self.source.inputs.is_empty() {
            return bad("source.inputs", "empty".into(), "at least one path");
        }
        let rate = self.source.max_reject_rate;
        if !(0.0..=1.0).contains(&rate) {
            return bad(
                "source.max_reject_rate",
                rate.to_string(),
                "between 0 and 1",
            );
        }
        if self.source.max_line_bytes == 0 || self.source.max_line_bytes > 1 << 31 {
            let seen = self.source.max_line_bytes.to_string();
            return bad("source.max_line_bytes", seen, "between 1 and 2147483648");
        }
        if self.pack.max_len < 2 || self.pack.max_len > 1 << 24 {
            let seen = self.pack.max_len.to_string();
            return bad("pack.max_len", seen, "between 2 and 16777216 tokens");
        }
        if self.pack.balance == 1 || self.pack.balance > MAX_BALANCE {
            let seen = self.pack.balance.to_string();
            return bad("pack.balance", seen, "0, or between 2 and 65536 rows");
        }
        if self.output.shard_bytes < 1 << 10 || self.output.shard_bytes > 4 << 30 {
            let seen = self.output.shard_bytes.to_string();
            return bad("output.shard_bytes", seen, "between 1 KiB and 4 GiB");
        }
        if self.output.memory > 0 && self.output.memory < MIN_MEMORY {
            let seen = self.output.memory.to_string();
            return bad("output.memory", seen, "0, or at least 192 MiB");
        }
        if self.label.assistant_header.is_empty() != self.label.assistant_stop.is_empty() {
            let want = "given together with label.assistant_stop, or left out with it";
            let seen = format!("{:?}", self.label.assistant_header);
            return bad("label.assistant_header", seen, want);
        }
        for (from, to) in &self.source.role {
            if !ROLES.contains(&to.as_str()) {
                let want = "system, developer, user, assistant or tool";
                return bad("source.role", format!("{from}={to}"), want);
            }
        }
        Ok(())
    }
}
