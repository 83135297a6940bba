"""Order, staging and prefetching of rows."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="the trainer needs torch")
pytest.importorskip("transformers", reason="the trainer needs transformers")

from sftprep import ShardDataset  # noqa: E402
from sftprep.errors import ShardCorrupt, TrainError  # noqa: E402
from sftprep.permutation import mix, permute  # noqa: E402
from sftprep.train.data import Loader, Order, Stager  # noqa: E402

CPU = torch.device("cpu")


def test_the_permutation_is_that_of_the_format() -> None:
    # The numbers that the Rust core tests its own against.
    assert [permute(i, 9, mix(0, 1 << 32)) for i in range(9)] == [7, 4, 8, 5, 1, 3, 2, 0, 6]


@given(n=st.integers(1, 700), seed=st.integers(0, 2**63), epoch=st.integers(0, 2**31))
def test_it_is_a_permutation(n: int, seed: int, epoch: int) -> None:
    assert sorted(permute(i, n, mix(seed, epoch)) for i in range(n)) == list(range(n))


@given(
    ranks=st.sampled_from([1, 2, 4, 8]),
    micro_rows=st.sampled_from([1, 2]),
    step=st.integers(0, 40),
    seed=st.integers(0, 9),
)
def test_ranks_share_the_rows_of_a_step(ranks: int, micro_rows: int, step: int, seed: int) -> None:
    rows = virtual(37)
    order = Order(rows, seed, 16, 37 * 5)
    dealt = [order.deal(step, rank=r, ranks=ranks, micro_rows=micro_rows) for r in range(ranks)]
    assert {len(batches) for batches in dealt} == {16 // ranks // micro_rows}
    assert sorted(row for batches in dealt for b in batches for row in b) == sorted(
        order.rows(step)
    )


def test_every_row_is_read_once_in_an_epoch() -> None:
    order = Order(virtual(37), 3, 8, 2 * 37)
    assert order.steps == 10
    seen = [row for step in range(order.steps) for row in order.rows(step)]
    assert np.bincount(seen).tolist() == [2] * 37
    assert order.rows(order.steps) == []


def test_any_step_of_a_hundred_million_rows_is_found_at_once() -> None:
    order = Order(virtual(10**8), 0, 64, 10**10)
    started = time.process_time()
    for step in (0, 10**7, 156_249_999):
        order.deal(step, rank=3, ranks=8, micro_rows=2)
    assert time.process_time() - started < 0.2


def virtual(rows: int) -> Any:
    """As many rows as one likes."""

    class Rows:
        def __len__(self) -> int:
            return rows

        def sums(self, row: int) -> Any:
            return SimpleNamespace(attention_cost=row * 7919 % 1000)

    return Rows()


@pytest.mark.parametrize("pad", [False, True])
def test_a_micro_batch_is_its_rows(shards: Path, pad: bool) -> None:
    rows = ShardDataset(shards)
    stager = Stager(rows, 512, 2, CPU, pad=pad)
    for numbers in ([0, 1], [len(rows) - 1], []):
        micro = stager.stage(numbers)
        ids = np.concatenate([rows[n]["input_ids"] for n in numbers] or [np.empty(0, np.int32)])
        lengths = [x for n in numbers for x in rows[n]["seq_lengths"].tolist()]
        size = 2 * rows.max_len if pad else max(len(ids), 1)
        assert micro.input_ids.shape == micro.position_ids.shape == (1, size)
        assert micro.input_ids[0, : len(ids)].tolist() == ids.tolist()
        borders = micro.cu_seqlens.tolist()
        assert borders[: len(lengths) + 1] == [0, *np.cumsum(lengths).tolist()]
        assert borders[-1] == size
        starts = np.repeat(np.array(borders)[:-1], np.diff(borders))
        assert micro.position_ids[0].tolist() == (np.arange(size) - starts).tolist()
        labels = np.concatenate([rows[n]["labels"] for n in numbers] or [np.empty(0, np.int32)])
        trained = np.flatnonzero(labels != -100)
        assert (micro.index + 1).tolist() == trained.tolist()
        assert micro.targets.tolist() == labels[trained].tolist()
        assert micro.max_length >= max(np.diff(borders))  # of padding as well: kernels rely on it


def test_sums_and_origins_are_those_of_the_rows(shards: Path) -> None:
    rows = ShardDataset(shards)
    for number, row in enumerate(rows):
        sums, lengths = rows.sums(number), row["seq_lengths"].astype(np.int64)
        assert sums.tokens == len(row["input_ids"])
        assert sums.trained_tokens == int((row["labels"] != -100).sum())
        assert (sums.documents, sums.attention_cost) == (len(lengths), int((lengths**2).sum()))
        assert rows.origins(number)[1].tolist() == lengths.tolist()
        assert rows.weights(number) is None


def test_the_loader_hands_on_what_goes_wrong(shards: Path) -> None:
    loader = Loader(Stager(ShardDataset(shards), 512, 1, CPU, pad=False), iter([[0], [10**6]]))
    assert next(loader).rows == [0]
    with pytest.raises(IndexError):
        next(loader)
    loader.close()
    loader = Loader(Stager(ShardDataset(shards), 512, 1, CPU, pad=False), ([0] for _ in range(99)))
    loader.close()  # in the middle: nothing hangs


def damage(shards: Path, folder: Path, column: str, value: int) -> ShardDataset:
    """A copy in which the second item of a column of the first row is another."""
    copy = shutil.copytree(shards, folder / "copy")
    rows = ShardDataset(copy)
    info = next(f for f in rows.manifest["files"] if f["kind"] == "data")
    place = info["batches"][0]["buffers"][{"input_ids": 1, "labels": 3, "seq_lengths": 5}[column]][
        0
    ]
    with (copy / info["name"]).open("r+b") as file:
        file.seek(place + 4)
        file.write(value.to_bytes(4, "little", signed=True))
    return ShardDataset(copy)


@pytest.mark.parametrize(
    ("column", "value", "error", "said"),
    [
        ("input_ids", -7, ShardCorrupt, "row 0 is damaged: token id -7"),
        ("input_ids", 600, TrainError, "row 0 has token 600, the model has 512 embeddings"),
        ("labels", 5, ShardCorrupt, "a label is neither -100 nor its own token"),
        ("seq_lengths", 9999, ShardCorrupt, "row 0 is damaged: .* documents of"),
    ],
)
def test_a_damaged_row_is_refused(
    shards: Path, tmp_path: Path, column: str, value: int, error: type[Exception], said: str
) -> None:
    rows = damage(shards, tmp_path, column, value)
    with pytest.raises(error, match=said):
        Stager(rows, 512, 1, CPU, pad=False).stage([0])
