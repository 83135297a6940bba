//! How a text ends: at its end, or in the middle of something.

use crate::words::Word;

/// Words after which no sentence ends.
const OPEN_WORDS: [&str; 62] = [
    "the",
    "a",
    "an",
    "and",
    "or",
    "but",
    "of",
    "to",
    "in",
    "on",
    "at",
    "by",
    "for",
    "with",
    "from",
    "as",
    "is",
    "are",
    "was",
    "were",
    "be",
    "been",
    "has",
    "have",
    "had",
    "will",
    "would",
    "can",
    "could",
    "should",
    "may",
    "might",
    "must",
    "that",
    "which",
    "who",
    "whose",
    "because",
    "if",
    "when",
    "while",
    "than",
    "their",
    "its",
    "his",
    "her",
    "my",
    "your",
    "our",
    "this",
    "these",
    "those",
    "into",
    "such",
    "including",
    "between",
    "through",
    "very",
    "also",
    "not",
    "it's",
    "about",
];

/// How likely it is that a text was cut off, as a number to order texts by; 0 to 1.
///
/// A ranking, no verdict: titles, lists and single words end without a full stop too.
pub fn truncation(text: &str, words: &[Word]) -> f32 {
    let text = text.trim_end();
    let (Some(last), Some(word)) = (text.chars().next_back(), words.last()) else {
        return 0.0;
    };
    if open_fence(text) {
        return 0.97;
    }
    let unbalanced = unbalanced(text);
    if is_final(last) {
        return if unbalanced { 0.25 } else { 0.01 };
    }
    let end = &text[word.start as usize..(word.end as usize).min(text.len())];
    let open = OPEN_WORDS.iter().any(|it| end.eq_ignore_ascii_case(it));
    let line = text.rsplit('\n').next().unwrap_or(text);
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    if matches!(last, ',' | ';' | ':' | '-' | '(' | '[' | '{' | '&' | '/') && words.len() > 3 {
        return if is_code(line) { 0.5 } else { 0.93 };
    }
    if words.len() > 3 && open && !is_code(line) {
        return 0.96;
    }
    if is_code(line) || line.starts_with('|') {
        return if unbalanced { 0.4 } else { 0.08 };
    }
    let others = &lines[..lines.len().saturating_sub(1)];
    let stopped = others
        .iter()
        .filter(|it| it.trim_end().ends_with(is_final))
        .count();
    let sentences =
        line.matches(". ").count() + line.matches("? ").count() + line.matches("! ").count();
    let mut score: f32 = 0.15;
    if sentences > 0 && !is_item(line) {
        score = 0.85;
    } else if sentences > 0 {
        score = 0.75;
    } else if !others.is_empty() {
        // the way of the other lines: all with a full stop, or none
        let share = stopped as f32 / others.len() as f32;
        let prose = if is_item(line) { 0.5 } else { 0.65 };
        score = 0.12 + prose * share;
    } else if words.len() >= 12 {
        score = 0.55;
    } else if words.len() <= 4 {
        score = 0.04;
    }
    if unbalanced {
        score += 0.1;
    }
    // long answers are cut more often than short ones
    score += 0.1 * (words.len() as f32 / 300.0).min(1.0);
    if last.is_ascii_digit() || last.is_uppercase() {
        score *= 0.7;
    }
    score.min(0.99)
}

fn is_final(c: char) -> bool {
    matches!(
        c,
        '.' | '!'
            | '?'
            | '"'
            | '\''
            | ')'
            | ']'
            | '}'
            | '`'
            | '>'
            | '*'
            | '_'
            | '|'
            | '%'
            | '”'
            | '’'
            | '»'
            | '…'
            | '。'
            | '！'
            | '？'
            | '」'
            | '』'
            | '）'
            | '】'
            | '♪'
            | '।'
            | '$'
            | '~'
            | '='
    ) || u32::from(c) >= 0x1_f000
}

fn is_item(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with(['-', '*', '•', '–'])
        || line
            .trim_start_matches(|c: char| c.is_ascii_digit())
            .starts_with(['.', ')'])
            && line.starts_with(|c: char| c.is_ascii_digit())
}

fn is_code(line: &str) -> bool {
    let signs = line.bytes().filter(|b| {
        matches!(
            b,
            b'{' | b'}' | b'=' | b';' | b'<' | b'>' | b'_' | b'\\' | b'|'
        )
    });
    let open = line.starts_with("    ") || line.starts_with('\t');
    signs.count() * 12 > line.len() || open
}

/// Whether brackets or double quotes are still open at the end.
fn unbalanced(text: &str) -> bool {
    let (mut depth, mut quotes) = (0_i32, 0_u32);
    for byte in text.bytes() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            // 1) and :) close nothing
            b')' | b']' | b'}' => depth = (depth - 1).max(0),
            b'"' => quotes += 1,
            _ => {}
        }
    }
    depth > 0 || quotes % 2 == 1
}

/// Whether a code fence is opened and not closed.
pub fn open_fence(text: &str) -> bool {
    text.lines()
        .filter(|line| line.trim_start().starts_with("```"))
        .count()
        % 2
        == 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::words;

    fn score(text: &str) -> f32 {
        let mut out = Vec::new();
        words(text, &mut out);
        truncation(text, &out)
    }

    #[test]
    fn what_ends_in_the_middle_ranks_higher() {
        let cut = [
            "It was late. They went home and",
            "The rules are simple. First you take the ba",
            "```python\nprint(1)",
            "1. Boil the water.\n2. Add the rice.\n3. Wait until it has",
        ];
        let whole = [
            "It was late. They went home.",
            "Positive",
            "A Tale of Two Cities",
            "```python\nprint(1)\n```",
            "- apples\n- pears\n- plums",
            "他们回家了。",
            "",
        ];
        let lowest = cut.iter().map(|text| score(text)).fold(1.0, f32::min);
        let highest = whole.iter().map(|text| score(text)).fold(0.0, f32::max);
        assert!(lowest > highest, "{lowest} {highest}");
    }
}
