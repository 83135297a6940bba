//! Text being written: the output itself, and strings under construction.

use std::rc::Rc;

use crate::text::{
    Built, GENERATION, INEXACT, LEAF, LITERAL, OWNER_MASK, Origin, Run, Str, Tag, UNOWNED,
    slice_runs,
};

/// Strings no longer used, whose memory the next ones take: templates build and drop a few per
/// message, and asking the allocator each time was a sixth of the time of a render.
#[derive(Debug, Default)]
pub(crate) struct Pool(Vec<Rc<Built>>);

/// Strings kept, and the most bytes that one of them may hold on to.
const MAX_POOL: usize = 16;
const MAX_KEPT: usize = 1 << 16;

impl Pool {
    /// Takes back the memory of a string that nothing else uses.
    #[inline]
    pub(crate) fn recycle(&mut self, text: Str<'_>) {
        if let Some(built) = text.into_built() {
            self.keep(built);
        }
    }

    #[inline(never)]
    fn keep(&mut self, mut built: Rc<Built>) {
        if self.0.len() < MAX_POOL
            && let Some(inner) = Rc::get_mut(&mut built)
            && inner.text.capacity() + inner.runs.capacity() * 16 <= MAX_KEPT
        {
            inner.text.clear();
            inner.runs.clear();
            self.0.push(built);
        }
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
    /// Where the finished string goes: memory of one that is no longer used.
    shell: Option<Rc<Built>>,
}

impl Out {
    pub(crate) fn new(trace: bool) -> Self {
        Self {
            trace,
            ..Self::default()
        }
    }

    /// The output of a render, in memory that is used again.
    pub(crate) fn output(trace: bool, text: String, runs: Vec<Run>) -> Self {
        Self {
            text,
            runs,
            trace,
            ..Self::default()
        }
    }

    fn with_capacity(trace: bool, bytes: usize) -> Self {
        Self {
            text: String::with_capacity(bytes),
            trace,
            ..Self::default()
        }
    }

    /// A buffer for a string, in memory that an earlier string used, if any is left.
    pub(crate) fn reusing(pool: &mut Pool, trace: bool, bytes: usize) -> Self {
        let Some(mut shell) = pool.0.pop() else {
            return Self {
                runs: Vec::with_capacity(if trace { 8 } else { 0 }),
                ..Self::with_capacity(trace, bytes)
            };
        };
        let mut built = Rc::get_mut(&mut shell).map_or_else(Built::default, std::mem::take);
        built.text.reserve(bytes);
        Self {
            text: built.text,
            runs: built.runs,
            trace,
            building: false,
            shell: Some(shell),
        }
    }

    /// Appends bytes of one origin.
    pub(crate) fn push(&mut self, text: &str, origin: Origin, src: u32, tag: Tag) {
        self.push_inline(text, origin, src, tag);
    }

    pub(crate) fn literal(&mut self, text: &str, tag: Tag) {
        self.literal_inline(text, tag);
    }

    /// [`Self::push`] for where most text is written: a call costs as much as what it does.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    pub(crate) fn push_inline(&mut self, text: &str, origin: Origin, src: u32, tag: Tag) {
        self.text.push_str(text);
        if self.trace {
            let open = self.building && origin & LEAF != 0;
            self.mark(origin, src, if open { tag & GENERATION } else { tag });
        }
    }

    /// [`Self::literal`], likewise.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    pub(crate) fn literal_inline(&mut self, text: &str, tag: Tag) {
        self.text.push_str(text);
        if self.trace {
            let end = self.text.len() as u32;
            match self.runs.last_mut() {
                Some(last) if last.end == end => {}
                Some(last) if last.origin == LITERAL && last.tag == tag => last.end = end,
                None if end == 0 => {}
                _ => self.runs.push(Run {
                    end,
                    origin: LITERAL,
                    src: INEXACT,
                    tag,
                }),
            }
        }
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
    #[inline]
    pub(crate) fn mark(&mut self, origin: Origin, src: u32, tag: Tag) {
        let end = self.text.len() as u32;
        let run = Run {
            end,
            origin,
            src,
            tag,
        };
        match self.runs.last() {
            Some(last) if last.end == end => {}
            Some(last) if last.origin == origin && last.tag == tag => self.lengthen(run),
            None if end == 0 => {}
            _ => self.runs.push(run),
        }
    }

    /// Adds a run to the one before, if it goes on where that ends in their source.
    fn lengthen(&mut self, run: Run) {
        let count = self.runs.len();
        let start = match count {
            0 | 1 => 0,
            _ => self.runs[count - 2].end,
        };
        let Some(last) = self.runs.last_mut() else {
            return;
        };
        let follows = match (last.src, run.src) {
            (INEXACT, INEXACT) => true,
            (INEXACT, _) | (_, INEXACT) => false,
            (from, src) => from + (last.end - start) == src,
        };
        if follows {
            last.end = run.end;
        } else {
            self.runs.push(run);
        }
    }

    /// Appends a string; bytes whose owner is undecided get `tag`.
    pub(crate) fn push_str(&mut self, text: &Str<'_>, tag: Tag) {
        if !self.trace {
            self.text.push_str(text.as_str());
            return;
        }
        if let Some((origin, src)) = text.one_run() {
            self.push(text.as_str(), origin, src, tag);
            return;
        }
        let whole = text.as_str();
        text.each_run(|range, origin, src, own| {
            self.text.push_str(&whole[range]);
            let open = self.building && origin & LEAF != 0;
            self.mark(origin, src, if open { own } else { merge_tags(own, tag) });
        });
    }

    /// The finished text as a value; its undecided owners stay undecided.
    pub(crate) fn into_str<'t>(self) -> Str<'t> {
        let built = Built {
            text: self.text,
            runs: self.runs,
        };
        let Some(mut shell) = self.shell else {
            return Str::built(Rc::new(built));
        };
        match Rc::get_mut(&mut shell) {
            Some(empty) => {
                *empty = built;
                Str::built(shell)
            }
            None => Str::built(Rc::new(built)),
        }
    }

    /// Takes back everything from byte `from` on, as a value.
    pub(crate) fn split_off<'t>(&mut self, from: usize) -> Str<'t> {
        let text = self.text.split_off(from);
        let mut runs = Vec::new();
        slice_runs(
            &self.runs,
            from as u32,
            (from + text.len()) as u32,
            &mut runs,
        );
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
        Str::built(Rc::new(Built { text, runs }))
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
