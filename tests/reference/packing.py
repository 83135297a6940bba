"""Dumb packing: best-fit decreasing as one would explain it, for comparison with the real one."""

from __future__ import annotations

from collections.abc import Sequence

_MASK, _GOLDEN = (1 << 64) - 1, 0x9E3779B97F4A7C15


def best_fit_decreasing(lengths: Sequence[int], room: int) -> list[list[int]]:
    """Longest first, each into the fullest sequence that still has room for it."""
    bins: list[list[int]] = []
    space: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        fitting = [b for b, free in enumerate(space) if free >= lengths[index]]
        if fitting:
            chosen = min(fitting, key=lambda b: space[b])
        else:
            chosen = len(bins)
            bins.append([])
            space.append(room)
        bins[chosen].append(index)
        space[chosen] -= lengths[index]
    return bins


def lower_bound(lengths: Sequence[int], room: int) -> int:
    """No packing can have fewer sequences than this."""
    return -(-sum(lengths) // room)


def balanced(rows: Sequence[Sequence[tuple[int, int, int]]], ranks: int, seed: int) -> list[int]:
    """Places of rows in the order of ``--balance``, by the words of FORMAT.md."""
    costs = [sum(32768 * count + count * count for _, _, count in row) for row in rows]
    steps = len(rows) // ranks
    windows = max(1, steps // 16)
    order: list[int] = []
    for window in range(windows):
        first, last = window * steps // windows, (window + 1) * steps // windows
        places = sorted(range(first * ranks, last * ranks), key=lambda at: (costs[at], at))
        groups = [places[at : at + ranks] for at in range(0, len(places), ranks)]
        for step in range(first, last):
            group = groups[_permute(step - first, last - first, _key(seed, (1 << 33) + window))]
            key = _key(seed, (1 << 34) + step)
            order += [group[_permute(rank, ranks, key)] for rank in range(ranks)]
    return order + list(range(len(order), len(rows)))


def _key(seed: int, domain: int) -> int:
    word = (seed + domain * _GOLDEN) & _MASK
    word = ((word ^ word >> 30) * 0xBF58476D1CE4E5B9) & _MASK
    word = ((word ^ word >> 27) * 0x94D049BB133111EB) & _MASK
    return word ^ word >> 31


def _permute(index: int, n: int, key: int) -> int:
    if n < 2:
        return index
    bits = max(2, (n - 1).bit_length())
    low_bits = bits // 2
    value = index
    while True:
        low, high = value & (1 << low_bits) - 1, value >> low_bits
        for turn in range(0, 8, 2):
            low ^= _scramble(high, turn, key) & (1 << low_bits) - 1
            high ^= _scramble(low, turn + 1, key) & (1 << bits - low_bits) - 1
        value = high << low_bits | low
        if value < n:
            return value


def _scramble(half: int, turn: int, key: int) -> int:
    return ((key ^ (half << 8 | turn)) * _GOLDEN & _MASK) >> 29
