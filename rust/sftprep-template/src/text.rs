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
/// No origin of any byte: the string has more than one.
const BUILT: Origin = 2;

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

impl Run {
    /// The message that the bytes were written for.
    #[inline]
    pub(crate) fn owner(&self) -> Option<u32> {
        (self.tag & OWNER_MASK).checked_sub(2)
    }
}

/// What each piece of text written counts against the limits beside its bytes: its run.
pub(crate) const RUN_BYTES: usize = std::mem::size_of::<Run>();

/// Text made while rendering, with its runs; none when not tracing.
#[derive(Debug, Default)]
pub(crate) struct Built {
    pub text: String,
    pub runs: Vec<Run>,
}

/// A string value: text, origins, and whether `|safe` made it Markup.
///
/// Where the text has one origin, that and the offset in its source stand here; else the origin is
/// [`BUILT`], and the runs are those of the made text, clipped: cutting a string up takes no
/// memory. Both forms keep all of it in one value, which is as small as it gets.
#[derive(Debug, Clone)]
pub(crate) enum Str<'t> {
    /// Borrowed from the template or the input, which outlive the render: nothing is copied.
    Ref {
        text: &'t str,
        origin: Origin,
        src: u32,
        safe: bool,
    },
    /// A stretch of text made while rendering.
    Owned {
        built: Rc<Built>,
        start: u32,
        end: u32,
        origin: Origin,
        src: u32,
        safe: bool,
    },
}

impl<'t> Str<'t> {
    pub(crate) fn literal(text: &'t str) -> Self {
        Self::borrowed(text, LITERAL, INEXACT)
    }

    /// Text read from the input.
    pub(crate) fn leaf(text: &'t str, origin: Origin) -> Self {
        Self::borrowed(text, origin, 0)
    }

    #[inline]
    pub(crate) fn borrowed(text: &'t str, origin: Origin, src: u32) -> Self {
        Self::Ref {
            text,
            origin,
            src,
            safe: false,
        }
    }

    /// New text that has one origin but is no exact copy of it.
    pub(crate) fn made(text: String, origin: Origin) -> Self {
        let runs = Vec::new();
        let end = text.len() as u32;
        Self::Owned {
            built: Rc::new(Built { text, runs }),
            start: 0,
            end,
            origin,
            src: INEXACT,
            safe: false,
        }
    }

    pub(crate) fn built(built: Rc<Built>) -> Self {
        let end = built.text.len() as u32;
        let (origin, src) = window(&built.runs, 0, end);
        Self::Owned {
            built,
            start: 0,
            end,
            origin,
            src,
            safe: false,
        }
    }

    /// Whether the text lies in the template or the input.
    #[inline]
    pub(crate) fn is_borrowed(&self) -> bool {
        matches!(self, Self::Ref { .. })
    }

    pub(crate) fn into_built(self) -> Option<Rc<Built>> {
        match self {
            Self::Ref { .. } => None,
            Self::Owned { built, .. } => Some(built),
        }
    }

    #[inline]
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Ref { text, .. } => text,
            Self::Owned {
                built, start, end, ..
            } => &built.text[*start as usize..*end as usize],
        }
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Ref { text, .. } => text.len(),
            Self::Owned { start, end, .. } => (end - start) as usize,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether `|safe` or an operation on such text made it Markup.
    #[inline]
    pub(crate) fn safe(&self) -> bool {
        match self {
            Self::Ref { safe, .. } | Self::Owned { safe, .. } => *safe,
        }
    }

    /// Its origin and the offset there, or [`BUILT`].
    #[inline]
    fn origin(&self) -> (Origin, u32) {
        match self {
            Self::Ref { origin, src, .. } | Self::Owned { origin, src, .. } => (*origin, *src),
        }
    }

    /// The same text, no longer an exact copy of its leaf.
    pub(crate) fn inexact(mut self) -> Self {
        match &mut self {
            Self::Ref { src, .. } | Self::Owned { src, .. } => *src = INEXACT,
        }
        self
    }

    pub(crate) fn marked_safe(mut self, mark: bool) -> Self {
        match &mut self {
            Self::Ref { safe, .. } | Self::Owned { safe, .. } => *safe = mark,
        }
        self
    }

    /// The bytes of `range`, with their origins.
    pub(crate) fn slice(&self, range: Range<usize>) -> Self {
        let (from, to) = (range.start as u32, range.end as u32);
        match self {
            Self::Ref {
                text,
                origin,
                src,
                safe,
            } => Self::Ref {
                text: &text[range],
                origin: *origin,
                src: shift(*src, from),
                safe: *safe,
            },
            Self::Owned {
                built,
                start,
                origin,
                src,
                safe,
                ..
            } => {
                let (from_built, to_built) = (start + from, start + to);
                let (origin, src) = match *origin {
                    BUILT => window(&built.runs, from_built, to_built),
                    origin => (origin, shift(*src, from)),
                };
                Self::Owned {
                    built: built.clone(),
                    start: from_built,
                    end: to_built,
                    origin,
                    src,
                    safe: *safe,
                }
            }
        }
    }

    /// Origin and source offset, if they are the same all along.
    #[inline]
    pub(crate) fn one_run(&self) -> Option<(Origin, u32)> {
        Some(self.origin()).filter(|(origin, _)| *origin != BUILT)
    }

    /// The made text and the stretch of it that this is, where that has more than one origin.
    fn many_runs(&self) -> Option<(&Built, u32, u32)> {
        match self {
            Self::Owned {
                built,
                start,
                end,
                origin: BUILT,
                ..
            } => Some((built, *start, *end)),
            _ => None,
        }
    }

    /// Calls `visit(range, origin, source offset, tag)` for each stretch of one origin.
    pub(crate) fn each_run(&self, mut visit: impl FnMut(Range<usize>, Origin, u32, Tag)) {
        let Some((built, from, to)) = self.many_runs() else {
            let (origin, src) = self.origin();
            return visit(0..self.len(), origin, src, 0);
        };
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

    /// Origin and tag of the byte at `at`.
    pub(crate) fn origin_at(&self, at: usize) -> (Origin, u32, Tag) {
        let Some((built, from, _)) = self.many_runs() else {
            let (origin, src) = self.origin();
            return (origin, shift(src, at as u32), 0);
        };
        let at = from + at as u32;
        let index = run_at(&built.runs, at);
        let start = run_start(&built.runs, index);
        let found = built.runs.get(index);
        found.map_or((LITERAL, INEXACT, 0), |run| {
            (run.origin, shift(run.src, at - start), run.tag)
        })
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

/// The origin and source offset of the bytes from `from` to `to` of a made text, or [`BUILT`].
fn window(runs: &[Run], from: u32, to: u32) -> (Origin, u32) {
    let first = if from == to {
        runs.len()
    } else {
        run_at(runs, from)
    };
    match runs.get(first) {
        None => (LITERAL, INEXACT),
        Some(run) if run.end >= to && run.tag == 0 => {
            (run.origin, shift(run.src, from - run_start(runs, first)))
        }
        Some(_) => (BUILT, INEXACT),
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
