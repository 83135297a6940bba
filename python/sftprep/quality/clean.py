"""``clean``: what a row shows by itself is taken out, flagged, or ends the row.

```python
import sftprep

report = sftprep.clean("chat.jsonl", out="clean.jsonl", rules={"identity": "drop"})
report.dropped, report.noted, report.facts["changed"]
```

A row that is changed keeps every byte but the text that is mended, and the ledger says of every
row what was found and what was done.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Literal, Unpack

from sftprep import _core
from sftprep.errors import ConfigError
from sftprep.quality.options import Inputs, PathLike, RowOptions, source_of
from sftprep.quality.report import StageReport, summary

Action = Literal["off", "flag", "fix", "drop"]

RULES: dict[str, tuple[Action, bool, str]] = {
    "format": ("drop", False, "rows that do not fit their format"),
    "roles": ("drop", False, "messages that do not follow each other as a conversation does"),
    "empty_answer": ("drop", False, "answers that are empty or blank, or that nobody gives"),
    "empty_prompt": ("drop", False, "prompts and other messages that are empty or blank"),
    "merged_record": ("drop", True, "answers into which another record runs; fix cuts them there"),
    "mojibake": ("flag", True, "UTF-8 that was read as another encoding; fix needs ftfy"),
    "unicode": ("fix", True, "control and invisible characters; fix takes them out"),
    "replacement": ("flag", False, "characters that were lost in decoding (U+FFFD)"),
    "noinput": ("fix", True, "markers such as <noinput>; fix makes the input empty"),
    "loops": ("flag", False, "answers in which a passage comes round again and again"),
    "incapable": ("flag", False, "answers that say that a model cannot give one"),
    "identity": ("flag", False, "answers that say which model speaks or who made it"),
    "refusal": ("flag", False, "answers that refuse"),
    "leftovers": ("flag", False, "control tokens as text, unfilled templates, links to nothing"),
}
"""Rule -> what is done by default, whether it can be fixed, what it looks for."""


def clean(
    inputs: Inputs,
    *,
    out: PathLike | None = None,
    rules: Mapping[str, str] | None = None,
    repair: Callable[[str], str] | None = None,
    dry_run: bool = False,
    **options: Unpack[RowOptions],
) -> StageReport:
    """Takes out, flags or drops what a row shows by itself.

    Args:
        inputs: One path or several; a mapping names them. Standard input cannot be read twice.
        out: File for the rows that stay, ``.jsonl``; the ledger goes beside it.
        rules: Rule -> ``off``, ``flag``, ``fix`` or ``drop``, for those that are not to do what
            ``sftprep.quality.clean.RULES`` says; ``blank`` is another word for ``fix`` and
            ``strict`` for ``drop``.
        repair: Repairs a garbled text under the rule ``mojibake = "fix"``; ``ftfy.fix_text`` if it
            is not given.
        dry_run: Decide and report, write nothing.
        **options: How rows are read, and ``overwrite``.

    Returns:
        What stays, what goes and why; ``facts`` has ``changed``, the rows of which something was
        taken out, and ``found``, the rows per rule that were fixed or flagged.

    Raises:
        ConfigError: if an option is wrong, or ftfy is wanted and not installed.
        SourceError: if an input is missing, unreadable, damaged, or changes meanwhile.
        OutputError: if the output exists or cannot be written.
        RejectBudgetExceeded: if too many rows are no JSON objects.
    """
    source, rest = source_of(inputs, options)
    wanted = _rules(rules or {})
    config: dict[str, Any] = {"source": source, "rules": wanted, "dry_run": dry_run, **rest}
    config["out"] = None if out is None else os.fspath(out)
    if wanted.get("mojibake") == "fix":
        mend = repair or _ftfy()
        garbled = _core.garbled_texts(json.dumps(config | {"out": None}))
        mended = {text: mend(text) for text in garbled}
        config["repaired"] = {text: new for text, new in mended.items() if new != text}
    report = json.loads(_core.clean(json.dumps(config)))
    facts = {name: report.pop(name) for name in ("changed", "found")}
    return StageReport.from_json(json.dumps(report), facts)


def _rules(rules: Mapping[str, str]) -> dict[str, str]:
    """The rules with one word per action.

    Raises:
        ConfigError: if there is no such rule or action.
    """
    words = {"blank": "fix", "strict": "drop"}
    wanted = {name: words.get(str(action), str(action)) for name, action in rules.items()}
    for name, action in wanted.items():
        if name not in RULES:
            raise ConfigError(
                f"there is no rule {name!r}",
                code="config.unknown",
                field=f"rules.{name}",
                hint=f"known: {', '.join(RULES)}",
            )
        known = ("off", "flag", "fix", "drop") if RULES[name][1] else ("off", "flag", "drop")
        if action not in known:
            raise ConfigError(
                f"{name} cannot be {action!r}",
                field=f"rules.{name}",
                hint=f"choose one of {', '.join(known)}",
            )
    return wanted


def _ftfy() -> Callable[[str], str]:
    try:
        mend: Callable[[str], str] = import_module("ftfy").fix_text
    except ImportError:
        raise ConfigError(
            "repairing mojibake needs ftfy, which is not installed",
            field="rules.mojibake",
            hint="pip install ftfy; or give repair=, or choose flag or drop",
        ) from None
    return mend


def clean_summary(report: StageReport) -> list[str]:
    """The report for people."""
    lines = summary(report)
    found = report.facts.get("found", {})
    told = [f"rows of which something was taken out: {report.facts.get('changed', 0):,}"]
    told += [f"    {what:<26}{count:>12,}" for what, count in found.items()]
    return [*lines[:-1], *told, "", lines[-1]]
