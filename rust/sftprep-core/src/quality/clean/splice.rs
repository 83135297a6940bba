//! Other strings in the places of some, and every other byte of a row as it was.

use std::collections::BTreeMap;
use std::fmt::Write;

/// The JSON text with the strings at some places replaced; a place is a path as [`key`] and
/// [`index`] write it. `None` if the text is not as the paths say.
///
/// The text has been parsed before, so this only has to find its way: it never decides whether a
/// text is JSON.
pub(super) fn replaced(json: &str, mends: &BTreeMap<String, String>) -> Option<String> {
    let mut walk = Walk {
        json,
        at: 0,
        copied: 0,
        out: String::with_capacity(json.len()),
        path: String::new(),
        mends,
        done: 0,
    };
    walk.value()?;
    walk.out.push_str(json.get(walk.copied..)?);
    (walk.done >= mends.len()).then_some(walk.out)
}

/// Steps into a field.
pub(super) fn key(path: &mut String, name: &str) {
    path.push('/');
    for c in name.chars() {
        match c {
            '~' => path.push_str("~0"),
            '/' => path.push_str("~1"),
            _ => path.push(c),
        }
    }
}

/// Steps into an item of a list.
pub(super) fn index(path: &mut String, at: usize) {
    let _ = write!(path, "/{at}"); // writing to a string does not fail
}

/// The path as people read it.
pub(super) fn shown(path: &str) -> String {
    let dotted = path.trim_start_matches('/').replace('/', ".");
    dotted.replace("~1", "/").replace("~0", "~")
}

struct Walk<'j> {
    json: &'j str,
    at: usize,
    copied: usize,
    out: String,
    path: String,
    mends: &'j BTreeMap<String, String>,
    done: usize,
}

impl Walk<'_> {
    fn next(&mut self) -> Option<u8> {
        let bytes = self.json.as_bytes();
        while bytes.get(self.at)?.is_ascii_whitespace() {
            self.at += 1;
        }
        Some(bytes[self.at])
    }

    fn take(&mut self) -> Option<u8> {
        let byte = self.next()?;
        self.at += 1;
        Some(byte)
    }

    fn value(&mut self) -> Option<()> {
        match self.next()? {
            b'{' => self.items(b'}'),
            b'[' => self.items(b']'),
            b'"' => {
                let start = self.at;
                self.string()?;
                if let Some(text) = self.mends.get(&self.path) {
                    self.out.push_str(self.json.get(self.copied..start)?);
                    self.out.push_str(&serde_json::to_string(text).ok()?);
                    self.copied = self.at;
                    self.done += 1;
                }
                Some(())
            }
            _ => {
                let rest = &self.json.as_bytes()[self.at..];
                let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']');
                self.at += rest.iter().position(ends).unwrap_or(rest.len());
                Some(())
            }
        }
    }

    /// The items of an object or a list.
    fn items(&mut self, end: u8) -> Option<()> {
        self.at += 1;
        let (length, mut number) = (self.path.len(), 0);
        if self.next()? == end {
            self.at += 1;
            return Some(());
        }
        loop {
            if end == b'}' {
                self.next()?;
                let start = self.at;
                self.string()?;
                let name: String = serde_json::from_str(self.json.get(start..self.at)?).ok()?;
                key(&mut self.path, &name);
                if self.take()? != b':' {
                    return None;
                }
            } else {
                index(&mut self.path, number);
                number += 1;
            }
            self.value()?;
            self.path.truncate(length);
            match self.take()? {
                b',' => {}
                byte => return (byte == end).then_some(()),
            }
        }
    }

    /// Goes behind a string.
    fn string(&mut self) -> Option<()> {
        let bytes = self.json.as_bytes();
        if bytes.get(self.at)? != &b'"' {
            return None;
        }
        self.at += 1;
        loop {
            match bytes.get(self.at)? {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mends(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let pair = |(path, text): &(&str, &str)| ((*path).to_owned(), (*text).to_owned());
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn only_the_named_strings_change() {
        let json = r#"{ "a/b" :[ 1.50,{"x":"old \"1\" \\"} ,null],"c":"\u00e9", "d":{},"e":[], "f":1e400}"#;
        let new = replaced(json, &mends(&[("/a~1b/1/x", "new\n\"é\"")])).unwrap();
        assert_eq!(new, json.replace(r#""old \"1\" \\""#, r#""new\n\"é\"""#));
        assert_eq!(shown("/a~1b/1/x"), "a/b.1.x");
        assert_eq!(replaced(json, &BTreeMap::new()).unwrap(), json);
    }

    #[test]
    fn a_place_that_is_not_there_is_no_success() {
        assert_eq!(replaced(r#"{"a": "b"}"#, &mends(&[("/c", "d")])), None);
        for broken in ["", "{", r#"{"a"#, r#"{"a" 1}"#, "[1", r#"["\"#, "{1:2}"] {
            assert_eq!(replaced(broken, &mends(&[("/a", "x")])), None, "{broken}");
        }
    }
}
