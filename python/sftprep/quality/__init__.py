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
Method = Literal["auto", "exact", "sketch", "rouge-l"]

__all__ = ["Field", "Keep", "Method", "StageReport", "decontaminate", "dedup", "summary", "trees"]


def dedup(
    inputs: Inputs,
    *,
    out: PathLike | None = None,
    threshold: float | None = None,
    field: Field = "all",
    keep: Keep | None = None,
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

    With ``method="rouge-l"`` rows are taken in their order, and one stays iff its F1 of ROUGE-L
    with every row that stayed before is at most ``threshold``: the rule of Alpaca's instructions.

    Args:
        inputs: One path or several; a mapping names them. Standard input cannot be read twice.
        out: File for the rows that stay, ``.jsonl``; the ledger goes beside it.
        threshold: Least similarity of near-duplicates, 0.1 to 1 (0.8 unless given); for ROUGE-L the
            F1 that no two kept rows exceed (0.7 unless given).
        field: What is compared: the whole row, its prompt, or its answer.
        keep: The longest row (the result does not depend on the order of rows) unless given, or the
            first; by ROUGE-L always the first.
        exact_only: Only rows that are equal but for case, white space and quotes.
        common: N-grams of more than so many distinct rows count as template; 0: none does.
        method: ``exact`` finds all; ``sketch`` uses MinHash with exact verification, 200 bytes per
            row; ``auto`` is exact up to 256 million n-grams; ``rouge-l`` is another comparison.
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


def trees(
    inputs: Inputs,
    *,
    out: PathLike | None = None,
    hold: int = 256 << 20,
    dry_run: bool = False,
    **options: Unpack[RowOptions],
) -> StageReport:
    """Puts messages of an Open-Assistant export that has one per row together to trees.

    A tree is a row of the format ``oasst``. A message whose parent is not there has no place in a
    tree; it is rejected with the reason.

    Args:
        inputs: One path or several; rows with ``message_id``, ``parent_id``, ``text`` and ``role``,
            and ``message_tree_id`` unless every parent comes before its replies.
        out: File for the trees, ``.jsonl``; the ledger, with a line per message, goes beside it.
        hold: Bytes of messages held at most. Beyond, the tree that was added to the longest ago is
            written.
        dry_run: Count and report, write nothing.
        **options: How rows are read, and ``overwrite``.

    Returns:
        Messages that are part of a tree, and those that are not and why.

    Raises:
        ConfigError: if an option is wrong.
        SourceError: if an input is missing, unreadable or damaged.
        FormatError: if a message comes after its tree was written.
        OutputError: if the output exists or cannot be written.
        RejectBudgetExceeded: if too many messages are part of no tree.
    """
    config = _config(inputs, out, dry_run, options) | {"hold": hold}
    return StageReport.from_json(_core.trees(json.dumps(config)))


def _config(
    inputs: Inputs, out: PathLike | None, dry_run: bool, options: RowOptions
) -> dict[str, Any]:
    source, rest = source_of(inputs, options)
    path = None if out is None else os.fspath(out)
    return {"source": source, "out": path, "dry_run": dry_run, **rest}
