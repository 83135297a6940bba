"""Which rows go on: duplicates, leaked test items; stages with a ledger in which nothing vanishes.

```python
import sftprep

report = sftprep.dedup("chat.jsonl", out="clean.jsonl", threshold=0.8)
report.kept, report.dropped, report.examples[0]["partner_line"]
```
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, Literal, Unpack

from sftprep import _core
from sftprep.config import Format
from sftprep.quality.options import Field, Inputs, PathLike, RowOptions, paths, source_of
from sftprep.quality.report import StageReport, summary

Keep = Literal["longest", "first"]
Method = Literal["auto", "exact", "sketch"]

__all__ = ["Field", "Keep", "Method", "StageReport", "decontaminate", "dedup", "summary"]


def dedup(
    inputs: Inputs,
    *,
    out: PathLike | None = None,
    threshold: float = 0.8,
    field: Field = "all",
    keep: Keep = "longest",
    exact_only: bool = False,
    common: int = 50,
    method: Method = "auto",
    dry_run: bool = False,
    **options: Unpack[RowOptions],
) -> StageReport:
    """Keeps one of the rows that say the same, and names it for every row that goes.

    Rows are compared by the Jaccard similarity of their sets of word 3-grams. A row goes only if
    it reaches ``threshold`` with a row that stays. Where most of what two rows share is in more
    than ``common`` rows (a template), the rest of them has to reach it as well.

    Args:
        inputs: One path or several; a mapping names them. Standard input cannot be read twice.
        out: File for the rows that stay, ``.jsonl``; the ledger goes beside it.
        threshold: Least similarity of near-duplicates, 0.1 to 1.
        field: What is compared: the whole row, its prompt, or its answer.
        keep: The longest row (the result does not depend on the order of rows), or the first.
        exact_only: Only rows that are equal but for case, white space and quotes.
        common: N-grams of more than so many distinct rows count as template; 0: none does.
        method: ``exact`` finds all; ``sketch`` uses MinHash with exact verification, 200 bytes per
            row; ``auto`` is exact up to 256 million n-grams.
        dry_run: Decide and report, write nothing.
        **options: How rows are read, and ``overwrite``.

    Returns:
        What stays, what goes and why.

    Raises:
        ConfigError: if an option is wrong.
        SourceError: if an input is missing, unreadable, damaged, or changes meanwhile.
        OutputError: if the output exists or cannot be written.
        RejectBudgetExceeded: if too many rows are no JSON objects.
    """
    config = _config(inputs, out, dry_run, options)
    config |= {"threshold": threshold, "field": field, "keep": keep, "exact_only": exact_only}
    config |= {"common": common, "method": method}
    return StageReport.from_json(_core.dedup(json.dumps(config)))


def decontaminate(
    inputs: Inputs,
    *,
    against: Inputs,
    out: PathLike | None = None,
    containment: float = 0.5,
    ngram: int = 5,
    common: int = 50,
    field: Field = "all",
    against_field: Field = "prompt",
    against_format: Format = "auto",
    against_map: Mapping[str, str] | None = None,
    dry_run: bool = False,
    **options: Unpack[RowOptions],
) -> StageReport:
    """Leaves out rows that contain an item of a test set, and says which item and where.

    A row goes if it has at least ``containment`` of an item's word n-grams. N-grams of more than
    ``common`` rows (instructions, boilerplate) do not count.

    Args:
        inputs: One path or several; a mapping names them. Standard input cannot be read twice.
        against: Test sets, in any format that inputs may have.
        out: File for the rows that stay, ``.jsonl``; the ledger goes beside it.
        containment: Least share of an item's n-grams, 0 to 1. At least three n-grams have to be
            shared whatever it is, or all that the item has.
        ngram: Words of an n-gram. A shorter item is found only where it makes up a line.
        common: N-grams of more than so many rows do not count; 0: all count.
        field: What of a row is searched.
        against_field: What of a test row is searched for: its prompt, its answer, or both.
        against_format: Format of the test sets.
        against_map: Column mapping of the test sets, such as ``{"text": "question"}``.
        dry_run: Decide and report, write nothing.
        **options: How rows are read, and ``overwrite``.

    Returns:
        What stays, what goes and why; a partner is a row of a test set.

    Raises:
        ConfigError: if an option is wrong.
        SourceError: if a file is missing, unreadable, damaged, or changes meanwhile.
        FormatError: if a row of a test set cannot be read.
        OutputError: if the output exists or cannot be written.
        RejectBudgetExceeded: if too many rows are no JSON objects.
    """
    config = _config(inputs, out, dry_run, options)
    config |= {"against": paths(against), "against_field": against_field}
    config |= {"against_format": against_format, "against_map": dict(against_map or {})}
    config |= {"containment": containment, "ngram": ngram, "common": common, "field": field}
    return StageReport.from_json(_core.decontaminate(json.dumps(config)))


def _config(
    inputs: Inputs, out: PathLike | None, dry_run: bool, options: RowOptions
) -> dict[str, Any]:
    source, rest = source_of(inputs, options)
    path = None if out is None else os.fspath(out)
    return {"source": source, "out": path, "dry_run": dry_run, **rest}
