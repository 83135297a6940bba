//! Expressions, with Jinja2's precedence.

use super::Parser;
use crate::ast::{BinOp, CmpOp, Expr, ExprKind, Name, VarRef};
use crate::error::Res;
use crate::lexer::Tok;

pub(super) const UNRESOLVED: VarRef = VarRef::Context(u32::MAX);

pub(super) fn boxed(expr: Expr) -> Box<Expr> {
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
}
