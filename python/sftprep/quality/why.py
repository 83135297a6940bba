"""``why``: what became of one row, from the stage that is asked back to the first.

```python
import sftprep

for step in sftprep.why("clean.jsonl", 17):
    print(step["stage"], step["decision"], step["code"], step["partner_line"])
```

Every stage keeps a ledger with one line per row that it read (``clean.ledger.arrow`` beside
``clean.jsonl``, ``ledger.arrow`` in a packed folder). Where what a stage read is itself the output
of a stage whose ledger is still there, the row is followed back through it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from sftprep import _core
from sftprep.errors import ConfigError

_SUFFIX = ".ledger.arrow"
_PACK = "ledger.arrow"
_PREP = "prep.json"
_COLUMNS = (
    "source",
    "line",
    "byte_offset",
    "decision",
    "code",
    "detail",
    "partner_row",
    "partner_source",
    "partner_line",
    "score",
    "tokens",
    "trained_tokens",
    "cut_tokens",
    "documents",
)
_MOST_STAGES = 100


def why(
    data: str | os.PathLike[str],
    row: int | str | None = None,
    *,
    output_line: int | None = None,
) -> list[dict[str, Any]]:
    """What became of a row, and why; the stage that is asked first, earlier ones after it.

    Args:
        data: The output of a stage, its ledger, a packed folder, or the folder of a recipe.
        row: Number of the row among those that the stage read, from 1; or ``source:line``.
        output_line: Instead: line of the output of the stage, from 1.

    Returns:
        Per stage: ``ledger, stage, row, output_line, source, path, line, decision, code, detail,
        cause, fix``, and ``partner_row, partner_source, partner_line, score`` of a row that went
        because of another.

    Raises:
        ConfigError: if there is no such row.
        SourceError: if there is no ledger, or it cannot be read.
        ShardError: if the folder is no packed one.
    """
    ledger, names = _ledger(Path(data))
    wanted = _wanted(row, output_line)
    pages = {name: (cause, fix) for name, _, cause, _, fix in _core.codes()}
    steps: list[dict[str, Any]] = []
    while len(steps) < _MOST_STAGES:
        found = json.loads(_core.ledger_row(ledger, json.dumps(wanted), names))
        step = _step(ledger, found, pages)
        steps.append(step)
        earlier = None if step["path"] is None else beside(Path(step["path"]))
        if earlier is None or not earlier.is_file():
            break
        ledger, names, wanted = earlier, [], {"kept": step["line"]}
    return steps


def _wanted(row: int | str | None, output_line: int | None) -> dict[str, Any]:
    if (row is None) == (output_line is None):
        raise ConfigError(
            "name one row", field="row", hint="give its number, source:line, or --output-line"
        )
    if output_line is not None:
        return {"kept": output_line}
    text = str(row)
    if text.isdecimal():
        return {"row": int(text)}
    source, colon, line = text.rpartition(":")
    if colon and source and line.isdecimal():
        return {"source": source, "line": int(line)}
    raise ConfigError(
        f"{text!r} is no row", field="row", hint="give a number from 1, or source:line"
    )


def beside(path: Path) -> Path | None:
    """Where the ledger of an output is, if it has one."""
    name = path.name
    return path.with_name(f"{name[:-6]}{_SUFFIX}") if name.endswith(".jsonl") else None


def _ledger(path: Path) -> tuple[Path, list[str]]:
    if (path / _PREP).is_file():
        return path / _PACK, []
    if path.is_dir():
        manifest = json.loads(_core.read_manifest(os.fspath(path)))
        return path / _PACK, [each["name"] for each in manifest["inputs"]]
    if path.name.endswith(_SUFFIX):
        return path, []
    return beside(path) or path, []


def _step(ledger: Path, found: dict[str, Any], pages: dict[str, tuple[str, str]]) -> dict[str, Any]:
    columns, metadata = found["columns"], found["metadata"]
    paths = dict(json.loads(metadata.get("sftprep.inputs", "[]")))
    cause, fix = pages.get(columns.get("code") or "", (None, None))
    return {
        "ledger": os.fspath(ledger),
        "stage": columns.get("stage") or metadata.get("sftprep.stage", "pack"),
        "row": found["row"],
        "output_line": found["output_line"],
        "path": paths.get(columns.get("source")),
        **{name: columns.get(name) for name in _COLUMNS},
        "cause": cause,
        "fix": fix,
    }


def why_summary(steps: list[dict[str, Any]]) -> list[str]:
    """The steps for people."""
    lines: list[str] = []
    for step in steps:
        place = f"{step['source']}:{step['line']}"
        lines.append(f"{step['stage']}: row {step['row']} ({place}) {step['decision']}")
        if step["code"]:
            lines.append(f"  {step['code']}: {step['detail']}")
        if step["partner_line"] is not None:
            score = "" if step["score"] is None else f", score {step['score']:.3f}"
            lines.append(
                f"  because of {step['partner_source']}:{step['partner_line']} "
                f"(row {step['partner_row']}){score}"
            )
        if step["tokens"] is not None:
            lines.append(f"  {step['tokens']:,} tokens, {step['trained_tokens']:,} trained")
        if step["output_line"] is not None and step["stage"] != "pack":
            lines.append(f"  it is line {step['output_line']} of the output")
        if step["cause"]:
            lines += [f"  why: {step['cause']}", f"  what to do: {step['fix']}"]
    return lines
