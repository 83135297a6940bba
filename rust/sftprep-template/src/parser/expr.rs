//! Expressions, with Jinja2's precedence.

use super::Parser;
use crate::ast::{Args, BinOp, CmpOp, Expr, ExprKind, Name, VarRef};
use crate::error::{Fault, Res};
use crate::filters::Filter;
use crate::lexer::Tok;
use crate::tests::Test;

pub(super) const UNRESOLVED: VarRef = VarRef::Context(u32::MAX);

fn boxed(expr: Expr) -> Box<Expr> {
    Box::new(expr)
}

impl Parser {
    pub(super) fn expression(&mut self) -> Res<Expr> {
        self.nested(Self::condition)
    }

    fn condition(&mut self) -> Res<Expr> {
        let mut expr = self.or()?;
        let mut chain = 0;
        while self.is_name("if") {
            chain += 1;
            self.check_chain(chain)?;
            let at = self.at();
            self.advance();
            let test = self.or()?;
            let otherwise = if self.skip_name("else") {
                Some(boxed(self.expression()?))
            } else {
                None
            };
            expr = Expr {
                kind: ExprKind::Cond(boxed(test), boxed(expr), otherwise),
                at,
            };
        }
        Ok(expr)
    }

    fn or(&mut self) -> Res<Expr> {
        let at = self.at();
        let first = self.and()?;
        if !self.is_name("or") {
            return Ok(first);
        }
        let mut parts = vec![first];
        while self.skip_name("or") {
            parts.push(self.and()?);
        }
        Ok(Expr {
            kind: ExprKind::Or(parts),
            at,
        })
    }

    fn and(&mut self) -> Res<Expr> {
        let at = self.at();
        let first = self.not()?;
        if !self.is_name("and") {
            return Ok(first);
        }
        let mut parts = vec![first];
        while self.skip_name("and") {
            parts.push(self.not()?);
        }
        Ok(Expr {
            kind: ExprKind::And(parts),
            at,
        })
    }

    fn not(&mut self) -> Res<Expr> {
        if self.is_name("not") {
            let at = self.at();
            self.advance();
            let inner = self.nested(Self::not)?;
            return Ok(Expr {
                kind: ExprKind::Not(boxed(inner)),
                at,
            });
        }
        self.compare()
    }

    fn compare(&mut self) -> Res<Expr> {
        let first = self.math1()?;
        let at = self.at();
        let mut rest = Vec::new();
        loop {
            let op = match self.peek() {
                Tok::Op("==") => CmpOp::Eq,
                Tok::Op("!=") => CmpOp::Ne,
                Tok::Op("<") => CmpOp::Lt,
                Tok::Op("<=") => CmpOp::Le,
                Tok::Op(">") => CmpOp::Gt,
                Tok::Op(">=") => CmpOp::Ge,
                Tok::Name(name) if name == "in" => CmpOp::In,
                Tok::Name(name)
                    if name == "not" && matches!(self.look(), Tok::Name(n) if n == "in") =>
                {
                    self.advance();
                    CmpOp::NotIn
                }
                _ => break,
            };
            self.advance();
            rest.push((op, self.math1()?));
        }
        if rest.is_empty() {
            return Ok(first);
        }
        Ok(Expr {
            kind: ExprKind::Compare(boxed(first), rest),
            at,
        })
    }

    fn math1(&mut self) -> Res<Expr> {
        let mut left = self.concat()?;
        let mut chain = 0;
        loop {
            let at = self.at();
            if self.skip_op("+") {
                let right = self.concat()?;
                if let ExprKind::Sum(parts) = &mut left.kind {
                    parts.push(right);
                } else {
                    left = Expr {
                        kind: ExprKind::Sum(vec![left, right]),
                        at,
                    };
                }
            } else if self.skip_op("-") {
                chain += 1;
                self.check_chain(chain)?;
                let right = self.concat()?;
                left = Expr {
                    kind: ExprKind::Bin(BinOp::Sub, boxed(left), boxed(right)),
                    at,
                };
            } else {
                return Ok(left);
            }
        }
    }

    fn concat(&mut self) -> Res<Expr> {
        let at = self.at();
        let first = self.math2()?;
        if !self.is_op("~") {
            return Ok(first);
        }
        let mut parts = vec![first];
        while self.skip_op("~") {
            parts.push(self.math2()?);
        }
        Ok(Expr {
            kind: ExprKind::Concat(parts),
            at,
        })
    }

    fn math2(&mut self) -> Res<Expr> {
        let mut left = self.pow()?;
        let mut chain = 0;
        loop {
            let op = match self.peek() {
                Tok::Op("*") => BinOp::Mul,
                Tok::Op("/") => BinOp::Div,
                Tok::Op("//") => BinOp::FloorDiv,
                Tok::Op("%") => BinOp::Mod,
                _ => return Ok(left),
            };
            chain += 1;
            self.check_chain(chain)?;
            let at = self.at();
            self.advance();
            let right = self.pow()?;
            left = Expr {
                kind: ExprKind::Bin(op, boxed(left), boxed(right)),
                at,
            };
        }
    }

    fn pow(&mut self) -> Res<Expr> {
        let mut left = self.unary(true)?;
        let mut chain = 0;
        while self.is_op("**") {
            chain += 1;
            self.check_chain(chain)?;
            let at = self.at();
            self.advance();
            let right = self.unary(true)?;
            left = Expr {
                kind: ExprKind::Bin(BinOp::Pow, boxed(left), boxed(right)),
                at,
            };
        }
        Ok(left)
    }

    fn unary(&mut self, with_filter: bool) -> Res<Expr> {
        let at = self.at();
        let mut expr = if self.skip_op("-") {
            let inner = self.nested(|parser| parser.unary(false))?;
            Expr {
                kind: ExprKind::Neg(boxed(inner)),
                at,
            }
        } else if self.skip_op("+") {
            let inner = self.nested(|parser| parser.unary(false))?;
            Expr {
                kind: ExprKind::Pos(boxed(inner)),
                at,
            }
        } else {
            self.primary()?
        };
        expr = self.postfix(expr)?;
        if with_filter {
            self.filters(expr)
        } else {
            Ok(expr)
        }
    }

    pub(super) fn primary(&mut self) -> Res<Expr> {
        let at = self.at();
        let kind = match self.peek().clone() {
            Tok::Name(name) => {
                self.advance();
                match name.as_str() {
                    "true" | "True" => ExprKind::Bool(true),
                    "false" | "False" => ExprKind::Bool(false),
                    "none" | "None" => ExprKind::None,
                    _ => ExprKind::Var(Name {
                        name: name.into(),
                        var: UNRESOLVED,
                    }),
                }
            }
            Tok::Str(first) => {
                self.advance();
                let mut text = first;
                while let Tok::Str(more) = self.peek() {
                    text.push_str(more);
                    self.advance();
                }
                ExprKind::Str(text.into())
            }
            Tok::Int(value) => {
                self.advance();
                ExprKind::Int(value)
            }
            Tok::BigInt(digits) => {
                self.advance();
                ExprKind::BigInt(digits.into())
            }
            Tok::Float(value) => {
                self.advance();
                ExprKind::Float(value)
            }
            Tok::Op("(") => {
                self.advance();
                let inner = self.nested(|parser| parser.tuple(true, true, &[]))?;
                self.expect_op(")")?;
                return Ok(inner);
            }
            Tok::Op("[") => self.list()?,
            Tok::Op("{") => self.dict()?,
            _ => return Err(self.unexpected("an expression")),
        };
        Ok(Expr { kind, at })
    }

    fn list(&mut self) -> Res<ExprKind> {
        self.expect_op("[")?;
        let mut items = Vec::new();
        while !self.is_op("]") {
            if !items.is_empty() {
                self.expect_op(",")?;
                if self.is_op("]") {
                    break;
                }
            }
            items.push(self.expression()?);
        }
        self.expect_op("]")?;
        Ok(ExprKind::List(items))
    }

    fn dict(&mut self) -> Res<ExprKind> {
        self.expect_op("{")?;
        let mut entries = Vec::new();
        while !self.is_op("}") {
            if !entries.is_empty() {
                self.expect_op(",")?;
                if self.is_op("}") {
                    break;
                }
            }
            let key = self.expression()?;
            self.expect_op(":")?;
            entries.push((key, self.expression()?));
        }
        self.expect_op("}")?;
        Ok(ExprKind::Dict(entries))
    }

    /// One expression, or several joined by commas as a tuple.
    pub(super) fn tuple(&mut self, conditions: bool, parens: bool, ends: &[&str]) -> Res<Expr> {
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
            items.push(if conditions {
                self.expression()?
            } else {
                self.nested(Self::or)?
            });
            if !self.is_op(",") {
                break;
            }
            is_tuple = true;
        }
        if !is_tuple {
            if let Some(only) = items.pop() {
                return Ok(only);
            }
            if !parens {
                return Err(self.unexpected("an expression"));
            }
        }
        Ok(Expr {
            kind: ExprKind::Tuple(items),
            at,
        })
    }

    pub(super) fn tuple_ends(&self, ends: &[&str]) -> bool {
        matches!(self.peek(), Tok::VarEnd | Tok::BlockEnd | Tok::Op(")"))
            || ends.iter().any(|end| self.is_name(end))
    }

    fn postfix(&mut self, mut expr: Expr) -> Res<Expr> {
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

    fn filters(&mut self, mut expr: Expr) -> Res<Expr> {
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
                    kind: ExprKind::Attr(boxed(object), name.into()),
                    at,
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
