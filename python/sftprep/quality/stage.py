"""Stages that decide in Python: columns of the rows as arrays, one decision per row back.

```python
from sftprep.quality.stage import Stage

stage = Stage("short", "chat.jsonl", derived=["answer_chars"])
short = stage["answer_chars"] < 2_000
report = stage.write(short, out="short.jsonl", codes=["select.bounds"], code=0)
```

Reading, the file of kept rows and the ledger are those of ``dedup``: rows are written byte for byte
as they were read, kept + dropped + rejected is the number of rows, and inputs must not change
between the reading and the writing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from sftprep import _core
from sftprep.quality.options import Field, Inputs, PathLike, RowOptions, source_of
from sftprep.quality.report import StageReport

Derived = Literal[
    "prompt_chars",
    "answer_chars",
    "prompt_text",
    "answer_text",
    "text",
    "turns",
    "row_hash",
    "json",
    "messages",
    "problem",
]
Column = NDArray[Any] | list[Any]

USABLE = 0
"""State of a row that fits its format."""
REJECTED = 1
"""State of a row that is no JSON object; it is never written."""
UNFIT = 2
"""State of a row that does not fit its format."""


class Decisions(TypedDict, total=False):
    """What else is decided, per row in the order of reading; a single value stands for all."""

    code: Any
    """Index into ``codes``; negative: no reason. Every row that goes has one."""
    detail: Sequence[str | None] | None
    """More about the reason."""
    partner_row: Any
    """Number (from 1) of the row because of which; negative: none."""
    score: Any
    """The number that decided; NaN: none."""
    order: Any
    """Position among the rows that are written; equal ones keep the order of reading."""
    part: Any
    """Which of several outputs."""
    line: Sequence[str | None] | None
    """JSON to be written instead of the row."""


_SINGLE = ("code", "partner_row", "score", "part")


class Stage:
    """The rows of inputs, read once, on which a stage decides.

    Attributes:
        name: Name of the stage.
        names: Names of the inputs.
        paths: Their paths.
        source: Per row the index of its input, int32.
        line: Per row its line there, from 1, int64.
        state: Per row ``USABLE``, ``REJECTED`` or ``UNFIT``, uint8.
        columns: The columns that were asked for, by path. Numbers (and flags, as 0 and 1) are
            float64 with NaN where there is none; lists of numbers of one length are float32 of
            two axes; anything else is a list of ``str``, ``float``, ``list`` or ``None``.
        texts: The columns that were asked for as texts.
        derived: What was worked out, of the same kinds.
    """

    def __init__(
        self,
        name: str,
        inputs: Inputs,
        *,
        columns: Sequence[str] = (),
        texts: Sequence[str] = (),
        derived: Sequence[Derived] = (),
        **options: Unpack[RowOptions],
    ) -> None:
        """Reads the rows.

        Args:
            name: Name of the stage, as its ledger and its report say it.
            inputs: One path or several; a mapping names them.
            columns: Dotted paths of columns, such as ``meta.score`` or ``messages.0.content``.
            texts: Paths that are read as texts whatever they hold (long numbers keep their digits).
            derived: What is worked out of each row; of a row that does not fit its format there is
                only ``row_hash``, ``json`` and ``problem``, the code of what is wrong with it.
            **options: How rows are read; ``overwrite`` is for ``write``.

        Raises:
            ConfigError: if an option is wrong.
            SourceError: if an input is missing, unreadable or damaged.
            RejectBudgetExceeded: if too many rows are no JSON objects.
        """
        source, rest = source_of(inputs, options)
        self._overwrite = rest.pop("overwrite", False)
        config = {"source": source, "columns": list(columns), "texts": list(texts)}
        config |= {"derived": list(derived), **rest}
        self._rows, read = _core.stage_columns(json.dumps(config))
        self.name = name
        self.names: list[str] = read["names"]
        self.paths: list[str] = read["paths"]
        self.source: NDArray[np.int32] = read["source"]
        self.line: NDArray[np.int64] = read["line"]
        self.state: NDArray[np.uint8] = read["state"]
        found = iter(read["columns"])
        self.columns: dict[str, Column] = {name: next(found) for name in columns}
        self.texts: dict[str, Column] = {name: next(found) for name in texts}
        self.derived: dict[str, Column] = {name: next(found) for name in derived}

    def __len__(self) -> int:
        """Number of rows, rejected ones included."""
        return len(self.state)

    def __getitem__(self, name: str) -> Column:
        """A column that was asked for, as such before as texts before what is worked out."""
        return (self.derived | self.texts | self.columns)[name]

    @property
    def row(self) -> NDArray[np.int64]:
        """Numbers of the rows, from 1 over all inputs."""
        return np.arange(1, len(self) + 1, dtype=np.int64)

    def write(
        self,
        times: Any,  # noqa: ANN401 - whatever numpy makes an array of
        *,
        out: PathLike | Mapping[str, PathLike] | None = None,
        parts: Sequence[str] = (),
        codes: Sequence[str] = (),
        dry_run: bool = False,
        method: str = "",
        field: Field = "all",
        facts: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        **decisions: Unpack[Decisions],
    ) -> StageReport:
        """Writes the rows that stay, and the ledger beside each output.

        Args:
            times: Per row how often it is written: 0 drops it. Rejected rows go in any case.
            out: File for the rows that stay, ``.jsonl``; or one per part, by name.
            parts: Names of the parts in a dry run, where ``out`` does not give them.
            codes: Reasons, by their names (``sftprep errors`` lists them).
            dry_run: Report, write nothing.
            method: How it was decided, in a word.
            field: What of a row the report's examples show.
            facts: What else goes into the report.
            options: The stage's options, for its ledger.
            **decisions: What else is decided.

        Raises:
            ConfigError: if a decision does not fit its row.
            SourceError: if an input changed since it was read.
            OutputError: if an output exists or cannot be written.
        """
        names, outs = list(parts), []
        if isinstance(out, Mapping):
            names, outs = list(out), list(out.values())
        elif out is not None:
            outs = [out]
        given: dict[str, Any] = {"times": np.asarray(times)}
        given |= decisions
        for name in _SINGLE:
            if name in given and np.ndim(given[name]) == 0 and given[name] is not None:
                given[name] = np.full(len(self), given[name])
        config = {
            "stage": self.name,
            "method": method,
            "outs": [os.fspath(each) for each in outs],
            "parts": names,
            "dry_run": dry_run,
            "overwrite": self._overwrite,
            "field": field,
            "codes": list(codes),
            "options": options,
        }
        report = _core.stage_write(self._rows, json.dumps(config), given)
        return StageReport.from_json(report, facts)
