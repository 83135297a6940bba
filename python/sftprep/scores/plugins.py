"""Plug-ins: functions from a batch of rows to columns of scores.

A function gets a ``pyarrow.RecordBatch`` with the columns ``row``, ``source``, ``line``,
``row_hash``, ``prompt_text``, ``answer_text``, ``messages`` (JSON) and ``json`` (the row), and
returns a mapping of names to as many values, or an Arrow batch or table. Values are numbers, flags
or texts, ``None`` where there is none; ``NAME.reason`` says why.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sftprep.errors import ConfigError, ScoreError
from sftprep.scores.columns import REASON, RESERVED, Column

if TYPE_CHECKING:
    from sftprep.scores.table import Table

Batch = Mapping[str, Sequence[Any]]
Tick = Callable[[int, int, int], None]

BATCH_ROWS = 1024
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NONE, _NOT_FINITE = "score.none", "score.not_finite"
_AXES = 2


@dataclass(frozen=True, slots=True)
class Loaded:
    """A function that is ready to be called."""

    name: str
    """What it was given as."""
    function: Callable[[Any], Any]
    """It takes a batch."""
    arrow: bool
    """Whether the batch is Arrow's, or a mapping of lists (functions of this package)."""


def load(plugin: str | Callable[..., Any]) -> Loaded:
    """Finds a plug-in.

    Raises:
        ScoreError: if it cannot be loaded.
        ConfigError: if a package that it needs is missing.
    """
    if callable(plugin):
        name = getattr(plugin, "__qualname__", repr(plugin))
        return Loaded(name, plugin, arrow=_needs_arrow())
    from sftprep.scores import hooks

    own = hooks.find(plugin)
    if own is not None:
        return Loaded(plugin, own, arrow=False)
    where, colon, function = plugin.rpartition(":")
    if not (colon and where and function):
        raise ConfigError(
            f"{plugin!r} is no plug-in",
            field="--plugin",
            hint="give module:function or file.py:function, or one of " + ", ".join(hooks.NAMES),
        )
    found = getattr(_module(where, plugin), function, None)
    if not callable(found):
        raise ScoreError(
            f"{where} has no function {function!r}", field="--plugin", hint="correct the name"
        )
    return Loaded(plugin, found, arrow=_needs_arrow())


def _needs_arrow() -> bool:
    if importlib.util.find_spec("pyarrow") is None:
        raise ConfigError(
            "a plug-in gets Arrow batches, and pyarrow is not installed",
            field="--plugin",
            hint="pip install 'sftprep[plugins]'",
        )
    return True


def _module(where: str, plugin: str) -> Any:  # noqa: ANN401 - a module
    try:
        if not where.endswith(".py"):
            return importlib.import_module(where)
        path = Path(where)
        if not path.is_file():
            raise ScoreError("there is no such file", path=where, field="--plugin")
        name = f"sftprep_plugin_{abs(hash(path.resolve()))}"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses and pickles look it up
        spec.loader.exec_module(module)
    except ScoreError:
        raise
    except Exception as error:
        raise ScoreError(
            f"{plugin} cannot be loaded: {type(error).__name__}: {error}",
            path=where,
            field="--plugin",
        ) from error
    return module


def batch_of(table: Table, rows: Sequence[int]) -> dict[str, list[Any]]:
    """The columns that a plug-in sees of these rows."""
    return {
        "row": [int(table.row[at]) for at in rows],
        "source": [table.names[int(table.source[at])] for at in rows],
        "line": [int(table.line[at]) for at in rows],
        "row_hash": [table.row_hash[at] for at in rows],
        "prompt_text": [table.prompt[at] for at in rows],
        "answer_text": [table.answer[at] for at in rows],
        "messages": [table.messages[at] for at in rows],
        "json": [table.json[at] for at in rows],
    }


def run(plugin: Loaded, table: Table, tick: Tick) -> list[Column]:
    """Calls the plug-in batch by batch; rows that are no samples are left out.

    Raises:
        ScoreError: if it raises, or returns something else than columns.
    """
    usable = [at for at in range(len(table)) if table.problem[at] is None]
    gathered = _Gathered(plugin.name, table)
    for start in range(0, len(usable), BATCH_ROWS):
        rows = usable[start : start + BATCH_ROWS]
        batch = batch_of(table, rows)
        first, last = table.place(rows[0]), table.place(rows[-1])
        place = f"rows {rows[0] + 1} to {rows[-1] + 1} ({first} to {last})"
        try:
            found = plugin.function(_arrow(batch) if plugin.arrow else batch)
        except ScoreError:
            raise
        except Exception as error:
            raise ScoreError(
                f"{plugin.name} raised {type(error).__name__} at {place}: {error}",
                field="--plugin",
                hint="the traceback of the function is above this one in Python",
            ) from error
        gathered.take(rows, found, place)
        tick(len(rows), 0, sum(len(table.prompt[at]) + len(table.answer[at]) for at in rows))
    return gathered.columns()


def _arrow(batch: dict[str, list[Any]]) -> Any:  # noqa: ANN401 - an Arrow batch
    import pyarrow as pa

    types = {"row": pa.int64(), "line": pa.int64()}
    arrays = [pa.array(values, types.get(name, pa.string())) for name, values in batch.items()]
    return pa.RecordBatch.from_arrays(arrays, names=list(batch))


class _Gathered:
    """The columns of all batches so far."""

    def __init__(self, plugin: str, table: Table) -> None:
        self._plugin, self._table = plugin, table
        self._values: dict[str, list[Any]] = {}
        self._kinds: dict[str, str] = {}
        self._names: list[str] | None = None

    def _bad(self, what: str, place: str, hint: str) -> ScoreError:
        return ScoreError(f"{self._plugin} {what}, at {place}", field="--plugin", hint=hint)

    def take(self, rows: Sequence[int], found: Any, place: str) -> None:  # noqa: ANN401
        """Checks what came back for these rows, and puts it where it belongs."""
        returned = _mapping(found)
        if returned is None:
            hint = "return a dict of names to lists, arrays or Arrow arrays"
            raise self._bad(f"returned {type(found).__name__}", place, hint)
        if self._names is None:
            self._names = list(returned)
            self._check_names(place)
            self._values = {name: [None] * len(self._table) for name in self._names}
        if list(returned) != self._names:
            what = f"returned the columns {', '.join(map(str, returned))}"
            before = f"before it were {', '.join(self._names)}; return the same every time"
            raise self._bad(what, place, before)
        for name, column in returned.items():
            values = _plain(column)
            if values is None or len(values) != len(rows):
                seen = type(column).__name__ if values is None else f"{len(values)} values"
                hint = f"return a list of {len(rows)}, one value per row, None where there is none"
                raise self._bad(f"returned {seen} as {name}", place, hint)
            for at, value in zip(rows, values, strict=True):
                self._values[name][at] = self._value(name, value, place)

    def _check_names(self, place: str) -> None:
        assert self._names is not None
        if not self._names:
            raise self._bad("returned no column", place, "return at least one")
        for name in self._names:
            base = str(name).removesuffix(REASON)
            if not isinstance(name, str) or not _NAME.fullmatch(base) or base in RESERVED:
                hint = f"letters, digits and _, not {', '.join(RESERVED)}"
                raise self._bad(f"returned a column called {name!r}", place, hint)
            if name.endswith(REASON) and base not in self._names:
                hint = f"return {base} as well"
                raise self._bad(f"returned {name} without {base}", place, hint)

    def _value(self, name: str, value: Any, place: str) -> Any:  # noqa: ANN401
        """A value as it is stored; numbers of any kind become float."""
        if isinstance(value, np.generic):
            value = value.item()
        if value is None:
            return None
        kind = "bool" if isinstance(value, bool) else "utf8" if isinstance(value, str) else ""
        if isinstance(value, int | float) and not kind:
            kind, value = "float64", _float(value)
        if isinstance(value, list | tuple | np.ndarray) and len(value) > 0:
            vector = np.asarray(value)
            if vector.ndim == 1 and vector.dtype.kind in "fiu":
                kind, value = f"vector:{len(vector)}", vector.astype(np.float32)
        wanted = self._kinds.setdefault(name, "utf8" if name.endswith(REASON) else kind)
        if not kind or kind != wanted:
            seen = f"{type(value).__name__} {str(value)[:40]!r} in {name}"
            hint = "numbers, flags, texts or vectors of one width; one kind per column"
            raise self._bad(f"returned {seen}", place, f"return {wanted or 'a score'}: {hint}")
        return value

    def columns(self) -> list[Column]:
        """The columns, each with reasons."""
        return [self._column(name) for name in self._names or () if not name.endswith(REASON)]

    def _column(self, name: str) -> Column:
        kind, values = self._kinds.get(name, "float64"), self._values[name]
        said = self._values.get(name + REASON) or [None] * len(values)
        reasons: list[str | None] = []
        for at, value in enumerate(values):
            reason = self._table.problem[at]
            if reason is None and value is None:
                reason = said[at] or _NONE
            elif value is not None and not _finite(kind, value):
                reason = said[at] or _NOT_FINITE
            reasons.append(reason)
        stored: Any = [None if why else value for value, why in zip(values, reasons, strict=True)]
        if kind == "float64":
            stored = [math.nan if value is None else value for value in stored]
        elif kind.startswith("vector:"):
            nothing = np.full(int(kind[7:]), np.nan, np.float32)
            stored = np.stack([nothing if value is None else value for value in stored])
        about = {"definition": f"plugin={self._plugin}"}
        return Column(name=name, kind=kind, values=stored, reasons=reasons, about=about)


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # a whole number beyond what a float holds
        return math.inf


def _finite(kind: str, value: Any) -> bool:  # noqa: ANN401 - a value of any kind
    numbers = kind == "float64" or kind.startswith("vector:")
    return not numbers or bool(np.isfinite(value).all())


def _mapping(found: Any) -> dict[str, Any] | None:  # noqa: ANN401 - whatever came back
    if isinstance(found, Mapping):
        return dict(found)
    names, column = getattr(found, "column_names", None), getattr(found, "column", None)
    if names is None and hasattr(found, "schema"):
        names = getattr(found.schema, "names", None)
    if names is None or column is None:
        return None
    return {name: column(at) for at, name in enumerate(names)}


def _plain(column: Any) -> list[Any] | None:  # noqa: ANN401 - whatever came back
    """A list of the values; ``None`` if it is no column."""
    if hasattr(column, "to_pylist"):
        return list(column.to_pylist())
    if isinstance(column, np.ndarray):
        return list(column) if column.ndim == _AXES else list(column.tolist())
    return list(column) if isinstance(column, list | tuple) else None
