//! The two ways in which a vocabulary writes bytes: the byte-level alphabet of GPT-2, and
//! sentencepiece's `▁` and `<0xNN>`.

use serde_json::Value;

/// The character that stands for byte `b` in the byte-level alphabet: printable Latin-1 bytes for
/// themselves, the other 68 in order as U+0100 and up.
#[cfg(test)]
pub(crate) const fn byte_to_char(b: u8) -> char {
    let code = match b {
        0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF => b as u32,
        0x00..=0x20 => 0x100 + b as u32,
        0x7F..=0xA0 => 0x121 + (b as u32 - 0x7F),
        0xAD => 0x143,
    };
    match char::from_u32(code) {
        Some(c) => c,
        None => unreachable!(),
    }
}

/// The byte for which `c` stands in the byte-level alphabet.
pub(crate) const fn char_to_byte(c: char) -> Option<u8> {
    match c as u32 {
        c @ (0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF) => Some(c as u8),
        c @ 0x100..=0x120 => Some((c - 0x100) as u8),
        c @ 0x121..=0x142 => Some((c - 0x121 + 0x7F) as u8),
        0x143 => Some(0xAD),
        _ => None,
    }
}

/// The bytes of a byte-level token, or the token's own text where it has other characters (as the
/// decoder of `tokenizers` does).
pub(crate) fn from_byte_level(token: &str) -> Vec<u8> {
    let bytes: Option<Vec<u8>> = token.chars().map(char_to_byte).collect();
    bytes.unwrap_or_else(|| token.as_bytes().to_vec())
}

/// The byte of a token written `<0xNN>`.
pub(crate) fn fallback_byte(token: &str) -> Option<u8> {
    let hex = token.strip_prefix("<0x")?.strip_suffix('>')?;
    if hex.len() == 2 && hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        u8::from_str_radix(hex, 16).ok()
    } else {
        None
    }
}

/// The bytes of a token under a sentencepiece decoder (`Replace ▁`, `ByteFallback`, `Fuse`, or
/// `Metaspace`); `None` under any other.
pub(crate) fn from_sentencepiece(decoder: &Value, token: &str) -> Option<Vec<u8>> {
    let parts = match decoder.get("type")?.as_str()? {
        "Sequence" => decoder.get("decoders")?.as_array()?.as_slice(),
        _ => std::slice::from_ref(decoder),
    };
    let (mut space, mut fallback) = (false, false);
    for part in parts {
        match part.get("type")?.as_str()? {
            "Replace" => {
                space = part.pointer("/pattern/String")?.as_str()? == "▁"
                    && part.get("content")?.as_str()? == " ";
            }
            "Metaspace" => space = part.get("replacement")?.as_str()? == "▁",
            "ByteFallback" => fallback = true,
            "Fuse" | "Strip" => {}
            _ => return None,
        }
    }
    if !space {
        return None;
    }
    match fallback_byte(token) {
        Some(b) if fallback => Some(vec![b]),
        _ => Some(token.replace('▁', " ").into_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alphabet_is_a_bijection() {
        let mut seen: Vec<char> = (0..=255).map(byte_to_char).collect();
        assert!((0..=255u8).all(|b| char_to_byte(byte_to_char(b)) == Some(b)));
        assert_eq!((byte_to_char(b' '), byte_to_char(b'\n')), ('Ġ', 'Ċ'));
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 256);
        let alphabet = tokenizers::pre_tokenizers::byte_level::ByteLevel::alphabet();
        assert!(seen.iter().all(|c| alphabet.contains(c)));
    }

    #[test]
    fn fallback_bytes_are_two_hex_digits() {
        assert_eq!(fallback_byte("<0x0A>"), Some(10));
        for other in ["<0x>", "<0x+1>", "<0x123>", "0x12", "<0xé>"] {
            assert_eq!(fallback_byte(other), None, "{other}");
        }
    }
}
