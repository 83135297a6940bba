"""Numpy views on the record batches of sftprep's own Arrow files, by the manifest's offsets.

A manifest lists for every record batch where each buffer lies, so no Arrow metadata is parsed and
neither pyarrow nor torch is needed. Every place and every list offset is checked before it is
used: a damaged file is an error, never a crash.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sftprep.errors import ShardCorrupt

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]
    Values = NDArray[Any]


class Column(NamedTuple):
    """A column of a file: little-endian values, or lists of them."""

    name: str
    dtype: str
    is_list: bool


DATA = (
    Column("input_ids", "<i4", True),
    Column("labels", "<i4", True),
    Column("seq_lengths", "<i4", True),
)

SPANS = (
    Column("tokens", "<i4", False),
    Column("trained_tokens", "<i4", False),
    Column("documents", "<i4", False),
    Column("attention_cost", "<i8", False),
    Column("doc_source", "<i4", True),
    Column("doc_line", "<i8", True),
    Column("doc_byte_offset", "<i8", True),
    Column("doc_part", "<i4", True),
    Column("doc_start", "<i4", True),
    Column("doc_tokens", "<i4", True),
    Column("span_end", "<i4", True),
    Column("span_kind", "|u1", True),
    Column("span_message", "<i4", True),
    Column("span_flags", "|u1", True),
    Column("span_weight", "<f4", True),
)


@dataclass(frozen=True, slots=True)
class Batch:
    """The columns of one record batch as views on the mapped file."""

    rows: int
    starts: tuple[Values | None, ...]
    """Per column: list offsets, int32 ``(rows + 1,)``, or ``None`` where it holds no lists."""
    values: tuple[Values, ...]
    """Per column: its values, or the items of all its lists."""

    def row(self, index: int) -> list[Values]:
        """Per column: the items of a row's list, or the row's value as an array of one."""
        return [
            values[index : index + 1]
            if starts is None
            else values[starts[index] : starts[index + 1]]
            for starts, values in zip(self.starts, self.values, strict=True)
        ]


def map_file(path: Path, size: int) -> Bytes:
    """Maps a file read-only.

    Raises:
        ShardCorrupt: if it is not there, or not of the size that the manifest promises.
    """
    try:
        found = path.stat().st_size
    except OSError as error:
        raise ShardCorrupt(
            f"the file is named in the manifest but cannot be opened: {error.strerror}",
            path=str(path),
        ) from error
    if found != size:
        raise ShardCorrupt(
            f"the file has {found} bytes, the manifest promises {size}",
            path=str(path),
            hint="fetch or pack the dataset again",
        )
    if size == 0:
        return np.empty(0, np.uint8)
    # Not np.memmap: it resolves the path first, which takes most of the time that opening many
    # shards takes, and slicing what it gives costs ten times as much.
    try:
        with path.open("rb") as file:
            return np.frombuffer(mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ), np.uint8)
    except (OSError, ValueError) as error:  # ValueError: shrunk meanwhile
        raise ShardCorrupt(f"the file cannot be mapped: {error}", path=str(path)) from error


def view_batch(
    mapped: Bytes, info: Mapping[str, Any], columns: Sequence[Column], path: Path
) -> Batch:
    """The columns of one record batch.

    Args:
        mapped: The whole file.
        info: The batch as the manifest lists it: ``rows``, and (offset, bytes) per ``buffers``.
        columns: What the file's columns are.
        path: The file, for errors.

    Raises:
        ShardCorrupt: if a buffer lies outside the file, or list offsets are not what they must be.
    """
    rows = int(info["rows"])
    places = iter(info["buffers"])
    starts: list[Values | None] = []
    values: list[Values] = []
    try:
        for column in columns:
            offsets = None
            if column.is_list:
                offsets = _buffer(mapped, next(places), "<i4", path)
                if len(offsets) < rows + 1:
                    raise _corrupt(column, "has too few list offsets", path)
                offsets = offsets[: rows + 1]
            data = _buffer(mapped, next(places), column.dtype, path)
            _check(column, offsets, data, rows, path)
            starts.append(offsets)
            values.append(data)
    except StopIteration:
        raise ShardCorrupt("the manifest lists too few buffers", path=str(path)) from None
    return Batch(rows, tuple(starts), tuple(values))


def _buffer(mapped: Bytes, place: Sequence[int], dtype: str, path: Path) -> Values:
    offset, size = place
    width = np.dtype(dtype).itemsize
    if offset < 0 or size < 0 or offset + size > len(mapped) or offset % width:
        raise ShardCorrupt(
            f"a buffer at byte {offset} of {size} bytes lies outside the file or is not aligned",
            path=str(path),
        )
    return mapped[offset : offset + size - size % width].view(dtype)


def _check(column: Column, offsets: Values | None, data: Values, rows: int, path: Path) -> None:
    if offsets is None:
        if len(data) < rows:
            raise _corrupt(column, f"has {len(data)} values for {rows} rows", path)
    elif offsets[0] != 0 or offsets[-1] > len(data) or (np.diff(offsets) < 0).any():
        raise _corrupt(column, "has list offsets that point outside its values", path)


def _corrupt(column: Column, what: str, path: Path) -> ShardCorrupt:
    return ShardCorrupt(
        f"column {column.name} {what}",
        path=str(path),
        field=column.name,
        hint="fetch or pack the dataset again",
    )
