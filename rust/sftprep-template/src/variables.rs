//! What the names that a template reads from outside stand for.

use crate::ast::{Program, Source};
use crate::data::{Data, same_word};
use crate::messages::{Conversation, Messages};
use crate::request::Request;
use crate::text::{LITERAL, SPECIAL, Str};
use crate::trace::{LeafKind, Leaves};
use crate::value::{Undef, Value};

/// Appends the value of each name of `program` to `context`.
pub(crate) fn variables<'t>(
    program: &'t Program,
    request: &'t Request<'_>,
    conversation: &'t Conversation<'t>,
    leaves: &mut Leaves<'t>,
    context: &mut Vec<Value<'t>>,
) {
    let plain = request.kwargs.is_empty();
    for (name, source) in &program.names {
        if !plain {
            context.push(variable((name, *source), request, conversation, leaves));
            continue;
        }
        // Made where they go, see `Interp::set_slot`.
        match source {
            Source::Messages => context.push(Value::Messages(Messages::all(conversation))),
            Source::AddGenerationPrompt => {
                context.push(Value::bool(request.add_generation_prompt));
            }
            Source::Tools if request.tools.is_none() => context.push(Value::None(LITERAL)),
            Source::Tools | Source::Documents => {
                context.push(variable((name, *source), request, conversation, leaves));
            }
            Source::Token | Source::Func(_) => match (token(name, request), source) {
                (Some(token), _) => context.push(Value::Str(token)),
                (None, Source::Func(func)) => context.push(Value::Func(*func)),
                (None, _) => context.push(Value::Undefined(Undef::Var(name))),
            },
        }
    }
}

fn variable<'t>(
    (name, source): (&'t str, Source),
    request: &'t Request<'_>,
    conversation: &'t Conversation<'t>,
    leaves: &mut Leaves<'t>,
) -> Value<'t> {
    if let Some(value) = request.kwargs.get(name) {
        let origin = leaves.root(LeafKind::Kwarg, name);
        return Value::from_data(value, origin);
    }
    let list = |items: Option<&'t [Data]>, kind, leaves: &mut Leaves<'t>| match items {
        None => Value::None(LITERAL),
        Some(items) => {
            let origin = leaves.root(kind, name);
            let items = items.iter().map(|item| Value::from_data(item, origin));
            Value::list(items.collect())
        }
    };
    match source {
        Source::Messages => Value::Messages(Messages::all(conversation)),
        Source::Tools => list(request.tools, LeafKind::Tools, leaves),
        Source::Documents => list(request.documents, LeafKind::Documents, leaves),
        Source::AddGenerationPrompt => Value::bool(request.add_generation_prompt),
        Source::Token => match token(name, request) {
            Some(token) => Value::Str(token),
            None => Value::Undefined(Undef::Var(name)),
        },
        Source::Func(func) => match token(name, request) {
            Some(token) => Value::Str(token),
            None => Value::Func(func),
        },
    }
}

/// A special token, if one of that name is set.
#[inline]
fn token<'t>(name: &str, request: &'t Request<'_>) -> Option<Str<'t>> {
    let mut tokens = request.special_tokens.iter();
    let (_, token) = tokens.find(|(key, _)| same_word(key, name))?;
    Some(Str::leaf(token, SPECIAL).inexact())
}
