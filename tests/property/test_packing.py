"""Packing plans: a partition that never overfills, and as good as best-fit decreasing can be."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from reference.packing import best_fit_decreasing, lower_bound

import sftprep

ROOM = 64
lengths = st.lists(st.integers(1, ROOM), min_size=1, max_size=200)
long_lengths = st.lists(st.integers(1, 4 * ROOM), min_size=1, max_size=100)
whole = st.sampled_from(["bfd", "first_fit", "sequential", "none"])
cutting = st.sampled_from(["bfd_split", "wrapped"])


def pieces_of(plan: sftprep.PackPlan) -> list[list[tuple[int, int, int]]]:
    return [[(int(a), int(b), int(c)) for a, b, c in plan[i]] for i in range(len(plan))]


@given(lengths, whole, st.integers(0, 3))
def test_whole_documents_are_partitioned(sizes: list[int], strategy: str, seed: int) -> None:
    plan = pieces_of(sftprep.plan_packs(sizes, ROOM, strategy, seed=seed))
    seen = sorted(document for sequence in plan for document, _, _ in sequence)
    assert seen == list(range(len(sizes)))
    for sequence in plan:
        assert sequence, "an empty sequence"
        assert sum(count for _, _, count in sequence) <= ROOM
        assert all(first == 0 and count == sizes[d] for d, first, count in sequence)


@given(long_lengths, cutting)
def test_cut_documents_lose_no_token(sizes: list[int], strategy: str) -> None:
    plan = pieces_of(sftprep.plan_packs(sizes, ROOM, strategy))
    tokens = sorted(
        (document, first + offset)
        for sequence in plan
        for document, first, count in sequence
        for offset in range(count)
    )
    assert tokens == [(d, t) for d, size in enumerate(sizes) for t in range(size)]
    assert all(sum(count for _, _, count in sequence) <= ROOM for sequence in plan)


@given(lengths, st.integers(0, 3))
def test_bfd_has_as_many_sequences_as_the_dumb_one(sizes: list[int], seed: int) -> None:
    plan = sftprep.plan_packs(sizes, ROOM, "bfd", seed=seed)
    assert len(plan) == len(best_fit_decreasing(sizes, ROOM))
    assert plan.lower_bound >= lower_bound(sizes, ROOM)
    assert plan.lower_bound <= len(plan)


@given(lengths)
def test_plan_is_a_pure_function(sizes: list[int]) -> None:
    first, second = (pieces_of(sftprep.plan_packs(sizes, ROOM)) for _ in range(2))
    assert first == second
