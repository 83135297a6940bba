"""Recipes of ``sftprep prep``: which stages run on which rows, with which options.

A recipe is TOML (or YAML, with PyYAML): a table per stage, whose keys are the options of that
stage's own verb. Stages run in one order, whatever the order of the tables.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from sftprep.config import read_file
from sftprep.errors import ConfigError, SourceError

STAGES = ("clean", "dedup", "decontaminate", "select", "mix", "split", "pack")
"""Stages in the order in which they run."""

_OPTIONS: dict[str, tuple[str, ...]] = {
    "rows": ("format", "map", "role", "limit", "max_reject_rate", "threads"),
    "dedup": ("threshold", "field", "keep", "exact_only", "common", "method"),
    "decontaminate": (
        "against",
        "containment",
        "ngram",
        "common",
        "field",
        "against_field",
        "against_format",
        "against_map",
    ),
    "select": ("steps", "scores", "seed", "domain"),
    "mix": ("weights", "unit", "budget", "cap_per_source", "repeat_max", "seed", "shuffle"),
    "split": ("val", "test", "seed", "threshold", "common", "field", "group_by"),
}
_NEEDED = {"decontaminate": "against", "select": "steps", "mix": "weights", "pack": "tokenizer"}
_TOP = ("inputs", "out", "rows", "keep_stages", *STAGES)
_NAME = re.compile(r"[\w.-]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """What ``prep`` does."""

    inputs: dict[str, str]
    """Inputs by name."""
    out: str | None = None
    """Output folder."""
    rows: dict[str, Any] = field(default_factory=dict)
    """How rows are read."""
    stages: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Stages that run, in order, with their options."""
    keep_stages: bool = True
    """Keep the rows between the stages."""

    @property
    def digest(self) -> str:
        """Hash of what decides about rows: all but the output folder."""
        text = json.dumps([self.inputs, self.rows, self.stages], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def to_dict(self) -> dict[str, Any]:
        """The recipe as plain data."""
        top = {"inputs": self.inputs, "rows": self.rows, "keep_stages": self.keep_stages}
        return {**top, **self.stages}


def read_recipe(recipe: Mapping[str, Any] | str | Path) -> Recipe:
    """Reads and checks a recipe.

    Raises:
        SourceError: if the file cannot be read.
        ConfigError: if it is no recipe; the error names the place.
    """
    if isinstance(recipe, Mapping):
        return _checked(dict(recipe), None)
    path = Path(recipe)
    data = _yaml(path) if path.suffix in (".yaml", ".yml") else read_file(path)
    return _checked(data, str(path))


def _yaml(path: Path) -> dict[str, Any]:
    try:
        yaml = import_module("yaml")
    except ImportError:
        raise ConfigError(
            "a recipe in YAML needs PyYAML, which is not installed",
            path=str(path),
            hint="pip install pyyaml, or write the recipe as TOML",
        ) from None
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SourceError(
            f"the recipe cannot be read: {error.strerror}", code="source.missing", path=str(path)
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"the recipe is not YAML: {error}", path=str(path)) from error
    if not isinstance(data, dict):
        raise ConfigError("the recipe is no table of stages", path=str(path))
    return data


def _checked(data: dict[str, Any], path: str | None) -> Recipe:
    for name in data:
        _known(name, _TOP, "", path)
    tables: dict[str, dict[str, Any]] = {}
    for name in ("rows", *STAGES):
        value = data.get(name)
        if value is None:
            continue
        if name == "select" and isinstance(value, list):
            value = {"steps": value}
        if not isinstance(value, Mapping):
            raise _wrong(name, f"{name} is {value!r}, it must be a table of options", path)
        for option in value:
            if name in _OPTIONS:
                _known(option, _OPTIONS[name], f"{name}.", path)
        needed = _NEEDED.get(name)
        if needed and not value.get(needed):
            raise _wrong(f"{name}.{needed}", f"the stage {name} has no {needed}", path)
        tables[name] = dict(value)
    rows = tables.pop("rows", {})
    if not tables:
        raise _wrong("stages", f"the recipe has no stage; known: {', '.join(STAGES)}", path)
    out = data.get("out")
    if out is not None and not isinstance(out, str):
        raise _wrong("out", f"out is {out!r}, it must be a folder", path)
    keep = data.get("keep_stages", True)
    if not isinstance(keep, bool):
        raise _wrong("keep_stages", f"keep_stages is {keep!r}, it must be true or false", path)
    inputs = _inputs(data.get("inputs"), path)
    weights = tables.get("mix", {}).get("weights", {})
    if weights and (not isinstance(weights, Mapping) or set(weights) != set(inputs)):
        named = ", ".join(weights) if isinstance(weights, Mapping) else repr(weights)
        raise _wrong(
            "mix.weights", f"weights are for {named}; the inputs are {', '.join(inputs)}", path
        )
    stages = {name: tables[name] for name in STAGES if name in tables}
    return Recipe(inputs=inputs, out=out, rows=rows, stages=stages, keep_stages=keep)


def _inputs(given: Any, path: str | None) -> dict[str, str]:  # noqa: ANN401 - whatever is there
    if isinstance(given, str):
        given = [given]
    if isinstance(given, list) and all(isinstance(each, str) for each in given):
        named: dict[str, str] = {}
        for each in given:
            name, equals, rest = each.partition("=")
            if not (equals and _NAME.fullmatch(name)) or Path(each).exists():
                name, rest = re.sub(r"[^\w.-]", "_", Path(each).name.split(".")[0]), each
            if name in named:
                raise _wrong("inputs", f"two inputs are named {name}; write name=path", path)
            named[name] = rest
        given = named
    if not isinstance(given, Mapping) or not given:
        raise _wrong("inputs", "the recipe has no inputs, such as [inputs] chat = 'x.jsonl'", path)
    for name, place in given.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name) or not isinstance(place, str):
            raise _wrong(
                "inputs", f"{name!r} = {place!r} is no input: give a name and a path", path
            )
    return {name: str(place) for name, place in given.items()}


def _known(name: object, known: tuple[str, ...], prefix: str, path: str | None) -> None:
    if name in known:
        return
    close = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    guess = f"did you mean {prefix}{close[0]}? " if close else ""
    raise ConfigError(
        f"there is no option {prefix}{name}",
        code="config.unknown",
        path=path,
        field=f"{prefix}{name}",
        hint=f"{guess}known: {', '.join(known)}",
    )


def _wrong(place: str, message: str, path: str | None) -> ConfigError:
    hint = "`sftprep prep --help` shows a recipe"
    return ConfigError(message, path=path, field=place, hint=hint)
