"""What a stage on rows did, as data and for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

_SHOWN_TEXT = 100
_SHOWN_EXAMPLES = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class StageReport:
    """What a stage did to the rows; ``kept``, ``dropped`` and ``rejected`` add up to ``rows``."""

    stage: str
    """Name of the stage."""
    rows: int
    """Rows read."""
    kept: int
    """Rows that stay."""
    dropped: dict[str, int]
    """Rows that go, by reason."""
    rejected: dict[str, int]
    """Rows that are no JSON objects, by code."""
    noted: dict[str, int]
    """Kept rows of which something is said, by code."""
    not_compared: dict[str, int]
    """Kept rows that do not fit their format and could not be looked into, by code."""
    written: int
    """Lines written: kept rows, each as often as it is repeated."""
    parts: list[dict[str, Any]]
    """Per output ``name, out, rows, lines``, where there are several outputs."""
    partners: int
    """Distinct rows because of which others go."""
    sources: list[dict[str, Any]]
    """Per input: ``name, format, evidence, rows, kept``."""
    examples: list[dict[str, Any]]
    """Dropped rows worth a look, those with the lowest score of each reason: ``code, score, source,
    line, partner_source, partner_line, text, partner_text, detail``."""
    method: str
    """How it was decided, in a word: ``exact`` or ``sketch`` for duplicates."""
    items: int | None
    """Test items that rows were searched for; ``None`` where there are none."""
    out: str | None
    """Where the kept rows are; ``None`` after a dry run."""
    ledger: str | None
    """Where the ledger is; ``None`` after a dry run."""
    seconds: float = field(compare=False)
    """Time it took."""

    facts: dict[str, Any] = field(default_factory=dict)
    """What else the stage found out, such as the funnel of ``select``."""

    @classmethod
    def from_json(cls, text: str, facts: Mapping[str, Any] | None = None) -> StageReport:
        """The report that the core gives, with what the stage knows beside it."""
        values = json.loads(text) | {"facts": dict(facts or {})}
        return cls(**{each.name: values[each.name] for each in fields(cls)})

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data."""
        return asdict(self)


def summary(report: StageReport) -> list[str]:
    """The report for people."""
    lines = [f"{each['name']}: {each['format']} ({each['evidence']})" for each in report.sources]
    if report.items is not None:
        lines.append(f"searched for {report.items:,} test items")
    lines += ["", *_counts(report)]
    if report.not_compared:
        lines.append("kept without a look inside (they do not fit their format):")
        lines += [f"    {code:<26}{count:>12,}" for code, count in report.not_compared.items()]
    if report.examples:
        alike = any(each["partner_line"] is not None for each in report.examples)
        lines += ["", "least alike among the dropped rows:" if alike else "some dropped rows:"]
    for each in _first_of_each(report.examples):
        lines += _example(each)
    written = (
        "dry run: nothing was written"
        if report.out is None
        else f"wrote {', '.join(_outputs(report))} and {report.ledger}"
    )
    how = f", search {report.method}" if report.method else ""
    return [*lines, "", f"{written}, {report.seconds:.1f} s{how}"]


def _first_of_each(examples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    seen: dict[str, int] = {}
    chosen = []
    for each in examples:
        seen[each["code"]] = seen.get(each["code"], 0) + 1
        if seen[each["code"]] <= _SHOWN_EXAMPLES:
            chosen.append(each)
    return chosen


def _example(each: dict[str, Any]) -> list[str]:
    score = "" if each["score"] is None else f" {each['score']:g}"
    place = f"{each['source']}:{each['line']}"
    lines = []
    if each["partner_line"] is not None:
        score = "" if each["score"] is None else f" {each['score']:.3f}"
        place += f" because of {each['partner_source']}:{each['partner_line']}"
        lines.append(f"    + {_shown(each['partner_text'] or '')}")
    head = f"  {each['code']}{score}  {place}: {each['detail']}"
    return [head, f"    - {_shown(each['text'])}", *lines]


def _outputs(report: StageReport) -> list[str]:
    several = [f"{part['out']} ({part['lines']:,} lines)" for part in report.parts]
    return several or [str(report.out)]


def _counts(report: StageReport) -> list[str]:
    lines = [f"{'rows read':<30}{report.rows:>12,}", f"{'  kept':<30}{report.kept:>12,}"]
    for name, counts in (("dropped", report.dropped), ("rejected", report.rejected)):
        lines.append(f"  {name:<28}{sum(counts.values()):>12,}")
        lines += [f"    {code:<26}{count:>12,}" for code, count in counts.items()]
    if report.noted:
        lines.append("of the kept rows:")
        lines += [f"    {code:<26}{count:>12,}" for code, count in report.noted.items()]
    if report.written != report.kept:
        lines.append(f"{'lines written':<30}{report.written:>12,}")
    return lines


def _shown(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN_TEXT else f"{line[:_SHOWN_TEXT]}…"
