//! The tree a template compiles to. Names are resolved to slots before anything runs.

use crate::filters::Filter;
use crate::methods::Access;
use crate::tests::Test;
use crate::value::Func;

/// Where a name lives while the template runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VarRef {
    /// A variable of the request or a global function, by index in [`Program::names`].
    Context(u32),
    /// A slot of the running macro body (or of the template itself).
    Slot(u32),
    /// A slot of an enclosing body: how many bodies up, which slot.
    Up(u32, u32),
}

#[derive(Debug)]
pub(crate) struct Name {
    pub name: Box<str>,
    pub var: VarRef,
}

#[derive(Debug)]
pub(crate) struct Expr {
    pub kind: ExprKind,
    /// Byte offset in the normalised source.
    pub at: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BinOp {
    Sub,
    Mul,
    Div,
    FloorDiv,
    Mod,
    Pow,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CmpOp {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    In,
    NotIn,
}

#[derive(Debug)]
pub(crate) enum ExprKind {
    None,
    Bool(bool),
    Int(i64),
    BigInt(Box<str>),
    Float(f64),
    Str(Box<str>),
    Var(Name),
    List(Vec<Expr>),
    Tuple(Vec<Expr>),
    Dict(Vec<(Expr, Expr)>),
    /// With what the name means on a dict, which most objects are.
    Attr(Box<Expr>, Box<str>, Access),
    Item(Box<Expr>, Box<Expr>),
    /// An [`Self::Attr`] or [`Self::Item`] of a variable by a name that is no method.
    Field(Box<Field>),
    /// `var.key | trim`.
    Trimmed(Box<Field>),
    Slice(Box<Expr>, Box<[Option<Expr>; 3]>),
    Call(Box<Expr>, Args),
    Filter(Box<Expr>, Filter, Args),
    /// A filter no one defined, in a place where only running it is an error.
    UnknownFilter(Box<str>),
    Test(Box<Expr>, Test, Args),
    UnknownTest(Box<str>),
    Neg(Box<Expr>),
    Pos(Box<Expr>),
    Not(Box<Expr>),
    Bin(BinOp, Box<Expr>, Box<Expr>),
    /// Operands of `+`, left to right.
    Sum(Vec<Expr>),
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Compare(Box<Expr>, Vec<(CmpOp, Expr)>),
    /// A [`Self::Compare`] that asks about one field of a variable.
    Check(Box<Check>),
    /// A [`Self::Test`] that asks for the kind of a variable or a field.
    Kind(Box<Kind>),
    /// An [`Self::And`] or, if `true`, [`Self::Or`] of checks.
    Checks(Box<[Check]>, bool),
    Concat(Vec<Expr>),
    Cond(Box<Expr>, Box<Expr>, Option<Box<Expr>>),
    /// The text that a filter block or a filtered set block captured.
    Captured,
}

/// `var.key` or `var['key']`: nearly all that a chat template reads of its input.
#[derive(Debug)]
pub(crate) struct Field {
    pub var: VarRef,
    pub key: Box<str>,
    /// As written, for variables that are no object of the input, or have no such entry.
    pub whole: Expr,
}

/// `var.key == 'text'`, or `'key' in var` where there is no text; several texts are what one of a
/// row of such comparisons finds.
#[derive(Debug)]
pub(crate) struct Check {
    pub var: VarRef,
    pub key: Box<str>,
    pub texts: Vec<Box<str>>,
    /// What the answer is if it is, or is there.
    pub holds: bool,
    /// Asks for the contrary of what is written.
    pub negated: bool,
    /// As written, for variables that are no object of the input, or have no such entry.
    pub whole: Expr,
}

/// `var is defined`, `var.key is string`.
#[derive(Debug)]
pub(crate) struct Kind {
    pub var: VarRef,
    pub key: Option<Box<str>>,
    pub test: Test,
    /// Asks for the contrary of what is written.
    pub negated: bool,
    /// As written, for fields of variables that are no object of the input.
    pub whole: Expr,
}

#[derive(Debug, Default)]
pub(crate) struct Args {
    pub pos: Vec<Expr>,
    pub kw: Vec<(Box<str>, Expr)>,
    pub star: Option<Box<Expr>>,
    pub star_star: Option<Box<Expr>>,
}

impl Args {
    pub(crate) fn is_empty(&self) -> bool {
        self.pos.is_empty() && self.is_plain()
    }

    /// Positional arguments only.
    pub(crate) fn is_plain(&self) -> bool {
        self.kw.is_empty() && self.star.is_none() && self.star_star.is_none()
    }
}

/// What a scope's own slot holds when the scope is entered.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Init {
    Undefined(Box<str>),
    Copy(VarRef),
}

/// Slots to set on entering a scope.
#[derive(Debug, Default)]
pub(crate) struct Scope {
    pub init: Vec<(u32, Init)>,
}

#[derive(Debug)]
pub(crate) enum Target {
    Name(Name),
    Tuple(Vec<Target>, u32),
    Namespace(Name, Box<str>, u32),
}

#[derive(Debug)]
pub(crate) enum Stmt {
    Text(Box<str>),
    Emit(Expr),
    If(Vec<(Expr, Vec<Stmt>)>, Vec<Stmt>),
    For(Box<For>),
    Set(Target, Expr),
    SetBlock(Box<SetBlock>),
    Macro(Name, Box<Macro>),
    CallBlock(Expr, Box<Macro>),
    FilterBlock(Expr, Vec<Stmt>, Scope),
    With(Box<With>),
    Generation(Vec<Stmt>, Scope),
    Break,
    Continue,
    /// A statement that Jinja2 accepts but cannot run without a template loader.
    NoLoader(Box<str>, u32),
}

#[derive(Debug)]
pub(crate) struct For {
    pub target: Target,
    pub iter: Expr,
    pub test: Option<Expr>,
    pub body: Vec<Stmt>,
    pub otherwise: Vec<Stmt>,
    pub recursive: bool,
    pub body_scope: Scope,
    pub test_target: Option<Target>,
    pub test_scope: Scope,
    pub else_scope: Scope,
    /// Slot of `loop`, if the body reads it.
    pub loop_slot: Option<u32>,
    /// The body may ask for the item before: it is kept.
    pub keeps_items: bool,
    /// Slots used by body and test, saved around a recursive call.
    pub slots: (u32, u32),
    pub at: u32,
}

impl For {
    /// The slot of the item, if it goes to one name.
    pub(crate) fn slot(&self) -> Option<u32> {
        match &self.target {
            Target::Name(Name {
                var: VarRef::Slot(slot),
                ..
            }) => Some(*slot),
            _ => None,
        }
    }
}

#[derive(Debug)]
pub(crate) struct SetBlock {
    pub target: Target,
    pub filter: Option<Expr>,
    pub body: Vec<Stmt>,
    pub scope: Scope,
}

#[derive(Debug)]
pub(crate) struct With {
    pub targets: Vec<(Target, Expr)>,
    pub body: Vec<Stmt>,
    pub scope: Scope,
}

#[derive(Debug)]
pub(crate) struct Macro {
    pub name: Option<Box<str>>,
    /// Parameters: name, slot.
    pub params: Vec<(Box<str>, u32)>,
    /// Defaults of the last parameters.
    pub defaults: Vec<Expr>,
    pub body: Vec<Stmt>,
    pub scope: Scope,
    pub slots: u32,
    pub caller: Option<u32>,
    pub varargs: Option<u32>,
    pub kwargs: Option<u32>,
}

/// Where a name that the template reads from outside comes from, unless the caller's variables
/// have one of that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Messages,
    Tools,
    Documents,
    AddGenerationPrompt,
    Func(Func),
    /// A special token, if one of that name is set.
    Token,
}

impl Source {
    pub(crate) fn from_name(name: &str) -> Self {
        match name {
            "messages" => Self::Messages,
            "tools" => Self::Tools,
            "documents" => Self::Documents,
            "add_generation_prompt" => Self::AddGenerationPrompt,
            _ => Func::from_name(name).map_or(Self::Token, Self::Func),
        }
    }
}

/// A compiled template: statements, and the names it reads from outside.
#[derive(Debug)]
pub(crate) struct Program {
    pub body: Vec<Stmt>,
    pub scope: Scope,
    pub slots: u32,
    pub names: Vec<(Box<str>, Source)>,
    pub has_generation: bool,
}
