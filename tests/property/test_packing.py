"""Packing plans: a partition that never overfills, and as good as best-fit decreasing can be."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from reference.packing import balanced, best_fit_decreasing, lower_bound

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


TOKEN_COST = 32768  # of FORMAT.md


def imbalance(plan: list[list[tuple[int, int, int]]], ranks: int) -> float:
    """The costliest rows of all whole steps by the mean ones, from the definition."""
    costs = [sum(TOKEN_COST * count + count * count for _, _, count in row) for row in plan]
    steps = [costs[at : at + ranks] for at in range(0, len(costs) - ranks + 1, ranks)]
    total = sum(map(sum, steps))
    return ranks * sum(map(max, steps)) / total if total else 1.0


@given(lengths, st.one_of(whole, cutting), st.integers(2, 9), st.integers(0, 3))
def test_balance_moves_rows_and_nothing_else(
    sizes: list[int], strategy: str, ranks: int, seed: int
) -> None:
    before = pieces_of(sftprep.plan_packs(sizes, ROOM, strategy, seed=seed))
    after = pieces_of(sftprep.plan_packs(sizes, ROOM, strategy, seed=seed, balance=ranks))
    assert sorted(map(tuple, after)) == sorted(map(tuple, before))
    assert imbalance(after, ranks) <= imbalance(before, ranks)
    rest = len(before) // ranks * ranks
    assert after[rest:] == before[rest:]
    places = {tuple(row): place for place, row in enumerate(before)}
    assert all(abs(places[tuple(row)] - at) < 32 * ranks for at, row in enumerate(after))
    assert after == pieces_of(sftprep.plan_packs(sizes, ROOM, strategy, seed=seed, balance=ranks))


def test_balance_is_what_the_format_says() -> None:
    sizes = [1 + index * 37 % ROOM for index in range(300)]
    for ranks, seed in [(2, 0), (8, 1), (7, 5)]:
        plain = pieces_of(sftprep.plan_packs(sizes, ROOM, seed=seed))
        plan = pieces_of(sftprep.plan_packs(sizes, ROOM, seed=seed, balance=ranks))
        assert plan == [plain[place] for place in balanced(plain, ranks, seed)]
