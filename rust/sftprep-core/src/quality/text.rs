//! The text of a row that is compared.

use serde::{Deserialize, Serialize};
use sftprep_template::Data;

use super::data_json;
use crate::types::{Sample, TokenTargets};

/// Which part of a row is compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    /// Everything that is said in it.
    #[default]
    All,
    /// What is given: all messages but the assistant's; the prompt.
    Prompt,
    /// What is to be learnt: the assistant's messages; the completion; raw text.
    Answer,
}

/// Appends the compared text of a sample to `out`, parts on lines of their own.
///
/// Of a message that is its content, its reasoning and its tool calls as JSON; of a tree every message
/// that is part of a thread, once. Token ids are
/// written as numbers, so that they compare like words.
pub(super) fn text_of(sample: &Sample, field: Field, out: &mut String) {
    let (given, learnt) = (field != Field::Answer, field != Field::Prompt);
    match sample {
        Sample::Conversation(conversation) => {
            for message in &conversation.messages {
                said(message, (given, learnt), out);
            }
        }
        Sample::Threads(threads) => {
            for message in threads.each_message() {
                said(message, (given, learnt), out);
            }
        }
        Sample::Completion { prompt, completion } => {
            if given {
                line(prompt, out);
            }
            if learnt {
                line(completion, out);
            }
        }
        Sample::Text(text) => {
            if learnt {
                line(text, out);
            }
        }
        Sample::Tokens { input_ids, targets } => {
            for (at, id) in input_ids.iter().enumerate() {
                let trained = match targets {
                    TokenTargets::All => true,
                    TokenTargets::Mask(mask) => mask.get(at).copied().unwrap_or(false),
                };
                if if trained { learnt } else { given } {
                    out.push_str(&id.to_string());
                    out.push(' ');
                }
            }
        }
    }
}

fn said(message: &Data, (given, learnt): (bool, bool), out: &mut String) {
    let Some(message) = message.as_map() else {
        return;
    };
    let assistant = message.get("role").and_then(Data::as_str) == Some("assistant");
    if if assistant { learnt } else { given } {
        for part in ["reasoning_content", "content", "tool_calls"] {
            append(message.get(part), out);
        }
    }
}

fn append(value: Option<&Data>, out: &mut String) {
    match value {
        None | Some(Data::Null) => {}
        Some(Data::Str(text)) => line(text, out),
        Some(other) => {
            let mut json = String::new();
            data_json::push(other, &mut json);
            line(&json, out);
        }
    }
}

fn line(text: &str, out: &mut String) {
    if !out.is_empty() {
        out.push('\n');
    }
    out.push_str(text);
}
