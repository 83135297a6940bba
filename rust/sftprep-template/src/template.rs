//! The compiled template and what it renders to.

use crate::ast::{ExprKind, Program};
use crate::error::{ErrorKind, Fault, Res, TemplateError};
use crate::eval::Interp;
use crate::messages::Conversation;
use crate::out::Out;
use crate::request::{Request, prepare};
use crate::scratch::Scratch;
use crate::text::{GENERATION, INEXACT, LEAF, LITERAL};
use crate::trace::{Leaf, Leaves};
use crate::variables::variables;
use crate::{fold, lexer, parser, resolve, walk};

/// A chat template, compiled once; rendering takes no lock.
#[derive(Debug)]
pub struct ChatTemplate {
    name: String,
    source: String,
    program: Program,
}

/// Where the bytes of a [`Segment`] came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// Text of the template itself.
    Literal,
    /// A special-token variable such as `bos_token`.
    SpecialToken,
    /// An input value: index into [`Rendered::leaves`].
    Leaf(u32),
}

/// A stretch of the text with one origin and one owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Byte offset behind the segment; it starts where the one before ends.
    pub end: u32,
    /// Where the bytes came from.
    pub origin: Origin,
    /// The message that the bytes were written for, by their place in the template.
    pub owner: Option<u32>,
    /// Inside of `{% generation %}`.
    pub generation: bool,
    /// Byte offset in the leaf, where the segment is an exact copy of it.
    pub source_start: Option<u32>,
}

/// A rendered conversation with its origins.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rendered {
    /// The text, equal to that of [`ChatTemplate::render`].
    pub text: String,
    /// A partition of the text.
    pub segments: Vec<Segment>,
    /// The input values that reached the text.
    pub leaves: Vec<Leaf>,
}

impl Rendered {
    /// Leaves its memory to the next render on this thread, up to a bound.
    pub fn recycle(self) {
        Scratch::keep_spare(self);
    }
}

impl ChatTemplate {
    /// Compiles a template.
    ///
    /// # Errors
    /// If the source is not valid Jinja, or uses a filter or test that does not exist.
    pub fn compile(name: &str, source: &str) -> Result<Self, TemplateError> {
        let source = lexer::normalise(source);
        match compile(&source) {
            Ok(program) => Ok(Self {
                name: name.to_owned(),
                source,
                program,
            }),
            Err(fault) => Err(TemplateError::new(fault, name, &source)),
        }
    }

    /// The name given to [`Self::compile`].
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text that transformers' `apply_chat_template(tokenize=False)` gives.
    ///
    /// # Errors
    /// Where the reference raises, or a limit is exceeded.
    pub fn render(&self, request: &Request<'_>) -> Result<String, TemplateError> {
        self.run(request, false, |out, _, _| out.text.as_str().to_owned())
    }

    /// The same text with the origin of every byte.
    ///
    /// # Errors
    /// Where the reference raises, or a limit is exceeded.
    pub fn render_traced(&self, request: &Request<'_>) -> Result<Rendered, TemplateError> {
        self.run(request, true, finish)
    }

    fn run<R>(
        &self,
        request: &Request<'_>,
        trace: bool,
        done: impl FnOnce(&mut Out, &mut Leaves<'_>, Rendered) -> R,
    ) -> Result<R, TemplateError> {
        let prepared = prepare(request.messages)
            .and_then(|prepared| check_request(request).map(|()| prepared));
        let result = prepared.and_then(|prepared| {
            let mut scratch = Scratch::take();
            let mut conversation = Conversation {
                messages: scratch.messages(),
                traced: trace,
            };
            let given = request.messages.iter().enumerate();
            let seen = given.map(|(index, given)| prepared.message(index).unwrap_or(given));
            conversation.messages.extend(seen);
            let mut leaves = Leaves::new(&conversation, scratch.tables());
            let mut context = scratch.context();
            variables(
                &self.program,
                request,
                &conversation,
                &mut leaves,
                &mut context,
            );
            let mut interp =
                Interp::new(&self.program, &mut scratch, leaves, context, trace, request);
            let result = interp.run(&self.program).and_then(|()| {
                if interp.out.text.len() > u32::MAX as usize / 2 {
                    return Err(Fault::new(ErrorKind::LimitOutput, "the text is over 2 GiB"));
                }
                let spare = std::mem::take(&mut scratch.spare);
                Ok(done(&mut interp.out, &mut interp.leaves, spare))
            });
            let out = interp.end(&mut scratch);
            scratch.put_messages(conversation.messages);
            scratch.keep(out);
            result
        });
        result.map_err(|fault| TemplateError::new(fault, &self.name, &self.source))
    }

    /// Whether the template marks the assistant's text with `{% generation %}`.
    pub fn has_generation_tags(&self) -> bool {
        self.program.has_generation
    }

    /// Whether the template reads the clock.
    pub fn reads_clock(&self) -> bool {
        self.reads("strftime_now")
    }

    /// The variables that the template reads from outside, in order of first use.
    pub fn variables_read(&self) -> Vec<&str> {
        self.program.names.iter().map(|(name, _)| &**name).collect()
    }

    /// Whether the template reads the variable `name`.
    pub fn reads(&self, name: &str) -> bool {
        self.program.names.iter().any(|(known, _)| &**known == name)
    }

    /// Whether the template itself handles message content that is a list of parts: it tests
    /// the type of a content or loops over one.
    pub fn handles_content_parts(&self) -> bool {
        let mut found = false;
        walk::walk_stmts(&self.program.body, &mut |expr| {
            found |= matches!(&expr.kind, ExprKind::Compare(left, rest)
                if is_text_key(&left.kind) || rest.iter().any(|(_, right)| is_text_key(&right.kind)));
        });
        found
    }
}

/// `part['type']` or `part.type`, as templates that walk content parts compare it.
fn is_text_key(kind: &ExprKind) -> bool {
    match kind {
        ExprKind::Attr(_, name, _) => &**name == "type",
        ExprKind::Item(_, index) => matches!(&index.kind, ExprKind::Str(key) if &**key == "type"),
        ExprKind::Field(field) => &*field.key == "type",
        _ => false,
    }
}

fn compile(source: &str) -> Res<Program> {
    if source.len() > 8 << 20 {
        return Err(Fault::syntax("the template is longer than 8 MiB", 0));
    }
    let (mut body, has_generation) = parser::parse(lexer::lex(source)?)?;
    fold::fold(&mut body);
    resolve::resolve(body, has_generation)
}

/// Checks what is not a message.
fn check_request(request: &Request<'_>) -> Res<()> {
    let documents = request.documents.unwrap_or_default();
    if let Some(index) = documents
        .iter()
        .position(|document| document.as_map().is_none())
    {
        return Err(Fault::type_error(format!(
            "documents[{index}] must be an object"
        )));
    }
    let tools = request.tools.unwrap_or_default();
    if let Some(index) = tools.iter().position(|tool| tool.as_map().is_none()) {
        return Err(Fault::value_error(format!(
            "tools[{index}] must be an object"
        )));
    }
    Ok(())
}

/// Turns runs into segments with a table of the leaves that occur; `spare` is empty, for its memory.
#[inline(never)]
fn finish(out: &mut Out, leaves: &mut Leaves<'_>, spare: Rendered) -> Rendered {
    let (mut text, mut segments, mut table) = (spare.text, spare.segments, spare.leaves);
    segments.extend(out.runs.iter().map(|run| {
        let mut owner = run.owner();
        let mut source_start = None;
        let mut origin = Origin::Literal;
        if run.origin != LITERAL {
            source_start = (run.src != INEXACT).then_some(run.src);
            origin = Origin::SpecialToken;
            if run.origin & LEAF != 0 {
                origin = Origin::Leaf(leaves.number(run.origin, &mut table));
                owner = owner.or_else(|| leaves.message_of(run.origin));
            }
        }
        // Made here: one that a function returned would be read again while it is being written.
        Segment {
            end: run.end,
            origin,
            owner,
            generation: run.tag & GENERATION != 0,
            source_start,
        }
    }));
    if text.capacity() == 0 {
        text.push_str(&out.text);
    } else {
        std::mem::swap(&mut text, &mut out.text);
    }
    Rendered {
        text,
        segments,
        leaves: table,
    }
}
