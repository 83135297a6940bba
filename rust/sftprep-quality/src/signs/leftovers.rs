//! Left-overs of how data was made: other records, markers, template text, links to nothing.

/// Words for "there is no input", after punctuation and white space are taken out.
const NO_INPUT: [&str; 30] = [
    "noinput",
    "noinputs",
    "noinputrequired",
    "noinputneeded",
    "noinputnecessary",
    "noinputprovided",
    "noinputgiven",
    "noinputavailable",
    "noinputspecified",
    "noinputisrequired",
    "noinputisneeded",
    "noinputisnecessary",
    "noinputneededforthistask",
    "noinputrequiredforthistask",
    "noadditionalinput",
    "noadditionalinputneeded",
    "noadditionalinputrequired",
    "noadditionalinputisneeded",
    "inputnotrequired",
    "inputnone",
    "none",
    "na",
    "notapplicable",
    "notrequired",
    "notneeded",
    "noneneeded",
    "nonerequired",
    "null",
    "nan",
    "nil",
];

/// Longest line that can be a marker.
const MARKER_BYTES: usize = 60;

/// Whether a line only says that there is no input.
pub fn no_input_marker(line: &str) -> bool {
    let line = line.trim();
    if line.is_empty() || line.len() > MARKER_BYTES || !line.is_ascii() {
        return false;
    }
    let letters = line.bytes().filter(u8::is_ascii_alphanumeric);
    let bare: String = letters
        .map(|byte| byte.to_ascii_lowercase() as char)
        .collect();
    let bare = bare
        .strip_prefix("input")
        .filter(|rest| !rest.is_empty())
        .unwrap_or(&bare);
    // "none" is a marker, "None of these" has more letters; "na" must be spelled as one
    NO_INPUT.contains(&bare) && (bare != "nan" || line == "NaN" || line == "nan")
}

/// Where the text of another record begins: `### 12. Instruction:` and the like.
pub fn merged_record(text: &str) -> Option<usize> {
    let mut at = 0;
    let mut parts = [None; 3];
    for line in text.split_inclusive('\n') {
        if let Some((part, marked)) = field_line(line) {
            if part == 0 && marked {
                return Some(at);
            }
            parts[part].get_or_insert((at, marked));
        }
        at += line.len();
    }
    match parts {
        // a later field of a record that is numbered like it, or two fields of one
        [_, Some((at, true)), _] | [_, _, Some((at, true))] => Some(at),
        // a text may be a record as it was asked for; one within another was not
        [Some((at, _)), _, Some(_)] if at > 0 => Some(at),
        _ => None,
    }
}

/// Which field a line begins (instruction, input, output), and whether it is marked with `###` or
/// numbered.
fn field_line(line: &str) -> Option<(usize, bool)> {
    let rest = line.trim_start();
    let bare = rest.trim_start_matches('#').trim_start();
    let digits = bare.bytes().take_while(u8::is_ascii_digit).count();
    let named = if (1..=3).contains(&digits) {
        bare[digits..].strip_prefix(['.', ')'])?.trim_start()
    } else {
        bare
    };
    let marked = digits > 0 || rest.starts_with("##");
    let names: [&[&str]; 3] = [&["instruction"], &["input"], &["output", "response"]];
    let starts = |name: &str| {
        let head = named.get(..name.len());
        let next = named.get(name.len()..).map(str::trim_start);
        head.is_some_and(|head| head.eq_ignore_ascii_case(name))
            && next.is_some_and(|next| next.starts_with(':'))
    };
    let part = names
        .iter()
        .position(|names| names.iter().any(|name| starts(name)))?;
    Some((part, marked))
}

/// Where text stands that only templates and generators write.
pub fn control_text(text: &str) -> Option<usize> {
    const MARKS: [&str; 13] = [
        "<|im_start|>",
        "<|im_end|>",
        "<|endoftext|>",
        "<|eot_id|>",
        "<|start_header_id|>",
        "<|assistant|>",
        "<|user|>",
        "<|end|>",
        "[INST]",
        "[/INST]",
        "<<SYS>>",
        "<start_of_turn>",
        "<end_of_turn>",
    ];
    if !text.contains(['<', '[']) {
        return None;
    }
    MARKS.iter().filter_map(|mark| text.find(mark)).min()
}

/// What is wrong with a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Template {
    /// A field was not filled in.
    NotFilled,
    /// The line break after a field lost its backslash: `{question}n`.
    LostBreak,
}

/// Where a template was not filled in, or lost the backslash of its line break: `{question}n`,
/// `{{name}}`.
///
/// Code is full of braces: only names in braces that nothing but a template writes count.
pub fn broken_template(text: &str) -> Option<(usize, Template)> {
    let mut not_filled = None;
    let mut from = 0;
    while let Some(found) = text[from..].find('{') {
        let start = from + found;
        let Some(length) = text[start..].find('}') else {
            break;
        };
        let end = start + length;
        let name = text[start..end].trim_matches(['{', ' ']);
        let is_name = (2..=40).contains(&name.len())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        let rest = text[end..].trim_start_matches('}');
        let lost_break = rest.strip_prefix('n').is_some_and(|rest| {
            rest.is_empty() || rest.starts_with(|c: char| c.is_uppercase() || c == '{' || c == '\n')
        });
        let doubled = text[start..].starts_with("{{") && text[end..].starts_with("}}");
        let known = matches!(
            name,
            "question"
                | "answer"
                | "input"
                | "output"
                | "instruction"
                | "prompt"
                | "response"
                | "context"
                | "options_"
                | "passage"
                | "sentence"
                | "premise"
                | "hypothesis"
        );
        if is_name && lost_break {
            return Some((start, Template::LostBreak));
        }
        if is_name && (doubled || known) {
            not_filled.get_or_insert((start, Template::NotFilled));
        }
        from = end;
    }
    not_filled
}

/// Whether a text is nothing but a link.
pub fn url_only(line: &str) -> bool {
    let line = line.trim().trim_matches(['<', '>', '(', ')', '"', '\'']);
    let after = ["https://", "http://", "www."]
        .iter()
        .find_map(|start| line.strip_prefix(start));
    after.is_some_and(|rest| rest.len() > 3 && !rest.contains(char::is_whitespace))
}

/// Where a text points to a picture or a file that is not in it.
pub fn missing_attachment(text: &str) -> Option<usize> {
    const MARKS: [&str; 15] = [
        "![",
        "<image>",
        "[image]",
        "(image)",
        "<img ",
        "[attached",
        "(attached",
        "[attachment",
        "<attachment",
        "[insert ",
        "<insert ",
        "[picture",
        "(picture",
        "[photo",
        "<picture",
    ];
    if !text.contains(['[', '<', '(']) {
        return None;
    }
    let lower = text.to_ascii_lowercase();
    MARKS.iter().filter_map(|mark| lower.find(mark)).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_are_no_content() {
        for line in [
            "<noinput>",
            "No Input",
            "N/A",
            "no input required.",
            "None",
            "Input: none",
            "Noinput",
        ] {
            assert!(no_input_marker(line), "{line}");
        }
        for line in [
            "",
            "None of them is right",
            "Nan Goldin",
            "no",
            "Input",
            "42",
        ] {
            assert!(!no_input_marker(line), "{line}");
        }
    }

    #[test]
    fn records_that_ran_together() {
        for text in [
            "Yes.\n###\n17. Instruction: Name a fish.\n17. Input:\n<noinput>",
            "Yes.\n11. Output:\nA pike.",
            "Yes.\n### Instruction:\nName a fish.",
            "Yes.\nInstruction: x\nInput: y\nOutput: z",
        ] {
            assert!(merged_record(text).is_some(), "{text}");
        }
        for text in [
            "Output: 5",
            "1. Open the box.\n2. Output the result: done",
            "The instruction: open it",
            "Instruction: stir well.",
        ] {
            assert_eq!(merged_record(text), None, "{text}");
        }
    }

    #[test]
    fn templates_and_links() {
        assert_eq!(
            broken_template("Q: {question}nA:"),
            Some((3, Template::LostBreak))
        );
        assert!(broken_template("Dear {{ name }}").is_some());
        assert_eq!(broken_template("fn main() { let x = {y}; }"), None);
        assert!(url_only(" https://example.com/a.png "));
        assert!(!url_only("see https://example.com"));
        assert!(missing_attachment("Describe it. ![alt](x.png)").is_some());
        assert!(control_text("Yes.<|im_end|>").is_some());
    }
}
