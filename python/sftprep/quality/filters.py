"""Steps that look at each row alone, and the best of them: bounds, top, where, quality."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from sftprep.errors import ConfigError
from sftprep.quality.pool import Needs, Pool, is_none

Missing = Literal["drop", "keep"]

S1_RULES: tuple[dict[str, str], ...] = (
    {"name": "asymptote figure", "pattern": r"\[asy\]", "unless": "AIME"},
    {"name": "image", "pattern": r"!\[Image\]"},
    {"name": "numbered problem", "pattern": r"p[1-9][0-9]{0,2}\."},
    {"name": "bold number", "pattern": r"\*\*(?=.*\d)[^\s\]]*\*\*"},
)
"""Patterns of questions that s1 leaves out. The first that is found decides; one that has
``unless`` lets the row stay, whatever else is in it, where the row's source contains that word."""


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Rows whose score is inside of bounds; ``min`` and ``max`` belong to it, ``above`` not."""

    code: ClassVar[str] = "select.bounds"
    score: str
    min: float | None = None
    max: float | None = None
    above: float | None = None
    below: float | None = None
    missing: Missing = "drop"

    def __post_init__(self) -> None:
        """Checks that there is a bound."""
        if not self._bounds():
            raise ConfigError(
                "there is no bound", field="bounds", hint="give min, max, above or below"
            )

    def _bounds(self) -> list[tuple[str, float]]:
        given = [(name, getattr(self, name)) for name in ("min", "max", "above", "below")]
        return [(name, float(value)) for name, value in given if value is not None]

    def needs(self) -> Needs:
        """The columns of the score."""
        return Needs(formulas={self.score: "bounds.score"})

    def apply(self, pool: Pool, seed: int) -> None:
        """Takes rows out."""
        values = pool.formula(self.score, "bounds.score")
        rows = pool.drop_missing(self.score, values, pool.rows(), self.missing == "keep")
        for name, bound in self._bounds():
            mine = values[rows]
            inside = _COMPARED[name](mine, bound)
            out, far = rows[~inside], mine[~inside]
            details = (f"{self.score} is {value:g}, {name} {bound:g}" for value in far)
            pool.drop(out, self.code, details, score=far)
            rows = rows[inside]


_COMPARED: dict[str, Callable[[Any, Any], Any]] = {
    "min": lambda values, bound: values >= bound,
    "max": lambda values, bound: values <= bound,
    "above": lambda values, bound: values > bound,
    "below": lambda values, bound: values < bound,
}


@dataclass(frozen=True, kw_only=True)
class Top:
    """The rows with the highest score; of equal ones those that come first."""

    code: ClassVar[str] = "select.rank"
    score: str
    count: int | None = None
    share: float | None = None
    of: Literal["survivors", "rows"] = "survivors"
    lowest: bool = False
    missing: Missing = "drop"

    def __post_init__(self) -> None:
        """Checks that either a count or a share is there."""
        if (self.count is None) == (self.share is None):
            raise ConfigError("give either count or share", field="top")
        if self.share is not None and not 0 <= self.share <= 1:
            raise ConfigError(f"share is {self.share}, it must be 0 to 1", field="top.share")
        if self.count is not None and self.count < 0:
            raise ConfigError(f"count is {self.count}, it must be 0 or more", field="top.count")

    def needs(self) -> Needs:
        """The columns of the score."""
        return Needs(formulas={self.score: "top.score"})

    def apply(self, pool: Pool, seed: int) -> None:
        """Takes rows out."""
        values = pool.formula(self.score, "top.score")
        survivors = pool.rows()
        rows = pool.drop_missing(self.score, values, survivors, self.missing == "keep")
        whole = len(pool.stage) if self.of == "rows" else len(survivors)
        # a share of whole rows: 29 % of 100 is 29, whatever 0.29 * 100 is in binary
        count = self.count if self.share is None else math.floor(self.share * whole + 1e-9)
        assert count is not None
        keys = values[rows] if self.lowest else -values[rows]
        ranked = rows[np.argsort(keys, kind="stable")]
        out = ranked[count:]
        details = (
            f"place {count + 1 + at} of {len(ranked)} by {self.score}, {count} are taken"
            for at in range(len(out))
        )
        pool.drop(out, self.code, details, score=values[out])


@dataclass(frozen=True, kw_only=True)
class Complete:
    """Rows that have something in every column."""

    columns: tuple[str, ...]

    def needs(self) -> Needs:
        """The columns."""
        return Needs(columns=set(self.columns))

    def apply(self, pool: Pool, seed: int) -> None:
        """Takes rows out."""
        for name in self.columns:
            column = pool.column(name, "complete.columns")
            rows = pool.rows()
            has = [not is_none(column[row]) for row in rows.tolist()]
            pool.drop(rows[~np.array(has, bool)], "select.no_score", f"there is no {name}")


@dataclass(frozen=True, kw_only=True)
class Unsolved:
    """Rows that no grader model solves (the step `difficulty` of s1)."""

    code: ClassVar[str] = "select.solved"
    columns: tuple[str, ...] = ("solved_by_*",)
    missing: Missing = "drop"

    def needs(self) -> Needs:
        """The columns that say whether a model solves the row."""
        return Needs(columns=set(self.columns))

    def apply(self, pool: Pool, seed: int) -> None:
        """Takes rows out."""
        for name in self.columns:
            solved = pool.numbers(name, "unsolved.columns")
            rows = pool.drop_missing(name, solved, pool.rows(), self.missing == "keep")
            out = rows[solved[rows] > 0]
            pool.drop(out, self.code, f"{name} is true", score=solved[out])


@dataclass(frozen=True, kw_only=True)
class Quality:
    """Rows without patterns that good ones do not have; those of s1 unless others are given."""

    code: ClassVar[str] = "select.pattern"
    column: str = "prompt_text"
    rules: Sequence[Mapping[str, str]] | Literal["s1"] = "s1"
    source: str | None = None

    def __post_init__(self) -> None:
        """Checks the patterns."""
        rules = self._rules()
        if isinstance(rules, str) or not isinstance(rules, Sequence):
            raise ConfigError(
                f"rules is {rules!r:.60}", field="quality.rules", hint="s1, or a list"
            )
        for at, rule in enumerate(rules):
            field = f"quality.rules[{at}]"
            known = isinstance(rule, Mapping) and not set(rule) - {"name", "pattern", "unless"}
            if not known or "pattern" not in rule or not all(map(_is_text, rule.values())):
                raise ConfigError(
                    f"a rule is {rule!r:.60}",
                    field=field,
                    hint="give name, pattern and unless, all texts",
                )
            _check_pattern(rule["pattern"], field)

    def _rules(self) -> Sequence[Mapping[str, str]]:
        return S1_RULES if self.rules == "s1" else self.rules

    def needs(self) -> Needs:
        """The text, and the source that some rules except."""
        return Needs(columns={self.column, *([self.source] if self.source else [])})

    def apply(self, pool: Pool, seed: int) -> None:
        """Takes rows out."""
        texts = pool.texts(self.column, "quality.column")
        sources = pool.texts(self.source, "quality.source") if self.source else None
        rules = [(re.compile(rule["pattern"]), rule) for rule in self._rules()]
        out, details = [], []
        for row in pool.rows().tolist():
            found = _first(rules, texts[row] or "")
            if found is None:
                continue
            rule, text = found
            spared = rule.get("unless")
            if spared and sources and spared in (sources[row] or ""):
                continue
            out.append(row)
            details.append(f"{rule.get('name', rule['pattern'])}: {text!r:.80}")
        pool.drop(np.array(out, np.int64), self.code, details)


def _first(
    rules: list[tuple[re.Pattern[str], Mapping[str, str]]], text: str
) -> tuple[Mapping[str, str], str] | None:
    for pattern, rule in rules:
        match = pattern.search(text)
        if match is not None:
            return rule, match.group()
    return None


Condition = Mapping[str, Any]
_TESTS = ("is", "not", "min", "max", "above", "below", "contains", "matches")


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _check_pattern(pattern: object, field: str) -> None:
    try:
        re.compile(str(pattern))
    except (re.error, RecursionError, OverflowError) as error:
        raise ConfigError(f"{pattern!r:.60} is no pattern: {error}", field=field) from error


@dataclass(frozen=True, kw_only=True)
class Where:
    """Rows that meet conditions on columns: a value, a list of values, or tests."""

    code: ClassVar[str] = "select.where"
    columns: Condition

    def __post_init__(self) -> None:
        """Checks the tests."""
        check_condition(self.columns, "where.columns")

    def needs(self) -> Needs:
        """The columns."""
        return Needs(columns=set(self.columns))

    def apply(self, pool: Pool, seed: int) -> None:
        """Takes rows out."""
        for name, wanted in self.columns.items():
            rows = pool.rows()
            meets = met(pool, {name: wanted}, "where.columns")[rows]
            column = pool.column(name, "where.columns")
            out = rows[~meets]
            details = (f"{name} is {_shown(column[row])}" for row in out.tolist())
            pool.drop(out, self.code, details)


def check_condition(condition: object, field: str) -> None:
    """Whether a condition is one.

    Raises:
        ConfigError: if not.
    """
    if not isinstance(condition, Mapping) or not condition:
        raise ConfigError(
            f"a condition is {condition!r:.60}", field=field, hint='give {"column": value}'
        )
    for name, wanted in condition.items():
        for test, limit in wanted.items() if isinstance(wanted, Mapping) else ():
            place = f"{field}.{name}"
            if test not in _TESTS:
                raise ConfigError(
                    f"there is no test {test!r}", field=place, hint=f"tests are {', '.join(_TESTS)}"
                )
            number = isinstance(limit, int | float) and not isinstance(limit, bool)
            if test in _COMPARED and not number:
                raise ConfigError(f"{test} is {limit!r:.60}, it must be a number", field=place)
            if test in ("contains", "matches") and not isinstance(limit, str):
                raise ConfigError(f"{test} is {limit!r:.60}, it must be a text", field=place)
            if test == "matches":
                _check_pattern(limit, place)


def met(pool: Pool, condition: Condition, where: str) -> Any:  # noqa: ANN401 - an array of flags
    """Per row whether it meets all of a condition; what a row lacks, it does not meet."""
    whole = np.ones(len(pool.stage), bool)
    for name, wanted in condition.items():
        column = pool.column(name, where)
        if isinstance(column, np.ndarray) and column.ndim > 1:
            raise ConfigError(f"column {name!r} holds vectors", field=where)
        whole &= np.array([_meets(value, wanted) for value in column], bool)
    return whole


def _meets(value: Any, wanted: Any) -> bool:  # noqa: ANN401 - cells and JSON
    if is_none(value):
        return False
    if isinstance(wanted, Mapping):
        return all(_passes(value, test, limit) for test, limit in wanted.items())
    if isinstance(wanted, list | tuple):
        return any(_meets(value, each) for each in wanted)
    return bool(value == wanted)


def _passes(value: Any, test: str, limit: Any) -> bool:  # noqa: ANN401 - cells and JSON
    if test == "is":
        return _meets(value, limit)
    if test == "not":
        return not _meets(value, limit)
    if test in _COMPARED:
        return not isinstance(value, str | list) and bool(_COMPARED[test](value, limit))
    if test == "contains":
        return isinstance(value, str | list) and limit in value
    return isinstance(value, str) and re.search(limit, value) is not None


def _shown(value: Any) -> str:  # noqa: ANN401 - a cell
    return "missing" if is_none(value) else f"{value!r:.60}"
