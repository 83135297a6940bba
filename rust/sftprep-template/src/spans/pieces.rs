//! The segments of a render, with the questions that the rules ask of them.

use crate::template::{Origin, Rendered};
use crate::trace::LeafKind;

/// A segment with its start and the message it came from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    pub start: usize,
    pub end: usize,
    pub owner: Option<u32>,
    /// The message whose text this is; a role printed as text is scaffolding.
    pub message: Option<u32>,
    /// Index into the leaves, for text of a message.
    pub leaf: Option<u32>,
    /// Text of any input other than roles: no literal.
    pub input: bool,
    pub special: bool,
    pub generation: bool,
    pub source: Option<u32>,
}

/// Memory of one row's pieces, for those of the next.
#[derive(Debug, Default)]
pub(super) struct Memory {
    list: Vec<Piece>,
    extents: Vec<(u32, u32)>,
}

#[derive(Debug)]
pub(super) struct Pieces<'r> {
    pub text: &'r str,
    pub list: Vec<Piece>,
    pub rendered: &'r Rendered,
    /// Whether any piece stands inside of `{% generation %}`.
    pub tagged: bool,
    /// Of each message, the pieces from the first to behind the last that are its text or were
    /// written for it: a question about one message does not walk the whole conversation.
    extents: Vec<(u32, u32)>,
}

impl<'r> Pieces<'r> {
    pub(super) fn new(rendered: &'r Rendered) -> Self {
        Self::reusing(rendered, Memory::default())
    }

    pub(super) fn reusing(rendered: &'r Rendered, memory: Memory) -> Self {
        let Memory {
            mut list,
            mut extents,
        } = memory;
        list.clear();
        extents.clear();
        list.reserve(rendered.segments.len());
        let mut tagged = false;
        let mut start = 0;
        for (at, segment) in rendered.segments.iter().enumerate() {
            let (special, leaf) = match segment.origin {
                Origin::Literal => (false, None),
                Origin::SpecialToken => (true, None),
                Origin::Leaf(id) => {
                    let leaf = &rendered.leaves[id as usize];
                    (false, (leaf.kind != LeafKind::Role).then_some((id, leaf)))
                }
            };
            let piece = Piece {
                start,
                end: segment.end as usize,
                owner: segment.owner,
                message: leaf.and_then(|(_, leaf)| leaf.message),
                leaf: leaf.map(|(id, _)| id),
                input: leaf.is_some(),
                special,
                generation: segment.generation,
                source: segment.source_start,
            };
            start = piece.end;
            tagged |= piece.generation;
            extend(&mut extents, piece.owner, at as u32);
            if piece.message != piece.owner {
                extend(&mut extents, piece.message, at as u32);
            }
            list.push(piece);
        }
        Self {
            text: &rendered.text,
            list,
            rendered,
            tagged,
            extents,
        }
    }

    pub(super) fn into_memory(self) -> Memory {
        Memory {
            list: self.list,
            extents: self.extents,
        }
    }

    /// Pieces among which are all that are text of message `index` or were written for it.
    pub(super) fn near(&self, index: u32) -> &[Piece] {
        match self.extents.get(index as usize) {
            Some((from, to)) => &self.list[*from as usize..*to as usize],
            None => &[],
        }
    }

    /// Pieces of text of message `index`.
    pub(super) fn of(&self, index: u32) -> impl DoubleEndedIterator<Item = &Piece> {
        self.near(index)
            .iter()
            .filter(move |piece| piece.message == Some(index))
    }

    /// Where the text of messages before `index` ends for the last time before `limit`.
    pub(super) fn anchor(&self, index: u32, limit: usize) -> usize {
        self.list[..self.index_at(limit)]
            .iter()
            .rev()
            .find(|piece| piece.message.is_some_and(|m| m < index))
            .map_or(0, |piece| piece.end)
    }

    /// The piece that holds byte `at`.
    pub(super) fn index_at(&self, at: usize) -> usize {
        self.list.partition_point(|piece| piece.end <= at)
    }

    /// The window of message `index`: the bytes around `at` that the template wrote for it.
    pub(super) fn window_start(&self, index: u32, at: usize) -> usize {
        let mut first = self.index_at(at);
        let belongs = |piece: &Piece| {
            piece.owner == Some(index) && piece.message.is_none_or(|message| message == index)
        };
        while first > 0 && belongs(&self.list[first - 1]) {
            first -= 1;
        }
        self.list.get(first).map_or(at, |piece| piece.start)
    }

    /// Up to about 40 characters on both sides of a place, for messages.
    pub(super) fn around(&self, at: usize) -> String {
        let mut at = at.min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        let before: Vec<char> = self.text[..at].chars().rev().take(40).collect();
        let after = self.text[at..].chars().take(40);
        before.into_iter().rev().chain(['⁞']).chain(after).collect()
    }
}

/// Counts the piece at `at` to those of a message.
#[inline]
fn extend(extents: &mut Vec<(u32, u32)>, message: Option<u32>, at: u32) {
    let Some(message) = message.map(|message| message as usize) else {
        return;
    };
    if message >= extents.len() {
        extents.resize(message + 1, (at, at));
    }
    let extent = &mut extents[message];
    if extent.0 == extent.1 {
        extent.0 = at;
    }
    extent.1 = at + 1;
}
