"""``split``: training, validation and test rows of which none nearly repeats one of another part.

```python
import sftprep

report = sftprep.split("chat.jsonl", out="parts/", val="2%", test="1%")
report.parts, report.facts["groups"]
```

Rows that say nearly the same (the exact join of ``dedup``), and rows of one conversation or one
source, form a group, with whatever is in a group with them. Groups go to a part as a whole. Which
ones follows from the seed and from what the rows say, not from their order.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from sftprep import _core
from sftprep.errors import ConfigError, OutputError
from sftprep.quality.options import Field, Inputs, PathLike, RowOptions, source_of
from sftprep.quality.report import StageReport, summary
from sftprep.quality.stage import REJECTED, Stage

GROUP_COLUMNS = ("conversation_id", "message_tree_id", "source_id")
"""Columns whose equal values keep rows together, where rows have them."""

_TRAIN = "train"


def split(
    inputs: Inputs,
    *,
    out: PathLike | None = None,
    val: str | float = "2%",
    test: str | float = 0,
    seed: int = 0,
    threshold: float = 0.7,
    common: int = 0,
    field: Field = "all",
    group_by: Sequence[str] = GROUP_COLUMNS,
    dry_run: bool = False,
    **options: Unpack[RowOptions],
) -> StageReport:
    """Splits rows so that no two similar ones are in different parts.

    Args:
        inputs: One path or several; a mapping names them. Standard input cannot be read twice.
        out: Folder for ``train.jsonl``, ``val.jsonl`` and ``test.jsonl``, each with its ledger.
        val: Share of the rows such as ``"2%"`` or ``0.02``, or a whole number of rows.
        test: The same for the test set; 0: there is none.
        seed: Which groups go where.
        threshold: Least Jaccard similarity over word 3-grams of rows of one group, 0.1 to 1.
        common: Above 0, rows that mostly share n-grams of more than so many distinct rows (a
            template) have to be similar without those too. Then parts may share templates.
        field: What is compared: the whole row, its prompt, or its answer.
        group_by: Columns whose equal values keep rows together.
        dry_run: Decide and report, write nothing.
        **options: How rows are read, and ``overwrite``.

    Returns:
        What went where; ``facts`` has ``groups``, ``largest`` (rows of the largest group),
        ``together`` (rows that are not alone in theirs), ``wanted`` (rows per part asked for) and
        ``by`` (rows that have each of the columns).

    Raises:
        ConfigError: if an option is wrong.
        SourceError: if an input is missing, unreadable, damaged, or changes meanwhile.
        OutputError: if an output exists or cannot be written.
        RejectBudgetExceeded: if too many rows are no JSON objects.
    """
    if out is None and not dry_run:
        raise ConfigError(
            "there is no --out for the parts", field="out", hint="add --out DIR, or --dry-run"
        )
    shares = {"val": _amount("val", val), "test": _amount("test", test)}
    stage = Stage("split", inputs, texts=list(group_by), derived=["row_hash"], **options)
    source, rest = source_of(inputs, options)
    config = {"source": source, "threshold": threshold, "field": field, "common": common}
    config |= {"threads": rest.get("threads", 0)}
    # a column that no row has is an array of nothing
    columns = {name: stage[name] for name in group_by if isinstance(stage[name], list)}
    groups = _united(
        _core.similar_groups(json.dumps(config)), [stage["row_hash"], *columns.values()]
    )
    usable = stage.state != REJECTED
    rows = int(usable.sum())
    wanted = {name: _rows(amount, rows) for name, amount in shares.items() if amount}
    if not wanted:
        raise ConfigError("nothing is held out", field="val", hint="give --val or --test")
    if sum(wanted.values()) >= rows:
        raise ConfigError(
            f"{' and '.join(wanted)} would take {sum(wanted.values()):,} of {rows:,} rows",
            field="val",
            hint="leave some for training",
        )
    part, facts = _assign(groups, usable, stage["row_hash"], wanted, seed)
    names = [_TRAIN, *wanted]
    facts["by"] = dict.fromkeys(group_by, 0)
    facts["by"] |= {name: sum(it is not None for it in each) for name, each in columns.items()}
    settings = {"val": str(val), "test": str(test), "seed": seed, "threshold": threshold}
    settings |= {"common": common, "field": field, "group_by": list(group_by)}
    written: dict[str, Any] = {"parts": names, "dry_run": dry_run, "facts": facts}
    written |= {"options": settings, "part": part.astype(np.int8)}
    if out is None or dry_run:
        return stage.write(np.ones(len(stage), np.int32), **written)
    made = _folder(Path(out))
    try:
        outs = {name: Path(out) / f"{name}.jsonl" for name in names}
        return stage.write(np.ones(len(stage), np.int32), out=outs, **written)
    except BaseException:
        if made and not any(made.iterdir()):
            made.rmdir()
        raise


def _amount(name: str, value: str | float) -> float | int:
    """A share below 1, or a number of rows.

    Raises:
        ConfigError: if it is neither.
    """
    text = str(value).strip()
    try:
        number = float(text.removesuffix("%").replace("_", ""))
    except ValueError:
        number = -1.0
    if text.endswith("%"):
        number /= 100
        good = 0 <= number < 1
    elif number >= 1:
        good = number == int(number)
        number = int(number)
    else:
        good = number >= 0
    if not good:
        raise ConfigError(
            f"{name} is {value!r}",
            field=name,
            hint="give a share such as 2% or 0.02, or a whole number of rows",
        )
    return number


def _rows(amount: float | int, rows: int) -> int:
    return amount if isinstance(amount, int) else round(amount * rows)


def _united(groups: NDArray[np.int64], columns: Iterable[Any]) -> NDArray[np.int64]:
    """Groups with those of equal values in a column made one; the first row names a group."""
    parents = groups.tolist()

    def find(at: int) -> int:
        while parents[at] != at:
            parents[at] = parents[parents[at]]
            at = parents[at]
        return at

    for column in columns:
        first: dict[Any, int] = {}
        for at, value in enumerate(column):
            if value is None:
                continue
            a, b = find(first.setdefault(value, at)), find(at)
            parents[max(a, b)] = min(a, b)
    return np.array([find(at) for at in range(len(parents))], np.int64)


def _assign(
    groups: NDArray[np.int64],
    usable: NDArray[np.bool_],
    hashes: Any,  # noqa: ANN401 - a list of texts
    wanted: dict[str, int],
    seed: int,
) -> tuple[NDArray[np.int64], dict[str, Any]]:
    """The part of every row: 0 for training, then those that are wanted."""
    sizes: dict[int, int] = {}
    names: dict[int, str] = {}
    for at, group in enumerate(groups.tolist()):
        if usable[at]:
            sizes[group] = sizes.get(group, 0) + 1
            names[group] = min(names.get(group, hashes[at]), hashes[at])

    def place(group: int) -> bytes:
        return hashlib.blake2b(f"split {seed} {names[group]}".encode(), digest_size=16).digest()

    left = dict(wanted)
    chosen: dict[int, int] = {}
    order = sorted(sizes, key=place)
    numbers = {name: at for at, name in enumerate(wanted, 1)}
    for group in order:
        for name, number in numbers.items():
            if sizes[group] <= left[name]:
                chosen[group] = number
                left[name] -= sizes[group]
                break
    for name, number in numbers.items():
        # where only larger groups are left, one that overshoots by less than what is missing
        free = [group for group in order if group not in chosen and sizes[group] < 2 * left[name]]
        if left[name] and free:
            best = min(free, key=lambda group: sizes[group])
            chosen[best] = number
    part = np.array([chosen.get(group, 0) for group in groups.tolist()], np.int64)
    facts = {
        "groups": len(sizes),
        "largest": max(sizes.values(), default=0),
        "together": sum(size for size in sizes.values() if size > 1),
        "wanted": dict(wanted),
    }
    return part, facts


def _folder(path: Path) -> Path | None:
    """Makes the folder of the parts; returns it if it was not there."""
    if path.is_dir():
        return None
    try:
        path.mkdir(parents=True)
    except OSError as error:
        raise OutputError(
            f"the folder cannot be made: {error.strerror}", code="output.io", path=os.fspath(path)
        ) from error
    return path


def split_summary(report: StageReport) -> list[str]:
    """The report for people."""
    facts = report.facts
    lines = summary(report)
    told = [
        f"{facts['groups']:,} groups, the largest of {facts['largest']:,} rows; "
        f"{facts['together']:,} rows are not alone in theirs"
    ]
    for part in report.parts:
        wanted = facts["wanted"].get(part["name"])
        asked = "" if wanted is None else f" of {wanted:,} asked for"
        told.append(f"    {part['name']:<26}{part['rows']:>12,}{asked}")
    return [*lines[:-1], *told, "", lines[-1]]
