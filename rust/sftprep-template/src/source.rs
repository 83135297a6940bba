//! From a leaf of a render back to the value that was given.

use crate::data::{Data, Map};
use crate::request::REASONING;

/// The string that stands at `path` of a message (a path as in [`Leaf::path`](crate::Leaf)), and
/// its path in the message as it was given: reasoning reaches templates under other names too.
///
/// `None` if no string stands there.
pub fn leaf_text<'d>(message: &'d Data, path: &str) -> Option<(String, &'d str)> {
    let map = message.as_map()?;
    if let Some(text) = at(message, path) {
        return Some((path.to_owned(), text));
    }
    let alias = REASONING.iter().find(|name| has_key(path, name))?;
    let own = REASONING.iter().find(|name| {
        map.get(name)
            .is_some_and(|value| !matches!(value, Data::Null))
    })?;
    let path = format!("{own}{}", &path[alias.len()..]);
    at(message, &path).map(|text| (path.clone(), text))
}

/// Whether a path begins with that key.
fn has_key(path: &str, key: &str) -> bool {
    path.strip_prefix(key)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// The string at the end of a path. Keys may hold dots and brackets themselves, so every key that
/// fits is tried.
fn at<'d>(value: &'d Data, path: &str) -> Option<&'d str> {
    if path.is_empty() {
        return value.as_str();
    }
    match value {
        Data::Map(map) => keys(map, path.strip_prefix('.').unwrap_or(path)),
        Data::List(items) => {
            let (index, rest) = path.strip_prefix('[')?.split_once(']')?;
            at(items.get(index.parse::<usize>().ok()?)?, rest)
        }
        _ => None,
    }
}

fn keys<'d>(map: &'d Map, path: &str) -> Option<&'d str> {
    map.iter()
        .filter(|(key, _)| has_key(path, key))
        .find_map(|(key, value)| at(value, &path[key.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(entries: Vec<(&'static str, Data)>) -> Data {
        Data::Map(entries.into_iter().collect())
    }

    #[test]
    fn paths_lead_to_the_text_that_was_given() {
        let call = map(vec![("a.b[0]", Data::from("x")), ("a", Data::from("y"))]);
        let message = map(vec![
            (
                "content",
                Data::List(vec![map(vec![("text", "hi".into())])]),
            ),
            ("reasoning", Data::from("hm")),
            ("args", call),
        ]);
        let find = |path: &str| leaf_text(&message, path);
        assert_eq!(
            find("content[0].text"),
            Some(("content[0].text".into(), "hi"))
        );
        assert_eq!(find("args.a.b[0]"), Some(("args.a.b[0]".into(), "x")));
        assert_eq!(find("args.a"), Some(("args.a".into(), "y")));
        assert_eq!(find("reasoning_content"), Some(("reasoning".into(), "hm")));
        assert_eq!(find("thinking"), Some(("reasoning".into(), "hm")));
        for none in [
            "content",
            "content[1].text",
            "content[x]",
            "thinkings",
            "args.b",
            "[",
        ] {
            assert_eq!(find(none), None, "{none}");
        }
    }
}
