"""Columns of scores, and the files that hold them."""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from sftprep import _core

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sftprep.scores.table import Table

RESERVED = ("row", "source", "line", "row_hash")
"""Columns that say which row a score belongs to."""
REASON = ".reason"
"""What the name of a column of reasons ends with."""
_BITS = 2


@dataclass(kw_only=True, slots=True)
class Column:
    """The scores of one name, in the order of rows."""

    name: str
    kind: str
    """``float64``, ``bool``, ``utf8`` or ``vector:WIDTH``."""
    values: Any
    """One per row; ``None`` or NaN where there is none."""
    reasons: list[str | None] | None = None
    """Why there is none; ``None`` where there is one."""
    about: dict[str, str] = field(default_factory=dict)
    """What it is: definition, model, options."""

    def packed(self) -> tuple[str, str, dict[str, str], Any]:
        """As the core takes it."""
        about = {f"sftprep.{key}": value for key, value in self.about.items()}
        values = self.values
        if self.kind in {"float64", "int64"}:
            values = np.asarray(values, "<f8" if self.kind == "float64" else "<i8").tobytes()
        elif self.kind.startswith("vector:"):
            values = np.ascontiguousarray(values, "<f4").tobytes()
        return self.name, self.kind, about, values

    def present(self) -> list[bool]:
        """Whether a row has a value."""
        if self.kind == "float64":
            return [not math.isnan(value) for value in self.values]
        if self.kind.startswith("vector:"):
            return [not row for row in np.isnan(np.asarray(self.values)[:, 0]).tolist()]
        return [value is not None for value in self.values]

    def summary(self, lengths: Sequence[float]) -> dict[str, Any]:
        """Numbers about the column; ``lengths`` are those of the answers."""
        there = np.array(self.present(), bool)
        reasons = Counter(reason for reason in self.reasons or () if reason is not None)
        found: dict[str, Any] = {
            "name": self.name,
            "kind": self.kind,
            "scored": int(there.sum()),
            "reasons": dict(sorted(reasons.items())),
        }
        if self.kind == "float64" and there.any():
            values = np.asarray(self.values, float)[there]
            marks = np.quantile(values, [0, 0.1, 0.5, 0.9, 1])
            names = ("min", "p10", "median", "p90", "max")
            found |= {"mean": float(values.mean())}
            found |= dict(zip(names, map(float, marks), strict=True))
            found["length_correlation"] = spearman(values, np.asarray(lengths, float)[there])
        elif self.kind == "bool":
            found["true"] = sum(value is True for value in self.values)
        elif self.kind == "utf8":
            most = Counter(value for value in self.values if value is not None).most_common(5)
            found["most"] = dict(most)
        return found


@dataclass(frozen=True, slots=True)
class Counts:
    """Scores by where they came from."""

    cached: int
    computed: int


def spearman(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> float | None:
    """Rank correlation, ties at their mean rank; ``None`` where one of the two is constant."""
    if len(a) < _BITS:
        return None
    x, y = _ranks(a), _ranks(b)
    if x.std() == 0 or y.std() == 0:
        return None
    return float(np.corrcoef(x, y)[0, 1])


def _ranks(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mean: np.ndarray[Any, Any] = last - (counts - 1) / 2
    return mean[which]


def write(
    path: str | os.PathLike[str], table: Table, columns: Sequence[Column], about: Mapping[str, str]
) -> None:
    """Writes a score file, whole or not at all.

    Raises:
        OutputError: if it cannot be written.
    """
    given: list[tuple[str, str, Mapping[str, str], Any]] = [
        ("row", "int64", {}, table.row.astype("<i8").tobytes()),
        ("source", "name", {}, [table.names[at] for at in table.source.tolist()]),
        ("line", "int64", {}, table.line.astype("<i8").tobytes()),
        ("row_hash", "utf8", {}, table.row_hash),
    ]
    for column in columns:
        given.append(column.packed())
        if column.reasons is not None:
            given.append((column.name + REASON, "utf8", {}, column.reasons))
    metadata = {
        "sftprep.scores": "1",
        "sftprep.version": _core.__version__,
        "sftprep.inputs": json.dumps(table.inputs, ensure_ascii=False),
        **{f"sftprep.{key}": value for key, value in about.items()},
    }
    _core.write_scores(path, metadata, given)


@dataclass(frozen=True, slots=True)
class ScoreFile:
    """A score file in memory."""

    metadata: dict[str, str]
    """About the file: ``sftprep.inputs`` and more."""
    columns: dict[str, Any]
    """Per name: an array of numbers (NaN: none) or vectors, or a list (``None``: none)."""
    about: dict[str, dict[str, str]]
    """Per name: what it is, such as ``sftprep.definition``."""


def read(path: str | os.PathLike[str]) -> ScoreFile:
    """Reads a score file.

    Raises:
        SourceError: if there is none, or it is damaged.
    """
    metadata, columns = _core.read_scores(path)
    return ScoreFile(
        metadata,
        {name: values for name, _, _, values in columns},
        {name: about for name, _, about, _ in columns},
    )
