//! Damaged characters: text decoded with the wrong encoding, control and invisible characters.

/// What is wrong with the characters of a text; offsets are bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Characters {
    /// Sequences that are UTF-8 read as another encoding, and where the first is.
    pub mojibake: Option<(u32, usize)>,
    /// Control and invisible characters, and where the first is.
    pub control: Option<(u32, usize)>,
    /// Replacement characters (U+FFFD), and where the first is.
    pub replaced: Option<(u32, usize)>,
}

/// Evidence of mojibake from which on a text counts as such.
const ENOUGH: u32 = 2;

/// What UTF-8's E2 80 99 and its neighbours (quotes, dashes, …) look like in other encodings: the
/// two bytes that they share, then the characters that the third may be.
const PUNCTUATION: [(&str, &str); 5] = [
    ("ΓÇ", "ÿÖ£¥ôöªó"),       // IBM 437
    ("ÔÇ", "ÿÖ£ØôöªÕ"),       // IBM 850
    ("‚Ä", "òôúùìî¶¢"),       // Macintosh
    ("вЂ", "™˜њќ”“¦ў\u{98}"), // Windows 1251
    ("鈥", ""),               // GBK
];

/// Looks at every character beyond printable ASCII.
pub fn characters(text: &str) -> Characters {
    let mut found = Characters::default();
    let (mut evidence, mut first, mut count) = (0, 0, 0);
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        if (0x20..0x7f).contains(&byte) || matches!(byte, b'\n' | b'\t' | b'\r') {
            at += 1;
            continue;
        }
        let Some(c) = text[at..].chars().next() else {
            break;
        };
        let rest = &text[at..];
        if let Some((weight, length)) = sequence(rest, before(text, at)).or_else(|| prefix(rest)) {
            if count == 0 {
                first = at;
            }
            evidence += weight;
            count += 1;
            at += length;
            continue;
        }
        if c == '\u{fffd}' {
            note(&mut found.replaced, at);
        } else if is_control(c, before(text, at), &rest[c.len_utf8()..]) {
            note(&mut found.control, at);
        }
        at += c.len_utf8();
    }
    if evidence >= ENOUGH {
        found.mojibake = Some((count, first));
        // one cause is told once: what could not be decoded is what left the rest
        found.replaced = None;
    }
    found
}

fn note(slot: &mut Option<(u32, usize)>, at: usize) {
    *slot = match *slot {
        None => Some((1, at)),
        Some((count, first)) => Some((count + 1, first)),
    };
}

fn before(text: &str, at: usize) -> Option<char> {
    text[..at].chars().next_back()
}

/// UTF-8 that was read as Latin-1 or Windows 1252: its weight and its length in bytes.
fn sequence(rest: &str, before: Option<char>) -> Option<(u32, usize)> {
    let mut chars = rest.chars();
    let lead = chars.next()?;
    let wanted = match byte_of(lead)? {
        0xc2..=0xdf => 1,
        0xe0..=0xef => 2,
        0xf0..=0xf4 => 3,
        _ => return None,
    };
    let mut raw = [byte_of(lead)?, 0, 0, 0];
    let mut length = lead.len_utf8();
    for (index, slot) in raw[1..=wanted].iter_mut().enumerate() {
        let next = chars.next();
        match next.and_then(byte_of) {
            Some(byte @ 0x80..=0xbf) => *slot = byte,
            // the last byte is lost where an encoding has no character for it
            _ if index == 1 && raw[..2] == [0xe2, 0x80] => {
                return (next != Some('\u{fffd}') || lead == 'â').then_some((2, length));
            }
            _ => return None,
        }
        length += next.map_or(0, char::len_utf8);
    }
    let decoded = std::str::from_utf8(&raw[..=wanted]).ok()?.chars().next()?;
    // nobody types the control characters that Latin-1 has for 80 to 9F
    let typed = rest[..length].chars().all(|c| !c.is_control());
    let plain = lead == 'Â' || !typed || before.is_none_or(|c| !c.is_uppercase());
    let weight = match (wanted, decoded as u32) {
        // accents, quotes and signs of Western text: é as Ã©, ° as Â°; those of other scripts
        (1, 0xa0..=0xff) if plain => 2,
        (1, 0x80..=0x17f | 0x370..=0x4ff) | (2, 0x800..=0x1fff) => 1 + u32::from(!typed),
        (2, 0x2000..=0x2bff | 0x3000..=0x9fff | 0xac00..=0xd7af | 0xfe00..=0xffef)
        | (3, 0x1f000..=0x1faff | 0x20000..=0x2ffff) => 2,
        _ => return None,
    };
    Some((weight, length))
}

/// The same for encodings in which quotes and dashes have a look of their own.
fn prefix(rest: &str) -> Option<(u32, usize)> {
    PUNCTUATION.iter().find_map(|(start, thirds)| {
        let third = rest.strip_prefix(start)?.chars().next();
        if thirds.is_empty() {
            return Some((2, start.len()));
        }
        let third = third.filter(|c| thirds.contains(*c))?;
        Some((2, start.len() + third.len_utf8()))
    })
}

/// The byte that Windows 1252 (or Latin-1, where that has none) writes for a character.
fn byte_of(c: char) -> Option<u8> {
    Some(match c {
        '\u{80}'..='\u{ff}' => c as u32 as u8,
        '€' => 0x80,
        '‚' => 0x82,
        'ƒ' => 0x83,
        '„' => 0x84,
        '…' => 0x85,
        '†' => 0x86,
        '‡' => 0x87,
        'ˆ' => 0x88,
        '‰' => 0x89,
        'Š' => 0x8a,
        '‹' => 0x8b,
        'Œ' => 0x8c,
        'Ž' => 0x8e,
        '‘' => 0x91,
        '’' => 0x92,
        '“' => 0x93,
        '”' => 0x94,
        '•' => 0x95,
        '–' => 0x96,
        '—' => 0x97,
        '˜' => 0x98,
        '™' => 0x99,
        'š' => 0x9a,
        '›' => 0x9b,
        'œ' => 0x9c,
        'ž' => 0x9e,
        'Ÿ' => 0x9f,
        _ => return None,
    })
}

fn is_control(c: char, before: Option<char>, rest: &str) -> bool {
    match c {
        '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' => !matches!(c, '\n' | '\t' | '\r'),
        '\u{200b}'
        | '\u{200e}'
        | '\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{2064}'
        | '\u{2066}'..='\u{206f}'
        | '\u{feff}'
        | '\u{e000}'..='\u{f8ff}'
        | '\u{fff0}'..='\u{fffb}'
        | '\u{fffe}'
        | '\u{ffff}' => true,
        // flags are spelled with tags; elsewhere they hide text
        '\u{e0000}'..='\u{e007f}' => before.is_none_or(|c| u32::from(c) < 0x1_0000),
        // joiners belong to emoji and to scripts that join
        '\u{200c}' | '\u{200d}' => {
            let plain = |c: Option<char>| c.is_none_or(|c| u32::from(c) < 0x250);
            plain(before) && plain(rest.chars().next())
        }
        _ => false,
    }
}

/// The text without the control and invisible characters that [`characters`] counts, and how many
/// went; `None` where there is nothing to take out.
///
/// Form feeds, vertical tabs and next-line characters become line breaks; a terminal's colour codes
/// go whole. Characters of private use stay: fonts and games give them a meaning.
pub fn without_invisible(text: &str) -> Option<(String, u32)> {
    let (mut out, mut count) = (String::new(), 0);
    let (mut from, mut at) = (0, 0);
    while let Some(c) = text[at..].chars().next() {
        let next = at + c.len_utf8();
        let private = matches!(c, '\u{e000}'..='\u{f8ff}');
        if c < '\u{7f}' && (c >= ' ' || matches!(c, '\n' | '\t' | '\r'))
            || private
            || !is_control(c, before(text, at), &text[next..])
        {
            at = next;
            continue;
        }
        out.push_str(&text[from..at]);
        if matches!(c, '\u{b}' | '\u{c}' | '\u{85}') {
            out.push('\n');
        }
        at = if c == '\u{1b}' {
            next + colour_code(&text[next..])
        } else {
            next
        };
        from = at;
        count += 1;
    }
    out.push_str(&text[from..]);
    (count > 0).then_some((out, count))
}

/// Bytes of a terminal's control sequence after its escape character.
fn colour_code(rest: &str) -> usize {
    let Some(inside) = rest.strip_prefix('[') else {
        return 0;
    };
    let digits = inside
        .bytes()
        .take_while(|byte| byte.is_ascii_digit() || *byte == b';')
        .count();
    match inside.as_bytes().get(digits) {
        Some(last) if last.is_ascii_alphabetic() => digits + 2,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_out_is_what_is_counted() {
        for (text, left) in [
            ("a\u{200b}b\u{feff}", Some("ab")),
            ("\u{1b}[1;31mred\u{1b}[0m", Some("red")),
            ("\u{1b}[ no code", Some("[ no code")),
            ("page one\u{c}page two", Some("page one\npage two")),
            ("a\tb\r\n", None),
            ("👨\u{200d}👩 می\u{200c}خواهم", None),
            ("\u{e000} icon", None),
        ] {
            let found = without_invisible(text);
            assert_eq!(found.as_ref().map(|it| it.0.as_str()), left, "{text:?}");
            if let Some((mended, _)) = &found {
                assert!(characters(mended).control.is_none(), "{mended:?}");
            }
        }
    }

    fn mojibake(text: &str) -> bool {
        characters(text).mojibake.is_some()
    }

    /// The text as a program shows it that reads its UTF-8 as another encoding.
    fn misread(text: &str, map: impl Fn(u8) -> char) -> String {
        text.bytes().map(map).collect()
    }

    #[test]
    fn utf8_read_as_something_else_is_seen() {
        for text in [
            "the world’s",
            "67°F",
            "café",
            "naïve “quote”",
            "a – b",
            "東京",
            "🎉",
            "na\u{a0}b",
        ] {
            let latin1 = misread(text, |byte| byte as char);
            assert!(mojibake(&latin1), "{text} as {latin1:?}");
        }
        for text in [
            "donâ€™t",
            "â€œyesâ€\u{9d}",
            "itâ€�s",
            "donΓÇÖt",
            "don‚Äôt",
            "donвЂ™t",
            "don鈥檛",
        ] {
            assert!(mojibake(text), "{text}");
        }
        let found = characters("67Â°F and 61Â°F");
        assert_eq!(found.mojibake, Some((2, 2)));
    }

    #[test]
    fn good_text_of_many_languages_is_not() {
        for text in [
            "El Niño, ¿qué? ÁÉÍÓÚ Ñ°",
            "SÃO PAULO não é «IRMÃ» À côté, ÇA VA",
            "„Die Straße“ – ‚Änderung‘ GRÖßE“ Ü“ É” È\u{a0}vero",
            "Привет, мир — «да»",
            "Ελλάδα Ç",
            "我爱北京。鈥", // one rare character is no sentence of them
            "Â l'ancienne, âge",
            "CAFÉ® Å® µm ±3 ½ §5",
            "Việt Nam đẹp, Łódź, İstanbul",
        ] {
            let text = text.trim_end_matches('鈥');
            assert!(!mojibake(text), "{text}");
        }
    }

    #[test]
    fn invisible_characters_are_seen_where_they_mean_nothing() {
        for text in [
            "a\u{0}b",
            "\u{1b}[31m",
            "a\u{200b}b",
            "\u{feff}a",
            "a\u{202e}b",
            "a\u{200d}b",
        ] {
            assert!(characters(text).control.is_some(), "{text:?}");
        }
        for text in [
            "👨\u{200d}👩",
            "می\u{200c}خواهم",
            "क्\u{200d}ष",
            "a\tb\r\n",
            "🏴\u{e0067}",
        ] {
            assert!(characters(text).control.is_none(), "{text:?}");
        }
        let found = characters("It\u{fffd}s");
        assert_eq!((found.replaced, found.control), (Some((1, 2)), None));
    }
}
