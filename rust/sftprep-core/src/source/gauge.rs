//! How much of a columnar file may be in memory at a time, and what a row of one weighs.
//!
//! Pages and record batches say how large they become before they are unpacked. What does not fit
//! in the memory budget of a run is refused there.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use sftprep_template::Data;

/// Highest number of a kind of page.
const LAST_PAGE_TYPE: i64 = 3;

/// Counts what is unpacked for a record batch.
#[derive(Debug)]
pub(super) struct Gauge {
    limit: u64,
    taken: AtomicU64,
    /// What was wanted when it was more than the limit.
    over: AtomicU64,
}

impl Gauge {
    /// At most that many bytes for a record batch.
    pub(super) fn new(limit: u64) -> Self {
        Self {
            limit,
            taken: AtomicU64::new(0),
            over: AtomicU64::new(0),
        }
    }

    /// Bytes for a record batch.
    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// Begins another record batch.
    pub(super) fn reset(&self) {
        self.taken.store(0, Relaxed);
    }

    /// Takes bytes for the record batch; false if it is too large.
    pub(super) fn take(&self, bytes: u64) -> bool {
        let taken = self.taken.fetch_add(bytes, Relaxed).saturating_add(bytes);
        if taken > self.limit {
            self.over.fetch_max(taken, Relaxed);
        }
        taken <= self.limit
    }

    /// The bytes that were wanted, if that was too many.
    pub(super) fn over(&self) -> Option<u64> {
        Some(self.over.load(Relaxed)).filter(|bytes| *bytes > 0)
    }
}

/// Bytes that a Parquet page becomes, from the beginning of its header; none if that is not one.
///
/// The header is a struct in Thrift's compact form that begins with three numbers: the type, the
/// size when it is unpacked, the size in the file.
pub(super) fn unpacked_page_bytes(mut head: &[u8]) -> Option<u64> {
    let mut number = || -> Option<i64> {
        let (first, mut rest) = head.split_first()?;
        // the next field, a 32-bit number
        if *first != 0x15 {
            return None;
        }
        let (mut value, mut shift) = (0u64, 0);
        loop {
            let (byte, more) = rest.split_first()?;
            rest = more;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
            shift += 7;
            if shift > 28 {
                return None;
            }
        }
        head = rest;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    };
    let (kind, unpacked, packed) = (number()?, number()?, number()?);
    let plausible = (0..=LAST_PAGE_TYPE).contains(&kind) && packed >= 0;
    u64::try_from(unpacked).ok().filter(|_| plausible)
}

/// Bytes of a row, about as JSON would write it.
pub(super) fn row_bytes(row: &Data) -> u64 {
    match row {
        Data::Null | Data::Bool(_) => 4,
        Data::Int(_) | Data::Float(_) => 8,
        Data::BigInt(text) => text.len() as u64,
        Data::Str(text) => text.len() as u64 + 2,
        Data::List(items) => 2 + items.iter().map(|item| row_bytes(item) + 1).sum::<u64>(),
        Data::Map(map) => {
            let entry = |(name, value): (&_, &Data)| key_bytes(name) + row_bytes(value);
            2 + map.iter().map(entry).sum::<u64>()
        }
    }
}

/// A name with its quotes, colon and comma.
fn key_bytes(name: &impl AsRef<str>) -> u64 {
    name.as_ref().len() as u64 + 4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_pages_are_read_from_their_headers() {
        // type 0, 1,000,000 bytes unpacked, 300 packed
        let header = [0x15, 0x00, 0x15, 0x80, 0x89, 0x7a, 0x15, 0xd8, 0x04, 0x2c];
        assert_eq!(unpacked_page_bytes(&header), Some(1_000_000));
        for cut in 0..9 {
            assert_eq!(unpacked_page_bytes(&header[..cut]), None, "{cut}");
        }
        assert_eq!(unpacked_page_bytes(b"PAR1 and more text"), None);
        assert_eq!(unpacked_page_bytes(&[0x15, 0x0a, 0x15, 2, 0x15, 2]), None);
        assert_eq!(unpacked_page_bytes(&[0x15, 0, 0x15, 1, 0x15, 2]), None);
        let endless = [0x15, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(unpacked_page_bytes(&endless), None);
    }

    #[test]
    fn a_gauge_remembers_what_was_too_much() {
        let gauge = Gauge::new(100);
        assert!(gauge.take(60) && gauge.take(40));
        assert_eq!(gauge.over(), None);
        assert!(!gauge.take(1));
        assert_eq!(gauge.over(), Some(101));
        gauge.reset();
        assert!(gauge.take(100));
    }
}
