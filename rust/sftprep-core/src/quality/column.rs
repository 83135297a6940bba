//! Columns of rows: what a dotted path finds in each, as numbers, vectors or values.

use serde_json::Value;
use sftprep_template::Data;

use super::data_json;

/// What a path found in a row.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) enum Cell {
    /// Nothing, or null.
    #[default]
    None,
    /// A number, or a flag as 0 or 1.
    Number(f64),
    /// A list of numbers.
    Vector(Vec<f32>),
    /// A text.
    Text(String),
    /// A list of texts.
    Texts(Vec<String>),
    /// Anything else, as JSON.
    Json(String),
}

/// The values of a column, one per row.
#[derive(Debug, Clone, PartialEq)]
pub enum Column {
    /// Numbers; NaN where there is none.
    Numbers(Vec<f64>),
    /// Vectors of one length, end to end; rows without one are all NaN.
    Vectors {
        /// Length of a vector.
        width: usize,
        /// Their numbers.
        values: Vec<f32>,
    },
    /// Texts, lists, numbers among texts; null where there is nothing.
    Values(Vec<Value>),
}

/// What stands at a dotted path: keys of objects, or places (from 0) of lists. A key that has dots
/// itself is found too.
pub(super) fn at_path<'d>(value: &'d Data, path: &str) -> Option<&'d Data> {
    let inside = |value: &'d Data, key: &str| match value {
        Data::Map(map) => map.get(key),
        Data::List(items) => items.get(key.parse::<usize>().ok()?),
        _ => None,
    };
    if let Some(found) = inside(value, path) {
        return Some(found);
    }
    let mut dots = path.match_indices('.');
    dots.find_map(|(dot, _)| at_path(inside(value, &path[..dot])?, &path[dot + 1..]))
}

impl Cell {
    /// The value as it is.
    pub(super) fn of(value: Option<&Data>) -> Self {
        let json = |value: &Data| {
            let mut json = String::new();
            data_json::push(value, &mut json);
            Self::Json(json)
        };
        match value {
            None | Some(Data::Null) => Self::None,
            Some(Data::Str(text)) => Self::Text((**text).to_owned()),
            Some(Data::List(items)) => {
                let texts = items.iter().map(|it| it.as_str().map(str::to_owned));
                let numbers = || items.iter().map(|it| number(it).map(|it| it as f32));
                if let Some(texts) = texts.collect::<Option<Vec<String>>>() {
                    Self::Texts(texts)
                } else if let Some(numbers) = numbers().collect::<Option<Vec<f32>>>() {
                    Self::Vector(numbers)
                } else {
                    json(&Data::List(items.clone()))
                }
            }
            Some(other) => number(other).map_or_else(|| json(other), Self::Number),
        }
    }

    /// The value as text: texts as they are, everything else as JSON, so that long whole numbers
    /// keep their digits.
    pub(super) fn text_of(value: Option<&Data>) -> Self {
        match value {
            None | Some(Data::Null) => Self::None,
            Some(Data::Str(text)) => Self::Text((**text).to_owned()),
            Some(other) => {
                let mut json = String::new();
                data_json::push(other, &mut json);
                Self::Text(json)
            }
        }
    }

    fn into_value(self) -> Value {
        match self {
            Self::None => Value::Null,
            Self::Number(number) => number.into(),
            Self::Vector(numbers) => numbers.into(),
            Self::Text(text) | Self::Json(text) => text.into(),
            Self::Texts(texts) => texts.into(),
        }
    }
}

impl Column {
    /// The column of these cells: numbers if there is nothing else, vectors if all have one length.
    pub(super) fn of(cells: Vec<Cell>) -> Self {
        let mut width = None;
        let (mut numbers, mut vectors) = (true, true);
        for cell in &cells {
            match cell {
                Cell::None => {}
                Cell::Number(_) => vectors = false,
                Cell::Vector(items) => {
                    numbers = false;
                    vectors &= *width.get_or_insert(items.len()) == items.len();
                }
                _ => (numbers, vectors) = (false, false),
            }
        }
        if numbers {
            let number = |cell| match cell {
                Cell::Number(number) => number,
                _ => f64::NAN,
            };
            return Self::Numbers(cells.into_iter().map(number).collect());
        }
        match width {
            Some(width) if vectors => {
                let mut values = Vec::with_capacity(width * cells.len());
                for cell in cells {
                    match cell {
                        Cell::Vector(items) => values.extend(items),
                        _ => values.extend(std::iter::repeat_n(f32::NAN, width)),
                    }
                }
                Self::Vectors { width, values }
            }
            _ => Self::values(cells),
        }
    }

    /// The values as they are.
    pub(super) fn values(cells: Vec<Cell>) -> Self {
        Self::Values(cells.into_iter().map(Cell::into_value).collect())
    }
}

fn number(value: &Data) -> Option<f64> {
    match value {
        Data::Bool(flag) => Some(f64::from(u8::from(*flag))),
        Data::Int(number) => Some(*number as f64),
        Data::BigInt(digits) => digits.parse().ok(),
        Data::Float(number) => Some(*number),
        _ => None,
    }
}

/// 32 hexadecimal digits of what a row says: the same for JSON and for a columnar file, whatever
/// the order of keys; keys without a value do not count.
pub(super) fn content_hash(row: &Data) -> String {
    let mut json = String::new();
    data_json::push(&plain(row), &mut json);
    format!("{:032x}", xxhash_rust::xxh3::xxh3_128(json.as_bytes()))
}

fn plain(value: &Data) -> Data {
    match value {
        Data::Map(map) => {
            let mut entries: Vec<_> = map
                .iter()
                .filter(|(_, item)| !matches!(item, Data::Null))
                .map(|(key, item)| (std::sync::Arc::from(&**key), plain(item)))
                .collect();
            entries.sort_by(|(a, _): &(std::sync::Arc<str>, Data), (b, _)| a.cmp(b));
            Data::Map(sftprep_template::Map::from_entries_last_wins(entries).0)
        }
        Data::List(items) => Data::List(items.iter().map(plain).collect()),
        // 2 in JSON is 2.0 in a column of floats; below 2^53 both are exact
        Data::Float(number) if number.fract() == 0.0 && number.abs() < 9e15 => {
            Data::Int(*number as i64)
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{JsonNotes, parse};

    fn row(json: &str) -> Data {
        parse(json.as_bytes(), &mut JsonNotes::default()).unwrap()
    }

    #[test]
    fn paths_lead_into_objects_and_lists_and_keys_with_dots() {
        let row = row(r#"{"a": {"b": [1, {"c": 2}]}, "a.b": 3, "x.y": {"z.w": 4}}"#);
        let at = |path| Cell::of(at_path(&row, path));
        assert_eq!(at("a.b"), Cell::Number(3.0));
        assert_eq!(at("a.b.0"), Cell::Number(1.0));
        assert_eq!(at("a.b.1.c"), Cell::Number(2.0));
        assert_eq!(at("x.y.z.w"), Cell::Number(4.0));
        for nothing in ["", "a.c", "a.b.2", "a.b.-1", "a..b", "x"] {
            assert_eq!(at(nothing), Cell::None, "{nothing}");
        }
    }

    #[test]
    fn a_column_is_as_plain_as_its_cells_allow() {
        let of = |json: &str| {
            let Data::List(items) = row(json) else {
                panic!("no list")
            };
            Column::of(items.iter().map(|item| Cell::of(Some(item))).collect())
        };
        let Column::Numbers(numbers) = of("[1, 2.5, null, true]") else {
            panic!("no numbers")
        };
        assert_eq!(format!("{numbers:?}"), "[1.0, 2.5, NaN, 1.0]");
        let Column::Vectors { width, values } = of("[[1, 2], null, [3, 4.5]]") else {
            panic!("no vectors")
        };
        assert_eq!(width, 2);
        assert_eq!(format!("{values:?}"), "[1.0, 2.0, NaN, NaN, 3.0, 4.5]");
        let Column::Values(values) = of(r#"[[1, 2], [1], "a", ["b"], {"c": null}, null]"#) else {
            panic!("no values")
        };
        assert_eq!(
            Value::Array(values).to_string(),
            r#"[[1.0,2.0],[1.0],"a",["b"],"{\"c\": null}",null]"#
        );
    }

    #[test]
    fn the_hash_is_that_of_the_content() {
        let same = [
            r#"{"a": 1, "b": [{"c": "x"}]}"#,
            r#"{ "b": [{"c": "x", "d": null}], "a": 1.0 }"#,
        ];
        assert_eq!(content_hash(&row(same[0])), content_hash(&row(same[1])));
        for other in [
            r#"{"a": 1, "b": [{"c": "y"}]}"#,
            r#"{"a": "1", "b": [{"c": "x"}]}"#,
        ] {
            assert_ne!(content_hash(&row(same[0])), content_hash(&row(other)));
        }
        assert_eq!(content_hash(&row(same[0])).len(), 32);
    }
}
