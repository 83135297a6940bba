//! The messages of a row as texts, and whether they follow each other as a conversation does.

use std::borrow::Cow;

use sftprep_template::Data;

use super::issues::Issue;
use super::row::content;
use crate::types::Sample;

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Role {
    System,
    User,
    Assistant,
    Tool,
}

impl Role {
    pub(in super::super) const fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        }
    }
}

/// What somebody says.
#[derive(Debug)]
pub(in super::super) struct Part<'s> {
    pub(in super::super) role: Role,
    pub(in super::super) text: Cow<'s, str>,
    /// Whether it has something besides text (tool calls).
    pub(in super::super) more: bool,
}

impl Part<'_> {
    /// Whether it is an answer.
    pub(in super::super) fn learnt(&self) -> bool {
        self.role == Role::Assistant
    }
}

/// The texts of a sample.
pub(in super::super) fn parts(sample: &Sample) -> Vec<Part<'_>> {
    let part = |role, text| Part {
        role,
        text,
        more: false,
    };
    match sample {
        Sample::Conversation(conversation) => {
            conversation.messages.iter().filter_map(message).collect()
        }
        Sample::Threads(threads) => threads.each_message().filter_map(message).collect(),
        Sample::Completion { prompt, completion } => vec![
            part(Role::User, Cow::Borrowed(&**prompt)),
            part(Role::Assistant, Cow::Borrowed(&**completion)),
        ],
        Sample::Text(text) => vec![part(Role::Assistant, Cow::Borrowed(&**text))],
        Sample::Tokens { .. } => Vec::new(),
    }
}

fn message(message: &Data) -> Option<Part<'_>> {
    let map = message.as_map()?;
    let role = match map.get("role").and_then(Data::as_str)? {
        "assistant" => Role::Assistant,
        "system" | "developer" => Role::System,
        "tool" => Role::Tool,
        _ => Role::User,
    };
    let given = |name: &str| map.get(name).is_some_and(|value| *value != Data::Null);
    let more = given("tool_calls");
    if let (Some(Data::Str(text)), false) = (
        map.get("content"),
        given("input") || given("reasoning_content"),
    ) {
        return Some(Part {
            role,
            text: Cow::Borrowed(text),
            more,
        });
    }
    let mut text = String::new();
    for field in ["reasoning_content", "content", "input"] {
        content(map.get(field), &mut text);
    }
    Some(Part {
        role,
        text: Cow::Owned(text),
        more,
    })
}

/// Calls `see` with what is wrong with the order and the completeness of messages.
pub(in super::super) fn turns(parts: &[Part<'_>], see: &mut dyn FnMut(Issue, String)) {
    let said: Vec<(usize, &Part<'_>)> = parts.iter().enumerate().collect();
    for (at, part) in &said {
        if part.text.trim().is_empty() && !part.more && part.role != Role::Tool {
            match part.role {
                Role::Assistant => see(Issue::EmptyAnswer, format!("message {at} is empty")),
                Role::User if *at == first_user(parts) => {
                    see(Issue::EmptyPrompt, format!("message {at} is empty"));
                }
                _ => see(Issue::EmptyTurn, format!("message {at} is empty")),
            }
        }
        if part.role == Role::System
            && *at > 0
            && parts[..*at].iter().any(|it| it.role != Role::System)
        {
            see(Issue::LateSystem, format!("message {at} is of the system"));
        }
    }
    let spoken: Vec<&(usize, &Part<'_>)> = said
        .iter()
        .filter(|(_, part)| part.role != Role::System)
        .collect();
    let (Some((_, first)), Some((_, last))) = (spoken.first(), spoken.last()) else {
        see(
            Issue::NoAnswer,
            "there is no message but the system's".to_owned(),
        );
        return;
    };
    let pair = |role: Role| {
        move |pair: &&[&(usize, &Part<'_>)]| pair[0].1.role == role && pair[1].1.role == role
    };
    let repeated = spoken
        .windows(2)
        .find(|it| pair(Role::User)(it) || pair(Role::Assistant)(it) && !it[0].1.more);
    if let Some([(_, one), (at, _)]) = repeated.map(|it| [it[0], it[1]]) {
        see(
            Issue::RepeatedRole,
            format!(
                "message {at} is of the {} like the one before",
                one.role.name()
            ),
        );
    }
    if !parts.iter().any(Part::learnt) {
        see(
            Issue::NoAnswer,
            "there is no message of the assistant".to_owned(),
        );
        see(
            Issue::EndsWithUser,
            format!("the last message is the {}'s", last.role.name()),
        );
    } else if first.role == Role::Assistant && last.role == Role::User && repeated.is_none() {
        see(
            Issue::RolesSwapped,
            "the assistant begins, the user ends".to_owned(),
        );
    } else if first.role == Role::Assistant {
        see(
            Issue::StartsWithAssistant,
            "the first message is the assistant's".to_owned(),
        );
    } else if last.role != Role::Assistant {
        see(
            Issue::EndsWithUser,
            format!("the last message is the {}'s", last.role.name()),
        );
    }
    if let Some(at) = repetition(parts) {
        see(
            Issue::RepeatedTurn,
            format!("messages {at} and {} were there before", at + 1),
        );
    }
}

fn first_user(parts: &[Part<'_>]) -> usize {
    parts
        .iter()
        .position(|part| part.role == Role::User)
        .unwrap_or(0)
}

/// Where a question and its answer stand a second time.
fn repetition(parts: &[Part<'_>]) -> Option<usize> {
    let mut seen = std::collections::HashSet::new();
    parts.windows(2).enumerate().find_map(|(at, pair)| {
        let exchange = pair[0].role == Role::User && pair[1].role == Role::Assistant;
        let texts = (pair[0].text.trim(), pair[1].text.trim());
        let said = exchange && !texts.0.is_empty() && !texts.1.is_empty();
        (said && !seen.insert(texts)).then_some(at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(roles: &[(Role, &str)]) -> Vec<&'static str> {
        let part = |(role, text): &(Role, &'static str)| Part {
            role: *role,
            text: Cow::Borrowed(*text),
            more: false,
        };
        let parts: Vec<Part<'_>> = roles
            .iter()
            .map(|(role, text)| (*role, &*Box::leak((*text).to_owned().into_boxed_str())))
            .map(|it| part(&it))
            .collect();
        let mut names = Vec::new();
        turns(&parts, &mut |issue, _| names.push(issue.name()));
        names
    }

    #[test]
    fn what_is_wrong_is_named_once() {
        use Role::{Assistant as A, System as S, User as U};
        assert!(found(&[(S, "s"), (U, "a"), (A, "b"), (U, "c"), (A, "d")]).is_empty());
        assert_eq!(found(&[(U, "a")]), ["no_answer", "ends_with_user"]);
        assert_eq!(found(&[(U, "a"), (A, "b"), (U, "c")]), ["ends_with_user"]);
        assert_eq!(found(&[(U, "a"), (U, "a"), (A, "b")]), ["repeated_role"]);
        assert_eq!(
            found(&[(A, "a"), (U, "b"), (A, "c")]),
            ["starts_with_assistant"]
        );
        assert_eq!(found(&[(A, "a"), (U, "b")]), ["roles_swapped"]);
        assert_eq!(found(&[(U, "a"), (S, "s"), (A, "b")]), ["late_system"]);
        assert_eq!(found(&[(U, "a"), (A, " ")]), ["empty_answer"]);
        assert_eq!(
            found(&[(U, "a"), (A, "b"), (U, "a"), (A, "b")]),
            ["repeated_turn"]
        );
        assert_eq!(found(&[(S, "s")]), ["no_answer"]);
    }
}
