//! Character classes that tokenizing depends on.

use regex::Regex;
use std::sync::LazyLock;

/// `\w` of the `regex` crate, which is what `single_word` means in `tokenizers`.
#[allow(clippy::unwrap_used)] // a constant pattern, compiled in every test run
static WORD: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\w").unwrap());

/// Whether `c` is a word character in the sense of the added-token flag `single_word`.
pub(crate) fn is_word_char(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_alphanumeric() || c == '_';
    }
    WORD.is_match(c.encode_utf8(&mut [0; 4]))
}
