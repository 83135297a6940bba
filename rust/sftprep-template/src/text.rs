//! Text in which every byte knows its origin.
//!
//! A [`Str`] is text plus *runs*: stretches of bytes with one origin. Most strings are one
//! stretch and carry no list. Rendering never looks at the runs, so the text of a render is the
//! same with tracing on and off.

use std::ops::Range;
use std::rc::Rc;

/// Where bytes came from: a template literal, a special-token variable, or a leaf of the input.
///
/// A leaf is `LEAF | index` into the render's leaf table.
pub(crate) type Origin = u32;
pub(crate) const LITERAL: Origin = 0;
pub(crate) const SPECIAL: Origin = 1;
pub(crate) const LEAF: Origin = 1 << 31;

/// Source offset of bytes that are not an exact copy of their leaf.
pub(crate) const INEXACT: u32 = u32::MAX;

/// Which message a byte belongs to, as its place in the template says, plus the generation bit.
///
/// 0: not decided yet; 1: written outside of any message; `i + 2`: written for message i.
pub(crate) type Tag = u32;
pub(crate) const UNOWNED: Tag = 1;
pub(crate) const GENERATION: Tag = 1 << 31;
pub(crate) const OWNER_MASK: Tag = GENERATION - 1;

/// Bytes up to `end` (from the end of the run before) with one origin and one owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    pub end: u32,
    pub origin: Origin,
    pub src: u32,
    pub tag: Tag,
}

/// What each piece of text written counts against the limits beside its bytes: its run.
pub(crate) const RUN_BYTES: usize = std::mem::size_of::<Run>();

/// Text made while rendering, with its runs; none when not tracing.
#[derive(Debug, Default)]
pub(crate) struct Built {
    pub text: String,
    pub runs: Vec<Run>,
}

#[derive(Debug, Clone)]
enum Text<'t> {
    /// Borrowed from the template or the input, which outlive the render: nothing is copied.
    Ref(&'t str),
    /// A stretch of text made while rendering.
    Owned(Rc<Built>, u32, u32),
}

#[derive(Debug, Clone, Copy)]
enum Runs {
    /// One origin and one source offset.
    One(Origin, u32),
    /// Those of the made text, clipped: cutting a string up takes no memory.
    Built,
}

/// A string value: text, origins, and whether `|safe` made it Markup.
#[derive(Debug, Clone)]
pub(crate) struct Str<'t> {
    text: Text<'t>,
    runs: Runs,
    pub safe: bool,
}

impl<'t> Str<'t> {
    pub(crate) fn literal(text: &'t str) -> Self {
        Self {
            text: Text::Ref(text),
            runs: Runs::One(LITERAL, INEXACT),
            safe: false,
        }
    }

    /// Text read from the input.
    pub(crate) fn leaf(text: &'t str, origin: Origin) -> Self {
        Self {
            text: Text::Ref(text),
            runs: Runs::One(origin, 0),
            safe: false,
        }
    }

    /// New text that has one origin but is no exact copy of it.
    pub(crate) fn made(text: String, origin: Origin) -> Self {
        let mut made = Self::built(Rc::new(Built {
            text,
            runs: Vec::new(),
        }));
        made.runs = Runs::One(origin, INEXACT);
        made
    }

    pub(crate) fn built(built: Rc<Built>) -> Self {
        let len = built.text.len() as u32;
        Self {
            runs: window(&built.runs, 0, len),
            text: Text::Owned(built, 0, len),
            safe: false,
        }
    }

    /// Whether the text lies in the template or the input.
    #[inline]
    pub(crate) fn is_borrowed(&self) -> bool {
        matches!(self.text, Text::Ref(_))
    }

    pub(crate) fn into_built(self) -> Option<Rc<Built>> {
        match self.text {
            Text::Ref(_) => None,
            Text::Owned(built, ..) => Some(built),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        match &self.text {
            Text::Ref(text) => text,
            Text::Owned(built, start, end) => &built.text[*start as usize..*end as usize],
        }
    }

    pub(crate) fn len(&self) -> usize {
        match &self.text {
            Text::Ref(text) => text.len(),
            Text::Owned(_, start, end) => (end - start) as usize,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The same text, no longer an exact copy of its leaf.
    pub(crate) fn inexact(mut self) -> Self {
        if let Runs::One(_, src) = &mut self.runs {
            *src = INEXACT;
        }
        self
    }

    pub(crate) fn marked_safe(mut self, safe: bool) -> Self {
        self.safe = safe;
        self
    }

    /// The bytes of `range`, with their origins.
    pub(crate) fn slice(&self, range: Range<usize>) -> Self {
        let (from, to) = (range.start as u32, range.end as u32);
        let (text, made) = match &self.text {
            Text::Ref(text) => (Text::Ref(&text[range]), Runs::Built),
            Text::Owned(built, start, _) => (
                Text::Owned(built.clone(), start + from, start + to),
                window(&built.runs, start + from, start + to),
            ),
        };
        let runs = match self.runs {
            Runs::One(origin, src) => Runs::One(origin, shift(src, from)),
            Runs::Built => made,
        };
        Self {
            text,
            runs,
            safe: self.safe,
        }
    }

    /// Origin and source offset, if they are the same all along.
    #[inline]
    pub(crate) fn one_run(&self) -> Option<(Origin, u32)> {
        match self.runs {
            Runs::One(origin, src) => Some((origin, src)),
            Runs::Built => None,
        }
    }

    /// Calls `visit(range, origin, source offset, tag)` for each stretch of one origin.
    pub(crate) fn each_run(&self, mut visit: impl FnMut(Range<usize>, Origin, u32, Tag)) {
        match (self.runs, &self.text) {
            (Runs::One(origin, src), _) => visit(0..self.len(), origin, src, 0),
            (Runs::Built, Text::Owned(built, start, end)) => {
                let (from, to) = (*start, *end);
                let first = run_at(&built.runs, from);
                let mut start = run_start(&built.runs, first);
                for run in &built.runs[first..] {
                    if start >= to {
                        break;
                    }
                    let cut = from.saturating_sub(start);
                    let range = (start + cut - from) as usize..(run.end.min(to) - from) as usize;
                    visit(range, run.origin, shift(run.src, cut), run.tag);
                    start = run.end;
                }
            }
            (Runs::Built, Text::Ref(_)) => {} // borrowed text has one run
        }
    }

    /// Origin and tag of the byte at `at`.
    pub(crate) fn origin_at(&self, at: usize) -> (Origin, u32, Tag) {
        match (self.runs, &self.text) {
            (Runs::One(origin, src), _) => (origin, shift(src, at as u32), 0),
            (Runs::Built, Text::Owned(built, start, _)) => {
                let at = start + at as u32;
                let index = run_at(&built.runs, at);
                let start = run_start(&built.runs, index);
                let found = built.runs.get(index);
                found.map_or((LITERAL, INEXACT, 0), |run| {
                    (run.origin, shift(run.src, at - start), run.tag)
                })
            }
            (Runs::Built, Text::Ref(_)) => (LITERAL, INEXACT, 0),
        }
    }
}

/// The run that holds the byte at `at`. Most texts have a handful: no search by halves.
fn run_at(runs: &[Run], at: u32) -> usize {
    if runs.len() > 16 {
        return runs.partition_point(|run| run.end <= at);
    }
    runs.iter()
        .position(|run| run.end > at)
        .unwrap_or(runs.len())
}

fn run_start(runs: &[Run], index: usize) -> u32 {
    if index == 0 { 0 } else { runs[index - 1].end }
}

/// How to describe the bytes from `from` to `to` of a made text.
fn window(runs: &[Run], from: u32, to: u32) -> Runs {
    let first = if from == to {
        runs.len()
    } else {
        run_at(runs, from)
    };
    match runs.get(first) {
        None => Runs::One(LITERAL, INEXACT),
        Some(run) if run.end >= to && run.tag == 0 => {
            Runs::One(run.origin, shift(run.src, from - run_start(runs, first)))
        }
        Some(_) => Runs::Built,
    }
}

fn shift(src: u32, by: u32) -> u32 {
    if src == INEXACT { INEXACT } else { src + by }
}

/// Appends the runs of the bytes from `from` to `to`.
pub(crate) fn slice_runs(runs: &[Run], from: u32, to: u32, kept: &mut Vec<Run>) {
    let first = run_at(runs, from);
    let mut start = run_start(runs, first);
    for run in &runs[first..] {
        if start >= to {
            break;
        }
        kept.push(Run {
            end: run.end.min(to) - from,
            src: shift(run.src, from.saturating_sub(start)),
            ..*run
        });
        start = run.end;
    }
}
