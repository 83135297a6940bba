"""Dumb packing: best-fit decreasing as one would explain it, for comparison with the real one."""

from __future__ import annotations

from collections.abc import Sequence


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
