"""Verdicts of people on drawn rows: what share of the data is good, and whether findings are right.

Rows are drawn from strata of different size (``sftprep check --review``), so the share of the whole
is the mean of the strata's shares, weighted by their rows. Intervals are Wilson's, at 95 %.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sftprep.errors import FormatError, SourceError

VERDICTS = ("ok", "bad", "unsure")
ENOUGH = 0.8
"""Share of good rows from which on a data set is usable (the data-quality study's rule)."""
_Z = 1.959964


@dataclass(frozen=True, kw_only=True, slots=True)
class Review:
    """What the verdicts say."""

    rows: int
    """Rows drawn."""
    judged: int
    """Rows with a verdict, ``unsure`` included."""
    good: float | None
    """Estimated share of good rows in all of the data; ``None`` if a stratum has no verdict."""
    low: float | None
    """Lower end of its 95 % interval."""
    high: float | None
    """Upper end."""
    strata: list[dict[str, Any]]
    """Per stratum: ``name, rows, drawn, ok, bad, unsure, good, low, high``."""
    issues: list[dict[str, Any]]
    """Per issue of judged rows: ``id, judged, bad, precision``."""

    def to_dict(self) -> dict[str, Any]:
        """The same as plain data."""
        return asdict(self)


def read_verdicts(path: str | os.PathLike[str]) -> Review:
    """Reads a file of drawn rows whose verdicts are filled in.

    Raises:
        SourceError: if the file cannot be read.
        FormatError: if a line is not one that was drawn, or its verdict is none.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(str(error), code="source.unreadable", path=os.fspath(path)) from error
    rows = [_row(line, path, at) for at, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not rows:
        raise SourceError("the file holds no row", code="source.empty", path=os.fspath(path))
    strata: dict[str, dict[str, Any]] = {}
    issues: dict[str, list[bool]] = {}
    for row in rows:
        each = strata.setdefault(
            row["stratum"],
            {"name": row["stratum"], "rows": row["stratum_rows"], "drawn": 0}
            | dict.fromkeys(VERDICTS, 0),
        )
        each["drawn"] += 1
        if row["verdict"] is not None:
            each[row["verdict"]] += 1
        if row["verdict"] in {"ok", "bad"}:
            for issue in row["issues"]:
                issues.setdefault(issue, []).append(row["verdict"] == "bad")
    for each in strata.values():
        judged = each["ok"] + each["bad"]
        each["good"] = each["ok"] / judged if judged else None
        each["low"], each["high"] = wilson(each["ok"], judged)
    good, low, high = _overall(list(strata.values()))
    return Review(
        rows=len(rows),
        judged=sum(row["verdict"] is not None for row in rows),
        good=good,
        low=low,
        high=high,
        strata=list(strata.values()),
        issues=[
            {"id": name, "judged": len(bad), "bad": sum(bad), "precision": sum(bad) / len(bad)}
            for name, bad in sorted(issues.items())
        ],
    )


def _row(line: str, path: str | os.PathLike[str], at: int) -> dict[str, Any]:
    def bad(message: str, hint: str) -> FormatError:
        return FormatError(
            message, code="format.type", path=os.fspath(path), line=at, field="verdict", hint=hint
        )

    try:
        row = json.loads(line)
    except ValueError as error:
        raise FormatError(str(error), code="row.json", path=os.fspath(path), line=at) from error
    wanted = {"stratum": str, "stratum_rows": int, "issues": list}
    if not isinstance(row, dict) or not all(
        isinstance(row.get(name), kind) for name, kind in wanted.items()
    ):
        raise bad(
            "the line is no row that `sftprep check --review` drew",
            "give the file it wrote, with the verdicts filled in",
        )
    if row.get("verdict") not in {None, *VERDICTS}:
        raise bad(
            f"the verdict is {row['verdict']!r}, it must be ok, bad, unsure or null",
            "write one of these words",
        )
    return {**row, "verdict": row.get("verdict")}


def wilson(good: int, judged: int) -> tuple[float | None, float | None]:
    """Wilson's 95 % interval of a share; ``None`` without observations."""
    if judged == 0:
        return None, None
    share, square = good / judged, _Z * _Z
    middle = (share + square / (2 * judged)) / (1 + square / judged)
    half = (
        _Z
        * math.sqrt(share * (1 - share) / judged + square / (4 * judged * judged))
        / (1 + square / judged)
    )
    return max(0.0, middle - half), min(1.0, middle + half)


def _overall(strata: list[dict[str, Any]]) -> tuple[float | None, float | None, float | None]:
    total = sum(each["rows"] for each in strata)
    if total == 0 or any(each["good"] is None for each in strata):
        return None, None, None
    weight = [each["rows"] / total for each in strata]
    good = sum(w * each["good"] for w, each in zip(weight, strata, strict=True))
    # strata are independent: their half-widths add up as squares
    half = math.sqrt(
        sum(
            (w * (each["high"] - each["low"]) / 2) ** 2
            for w, each in zip(weight, strata, strict=True)
        )
    )
    return good, max(0.0, good - half), min(1.0, good + half)


def review_summary(review: Review) -> list[str]:
    """The verdicts for people."""
    lines = [f"{review.judged:,} of {review.rows:,} drawn rows are judged", ""]
    lines.append(f"{'stratum':<40}{'rows':>10}{'judged':>8}{'good':>8}   95 % interval")
    for each in review.strata:
        judged = each["ok"] + each["bad"]
        lines.append(
            f"{each['name']:<40}{each['rows']:>10,}{judged:>8,}{_share(each['good']):>8}   "
            f"{_share(each['low'])} to {_share(each['high'])}"
        )
    if review.good is None:
        lines += ["", "all of the data: not known until every stratum has a verdict"]
    else:
        state = "enough" if (review.low or 0.0) >= ENOUGH else "not shown to be enough"
        lines += [
            "",
            f"all of the data: {review.good:.1%} good, {_share(review.low)} to "
            f"{_share(review.high)}; {state} (at least {ENOUGH:.0%} is wanted)",
        ]
    lines += [""] * bool(review.issues)
    lines += [
        f"{each['id']:<28} {each['bad']} of {each['judged']} judged rows are bad"
        for each in review.issues
    ]
    return lines


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"
