//! Writes `src/tables/classes.txt` and `src/tables/nfc.txt`: what Oniguruma (as `tokenizers` links it) says of
//! every code point, and which code points NFC (as `tokenizers` does it) may change.
//!
//! `cargo run --example unicode_tables` from the crate's folder, after a change of either library.
//! A test asks both libraries again and compares.

use std::error::Error;
use std::fmt::Write;
use tokenizers::utils::SysRegex;
use unicode_normalization_alignments::{IsNormalized, char as uchar, is_nfc_quick};

const CLASSES: [&str; 10] = [
    r"\p{Lu}", r"\p{Ll}", r"\p{Lt}", r"\p{Lm}", r"\p{Lo}", r"\p{M}", r"\p{N}", r"\p{P}", r"\p{S}",
    r"\s",
];

fn all_chars() -> impl Iterator<Item = char> {
    '\0'..=char::MAX
}

/// Ranges of equal values, several to a line.
fn ranges(values: &[u8]) -> String {
    let (mut out, mut line, mut start) = (String::new(), String::new(), 0);
    for i in 1..=values.len() {
        if i < values.len() && values[i] == values[start] {
            continue;
        }
        if values[start] != 0 {
            let mut item = format!("{start:X}");
            if i - start > 1 {
                let _ = write!(item, "-{:X}", i - 1);
            }
            let _ = write!(item, ":{:X}", values[start]);
            if line.len() + item.len() > 98 {
                out.push_str(line.trim_end());
                out.push('\n');
                line.clear();
            }
            line += &item;
            line.push(' ');
        }
        start = i;
    }
    out + line.trim_end() + "\n"
}

fn main() -> Result<(), Box<dyn Error>> {
    let text: String = all_chars().collect();
    let mut class = vec![0u8; 0x11_0000];
    for (i, pattern) in CLASSES.iter().enumerate() {
        let regex = SysRegex::new(pattern).map_err(|e| e.to_string())?;
        for (a, b) in regex.find_iter(&text) {
            for c in text[a..b].chars() {
                assert_eq!(class[c as usize], 0, "classes overlap at {c:?}");
                class[c as usize] = i as u8 + 1;
            }
        }
    }
    std::fs::write("src/tables/classes.txt", ranges(&class))?;
    let mut nfc = vec![0u8; 0x11_0000];
    for c in all_chars() {
        let quick = is_nfc_quick(std::iter::once(c));
        let ccc = uchar::canonical_combining_class(c);
        // 255: not "yes" in the quick check, else the combining class.
        nfc[c as usize] = if matches!(quick, IsNormalized::Yes) {
            ccc
        } else {
            255
        };
    }
    std::fs::write("src/tables/nfc.txt", ranges(&nfc))?;
    Ok(())
}
