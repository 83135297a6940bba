from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sftprep
from sftprep.errors import ConfigError, PackError

STRATEGIES = ("bfd", "bfd_split", "first_fit", "sequential", "wrapped", "none")
WHOLE = ("bfd", "first_fit", "sequential", "none")


def best_fit_decreasing(lengths: list[int], max_len: int) -> int:
    """Rows of exact best-fit decreasing, the slow and obvious way."""
    rows: list[int] = []
    for length in sorted(lengths, reverse=True):
        fitting = [index for index, room in enumerate(rows) if room >= length]
        if fitting:
            best = min(fitting, key=rows.__getitem__)
            rows[best] -= length
        else:
            rows.append(max_len - length)
    return len(rows)


def check_partition(plan: sftprep.PackPlan, lengths: list[int], max_len: int) -> None:
    covered: dict[int, list[tuple[int, int]]] = {}
    for row in plan:
        assert 0 < sum(length for _, _, length in row) <= max_len
        for document, start, length in row:
            assert length > 0
            covered.setdefault(document, []).append((start, length))
    assert sorted(covered) == list(range(len(lengths)))
    for document, pieces in covered.items():
        at = 0
        for start, length in sorted(pieces):
            assert start == at
            at += length
        assert at == lengths[document]


@given(
    lengths=st.lists(st.integers(1, 40), max_size=60),
    strategy=st.sampled_from(STRATEGIES),
    seed=st.integers(0, 2**32),
)
def test_a_plan_is_a_partition_and_never_overfills(
    lengths: list[int], strategy: str, seed: int
) -> None:
    max_len = 40 if strategy in WHOLE else 17
    plan = sftprep.plan_packs(lengths, max_len, strategy, seed=seed)
    check_partition(plan, lengths, max_len)
    assert plan.tokens == sum(lengths)
    assert len(plan) >= plan.lower_bound
    if lengths:
        assert plan.fill == pytest.approx(sum(lengths) / (len(plan) * max_len))
        assert plan.gap == pytest.approx(len(plan) / plan.lower_bound - 1)


@given(lengths=st.lists(st.integers(1, 30), max_size=50), max_len=st.integers(30, 64))
def test_bfd_needs_exactly_the_rows_of_the_slow_reference(lengths: list[int], max_len: int) -> None:
    assert len(sftprep.plan_packs(lengths, max_len)) == best_fit_decreasing(lengths, max_len)


@given(lengths=st.lists(st.integers(1, 30), max_size=50))
def test_the_flat_arrays_are_the_rows(lengths: list[int]) -> None:
    plan = sftprep.plan_packs(np.array(lengths, np.int64), 32)
    assert plan.documents.dtype == plan.starts.dtype == plan.lengths.dtype == np.uint32
    assert plan.row_starts.dtype == np.int64
    flat = list(zip(plan.documents, plan.starts, plan.lengths, strict=True))
    for index, row in enumerate(plan):
        start, end = plan.row_starts[index : index + 2]
        same = [plan[index], plan[index - len(plan)], flat[start:end]]  # noqa: PLR1736
        assert same == [row] * 3
    assert plan.row_starts[-1] == len(flat)


def test_equal_input_gives_an_equal_plan() -> None:
    lengths = np.random.default_rng(0).integers(1, 4096, 5000)
    one, two = (sftprep.plan_packs(lengths, 4096, seed=7) for _ in range(2))
    assert (one.documents == two.documents).all()
    other = sftprep.plan_packs(lengths, 4096, seed=8)
    assert len(other) == len(one)
    assert (one.documents != other.documents).any()


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint32", "uint8", ">i4"])
def test_integer_arrays_of_any_width_are_taken(dtype: str) -> None:
    lengths = np.array([3, 5, 2, 6], dtype)
    assert list(sftprep.plan_packs(lengths, 8)) == list(sftprep.plan_packs([3, 5, 2, 6], 8))
    strided = np.repeat(lengths, 2)[::2]
    assert list(sftprep.plan_packs(strided, 8)) == list(sftprep.plan_packs([3, 5, 2, 6], 8))


@pytest.mark.parametrize(
    ("lengths", "max_len", "strategy", "field"),
    [
        ([1], 0, "bfd", "max_len"),
        ([1], 2**24 + 1, "bfd", "max_len"),
        ([1], 8, "best", "strategy"),
        ([1, 0], 8, "bfd", "lengths[1]"),
        (np.array([1.0, 2.0]), 8, "bfd", "lengths"),
        (np.array([[1, 2]]), 8, "bfd", "lengths"),
        (np.array([1, -2]), 8, "bfd", "lengths"),
        (np.array([1, 2**40]), 8, "bfd", "lengths"),
    ],
)
def test_bad_arguments_are_named(
    lengths: list[int], max_len: int, strategy: str, field: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        sftprep.plan_packs(lengths, max_len, strategy)
    assert caught.value.field == field


@pytest.mark.parametrize("strategy", WHOLE)
def test_what_fits_nowhere_is_an_error(strategy: str) -> None:
    with pytest.raises(PackError) as caught:
        sftprep.plan_packs([3, 9], 8, strategy)
    assert (caught.value.code, caught.value.field) == ("pack.overlong", "lengths[1]")


def test_rows_out_of_range_are_index_errors() -> None:
    plan = sftprep.plan_packs([3, 5], 8)
    for index in (1, -2, 10**6):
        with pytest.raises(IndexError):
            plan[index]
    assert len(sftprep.plan_packs([], 8)) == 0
    assert list(sftprep.plan_packs(np.array([]), 8)) == []


def test_a_million_lengths_take_a_moment() -> None:
    lengths = np.random.default_rng(0).integers(1, 4096, 1_000_000).astype(np.uint32)
    started = time.perf_counter()
    plan = sftprep.plan_packs(lengths, 4096)
    assert time.perf_counter() - started < 1.0
    assert plan.fill > 0.99
