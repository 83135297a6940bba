"""``diff``: two runs beside each other, recipes or packed datasets: rows, shares, settings.

```python
import sftprep

report = sftprep.diff("prepared-a/", "prepared-b/")
report.only_a["why"], report.settings
```

A row is known again by what it says, where both ledgers have that (those of recipes), else by input
and line.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sftprep import _core
from sftprep.errors import ConfigError

PathLike = str | os.PathLike[str]

_PREP, _LEDGER = "prep.json", "ledger.arrow"
_SHOWN_SETTINGS = 40


@dataclass(frozen=True, kw_only=True, slots=True)
class DiffReport:
    """What differs in two runs."""

    a: str
    """One run."""
    b: str
    """The other."""
    kind: str
    """``prep`` or ``pack``."""
    by: str
    """How rows are known again: ``content`` or ``place``."""
    same: int
    """Different rows in both results, as often."""
    other_times: int
    """Different rows in both, but not as often."""
    moved: dict[str, int]
    """Rows in both but in other parts, such as ``train -> val``."""
    only_a: dict[str, Any]
    """Rows only in the first: ``rows``, ``why`` the other has them not, ``examples``."""
    only_b: dict[str, Any]
    """Rows only in the second."""
    sources: list[dict[str, Any]]
    """Per input ``name``, and of ``a`` and ``b`` ``rows, kept, lines, tokens, trained_tokens``."""
    settings: list[dict[str, Any]]
    """Settings that differ: ``name``, ``a``, ``b``; ``None`` where one has none."""

    @property
    def equal(self) -> bool:
        """Whether rows and settings are the same."""
        rows = self.only_a["rows"] + self.only_b["rows"] + self.other_times
        return not (rows or self.moved or self.settings)

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data."""
        return {**asdict(self), "equal": self.equal}


def diff(a: PathLike, b: PathLike) -> DiffReport:
    """Compares two output folders of ``prep``, or of ``pack``.

    Raises:
        ConfigError: if they are not of one kind.
        SourceError: if a ledger is missing or damaged.
        ShardError: if a folder is no packed one.
    """
    one, other = _Run(Path(a)), _Run(Path(b))
    if one.kind != other.kind:
        raise ConfigError(
            f"{a} was written by {one.kind}, {b} by {other.kind}",
            field="b",
            hint="compare runs of one kind; a recipe's packed rows are in its folder packs/",
        )
    config = {"a": one.side, "b": other.side}
    found = json.loads(_core.compare_ledgers(json.dumps(config)))
    found["sources"] = [
        {
            "name": each["name"],
            "a": each["a"] | one.tokens.get(each["name"], {}),
            "b": each["b"] | other.tokens.get(each["name"], {}),
        }
        for each in found["sources"]
    ]
    return DiffReport(
        a=os.fspath(a),
        b=os.fspath(b),
        kind=one.kind,
        settings=_settings(one.settings, other.settings),
        **found,
    )


class _Run:
    """An output folder: its ledger and its settings."""

    def __init__(self, folder: Path) -> None:
        names: list[str] = []
        self.tokens: dict[str, dict[str, int]] = {}
        if (folder / _PREP).is_file():
            self.kind = "prep"
            report = json.loads((folder / _PREP).read_text(encoding="utf-8"))
            self.settings: dict[str, Any] = {**report["recipe"], "version": report["version"]}
            for source in report["sources"]:
                self.tokens[source["name"]] = {
                    name: source[name] for name in ("tokens", "trained_tokens")
                }
        else:
            self.kind = "pack"
            manifest = json.loads(_core.read_manifest(os.fspath(folder)))
            names = [each["name"] for each in manifest["inputs"]]
            config = {key: value for key, value in manifest["config"].items() if key != "output"}
            kept = ("tokenizer", "template", "sftprep_version")
            self.settings = config | {f"of {key}": manifest.get(key) for key in kept}
        self.side = {"ledger": os.fspath(folder / _LEDGER), "names": names}


def _settings(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[dict[str, Any]]:
    one, other = _flat(a), _flat(b)
    names = sorted({*one, *other})
    # a table without options beside one with some: those are told
    parents = {name.rpartition(".")[0] for name in names}
    return [
        {"name": name, "a": one.get(name), "b": other.get(name)}
        for name in names
        if one.get(name) != other.get(name) and name not in parents
    ]


def _flat(value: Any, name: str = "") -> dict[str, Any]:  # noqa: ANN401 - plain data
    if not isinstance(value, Mapping):
        return {name: value}
    flat: dict[str, Any] = {} if value or not name else {name: {}}
    for key, each in value.items():
        flat |= _flat(each, f"{name}.{key}" if name else str(key))
    return flat


def diff_summary(report: DiffReport) -> list[str]:
    """The report for people."""
    lines = [f"a: {report.a}", f"b: {report.b}", f"rows are known again by {report.by}", ""]
    lines.append(f"{'in both':<30}{report.same:>12,}")
    if report.other_times:
        lines.append(f"{'in both, not as often':<30}{report.other_times:>12,}")
    lines += [f"{f'moved {how}':<30}{count:>12,}" for how, count in report.moved.items()]
    for name, only in (("a", report.only_a), ("b", report.only_b)):
        lines.append(f"{f'only in {name}':<30}{only['rows']:>12,}")
        lines += [f"    {why:<26}{count:>12,}" for why, count in only["why"].items()]
        for each in only["examples"][:2]:
            detail = f": {each['detail']}" if each["detail"] else ""
            lines.append(f"      {each['source']}:{each['line']} {each['why']}{detail}")
    lines += ["", f"{'input':<22}{'lines a':>12}{'share':>9}{'lines b':>12}{'share':>9}"]
    tokens = any(each["a"]["trained_tokens"] for each in report.sources)
    lines[-1] += f"{'trained a':>14}{'trained b':>14}" if tokens else ""
    total = {side: sum(each[side]["lines"] for each in report.sources) or 1 for side in "ab"}
    for each in report.sources:
        line = f"{each['name']:<22}"
        for side in "ab":
            count = each[side]["lines"]
            line += f"{count:>12,}{count / total[side]:>9.1%}"
        if tokens:
            line += "".join(f"{each[side]['trained_tokens']:>14,}" for side in "ab")
        lines.append(line)
    lines += ["", "settings that differ:" if report.settings else "settings are the same"]
    for each in report.settings[:_SHOWN_SETTINGS]:
        lines.append(f"  {each['name']}: {json.dumps(each['a'])} -> {json.dumps(each['b'])}")
    if len(report.settings) > _SHOWN_SETTINGS:
        lines.append(f"  and {len(report.settings) - _SHOWN_SETTINGS} more")
    return lines
