"""The rows that a selection still has, their columns, and why the others went."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from sftprep.errors import ConfigError, SourceError
from sftprep.quality.expression import Values, parse
from sftprep.quality.options import PathLike
from sftprep.quality.stage import REJECTED, Column, Derived, Stage

Rows = NDArray[np.int64]

_SHOWN_COLUMNS = 20
_AXES = 2


@dataclass(slots=True)
class Needs:
    """What steps read of the rows."""

    columns: set[str] = field(default_factory=set)
    """Columns by their kind; each may also be something worked out, such as ``answer_chars``."""
    texts: set[str] = field(default_factory=set)
    """Columns that are compared as texts."""
    formulas: dict[str, str] = field(default_factory=dict)
    """Formulas, each with the place where it stands."""

    def add(self, other: Needs) -> None:
        """Joins what two steps need."""
        self.columns |= other.columns
        self.texts |= other.texts
        self.formulas |= other.formulas


class Scores:
    """A file of scores, joined by the number and the content of each row."""

    def __init__(self, path: PathLike, names: Sequence[str], stage: Stage) -> None:
        """Reads the columns that it has of those named.

        Raises:
            SourceError: if it is no such file, or one of other rows.
        """
        reasons = [f"{name}.reason" for name in names]
        read = Stage(
            "scores", path, columns=[*names, "row"], texts=["row_hash", *reasons], format="text"
        )
        self.path = os.fspath(path)
        number, mine = np.asarray(read["row"]), read["row_hash"]
        # rows that are no JSON objects have no content, here as there
        bare = all(each is None for each in mine)
        if number.dtype != np.float64 or number.ndim != 1 or np.isnan(number).any() or bare:
            raise self._wrong("it has no columns row and row_hash", None)
        at = number.astype(np.int64) - 1
        theirs = stage["row_hash"]
        outside = np.flatnonzero((at < 0) | (at >= len(stage)))
        if len(outside):
            number = at[outside[0]] + 1
            raise self._wrong(f"it has a score of row {number}, there are {len(stage)}", number)
        if len(np.unique(at)) != len(at):
            raise self._wrong("it has two lines for one row", None)
        for place, own in zip(at, mine, strict=True):
            if own != theirs[place]:
                raise self._wrong(f"row {place + 1} says something else than when it was scored", 0)
        self.columns: dict[str, Column] = {}
        for name, reason in zip(names, reasons, strict=True):
            known = read[name]
            if not _is_empty(known) or any(read[reason]):
                self.columns[name] = _spread(known, at, len(stage))
                self.columns[reason] = _spread(read[reason], at, len(stage))
        self.has = np.zeros(len(stage), bool)
        self.has[at] = True

    def _wrong(self, message: str, row: int | None) -> SourceError:
        hint = "score the very rows that are selected from: `sftprep score`"
        if row is None:
            hint = "give a file that `sftprep score` wrote"
        return SourceError(message, code="source.corrupt", path=self.path, hint=hint)


class Pool:
    """Rows, those that are still in it, and the reason of every one that is not.

    Attributes:
        alive: Per row whether it is still there.
        codes: Reasons, as far as there are any.
    """

    def __init__(
        self, stage: Stage, scores: Scores | None, known: Sequence[str], threads: int = 0
    ) -> None:
        """All rows that are JSON objects; ``known`` are names of columns, for errors."""
        n = len(stage)
        self.stage = stage
        self.scores = scores
        self.known = known
        self.threads = threads
        self.alive = stage.state != REJECTED
        self.codes: list[str] = []
        self.code = np.full(n, -1, np.int32)
        self.detail: list[str | None] = [None] * n
        self.partner = np.full(n, -1, np.int64)
        self.score = np.full(n, np.nan)
        self.notes: dict[str, Any] = {}

    def rows(self) -> Rows:
        """Indices of the rows that are still there."""
        return np.flatnonzero(self.alive)

    def drop(
        self,
        rows: Rows,
        code: str,
        detail: str | Iterable[str],
        *,
        score: Values | None = None,
        partner: Rows | None = None,
    ) -> None:
        """Takes rows out, with the reason; ``partner`` are indices, or negative."""
        if code not in self.codes:
            self.codes.append(code)
        self.alive[rows] = False
        self.code[rows] = self.codes.index(code)
        details = [detail] * len(rows) if isinstance(detail, str) else detail
        for row, text in zip(rows.tolist(), details, strict=True):
            self.detail[row] = text
        if score is not None:
            self.score[rows] = score
        if partner is not None:
            self.partner[rows] = np.where(partner < 0, -1, partner + 1)

    def column(self, name: str, where: str) -> Column:
        """A column, of the score file if that has it.

        Raises:
            ConfigError: if no row has it; ``where`` says who asks.
        """
        if self.scores is not None and name in self.scores.columns:
            return self.scores.columns[name]
        for columns in (self.stage.columns, self.stage.texts, self.stage.derived):
            if name in columns and not _is_empty(columns[name]):
                return columns[name]
        known = ", ".join(self.known[:_SHOWN_COLUMNS])
        raise ConfigError(
            f"no row has a column {name!r}",
            field=where,
            hint=f"the rows have {known}"
            + ("" if self.scores is None else "; nor has the score file"),
        )

    def texts(self, name: str, where: str) -> list[str | None]:
        """A column as texts."""
        if name in self.stage.texts and not _is_empty(self.stage.texts[name]):
            return list(self.stage.texts[name])
        values = self.column(name, where)
        return [None if is_none(each) else str(each) for each in values]

    def numbers(self, name: str, where: str) -> Values:
        """A column of numbers, NaN where there is none.

        Raises:
            ConfigError: if it holds something else, or no row has it.
        """
        values = self.column(name, where)
        if isinstance(values, np.ndarray) and values.ndim == 1:
            return values  # NaN where there is none
        kind = "vectors"
        if isinstance(values, list):
            at = next(
                i for i, each in enumerate(values) if each is not None and not _is_number(each)
            )
            kind = f"{values[at]!r:.60} in row {at + 1}"
        raise ConfigError(
            f"column {name!r} holds {kind}, not numbers", field=where, hint="name another column"
        )

    def formula(self, text: str, where: str) -> Values:
        """A column of that very name, or what a formula makes of columns."""
        if self._has(text):
            return self.numbers(text, where)
        expression = parse(text, where)
        columns = {name: self.numbers(name, where) for name in expression.names}
        values = expression.values(columns)
        return np.broadcast_to(values, (len(self.stage),)).astype(np.float64)

    def why_missing(self, text: str, rows: Rows) -> list[str]:
        """Per row why a formula has no value there."""
        names = [text] if self._has(text) else list(parse(text, "score").names)
        found = []
        for row in rows.tolist():
            reasons = [self._reason(name, row) for name in names]
            found.append("; ".join(filter(None, reasons)) or f"{text} is no number")
        return found

    def drop_missing(self, text: str, values: Values, rows: Rows, keep: bool) -> Rows:
        """Takes the rows without a value out unless they are to be kept; gives the others."""
        bare = rows[np.isnan(values[rows])]
        if len(bare) and not keep:
            self.drop(bare, "select.no_score", self.why_missing(text, bare))
        return rows[~np.isnan(values[rows])]

    def _has(self, name: str) -> bool:
        in_scores = self.scores is not None and name in self.scores.columns
        columns = self.stage.columns
        return in_scores or (name in columns and not _is_empty(columns[name]))

    def _reason(self, name: str, row: int) -> str | None:
        scores = self.scores
        if scores is not None and name in scores.columns:
            if not scores.has[row]:
                return f"the score file has no line for the row ({name})"
            if _is_empty(scores.columns[name][row : row + 1]):
                reason = scores.columns[f"{name}.reason"][row]
                return f"{name}: {reason}" if reason else f"there is no {name}"
            return None
        column = self.column(name, "score")
        return f"there is no {name}" if _is_empty(column[row : row + 1]) else None


def names_of(needs: Needs) -> list[str]:
    """All columns that formulas and steps name; what is no formula may be a column as it stands."""
    names = set(needs.columns)
    for text, where in needs.formulas.items():
        names.add(text)
        with suppress(ConfigError):
            names |= {*parse(text, where).names}
    return sorted(names)


def derived_of(names: Iterable[str]) -> set[Derived]:
    """Those names that stand for something derived, if no column has them."""
    wanted = set(names)
    return {each for each in get_args(Derived) if each in wanted}


def vectors(
    pool: Pool,
    embedding: Any,  # noqa: ANN401 - an array, a file or a column
    rows: Rows,
    where: str,
) -> tuple[NDArray[np.float32], Rows]:
    """The vectors of rows that have one, and those rows; the others go.

    Raises:
        ConfigError: if there are no vectors, or not one per row.
    """
    found: Any = embedding
    if isinstance(embedding, str | os.PathLike):
        text = os.fspath(embedding)
        found = _load(Path(text), where) if text.endswith(".npy") else pool.column(text, where)
    if not isinstance(found, np.ndarray) or found.ndim != _AXES or found.dtype.kind not in "fiu":
        raise ConfigError(
            f"{embedding!s:.60} holds no vectors of one length",
            field=where,
            hint="name a column of lists of numbers, or a .npy file with one line per row",
        )
    if len(found) != len(pool.stage):
        raise ConfigError(
            f"{embedding!s:.60} has {len(found)} vectors for {len(pool.stage)} rows",
            field=where,
            hint="give one vector per row, in the order of the rows that are read",
        )
    mine = np.ascontiguousarray(found[rows], dtype=np.float32)
    whole = np.isfinite(mine).all(axis=1)
    if not whole.all():
        pool.drop(rows[~whole], "select.no_score", "there is no vector of the row")
    return mine[whole], rows[whole]


def _load(path: Path, where: str) -> Any:  # noqa: ANN401 - whatever array is in it
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise SourceError("there is no such file", code="source.missing", path=str(path)) from error
    except (OSError, ValueError, EOFError) as error:
        raise SourceError(f"{where}: {error}", code="source.corrupt", path=str(path)) from error


def is_none(value: Any) -> bool:  # noqa: ANN401 - a cell
    """Whether a cell has nothing: ``None``, or NaN."""
    if isinstance(value, np.ndarray):
        return bool(np.isnan(value).all())
    return value is None or (isinstance(value, float) and math.isnan(value))


def _is_number(value: object) -> bool:
    return isinstance(value, float | int)


def _is_empty(column: Any) -> bool:  # noqa: ANN401 - a column
    """Whether no row has anything."""
    if isinstance(column, np.ndarray):
        return bool(np.isnan(column).all())
    return all(each is None for each in column)


def _spread(column: Column, at: Rows, n: int) -> Column:
    """A column of a score file as one of the rows."""
    if isinstance(column, np.ndarray):
        spread = np.full((n, *column.shape[1:]), np.nan, column.dtype)
        spread[at] = column
        return spread
    values: list[Any] = [None] * n
    for place, value in zip(at.tolist(), column, strict=True):
        values[place] = value
    return values
