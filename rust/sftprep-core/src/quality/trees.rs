//! `trees`: messages of an export that has one per row, put together to the trees they are of.
//!
//! A tree is held until no more of it can come: until the end, or until more is held than may be and
//! it is the one that was added to the longest ago. A message that comes after that ends the work,
//! because a tree without it would be another tree.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use sftprep_template::{Data, Map};

use super::data_json;
use super::kept::KeptFiles;
use super::report::{SourceReport, StageReport, count};
use super::scan::{Check, Inputs, read};
use super::target::target;
use super::verdict::{Row, Verdict};
use super::write::{Arrangement, put};
use crate::config::SourceConfig;
use crate::error::{Code, Error, Reject, Result};
use crate::json::JsonNotes;

/// Options of `trees`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TreesConfig {
    /// What to read.
    pub source: SourceConfig,
    /// File for the trees, `.jsonl`; may be missing in a dry run.
    pub out: Option<PathBuf>,
    /// Bytes of messages that are held at most.
    pub hold: u64,
    /// Worker threads; there is nothing for more than one to do.
    pub threads: usize,
    /// Count and report, write nothing.
    pub dry_run: bool,
    /// Replace existing output.
    pub overwrite: bool,
}

impl Default for TreesConfig {
    fn default() -> Self {
        Self {
            source: SourceConfig::default(),
            out: None,
            hold: 256 << 20,
            threads: 0,
            dry_run: false,
            overwrite: false,
        }
    }
}

impl TreesConfig {
    /// Options from JSON.
    ///
    /// # Errors
    /// `config.unknown`.
    pub fn from_json(json: &str) -> Result<Self> {
        serde_json::from_str(json)
            .map_err(|error| Error::new(Code::ConfigUnknown, error.to_string()))
    }
}

/// Puts messages together. A message is kept if it is part of a tree that is written; one that has no
/// place in its tree is rejected with the reason.
///
/// # Errors
/// `config.*`, `source.*`, `output.*`, `format.scattered`, `run.reject_rate`.
pub fn trees(config: &TreesConfig, check: Check<'_>) -> Result<StageReport> {
    let start = Instant::now();
    let mut inputs = Inputs::open(&config.source, 1)?;
    let target = target(
        config.out.as_ref(),
        config.dry_run,
        config.overwrite,
        &inputs,
    )?;
    let files = target.as_ref().map(|target| KeptFiles::new(target, false));
    let mut written = Written {
        files: files.transpose()?,
        trees: 0,
        lines: Vec::new(),
        json: String::new(),
    };
    let mut grove = Grove::new(config.hold);
    let mut rows: Vec<Row> = Vec::new();
    let mut notes = JsonNotes::default();
    let files = inputs.files.clone();
    inputs.records(check, |place, record| {
        let at = rows.len();
        let verdict = match read(record, &mut notes).and_then(|row| grove.take(at, row)) {
            Ok(()) => Verdict::Kept,
            Err(reject) if reject.code == Code::FormatScattered => {
                return Err(Error::new(reject.code, reject.detail)
                    .at_path(&files[place.source as usize].path)
                    .at_line(place.line)
                    .hint("raise --hold, or sort the rows by message_tree_id"));
            }
            Err(reject) => Verdict::Rejected(Box::new(reject)),
        };
        rows.push(Row {
            times: 0,
            ..Row::new(place, verdict)
        });
        while let Some(tree) = grove.oldest_beyond() {
            written.write(tree, &mut rows)?;
        }
        Ok(())
    })?;
    for tree in grove.rest() {
        written.write(tree, &mut rows)?;
    }
    enough(&rows, config.source.max_reject_rate)?;
    let names: Vec<String> = files.iter().map(|file| file.name.clone()).collect();
    let source = |name: &String| SourceReport {
        name: name.clone(),
        format: "messages of trees".to_owned(),
        evidence: "one message per row".to_owned(),
        ..SourceReport::default()
    };
    let mut report = StageReport {
        stage: "trees".to_owned(),
        sources: names.iter().map(source).collect(),
        ..StageReport::default()
    };
    count(&mut report, &rows)?;
    if let Some((made, target)) = written.files.zip(target.as_ref()) {
        let made = made.finish(&rows, &[])?;
        let mut lines = written.lines;
        lines.resize(rows.len(), None);
        let read = (files.as_slice(), names.as_slice());
        let arranged = Arrangement::default();
        put(made, target, read, &rows, &lines, &arranged, &mut report)?;
    }
    report.seconds = start.elapsed().as_secs_f64();
    Ok(report)
}

/// Trees that are written.
struct Written<'t> {
    /// None in a dry run.
    files: Option<KeptFiles<'t>>,
    trees: u64,
    /// Per row: the line of its tree.
    lines: Vec<Option<u64>>,
    json: String,
}

impl Written<'_> {
    /// Writes a tree as the row of its first message.
    fn write(&mut self, tree: Held, rows: &mut [Row]) -> Result<()> {
        let Some(grown) = tree.grown(rows) else {
            return Ok(());
        };
        self.trees += 1;
        self.lines.resize(rows.len(), None);
        for row in &grown.rows {
            self.lines[*row] = Some(self.trees);
        }
        let Some(row) = grown.rows.first().and_then(|first| rows.get_mut(*first)) else {
            return Ok(());
        };
        row.times = 1;
        let Some(files) = &mut self.files else {
            return Ok(());
        };
        self.json.clear();
        data_json::push(&grown.tree, &mut self.json);
        files.push(0, row, self.json.as_bytes())
    }
}

/// A tree as a row, and the rows that it is made of, first the one that all are below.
struct Grown {
    tree: Data,
    rows: Vec<usize>,
}

/// Whether there are rows, and few enough bad ones.
fn enough(rows: &[Row], max_reject_rate: f64) -> Result<()> {
    if rows.is_empty() {
        return Err(Error::new(Code::SourceEmpty, "the inputs hold no row")
            .hint("check that the path is the one you meant"));
    }
    let mut rejects = rows.iter().filter_map(|row| match &row.verdict {
        Verdict::Rejected(reject) => Some((row.place.line, reject)),
        _ => None,
    });
    let count = rejects.clone().count();
    match rejects.next() {
        Some((line, reject)) if count as f64 > max_reject_rate * rows.len() as f64 => {
            let rows = rows.len();
            let message =
                format!("{count} of {rows} rows are part of no tree; line {line}: {reject}");
            Err(Error::new(Code::RunRejectRate, message)
                .hint("give all files of the export, or raise --max-reject-rate"))
        }
        _ => Ok(()),
    }
}

/// Trees that may still grow.
struct Grove {
    held: HashMap<Arc<str>, Held>,
    /// Trees by when they were added to.
    order: BTreeMap<u64, Arc<str>>,
    clock: u64,
    bytes: u64,
    most: u64,
    /// Hashes of the names of trees that were written.
    closed: HashSet<u64>,
    /// Tree of each message, where rows do not name it.
    homes: HashMap<u64, Arc<str>>,
}

/// A tree as far as it is known.
struct Held {
    id: Arc<str>,
    messages: Vec<(usize, Map)>,
    bytes: u64,
    touched: u64,
}

impl Grove {
    fn new(most: u64) -> Self {
        Self {
            held: HashMap::new(),
            order: BTreeMap::new(),
            clock: 0,
            bytes: 0,
            most,
            closed: HashSet::new(),
            homes: HashMap::new(),
        }
    }

    /// Takes a row.
    fn take(&mut self, row: usize, data: Data) -> Result<(), Reject> {
        let Data::Map(message) = data else {
            return Err(Reject::new(Code::RowNotObject, "the row must be an object"));
        };
        let id = text(&message, "message_id").ok_or_else(|| missing(&message, "message_id"))?;
        let tree = match (
            text(&message, "message_tree_id"),
            text(&message, "parent_id"),
        ) {
            (Some(tree), _) => tree,
            (None, None) => Arc::clone(&id),
            (None, Some(parent)) => match self.homes.get(&hash(&parent)) {
                Some(tree) => Arc::clone(tree),
                None => {
                    return Err(orphan(&format!(
                        "its parent {parent} is in no row before it"
                    )));
                }
            },
        };
        if self.closed.contains(&hash(&tree)) {
            let detail = format!("tree {tree} has another message here, after it was written");
            return Err(Reject::new(Code::FormatScattered, detail));
        }
        if !message.contains_key("message_tree_id") {
            self.homes.insert(hash(&id), Arc::clone(&tree));
        }
        let bytes = size(&message);
        let held = self.held.entry(Arc::clone(&tree)).or_insert_with(|| Held {
            id: Arc::clone(&tree),
            messages: Vec::new(),
            bytes: 0,
            touched: 0,
        });
        self.order.remove(&held.touched);
        self.clock += 1;
        held.touched = self.clock;
        held.bytes += bytes;
        held.messages.push((row, message));
        self.order.insert(self.clock, tree);
        self.bytes += bytes;
        Ok(())
    }

    /// The tree that was added to the longest ago, if too much is held.
    fn oldest_beyond(&mut self) -> Option<Held> {
        if self.bytes <= self.most || self.held.len() < 2 {
            return None;
        }
        let (_, id) = self.order.pop_first()?;
        let held = self.held.remove(&id)?;
        self.closed.insert(hash(&id));
        self.bytes -= held.bytes;
        Some(held)
    }

    /// All that is left, in the order of their first messages.
    fn rest(self) -> Vec<Held> {
        let mut rest: Vec<Held> = self.held.into_values().collect();
        rest.sort_by_key(|held| held.messages.first().map_or(0, |(row, _)| *row));
        rest
    }
}

impl Held {
    /// The tree as a row; messages without a place in it are rejected.
    fn grown(self, rows: &mut [Row]) -> Option<Grown> {
        let mut reject = |row: usize, why: &str| {
            if let Some(row) = rows.get_mut(row) {
                row.verdict = Verdict::Rejected(Box::new(orphan(why)));
            }
        };
        let mut places: HashMap<Arc<str>, usize> = HashMap::new();
        let mut below: HashMap<Arc<str>, Vec<usize>> = HashMap::new();
        let mut root = None;
        for (at, (row, message)) in self.messages.iter().enumerate() {
            let id = text(message, "message_id").unwrap_or_default();
            if places.contains_key(&id) {
                reject(*row, &format!("there is a message {id} already"));
                continue;
            }
            places.insert(id, at);
            match text(message, "parent_id") {
                Some(parent) => below.entry(parent).or_default().push(at),
                None if root.is_none() => root = Some(at),
                None => reject(*row, "the tree has a first message already"),
            }
        }
        // each message before those below it
        let mut order: Vec<(usize, Option<usize>)> = Vec::new();
        let mut waiting: Vec<(usize, Option<usize>)> =
            root.map(|at| (at, None)).into_iter().collect();
        while let Some((at, parent)) = waiting.pop() {
            let id = text(&self.messages[at].1, "message_id").unwrap_or_default();
            let own = order.len();
            order.push((at, parent));
            let replies = below.remove(&id).unwrap_or_default();
            waiting.extend(replies.into_iter().rev().map(|reply| (reply, Some(own))));
        }
        for at in below.into_values().flatten() {
            let (row, message) = &self.messages[at];
            let parent = text(message, "parent_id").unwrap_or_default();
            let what = if places.contains_key(&parent) {
                "has no place in"
            } else {
                "is not in"
            };
            reject(
                *row,
                &format!("its parent {parent} {what} the tree {}", self.id),
            );
        }
        let members = order.iter().map(|(at, _)| self.messages[*at].0).collect();
        let mut messages: Vec<Option<Map>> =
            self.messages.into_iter().map(|it| Some(it.1)).collect();
        let mut replies: Vec<Vec<Data>> = order.iter().map(|_| Vec::new()).collect();
        let mut state = None;
        let mut prompt = None;
        for (own, (at, parent)) in order.iter().enumerate().rev() {
            let mut message = messages[*at].take()?;
            if let Some(found @ Data::Str(_)) = message.get("tree_state") {
                state = Some(found.clone());
            }
            let mut under = std::mem::take(&mut replies[own]);
            under.reverse();
            message.insert("replies", Data::List(under));
            match parent {
                Some(parent) => replies[*parent].push(Data::Map(message)),
                None => prompt = Some(message),
            }
        }
        let mut row = Map::new();
        row.insert("message_tree_id", Data::Str(self.id));
        if let Some(state) = state {
            row.insert("tree_state", state);
        }
        row.insert("prompt", Data::Map(prompt?));
        Some(Grown {
            tree: Data::Map(row),
            rows: members,
        })
    }
}

fn text(message: &Map, name: &str) -> Option<Arc<str>> {
    match message.get(name) {
        Some(Data::Str(text)) if !text.is_empty() => Some(Arc::clone(text)),
        _ => None,
    }
}

fn missing(message: &Map, name: &str) -> Reject {
    let names: Vec<&str> = message.iter().take(12).map(|(name, _)| &**name).collect();
    let detail = format!(
        "{name} is missing or no text; the row has {}",
        names.join(", ")
    );
    Reject::new(Code::FormatMissing, detail).at_field(name)
}

fn orphan(why: &str) -> Reject {
    Reject::new(Code::FormatOrphan, why)
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// Bytes of a message in memory, about.
fn size(message: &Map) -> u64 {
    fn of(value: &Data) -> u64 {
        32 + match value {
            Data::Str(text) => text.len() as u64,
            Data::List(items) => items.iter().map(of).sum(),
            Data::Map(map) => map
                .iter()
                .map(|(key, item)| key.len() as u64 + of(item))
                .sum(),
            _ => 0,
        }
    }
    message
        .iter()
        .map(|(key, item)| key.len() as u64 + of(item))
        .sum()
}
