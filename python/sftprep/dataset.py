"""Reading packed rows: numpy views on the mapped shards."""

from __future__ import annotations

import json
import os
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

import numpy as np

from sftprep import _core
from sftprep.columns import DATA, SPANS, Batch, Column, map_file, view_batch
from sftprep.errors import ShardCorrupt

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

_TRAINED, _STRADDLES, _REPEATED, _CONTINUES = 1, 2, 16, 32


class Row(TypedDict):
    """A packed sequence of T tokens and D documents; read-only views on the mapped file."""

    input_ids: NDArray[np.int32]
    """Token ids, ``(T,)``."""
    labels: NDArray[np.int32]
    """Unshifted: the id where trained, -100 elsewhere and on each document's first, ``(T,)``."""
    seq_lengths: NDArray[np.int32]
    """Tokens of each document, in order, ``(D,)``; they add up to T."""


class RowSums(NamedTuple):
    """What a packed sequence adds up to."""

    tokens: int
    """Tokens."""
    trained_tokens: int
    """Tokens that have a label."""
    documents: int
    """Documents."""
    attention_cost: int
    """Sum of the squared lengths of the documents."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """A run of tokens of one kind in a packed sequence."""

    start: int
    """First token, in the sequence."""
    end: int
    """One past the last."""
    kind: str
    """What it is: ``scaffold``, ``user``, ``answer``, ``stop`` and so on."""
    message: int | None
    """Index of the message it belongs to."""
    trained: bool
    """Whether it is trained."""
    straddles: bool
    """Whether it is one token that straddles two spans of the text."""
    repeated: bool
    """Whether it stands in an earlier window of the same sample too."""
    continues: bool
    """Whether it ends a window that another one of the same sample follows."""
    weight: float
    """Loss weight."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """A document in a packed sequence, and the input row it was made from."""

    source: str
    """Name of the input."""
    line: int
    """Line (1-based) in the input."""
    byte_offset: int
    """Byte offset of the line in the (decompressed) input."""
    part: int
    """Which piece of its row it is, where a strategy cuts rows; else 0."""
    first_token: int
    """First token of the piece in its row; else 0."""
    start: int
    """First token, in the sequence."""
    end: int
    """One past the last."""
    spans: tuple[Span, ...]
    """Partition of its tokens."""


class _Files:
    """The files of one kind as one list of rows, mapped when first used."""

    def __init__(
        self, folder: Path, files: Sequence[dict[str, Any]], columns: Sequence[Column]
    ) -> None:
        self._columns = columns
        self._paths = [folder / file["name"] for file in files]
        self._mapped = [
            map_file(path, file["bytes"]) for path, file in zip(self._paths, files, strict=True)
        ]
        self._places = [
            (index, batch) for index, file in enumerate(files) for batch in file.get("batches", ())
        ]
        self.starts = [0]
        for _, batch in self._places:
            self.starts.append(self.starts[-1] + int(batch["rows"]))
        self._batches: list[Batch | None] = [None] * len(self._places)

    def find(self, row: int) -> tuple[Batch, int]:
        """The batch that holds a row, and the row's index in it."""
        at = bisect_right(self.starts, row) - 1
        batch = self._batches[at]
        if batch is None:
            index, info = self._places[at]
            batch = view_batch(self._mapped[index], info, self._columns, self._paths[index])
            self._batches[at] = batch
        return batch, row - self.starts[at]


class ShardDataset:
    """A packed dataset as a sequence of rows.

    Opening reads the manifest, checks it against its own hash, checks the size of every file and
    maps the files; ``sftprep verify`` checks every byte. A row is three views and copies nothing.
    Reading costs no lock and no thread, so forked loader workers are safe; pickling keeps the path
    and opens the dataset again.

    Args:
        path: Output folder of ``sftprep pack``.

    Raises:
        ShardError: if there is no finished dataset.
        ShardVersionError: if a newer sftprep wrote it.
        ShardCorrupt: if the manifest or a file is not what it must be.
    """

    def __init__(self, path: str | os.PathLike[str], *, content_id: str | None = None) -> None:
        self.path = Path(path)
        self.manifest: dict[str, Any] = json.loads(_core.read_manifest(self.path))
        if content_id is not None and content_id != self.content_id:
            raise ShardCorrupt(
                f"the dataset changed: its content_id is {self.content_id}, not {content_id}",
                path=str(self.path),
            )
        self._data = _Files(self.path, self._files("data"), DATA)
        self._spans: _Files | None = None
        self._rows = self._data.starts[-1]

    @property
    def content_id(self) -> str:
        """Identity of the packed data; equal inputs and options give an equal one."""
        return str(self.manifest["content_id"])

    @property
    def max_len(self) -> int:
        """Tokens per row, at most."""
        return int(self.manifest["packing"]["max_len"])

    def __len__(self) -> int:
        return self._rows

    def __getitem__(self, index: int) -> Row:
        batch, at = self._data.find(self._checked(index))
        ids, labels, lengths = batch.starts
        values = batch.values
        end = at + 1
        return {
            "input_ids": values[0][ids[at] : ids[end]],  # type: ignore[index]
            "labels": values[1][labels[at] : labels[end]],  # type: ignore[index]
            "seq_lengths": values[2][lengths[at] : lengths[end]],  # type: ignore[index]
        }

    def __iter__(self) -> Iterator[Row]:
        return (self[index] for index in range(self._rows))

    def documents(self, index: int) -> list[Document]:
        """The documents of a row, with the input rows they were made from and their spans.

        Raises:
            IndexError: if there is no such row.
            ShardCorrupt: if the sidecar is not what it must be.
        """
        columns = {name: values.tolist() for name, values in self._sidecar(index).items()}
        names = [entry["name"] for entry in self.manifest["inputs"]]
        spans = list(_spans(columns))
        documents = []
        start = 0
        for number, tokens in enumerate(columns["doc_tokens"]):
            end = start + tokens
            own = tuple(span for span in spans if start < span.end <= end)
            source = columns["doc_source"][number]
            documents.append(
                Document(
                    source=names[source] if 0 <= source < len(names) else f"input {source}",
                    line=columns["doc_line"][number],
                    byte_offset=columns["doc_byte_offset"][number],
                    part=columns["doc_part"][number],
                    first_token=columns["doc_start"][number],
                    start=start,
                    end=end,
                    spans=own,
                )
            )
            start = end
        return documents

    def sums(self, index: int) -> RowSums:
        """Tokens, trained tokens, documents and attention cost of a row, from the sidecar.

        Raises:
            IndexError: if there is no such row.
            ShardCorrupt: if the sidecar is not what it must be.
        """
        batch, at = self._sidecar_batch(index)
        return RowSums(*(int(values[at]) for values in batch.values[:4]))

    def weights(self, index: int) -> NDArray[np.float32] | None:
        """Loss weight of each token, ``(T,)``; ``None`` where all are 1.

        Raises:
            IndexError: if there is no such row.
            ShardCorrupt: if the sidecar is not what it must be.
        """
        columns = self._sidecar(index)
        if not len(columns["span_weight"]):
            return None
        lengths = np.diff(columns["span_end"], prepend=0)
        if len(lengths) != len(columns["span_weight"]) or (lengths < 0).any():
            raise ShardCorrupt(f"the spans of row {index} are damaged", path=str(self.path))
        return np.repeat(columns["span_weight"], lengths)

    def origins(self, index: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Of each document of a row: the number of its input in the manifest, and its tokens.

        Raises:
            IndexError: if there is no such row.
            ShardCorrupt: if the sidecar is not what it must be.
        """
        columns = self._sidecar(index)
        return columns["doc_source"], columns["doc_tokens"]

    def _sidecar_batch(self, index: int) -> tuple[Batch, int]:
        if self._spans is None:
            self._spans = _Files(self.path, self._files("spans"), SPANS)
        return self._spans.find(self._checked(index))

    def _sidecar(self, index: int) -> dict[str, NDArray[Any]]:
        batch, at = self._sidecar_batch(index)
        return {column.name: values for column, values in zip(SPANS, batch.row(at), strict=True)}

    def _files(self, kind: str) -> list[dict[str, Any]]:
        return [file for file in self.manifest["files"] if file["kind"] == kind]

    def _checked(self, index: int) -> int:
        position = index.__index__()
        if position < 0:
            position += self._rows
        if not 0 <= position < self._rows:
            raise IndexError(f"row {index} of {self._rows}")
        return position

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (str(self.path), self.content_id)

    def __repr__(self) -> str:
        return f"ShardDataset({str(self.path)!r}, rows={self._rows}, max_len={self.max_len})"


def _spans(columns: dict[str, list[Any]]) -> Iterator[Span]:
    kinds = _core.span_kinds()
    # Weights are stored for a row only if one of them is not 1.
    weights = columns["span_weight"] or [1.0] * len(columns["span_end"])
    start = 0
    for end, kind, message, flags, weight in zip(
        columns["span_end"],
        columns["span_kind"],
        columns["span_message"],
        columns["span_flags"],
        weights,
        strict=True,
    ):
        yield Span(
            start=start,
            end=end,
            kind=kinds[kind] if kind < len(kinds) else f"kind {kind}",
            message=None if message < 0 else message,
            trained=bool(flags & _TRAINED),
            straddles=bool(flags & _STRADDLES),
            repeated=bool(flags & _REPEATED),
            continues=bool(flags & _CONTINUES),
            weight=weight,
        )
        start = end


def _reopen(path: str, content_id: str) -> ShardDataset:
    return ShardDataset(path, content_id=content_id)
