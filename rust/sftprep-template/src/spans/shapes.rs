//! What decides the text before a turn, as a number: the key of what a session has learned.
//!
//! Two places with the same roles and shapes of messages before them, the same variables and
//! tools or none, get the same generation prompt. A key that says so wrongly does no harm: what is
//! found under it is compared with the conversation's own bytes.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

use crate::data::{Data, Map};
use crate::request::Request;

/// Messages of which every one has its say in the keys behind it.
///
/// Each new key costs renders of all that stands before its place, so with keys of whole
/// conversations 16,000 turns took 76 seconds. No template counts so far: what it writes behind so
/// many messages follows from the first ones, from the last ones, and from which kinds there were.
const DEEP: usize = 256;

/// First messages, and last ones, that count behind that.
const FIRST: usize = 8;
const LAST: usize = 32;

/// Keys of a row's places: `keys[i]` is that of message i, the last one that of the end.
///
/// All of them in one pass: hashing what stands before each turn anew, by the standard library's
/// hash, took a seventh of the time of labelling.
pub(super) fn keys(request: &Request<'_>, keys: &mut Vec<u64>) {
    keys.clear();
    let tools = request.tools.is_some_and(|tools| !tools.is_empty());
    let seed = u64::from(tools) * 2 + u64::from(request.documents.is_some());
    let mut state = State(seed);
    for (key, value) in request.kwargs.iter() {
        state.text(key);
        state.whole(value, 0);
    }
    let mut start = state.0;
    for (index, message) in request.messages.iter().take(DEEP).enumerate() {
        if index == FIRST {
            start = state.0;
        }
        keys.push(state.0);
        state.message(message);
    }
    keys.push(state.0);
    if request.messages.len() > DEEP {
        deep_keys(request.messages, start, keys);
    }
}

/// The keys of the places behind the first [`DEEP`] messages.
fn deep_keys(messages: &[Data], start: u64, keys: &mut Vec<u64>) {
    let shape = |message: &Data| {
        let mut state = State(0);
        state.message(message);
        state.0
    };
    let shapes: Vec<u64> = messages.iter().map(shape).collect();
    let mut kinds: HashSet<u64> = shapes[..DEEP].iter().copied().collect();
    let mut all = kinds
        .iter()
        .fold(0, |all: u64, kind| all.wrapping_add(*kind));
    for (index, shape) in shapes.iter().enumerate().skip(DEEP) {
        if kinds.insert(*shape) {
            all = all.wrapping_add(*shape);
        }
        let mut state = State(start);
        state.word(all);
        for shape in &shapes[index + 1 - LAST..=index] {
            state.word(*shape);
        }
        keys.push(state.0);
    }
}

struct State(u64);

impl State {
    /// Mixes a word in: the two halves of a product depend on all its bits.
    #[inline]
    fn word(&mut self, word: u64) {
        let product = u128::from(self.0 ^ 0x9e37_79b9_7f4a_7c15) * u128::from(word ^ 0xd6e8_feb8);
        self.0 = (product as u64) ^ ((product >> 64) as u64) ^ word.rotate_left(29);
    }

    fn text(&mut self, text: &str) {
        self.word(text.len() as u64);
        let (words, rest) = text.as_bytes().as_chunks::<8>();
        for word in words {
            self.word(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.word(u64::from_le_bytes(last));
    }

    /// Roles, the names of the fields, and which of them are empty.
    fn message(&mut self, message: &Data) {
        match super::role(message) {
            Some(role) => self.text(role),
            None => self.word(1),
        }
        for (key, value) in message.as_map().into_iter().flat_map(Map::iter) {
            self.text(key);
            self.word(match value {
                Data::Str(text) => u64::from(text.is_empty()),
                Data::List(items) => 8 + items.len() as u64,
                Data::Null => 3,
                _ => 4,
            });
        }
    }

    /// All of a variable. Below any depth that JSON comes in, only the kind of value counts.
    fn whole(&mut self, value: &Data, depth: u32) {
        match value {
            Data::Null => self.word(1),
            Data::Bool(flag) => self.word(2 + u64::from(*flag)),
            Data::Int(number) => {
                self.word(4);
                self.word(*number as u64);
            }
            Data::Float(number) => {
                self.word(5);
                self.word(number.to_bits());
            }
            Data::BigInt(text) | Data::Str(text) => {
                self.word(6);
                self.text(text);
            }
            Data::List(items) if depth < 64 => {
                self.word(8 + items.len() as u64);
                items.iter().for_each(|item| self.whole(item, depth + 1));
            }
            Data::Map(map) if depth < 64 => {
                self.word(!(map.len() as u64));
                for (key, value) in map.iter() {
                    self.text(key);
                    self.whole(value, depth + 1);
                }
            }
            Data::List(_) | Data::Map(_) => self.word(7),
        }
    }
}

/// Keys are mixed well already: a table takes them as they are.
#[derive(Debug, Default)]
pub(super) struct KeyHasher(u64);

pub(super) type Table<V> = std::collections::HashMap<u64, V, BuildHasherDefault<KeyHasher>>;

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    fn keys_of(messages: &[Data], kwargs: &Map) -> Vec<u64> {
        let mut found = Vec::new();
        let request = Request::new(messages, kwargs, Clock::date(2025, 6, 30));
        keys(&request, &mut found);
        found
    }

    fn message(role: &str, content: &str) -> Data {
        Data::Map(Map::from_iter([
            ("role", Data::from(role)),
            ("content", Data::from(content)),
        ]))
    }

    #[test]
    fn a_place_is_known_by_what_stands_before_it() {
        let none = Map::new();
        let chat = [message("user", "a"), message("assistant", "b")];
        let other = [message("user", "other"), message("assistant", "")];
        let (keys, others) = (keys_of(&chat, &none), keys_of(&other, &none));
        assert_eq!(
            keys[..2],
            others[..2],
            "text does not matter, what follows neither"
        );
        assert_ne!(keys[2], others[2], "an empty message does");
        let swapped = [message("assistant", "a"), message("user", "b")];
        let swapped = keys_of(&swapped, &none);
        assert_eq!(keys[0], swapped[0]);
        assert_ne!(keys[1], swapped[1]);
        let on = Map::from_iter([("enable_thinking", Data::from(true))]);
        let off = Map::from_iter([("enable_thinking", Data::from(false))]);
        assert_ne!(keys_of(&chat, &on), keys_of(&chat, &off));
    }

    #[test]
    fn deep_places_are_known_by_what_is_near_and_what_there_was() {
        let none = Map::new();
        let long = |tool_at: usize| -> Vec<Data> {
            let role = |index: usize| match index {
                _ if index == tool_at => "tool",
                _ if index.is_multiple_of(2) => "user",
                _ => "assistant",
            };
            (0..2 * DEEP).map(|it| message(role(it), "x")).collect()
        };
        let keys = keys_of(&long(usize::MAX), &none);
        assert_eq!(keys.len(), 2 * DEEP + 1);
        let (here, seen) = (keys[DEEP + LAST + 1], &keys[..=DEEP]);
        assert!(!seen.contains(&here));
        assert_eq!(here, keys[DEEP + LAST + 101], "as far in a turn, and deep");
        assert_ne!(here, keys[DEEP + LAST + 2], "the other speaker");
        for tool_at in [0, DEEP / 2, DEEP + 3] {
            let with_tool = keys_of(&long(tool_at), &none);
            assert_ne!(here, with_tool[DEEP + LAST + 1], "a tool spoke before");
        }
    }

    #[test]
    fn many_places_have_many_keys() {
        let (none, roles) = (Map::new(), ["user", "assistant", "tool", "system"]);
        let mut seen = std::collections::HashSet::new();
        for code in 0..4_usize.pow(6) {
            let roles = (0..6).map(|at| roles[(code >> (2 * at)) % 4]);
            let chat: Vec<Data> = roles.map(|role| message(role, "x")).collect();
            seen.extend(keys_of(&chat, &none).last().copied());
        }
        assert_eq!(seen.len(), 4_usize.pow(6));
    }
}
