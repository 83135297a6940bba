"""Plug-ins of this package around other people's: by name, where they are installed.

They get batches as mappings of lists, so they need no Arrow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sftprep.errors import ConfigError

NAMES = ("ftfy", "language", "sentence:FOLDER")
"""How they are called on the command line."""

Columns = Mapping[str, Sequence[Any]]
Hook = Callable[[Columns], Columns]


def find(name: str) -> Hook | None:
    """The hook of that name, if there is one.

    Raises:
        ConfigError: if the package behind it is not installed.
    """
    kind, _, argument = name.partition(":")
    try:
        if name == "ftfy":
            from sftprep.scores.hooks.mojibake import make as make_mojibake

            return make_mojibake()
        if name == "language":
            from sftprep.scores.hooks.language import make as make_language

            return make_language()
        if kind == "sentence" and argument:
            from sftprep.scores.hooks.sentence import make as make_sentence

            return make_sentence(argument)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"the plug-in {kind} needs {error.name}, which is not installed",
            field="--plugin",
            hint="pip install 'sftprep[quality-hooks]'",
        ) from error
    return None
