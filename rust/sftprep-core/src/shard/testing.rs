//! Documents for the tests of this folder.

use crate::types::{Border, Example, NO_MESSAGE, RowPlace, SpanKind, TokenSpan};

use super::DocMeta;

/// SplitMix64.
pub(crate) fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut word = *state;
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// A document of `n` tokens with random spans, some of them empty, some with a weight.
pub(crate) fn example(n: u32, mut seed: u64) -> Example {
    let state = &mut seed;
    let input_ids = (0..n).map(|_| random(state) as u32 % 50_000).collect();
    let weighted = random(state).is_multiple_of(4);
    let mut spans = Vec::new();
    let mut end = 0;
    while end < n {
        end = n.min(end + random(state) as u32 % 9);
        let kind = SpanKind::ALL[random(state) as usize % SpanKind::ALL.len()];
        let no_message = random(state).is_multiple_of(3);
        let message = if no_message {
            NO_MESSAGE
        } else {
            random(state) as u32 % 40
        };
        let trained = random(state).is_multiple_of(2);
        let straddles = !trained && random(state).is_multiple_of(5);
        let weight = if weighted { 0.5 } else { 1.0 };
        spans.push(TokenSpan {
            end,
            message,
            kind,
            trained,
            straddles,
            border: Border::Inside,
            repeated: !trained && random(state).is_multiple_of(7),
            continues: random(state).is_multiple_of(11),
            weight,
        });
    }
    Example { input_ids, spans }
}

pub(crate) fn meta(index: u32) -> DocMeta {
    let place = RowPlace {
        source: index % 2,
        line: u64::from(index) + 1,
        offset: u64::from(index) << 33,
    };
    DocMeta {
        place,
        part: index % 3,
    }
}
