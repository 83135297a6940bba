"""From mapped shards to micro-batches on the device.

Which row is read when is a pure function of (seed, epoch, step, rank): nothing is replayed on
resume, and any number of ranks reads the same rows in a step. One thread copies rows into a ring of
(pinned) buffers, so that a batch is on the device before it is asked for.
"""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sftprep.errors import ShardCorrupt, TrainError
from sftprep.permutation import mix, permute

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sftprep.dataset import ShardDataset

_RING = 3


@dataclass(frozen=True)
class Order:
    """Which rows each step reads, and which rank gets which."""

    shards: ShardDataset
    seed: int
    rows_per_step: int
    total: int
    """Rows to be read in the whole run; the last step may have fewer than the others."""

    @property
    def steps(self) -> int:
        """Steps of the run."""
        return -(-self.total // self.rows_per_step)

    def rows(self, step: int) -> list[int]:
        """Rows of a step, all ranks together, the costly ones first."""
        first = step * self.rows_per_step
        rows = []
        for place in range(first, min(first + self.rows_per_step, self.total)):
            epoch, index = divmod(place, len(self.shards))
            rows.append(permute(index, len(self.shards), mix(self.seed, epoch)))
        return sorted(rows, key=lambda row: (-self.shards.sums(row).attention_cost, row))

    def deal(self, step: int, *, rank: int, ranks: int, micro_rows: int) -> list[list[int]]:
        """The micro-batches of a rank; ranks get rows of like cost at the same time."""
        rows: list[int | None] = [*self.rows(step)]
        rows += [None] * (self.rows_per_step - len(rows))
        turns = [rows[at : at + ranks] for at in range(0, len(rows), ranks)]
        mine = [turn[rank if at % 2 == 0 else -1 - rank] for at, turn in enumerate(turns)]
        return [
            [row for row in mine[at : at + micro_rows] if row is not None]
            for at in range(0, len(mine), micro_rows)
        ]


@dataclass
class Micro:
    """Packed rows, one after the other, on the device: T tokens, D documents, N trained tokens."""

    input_ids: torch.Tensor
    """``(1, T)``"""
    position_ids: torch.Tensor
    """``(1, T)``, from 0 in every document."""
    cu_seqlens: torch.Tensor
    """Ends of the documents after a 0, int32 ``(D + 1,)``; padded by repeating the last."""
    max_length: int
    """No document is longer."""
    index: torch.Tensor
    """Positions that predict a trained token, ``(N,)``."""
    targets: torch.Tensor
    """The tokens that they predict, ``(N,)``."""
    weights: torch.Tensor | None = None
    """Loss weights, ``(N,)``; ``None`` where all are 1."""
    rows: list[int] = field(default_factory=list)
    """Rows of the shards."""
    ready: Any = None
    """CUDA event after the copy."""


class Stager:
    """Makes micro-batches of rows.

    Args:
        shards: The rows.
        vocab_size: Rows of the model's embedding.
        micro_rows: Rows per micro-batch at most.
        device: Where to.
        pad: Whether every micro-batch gets the same shape, as compiled blocks want.
    """

    def __init__(
        self,
        shards: ShardDataset,
        vocab_size: int,
        micro_rows: int,
        device: torch.device,
        *,
        pad: bool,
    ) -> None:
        self._shards, self._vocab_size, self._device, self._pad = shards, vocab_size, device, pad
        self._most = shards.max_len * micro_rows
        packing = shards.manifest["packing"]
        documents = 2 * micro_rows * packing["documents"] // max(packing["rows"], 1)
        self._borders = 1 << max(6, (documents + 2).bit_length())
        self._cuda = device.type == "cuda"
        size = 5 * self._most + 2 * self._borders
        ring = [torch.empty(size, dtype=torch.int32, pin_memory=self._cuda) for _ in range(_RING)]
        self._ring = [(buffer, buffer.numpy()) for buffer in ring]
        self._events = [torch.cuda.Event() if self._cuda else None for _ in ring]
        self._stream = torch.cuda.Stream(device) if self._cuda else None
        self._turn = 0

    def stage(self, rows: Sequence[int]) -> Micro:
        """Copies rows to the device; on CUDA the copy may still be going on."""
        self._turn = turn = (self._turn + 1) % _RING
        (buffer, view), event = self._ring[turn], self._events[turn]
        if event is not None:
            event.synchronize()  # the copy that used this buffer before is done
        parts, longest, weights = self._parts(rows)
        sizes, at = [len(part) for part in parts], 0
        for part in parts:
            view[at : at + len(part)] = part
            at += len(part)
        if event is None:
            return self._split(buffer[:at], sizes, longest, weights, rows)
        with torch.cuda.stream(self._stream):
            micro = self._split(
                buffer[:at].to(self._device, non_blocking=True), sizes, longest, weights, rows
            )
            event.record(self._stream)
            micro.ready = torch.cuda.Event()
            micro.ready.record(self._stream)
        return micro

    def _split(
        self,
        flat: torch.Tensor,
        sizes: list[int],
        longest: int,
        weights: np.ndarray[Any, Any] | None,
        rows: Sequence[int],
    ) -> Micro:
        ids, positions, borders, index, targets = flat.split(sizes)
        return Micro(
            input_ids=ids.long()[None],
            position_ids=positions.long()[None],
            cu_seqlens=borders.clone(),
            max_length=longest,
            index=index.long(),
            targets=targets.long(),
            weights=None if weights is None else torch.from_numpy(weights).to(flat.device),
            rows=list(rows),
        )

    def _parts(
        self, rows: Sequence[int]
    ) -> tuple[list[np.ndarray[Any, Any]], int, np.ndarray[Any, Any] | None]:
        """Ids, positions, borders, index and targets; the longest document; loss weights."""
        read = [self._checked(row) for row in rows]
        ids, labels, lengths = (
            np.concatenate([part[at] for part in read]) if read else np.empty(0, np.int32)
            for at in range(3)
        )
        missing = (self._most if self._pad else max(len(ids), 1)) - len(ids)
        if missing:  # padding is documents of their own, no longer than others, and not trained
            whole, rest = divmod(missing, self._shards.max_len)
            ids = np.concatenate([ids, np.zeros(missing, np.int32)])
            labels = np.concatenate([labels, np.full(missing, -100, np.int32)])
            lengths = np.append(lengths, [self._shards.max_len] * whole + [rest] * (rest > 0))
        ends = np.cumsum(lengths)
        positions = np.arange(len(ids)) - np.repeat(ends - lengths, lengths)
        while self._pad and self._borders < len(ends) + 1:
            self._borders *= 2
        repeat = self._borders - len(ends) - 1 if self._pad else 0
        borders = np.concatenate([[0], ends, np.full(repeat, len(ids))])
        index = np.flatnonzero(labels[1:] != -100)  # a document's first label is -100
        weights = None
        if any(part[3] is not None for part in read):
            weights = np.concatenate(
                [np.ones(len(part[0]), np.float32) if part[3] is None else part[3] for part in read]
            )[index + 1]
        longest = self._shards.max_len if self._pad else int(lengths.max())
        return [ids, positions, borders, index, labels[index + 1]], longest, weights

    def _checked(self, number: int) -> tuple[Any, Any, Any, Any]:
        row = self._shards[number]
        ids, labels, lengths = row["input_ids"], row["labels"], row["seq_lengths"]
        starts = np.cumsum(lengths) - lengths
        wrong = None
        if not len(ids) == len(labels) == lengths.sum() or (lengths <= 0).any():
            wrong = f"{len(ids)} ids, {len(labels)} labels, documents of {lengths.sum()} tokens"
        elif ((labels != -100) & (labels != ids)).any():
            wrong = "a label is neither -100 nor its own token"
        elif (labels[starts] != -100).any():
            wrong = "the first token of a document has a label"
        elif len(ids) and int(ids.min()) < 0:
            wrong = f"token id {ids.min()}"
        if wrong is not None:
            raise ShardCorrupt(
                f"row {number} is damaged: {wrong}",
                path=str(self._shards.path),
                hint="look at it with `sftprep verify`, then fetch or pack the dataset again",
            )
        if len(ids) and int(ids.max()) >= self._vocab_size:
            raise TrainError(
                f"row {number} has token {ids.max()}, the model has {self._vocab_size} embeddings",
                path=str(self._shards.path),
                hint="train the model that the tokenizer belongs to, or add --resize-embeddings",
            )
        return ids, labels, lengths, self._shards.weights(number)


class Loader:
    """Micro-batches in order, staged ahead by one thread.

    Args:
        stager: Makes them.
        batches: Rows of each micro-batch.
    """

    def __init__(self, stager: Stager, batches: Iterator[list[int]]) -> None:
        self._stage = lambda: stager.stage(next(batches))
        self._thread, self.started = ThreadPoolExecutor(1), time.perf_counter()
        self._ahead = deque(self._thread.submit(self._stage) for _ in range(_RING - 1))
        self.waited = 0.0
        """Seconds that the training loop has waited for data."""
        self._stages: list[tuple[Any, Any]] = []

    def __next__(self) -> Micro:
        started = time.perf_counter()
        item = self._ahead.popleft().result()
        self._ahead.append(self._thread.submit(self._stage))
        if item.ready is None:
            self.waited += time.perf_counter() - started
            return item
        # The host runs ahead of the device: a stall is what the device itself waits.
        stream = torch.cuda.current_stream()
        before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        before.record(stream)
        stream.wait_event(item.ready)
        after.record(stream)
        self._stages.append((before, after))
        for value in vars(item).values():
            if isinstance(value, torch.Tensor):
                value.record_stream(stream)
        return item

    def stalled(self) -> float:
        """Seconds waited for data since the last call; on CUDA, call it after a synchronisation."""
        for before, after in self._stages:
            self.waited += before.elapsed_time(after) / 1e3
        self._stages.clear()
        seconds, self.waited = self.waited, 0.0
        return seconds

    def close(self) -> None:
        """Ends the thread."""
        self._thread.shutdown(cancel_futures=True)
