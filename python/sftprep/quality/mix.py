"""``mix``: rows of several sources in shares that are exact to one row.

```python
import sftprep

report = sftprep.mix({"chat.jsonl": 0.7, "math.jsonl": 0.27, "safe=safety.jsonl": 0.03},
                     out="mixed.jsonl", budget=10_000, repeat_max=4)
report.facts["shares"]
```

Which rows are drawn follows from the seed and from what the rows say, not from their order. A row
that is not drawn is in the ledger, a repeated one with how often.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Unpack

import numpy as np
from numpy.typing import NDArray

from sftprep import _core
from sftprep.config import json_of
from sftprep.errors import ConfigError, SftprepError
from sftprep.quality.options import PathLike, RowOptions
from sftprep.quality.report import StageReport, summary
from sftprep.quality.stage import REJECTED, UNFIT, Stage

Unit = Literal["rows", "chars", "tokens", "trained_tokens"]
UNITS = ("rows", "chars", "tokens", "trained_tokens")
_CODES = ("mix.not_drawn", "mix.capped", "mix.no_size")
_NOT_DRAWN, _CAPPED, _NO_SIZE = range(3)
_NAME = re.compile(r"([\w.-]+)=(.+)", re.DOTALL)
_CLOSE = 1e-9


def mix(
    parts: Mapping[PathLike, float | str],
    *,
    out: PathLike | None = None,
    unit: Unit = "rows",
    budget: int | None = None,
    cap_per_source: int | None = None,
    repeat_max: int = 1,
    seed: int = 0,
    shuffle: bool = False,
    encode: Mapping[str, Any] | None = None,
    dry_run: bool = False,
    **options: Unpack[RowOptions],
) -> StageReport:
    """Mixes rows of several sources.

    Whole rows are drawn from each source, in an order that the seed decides, until its share is
    reached: to one row. Only when every row of a source was drawn is one drawn again.

    Args:
        parts: Sources, ``path`` or ``name=path``, each with its share (``0.7`` or ``"3%"``): only
            the ratios matter.
        out: File for the rows, ``.jsonl``; the ledger goes beside it.
        unit: What is counted: ``rows``, ``chars``, or ``tokens`` and ``trained_tokens`` as
            ``encode`` makes them of a row, before it is cut to a length.
        budget: Units in all; by default so many that every source is used up, or as many as
            ``repeat_max`` allows.
        cap_per_source: Rows of a source that are drawn from at most.
        repeat_max: How often a row is there at most.
        seed: Which rows are drawn.
        shuffle: Write the rows in an order that the seed decides; otherwise as they are read.
        encode: Options of :func:`sftprep.pack` that say what tokens a row has; ``tokenizer`` is
            one of them.
        dry_run: Decide and report, write nothing.
        **options: How rows are read, and ``overwrite``.

    Returns:
        What was drawn; ``facts`` has ``unit``, ``budget`` and ``shares``, per source ``name, share,
        rows, available, drawn`` (units, with repetitions), ``lines``, ``most`` (times).

    Raises:
        ConfigError: if an option is wrong, or a source has too little for its share.
        SourceError: if an input is missing, unreadable, damaged, or changes meanwhile.
        OutputError: if an output exists or cannot be written.
    """
    named, weights = _named(parts)
    if unit not in UNITS:
        raise ConfigError(f"unit is {unit!r}", field="unit", hint=f"choose {', '.join(UNITS)}")
    text = unit in ("tokens", "trained_tokens")
    derived: list[Any] = ["row_hash"]
    derived += ["json"] if text else ["prompt_chars", "answer_chars"] if unit == "chars" else []
    stage = Stage("mix", named, derived=derived, **options)
    groups = [list(weights).index(stage.names[at]) for at in stage.source.tolist()]
    return mix_stage(
        stage,
        np.array(groups, np.int64),
        weights,
        Settings(
            unit=unit,
            budget=budget,
            cap_per_source=cap_per_source,
            repeat_max=repeat_max,
            seed=seed,
            shuffle=shuffle,
        ),
        {**_row_options(options), **(encode or {})},
        out=out,
        dry_run=dry_run,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """How rows are drawn; :func:`mix` explains."""

    unit: Unit = "rows"
    budget: int | None = None
    cap_per_source: int | None = None
    repeat_max: int = 1
    seed: int = 0
    shuffle: bool = False

    def __post_init__(self) -> None:
        """Refuses what cannot be.

        Raises:
            ConfigError: if a number is too small, or there is no such unit.
        """
        if self.unit not in UNITS:
            hint = f"choose {', '.join(UNITS)}"
            raise ConfigError(f"unit is {self.unit!r}", field="unit", hint=hint)
        for name in ("budget", "cap_per_source", "repeat_max"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} is {value}", field=name, hint="give 1 or more")


def mix_stage(
    stage: Stage,
    groups: NDArray[np.int64],
    weights: Mapping[str, float],
    settings: Settings,
    encode: Mapping[str, Any],
    *,
    out: PathLike | None,
    dry_run: bool,
) -> StageReport:
    """Mixes rows that are read already; ``groups`` says of each which of the weights is its."""
    sizes, problems = _sizes(stage, settings.unit, encode)
    places = _places(stage["row_hash"], settings.seed)
    usable = (stage.state != REJECTED) & ~np.array([each is not None for each in problems])
    order = np.lexsort((np.arange(len(stage)), places))
    sources = []
    capped = np.zeros(len(stage), np.bool_)
    for number, (name, share) in enumerate(weights.items()):
        rows = order[(groups[order] == number) & usable[order]]
        if settings.cap_per_source is not None:
            capped[rows[settings.cap_per_source :]] = True
            rows = rows[: settings.cap_per_source]
        sources.append(_Source(name, share, rows, sizes))
    budget = _budget(sources, settings)
    times = np.zeros(len(stage), np.int64)
    for source, target in zip(sources, _targets(sources, budget, settings.unit), strict=True):
        source.draw(target, settings.repeat_max, times)
    codes = np.where(capped, _CAPPED, _NOT_DRAWN)
    codes[[at for at, each in enumerate(problems) if each is not None]] = _NO_SIZE
    codes[times > 0] = -1
    shares = [source.told(times, groups == at) for at, source in enumerate(sources)]
    facts = {"unit": settings.unit, "budget": budget, "shares": shares}
    told = {name: getattr(settings, name) for name in Settings.__slots__}
    return stage.write(
        times.astype(np.int32),
        out=out,
        dry_run=dry_run,
        codes=_CODES,
        code=codes.astype(np.int32),
        detail=[
            problem or _detail(int(count), int(code))
            for problem, count, code in zip(problems, times, codes, strict=True)
        ],
        order=places if settings.shuffle else None,
        facts=facts,
        options={**told, "weights": dict(weights)},
    )


class _Source:
    """A source of the mixture: its rows in the order in which they are drawn."""

    def __init__(
        self, name: str, share: float, rows: NDArray[np.int64], sizes: NDArray[np.float64]
    ) -> None:
        self.name, self.share, self.rows = name, share, rows
        self.sizes = sizes[rows]
        self.available = float(self.sizes.sum())

    def draw(self, target: float, repeat_max: int, times: NDArray[np.int64]) -> None:
        """Draws rows until their sizes come as near to ``target`` as whole rows allow."""
        if not len(self.rows) or self.available <= 0:
            return
        full = min(int((target + _CLOSE) // self.available), repeat_max)
        times[self.rows] = full
        left = target - full * self.available
        if full >= repeat_max or left <= _CLOSE:
            return
        sums = np.cumsum(self.sizes)
        upto = int(np.searchsorted(sums, left - _CLOSE)) + 1
        upto = min(upto, len(self.rows))
        over, under = sums[upto - 1] - left, left - (sums[upto - 2] if upto > 1 else 0.0)
        if over > under:
            upto -= 1
        times[self.rows[:upto]] += 1

    def told(self, times: NDArray[np.int64], mine: NDArray[np.bool_]) -> dict[str, Any]:
        counts = times[self.rows]
        return {
            "name": self.name,
            "share": self.share,
            "rows": int(mine.sum()),
            "available": _whole(self.available),
            "drawn": _whole(float((counts * self.sizes).sum())),
            "drawn_rows": int((counts > 0).sum()),
            "lines": int(counts.sum()),
            "most": int(counts.max(initial=0)),
        }


def _whole(number: float) -> int:
    return round(number)


def _budget(sources: Sequence[_Source], settings: Settings) -> int:
    """Units in all.

    Raises:
        ConfigError: if a source is empty, or has too little for its share of the budget.
    """
    total = sum(source.share for source in sources)
    for source in sources:
        if source.available <= 0:
            raise ConfigError(
                f"{source.name} has no {settings.unit.replace('_', ' ')} to draw",
                field="parts",
                hint="leave it out of the mixture, or see the ledgers of earlier stages for why",
            )
    once = [source.available * total / source.share for source in sources]
    most = min(once) * settings.repeat_max
    if settings.budget is None:
        return max(1, math.floor(min(max(once), most) + _CLOSE))
    if settings.budget > most + 0.5:
        short = sources[once.index(min(once))]
        raise ConfigError(
            f"{short.name} has {_whole(short.available):,} {settings.unit.replace('_', ' ')}, and "
            f"its share of {settings.budget:,} is "
            f"{_whole(settings.budget * short.share / total):,}: it would be repeated more than "
            f"{settings.repeat_max} times",
            field="budget",
            hint=f"a budget of {math.floor(most):,} fits; or raise --repeat-max or lower the share",
        )
    return settings.budget


def _targets(sources: Sequence[_Source], budget: int, unit: Unit) -> list[float]:
    """What each source gets; whole rows, by largest remainder, where rows are counted."""
    total = sum(source.share for source in sources)
    exact = [budget * source.share / total for source in sources]
    if unit != "rows":
        return exact
    whole = [math.floor(each + _CLOSE) for each in exact]
    by_rest = sorted(range(len(exact)), key=lambda at: (whole[at] - exact[at], at))
    for at in by_rest[: budget - sum(whole)]:
        whole[at] += 1
    return [float(each) for each in whole]


def _sizes(
    stage: Stage, unit: Unit, encode: Mapping[str, Any]
) -> tuple[NDArray[np.float64], list[str | None]]:
    """Per row its size, and why it has none."""
    problems: list[str | None] = [None] * len(stage)
    if unit == "rows":
        return np.ones(len(stage)), problems
    if unit == "chars":
        sizes = np.asarray(stage["prompt_chars"]) + np.asarray(stage["answer_chars"])
        for at in np.flatnonzero(stage.state == UNFIT).tolist():
            problems[at] = "the row does not fit its format"
        return np.nan_to_num(sizes), problems
    if not encode.get("tokenizer"):
        raise ConfigError(
            f"{unit} are counted with a tokenizer, and there is none",
            field="tokenizer",
            hint="add --tokenizer, or count chars or rows",
        )
    encoder = _core.Encoder.from_config(json_of(dict(encode)))
    sizes = np.zeros(len(stage))
    for at, row in enumerate(stage["json"]):
        if row is None:
            continue
        try:
            samples = encoder.encode_samples(row)
        except SftprepError as error:
            problems[at] = f"{error.code}: {error.message}"
            continue
        if unit == "tokens":
            sizes[at] = sum(len(sample) for sample in samples)
        else:
            sizes[at] = sum(int((sample.labels >= 0).sum()) for sample in samples)
    return sizes, problems


def _places(hashes: Any, seed: int) -> NDArray[np.int64]:  # noqa: ANN401 - a list of texts
    """Where each row stands in the order of drawing; rows of equal content stand together."""
    seen: dict[str, int] = {}
    places = np.zeros(len(hashes), np.int64)
    for at, each in enumerate(hashes):
        # the second of equal rows comes at a place of its own
        count = seen[each] = seen.get(each, -1) + 1
        text = f"mix {seed} {each} {count}".encode()
        places[at] = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest()) >> 1
    return places


def _detail(times: int, code: int) -> str | None:
    if code == _CAPPED:
        return "beyond the rows that a source is drawn from"
    if times == 0:
        return "the source's share is reached without it"
    return f"{times} times" if times > 1 else None


def _named(
    parts: Mapping[PathLike, float | str],
) -> tuple[dict[str, PathLike], dict[str, float]]:
    """Sources by name, with their paths and their shares."""
    paths: dict[str, PathLike] = {}
    weights: dict[str, float] = {}
    if not parts:
        raise ConfigError("there is nothing to mix", field="parts")
    for key, share in parts.items():
        text = os.fspath(key)
        match = None if Path(text).exists() else _NAME.fullmatch(text)
        path = match[2] if match else text
        name = match[1] if match else re.sub(r"[^\w.-]", "_", Path(path).name.split(".")[0])
        if name in paths:
            raise ConfigError(
                f"two sources are named {name}", field="parts", hint="give names: NAME=PATH=SHARE"
            )
        paths[name] = path
        weights[name] = weight(name, share)
    return paths, weights


def weight(name: str, share: float | str) -> float:
    """A share, also written as ``3%``.

    Raises:
        ConfigError: if it is none.
    """
    text = str(share).strip()
    try:
        number = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        number = 0.0
    if not 0 < number < math.inf:
        raise ConfigError(
            f"the share of {name} is {share!r}", field="parts", hint="give a number such as 0.7"
        )
    return number


def _row_options(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: options[name] for name in ("format", "map", "role") if name in options}


def mix_summary(report: StageReport) -> list[str]:
    """The report for people."""
    facts = report.facts
    unit = facts["unit"].replace("_", " ")
    drawn = sum(each["drawn"] for each in facts["shares"]) or 1
    lines = summary(report)
    told = []
    for each in facts["shares"]:
        often = "" if each["most"] <= 1 else f", up to {each['most']} times"
        told.append(
            f"{each['name']}: {each['drawn_rows']:,} of {each['rows']:,} rows, "
            f"{each['drawn']:,} {unit}, {each['drawn'] / drawn:.2%} of all{often}"
        )
    return [*lines[:-1], *told, "", lines[-1]]


__all__ = ["UNITS", "Settings", "Unit", "mix", "mix_stage", "mix_summary", "weight"]
