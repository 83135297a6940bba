//! Plain, JSON-like input of a rendering: what the caller hands to a chat template.

use std::sync::Arc;

/// A JSON value with insertion-ordered maps and integers of any size.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Data {
    /// `null`.
    #[default]
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An integer that fits 64 bits.
    Int(i64),
    /// A larger integer: decimal digits with an optional minus sign.
    BigInt(Arc<str>),
    /// A number with a fraction or an exponent.
    Float(f64),
    /// A string.
    Str(Arc<str>),
    /// An array.
    List(Vec<Data>),
    /// An object.
    Map(Map),
}

impl Data {
    /// The string, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The map, if it is one.
    pub fn as_map(&self) -> Option<&Map> {
        match self {
            Self::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The list, if it is one.
    pub fn as_list(&self) -> Option<&[Data]> {
        match self {
            Self::List(items) => Some(items),
            _ => None,
        }
    }

    /// JSON's name of the type: `null`, `bool`, `number`, `string`, `array` or `object`.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Int(_) | Self::BigInt(_) | Self::Float(_) => "number",
            Self::Str(_) => "string",
            Self::List(_) => "array",
            Self::Map(_) => "object",
        }
    }
}

impl From<&str> for Data {
    fn from(text: &str) -> Self {
        Self::Str(text.into())
    }
}

/// A map that keeps the order of insertion. Objects of SFT rows are small, so it is a plain list.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Map(Vec<(Arc<str>, Data)>);

impl Map {
    /// An empty map.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// An empty map with room for `capacity` entries.
    pub fn with_capacity(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Data> {
        self.0
            .iter()
            .find(|(k, _)| &**k == key)
            .map(|(_, value)| value)
    }

    /// The value of a key, to change.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Data> {
        self.0
            .iter_mut()
            .find(|(k, _)| &**k == key)
            .map(|(_, value)| value)
    }

    /// Whether the key is there.
    pub fn contains_key(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Sets a key; a key that is there keeps its place and its old value is returned, as in Python.
    pub fn insert(&mut self, key: impl Into<Arc<str>> + AsRef<str>, value: Data) -> Option<Data> {
        if let Some(old) = self.get_mut(key.as_ref()) {
            return Some(std::mem::replace(old, value));
        }
        self.0.push((key.into(), value));
        None
    }

    /// Puts a new key in front of all others.
    pub fn push_front(&mut self, key: impl Into<Arc<str>>, value: Data) {
        self.0.insert(0, (key.into(), value));
    }

    /// Removes a key and returns its value.
    pub fn remove(&mut self, key: &str) -> Option<Data> {
        let at = self.0.iter().position(|(k, _)| &**k == key)?;
        Some(self.0.remove(at).1)
    }

    /// The entries in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&Arc<str>, &Data)> + ExactSizeIterator {
        self.0.iter().map(|(key, value)| (key, value))
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(Arc<str>, Data)> for Map {
    fn from_iter<I: IntoIterator<Item = (Arc<str>, Data)>>(entries: I) -> Self {
        let mut map = Self::new();
        for (key, value) in entries {
            map.insert(key, value);
        }
        map
    }
}
