//! Read-only walks over the tree: which names occur where.

use crate::ast::{Args, Expr, ExprKind, Stmt, Target};

/// Calls `visit` for every variable that `expr` reads, in evaluation order of the source.
pub(crate) fn expr_names(expr: &Expr, visit: &mut dyn FnMut(&str)) {
    walk_expr(expr, &mut |node| {
        if let ExprKind::Var(name) = &node.kind {
            visit(&name.name);
        }
    });
}

/// Whether any expression below `body` reads `name`.
pub(crate) fn mentions(body: &[Stmt], name: &str) -> bool {
    let mut found = false;
    walk_stmts(body, &mut |node| {
        found |= matches!(&node.kind, ExprKind::Var(var) if &*var.name == name);
    });
    found
}

/// Whether the body of a loop reads that loop's `loop`. What a loop inside of it reads in its own
/// body is its own.
pub(crate) fn mentions_loop(body: &[Stmt]) -> bool {
    let reads = |expr: &Expr| {
        let mut found = false;
        expr_names(expr, &mut |name| found |= name == "loop");
        found
    };
    body.iter().any(|stmt| match stmt {
        Stmt::If(arms, otherwise) => {
            let mut arms = arms.iter();
            arms.any(|(test, body)| reads(test) || mentions_loop(body)) || mentions_loop(otherwise)
        }
        Stmt::For(node) => {
            reads(&node.iter)
                || node.test.as_ref().is_some_and(reads)
                || mentions_loop(&node.otherwise)
        }
        other => mentions(std::slice::from_ref(other), "loop"),
    })
}

/// Whether `body` can reach the item before the current one of a loop: it asks for it, or uses
/// `loop` in another way than asking for an attribute by name.
pub(crate) fn reads_previous_item(body: &[Stmt]) -> bool {
    let (mut uses, mut attributes, mut asks) = (0, 0, false);
    let is_loop = |node: &Expr| matches!(&node.kind, ExprKind::Var(var) if &*var.name == "loop");
    walk_stmts(body, &mut |node| {
        uses += usize::from(is_loop(node));
        if let ExprKind::Attr(object, name, _) = &node.kind {
            attributes += usize::from(is_loop(object));
            asks |= &**name == "previtem";
        }
    });
    asks || uses != attributes
}

/// Visits every expression below `body`.
pub(crate) fn walk_stmts<'a>(body: &'a [Stmt], visit: &mut dyn FnMut(&'a Expr)) {
    for stmt in body {
        match stmt {
            Stmt::Emit(expr) => walk_expr(expr, visit),
            Stmt::If(arms, otherwise) => {
                for (test, body) in arms {
                    walk_expr(test, visit);
                    walk_stmts(body, visit);
                }
                walk_stmts(otherwise, visit);
            }
            Stmt::For(node) => {
                walk_expr(&node.iter, visit);
                node.test.iter().for_each(|test| walk_expr(test, visit));
                walk_stmts(&node.body, visit);
                walk_stmts(&node.otherwise, visit);
            }
            Stmt::Set(Target::Name(_) | Target::Tuple(..) | Target::Namespace(..), value) => {
                walk_expr(value, visit);
            }
            Stmt::SetBlock(node) => {
                node.filter
                    .iter()
                    .for_each(|filter| walk_expr(filter, visit));
                walk_stmts(&node.body, visit);
            }
            Stmt::Macro(_, node) => {
                node.defaults
                    .iter()
                    .for_each(|default| walk_expr(default, visit));
                walk_stmts(&node.body, visit);
            }
            Stmt::CallBlock(call, node) => {
                walk_expr(call, visit);
                node.defaults
                    .iter()
                    .for_each(|default| walk_expr(default, visit));
                walk_stmts(&node.body, visit);
            }
            Stmt::FilterBlock(filter, body, _) => {
                walk_expr(filter, visit);
                walk_stmts(body, visit);
            }
            Stmt::With(node) => {
                node.targets
                    .iter()
                    .for_each(|(_, value)| walk_expr(value, visit));
                walk_stmts(&node.body, visit);
            }
            Stmt::Generation(body, _) => walk_stmts(body, visit),
            Stmt::Text(_) | Stmt::Break | Stmt::Continue | Stmt::NoLoader(..) => {}
        }
    }
}

fn walk_args<'a>(args: &'a Args, visit: &mut dyn FnMut(&'a Expr)) {
    args.pos.iter().for_each(|arg| walk_expr(arg, visit));
    args.kw.iter().for_each(|(_, arg)| walk_expr(arg, visit));
    args.star
        .iter()
        .chain(&args.star_star)
        .for_each(|arg| walk_expr(arg, visit));
}

/// Visits `expr` and everything below it.
pub(crate) fn walk_expr<'a>(expr: &'a Expr, visit: &mut dyn FnMut(&'a Expr)) {
    visit(expr);
    match &expr.kind {
        ExprKind::List(items)
        | ExprKind::Tuple(items)
        | ExprKind::Concat(items)
        | ExprKind::Sum(items)
        | ExprKind::And(items)
        | ExprKind::Or(items) => {
            items.iter().for_each(|item| walk_expr(item, visit));
        }
        ExprKind::Dict(entries) => entries.iter().for_each(|(key, value)| {
            walk_expr(key, visit);
            walk_expr(value, visit);
        }),
        ExprKind::Attr(inner, _, _)
        | ExprKind::Neg(inner)
        | ExprKind::Pos(inner)
        | ExprKind::Not(inner) => walk_expr(inner, visit),
        ExprKind::Item(left, right) | ExprKind::Bin(_, left, right) => {
            walk_expr(left, visit);
            walk_expr(right, visit);
        }
        ExprKind::Field(field) | ExprKind::Trimmed(field) => walk_expr(&field.whole, visit),
        ExprKind::Check(check) => walk_expr(&check.whole, visit),
        ExprKind::Kind(kind) => walk_expr(&kind.whole, visit),
        ExprKind::Checks(checks, _) => checks
            .iter()
            .for_each(|check| walk_expr(&check.whole, visit)),
        ExprKind::Slice(object, bounds) => {
            walk_expr(object, visit);
            bounds
                .iter()
                .flatten()
                .for_each(|bound| walk_expr(bound, visit));
        }
        ExprKind::Call(callee, args) => {
            walk_expr(callee, visit);
            walk_args(args, visit);
        }
        ExprKind::Filter(operand, _, args) | ExprKind::Test(operand, _, args) => {
            walk_expr(operand, visit);
            walk_args(args, visit);
        }
        ExprKind::Compare(first, rest) => {
            walk_expr(first, visit);
            rest.iter()
                .for_each(|(_, operand)| walk_expr(operand, visit));
        }
        ExprKind::Cond(test, then, otherwise) => {
            walk_expr(test, visit);
            walk_expr(then, visit);
            otherwise.iter().for_each(|branch| walk_expr(branch, visit));
        }
        ExprKind::None
        | ExprKind::Bool(_)
        | ExprKind::Int(_)
        | ExprKind::BigInt(_)
        | ExprKind::Float(_)
        | ExprKind::Str(_)
        | ExprKind::Var(_)
        | ExprKind::UnknownFilter(_)
        | ExprKind::UnknownTest(_)
        | ExprKind::Captured => {}
    }
}
