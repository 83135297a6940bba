"""The permutation of the shard format, of any number of rows, one place at a time."""

from __future__ import annotations

_MASK, _GOLDEN = (1 << 64) - 1, 0x9E3779B97F4A7C15


def mix(seed: int, domain: int) -> int:
    """The finalizer of SplitMix64: ``K(seed, domain)`` of the shard format."""
    x = (seed + domain * _GOLDEN) & _MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return x ^ (x >> 31)


def permute(index: int, n: int, key: int) -> int:
    """Place of ``index`` in a permutation of ``n``: ``P(n, key)`` of the shard format."""
    bits = max(2, (n - 1).bit_length())
    low_bits = bits // 2
    low_mask, high_mask = (1 << low_bits) - 1, (1 << (bits - low_bits)) - 1
    while True:
        low, high = index & low_mask, index >> low_bits
        for r in range(0, 8, 2):
            low ^= _scramble(high, r, key) & low_mask
            high ^= _scramble(low, r + 1, key) & high_mask
        index = high << low_bits | low
        if index < n:
            return index


def _scramble(x: int, r: int, key: int) -> int:
    return (((key ^ (x << 8 | r)) * _GOLDEN) & _MASK) >> 29
