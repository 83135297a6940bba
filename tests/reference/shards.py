"""What a pack run wrote, read with pyarrow alone: documents with their places, and the ledger."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa


@dataclass(frozen=True)
class Document:
    """One packed document."""

    source: int
    line: int
    part: int
    ids: list[int]
    labels: list[int]
    spans: list[tuple[int, int, int, bool]]
    """(end within the row, kind, message, trained) of the row's spans that lie in it."""


def table(path: Path) -> pa.Table:
    """An Arrow file, opened as a stream (which every shard must allow)."""
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_stream(source).read_all()


def documents(out: Path) -> Iterator[Document]:
    """All documents of a dataset, row by row."""
    for data_path in sorted(out.glob("data-*.arrow")):
        side_path = out / data_path.name.replace("data-", "spans-", 1)
        for row, side in zip(
            table(data_path).to_pylist(), table(side_path).to_pylist(), strict=True
        ):
            yield from _row_documents(row, side)


def by_line(out: Path) -> dict[int, list[Document]]:
    """The documents of each input row, in the order of its parts.

    Raises:
        AssertionError: if a part is there twice, or one is missing.
    """
    found: dict[int, list[Document]] = {}
    for document in documents(out):
        found.setdefault(document.line, []).append(document)
    for line, parts in found.items():
        parts.sort(key=lambda part: part.part)
        if [part.part for part in parts] != list(range(len(parts))):
            raise AssertionError(f"line {line} has the parts {[part.part for part in parts]}")
    return found


def _row_documents(row: dict[str, Any], side: dict[str, Any]) -> Iterator[Document]:
    if len(row["input_ids"]) != len(row["labels"]):
        raise AssertionError("a row has not one label per id")
    if sum(row["seq_lengths"]) != len(row["input_ids"]):
        raise AssertionError("the document lengths do not sum up to the row")
    start = 0
    for index, length in enumerate(row["seq_lengths"]):
        end = start + length
        spans = [
            (span_end, kind, message, bool(flags & 1))
            for span_end, kind, message, flags in zip(
                side["span_end"],
                side["span_kind"],
                side["span_message"],
                side["span_flags"],
                strict=True,
            )
            if start < span_end <= end
        ]
        yield Document(
            source=side["doc_source"][index],
            line=side["doc_line"][index],
            part=side["doc_part"][index],
            ids=row["input_ids"][start:end],
            labels=row["labels"][start:end],
            spans=spans,
        )
        start = end


def ledger(out: Path) -> list[dict[str, Any]]:
    """One entry per input row."""
    return list(table(out / "ledger.arrow").to_pylist())


def manifest(out: Path) -> dict[str, Any]:
    """The manifest."""
    return dict(json.loads((out / "sftprep.manifest.json").read_text("utf-8")))
