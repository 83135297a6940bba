//! Statements.

use super::Parser;
use super::expr::UNRESOLVED;
use crate::ast::{Expr, ExprKind, For, Macro, Name, Scope, SetBlock, Stmt, Target, With};
use crate::error::{Fault, Res};
use crate::lexer::Tok;

impl Parser {
    /// Statements up to one of `ends` (whose name is then the current token), or to the end of
    /// the template when `ends` is empty.
    pub(super) fn statements_until(&mut self, ends: &[&str]) -> Res<Vec<Stmt>> {
        let mut body = Vec::new();
        loop {
            match self.peek().clone() {
                Tok::Data(text) => {
                    self.advance();
                    push_text(&mut body, text);
                }
                Tok::VarBegin => {
                    self.advance();
                    let expr = self.tuple(true, false, &[])?;
                    self.expect(&Tok::VarEnd, "'}}'")?;
                    body.push(Stmt::Emit(expr));
                }
                Tok::BlockBegin => {
                    self.advance();
                    if ends.iter().any(|end| self.is_name(end)) {
                        return Ok(body);
                    }
                    self.nested(|parser| parser.statement(&mut body))?;
                    self.expect(&Tok::BlockEnd, "'%}'")?;
                }
                Tok::Eof if ends.is_empty() => return Ok(body),
                Tok::Eof => {
                    let wanted = ends
                        .iter()
                        .map(|end| format!("'{end}'"))
                        .collect::<Vec<_>>();
                    let message = format!(
                        "unexpected end of template, looking for {}",
                        wanted.join(" or ")
                    );
                    return Err(Fault::syntax(message, self.at()));
                }
                _ => return Err(self.unexpected("text or a tag")),
            }
        }
    }

    /// The body of a block statement, from its `%}` to one of `ends`.
    fn body(&mut self, ends: &[&str]) -> Res<Vec<Stmt>> {
        self.skip_op(":");
        self.expect(&Tok::BlockEnd, "'%}'")?;
        self.statements_until(ends)
    }

    fn body_dropping(&mut self, end: &str) -> Res<Vec<Stmt>> {
        let body = self.body(&[end])?;
        self.advance();
        Ok(body)
    }

    fn statement(&mut self, out: &mut Vec<Stmt>) -> Res<()> {
        let at = self.at();
        let Tok::Name(tag) = self.peek().clone() else {
            return Err(self.unexpected("a tag name"));
        };
        let stmt = match tag.as_str() {
            "if" => self.parse_if()?,
            "for" => self.parse_for()?,
            "set" => self.parse_set()?,
            "macro" => self.parse_macro()?,
            "call" => self.parse_call_block()?,
            "filter" => self.parse_filter_block()?,
            "with" => self.parse_with()?,
            "generation" => self.parse_generation()?,
            "break" | "continue" => {
                self.advance();
                if self.loops == 0 {
                    return Err(Fault::syntax(format!("'{tag}' outside of a loop"), at));
                }
                if tag == "break" {
                    Stmt::Break
                } else {
                    Stmt::Continue
                }
            }
            "print" => return self.parse_print(out),
            "include" | "import" | "from" | "extends" => {
                while !matches!(self.peek(), Tok::BlockEnd | Tok::Eof) {
                    self.advance();
                }
                Stmt::NoLoader(tag.into(), at)
            }
            "block" => {
                self.advance();
                self.expect_name()?;
                self.skip_name("scoped");
                self.skip_name("required");
                let body = self.function_body("endblock")?;
                if matches!(self.peek(), Tok::Name(_)) {
                    self.advance();
                }
                plain_scope(body)
            }
            "autoescape" => self.parse_autoescape(at)?,
            _ => return Err(Fault::syntax(format!("unknown tag '{tag}'"), at)),
        };
        out.push(stmt);
        Ok(())
    }

    fn parse_if(&mut self) -> Res<Stmt> {
        let mut arms = Vec::new();
        let mut otherwise = Vec::new();
        loop {
            self.advance();
            let test = self.tuple(false, false, &[])?;
            let body = self.body(&["elif", "else", "endif"])?;
            arms.push((test, body));
            if self.is_name("elif") {
                continue;
            }
            let is_else = self.is_name("else");
            self.advance();
            if is_else {
                otherwise = self.body_dropping("endif")?;
            }
            return Ok(Stmt::If(arms, otherwise));
        }
    }

    fn parse_for(&mut self) -> Res<Stmt> {
        let at = self.at();
        self.advance();
        let mark = self.next;
        let target = self.assign_target(&["in"], false)?;
        self.expect_keyword("in")?;
        let iter = self.tuple(false, false, &["recursive"])?;
        let mut test = None;
        let mut test_target = None;
        if self.skip_name("if") {
            test = Some(self.expression()?);
            // The filter has its own scope, so it needs its own copy of the target.
            let resume = self.next;
            self.next = mark;
            test_target = Some(self.assign_target(&["in"], false)?);
            self.next = resume;
        }
        let recursive = self.skip_name("recursive");
        self.loops += 1;
        let body = self.body(&["endfor", "else"]);
        self.loops -= 1;
        let body = body?;
        let is_else = self.is_name("else");
        self.advance();
        let otherwise = if is_else {
            self.body_dropping("endfor")?
        } else {
            Vec::new()
        };
        Ok(Stmt::For(Box::new(For {
            target,
            iter,
            test,
            body,
            otherwise,
            recursive,
            body_scope: Scope::default(),
            test_target,
            test_scope: Scope::default(),
            else_scope: Scope::default(),
            loop_slot: None,
            keeps_items: false,
            slots: (0, 0),
            at,
        })))
    }

    fn parse_set(&mut self) -> Res<Stmt> {
        self.advance();
        let target = self.assign_target(&[], true)?;
        if self.skip_op("=") {
            return Ok(Stmt::Set(target, self.tuple(true, false, &[])?));
        }
        let filter = if self.is_op("|") {
            Some(self.filter_chain()?)
        } else {
            None
        };
        let body = self.captured_body("endset")?;
        Ok(Stmt::SetBlock(Box::new(SetBlock {
            target,
            filter,
            body,
            scope: Scope::default(),
        })))
    }

    /// Filters over the captured text.
    fn filter_chain(&mut self) -> Res<Expr> {
        let mut expr = Expr {
            kind: ExprKind::Captured,
            at: self.at(),
        };
        let mut chain = 0;
        while self.skip_op("|") {
            chain += 1;
            self.check_chain(chain)?;
            expr = self.one_filter(expr)?;
        }
        Ok(expr)
    }

    /// A body that cannot break out of a loop around it, because it runs as a function.
    fn function_body(&mut self, end: &str) -> Res<Vec<Stmt>> {
        let loops = std::mem::take(&mut self.loops);
        let body = self.body_dropping(end);
        self.loops = loops;
        body
    }

    fn captured_body(&mut self, end: &str) -> Res<Vec<Stmt>> {
        self.body_dropping(end)
    }

    fn parse_macro(&mut self) -> Res<Stmt> {
        self.advance();
        let name = self.expect_name()?;
        let (params, defaults) = self.signature()?;
        let body = self.function_body("endmacro")?;
        let made = make_macro(Some(name.clone()), params, defaults, body);
        Ok(Stmt::Macro(
            Name {
                name,
                var: UNRESOLVED,
            },
            Box::new(made),
        ))
    }

    fn signature(&mut self) -> Res<(Vec<Box<str>>, Vec<Expr>)> {
        let mut params: Vec<Box<str>> = Vec::new();
        let mut defaults = Vec::new();
        self.expect_op("(")?;
        while !self.is_op(")") {
            if !params.is_empty() {
                self.expect_op(",")?;
            }
            let at = self.at();
            let name = self.expect_name()?;
            if params.contains(&name) {
                return Err(Fault::syntax(format!("duplicate argument '{name}'"), at));
            }
            if self.skip_op("=") {
                defaults.push(self.expression()?);
            } else if !defaults.is_empty() {
                let message = "non-default argument follows default argument";
                return Err(Fault::syntax(message, at));
            }
            params.push(name);
        }
        self.expect_op(")")?;
        Ok((params, defaults))
    }

    fn parse_call_block(&mut self) -> Res<Stmt> {
        self.advance();
        let (params, defaults) = if self.is_op("(") {
            self.signature()?
        } else {
            (Vec::new(), Vec::new())
        };
        let call = self.expression()?;
        if !matches!(call.kind, ExprKind::Call(..)) {
            return Err(Fault::syntax("expected call", call.at));
        }
        let body = self.function_body("endcall")?;
        Ok(Stmt::CallBlock(
            call,
            Box::new(make_macro(None, params, defaults, body)),
        ))
    }

    fn parse_filter_block(&mut self) -> Res<Stmt> {
        self.advance();
        let captured = Expr {
            kind: ExprKind::Captured,
            at: self.at(),
        };
        let mut filter = self.one_filter(captured)?;
        let mut chain = 0;
        while self.skip_op("|") {
            chain += 1;
            self.check_chain(chain)?;
            filter = self.one_filter(filter)?;
        }
        let body = self.captured_body("endfilter")?;
        Ok(Stmt::FilterBlock(filter, body, Scope::default()))
    }

    fn parse_with(&mut self) -> Res<Stmt> {
        self.advance();
        let mut targets = Vec::new();
        while *self.peek() != Tok::BlockEnd && !self.is_op(":") {
            if !targets.is_empty() {
                self.expect_op(",")?;
            }
            let target = self.assign_target(&[], false)?;
            self.expect_op("=")?;
            targets.push((target, self.expression()?));
        }
        let body = self.body_dropping("endwith")?;
        Ok(Stmt::With(Box::new(With {
            targets,
            body,
            scope: Scope::default(),
        })))
    }

    fn parse_generation(&mut self) -> Res<Stmt> {
        self.advance();
        self.has_generation = true;
        let body = self.function_body("endgeneration")?;
        Ok(Stmt::Generation(body, Scope::default()))
    }

    /// Chat templates are no HTML: escaping can be switched off, as it is, but not on.
    fn parse_autoescape(&mut self, at: u32) -> Res<Stmt> {
        self.advance();
        let value = self.expression()?;
        if !matches!(value.kind, ExprKind::Bool(false)) {
            let message = "autoescape other than false is not supported in chat templates";
            return Err(Fault::new(crate::error::ErrorKind::Unsupported, message).at(at));
        }
        Ok(plain_scope(self.body_dropping("endautoescape")?))
    }

    fn parse_print(&mut self, out: &mut Vec<Stmt>) -> Res<()> {
        self.advance();
        let mut first = true;
        while *self.peek() != Tok::BlockEnd {
            if !first {
                self.expect_op(",")?;
            }
            first = false;
            out.push(Stmt::Emit(self.expression()?));
        }
        Ok(())
    }

    /// What `set` and `for` assign to: names, tuples of names, and (for `set`) `ns.attribute`.
    fn assign_target(&mut self, ends: &[&str], namespace: bool) -> Res<Target> {
        let at = self.at();
        let mut items = Vec::new();
        let mut is_tuple = false;
        loop {
            if !items.is_empty() {
                self.expect_op(",")?;
            }
            if self.tuple_ends(ends) {
                break;
            }
            items.push(self.one_target(namespace)?);
            if !self.is_op(",") {
                break;
            }
            is_tuple = true;
        }
        match items.pop() {
            Some(only) if !is_tuple => Ok(only),
            Some(last) => {
                items.push(last);
                Ok(Target::Tuple(items, at))
            }
            None => Err(self.unexpected("a name to assign to")),
        }
    }

    fn one_target(&mut self, namespace: bool) -> Res<Target> {
        let at = self.at();
        if self.skip_op("(") {
            let inner = self.nested(|parser| parser.assign_target(&[], namespace))?;
            self.expect_op(")")?;
            return Ok(inner);
        }
        let name = self.expect_name()?;
        if matches!(
            &*name,
            "true" | "false" | "none" | "True" | "False" | "None"
        ) {
            return Err(Fault::syntax(format!("can't assign to '{name}'"), at));
        }
        if namespace && self.skip_op(".") {
            let attribute = self.expect_name()?;
            return Ok(Target::Namespace(
                Name {
                    name,
                    var: UNRESOLVED,
                },
                attribute,
                at,
            ));
        }
        Ok(Target::Name(Name {
            name,
            var: UNRESOLVED,
        }))
    }
}

/// A body with a scope of its own and nothing else.
fn plain_scope(body: Vec<Stmt>) -> Stmt {
    Stmt::With(Box::new(With {
        targets: Vec::new(),
        body,
        scope: Scope::default(),
    }))
}

fn push_text(body: &mut Vec<Stmt>, text: String) {
    // Text on both sides of a comment is one piece.
    if let Some(Stmt::Text(before)) = body.last_mut() {
        let mut joined = std::mem::take(before).into_string();
        joined.push_str(&text);
        *before = joined.into();
    } else {
        body.push(Stmt::Text(text.into()));
    }
}

fn make_macro(
    name: Option<Box<str>>,
    params: Vec<Box<str>>,
    defaults: Vec<Expr>,
    body: Vec<Stmt>,
) -> Macro {
    Macro {
        name,
        params: params.into_iter().map(|param| (param, 0)).collect(),
        defaults,
        body,
        scope: Scope::default(),
        slots: 0,
        caller: None,
        varargs: None,
        kwargs: None,
    }
}
