//! What follows an operand: subscripts, calls, filters and tests.

use super::Parser;
use super::expr::boxed;
use crate::ast::{Args, Expr, ExprKind};
use crate::error::{Fault, Res};
use crate::filters::Filter;
use crate::lexer::Tok;
use crate::methods::method_access;
use crate::tests::Test;

impl Parser {
    pub(super) fn postfix(&mut self, mut expr: Expr) -> Res<Expr> {
        let mut chain = 0;
        loop {
            self.check_chain(chain)?;
            chain += 1;
            expr = match self.peek() {
                Tok::Op("." | "[") => self.subscript(expr)?,
                Tok::Op("(") => self.call(expr)?,
                _ => return Ok(expr),
            };
        }
    }

    pub(super) fn filters(&mut self, mut expr: Expr) -> Res<Expr> {
        let mut chain = 0;
        loop {
            self.check_chain(chain)?;
            chain += 1;
            expr = match self.peek() {
                Tok::Op("|") => {
                    self.advance();
                    self.one_filter(expr)?
                }
                Tok::Name(name) if name == "is" => self.test(expr)?,
                Tok::Op("(") => self.call(expr)?,
                _ => return Ok(expr),
            };
        }
    }

    fn call(&mut self, callee: Expr) -> Res<Expr> {
        let at = self.at();
        let args = self.call_args()?;
        Ok(Expr {
            kind: ExprKind::Call(boxed(callee), args),
            at,
        })
    }

    fn subscript(&mut self, object: Expr) -> Res<Expr> {
        let at = self.at();
        if self.skip_op(".") {
            let at = self.at();
            return match self.advance() {
                Tok::Name(name) => Ok(Expr {
                    at,
                    kind: {
                        let on_dict = method_access("dict", &name);
                        ExprKind::Attr(boxed(object), name.into(), on_dict)
                    },
                }),
                Tok::Int(index) => {
                    let index = Expr {
                        kind: ExprKind::Int(index),
                        at,
                    };
                    Ok(Expr {
                        kind: ExprKind::Item(boxed(object), boxed(index)),
                        at,
                    })
                }
                _ => Err(Fault::syntax("expected name or number after '.'", at)),
            };
        }
        self.expect_op("[")?;
        let kind = if let Some(first) = self.slice_or_index()? {
            match first {
                Subscript::Index(index) if self.is_op(",") => {
                    let mut items = vec![index];
                    while self.skip_op(",") {
                        items.push(self.expression()?);
                    }
                    let index = Expr {
                        kind: ExprKind::Tuple(items),
                        at,
                    };
                    ExprKind::Item(boxed(object), boxed(index))
                }
                Subscript::Index(index) => ExprKind::Item(boxed(object), boxed(index)),
                Subscript::Slice(bounds) => ExprKind::Slice(boxed(object), bounds),
            }
        } else {
            let index = Expr {
                kind: ExprKind::Tuple(Vec::new()),
                at,
            };
            ExprKind::Item(boxed(object), boxed(index))
        };
        self.expect_op("]")?;
        Ok(Expr { kind, at })
    }

    fn slice_or_index(&mut self) -> Res<Option<Subscript>> {
        if self.is_op("]") {
            return Ok(None);
        }
        let start = if self.is_op(":") {
            None
        } else {
            Some(self.expression()?)
        };
        if !self.skip_op(":") {
            return Ok(start.map(Subscript::Index));
        }
        let stop = self.bound()?;
        let step = if self.skip_op(":") {
            self.bound()?
        } else {
            None
        };
        Ok(Some(Subscript::Slice(Box::new([start, stop, step]))))
    }

    fn bound(&mut self) -> Res<Option<Expr>> {
        if matches!(self.peek(), Tok::Op(":" | "]" | ",")) {
            return Ok(None);
        }
        self.expression().map(Some)
    }

    pub(super) fn call_args(&mut self) -> Res<Args> {
        let at = self.at();
        let invalid = || Fault::syntax("invalid syntax for function call expression", at);
        self.expect_op("(")?;
        let mut args = Args::default();
        let mut first = true;
        while !self.is_op(")") {
            if !first {
                self.expect_op(",")?;
                if self.is_op(")") {
                    break;
                }
            }
            first = false;
            if self.skip_op("*") {
                if args.star.is_some() || args.star_star.is_some() {
                    return Err(invalid());
                }
                args.star = Some(boxed(self.expression()?));
            } else if self.skip_op("**") {
                if args.star_star.is_some() {
                    return Err(invalid());
                }
                args.star_star = Some(boxed(self.expression()?));
            } else if matches!(self.peek(), Tok::Name(_)) && *self.look() == Tok::Op("=") {
                if args.star_star.is_some() {
                    return Err(invalid());
                }
                let name = self.expect_name()?;
                if args.kw.iter().any(|(known, _)| *known == name) {
                    return Err(Fault::syntax(
                        format!("keyword argument repeated: {name}"),
                        at,
                    ));
                }
                self.advance();
                args.kw.push((name, self.expression()?));
            } else {
                if !args.is_plain() {
                    return Err(invalid());
                }
                args.pos.push(self.expression()?);
            }
        }
        self.expect_op(")")?;
        Ok(args)
    }

    /// A filter after its `|`.
    pub(super) fn one_filter(&mut self, operand: Expr) -> Res<Expr> {
        let at = self.at();
        let name = self.dotted_name()?;
        let args = if self.is_op("(") {
            self.call_args()?
        } else {
            Args::default()
        };
        let kind = match Filter::from_name(&name) {
            Some(filter) => ExprKind::Filter(boxed(operand), filter, args),
            None => ExprKind::UnknownFilter(name),
        };
        Ok(Expr { kind, at })
    }

    fn dotted_name(&mut self) -> Res<Box<str>> {
        let mut name = self.expect_name()?.into_string();
        while self.skip_op(".") {
            name.push('.');
            name.push_str(&self.expect_name()?);
        }
        Ok(name.into())
    }

    fn test(&mut self, operand: Expr) -> Res<Expr> {
        self.advance();
        let negated = self.skip_name("not");
        let at = self.at();
        let name = self.dotted_name()?;
        let mut args = Args::default();
        if self.is_op("(") {
            args = self.call_args()?;
        } else if self.starts_test_argument() {
            if self.is_name("is") {
                return Err(Fault::syntax(
                    "you cannot chain multiple tests with is",
                    self.at(),
                ));
            }
            let first = self.primary()?;
            args.pos.push(self.postfix(first)?);
        }
        let kind = match Test::from_name(&name) {
            Some(test) => ExprKind::Test(boxed(operand), test, args),
            None => ExprKind::UnknownTest(name),
        };
        let test = Expr { kind, at };
        Ok(if negated {
            Expr {
                kind: ExprKind::Not(boxed(test)),
                at,
            }
        } else {
            test
        })
    }

    fn starts_test_argument(&self) -> bool {
        match self.peek() {
            Tok::Name(name) => !matches!(name.as_str(), "else" | "or" | "and"),
            Tok::Str(_) | Tok::Int(_) | Tok::BigInt(_) | Tok::Float(_) => true,
            Tok::Op(op) => matches!(*op, "(" | "[" | "{"),
            _ => false,
        }
    }
}

enum Subscript {
    Index(Expr),
    Slice(Box<[Option<Expr>; 3]>),
}
