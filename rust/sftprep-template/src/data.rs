//! Plain JSON-like input: what a template may see, and nothing else.
//!
//! Key order is kept, integers beyond 64 bits stay exact decimal text, and there is no object
//! behind a value: a template cannot reach anything that is not written here.

use std::collections::HashMap;
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

/// Up to so many entries, comparing keys pair by pair is faster than hashing them.
const FEW: usize = 16;

fn same(a: &Arc<str>, b: &Arc<str>) -> bool {
    Arc::ptr_eq(a, b) || a == b
}

/// `a == b` for words such as keys and roles: comparing them in place takes a third of the time
/// of the call that `==` makes.
#[inline]
pub(crate) fn same_word(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len() != b.len() {
        return false;
    }
    let (Some(a_head), Some(b_head)) = (a.first_chunk::<8>(), b.first_chunk::<8>()) else {
        if let (Some(a_head), Some(b_head)) = (a.first_chunk::<4>(), b.first_chunk::<4>()) {
            return a_head == b_head && a.last_chunk::<4>() == b.last_chunk::<4>();
        }
        return a.iter().eq(b);
    };
    a_head == b_head
        && if a.len() <= 16 {
            a.last_chunk::<8>() == b.last_chunk::<8>()
        } else {
            a == b
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

    /// An object from entries as a parser meets them, in linear time: of equal keys the first
    /// gives the place and the last the value. Also returns how many entries were replaced.
    pub fn from_entries_last_wins(mut entries: Vec<(Arc<str>, Data)>) -> (Self, usize) {
        let given = entries.len();
        if given <= FEW {
            let mut kept = 0;
            for index in 0..given {
                let (done, rest) = entries.split_at_mut(index);
                let key = &rest[0].0;
                if let Some(first) = done[..kept].iter_mut().find(|(known, _)| same(known, key)) {
                    first.1 = std::mem::take(&mut rest[0].1);
                } else {
                    entries.swap(kept, index);
                    kept += 1;
                }
            }
            entries.truncate(kept);
        } else {
            let mut places: HashMap<Arc<str>, usize> = HashMap::with_capacity(given);
            let mut kept: Vec<(Arc<str>, Data)> = Vec::with_capacity(given);
            for (key, value) in entries {
                if let Some(place) = places.get(&key) {
                    kept[*place].1 = value;
                } else {
                    places.insert(key.clone(), kept.len());
                    kept.push((key, value));
                }
            }
            entries = kept;
        }
        let replaced = given - entries.len();
        (Self(entries), replaced)
    }

    /// The value under `key`.
    #[inline]
    pub fn get(&self, key: &str) -> Option<&Data> {
        self.0
            .iter()
            .find(|(name, _)| same_word(name, key))
            .map(|(_, value)| value)
    }

    /// The place and value of the entry under `key`.
    #[inline]
    pub(crate) fn find(&self, key: &str) -> Option<(usize, &Data)> {
        let mut entries = self.0.iter().enumerate();
        let (at, (_, value)) = entries.find(|(_, (name, _))| same_word(name, key))?;
        Some((at, value))
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
        let entries = entries.into_iter().map(|(key, value)| (key.into(), value));
        Self::from_entries_last_wins(entries.collect()).0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_compared_as_text() {
        let long = "abcdefghijklmnopqrstuvwxyz";
        for len in 0..long.len() {
            let word = &long[..len];
            assert!(same_word(word, word));
            assert!(!same_word(word, &long[..=len]));
            for at in 0..len {
                let mut other = word.as_bytes().to_vec();
                other[at] = b'#';
                assert!(!same_word(word, std::str::from_utf8(&other).unwrap()));
            }
        }
    }

    #[test]
    fn of_equal_keys_the_first_gives_the_place_and_the_last_the_value() {
        for count in [3_i64, 200_000] {
            let given = (0..count).chain([1, 1]).enumerate();
            let entries = given.map(|(at, key)| (format!("k{key}").into(), Data::Int(at as i64)));
            let (map, replaced) = Map::from_entries_last_wins(entries.collect());
            assert_eq!((map.len() as i64, replaced), (count, 2));
            assert!((0..count).all(|at| **map.at(at as usize).unwrap().0 == *format!("k{at}")));
            assert_eq!(map.at(0).unwrap().1, &Data::Int(0));
            assert_eq!(map.at(1).unwrap().1, &Data::Int(count + 1));
        }
    }
}
