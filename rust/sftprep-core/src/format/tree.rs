//! Open-Assistant's message trees: `message_tree_id`, `prompt` and nested `replies`.
//!
//! A tree is one row and several conversations: its threads, each from the prompt down to an answer.
//! A message that a rule leaves out goes with everything below it. Of every message it is known
//! whether it is part of a thread, or why not.

use std::collections::BTreeMap;
use std::sync::Arc;

use sftprep_template::{Data, Map};

use super::messages::{Turn, Turns};
use super::row::{Row, shown, wrong_type};
use crate::error::{Code, Error, Reject, Result};
use crate::types::{Sample, Threads};

/// Messages that are part of a thread.
pub const USED: &str = "used";
/// Messages below one that was left out.
const BELOW: &str = "below";
/// Messages of threads that end with a question, where only these have them.
const UNANSWERED: &str = "unanswered";
/// Messages that are not the best of their siblings, or below such.
const NOT_BEST: &str = "not_best";

/// Which threads of a tree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Choice {
    /// From the root to every leaf that is an assistant's message.
    #[default]
    All,
    /// From the root to every assistant's message that has no other below it.
    Answered,
    /// The one of the best rank, up to its last answer.
    Best,
}

/// Names of the rules, for messages.
const RULES: &str = "threads, state, lang, deleted, rejected, synthetic or label.NAME";

/// What is taken of trees.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TreeRules {
    threads: Choice,
    /// States of trees; empty: any.
    states: Vec<String>,
    /// Languages; empty: any.
    langs: Vec<String>,
    keeps_deleted: bool,
    keeps_rejected: bool,
    keeps_synthetic: bool,
    /// Labels with the least and the greatest value that a message may have.
    labels: Vec<(String, f64, f64)>,
}

impl Default for TreeRules {
    fn default() -> Self {
        Self {
            threads: Choice::All,
            states: vec!["ready_for_export".to_owned()],
            langs: Vec::new(),
            keeps_deleted: false,
            keeps_rejected: false,
            keeps_synthetic: true,
            labels: Vec::new(),
        }
    }
}

impl TreeRules {
    /// Rules as they are given: name -> value.
    ///
    /// # Errors
    /// [`Code::ConfigValue`] for a rule or a value that there is not.
    pub(super) fn of(given: &BTreeMap<String, String>) -> Result<Self> {
        let mut rules = Self::default();
        for (name, value) in given {
            let wrong = |wanted: &str| {
                let message = format!("--tree {name}={value}: it must be {wanted}");
                Error::new(Code::ConfigValue, message).at_field(format!("source.tree.{name}"))
            };
            let keep = || match value.as_str() {
                "keep" => Ok(true),
                "drop" => Ok(false),
                _ => Err(wrong("keep or drop")),
            };
            let list = || match value.as_str() {
                "any" => Vec::new(),
                names => names
                    .split(',')
                    .map(|name| name.trim().to_owned())
                    .collect(),
            };
            match name.as_str() {
                "threads" => {
                    rules.threads = match value.as_str() {
                        "all" => Choice::All,
                        "answered" => Choice::Answered,
                        "best" => Choice::Best,
                        _ => return Err(wrong("all, answered or best")),
                    }
                }
                "state" => rules.states = list(),
                "lang" => rules.langs = list(),
                "deleted" => rules.keeps_deleted = keep()?,
                "rejected" => rules.keeps_rejected = keep()?,
                "synthetic" => rules.keeps_synthetic = keep()?,
                other => {
                    let Some(label) = other.strip_prefix("label.").filter(|it| !it.is_empty())
                    else {
                        let message = format!("--tree {name}={value}: there is no such rule");
                        return Err(Error::new(Code::ConfigValue, message)
                            .at_field("source.tree")
                            .hint(format!("the rules are {RULES}")));
                    };
                    let (least, most) = range(value)
                        .ok_or_else(|| wrong("a range such as 0.5.., ..0.3 or 0.2..0.8"))?;
                    rules.labels.push((label.to_owned(), least, most));
                }
            }
        }
        Ok(rules)
    }

    /// Why a message is left out, if it is.
    fn against(&self, message: &Map) -> Option<&'static str> {
        let is = |name: &str, wanted: bool| message.get(name) == Some(&Data::Bool(wanted));
        if !self.keeps_deleted && is("deleted", true) {
            return Some("deleted");
        }
        if !self.keeps_rejected && is("review_result", false) {
            return Some("rejected");
        }
        if !self.keeps_synthetic && is("synthetic", true) {
            return Some("synthetic");
        }
        let lang = message.get("lang").and_then(Data::as_str);
        let spoken = |lang: &str| self.langs.iter().any(|wanted| wanted == lang);
        if !self.langs.is_empty() && !lang.is_some_and(spoken) {
            return Some("lang");
        }
        let within = |(name, least, most): &(String, f64, f64)| {
            label(message, name).is_some_and(|value| *least <= value && value <= *most)
        };
        (!self.labels.iter().all(within)).then_some("label")
    }
}

/// `A..B` with both ends optional, but not both missing.
fn range(text: &str) -> Option<(f64, f64)> {
    let (least, most) = text.split_once("..")?;
    let end = |text: &str, open: f64| match text.trim() {
        "" => Some(open),
        number => number.parse::<f64>().ok().filter(|it| it.is_finite()),
    };
    let ends = (end(least, f64::NEG_INFINITY)?, end(most, f64::INFINITY)?);
    (ends.0 <= ends.1 && (ends.0.is_finite() || ends.1.is_finite())).then_some(ends)
}

/// The value of a label: `labels` is `{name: {value, count}}`, or as tables have it
/// `{name: [...], value: [...], count: [...]}`.
fn label(message: &Map, name: &str) -> Option<f64> {
    let labels = message.get("labels")?.as_map()?;
    if let Some(names) = labels.get("name").and_then(Data::as_list) {
        let at = names.iter().position(|it| it.as_str() == Some(name))?;
        return number(labels.get("value")?.as_list()?.get(at)?);
    }
    match labels.get(name)? {
        Data::Map(label) => number(label.get("value")?),
        value => number(value),
    }
}

fn number(value: &Data) -> Option<f64> {
    match value {
        Data::Int(number) => Some(*number as f64),
        Data::Float(number) => Some(*number),
        _ => None,
    }
}

/// A message of a tree.
struct Node {
    parent: Option<usize>,
    replies: Vec<usize>,
    /// Why it is left out.
    out: Option<&'static str>,
    /// Role in the normal form.
    role: &'static str,
    text: Arc<str>,
    rank: Option<i64>,
    /// Where it stands in the row.
    path: String,
}

/// Whether a row is a tree.
pub(super) fn is_tree(row: &Map) -> bool {
    let Some(Data::Map(prompt)) = row.get("prompt") else {
        return false;
    };
    prompt.contains_key("replies") || (row.contains_key("message_tree_id") && is_message(prompt))
}

/// Whether a row is a message of a tree, in an export of one message per row.
pub(super) fn is_flat_message(row: &Map) -> bool {
    row.contains_key("message_id") && is_message(row)
}

fn is_message(map: &Map) -> bool {
    let is_text = |name: &str| map.get(name).is_some_and(|it| it.as_str().is_some());
    is_text("text") && is_text("role")
}

/// The threads of a tree.
pub(super) fn parse(row: &mut Row<'_>, rules: &TreeRules) -> Result<Sample, Reject> {
    let state = match row.take("tree_state") {
        Some(Data::Str(state)) => Some(state),
        _ => None,
    };
    let prompt = match row.require("prompt")? {
        Data::Map(prompt) => prompt,
        other => return Err(wrong_type(&"prompt", &other, "a message with replies")),
    };
    let mut nodes = read(prompt, rules, row)?;
    let wanted = |state: Arc<str>| rules.states.iter().any(|it| **it == *state);
    if !rules.states.is_empty() && !state.is_none_or(wanted) {
        nodes[0].out = Some("state");
    }
    for at in 1..nodes.len() {
        let parent = nodes[at].parent.unwrap_or(0);
        if nodes[parent].out.is_some() {
            nodes[at].out = Some(BELOW);
        }
    }
    let ends = match rules.threads {
        Choice::Best => best(&nodes),
        Choice::All => ends(&nodes, false),
        Choice::Answered => ends(&nodes, true),
    };
    let mut threads = Threads::default();
    let mut used = vec![false; nodes.len()];
    for end in ends {
        let mut thread: Vec<usize> =
            std::iter::successors(Some(end), |at| nodes[*at].parent).collect();
        thread.reverse();
        let fresh = thread.iter().take_while(|at| used[**at]).count();
        for at in &thread {
            used[*at] = true;
        }
        let mut turns = Turns::default();
        for at in thread {
            let node = &nodes[at];
            turns.push(Turn::new(node.role, Data::Str(Arc::clone(&node.text))));
        }
        let mut thread = turns.finish("prompt", row)?;
        if let Some(first) = threads.conversations.first() {
            // the columns beside the messages can be taken from the row once
            thread.tools.clone_from(&first.tools);
            thread.documents.clone_from(&first.documents);
            thread.kwargs.clone_from(&first.kwargs);
        }
        threads.conversations.push(thread);
        threads.fresh.push(fresh as u32);
    }
    let rest = match rules.threads {
        Choice::Best => NOT_BEST,
        Choice::All | Choice::Answered => UNANSWERED,
    };
    for (node, used) in nodes.iter().zip(used) {
        let fate = if used { USED } else { node.out.unwrap_or(rest) };
        *threads.messages.entry(fate).or_default() += 1;
    }
    if threads.conversations.is_empty() {
        let detail = format!("no thread is left of {}", told(&threads.messages));
        return Err(Reject::new(Code::FormatNoThread, detail));
    }
    Ok(Sample::Threads(threads))
}

/// Counts of messages in words.
fn told(counts: &BTreeMap<&'static str, u64>) -> String {
    let messages: u64 = counts.values().sum();
    let each: Vec<String> = counts
        .iter()
        .map(|(why, count)| format!("{count} {why}"))
        .collect();
    let noun = if messages == 1 { "message" } else { "messages" };
    format!("{messages} {noun}: {}", each.join(", "))
}

/// The messages of a tree, each before those below it.
fn read(prompt: Map, rules: &TreeRules, row: &Row<'_>) -> Result<Vec<Node>, Reject> {
    let mut nodes: Vec<Node> = Vec::new();
    let mut waiting = vec![(None, "prompt".to_owned(), prompt)];
    while let Some((parent, path, mut message)) = waiting.pop() {
        let replies = match message.remove("replies") {
            None | Some(Data::Null) => Vec::new(),
            Some(Data::List(replies)) => replies,
            Some(other) => {
                let field = format!("{path}.replies");
                return Err(wrong_type(&field, &other, "an array of messages"));
            }
        };
        let at = nodes.len();
        nodes.push(node(parent, path, &message, rules, row)?);
        if let Some(parent) = parent {
            nodes[parent].replies.push(at);
        }
        for (index, reply) in replies.into_iter().enumerate().rev() {
            let path = format!("{}.replies[{index}]", nodes[at].path);
            match reply {
                Data::Map(reply) => waiting.push((Some(at), path, reply)),
                other => return Err(wrong_type(&path, &other, "a message")),
            }
        }
    }
    Ok(nodes)
}

fn node(
    parent: Option<usize>,
    path: String,
    message: &Map,
    rules: &TreeRules,
    row: &Row<'_>,
) -> Result<Node, Reject> {
    let out = rules.against(message);
    let field = |name: &str| format!("{path}.{name}");
    let text = match message.get("text") {
        Some(Data::Str(text)) => Arc::clone(text),
        // what is left out need not say anything
        None | Some(Data::Null) if out.is_some() => "".into(),
        None => {
            let detail = format!("{} is missing", field("text"));
            return Err(Reject::new(Code::FormatMissing, detail).at_field(field("text")));
        }
        Some(other) => return Err(wrong_type(&field("text"), other, "a string")),
    };
    let seen = message.get("role").unwrap_or(&Data::Null);
    let mapped = seen
        .as_str()
        .map(|role| row.options.roles.get(role).map_or(role, String::as_str));
    let role = match mapped {
        Some("prompter" | "user") => "user",
        Some("assistant") => "assistant",
        Some("system") => "system",
        _ => {
            let wanted = "prompter or assistant";
            let detail = format!("{} is {}, it must be {wanted}", field("role"), shown(seen));
            return Err(Reject::new(Code::FormatRole, detail).at_field(field("role")));
        }
    };
    Ok(Node {
        parent,
        replies: Vec::new(),
        out,
        role,
        text,
        rank: match message.get("rank") {
            Some(Data::Int(rank)) => Some(*rank),
            _ => None,
        },
        path,
    })
}

/// The last messages of all threads, in the order of the tree.
fn ends(nodes: &[Node], answered: bool) -> Vec<usize> {
    // whether there is an assistant's message at or below each, and any message below it
    let mut spoken = vec![false; nodes.len()];
    let mut below = vec![false; nodes.len()];
    for (at, node) in nodes.iter().enumerate().rev() {
        if node.out.is_some() {
            continue;
        }
        let counts = node.replies.iter().any(|reply| nodes[*reply].out.is_none());
        let answer = node.replies.iter().any(|reply| spoken[*reply]);
        below[at] = if answered { answer } else { counts };
        spoken[at] = answer || node.role == "assistant";
    }
    let ends = nodes
        .iter()
        .enumerate()
        .filter(|(at, node)| node.out.is_none() && node.role == "assistant" && !below[*at]);
    ends.map(|(at, _)| at).collect()
}

/// The last answer of the thread of the best replies: those of the lowest rank, or the first of
/// those without one.
fn best(nodes: &[Node]) -> Vec<usize> {
    let mut at = Some(0).filter(|_| nodes[0].out.is_none());
    let mut last = None;
    while let Some(here) = at {
        if nodes[here].role == "assistant" {
            last = Some(here);
        }
        let replies = nodes[here].replies.iter().copied();
        let replies = replies.filter(|reply| nodes[*reply].out.is_none());
        at = replies.min_by_key(|reply| (nodes[*reply].rank.unwrap_or(i64::MAX), *reply));
    }
    last.into_iter().collect()
}
