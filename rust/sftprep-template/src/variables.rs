//! What the names that a template reads from outside stand for.

use crate::ast::{Program, Source};
use crate::data::{Data, same_word};
use crate::messages::{Conversation, Messages};
use crate::request::Request;
use crate::text::{LITERAL, SPECIAL, Str};
use crate::trace::{LeafKind, Leaves};
use crate::value::{Undef, Value};

/// Appends the value of each name of `program` to `context`, which is empty.
pub(crate) fn variables<'t>(
    program: &'t Program,
    request: &'t Request<'_>,
    conversation: &'t Conversation<'t>,
    leaves: &mut Leaves<'t>,
    context: &mut Vec<Value<'t>>,
) {
    let names = program.names.iter();
    context.extend(names.map(|(name, _)| Value::Undefined(Undef::Var(name))));
    for ((name, source), value) in program.names.iter().zip(context) {
        if let Some(given) = request.kwargs.get(name) {
            *value = Value::from_data(given, leaves.root(LeafKind::Kwarg, name));
            continue;
        }
        // Made where they go, see `eval::put`.
        match source {
            Source::Messages => *value = Value::Messages(Messages::all(conversation)),
            Source::Tools => list(value, request.tools, LeafKind::Tools, name, leaves),
            Source::Documents => list(value, request.documents, LeafKind::Documents, name, leaves),
            Source::AddGenerationPrompt => *value = Value::bool(request.add_generation_prompt),
            Source::Token | Source::Func(_) => match (token(name, request), source) {
                (Some(token), _) => *value = Value::Str(token),
                (None, Source::Func(func)) => *value = Value::Func(*func),
                (None, _) => {}
            },
        }
    }
}

fn list<'t>(
    value: &mut Value<'t>,
    items: Option<&'t [Data]>,
    kind: LeafKind,
    name: &'t str,
    leaves: &mut Leaves<'t>,
) {
    let Some(items) = items else {
        *value = Value::None(LITERAL);
        return;
    };
    let origin = leaves.root(kind, name);
    let items = items.iter().map(|item| Value::from_data(item, origin));
    *value = Value::list(items.collect());
}

/// A special token, if one of that name is set.
#[inline]
fn token<'t>(name: &str, request: &'t Request<'_>) -> Option<Str<'t>> {
    let mut tokens = request.special_tokens.iter();
    let (_, token) = tokens.find(|(key, _)| same_word(key, name))?;
    Some(Str::leaf(token, SPECIAL).inexact())
}
