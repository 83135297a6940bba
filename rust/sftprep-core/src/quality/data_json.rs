//! A row of a columnar file as one line of JSON.

use std::fmt::Write;

use sftprep_template::Data;

/// Appends a value as JSON without line breaks; numbers keep their digits.
pub(super) fn push(value: &Data, out: &mut String) {
    match value {
        Data::Null => out.push_str("null"),
        Data::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Data::Int(number) => out.push_str(&number.to_string()),
        Data::BigInt(digits) => out.push_str(digits),
        // shortest digits that read back as the same number, always with a point or an exponent
        Data::Float(number) => {
            let _ = write!(out, "{number:?}"); // writing to a string does not fail
        }
        Data::Str(text) => quoted(text, out),
        Data::List(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push_str(", ");
                }
                push(item, out);
            }
            out.push(']');
        }
        Data::Map(map) => {
            out.push('{');
            for (at, (key, item)) in map.iter().enumerate() {
                if at > 0 {
                    out.push_str(", ");
                }
                quoted(key, out);
                out.push_str(": ");
                push(item, out);
            }
            out.push('}');
        }
    }
}

fn quoted(text: &str, out: &mut String) {
    match serde_json::to_string(text) {
        Ok(json) => out.push_str(&json),
        // a string always serializes; an empty one keeps the line JSON all the same
        Err(_) => out.push_str("\"\""),
    }
}

#[cfg(test)]
mod tests {
    use super::push;
    use crate::json::{JsonNotes, parse};

    #[test]
    fn what_is_written_reads_back_the_same() {
        let line = r#"{"a": [1, 2.0, 1e300, -0.1, 123456789012345678901234567890], "b\n\"": {"c": null, "d": [true, false, "é\u0000\t"]}, "e": []}"#;
        let value = parse(line.as_bytes(), &mut JsonNotes::default()).unwrap();
        let mut out = String::new();
        push(&value, &mut out);
        assert!(!out.contains('\n'));
        let again = parse(out.as_bytes(), &mut JsonNotes::default()).unwrap();
        assert_eq!(value, again);
    }
}
