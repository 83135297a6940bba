//! A rendering and the documents that are cut out of it.

use std::collections::BTreeSet;
use std::ops::Range;

use super::Window;
use super::pieces::{Piece, pieces, slice, trained, trains};
use crate::config::{Overlong, PackingConfig};
use crate::pipeline::prepare::Prepared;
use crate::types::{Example, NO_MESSAGE};

/// A rendering and the documents to be cut out of it.
pub(super) struct Rendering {
    pub(super) made: Prepared,
    pub(super) messages: Vec<u32>,
    pub(super) pieces: Vec<Piece>,
    /// Tokens of the sample that are in no window, if these are its first.
    pub(super) cut: u64,
    /// Whether another window follows the last piece.
    pub(super) continues: bool,
}

/// Slices those samples that are too long and have no messages; the others stay as they are.
pub(in crate::pipeline) fn raw_windows(
    samples: Vec<Prepared>,
    packing: &PackingConfig,
) -> Vec<Prepared> {
    let mut documents = Vec::with_capacity(samples.len());
    for sample in samples {
        let Example { input_ids, spans } = &sample.example;
        let too_long = input_ids.len() > packing.max_len as usize;
        let raw = spans.iter().all(|span| span.message == NO_MESSAGE);
        if packing.windows() && too_long && raw {
            let mut rendering = Rendering::raw(sample, packing);
            documents.extend((0..rendering.pieces.len()).map(|at| rendering.document(at)));
        } else {
            documents.push(sample);
        }
    }
    documents
}

impl Rendering {
    /// A row without messages, sliced.
    pub(super) fn raw(made: Prepared, packing: &PackingConfig) -> Self {
        let mut rendering = Self::whole(made);
        rendering.cut_up(packing.max_len, 0);
        if packing.overlong == Overlong::DropOldestTurns {
            rendering.keep_last();
        }
        rendering.cut = rendering.left_out(|_| true);
        rendering
    }

    /// A document that is left as it is.
    pub(super) fn whole(made: Prepared) -> Self {
        let tokens = made.example.input_ids.len() as u32;
        Self {
            pieces: vec![Piece {
                range: 0..tokens,
                fresh: 0,
            }],
            made,
            messages: Vec::new(),
            cut: 0,
            continues: false,
        }
    }

    /// A sample of which no window could be made.
    pub(super) fn failed(mut made: Prepared, why: Vec<String>) -> Self {
        made.window = Some(Box::new(Window {
            leads: true,
            failed: Some(why.into_iter().next().unwrap_or_default()),
            ..Window::default()
        }));
        Self::whole(made)
    }

    /// Slices it, if it is too long; the tokens before `fresh` are repeated.
    pub(super) fn cut_up(&mut self, max_len: u32, fresh: u32) {
        let example = &self.made.example;
        let tokens = example.input_ids.len() as u32;
        self.made.window = Some(Box::default());
        if tokens > max_len {
            self.pieces = pieces(tokens, trained(example), max_len);
            self.pieces.retain(|piece| trains(example, piece));
        }
        if let Some(first) = self.pieces.first_mut() {
            first.fresh = fresh.clamp(first.fresh, first.range.end);
        }
    }

    /// Drops all but the last slice.
    pub(super) fn keep_last(&mut self) {
        self.pieces.drain(..self.pieces.len().saturating_sub(1));
        for piece in &mut self.pieces {
            piece.fresh = piece.range.start;
        }
    }

    /// Tokens of some messages, and of none, that no slice has.
    pub(super) fn left_out(&self, counts: impl Fn(Option<u32>) -> bool) -> u64 {
        let example = &self.made.example;
        let (mut left_out, mut at) = (0, 0);
        for Range { start, end } in self.pieces.iter().map(|it| it.range.clone()) {
            if at < start {
                left_out += tokens_of(example, at..start, &counts);
            }
            at = end;
        }
        left_out += tokens_of(example, at..example.input_ids.len() as u32, &counts);
        left_out
    }

    /// One of its documents, without the text.
    pub(super) fn document(&mut self, at: usize) -> Prepared {
        let piece = &self.pieces[at];
        let made = &self.made;
        let Some(window) = made.window.as_deref().filter(|it| it.failed.is_none()) else {
            return std::mem::take(&mut self.made);
        };
        let last = at + 1 == self.pieces.len();
        let window = Window {
            messages: self.messages.clone(),
            first_token: piece.range.start,
            leads: at == 0,
            repeated: piece.fresh - piece.range.start,
            cut: if at == 0 { self.cut } else { 0 },
            ..window.clone()
        };
        let mut trace = made.trace.clone();
        if let Some(trace) = &mut trace {
            let end = trace.offsets.len().min(piece.range.end as usize);
            trace.offsets.truncate(end);
            trace.offsets.drain(..end.min(piece.range.start as usize));
        }
        Prepared {
            example: slice(&made.example, piece, self.continues || !last),
            text: String::new(),
            spans: Vec::new(),
            methods: made.methods.clone(),
            dropped: made.dropped.clone(),
            without_stop: made.without_stop,
            thread: made.thread,
            tree: None,
            turn: made.turn,
            window: Some(Box::new(window)),
            control_text: made.control_text,
            boundaries: made.boundaries.clone(),
            trace,
        }
    }
}

/// The first token of a message that is not among some.
pub(super) fn first_of_others(example: &Example, messages: &BTreeSet<u32>) -> u32 {
    let mut from = 0;
    for span in &example.spans {
        if span.message != NO_MESSAGE && !messages.contains(&span.message) {
            break;
        }
        from = span.end;
    }
    from
}

/// Tokens of a range that belong to some messages, or to none.
fn tokens_of(example: &Example, range: Range<u32>, counts: impl Fn(Option<u32>) -> bool) -> u64 {
    let (mut total, mut from) = (0, 0);
    for span in &example.spans {
        let own = span
            .end
            .min(range.end)
            .saturating_sub(range.start.max(from));
        from = span.end;
        if own > 0 && counts((span.message != NO_MESSAGE).then_some(span.message)) {
            total += u64::from(own);
        }
    }
    total
}
