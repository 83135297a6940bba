"""What a run of scoring did."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreReport:
    """What was scored; per column, ``scored`` and ``reasons`` add up to ``rows``."""

    stage: str = "score"
    """Name of the stage."""
    rows: int
    """Rows read."""
    columns: list[dict[str, Any]]
    """Per column: ``name, kind, scored, reasons`` and, of numbers, ``mean, min, p10, median, p90,
    max, length_correlation`` (rank correlation with the length of the answer)."""
    cached: int
    """Scores that were known from earlier runs."""
    computed: int
    """Scores that were computed now."""
    out: str | None
    """The score file; ``None`` after a dry run."""
    notes: list[str]
    """What is to be known about these scores."""
    seconds: float = field(compare=False)
    """Time it took."""

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data."""
        return asdict(self)

    def column(self, name: str) -> dict[str, Any]:
        """One of the columns.

        Raises:
            KeyError: if there is none of that name.
        """
        for each in self.columns:
            if each["name"] == name:
                return each
        raise KeyError(name)


def summary(report: ScoreReport) -> list[str]:
    """The report for people."""
    lines = [f"{'rows read':<30}{report.rows:>12,}"]
    if report.columns:
        lines += ["", f"{'':<26}{'scored':>9}{'p10':>10}{'median':>10}{'p90':>10}{'length':>9}"]
    for each in report.columns:
        line = f"{each['name']:<26}{each['scored']:>9,}"
        if "median" in each:
            line += "".join(f"{each[name]:>10.4g}" for name in ("p10", "median", "p90"))
            length = each["length_correlation"]
            line += f"{'-':>9}" if length is None else f"{length:>9.2f}"
        elif "true" in each:
            line += f"   {each['true']:,} true"
        elif "most" in each:
            line += "   " + ", ".join(f"{name} {count:,}" for name, count in each["most"].items())
        lines.append(line)
        lines += [f"    {code:<26}{count:>12,}" for code, count in each["reasons"].items()]
    if any("median" in each for each in report.columns):
        lines += ["", "length: rank correlation with the length of the answer"]
    lines += [f"note: {note}" for note in report.notes]
    wrote = "dry run: nothing was computed or written" if report.out is None else report.out
    known = f"{report.computed:,} computed, {report.cached:,} known from before"
    return [*lines, "", f"{wrote}; {known}, {report.seconds:.1f} s"]
