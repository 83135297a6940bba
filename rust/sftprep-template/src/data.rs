//! Plain JSON-like input: what a template may see, and nothing else.
//!
//! Key order is kept, integers beyond 64 bits stay exact decimal text, and there is no object
//! behind a value: a template cannot reach anything that is not written here.

use std::sync::Arc;

/// One JSON value as a template receives it.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Data {
    /// JSON `null`, Python `None`.
    #[default]
    Null,
    /// JSON `true` or `false`.
    Bool(bool),
    /// An integer that fits 64 bits.
    Int(i64),
    /// A longer integer: decimal digits with an optional leading `-`.
    BigInt(Arc<str>),
    /// A floating-point number.
    Float(f64),
    /// Text.
    Str(Arc<str>),
    /// An array.
    List(Vec<Data>),
    /// An object, in insertion order.
    Map(Map),
}

impl From<&str> for Data {
    fn from(text: &str) -> Self {
        Self::Str(text.into())
    }
}

impl From<String> for Data {
    fn from(text: String) -> Self {
        Self::Str(text.into())
    }
}

impl From<bool> for Data {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Data {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl Data {
    /// The text of a string value.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The entries of an object.
    pub fn as_map(&self) -> Option<&Map> {
        match self {
            Self::Map(map) => Some(map),
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

    /// The items of an array.
    pub fn as_list(&self) -> Option<&[Data]> {
        match self {
            Self::List(items) => Some(items),
            _ => None,
        }
    }
}

/// An object whose keys keep the order in which they were first inserted.
///
/// Objects in chat data are small, so a lookup walks the entries.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Map(Vec<(Arc<str>, Data)>);

impl Map {
    /// An object without entries.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// An object without entries, with room for some.
    pub fn with_capacity(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }

    /// The value under `key`.
    pub fn get(&self, key: &str) -> Option<&Data> {
        self.0
            .iter()
            .find(|(name, _)| &**name == key)
            .map(|(_, value)| value)
    }

    /// The value under `key`, to be changed in place.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Data> {
        self.0
            .iter_mut()
            .find(|(name, _)| &**name == key)
            .map(|(_, value)| value)
    }

    /// Sets `key`; a key that is already present keeps its place. Returns the value replaced.
    pub fn insert(&mut self, key: impl Into<Arc<str>>, value: Data) -> Option<Data> {
        let key = key.into();
        if let Some(slot) = self.get_mut(&key) {
            return Some(std::mem::replace(slot, value));
        }
        self.0.push((key, value));
        None
    }

    /// Puts a new key before all others; a key that is already present keeps its place.
    pub fn push_front(&mut self, key: impl Into<Arc<str>>, value: Data) {
        let key = key.into();
        if let Some(slot) = self.get_mut(&key) {
            *slot = value;
        } else {
            self.0.insert(0, (key, value));
        }
    }

    /// Removes `key` and returns its value.
    pub fn remove(&mut self, key: &str) -> Option<Data> {
        let index = self.0.iter().position(|(name, _)| &**name == key)?;
        Some(self.0.remove(index).1)
    }

    /// The entries in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Arc<str>, &Data)> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    /// The entry at `index`.
    pub fn at(&self, index: usize) -> Option<(&Arc<str>, &Data)> {
        self.0.get(index).map(|(key, value)| (key, value))
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `key` is present.
    pub fn contains_key(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Keeps the entries for which `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &Data) -> bool) {
        self.0.retain(|(key, value)| keep(key, value));
    }
}

impl<K: Into<Arc<str>>> FromIterator<(K, Data)> for Map {
    fn from_iter<I: IntoIterator<Item = (K, Data)>>(entries: I) -> Self {
        let mut map = Self::new();
        for (key, value) in entries {
            map.insert(key, value);
        }
        map
    }
}
