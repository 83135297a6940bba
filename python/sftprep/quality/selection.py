"""``select``: the rows worth training on, step by step, with a reason for every one that goes.

```python
import sftprep

report = sftprep.select(
    "chat.jsonl",
    [{"score": "quality", "min": 4.5}, {"step": "top", "score": "ifd", "share": 0.1}],
    out="best.jsonl",
)
report.facts["funnel"]
```
"""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Unpack

import numpy as np

from sftprep.errors import ConfigError
from sftprep.quality.draws import Diversity
from sftprep.quality.options import Inputs, PathLike, RowOptions
from sftprep.quality.pool import Needs, Pool, Scores, derived_of, names_of
from sftprep.quality.report import StageReport, summary
from sftprep.quality.stage import Stage
from sftprep.quality.steps import Step, StepData, plain, step_of

_PEEK = 100
_SEEDS = 2**32


def select(
    inputs: Inputs,
    steps: StepData | Sequence[StepData],
    *,
    out: PathLike | None = None,
    scores: PathLike | None = None,
    seed: int = 0,
    domain: str | None = None,
    dry_run: bool = False,
    **options: Unpack[RowOptions],
) -> StageReport:
    """Takes rows out step by step; what is left stays in the order of reading.

    Args:
        inputs: One path or several; a mapping names them. Standard input cannot be read twice.
        steps: What is done, in order; ``sftprep select --help`` lists the steps.
        out: File for the rows that stay, ``.jsonl``; the ledger goes beside it.
        scores: File that ``sftprep score`` wrote for these rows. Its columns come before those of
            the rows; each row is known by its number and its content.
        seed: Seed of the steps that draw and have none of their own.
        domain: Column whose spread the funnel shows.
        dry_run: Decide and report, write nothing.
        **options: How rows are read, and ``overwrite``.

    Returns:
        What stays, what goes and why. ``facts["funnel"]`` has per step ``step, before, after,
        dropped, mean_length, domain_entropy`` (bits), beginning with the rows as they are.

    Raises:
        ConfigError: if a step is wrong, or names a column that no row has.
        SourceError: if a file is missing, unreadable, damaged, of other rows, or changes meanwhile.
        OutputError: if the output exists or cannot be written.
        RejectBudgetExceeded: if too many rows are no JSON objects.
    """
    given = [steps] if isinstance(steps, str | Mapping) else list(steps)
    if not given:
        raise ConfigError("there is no step", field="steps", hint='add {"step": "top", ...}')
    if not 0 <= seed < _SEEDS:
        raise ConfigError(f"seed is {seed}, it must be 0 to {_SEEDS - 1}", field="seed")
    columns = _columns(inputs, options)
    named = [step_of(each, columns) for each in given]
    diversity = next((step for _, step in named if isinstance(step, Diversity)), None)
    domain = domain or (diversity.domain if diversity else None)
    needs = Needs(texts={domain} if domain else set())
    for _, step in named:
        needs.add(step.needs())
    names = names_of(needs)
    derived = derived_of([*names, "answer_chars", *(["row_hash"] if scores is not None else [])])
    stage = Stage(
        "select",
        inputs,
        columns=names,
        texts=sorted(needs.texts),
        derived=sorted(derived),
        **options,
    )
    found = None if scores is None else Scores(scores, sorted({*names, *needs.texts}), stage)
    pool = Pool(stage, found, columns, options.get("threads", 0))
    funnel = _funnel(pool, named, seed, domain, diversity.length if diversity else None)
    return stage.write(
        pool.alive,
        out=out,
        codes=pool.codes,
        code=pool.code,
        detail=pool.detail,
        partner_row=pool.partner,
        score=pool.score,
        dry_run=dry_run,
        facts={"funnel": funnel, "seed": seed},
        options={
            "steps": [plain(each) for each in given],
            "scores": None if scores is None else os.fspath(scores),
            "seed": seed,
        },
    )


def _columns(inputs: Inputs, options: RowOptions) -> list[str]:
    """Names of the columns of the first rows."""
    peek: RowOptions = {**options, "limit": _PEEK, "max_reject_rate": 1.0}
    rows = Stage("select", inputs, derived=["json"], **peek)
    names: dict[str, None] = {}
    for text in rows.derived["json"]:
        names |= dict.fromkeys(json.loads(text) if text else ())
    return list(names)


def _funnel(
    pool: Pool,
    named: Sequence[tuple[str, Step]],
    seed: int,
    domain: str | None,
    length: str | None,
) -> list[dict[str, Any]]:
    """Takes the steps, and measures what is left after each."""
    lengths = np.asarray(pool.stage.derived["answer_chars"])
    if length is not None:
        lengths = pool.numbers(length, "diversity.length")
    domains = None if domain is None else pool.texts(domain, "domain")

    def measured(name: str, before: int, dropped: dict[str, int]) -> dict[str, Any]:
        rows = pool.rows()
        mine = lengths[rows]
        known = mine[~np.isnan(mine)]
        return {
            "step": name,
            "before": before,
            "after": len(rows),
            "dropped": dropped,
            "mean_length": float(known.mean()) if len(known) else None,
            "domain_entropy": None if domains is None else _entropy([domains[at] for at in rows]),
        }

    funnel = [measured("read", len(pool.stage), {})]
    for name, step in named:
        rows = pool.rows()
        pool.notes = {}
        step.apply(pool, seed)
        gone = rows[~pool.alive[rows]]
        dropped = Counter(pool.codes[code] for code in pool.code[gone])
        funnel.append(measured(name, len(rows), dict(dropped)) | pool.notes)
    return funnel


def _entropy(values: Sequence[str | None]) -> float:
    """Bits of the distribution of values."""
    counts = np.array(list(Counter(values).values()), float)
    shares = counts / counts.sum() if len(counts) else counts
    return max(0.0, -float(sum(share * math.log2(share) for share in shares)))


def select_summary(report: StageReport) -> list[str]:
    """The report for people, with the funnel."""
    funnel = report.facts["funnel"]
    wide = max(len(each["step"]) for each in funnel) + 2
    entropy = any(each["domain_entropy"] is not None for each in funnel)
    head = f"{'step':<{wide}}{'rows':>12}{'share':>9}{'mean length':>14}"
    lines = [head + ("   domain entropy" if entropy else "")]
    first = funnel[0]["after"] or 1
    for each in funnel:
        mean = "" if each["mean_length"] is None else f"{each['mean_length']:,.1f}"
        line = f"{each['step']:<{wide}}{each['after']:>12,}{each['after'] / first:>9.1%}{mean:>14}"
        if each["domain_entropy"] is not None:
            line += f"{each['domain_entropy']:>12.2f} bits"
        lines.append(line)
    return [*lines, "", *summary(report)]
