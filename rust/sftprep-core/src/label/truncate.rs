//! Cuts a document that is too long, without teaching an ending that is not there.

use crate::types::{Example, NO_MESSAGE, SpanKind};

/// Keeps the first `max_len` tokens.
///
/// The turn that is cut loses its stop token, so none of it is trained: a model must not learn
/// half an answer as if it were whole. Raw text has no stop token and stays trained.
pub fn truncate(example: &mut Example, max_len: u32) {
    if example.input_ids.len() <= max_len as usize {
        return;
    }
    example.input_ids.truncate(max_len as usize);
    let kept = example.spans.partition_point(|span| span.end <= max_len);
    let cut = example
        .spans
        .get(kept)
        .map(|span| (span.message, span.kind));
    let stop_was_cut = |message: u32| {
        example.spans[kept..]
            .iter()
            .any(|span| span.message == message && span.kind == SpanKind::Stop)
    };
    let unfinished: Option<u32> = match cut {
        Some((_, SpanKind::Text | SpanKind::Tokens)) | None => None,
        Some((NO_MESSAGE, SpanKind::Answer | SpanKind::Stop)) => Some(NO_MESSAGE),
        Some((message, _)) => (message != NO_MESSAGE && stop_was_cut(message)).then_some(message),
    };
    let started = example.spans.get(kept).is_some_and(|span| {
        kept.checked_sub(1)
            .map_or(0, |before| example.spans[before].end)
            < max_len
            && span.end > max_len
    });
    example.spans.truncate(kept + usize::from(started));
    if let Some(last) = example.spans.last_mut() {
        last.end = last.end.min(max_len);
    }
    for span in &mut example.spans {
        if unfinished == Some(span.message) {
            span.trained = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Border, TokenSpan};

    fn example(spans: &[(u32, u32, SpanKind, bool)]) -> Example {
        let spans: Vec<TokenSpan> = spans
            .iter()
            .map(|&(end, message, kind, trained)| TokenSpan {
                end,
                message,
                kind,
                trained,
                straddles: false,
                border: Border::Inside,
                repeated: false,
                continues: false,
                weight: 1.0,
            })
            .collect();
        let input_ids = (0..spans.last().unwrap().end).collect();
        Example { input_ids, spans }
    }

    fn two_turns() -> Example {
        example(&[
            (3, 0, SpanKind::User, false),
            (6, 1, SpanKind::Answer, true),
            (7, 1, SpanKind::Stop, true),
            (9, 2, SpanKind::User, false),
            (12, 3, SpanKind::Answer, true),
            (13, 3, SpanKind::Stop, true),
            (14, NO_MESSAGE, SpanKind::Scaffold, false),
        ])
    }

    #[test]
    fn a_cut_turn_is_not_trained_and_whole_turns_stay() {
        for max_len in 10..=12 {
            let mut cut = two_turns();
            truncate(&mut cut, max_len);
            assert_eq!(cut.input_ids.len(), max_len as usize);
            assert_eq!(cut.spans.last().unwrap().end, max_len);
            assert_eq!(cut.trained_tokens(), 4, "at {max_len}");
        }
        let mut cut = two_turns();
        truncate(&mut cut, 13);
        assert_eq!(cut.trained_tokens(), 8, "only scaffold was cut");
        let mut cut = two_turns();
        truncate(&mut cut, 5);
        assert_eq!(cut.trained_tokens(), 0);
    }

    #[test]
    fn raw_text_stays_trained() {
        let mut cut = example(&[(9, NO_MESSAGE, SpanKind::Text, true)]);
        truncate(&mut cut, 4);
        assert_eq!((cut.trained_tokens(), cut.spans.len()), (3, 1));
        let mut cut = example(&[
            (2, NO_MESSAGE, SpanKind::User, false),
            (6, NO_MESSAGE, SpanKind::Answer, true),
            (7, NO_MESSAGE, SpanKind::Stop, true),
        ]);
        truncate(&mut cut, 6);
        assert_eq!(
            cut.trained_tokens(),
            0,
            "the completion lost its stop token"
        );
    }
}
