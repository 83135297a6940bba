"""What every look at rows takes: inputs and how they are read."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypedDict

from sftprep.config import Format

PathLike = str | os.PathLike[str]
Field = Literal["all", "prompt", "answer"]
Inputs = PathLike | Iterable[PathLike] | Mapping[str, PathLike]

_SOURCE = ("format", "map", "role", "tree", "limit", "max_reject_rate")


class RowOptions(TypedDict, total=False):
    """How a stage reads rows; ``sftprep dedup --help`` explains."""

    format: Format
    map: dict[str, str]
    role: dict[str, str]
    tree: dict[str, str]
    limit: int
    max_reject_rate: float
    threads: int
    overwrite: bool


def source_of(inputs: Inputs, options: RowOptions) -> tuple[dict[str, Any], dict[str, Any]]:
    """The section ``source`` of a configuration, and the options that are not part of it."""
    rest: dict[str, Any] = dict(options)
    source = {key: rest.pop(key) for key in _SOURCE if key in rest}
    return {"inputs": paths(inputs), **source}, rest


def paths(inputs: Inputs) -> list[str]:
    """Inputs as the core takes them: ``path`` or ``name=path``."""
    if isinstance(inputs, Mapping):
        return [f"{name}={os.fspath(path)}" for name, path in inputs.items()]
    if isinstance(inputs, str | os.PathLike):
        return [os.fspath(inputs)]
    return [os.fspath(path) for path in inputs]
