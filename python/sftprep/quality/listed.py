"""The step `rows`: a published selection, as row numbers, as values of a column, or as rows."""

from __future__ import annotations

import gzip
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from sftprep.errors import ConfigError, SourceError
from sftprep.quality.pool import Needs, Pool, Rows


@dataclass(frozen=True, kw_only=True)
class Listed:
    """Rows on a list: numbers, values of a column, or the rows themselves."""

    code: ClassVar[str] = "select.not_listed"
    rows: Sequence[Any] | None = None
    file: str | os.PathLike[str] | None = None
    name: str | None = None
    first: int | None = None
    by: str | None = None

    def __post_init__(self) -> None:
        """Reads the list."""
        if (self.rows is None) == (self.file is None):
            raise ConfigError("give either rows or file", field="rows")
        object.__setattr__(self, "_items", self._read())

    def _read(self) -> list[Any]:
        given: Any = self.rows
        if self.file is not None:
            given = _load(Path(self.file))
        if isinstance(given, Mapping):
            if self.name not in given:
                raise ConfigError(
                    f"the file holds several lists, {self.name!r} is none of them"
                    if self.name
                    else "the file holds several lists",
                    field="rows.name",
                    hint=f"name one of {', '.join(map(str, given))}",
                )
            given = given[self.name]
        if not isinstance(given, Iterable) or isinstance(given, str | bytes):
            raise ConfigError(f"the list is {given!r:.60}", field="rows")
        items = list(given)
        kinds = {type(each) for each in items}
        if len(kinds) > 1 or not kinds <= {int, str, dict}:
            raise ConfigError(
                f"the list holds {', '.join(sorted(kind.__name__ for kind in kinds))}",
                field="rows",
                hint="give row numbers, texts, or rows as objects",
            )
        if kinds == {dict} and not any(isinstance(each, str) for each in items[0].values()):
            raise ConfigError("the rows on the list have no texts", field="rows")
        if kinds == {int} and self.by is None:
            self._check_numbers(items)
        if kinds == {str} and self.by is None:
            raise ConfigError(
                "the list holds texts", field="rows.by", hint="name the column that has them: by=id"
            )
        return items

    def _check_numbers(self, items: list[int]) -> None:
        if self.first not in (0, 1):
            raise ConfigError(
                "a list of row numbers may count from 0 or from 1",
                field="rows.first",
                hint="say first=0 or first=1",
            )
        seen = Counter(items)
        twice = next((item for item, count in seen.items() if count > 1), None)
        if twice is not None:
            raise ConfigError(f"row {twice} is on the list twice", field="rows")

    @property
    def items(self) -> list[Any]:
        """What is on the list."""
        return list(getattr(self, "_items"))  # noqa: B009 - set in `__post_init__` of a frozen class

    def _keys(self) -> list[str]:
        first = self.items[0] if self.items else None
        if isinstance(first, dict):
            return [name for name in first if isinstance(first[name], str)]
        return [self.by] if self.by else []

    def needs(self) -> Needs:
        """The columns that the list speaks of."""
        derived = {"prompt_text", "answer_text"}
        return Needs(
            texts={key for key in self._keys() if key not in derived},
            columns={key for key in self._keys() if key in derived},
        )

    def apply(self, pool: Pool, seed: int) -> None:
        """Takes rows out."""
        wanted = self._numbers(pool) if not self._keys() else self._matching(pool)
        rows = pool.rows()
        listed = np.zeros(len(pool.stage), bool)
        listed[wanted] = True
        where = "" if self.name is None else f" {self.name}"
        pool.drop(rows[~listed[rows]], self.code, f"it is not on the list{where}")

    def _numbers(self, pool: Pool) -> Rows:
        first = self.first or 0
        at = [item - first for item in self.items]
        outside = next((each for each in at if not 0 <= each < len(pool.stage)), None)
        if outside is not None:
            raise ConfigError(
                f"row {outside + first} is on the list, there are {len(pool.stage)} rows",
                field="rows",
                hint="give the data that the list was made for, whole and in its order",
            )
        return np.array(at, np.int64)

    def _matching(self, pool: Pool) -> Rows:
        """The first rows that say what is on the list, as often as it is there."""
        keys = self._keys()
        items = self.items
        if isinstance(items[0], dict):
            wanted = Counter(tuple(str(item.get(key)) for key in keys) for item in items)
        else:
            wanted = Counter((str(item),) for item in items)
        columns = [pool.texts(key, "rows.by") for key in keys]
        found = []
        for row, values in enumerate(zip(*columns, strict=True)):
            if wanted.get(values, 0) > 0:
                wanted[values] -= 1
                found.append(row)
        left = sum(wanted.values())
        if left:
            example = next(values for values, count in wanted.items() if count)
            raise ConfigError(
                f"{left} of {len(items)} on the list are no rows of the data, such as "
                f"{str(example[0])!r:.80}",
                field="rows",
                hint="give the data that the list was made for",
            )
        return np.array(found, np.int64)


def _load(path: Path) -> Any:  # noqa: ANN401 - JSON
    try:
        opener = gzip.open if path.suffix == ".gz" else Path.open
        with opener(path, "rt", encoding="utf-8") as file:
            text: str = file.read()
    except FileNotFoundError as error:
        raise SourceError("there is no such file", code="source.missing", path=str(path)) from error
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise SourceError(str(error), path=str(path)) from error
    name = path.name.removesuffix(".gz")
    if name.endswith(".txt"):
        return text.splitlines()
    try:
        return list(_lines(text)) if name.endswith(".jsonl") else json.loads(text)
    except json.JSONDecodeError as error:
        raise SourceError(
            f"the list is no JSON: {error}", code="source.corrupt", path=str(path)
        ) from error


def _lines(text: str) -> Iterator[Any]:
    for line in text.split("\n"):
        if line.strip():
            yield json.loads(line)
