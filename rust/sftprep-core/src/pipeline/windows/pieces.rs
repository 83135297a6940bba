//! Slices of one rendering by tokens: of an answer that is longer than a sequence, and of rows
//! without messages.

use std::ops::Range;

use crate::types::{Example, TokenSpan};

/// A slice: a run of tokens, of which those before `fresh` stand in an earlier one too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    /// Its tokens.
    pub(super) range: Range<u32>,
    /// The first that is its own.
    pub(super) fresh: u32,
}

/// Cuts `tokens` tokens, of which those in `trained` may be trained, into slices of up to `max_len`.
///
/// What stands before the trained ones is kept as it is if it leaves room for an eighth of a slice;
/// else its tail is, as much as fits before what is trained, and at least that eighth. Later slices
/// begin with an eighth that is repeated, the last one with as much as fits. Where nothing stands
/// before the trained ones, as in raw text, a single token is repeated: every token but the first
/// of all is then predicted once.
pub(super) fn pieces(tokens: u32, trained: Range<u32>, max_len: u32) -> Vec<Piece> {
    let raw = trained.start == 0;
    let context = if raw { 1 } else { (max_len / 8).max(1) };
    let mut start = if trained.start.saturating_add(context) <= max_len {
        0
    } else {
        let rest = tokens - trained.start;
        let before = context.max(max_len.saturating_sub(rest));
        trained.start.saturating_sub(before)
    };
    let mut pieces = Vec::new();
    let mut fresh = start;
    loop {
        let end = tokens.min(start.saturating_add(max_len));
        pieces.push(Piece {
            range: start..end,
            fresh,
        });
        if end >= trained.end {
            return pieces;
        }
        fresh = end;
        start = fresh - context;
        if !raw && tokens - start < max_len {
            start = tokens - max_len;
        }
    }
}

/// A slice of a document; what it repeats is not trained. `continues` says that another follows.
pub(super) fn slice(example: &Example, piece: &Piece, continues: bool) -> Example {
    let Piece { range, fresh } = piece;
    let mut out = Example {
        input_ids: example.input_ids[range.start as usize..range.end as usize].to_vec(),
        spans: Vec::new(),
    };
    for (start, span) in overlapping(example, range) {
        // a span that is repeated in part becomes two
        for (from, to, repeated) in [
            (start, span.end.min(*fresh), true),
            (start.max(*fresh), span.end, false),
        ] {
            let (from, to) = (from.max(range.start), to.min(range.end));
            if from < to {
                let mut part = *span;
                part.end = to - range.start;
                part.repeated = repeated;
                part.trained &= !repeated;
                out.spans.push(part);
            }
        }
    }
    if let Some(last) = out.spans.last_mut() {
        last.continues = continues;
    }
    out
}

/// Whether a slice has a token to train.
pub(super) fn trains(example: &Example, piece: &Piece) -> bool {
    let own = piece.fresh.max(piece.range.start + 1)..piece.range.end;
    overlapping(example, &own).any(|(_, span)| span.trained)
}

/// The spans that have tokens in a range, each with its first token.
fn overlapping<'e>(
    example: &'e Example,
    range: &Range<u32>,
) -> impl Iterator<Item = (u32, &'e TokenSpan)> + use<'e> {
    let Range { start, end } = *range;
    let spans = &example.spans;
    let first = spans.partition_point(|span| span.end <= start);
    let from = first.checked_sub(1).map_or(0, |before| spans[before].end);
    let own = spans[first..].iter().scan(from, |from, span| {
        Some((std::mem::replace(from, span.end), span))
    });
    own.take_while(move |(from, _)| *from < end)
}

/// From the first token that is trained to one past the last.
pub(super) fn trained(example: &Example) -> Range<u32> {
    let mut start = 0;
    let mut found: Option<Range<u32>> = None;
    for span in &example.spans {
        if span.trained && span.end > start {
            found = Some(found.map_or(start, |it| it.start)..span.end);
        }
        start = span.end;
    }
    found.unwrap_or(0..0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::types::{Border, NO_MESSAGE, SpanKind};

    fn ranges(pieces: &[Piece]) -> Vec<(u32, u32, u32)> {
        let each = pieces
            .iter()
            .map(|it| (it.range.start, it.fresh, it.range.end));
        each.collect()
    }

    fn example(spans: &[(u32, bool)]) -> Example {
        let span = |&(end, trained): &(u32, bool)| TokenSpan {
            end,
            message: NO_MESSAGE,
            kind: SpanKind::Text,
            trained,
            straddles: false,
            border: Border::Inside,
            repeated: false,
            continues: false,
            weight: 1.0,
        };
        Example {
            input_ids: (0..spans.last().map_or(0, |span| span.0)).collect(),
            spans: spans.iter().map(span).collect(),
        }
    }

    #[test]
    fn raw_text_repeats_one_token() {
        let found = pieces(25, 0..25, 10);
        assert_eq!(ranges(&found), [(0, 0, 10), (9, 10, 19), (18, 19, 25)]);
    }

    #[test]
    fn an_answer_keeps_its_prompt_and_repeats_an_eighth() {
        let found = pieces(200, 30..198, 80);
        assert_eq!(ranges(&found), [(0, 0, 80), (70, 80, 150), (120, 150, 200)]);
    }

    #[test]
    fn a_prompt_that_leaves_no_room_keeps_its_tail() {
        // the answer fits: as much of the prompt as fits with it
        assert_eq!(ranges(&pieces(120, 100..119, 80)), [(40, 40, 120)]);
        // it does not: an eighth of the prompt
        let found = pieces(220, 100..219, 80);
        assert_eq!(ranges(&found), [(90, 90, 170), (140, 170, 220)]);
    }

    #[test]
    fn what_is_repeated_is_not_trained() {
        let whole = example(&[(3, false), (12, true)]);
        let piece = Piece {
            range: 5..11,
            fresh: 7,
        };
        let cut = slice(&whole, &piece, true);
        assert_eq!(cut.input_ids, [5, 6, 7, 8, 9, 10]);
        let says: Vec<_> = cut
            .spans
            .iter()
            .map(|it| (it.end, it.trained, it.repeated, it.continues))
            .collect();
        assert_eq!(says, [(2, false, true, false), (6, true, false, true)]);
        assert!(trains(&whole, &piece));
        assert_eq!(trained(&whole), 3..12);
    }

    proptest! {
        #[test]
        fn each_trained_token_is_trained_once(
            spans in prop::collection::vec((1..40u32, any::<bool>()), 1..12),
            max_len in 2..50u32,
        ) {
            let mut end = 0;
            let spans: Vec<(u32, bool)> = spans
                .iter()
                .map(|(tokens, trained)| {
                    end += tokens;
                    (end, *trained)
                })
                .collect();
            let whole = example(&spans);
            let wanted: Vec<u32> = labelled(&whole);
            prop_assume!(!wanted.is_empty() && end > max_len);
            let mut found = Vec::new();
            let all = pieces(end, trained(&whole), max_len);
            for (at, piece) in all.iter().enumerate() {
                let last = at + 1 == all.len();
                let cut = slice(&whole, piece, !last);
                prop_assert!(cut.input_ids.len() <= max_len as usize);
                prop_assert_eq!(cut.spans.last().map(|it| it.end as usize), Some(cut.input_ids.len()));
                prop_assert_eq!(cut.spans.last().map(|it| it.continues), Some(!last));
                prop_assert!(at == 0 || piece.fresh > piece.range.start);
                let own = labelled(&cut);
                prop_assert_eq!(!own.is_empty(), trains(&whole, piece));
                found.extend(own);
            }
            prop_assert_eq!(found, wanted);
        }
    }

    fn labelled(example: &Example) -> Vec<u32> {
        let labels = example.labels().into_iter().filter(|label| *label >= 0);
        labels.map(i32::cast_unsigned).collect()
    }
}
