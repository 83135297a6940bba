use proptest::prelude::*;

use super::*;
use crate::shard::segment_writer::{HELD_WORDS, SegmentWriter};
use crate::shard::testing::{example, meta};
use crate::types::Example;

proptest! {
    #[test]
    fn what_is_read_is_what_was_appended(
        seeds in prop::collection::vec((1u32..600, any::<u64>()), 1..20),
        cut in any::<u64>(),
        held in any::<bool>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("segment");
        let mut writer = if held {
            SegmentWriter::held(&path, HELD_WORDS)
        } else {
            SegmentWriter::create(&path).unwrap()
        };
        let examples: Vec<Example> = seeds.iter().map(|(n, seed)| example(*n, *seed)).collect();
        for (index, example) in examples.iter().enumerate() {
            writer.append(example, meta(index as u32)).unwrap();
        }
        let reader = writer.finish().unwrap();
        let mut piece = DocumentPiece::default();
        for (index, example) in (0..).zip(&examples) {
            let len = example.input_ids.len() as u32;
            let whole = Piece { document: index, start: 0, len };
            prop_assert_eq!(reader.read(whole, &mut piece).unwrap(), meta(index));
            prop_assert_eq!(piece.input_ids(), &example.input_ids[..]);
            let solid: Vec<TokenSpan> = piece.spans().to_vec();
            let start = (cut % u64::from(len)) as u32;
            let part = 1 + (cut >> 32) as u32 % (len - start);
            let cut = Piece { document: index, start, len: part };
            prop_assert_eq!(reader.read(cut, &mut piece).unwrap(), meta(index));
            let range = start as usize..(start + part) as usize;
            prop_assert_eq!(piece.input_ids(), &example.input_ids[range.clone()]);
            // Token by token, the piece's spans say what the document's spans say.
            let says = |spans: &[TokenSpan], token: u32| {
                let span = spans[spans.partition_point(|span| span.end <= token)];
                let flags = [span.trained, span.straddles, span.repeated, span.continues];
                (span.kind, span.message, flags, span.weight.to_bits())
            };
            for token in range {
                let token = token as u32;
                prop_assert_eq!(says(piece.spans(), token - start), says(&solid, token));
                prop_assert_eq!(says(&example.spans, token), says(&solid, token));
            }
            prop_assert_eq!(piece.spans().last().unwrap().end, part);
        }
    }
}

#[test]
fn what_cannot_be_a_document_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = SegmentWriter::create(&dir.path().join("segment")).unwrap();
    let whole = example(5, 1);
    let mut refused = |example: &Example| {
        let error = writer.append(example, meta(7)).unwrap_err();
        assert_eq!(error.code, Code::RunInternal);
        error.message
    };
    assert!(refused(&Example::default()).contains("0 tokens"));
    let mut short = whole.clone();
    short.input_ids.push(1);
    assert!(refused(&short).contains("spans end at 5 of 6 tokens"));
    let mut large = whole;
    large.input_ids[2] = 1 << 31;
    assert!(refused(&large).contains("2147483648"));
    let reader = writer.finish().unwrap();
    assert!(reader.is_empty());
    let piece = Piece {
        document: 0,
        start: 0,
        len: 1,
    };
    let error = reader
        .read(piece, &mut DocumentPiece::default())
        .unwrap_err();
    assert_eq!(error.code, Code::RunInternal);
}

#[test]
fn what_is_too_long_to_be_held_goes_to_disk() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("segment");
    let mut writer = SegmentWriter::held(&path, HELD_WORDS);
    let long = example(HELD_WORDS as u32 / 2, 3);
    for index in 0..3 {
        writer.append(&long, meta(index)).unwrap();
    }
    let reader = writer.finish().unwrap();
    assert!(path.exists());
    let mut piece = DocumentPiece::default();
    for document in 0..3 {
        let len = long.input_ids.len() as u32;
        let whole = Piece {
            document,
            start: 0,
            len,
        };
        assert_eq!(reader.read(whole, &mut piece).unwrap(), meta(document));
        assert_eq!(piece.input_ids(), &long.input_ids[..]);
    }
}
