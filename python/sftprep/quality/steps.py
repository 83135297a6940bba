"""The grammar of `select`: steps as plain data, as the options of the command line write them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any, Protocol

from sftprep.errors import ConfigError
from sftprep.quality.closeness import FacilityLocation, Greedy, KMeans
from sftprep.quality.draws import Diversity
from sftprep.quality.filters import Bounds, Complete, Quality, Top, Unsolved, Where
from sftprep.quality.listed import Listed
from sftprep.quality.pool import Needs, Pool

StepData = str | Mapping[str, Any]


class Step(Protocol):
    """One step of a selection."""

    def needs(self) -> Needs:
        """What it reads of the rows."""

    def apply(self, pool: Pool, seed: int) -> None:
        """Takes rows out of the pool."""


KINDS: dict[str, type[Any]] = {
    "bounds": Bounds,
    "top": Top,
    "where": Where,
    "complete": Complete,
    "rows": Listed,
    "quality": Quality,
    "unsolved": Unsolved,
    "difficulty": Unsolved,
    "diversity": Diversity,
    "greedy": Greedy,
    "kmeans": KMeans,
    "facility_location": FacilityLocation,
}
"""Steps by name; ``difficulty`` is what s1 calls ``unsolved``."""

_LISTS = {"columns", "always"}
_MAPS = {"benchmarks", "weights"}
_TEXTS = {"score", "domain", "length", "sort", "source", "by", "name", "tags", "column", "metric"}
_CHOICES: dict[str, tuple[object, ...]] = {
    "missing": ("drop", "keep"),
    "of": ("survivors", "rows"),
    "lowest": (True, False),
}
_SEEDS = 2**32
_LARGEST = 2**53
_NUMBERS = {"min", "max", "above", "below", "share", "threshold", "pca"}
_WHOLE = {"count", "budget", "uniform", "first", "rounds", "per_cluster", "seed"}


def step_of(data: StepData, columns: Sequence[str] = ()) -> tuple[str, Step]:
    """Name and step that plain data describe.

    Args:
        data: A name; ``{"step": name, ...options}``; ``{name: {...options}}``; or bounds without
            a name. ``column`` may be written for ``score``.
        columns: Columns that rows have, for names with ``*``.

    Raises:
        ConfigError: if there is no such step, or an option is wrong.
    """
    name, options = _named(data)
    if name not in KINDS:
        raise ConfigError(
            f"there is no step {name!r}", field="steps", hint=f"steps are {', '.join(KINDS)}"
        )
    kind = KINDS[name]
    known = {each.name: each for each in fields(kind)}
    if "column" in options and "score" in known and "score" not in options:
        options["score"] = options.pop("column")
    options = {key: value for key, value in options.items() if value is not None}
    unknown = [key for key in options if key not in known]
    if unknown:
        raise ConfigError(
            f"step {name} has no option {unknown[0]!r}",
            field=f"{name}.{unknown[0]}",
            hint=f"it has {', '.join(known)}",
        )
    missing = [key for key, each in known.items() if each.default is MISSING and key not in options]
    if missing:
        raise ConfigError(f"step {name} needs {missing[0]}", field=f"{name}.{missing[0]}")
    for key, value in options.items():
        _check(name, key, value)
    if "columns" in known and kind is not Where:
        given = options.get("columns", known["columns"].default)
        options["columns"] = tuple(_expanded(name, given, columns))
    return name, kind(**options)


def _named(data: StepData) -> tuple[str, dict[str, Any]]:
    if isinstance(data, str):
        return data, {}
    if not isinstance(data, Mapping):
        raise ConfigError(
            f"a step is {data!r:.60}", field="steps", hint='write {"step": "top", "count": 1000}'
        )
    options = dict(data)
    if "step" in options:
        return str(options.pop("step")), options
    only = next(iter(options), None)
    if len(options) == 1 and only in KINDS and isinstance(options[only], Mapping):
        return only, dict(options[only])
    if options.keys() & {"min", "max", "above", "below"}:
        return "bounds", options
    raise ConfigError(
        f"step {dict(data)!r:.80} has no name", field="steps", hint='add "step": "top", say'
    )


def _check(name: str, key: str, value: object) -> None:
    """Whether an option is of its kind; what it must be beyond that, the step itself checks."""
    if name == "where" and key == "columns":
        return
    number = isinstance(value, int | float) and not isinstance(value, bool)
    whole = number and isinstance(value, int)
    wanted = None
    if key in _NUMBERS and not number:
        wanted = "a number"
    elif key in _WHOLE and not whole:
        wanted = "a whole number"
    elif key in _TEXTS and not isinstance(value, str):
        wanted = "a text"
    elif key in _LISTS and not isinstance(value, list | tuple | str):
        wanted = "a list"
    elif key in _MAPS and not isinstance(value, Mapping):
        wanted = "a mapping of names to numbers"
    elif isinstance(value, int | float) and not abs(value) < _LARGEST:
        wanted = "smaller"
    elif key in _CHOICES and value not in _CHOICES[key]:
        wanted = " or ".join(map(str, _CHOICES[key]))
    elif key == "columns" and not all(isinstance(each, str) for each in value):  # type: ignore[attr-defined]
        wanted = "a list of names"
    elif key == "seed" and not 0 <= int(str(value)) < _SEEDS:
        wanted = f"0 to {_SEEDS - 1}"
    if wanted:
        raise ConfigError(f"{key} is {value!r:.60}, it must be {wanted}", field=f"{name}.{key}")


def _expanded(name: str, given: str | Iterable[str], columns: Sequence[str]) -> list[str]:
    """Columns with names that end in ``*`` replaced by those that begin so."""
    found: list[str] = []
    for each in [given] if isinstance(given, str) else given:
        if not each.endswith("*"):
            found.append(each)
            continue
        like = [column for column in columns if column.startswith(each[:-1])]
        if not like:
            raise ConfigError(
                f"no column begins with {each[:-1]!r}",
                field=f"{name}.columns",
                hint=f"the rows have {', '.join(columns[:20])}",
            )
        found += like
    return found


def from_text(text: str) -> dict[str, Any]:
    """A step as the command line writes it: JSON, or ``NAME,key=value,...``.

    Raises:
        ConfigError: if it is neither.
    """
    if text.lstrip().startswith("{"):
        try:
            data = json.loads(text)
        except json.JSONDecodeError as error:
            raise ConfigError(f"{text!r:.80} is no JSON: {error}", field="step") from None
        if isinstance(data, dict):
            return data
    name, *pairs = _split(text)
    step: dict[str, Any] = {"step": name}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not (key and equals):
            raise ConfigError(
                f"{pair!r} in {text!r:.80} is not of the form key=value",
                field="step",
                hint="write NAME,key=value,key=value; lists as JSON",
            )
        step[key.strip()] = value_of(value.strip())
    return step


def value_of(text: str) -> Any:  # noqa: ANN401 - JSON
    """A value as the command line writes it: JSON where it is that, else a text."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _split(text: str) -> list[str]:
    """The parts between commas that are not inside of brackets or quotes."""
    parts, depth, quoted = [""], 0, False
    for char in text:
        quoted ^= char == '"'
        if not quoted:
            depth += (char in "[{(") - (char in "]})")
        if char == "," and depth == 0 and not quoted:
            parts.append("")
        else:
            parts[-1] += char
    return [part.strip() for part in parts]


def plain(data: StepData) -> Any:  # noqa: ANN401 - JSON
    """A step as it goes into the ledger: arrays and paths by what they are."""
    if isinstance(data, str):
        return data
    return {str(key): _plain(value) for key, value in data.items()}


def _plain(value: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, Mapping):
        return plain(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        long = 100
        if len(value) > long:
            return f"a list of {len(value)}"
        return [_plain(each) for each in value]
    shape = getattr(value, "shape", None)
    return str(value) if shape is None else f"an array of shape {tuple(shape)}"
