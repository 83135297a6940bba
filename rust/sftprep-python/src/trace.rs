//! `TracedText`: a rendered text with the origin of every byte.

use pyo3::prelude::*;
use sftprep_template::{Data, LeafKind, Origin, Rendered, leaf_text};

/// A stretch of a rendered text with one origin.
#[pyclass(frozen, get_all, module = "sftprep")]
pub(crate) struct Segment {
    /// First byte.
    start: u32,
    /// One past the last.
    end: u32,
    /// What the bytes are: the template's own, or input, and which.
    origin: &'static str,
    /// Index of the message that they came from.
    message: Option<u32>,
    /// The field in it, or the name of the variable.
    field: Option<String>,
    /// The characters of the field that they copy.
    chars: Option<(usize, usize)>,
    /// Index of the message that they were written for.
    owner: Option<u32>,
    /// Whether they lie inside of `{% generation %}`.
    generation: bool,
}

#[pymethods]
impl Segment {
    fn __repr__(&self) -> String {
        let place = match (self.message, &self.field, self.chars) {
            (Some(message), Some(field), Some((from, to))) => {
                format!(", messages[{message}].{field}[{from}:{to}]")
            }
            (Some(message), Some(field), None) => format!(", messages[{message}].{field}"),
            (Some(message), None, _) => format!(", messages[{message}]"),
            (None, Some(field), _) => format!(", {field}"),
            (None, None, _) => String::new(),
        };
        format!(
            "Segment({}:{}, {}{place})",
            self.start, self.end, self.origin
        )
    }
}

/// A rendered text with the origin of every byte.
#[pyclass(frozen, get_all, module = "sftprep")]
pub(crate) struct TracedText {
    /// The text.
    text: String,
    /// Partition of its bytes.
    segments: Vec<Py<Segment>>,
}

impl TracedText {
    pub(crate) fn new(py: Python<'_>, rendered: Rendered, messages: &[Data]) -> PyResult<Self> {
        let mut start = 0;
        let mut segments = Vec::with_capacity(rendered.segments.len());
        for segment in &rendered.segments {
            let mut found = Segment {
                start,
                end: segment.end,
                origin: "literal",
                message: None,
                field: None,
                chars: None,
                owner: segment.owner,
                generation: segment.generation,
            };
            start = segment.end;
            match segment.origin {
                Origin::Literal => {}
                Origin::SpecialToken => found.origin = "special_token",
                Origin::Leaf(leaf) => {
                    let leaf = &rendered.leaves[leaf as usize];
                    found.origin = leaf_name(leaf.kind);
                    found.message = leaf.message;
                    found.field = Some(leaf.path.to_string()).filter(|path| !path.is_empty());
                    let message = leaf.message.and_then(|index| messages.get(index as usize));
                    if let Some((field, text)) = message.and_then(|it| leaf_text(it, &leaf.path)) {
                        found.field = Some(field);
                        let length = (found.end - found.start) as usize;
                        found.chars = segment.source_start.and_then(|from| {
                            let from = from as usize;
                            let chars = |bytes: &str| bytes.chars().count();
                            let before = chars(text.get(..from)?);
                            Some((before, before + chars(text.get(from..from + length)?)))
                        });
                    }
                }
            }
            segments.push(Py::new(py, found)?);
        }
        Ok(Self {
            text: rendered.text,
            segments,
        })
    }
}

fn leaf_name(kind: LeafKind) -> &'static str {
    match kind {
        LeafKind::Message => "message",
        LeafKind::Role => "role",
        LeafKind::Tools => "tools",
        LeafKind::Documents => "documents",
        LeafKind::Kwarg => "variable",
        LeafKind::Mixed => "mixed",
    }
}
