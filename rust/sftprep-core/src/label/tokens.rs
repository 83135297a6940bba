//! Carries spans of bytes over to tokens.
//!
//! A token is trained if, and only if, all its bytes lie in trained spans. A token that straddles
//! the edge between a trained and an untrained span (an answer that starts with a newline fuses
//! with the header's newline) is not trained, and is marked so that it can be counted.

use sftprep_tokenize::Encoding;

use super::policy::ByteSpan;
use crate::error::{Code, Reject};
use crate::types::{Border, Example, NO_MESSAGE, SpanKind, TokenSpan};

/// Labels the tokens of a text whose byte spans are known.
///
/// # Errors
/// `label.nothing_trained` if a message that is to be trained ends up without a trained token.
pub fn label_tokens(encoding: &Encoding, spans: &[ByteSpan]) -> Result<Example, Reject> {
    let mut builder = Builder {
        spans: Vec::with_capacity(spans.len()),
    };
    let offsets = &encoding.offsets;
    let mut token = 0;
    for (at, span) in spans.iter().enumerate() {
        let last = at + 1 == spans.len();
        while let Some(&[start, end]) = offsets.get(token)
            && (start < span.end || last)
        {
            let inside = leading(&offsets[token..], span.end);
            let reached = if inside > 0 { &[] } else { &spans[at + 1..] };
            token += inside.max(1);
            builder.push(token as u32, token_span(span, reached, end));
        }
    }
    let example = Example {
        input_ids: encoding.ids.clone(),
        spans: builder.spans,
    };
    check_every_turn(&example, spans)?;
    Ok(example)
}

/// How many tokens at the beginning lie before byte `end`. A span has many of those and few that
/// straddle its end, so they are looked at by eights, which takes one branch.
fn leading(tokens: &[[u32; 2]], end: u32) -> usize {
    let inside = |[first, last]: &[u32; 2]| u32::from(*first < end) & u32::from(*last <= end);
    let (eights, _) = tokens.as_chunks::<8>();
    let all = |eight: &&[[u32; 2]; 8]| eight.iter().map(inside).sum::<u32>() == 8;
    let sure = 8 * eights.iter().take_while(all).count();
    let rest = tokens[sure..].iter();
    sure + rest.take_while(|token| inside(token) == 1).count()
}

/// The label of a token that starts in `first` and ends at byte `end`.
fn token_span(first: &ByteSpan, rest: &[ByteSpan], end: u32) -> TokenSpan {
    let reached = || rest.iter().take_while(|span| span.start < end);
    let mixed = reached().any(|span| span.trained != first.trained);
    let leaves = |span: &ByteSpan| (span.kind, span.message) != (first.kind, first.message);
    let border = match (mixed || reached().any(leaves), reached().last()) {
        (false, _) => Border::Inside,
        (true, Some(last)) if reached().count() == 1 && end < last.end => Border::Crosses,
        (true, _) if reached().any(|span| span.trained) => Border::Swallows,
        (true, _) => Border::Leaves,
    };
    TokenSpan {
        end: 0,
        message: first.message,
        kind: first.kind,
        trained: first.trained && !mixed,
        straddles: mixed,
        border,
        repeated: false,
        continues: false,
        weight: first.weight,
    }
}

/// Joins equal neighbours.
#[derive(Default)]
pub(super) struct Builder {
    pub(super) spans: Vec<TokenSpan>,
}

impl Builder {
    /// Adds tokens of one kind; the last is the one before `end`.
    pub(super) fn push(&mut self, end: u32, mut token: TokenSpan) {
        token.end = end;
        if let Some(last) = self.spans.last_mut() {
            let joined = TokenSpan {
                end: token.end,
                ..*last
            };
            if joined == token && token.border == Border::Inside {
                last.end = token.end;
                return;
            }
        }
        self.spans.push(token);
    }
}

/// Never a silent zero mask: each message with trained bytes must have a trained token.
fn check_every_turn(example: &Example, spans: &[ByteSpan]) -> Result<(), Reject> {
    let mut last = None;
    // turns come in the order of their tokens, so each is looked for behind the one before
    let mut found = 0;
    for span in spans.iter().filter(|it| it.trained && it.end > it.start) {
        if last.replace(span.message) == Some(span.message) {
            continue;
        }
        let (before, behind) = example.spans.split_at(found);
        let has = |it: &TokenSpan| it.trained && it.message == span.message;
        if let Some(at) = behind.iter().position(has) {
            found += at;
        } else if !before.iter().any(has) {
            return Err(zero_turn(span.message));
        }
    }
    if example.trained_tokens() == 0 {
        return Err(nothing_trained());
    }
    Ok(())
}

/// A turn without a token of its own.
pub(super) fn zero_turn(message: u32) -> Reject {
    Reject::new(
        Code::LabelNothingTrained,
        "rule H: each token of this turn straddles the edge of a span, so none can be trained",
    )
    .at_field(format!("messages[{message}]"))
}

/// A document without a label.
pub(super) fn nothing_trained() -> Reject {
    Reject::new(Code::LabelNothingTrained, "no token would be trained")
}

/// Labels tokens without text: one span, or one per run of equal flags.
pub fn raw_tokens(input_ids: Vec<u32>, kind: SpanKind, trained: impl Fn(usize) -> bool) -> Example {
    let mut builder = Builder::default();
    for index in 0..input_ids.len() {
        let span = TokenSpan {
            end: 0,
            message: NO_MESSAGE,
            kind,
            trained: trained(index),
            straddles: false,
            border: Border::Inside,
            repeated: false,
            continues: false,
            weight: 1.0,
        };
        builder.push(index as u32 + 1, span);
    }
    Example {
        input_ids,
        spans: builder.spans,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::IGNORE_INDEX;

    fn byte_span(start: u32, end: u32, kind: SpanKind, trained: bool) -> ByteSpan {
        ByteSpan {
            start,
            end,
            kind,
            message: 0,
            trained,
            weight: 1.0,
        }
    }

    fn encoding(ends: &[u32]) -> Encoding {
        let mut encoding = Encoding::default();
        let mut start = 0;
        for (id, &end) in ends.iter().enumerate() {
            encoding.ids.push(id as u32);
            encoding.offsets.push([start, end]);
            start = end;
        }
        encoding
    }

    #[test]
    fn a_token_is_trained_only_if_all_its_bytes_are() {
        let spans = [
            byte_span(0, 4, SpanKind::Scaffold, false),
            byte_span(4, 8, SpanKind::Reasoning, true),
            byte_span(8, 12, SpanKind::Answer, true),
            byte_span(12, 14, SpanKind::Scaffold, false),
        ];
        // tokens: inside scaffold; straddling its edge; across two trained spans; across the end
        let example = label_tokens(&encoding(&[3, 6, 9, 11, 13, 14]), &spans).unwrap();
        let labels = example.labels();
        let skip = IGNORE_INDEX;
        assert_eq!(labels, [skip, skip, 2, 3, skip, skip]);
        let straddling: Vec<bool> = example.spans.iter().map(|span| span.straddles).collect();
        assert_eq!(straddling, [false, true, false, false, true, false]);
        assert_eq!(example.spans.last().unwrap().end, 6);
    }

    #[test]
    fn a_turn_without_a_trained_token_is_rejected() {
        let spans = [
            byte_span(0, 1, SpanKind::Scaffold, false),
            byte_span(1, 2, SpanKind::Answer, true),
            byte_span(2, 3, SpanKind::Scaffold, false),
        ];
        let reject = label_tokens(&encoding(&[3]), &spans).unwrap_err();
        assert_eq!(reject.code, Code::LabelNothingTrained);
    }
}
