//! Bytes of 64 as one bit each.

/// Bytes looked at in one go.
pub(crate) const BLOCK: usize = 64;

/// One bit for each byte beyond ASCII.
#[inline]
pub(crate) fn high(bytes: &[u8; BLOCK]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    return sse2::high(bytes);
    #[cfg(not(target_arch = "x86_64"))]
    tops(bytes, |x| x)
}

/// One bit for each byte that is one of `set`.
#[inline]
pub(crate) fn one_of(bytes: &[u8; BLOCK], set: &[u8]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    return sse2::one_of(bytes, set);
    #[cfg(not(target_arch = "x86_64"))]
    tops(bytes, |x| swar_one_of(x, set))
}

/// One bit for each byte that continues a character.
#[inline]
pub(crate) fn inner(bytes: &[u8; BLOCK]) -> u64 {
    tops(bytes, |x| x & !(x << 1))
}

/// The highest bit of each byte, after a change of eight bytes at once.
#[inline]
fn tops(bytes: &[u8; BLOCK], of: impl Fn(u64) -> u64) -> u64 {
    let chunks = bytes.as_chunks::<8>().0.iter().enumerate();
    chunks.fold(0, |mask, (i, chunk)| {
        let tops = of(u64::from_le_bytes(*chunk)) >> 7 & 0x0101_0101_0101_0101;
        mask | tops.wrapping_mul(0x0102_0408_1020_4080) >> 56 << (8 * i)
    })
}

/// Sets the highest bit of bytes that are one of `set`.
#[cfg(any(test, not(target_arch = "x86_64")))]
fn swar_one_of(x: u64, set: &[u8]) -> u64 {
    const LOW: u64 = 0x7F7F_7F7F_7F7F_7F7F;
    set.iter().fold(0, |found, &b| {
        let other = x ^ (u64::from(b) * 0x0101_0101_0101_0101);
        found | !(((other & LOW) + LOW) | other)
    })
}

/// With instructions that every processor of the kind has.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod sse2 {
    use super::BLOCK;
    use std::arch::x86_64::{
        __m128i, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi8,
        _mm_setzero_si128,
    };

    #[inline]
    fn masks(bytes: &[u8; BLOCK], of: impl Fn(__m128i) -> __m128i) -> u64 {
        let chunks = bytes.as_chunks::<16>().0.iter().enumerate();
        chunks.fold(0, |all, (i, chunk)| {
            // SAFETY: the load reads the 16 bytes of the chunk and needs no alignment; SSE2 is a
            // part of x86-64.
            let mask = unsafe { _mm_movemask_epi8(of(_mm_loadu_si128(chunk.as_ptr().cast()))) };
            all | u64::from(mask as u32) << (16 * i)
        })
    }

    #[inline]
    pub(super) fn high(bytes: &[u8; BLOCK]) -> u64 {
        masks(bytes, |v| v)
    }

    #[inline]
    pub(super) fn one_of(bytes: &[u8; BLOCK], set: &[u8]) -> u64 {
        // SAFETY: SSE2 is a part of x86-64, and nothing is read or written through a pointer.
        masks(bytes, |v| unsafe {
            set.iter().fold(_mm_setzero_si128(), |found, &b| {
                _mm_or_si128(found, _mm_cmpeq_epi8(v, _mm_set1_epi8(b as i8)))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn masks_are_those_of_the_bytes(
            bytes in proptest::collection::vec(any::<u8>(), BLOCK),
            set in proptest::collection::vec(any::<u8>(), 0..9),
        ) {
            let bytes: [u8; BLOCK] = bytes.try_into().unwrap_or([0; BLOCK]);
            let mask = |of: &dyn Fn(u8) -> bool| {
                (0..BLOCK).fold(0, |m, i| m | u64::from(of(bytes[i])) << i)
            };
            prop_assert_eq!(high(&bytes), mask(&|b| b >= 0x80));
            prop_assert_eq!(inner(&bytes), mask(&|b| b & 0xC0 == 0x80));
            prop_assert_eq!(one_of(&bytes, &set), mask(&|b| set.contains(&b)));
            prop_assert_eq!(tops(&bytes, |x| swar_one_of(x, &set)), mask(&|b| set.contains(&b)));
        }
    }
}
