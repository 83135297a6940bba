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
    // Each is made where it goes, see `eval::put`.
    for (name, token) in request.special_tokens.iter().rev() {
        let mut names = program.names.iter().zip(&mut *context);
        if let Some((_, value)) = names.find(|((known, _), _)| same_word(known, name)) {
            *value = Value::Str(Str::leaf(token, SPECIAL).inexact());
        }
    }
    for ((name, source), value) in program.names.iter().zip(context) {
        match source {
            Source::Messages => *value = Value::Messages(Messages::all(conversation)),
            Source::Tools => list(value, request.tools, LeafKind::Tools, name, leaves),
            Source::Documents => list(value, request.documents, LeafKind::Documents, name, leaves),
            Source::AddGenerationPrompt => *value = Value::bool(request.add_generation_prompt),
            Source::Func(func) if value.is_undefined() => *value = Value::Func(*func),
            Source::Token | Source::Func(_) => {}
        }
        if !request.kwargs.is_empty()
            && let Some(given) = request.kwargs.get(name)
        {
            *value = Value::from_data(given, leaves.root(LeafKind::Kwarg, name));
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
