//! One JSON text to [`Data`], as Python's `json.loads` reads it but stricter where that loses text.
//!
//! Equal to Python: key order is that of the first occurrence, the value that of the last; integers
//! are exact at any size; `\u0000` stays. Refused although Python takes it: `NaN` and `Infinity`
//! (not JSON), numbers too large for a float such as `1e999` (Python makes infinity of them), lone
//! surrogates (no UTF-8 has them), nesting beyond [`MAX_DEPTH`] levels, and a byte order mark.
//!
//! Speed: [`quick`] reads what is right, and a `jiter` cursor what is not, to say where and why. One
//! allocation per string, and none for strings that were seen before: keys and short values
//! (`role`, `user`, `function`, …) repeat in every row, so they come from a small cache that
//! belongs to the worker. The cache is not shared between
//! threads on purpose: a reference count that all workers touch would bounce between their cores.

mod quick;

use std::sync::Arc;

use jiter::{Jiter, JiterError, JiterErrorType, JsonErrorType, Peek};
use sftprep_template::{Data, Map};

use crate::error::{Code, Reject};

/// Deepest nesting of arrays and objects that is read.
pub const MAX_DEPTH: u32 = 128;

/// Longest string, in bytes, that the cache keeps.
const CACHED_BYTES: usize = 24;
/// Slots of the cache; a power of two.
const SLOTS: usize = 512;

/// What a worker keeps between texts: what was noticed, and the buffers that are used again.
#[derive(Debug, Default)]
pub struct JsonNotes {
    /// Object keys that occurred again in the same object; the last value won each time.
    pub duplicate_keys: u64,
    strings: StringCache,
    stacks: quick::Stacks,
    tape: Vec<u8>,
}

/// Reads one JSON text; white space around it is allowed, anything else is not.
///
/// # Errors
/// [`Code::RowJson`], [`Code::RowEncoding`] or [`Code::RowDepth`]; the detail names the byte
/// (1-based) where reading stopped.
pub fn parse(bytes: &[u8], seen: &mut JsonNotes) -> Result<Data, Reject> {
    quick::parse(bytes, seen).map_or_else(|| parse_strictly(bytes, seen), Ok)
}

/// The same by the reader that can say what is wrong.
fn parse_strictly(bytes: &[u8], seen: &mut JsonNotes) -> Result<Data, Reject> {
    let cursor = Jiter::with_tape(bytes, std::mem::take(&mut seen.tape));
    let mut reader = Reader {
        cursor,
        bytes,
        strings: &mut seen.strings,
        duplicate_keys: 0,
    };
    let value = reader.text();
    seen.duplicate_keys += reader.duplicate_keys;
    seen.tape = reader.cursor.into_tape();
    value.map_err(|stop| stop.into_reject(bytes))
}

/// Why reading stopped; turned into words only where a reject is made.
enum Stop {
    Json(Box<JiterError>),
    Depth(usize),
    TooLarge(usize),
}

impl From<JiterError> for Stop {
    fn from(error: JiterError) -> Self {
        Self::Json(Box::new(error))
    }
}

struct Reader<'j, 'n> {
    cursor: Jiter<'j>,
    bytes: &'j [u8],
    strings: &'n mut StringCache,
    duplicate_keys: u64,
}

impl Reader<'_, '_> {
    fn text(&mut self) -> Result<Data, Stop> {
        let peek = self.cursor.peek()?;
        let value = self.value(peek, 0)?;
        self.cursor.finish()?;
        Ok(value)
    }

    fn value(&mut self, peek: Peek, depth: u32) -> Result<Data, Stop> {
        Ok(match peek {
            Peek::String => Data::Str(self.strings.get(self.cursor.known_str()?)),
            Peek::Object => Data::Map(self.object(depth + 1)?),
            Peek::Array => Data::List(self.array(depth + 1)?),
            Peek::Null => {
                self.cursor.known_null()?;
                Data::Null
            }
            Peek::True | Peek::False => Data::Bool(self.cursor.known_bool(peek)?),
            _ => self.number(peek)?,
        })
    }

    fn array(&mut self, depth: u32) -> Result<Vec<Data>, Stop> {
        self.check_depth(depth)?;
        let mut items = Vec::new();
        let mut next = self.cursor.known_array()?;
        while let Some(peek) = next {
            items.push(self.value(peek, depth)?);
            next = self.cursor.array_step()?;
        }
        Ok(items)
    }

    fn object(&mut self, depth: u32) -> Result<Map, Stop> {
        self.check_depth(depth)?;
        let mut entries = Vec::new();
        let mut next = self.cursor.known_object()?.map(|key| self.strings.get(key));
        while let Some(key) = next {
            let peek = self.cursor.peek()?;
            let value = self.value(peek, depth)?;
            entries.push((key, value));
            next = self.cursor.next_key()?.map(|key| self.strings.get(key));
        }
        let (map, replaced) = Map::from_entries_last_wins(entries);
        self.duplicate_keys += replaced as u64;
        Ok(map)
    }

    fn number(&mut self, peek: Peek) -> Result<Data, Stop> {
        let start = self.cursor.current_index();
        let digits = self.cursor.known_number_bytes(peek)?;
        let text = std::str::from_utf8(digits).unwrap_or_default(); // a JSON number is ASCII
        number(text).ok_or(Stop::TooLarge(start))
    }

    fn check_depth(&self, depth: u32) -> Result<(), Stop> {
        if depth > MAX_DEPTH {
            return Err(Stop::Depth(self.cursor.current_index()));
        }
        debug_assert!(self.cursor.current_index() <= self.bytes.len());
        Ok(())
    }
}

/// The value of a number, unless it is too large for a float.
fn number(text: &str) -> Option<Data> {
    if text.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E')) {
        let number = text.parse::<f64>().ok()?;
        return number.is_finite().then_some(Data::Float(number));
    }
    Some(match text.parse::<i64>() {
        Ok(number) => Data::Int(number),
        Err(_) => Data::BigInt(text.into()),
    })
}

impl Stop {
    fn into_reject(self, bytes: &[u8]) -> Reject {
        let error = match self {
            Self::Depth(at) => {
                let detail = format!("nested deeper than {MAX_DEPTH} levels at byte {}", at + 1);
                return Reject::new(Code::RowDepth, detail);
            }
            Self::TooLarge(at) => {
                let detail = format!("number too large at byte {}: {}", at + 1, near(bytes, at));
                return Reject::new(Code::RowJson, detail);
            }
            Self::Json(error) => error,
        };
        if let Err(wrong) = std::str::from_utf8(bytes) {
            let at = wrong.valid_up_to();
            let detail = format!("not valid UTF-8 at byte {}: 0x{:02x}", at + 1, bytes[at]);
            return Reject::new(Code::RowEncoding, detail);
        }
        let at = error.index.min(bytes.len());
        let place = format!("at byte {}: {}", at + 1, near(bytes, at));
        let JiterErrorType::JsonError(kind) = &error.error_type else {
            return Reject::new(Code::RowJson, format!("expected a value {place}"));
        };
        match kind {
            JsonErrorType::InvalidUnicodeCodePoint
            | JsonErrorType::LoneLeadingSurrogateInHexEscape => {
                Reject::new(Code::RowEncoding, format!("lone surrogate escape {place}"))
            }
            JsonErrorType::UnexpectedEndOfHexEscape if is_half_pair(bytes, at) => {
                Reject::new(Code::RowEncoding, format!("lone surrogate escape {place}"))
            }
            _ => Reject::new(
                Code::RowJson,
                format!("{kind} {place}").replace("EOF", "end"),
            ),
        }
    }
}

/// Whether the text just before `at` is a high-surrogate escape that no low one follows.
fn is_half_pair(bytes: &[u8], at: usize) -> bool {
    let before = &bytes[at.saturating_sub(8)..at];
    before.windows(3).any(|three| {
        three[0] == b'u'
            && three[1].eq_ignore_ascii_case(&b'd')
            && matches!(three[2], b'8' | b'9' | b'a' | b'b' | b'A' | b'B')
    })
}

/// The text around a place, shortened to what fits into a message.
fn near(bytes: &[u8], at: usize) -> String {
    let from = at.saturating_sub(12);
    let to = (at + 12).min(bytes.len());
    let text = String::from_utf8_lossy(&bytes[from..to]);
    format!("near {:?}", text.trim_matches('\u{fffd}'))
}

/// A direct-mapped cache of short strings.
struct StringCache(Box<[Option<Arc<str>>; SLOTS]>);

impl Default for StringCache {
    fn default() -> Self {
        Self(Box::new([const { None }; SLOTS]))
    }
}

impl std::fmt::Debug for StringCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StringCache({SLOTS})")
    }
}

impl StringCache {
    #[inline]
    fn get(&mut self, text: &str) -> Arc<str> {
        if text.len() > CACHED_BYTES {
            return text.into();
        }
        let slot = &mut self.0[slot(text.as_bytes())];
        match slot {
            Some(known) if **known == *text => known.clone(),
            _ => slot.insert(text.into()).clone(),
        }
    }
}

/// A place for a text, by its length and by eight bytes at either end; a bad spread costs only time.
#[inline]
fn slot(bytes: &[u8]) -> usize {
    let (head, tail) = match (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        (Some(head), Some(tail)) => (u64::from_le_bytes(*head), u64::from_le_bytes(*tail)),
        _ => (
            bytes
                .iter()
                .fold(0, |word, byte| word << 8 | u64::from(*byte)),
            0,
        ),
    };
    let mixed =
        (head ^ tail.rotate_left(32) ^ bytes.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 32) as usize % SLOTS
}

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
