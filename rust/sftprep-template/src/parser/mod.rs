//! Tokens to tree. Names stay unresolved here; [`crate::resolve`] gives them slots.

mod expr;
mod postfix;
mod stmt;

use crate::ast::Stmt;
use crate::error::{ErrorKind, Fault, Res};
use crate::lexer::{Tok, Token};

/// Deepest nesting of brackets, operators and statements in a template.
const MAX_DEPTH: u32 = 120;
/// Links of a chain of postfixes, filters or operators that count as nothing special.
const FREE_CHAIN: u32 = 8;
/// Links beyond those, over the whole template.
const MAX_LONG_CHAINS: u32 = 1_000;

pub(crate) struct Parser {
    tokens: Vec<Token>,
    next: usize,
    depth: u32,
    long_chains: u32,
    /// Loops around the current statement: `break` and `continue` need one.
    loops: u32,
    pub(crate) has_generation: bool,
}

/// Parses a whole template.
pub(crate) fn parse(tokens: Vec<Token>) -> Res<(Vec<Stmt>, bool)> {
    let mut parser = Parser {
        tokens,
        next: 0,
        depth: 0,
        long_chains: 0,
        loops: 0,
        has_generation: false,
    };
    let body = parser.statements_until(&[])?;
    Ok((body, parser.has_generation))
}

impl Parser {
    fn peek(&self) -> &Tok {
        &self.tokens[self.next].tok
    }

    fn look(&self) -> &Tok {
        &self.tokens[(self.next + 1).min(self.tokens.len() - 1)].tok
    }

    fn at(&self) -> u32 {
        self.tokens[self.next].at
    }

    /// Takes the current token; the end of the template stays in place.
    fn advance(&mut self) -> Tok {
        let tok = self.peek().clone();
        if self.next + 1 < self.tokens.len() {
            self.next += 1;
        }
        tok
    }

    fn is_op(&self, op: &str) -> bool {
        matches!(self.peek(), Tok::Op(found) if *found == op)
    }

    fn is_name(&self, name: &str) -> bool {
        matches!(self.peek(), Tok::Name(found) if found == name)
    }

    fn skip_op(&mut self, op: &str) -> bool {
        let found = self.is_op(op);
        if found {
            self.advance();
        }
        found
    }

    fn skip_name(&mut self, name: &str) -> bool {
        let found = self.is_name(name);
        if found {
            self.advance();
        }
        found
    }

    fn expect_op(&mut self, op: &str) -> Res<()> {
        if self.skip_op(op) {
            Ok(())
        } else {
            Err(self.unexpected(&format!("'{op}'")))
        }
    }

    fn expect_keyword(&mut self, name: &str) -> Res<()> {
        if self.skip_name(name) {
            Ok(())
        } else {
            Err(self.unexpected(&format!("'{name}'")))
        }
    }

    fn expect_name(&mut self) -> Res<Box<str>> {
        match self.peek() {
            Tok::Name(name) => {
                let name = name.as_str().into();
                self.advance();
                Ok(name)
            }
            _ => Err(self.unexpected("a name")),
        }
    }

    fn expect(&mut self, tok: &Tok, what: &str) -> Res<()> {
        if self.peek() == tok {
            self.advance();
            return Ok(());
        }
        Err(self.unexpected(what))
    }

    #[cold]
    fn unexpected(&self, wanted: &str) -> Fault {
        let message = format!("expected {wanted}, got {}", describe(self.peek()));
        Fault::syntax(message, self.at())
    }

    fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Res<T>) -> Res<T> {
        if self.depth >= MAX_DEPTH {
            let message = format!("the template is nested deeper than {MAX_DEPTH} levels");
            return Err(Fault::new(ErrorKind::LimitRecursion, message).at(self.at()));
        }
        self.depth += 1;
        let result = parse(self);
        self.depth -= 1;
        result
    }

    /// Bounds the height of the tree: every link beyond the first few of a chain of postfixes,
    /// filters or operators is counted over the whole template.
    fn check_chain(&mut self, length: u32) -> Res<()> {
        if length > FREE_CHAIN {
            self.long_chains += 1;
        }
        if self.long_chains > MAX_LONG_CHAINS {
            let message = "the template's chains of operators and filters are too long";
            return Err(Fault::new(ErrorKind::LimitRecursion, message).at(self.at()));
        }
        Ok(())
    }
}

fn describe(tok: &Tok) -> String {
    match tok {
        Tok::Data(_) => "template text".into(),
        Tok::VarBegin => "'{{'".into(),
        Tok::VarEnd => "'}}'".into(),
        Tok::BlockBegin => "'{%'".into(),
        Tok::BlockEnd => "'%}'".into(),
        Tok::Name(name) => format!("'{name}'"),
        Tok::Str(_) => "a string".into(),
        Tok::Int(_) | Tok::BigInt(_) | Tok::Float(_) => "a number".into(),
        Tok::Op(op) => format!("'{op}'"),
        Tok::Eof => "the end of the template".into(),
    }
}
