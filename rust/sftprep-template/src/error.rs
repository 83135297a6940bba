//! Errors that point: template name, line, column and the source line under a marker.

use std::fmt;

/// What kind of failure a [`TemplateError`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The template is not valid Jinja.
    Syntax,
    /// An undefined value was used where it has no meaning.
    Undefined,
    /// An operation does not exist for the type of value it met.
    Type,
    /// A value of the right type was out of its domain.
    Value,
    /// The sandbox refuses the operation.
    Security,
    /// The template called `raise_exception`.
    Raised,
    /// A filter, test or statement that the language of chat templates lacks.
    Unsupported,
    /// More work than the step limit.
    LimitSteps,
    /// More text or memory than the output limit.
    LimitOutput,
    /// Nesting deeper than the recursion limit.
    LimitRecursion,
    /// `range()` longer than its limit.
    LimitRange,
}

impl ErrorKind {
    /// The stable code, such as `template.undefined`.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Syntax => "template.syntax",
            Self::Undefined => "template.undefined",
            Self::Type => "template.type",
            Self::Value => "template.value",
            Self::Security => "template.security",
            Self::Raised => "template.raised",
            Self::Unsupported => "template.unsupported",
            Self::LimitSteps => "template.limit_steps",
            Self::LimitOutput => "template.limit_output",
            Self::LimitRecursion => "template.limit_recursion",
            Self::LimitRange => "template.limit_range",
        }
    }

    /// What to do about it, in the imperative.
    pub const fn hint(self) -> &'static str {
        match self {
            Self::Syntax => "correct the template at the marked place",
            Self::Undefined => "supply the missing field or variable, or test it with `is defined`",
            Self::Type | Self::Value => "check the type and value of the fields used at this place",
            Self::Security => "remove the operation: the sandbox allows no change of its inputs",
            Self::Raised => "change the conversation to a shape that this template accepts",
            Self::Unsupported => "use only statements, filters and tests that Jinja2 defines",
            Self::LimitSteps => "shorten the conversation, or look for an endless loop",
            Self::LimitOutput => "shorten the conversation, or look for text that doubles",
            Self::LimitRecursion => "reduce the nesting of the template or of its input",
            Self::LimitRange => "keep range() at or under 100,000 items",
        }
    }
}

/// Why a template could not be compiled or rendered, and where.
#[derive(Debug, Clone, thiserror::Error)]
pub struct TemplateError(Box<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    kind: ErrorKind,
    message: String,
    template: String,
    line: u32,
    column: u32,
    source_line: String,
}

impl TemplateError {
    pub(crate) fn new(fault: Fault, template: &str, source: &str) -> Self {
        let (line, column, source_line) = locate(source, fault.0.at.unwrap_or(0) as usize);
        Self(Box::new(Inner {
            kind: fault.0.kind,
            message: fault.0.message,
            template: template.to_owned(),
            line,
            column,
            source_line,
        }))
    }

    /// The kind of failure.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The stable code, such as `template.undefined`.
    pub fn code(&self) -> &'static str {
        self.0.kind.code()
    }

    /// What went wrong, without the place.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The name under which the template was compiled.
    pub fn template(&self) -> &str {
        &self.0.template
    }

    /// The line in the template, from 1.
    pub fn line(&self) -> u32 {
        self.0.line
    }

    /// The column in the line, in characters, from 1.
    pub fn column(&self) -> u32 {
        self.0.column
    }

    /// The text of the line.
    pub fn source_line(&self) -> &str {
        &self.0.source_line
    }

    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        self.0.kind.hint()
    }
}

impl fmt::Display for TemplateError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        let (shown, column) = excerpt(&inner.source_line, inner.column as usize);
        writeln!(out, "error[{}]: {}", self.code(), inner.message)?;
        writeln!(
            out,
            "  --> {}, line {}, column {}",
            inner.template, inner.line, inner.column
        )?;
        writeln!(out, "   |  {shown}")?;
        writeln!(out, "   |  {}^", " ".repeat(column.saturating_sub(1)))?;
        write!(out, "  hint: {}", self.hint())
    }
}

/// Long lines (many templates are one line) are cut around the marked column.
fn excerpt(line: &str, column: usize) -> (String, usize) {
    const AROUND: usize = 60;
    let start = column.saturating_sub(AROUND + 1);
    let shown: String = line.chars().skip(start).take(2 * AROUND).collect();
    (shown, column - start)
}

fn locate(source: &str, at: usize) -> (u32, u32, String) {
    let mut at = at.min(source.len());
    while !source.is_char_boundary(at) {
        at -= 1;
    }
    let before = &source[..at];
    let start = before.rfind('\n').map_or(0, |index| index + 1);
    let end = source[at..]
        .find('\n')
        .map_or(source.len(), |index| at + index);
    let line = before.matches('\n').count() as u32 + 1;
    let column = before[start..].chars().count() as u32 + 1;
    (line, column, source[start..end].to_owned())
}

/// A failure on its way up; the place is filled in by the nearest expression that has one.
#[derive(Debug)]
pub(crate) struct Fault(Box<FaultInner>);

#[derive(Debug)]
struct FaultInner {
    kind: ErrorKind,
    message: String,
    at: Option<u32>,
}

impl Fault {
    #[cold]
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(FaultInner {
            kind,
            message: message.into(),
            at: None,
        }))
    }

    #[cold]
    pub(crate) fn type_error(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Type, message)
    }

    #[cold]
    pub(crate) fn value_error(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Value, message)
    }

    #[cold]
    pub(crate) fn syntax(message: impl Into<String>, at: u32) -> Self {
        Self::new(ErrorKind::Syntax, message).at(at)
    }

    /// Sets the place, unless a more exact one is known already.
    #[cold]
    pub(crate) fn at(mut self, at: u32) -> Self {
        self.0.at.get_or_insert(at);
        self
    }
}

pub(crate) type Res<T> = Result<T, Fault>;
