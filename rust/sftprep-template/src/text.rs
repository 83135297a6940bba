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

#[derive(Debug, Clone)]
enum Text<'t> {
    Ref(&'t str),
    Owned(Rc<String>, u32, u32),
}

#[derive(Debug, Clone)]
pub(crate) enum Runs {
    One(Origin, u32),
    Many(Rc<Vec<Run>>),
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
        let len = text.len() as u32;
        Self {
            text: Text::Owned(Rc::new(text), 0, len),
            runs: Runs::One(origin, INEXACT),
            safe: false,
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        match &self.text {
            Text::Ref(text) => text,
            Text::Owned(text, start, end) => &text[*start as usize..*end as usize],
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
        let text = match &self.text {
            Text::Ref(text) => Text::Ref(&text[range]),
            Text::Owned(text, start, _) => Text::Owned(text.clone(), start + from, start + to),
        };
        let runs = match &self.runs {
            Runs::One(origin, src) => Runs::One(*origin, shift(*src, from)),
            Runs::Many(runs) => slice_runs(runs, from, to),
        };
        Self {
            text,
            runs,
            safe: self.safe,
        }
    }

    /// Calls `visit(range, origin, source offset, tag)` for each stretch of one origin.
    pub(crate) fn each_run(&self, mut visit: impl FnMut(Range<usize>, Origin, u32, Tag)) {
        match &self.runs {
            Runs::One(origin, src) => visit(0..self.len(), *origin, *src, 0),
            Runs::Many(runs) => {
                let mut start = 0;
                for run in runs.iter() {
                    visit(start..run.end as usize, run.origin, run.src, run.tag);
                    start = run.end as usize;
                }
            }
        }
    }

    /// Origin and tag of the byte at `at`.
    pub(crate) fn origin_at(&self, at: usize) -> (Origin, u32, Tag) {
        match &self.runs {
            Runs::One(origin, src) => (*origin, shift(*src, at as u32), 0),
            Runs::Many(runs) => {
                let index = runs.partition_point(|run| run.end as usize <= at);
                let start = if index == 0 { 0 } else { runs[index - 1].end };
                runs.get(index).map_or((LITERAL, INEXACT, 0), |run| {
                    (run.origin, shift(run.src, at as u32 - start), run.tag)
                })
            }
        }
    }
}

fn shift(src: u32, by: u32) -> u32 {
    if src == INEXACT { INEXACT } else { src + by }
}

fn slice_runs(runs: &[Run], from: u32, to: u32) -> Runs {
    if from == to {
        return Runs::One(LITERAL, INEXACT);
    }
    let first = runs.partition_point(|run| run.end <= from);
    let mut start = if first == 0 { 0 } else { runs[first - 1].end };
    let mut kept = Vec::new();
    for run in &runs[first..] {
        if start >= to {
            break;
        }
        let cut = from.saturating_sub(start);
        let end = run.end.min(to) - from;
        kept.push(Run {
            end,
            src: shift(run.src, cut),
            ..*run
        });
        start = run.end;
    }
    match kept[..] {
        [] => Runs::One(LITERAL, INEXACT),
        [only] if only.tag == 0 => Runs::One(only.origin, only.src),
        _ => Runs::Many(Rc::new(kept)),
    }
}

/// Text being written, with its runs when tracing.
#[derive(Debug, Default)]
pub(crate) struct Out {
    pub text: String,
    pub runs: Vec<Run>,
    pub trace: bool,
    /// A string under construction, not the output: input text in it stays open to whoever
    /// writes it out.
    pub building: bool,
}

impl Out {
    pub(crate) fn new(trace: bool) -> Self {
        Self {
            trace,
            ..Self::default()
        }
    }

    pub(crate) fn with_capacity(trace: bool, bytes: usize) -> Self {
        Self {
            text: String::with_capacity(bytes),
            trace,
            ..Self::default()
        }
    }

    /// Appends bytes of one origin.
    #[inline]
    pub(crate) fn push(&mut self, text: &str, origin: Origin, src: u32, tag: Tag) {
        self.text.push_str(text);
        if self.trace {
            let open = self.building && origin & LEAF != 0;
            self.mark(origin, src, if open { tag & GENERATION } else { tag });
        }
    }

    #[inline]
    pub(crate) fn literal(&mut self, text: &str, tag: Tag) {
        self.push(text, LITERAL, INEXACT, tag);
    }

    /// Appends a character that stands for one in the input but is not a copy of it.
    pub(crate) fn push_char(&mut self, c: char, origin: Origin, tag: Tag) {
        self.text.push(c);
        if self.trace {
            self.mark(origin, INEXACT, tag);
        }
    }

    /// Gives bytes that were appended to `text` directly their origin.
    pub(crate) fn mark_as(&mut self, origin: Origin, src: u32, tag: Tag) {
        if self.trace {
            let open = self.building && origin & LEAF != 0;
            self.mark(origin, src, if open { tag & GENERATION } else { tag });
        }
    }

    /// Gives the bytes since the last run their origin.
    pub(crate) fn mark(&mut self, origin: Origin, src: u32, tag: Tag) {
        let end = self.text.len() as u32;
        let count = self.runs.len();
        let before = if count > 1 {
            self.runs[count - 2].end
        } else {
            0
        };
        let mut start = 0;
        if let Some(last) = self.runs.last_mut() {
            if last.end == end {
                return;
            }
            let follows = match (last.src, src) {
                (INEXACT, INEXACT) => true,
                (INEXACT, _) | (_, INEXACT) => false,
                (from, src) => from + (last.end - before) == src,
            };
            if follows && last.origin == origin && last.tag == tag {
                last.end = end;
                return;
            }
            start = last.end;
        }
        if start < end {
            self.runs.push(Run {
                end,
                origin,
                src,
                tag,
            });
        }
    }

    /// Appends a string; bytes whose owner is undecided get `tag`.
    pub(crate) fn push_str(&mut self, text: &Str<'_>, tag: Tag) {
        if !self.trace {
            self.text.push_str(text.as_str());
            return;
        }
        match &text.runs {
            Runs::One(origin, src) => self.push(text.as_str(), *origin, *src, tag),
            Runs::Many(_) => {
                let whole = text.as_str();
                text.each_run(|range, origin, src, own| {
                    self.text.push_str(&whole[range]);
                    let open = self.building && origin & LEAF != 0;
                    self.mark(origin, src, if open { own } else { merge_tags(own, tag) });
                });
            }
        }
    }

    /// The finished text as a value; its undecided owners stay undecided.
    pub(crate) fn into_str<'t>(self) -> Str<'t> {
        let len = self.text.len() as u32;
        let runs = match self.runs[..] {
            [] => Runs::One(LITERAL, INEXACT),
            [only] if only.tag == 0 => Runs::One(only.origin, only.src),
            _ => Runs::Many(Rc::new(self.runs)),
        };
        Str {
            text: Text::Owned(Rc::new(self.text), 0, len),
            runs,
            safe: false,
        }
    }

    /// Takes back everything from byte `from` on, as a value.
    pub(crate) fn split_off<'t>(&mut self, from: usize) -> Str<'t> {
        let text = self.text.split_off(from);
        let runs = slice_runs(&self.runs, from as u32, (from + text.len()) as u32);
        let kept = self.runs.partition_point(|run| run.end as usize <= from);
        self.runs.truncate(kept + 1);
        if let Some(last) = self.runs.get_mut(kept) {
            let start = last.end.min(from as u32);
            last.end = start;
        }
        let before = if kept == 0 {
            0
        } else {
            self.runs[kept - 1].end
        };
        if self.runs.get(kept).is_some_and(|run| run.end == before) {
            self.runs.pop();
        }
        let len = text.len() as u32;
        Str {
            text: Text::Owned(Rc::new(text), 0, len),
            runs,
            safe: false,
        }
    }
}

/// The owner of a byte decided at `inner`, now written at `outer`.
pub(crate) fn merge_tags(inner: Tag, outer: Tag) -> Tag {
    let generation = (inner | outer) & GENERATION;
    let owner = if inner & OWNER_MASK > UNOWNED {
        inner
    } else {
        outer
    };
    (owner & OWNER_MASK) | generation
}
