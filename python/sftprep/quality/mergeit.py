"""``mergeit``: rows that ask for like things are merged in pairs by a model of yours (MergeIT).

```python
from sftprep.quality.mergeit import mergeit

report = mergeit(
    "chosen.jsonl", embeddings=vectors, clusters=clusters, merge=ask, score=judge, out="new.jsonl"
)
```

Pairs are made within clusters of rows, from any embedding. Merging is a function from two rows to
one; its row is taken if it scores better than the two do on average, within a few tries, or else
both rows stay. The ledger names for every row of a pair the other one, and what became of them.
No weights are merged: the paper's name is often taken for that.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sftprep.errors import ConfigError
from sftprep.quality.options import Inputs, PathLike, RowOptions
from sftprep.quality.report import StageReport
from sftprep.quality.stage import USABLE, Stage

Merge = Callable[[dict[str, Any], dict[str, Any]], Mapping[str, Any]]
Score = Callable[[Mapping[str, Any]], float]

_MADE, _USED, _FAILED = range(3)
_CODES = ("quality.merged", "quality.merged_away", "quality.not_merged")
_AXES = 2


def mergeit(
    inputs: Inputs,
    *,
    embeddings: ArrayLike,
    clusters: ArrayLike,
    merge: Merge,
    score: Score | None = None,
    threshold: float = 0.55,
    tries: int = 3,
    out: PathLike | None = None,
    dry_run: bool = False,
    **options: Unpack[RowOptions],
) -> StageReport:
    """Merges pairs of like rows.

    Args:
        inputs: One path or several, of the rows that a selection kept.
        embeddings: A vector per row, ``(rows, size)``.
        clusters: A number per row; only rows of one cluster are paired. Negative: of none.
        merge: Makes one row of two. It may raise, or give back something else than an object with
            text: that counts as a try.
        score: How good a row is. The merged row has to be better than the mean of the two; without
            it any row that ``merge`` makes is taken.
        threshold: Least cosine of a pair, exclusive.
        tries: How often ``merge`` is called for a pair.
        out: File for the rows, ``.jsonl``; the ledger goes beside it.
        dry_run: Make pairs and merge them, write nothing.
        **options: How rows are read, and ``overwrite``.

    Returns:
        Rows that stay: the first of a merged pair, as the merged row (``quality.merged``), rows
        whose pair failed (``quality.not_merged``) and all others. The second row of a merged pair
        is dropped (``quality.merged_away``).

    Raises:
        ConfigError: if an array does not fit the rows, or an option is wrong.
        SourceError: if an input is missing, unreadable, damaged, or changes meanwhile.
        OutputError: if the output exists or cannot be written.
    """
    if tries < 1:
        raise ConfigError(f"tries is {tries}, it must be 1 or more", field="tries")
    stage = Stage("mergeit", inputs, derived=["json"], **options)
    count = len(stage)
    vectors = _vectors(embeddings, count)
    groups = np.asarray(clusters)
    if groups.shape != (count,) or not np.issubdtype(groups.dtype, np.integer):
        raise ConfigError(
            f"clusters is {groups.dtype} of shape {groups.shape}, it must be whole numbers of "
            f"shape ({count},)",
            field="clusters",
        )
    groups = np.where(stage.state == USABLE, groups, -1)
    times = np.ones(count, np.int32)
    code, partner = np.full(count, -1), np.full(count, -1)
    detail: list[str | None] = [None] * count
    lines: list[str | None] = [None] * count
    for first, second in pairs(vectors, groups, threshold):
        rows = [json.loads(str(stage["json"][at])) for at in (first, second)]
        made, why = _merged(rows, merge, score, tries)
        partner[first], partner[second] = second + 1, first + 1
        detail[first] = detail[second] = why
        if made is None:
            code[[first, second]] = _FAILED
            continue
        lines[first] = made
        code[first], code[second], times[second] = _MADE, _USED, 0
    return stage.write(
        times,
        out=out,
        dry_run=dry_run,
        codes=_CODES,
        code=code,
        partner_row=partner,
        detail=detail,
        line=lines,
        options={"threshold": threshold, "tries": tries},
    )


def pairs(
    embeddings: ArrayLike, clusters: ArrayLike, threshold: float = 0.55
) -> list[tuple[int, int]]:
    """Pairs of rows of one cluster whose cosine is above ``threshold``.

    Rows are taken in their order; each is paired with the first one behind it that is like it and
    in no pair yet.
    """
    vectors = _vectors(embeddings, len(np.asarray(embeddings)))
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.where(norms > 0, norms, 1)
    groups = np.asarray(clusters)
    found = []
    for group in np.unique(groups[groups >= 0]):
        members = np.flatnonzero(groups == group)
        free = np.ones(len(members), bool)
        for at, row in enumerate(members):
            if not free[at]:
                continue
            free[at] = False
            like = (unit[members[at + 1 :]] @ unit[row] > threshold) & free[at + 1 :]
            if like.any():
                other = at + 1 + int(like.argmax())
                free[other] = False
                found.append((int(row), int(members[other])))
    return sorted(found)


def _vectors(embeddings: ArrayLike, count: int) -> NDArray[np.float64]:
    vectors = np.asarray(embeddings, np.float64)
    if vectors.ndim != _AXES or len(vectors) != count or not vectors.size:
        raise ConfigError(
            f"embeddings has the shape {vectors.shape}, there are {count} rows",
            field="embeddings",
            hint="give one vector per row, in the order of the rows",
        )
    if not np.isfinite(vectors).all():
        row = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0]) + 1
        raise ConfigError(f"the embedding of row {row} is not finite", field="embeddings")
    return vectors


def _merged(
    rows: list[dict[str, Any]], merge: Merge, score: Score | None, tries: int
) -> tuple[str | None, str]:
    """The merged row as a line of JSON, or none, and what is to be said of it."""
    bar = None if score is None else sum(score(row) for row in rows) / len(rows)
    why = ""
    for attempt in range(1, tries + 1):
        try:
            made = dict(merge(*(json.loads(json.dumps(row)) for row in rows)))
            line = json.dumps(made, ensure_ascii=False, allow_nan=False)
        except Exception as error:  # whatever a model's client raises is a failed try
            why = f"{type(error).__name__}: {error}"
            continue
        if not made:
            why = "an empty row"
            continue
        if score is None or bar is None:
            return line, f"merged in try {attempt}"
        value = score(made)
        if value > bar:
            return line, f"merged in try {attempt}: {value:.3f}, the two have {bar:.3f}"
        why = f"{value:.3f} is not above {bar:.3f}, the mean of the two"
    return None, f"not merged in {tries} tries; the last: {why}"
