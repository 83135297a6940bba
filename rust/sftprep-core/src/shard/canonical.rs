//! Canonical JSON: one sequence of bytes per value, so that a hash of it means something.
//!
//! Keys sorted by code point, no white space, strings escaped only where JSON demands it, integers
//! in decimal, no floating-point numbers (they become strings), one line feed at the end. It is
//! what Python's `json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)`
//! gives, and that is how another implementation can check it.

use serde_json::Value;

/// The canonical form of a value, line feed included.
pub(super) fn canonical(value: &Value) -> String {
    let mut out = String::new();
    write(value, &mut out);
    out.push('\n');
    out
}

fn write(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        // `Display` gives the shortest digits that read back as the same number.
        Value::Number(number) if number.is_f64() => write_string(&number.to_string(), out),
        Value::Number(number) => out.push_str(&number.to_string()),
        Value::String(text) => write_string(text, out),
        Value::Array(items) => {
            let mut separator = '[';
            for item in items {
                out.push(separator);
                write(item, out);
                separator = ',';
            }
            out.push_str(if items.is_empty() { "[]" } else { "]" });
        }
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort_unstable(); // UTF-8 sorts as code points do
            let mut separator = '{';
            for key in keys {
                out.push(separator);
                write_string(key, out);
                out.push(':');
                write(&map[key], out);
                separator = ',';
            }
            out.push_str(if map.is_empty() { "{}" } else { "}" });
        }
    }
}

fn write_string(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\0'..'\u{20}' => {
                let hex = |digit: u32| char::from_digit(digit, 16).unwrap_or('0');
                out.push_str("\\u00");
                out.push(hex(character as u32 >> 4));
                out.push(hex(character as u32 & 15));
            }
            _ => out.push(character),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_sorted_and_floats_are_strings() {
        let value = json!({"b": [1, 0.05, -2, []], "a": {"é": null, "z": true}, "": {}});
        let expected = "{\"\":{},\"a\":{\"z\":true,\"é\":null},\"b\":[1,\"0.05\",-2,[]]}\n";
        assert_eq!(canonical(&value), expected);
    }

    #[test]
    fn it_reads_back_as_the_same_value() {
        let text: String = (0..300)
            .filter_map(char::from_u32)
            .chain("\u{2028}😀".chars())
            .collect();
        let value = json!({"text": text, "n": u64::MAX, "m": i64::MIN});
        let read: Value = serde_json::from_str(&canonical(&value)).unwrap();
        assert_eq!(read, value);
    }
}
