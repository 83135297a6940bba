use super::*;
use crate::merge::NONE;

/// A character is a token of its own code point, every seventh two; a pair is one token, two,
/// or neither.
fn encode(text: &str, out: &mut Vec<(u32, u32)>) {
    let codes: Vec<u32> = text.chars().map(u32::from).collect();
    let len = |c: u32| char::from_u32(c).map_or(0, char::len_utf8) as u32;
    out.clear();
    match *codes {
        [a, b] if (a + b) % 3 == 0 => out.push((a * 16 + b % 16, len(a) + len(b))),
        [a, b] if (a + b) % 3 == 1 => out.extend([(a, len(a)), (b, len(b))]),
        [_, _] => out.extend([(1, 1), (2, 5)]),
        [c] if c % 7 == 0 => out.extend([(c, 1), (c + 1, len(c) - 1)]),
        _ => out.push((codes[0], len(codes[0]))),
    }
}

fn table(pairs: &[(u32, u32)], rules: &[[u32; 4]]) -> Dense {
    let source = Source {
        pairs,
        rules,
        split: &Split::parse(Split::GPT2).unwrap(),
        crossed: &|_, _, _| false,
    };
    Dense::new(&source, &mut encode)
}

/// Every pair is found with its value, and no other pair is.
#[test]
fn pairs_are_found_and_no_others() {
    let mut pairs: Vec<(u32, u32)> = (0..9000u32)
        .map(|i| (0x4E00 + i * 7 % 3001, 0x3000 + i * i % 6011))
        .chain((0..70).map(|i| (0x30 + i, 0x4E00 + i)))
        .filter(|(a, b)| *a != 0x7F && !(0xD800..0xE000).contains(b))
        .collect();
    pairs.sort_unstable();
    pairs.dedup();
    let kept: Vec<_> = pairs.iter().copied().step_by(2).collect();
    let dense = table(&kept, &[[5, 6, 0, 7], [6, 7, 1, 8]]);
    assert!(!dense.is_empty() && dense.sound() && dense.ordered);
    let table = dense.lookup().unwrap();
    let value = |a: u32, b: u32| table.pair(table.char(a), u64::from(a), table.char(b));
    for (i, &(a, b)) in pairs.iter().enumerate() {
        let apart = a % 7 != 0 && b % 7 != 0 && a >= 0x80;
        let alone = if apart { 0 } else { ALONE };
        let expected = match (a + b) % 3 {
            _ if i % 2 != 0 => CUT,
            0 => ONE | (a * 16 + b % 16) | alone,
            1 if a % 7 != 0 && b % 7 != 0 => alone,
            _ => SLOW,
        };
        let found = value(a, b);
        let found = if found & CUT == 0 { found } else { CUT };
        assert_eq!(found, expected, "{a:x} {b:x}");
    }
    let cut = |a: u32, b: u32| value(a, b) & CUT != 0;
    assert!((0..0x1_0000).all(|b| cut(0xFFFF, b) && cut(0xFFFE, b)));
    assert!((0..0x1_0000).all(|b| table.pair(0, NOBODY, table.char(b)) & CUT != 0));
}

/// Rules are found where what they join is of whole characters, more than two in all.
#[test]
fn rules_are_found() {
    // Single characters 0x4E01 and so on, pairs and longer tokens from 0x100_000.
    let single = |i: u32| 0x4E00 + 7 * (i % 400) + 1;
    let mut rules = Vec::new();
    for i in 0..400u32 {
        rules.push([single(i), single(i + 1), i, 0x10_0000 + i]);
    }
    for i in 0..3000u32 {
        let (long, short) = (0x10_0000 + i, single(i / 5));
        let both = if i % 2 == 0 {
            [long, short]
        } else {
            [short, long]
        };
        rules.push([both[0], both[1], 400 + i, 0x10_0000 + 400 + i]);
    }
    // One more that joins parts of characters, and one that replaces another.
    rules.push([0x20, 0x10_0000, 5000, 0x10_5000]);
    rules.push([0x10_0000, single(0), 5001, 0x10_5001]);
    let dense = table(&[], &rules);
    assert!(dense.sound());
    for &[a, b, rank, new] in &rules {
        let expected = match rank {
            0..400 | 5000 => NONE,
            400 => 0x10_5001,
            _ => new,
        };
        assert_eq!(dense.join(a, b), expected, "{a:x} {b:x} {rank}");
    }
    assert_eq!(dense.join(0x10_0000, NONE), NONE);
    assert_eq!(dense.join(NONE, NONE), NONE);
    assert_eq!(dense.join(0x10_0001, 0x10_0001), NONE);
}

#[test]
fn characters_are_known() {
    let dense = table(&[], &[[5, 6, 0, 8], [6, 7, 1, 7]]);
    assert!(!dense.ordered && dense.sound());
    let table = dense.lookup().unwrap();
    assert_eq!(table.char(0x4E2E) as u32, 0x4E2E | u32::from(b'a') << 24);
    assert_eq!(table.char(0xFF0C) as u32 >> 24, u32::from(b'.'));
    assert_eq!(table.char(0x32) as u32, 0x32 | u32::from(b'2') << 24);
    // A control character, a letter of two cases, a digit, a mark.
    for c in [0x07, 0xE9, 0xFF21, 0xFF11, 0x3099] {
        assert_eq!(table.char(c) as u32 >> 24, 0, "{c:x}");
    }
    let several = table.char(0x4E2D) as u32 & (SEVERAL | ID);
    assert!(several >= SEVERAL);
    assert_eq!(
        dense.several[(several & ID) as usize],
        [0x4E2D, 0x4E2E, 0, 2 | 1 << 8 | 2 << 16]
    );
    assert!(Dense::default().sound() && Dense::default().is_empty());
}
