//! Joins literals that are written one behind the other: templates print most of their text as
//! many short strings, and each piece costs as much as a long one.

use crate::ast::{Expr, ExprKind, Stmt};

/// Joins literals in a body and in the bodies inside of it.
pub(crate) fn fold(body: &mut Vec<Stmt>) {
    let mut folded: Vec<Stmt> = Vec::with_capacity(body.len());
    for mut stmt in std::mem::take(body) {
        inside(&mut stmt);
        if let Stmt::Emit(expr) = &mut stmt
            && let Some(text) = literal(expr)
        {
            stmt = Stmt::Text(text);
        }
        match (folded.last_mut(), &stmt) {
            (Some(Stmt::Text(before)), Stmt::Text(text)) => append(before, text),
            _ => folded.push(stmt),
        }
    }
    *body = folded;
}

fn inside(stmt: &mut Stmt) {
    match stmt {
        Stmt::If(arms, otherwise) => {
            arms.iter_mut().for_each(|(_, body)| fold(body));
            fold(otherwise);
        }
        Stmt::For(node) => {
            fold(&mut node.body);
            fold(&mut node.otherwise);
        }
        Stmt::SetBlock(node) => fold(&mut node.body),
        Stmt::Macro(_, node) | Stmt::CallBlock(_, node) => fold(&mut node.body),
        Stmt::With(node) => fold(&mut node.body),
        Stmt::FilterBlock(_, body, _) | Stmt::Generation(body, _) => fold(body),
        Stmt::Text(_)
        | Stmt::Emit(_)
        | Stmt::Set(..)
        | Stmt::Break
        | Stmt::Continue
        | Stmt::NoLoader(..) => {}
    }
}

/// The text of an expression that is nothing but a literal. Literals next to one another in a sum
/// become one: whatever stands before them, `x + 'a' + 'b'` is `x + 'ab'`, or the same error.
fn literal(expr: &mut Expr) -> Option<Box<str>> {
    if let ExprKind::Sum(parts) = &mut expr.kind {
        parts.dedup_by(|next, before| match (&mut before.kind, &next.kind) {
            (ExprKind::Str(before), ExprKind::Str(text)) => {
                append(before, text);
                true
            }
            _ => false,
        });
        if let [only] = &mut parts[..] {
            return literal(only);
        }
        return None;
    }
    match &mut expr.kind {
        ExprKind::Str(text) => Some(std::mem::take(text)),
        _ => None,
    }
}

fn append(before: &mut Box<str>, text: &str) {
    let mut joined = std::mem::take(before).into_string();
    joined.push_str(text);
    *before = joined.into_boxed_str();
}
