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

#[derive(Debug)]
pub(super) struct Pieces<'r> {
    pub text: &'r str,
    pub list: Vec<Piece>,
    pub rendered: &'r Rendered,
}

impl<'r> Pieces<'r> {
    pub(super) fn new(rendered: &'r Rendered) -> Self {
        let mut start = 0;
        let list = rendered
            .segments
            .iter()
            .map(|segment| {
                let mut piece = Piece {
                    start,
                    end: segment.end as usize,
                    owner: segment.owner,
                    message: None,
                    leaf: None,
                    input: false,
                    special: segment.origin == Origin::SpecialToken,
                    generation: segment.generation,
                    source: segment.source_start,
                };
                if let Origin::Leaf(id) = segment.origin {
                    let leaf = &rendered.leaves[id as usize];
                    if leaf.kind != LeafKind::Role {
                        piece.input = true;
                        piece.leaf = Some(id);
                        piece.message = leaf.message;
                    }
                }
                start = piece.end;
                piece
            })
            .collect();
        Self {
            text: &rendered.text,
            list,
            rendered,
        }
    }

    /// Pieces of text of message `index`.
    pub(super) fn of(&self, index: u32) -> impl Iterator<Item = &Piece> {
        self.list
            .iter()
            .filter(move |piece| piece.message == Some(index))
    }

    /// Where the text of messages before `index` ends for the last time before `limit`.
    pub(super) fn anchor(&self, index: u32, limit: usize) -> usize {
        self.list
            .iter()
            .filter(|piece| piece.message.is_some_and(|m| m < index) && piece.end <= limit)
            .map(|piece| piece.end)
            .max()
            .unwrap_or(0)
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
