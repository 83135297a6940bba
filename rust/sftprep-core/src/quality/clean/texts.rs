//! The texts of a row as it stands in its file, each with its place and who says it.

use sftprep_template::{Data, Map};

use super::super::check::Role;
use super::splice::{index, key};
use crate::format::{Format, FormatOptions};

/// What a text of a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Something that somebody says.
    Said(Role),
    /// The column `input` of an alpaca row.
    Input,
}

/// Fields whose text is not said: names of things.
const NAMES: [&str; 9] = [
    "role",
    "from",
    "type",
    "id",
    "name",
    "tool_call_id",
    "url",
    "image_url",
    "train",
];

/// Calls `each` with place, kind and text of every text of a row.
pub(super) fn texts(row: &Data, options: &FormatOptions, each: &mut dyn FnMut(&str, Kind, &str)) {
    let Some(map) = row.as_map() else {
        return;
    };
    let mut visit = |wanted: &str, kind: Kind| {
        let column = options.map.get(wanted).map_or(wanted, String::as_str);
        let mut path = String::new();
        if let Some(value) = look_up(map, column, &mut path) {
            Visit { options, each }.value(value, &mut path, kind);
        }
    };
    let said = Kind::Said;
    match options.format {
        Format::Messages => visit("messages", said(Role::User)),
        Format::Sharegpt => {
            visit("system", said(Role::System));
            visit("conversations", said(Role::User));
            visit("conversation", said(Role::User));
        }
        Format::Alpaca => {
            visit("system", said(Role::System));
            visit("history", said(Role::Tool));
            visit("instruction", said(Role::User));
            visit("input", Kind::Input);
            visit("output", said(Role::Assistant));
        }
        Format::PromptCompletion => {
            visit("prompt", said(Role::User));
            visit("completion", said(Role::Assistant));
        }
        Format::Text => visit("text", said(Role::Assistant)),
        Format::Pretokenized => {}
        Format::Oasst => {
            if let Some(Data::Map(prompt)) = map.get("prompt") {
                let mut path = String::new();
                key(&mut path, "prompt");
                Visit { options, each }.message(prompt, &mut path);
            }
        }
    }
}

struct Visit<'v> {
    options: &'v FormatOptions,
    each: &'v mut dyn FnMut(&str, Kind, &str),
}

impl Visit<'_> {
    fn value(&mut self, value: &Data, path: &mut String, kind: Kind) {
        let length = path.len();
        match value {
            Data::Str(text) => (self.each)(path, kind, text),
            Data::List(items) => {
                for (at, item) in items.iter().enumerate() {
                    index(path, at);
                    self.value(item, path, kind);
                    path.truncate(length);
                }
            }
            Data::Map(map) => {
                let role = self.options.map.get("messages.role");
                let role = role.map_or("role", String::as_str);
                let speaker = [role, "from"]
                    .iter()
                    .find_map(|name| map.get(name)?.as_str());
                let kind = speaker.map_or(kind, |name| Kind::Said(self.role(name)));
                for (name, item) in map.iter() {
                    if NAMES.contains(&&**name) || &**name == role {
                        continue;
                    }
                    key(path, name);
                    self.value(item, path, kind);
                    path.truncate(length);
                }
            }
            _ => {}
        }
    }

    /// A message of a tree and those below it: of all their fields only the text is said.
    fn message(&mut self, message: &Map, path: &mut String) {
        let length = path.len();
        if let Some(Data::Str(text)) = message.get("text") {
            let role = message.get("role").and_then(Data::as_str);
            let role = self.role(role.unwrap_or_default());
            key(path, "text");
            (self.each)(path, Kind::Said(role), text);
            path.truncate(length);
        }
        let replies = message.get("replies").and_then(Data::as_list);
        for (at, reply) in replies.unwrap_or_default().iter().enumerate() {
            if let Data::Map(reply) = reply {
                key(path, "replies");
                index(path, at);
                self.message(reply, path);
                path.truncate(length);
            }
        }
    }

    fn role(&self, name: &str) -> Role {
        match self.options.roles.get(name).map_or(name, String::as_str) {
            "system" | "developer" => Role::System,
            "assistant" | "gpt" | "chatgpt" | "bing" | "bard" | "model" => Role::Assistant,
            "user" | "human" | "prompter" => Role::User,
            _ => Role::Tool,
        }
    }
}

/// The value of a column, or at a path into nested objects and lists; `path` says where it is.
fn look_up<'d>(map: &'d Map, column: &str, path: &mut String) -> Option<&'d Data> {
    if let Some(value) = map.get(column) {
        key(path, column);
        return Some(value);
    }
    let mut steps = column.split('.');
    let first = steps.next()?;
    key(path, first);
    steps.try_fold(map.get(first)?, |value, step| match value {
        Data::Map(map) => {
            key(path, step);
            map.get(step)
        }
        Data::List(items) => {
            let at = step.parse::<usize>().ok()?;
            index(path, at);
            items.get(at)
        }
        _ => None,
    })
}
