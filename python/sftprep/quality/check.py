"""``check``: what is wrong with the rows, in six dimensions, in numbers and on a page.

```python
import sftprep

report = sftprep.check("chat.jsonl", out="report/", fail_on={"completeness": 0.01})
report.ok, report.dimension("uniqueness")["number"], report.out
```
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Unpack

from sftprep import _core, hub
from sftprep.errors import OutputError
from sftprep.quality.options import Inputs, PathLike, RowOptions, source_of

_SHOWN = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckReport:
    """What is wrong with the rows; nothing was changed."""

    rows: int
    """Rows read."""
    tokens: int
    """Tokens of all rows that the template renders."""
    trained_tokens: int
    """Those that would be trained."""
    tokenizer: str
    """Tokenizer that counted them."""
    max_len: int
    """Tokens of a row, at most."""
    sources: list[dict[str, Any]]
    """Per input: ``name, format, evidence, rows``."""
    dimensions: list[dict[str, Any]]
    """The six dimensions: ``id, question, measure, number, token_number, rows, trained_tokens,
    issues``; an issue has ``id, title, fix, counted, rows, row_share, trained_tokens, token_share,
    examples``."""
    panels: list[dict[str, Any]]
    """How rows and trained tokens divide: ``id, title, evenness, token_evenness, distinct,
    classes``."""
    policy: list[dict[str, Any]]
    """What is allowed and what is: ``name, allowed, seen, ok``."""
    ok: bool
    """Whether nothing is above what the policy allows."""
    findings: str | None = None
    """File with every row that has a finding or a place in a ranking."""
    review: str | None = None
    """File with the rows that were drawn for a second look."""
    out: str | None = None
    """Folder of the report."""
    seconds: float = field(default=0.0, compare=False)
    """Time it took."""

    @classmethod
    def from_json(cls, text: str) -> CheckReport:
        """The report that the core gives."""
        values = json.loads(text)
        return cls(**{each.name: values[each.name] for each in fields(cls) if each.name in values})

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data, as it stands in ``report.json``."""
        return asdict(self)

    def dimension(self, name: str) -> dict[str, Any]:
        """One of the six dimensions.

        Raises:
            KeyError: if there is none of that name.
        """
        for each in self.dimensions:
            if each["id"] == name:
                return each
        raise KeyError(name)

    def issue(self, name: str) -> dict[str, Any]:
        """One of the issues.

        Raises:
            KeyError: if there is none of that name.
        """
        for each in self.dimensions:
            for issue in each["issues"]:
                if issue["id"] == name:
                    return dict(issue)
        raise KeyError(name)


def check(
    inputs: Inputs,
    *,
    out: PathLike | None = None,
    tokenizer: PathLike = "builtin",
    chat_template: str = "",
    train_on: str = "assistant",
    max_len: int = 4096,
    threshold: float = 0.8,
    common: int = 50,
    examples: int = 5,
    class_column: str | None = None,
    fail_on: Mapping[str, float] | None = None,
    review: int = 0,
    seed: int = 0,
    **options: Unpack[RowOptions],
) -> CheckReport:
    """Looks at rows in six dimensions and reports; changes nothing.

    Args:
        inputs: One path or several; a mapping names them. Standard input cannot be read twice.
        out: Folder for ``report.html``, ``report.json`` and ``findings.jsonl``.
        tokenizer: A folder, a ``tokenizer.json``, a hub id or ``builtin``; it counts tokens.
        chat_template: A file, the template itself, or a built-in name; empty: the tokenizer's own.
        train_on: Roles whose turns are trained, or ``last_turn``.
        max_len: Tokens of a row, at most.
        threshold: Least Jaccard similarity of near-duplicates, 0.1 to 1.
        common: N-grams of more than so many distinct rows count as template; 0: none does.
        examples: Rows shown of each issue.
        class_column: A column that says which class a row is of.
        fail_on: Share that a dimension or an issue may reach; above it the report is not ``ok``.
        review: Rows to draw for a second look by a person, into ``review.jsonl`` of ``out``.
        seed: Seed of that draw.
        **options: How rows are read, and ``overwrite``.

    Returns:
        Shares by rows and by trained tokens, with the worst rows of every issue.

    Raises:
        ConfigError: if an option is wrong.
        SourceError: if an input is missing, unreadable, damaged, or changes meanwhile.
        TokenizerError: if the tokenizer does not load.
        TemplateError: if the chat template is missing or does not compile.
        OutputError: if the output exists or cannot be written.
    """
    source, rest = source_of(inputs, options)
    config: dict[str, Any] = {
        "source": source,
        "template": {
            "tokenizer": hub.resolve(os.fspath(tokenizer)),
            "chat_template": chat_template,
        },
        "label": {"train_on": train_on},
        "max_len": max_len,
        "threshold": threshold,
        "common": common,
        "examples": examples,
        "class": class_column,
        "fail_on": dict(fail_on or {}),
        "review": review,
        "review_seed": seed,
        **rest,
    }
    if out is None:
        return CheckReport.from_json(_core.check(json.dumps(config)))
    folder = Path(out)
    _make(folder, overwrite=bool(rest.get("overwrite", False)))
    config["findings"] = str(folder / "findings.jsonl")
    if review:
        config["review_out"] = str(folder / "review.jsonl")
    values = json.loads(_core.check(json.dumps(config)))
    report = CheckReport.from_json(json.dumps({**values, "out": str(folder)}))
    write(report, folder)
    return report


def _make(folder: Path, *, overwrite: bool) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(str(error), path=str(folder), hint="choose another --out") from error
    for name in ("report.json", "report.html"):
        if (folder / name).exists() and not overwrite:
            raise OutputError(
                "the output exists",
                code="output.exists",
                path=str(folder / name),
                hint="choose another --out, or add --overwrite",
            )


def write(report: CheckReport, folder: Path) -> None:
    """Writes ``report.json`` and ``report.html``, which show the same numbers.

    Raises:
        OutputError: if they cannot be written.
    """
    from sftprep.quality.page import page

    texts = {
        "report.json": json.dumps(report.to_dict(), ensure_ascii=False, indent=2) + "\n",
        "report.html": page(report),
    }
    for name, text in texts.items():
        try:
            (folder / name).write_text(text, encoding="utf-8")
        except OSError as error:
            raise OutputError(str(error), path=str(folder / name)) from error


def check_summary(report: CheckReport) -> list[str]:
    """The report for people."""
    lines = [f"{each['name']}: {each['format']} ({each['evidence']})" for each in report.sources]
    lines += ["", f"{'rows read':<34}{report.rows:>12,}"]
    lines.append(f"{'trained tokens':<34}{report.trained_tokens:>12,}  of {report.tokens:,}")
    lines += ["", f"{'':<36}{'rows':>10}{'':>10}{'trained tokens':>18}"]
    for each in report.dimensions:
        balance = each["id"] == "class_balance"
        name = f"{each['id']}{' (' + each['measure'] + ')' if balance else ''}"
        if balance:
            lines.append(f"{name:<46}{each['number']:>10.2f}{each['token_number']:>18.2f}")
        else:
            lines.append(
                f"{name:<36}{each['rows']:>10,}{each['number']:>10.2%}{each['token_number']:>18.2%}"
            )
        for issue in each["issues"]:
            if issue["rows"]:
                lines += _issue_lines(issue)
    for rule in report.policy:
        state = "ok" if rule["ok"] else "FAILED"
        lines.append(
            f"policy {state}: {rule['name']} is {rule['seen']:.2%}, "
            f"{rule['allowed']:.2%} is allowed"
        )
    written = f"wrote {report.out}" if report.out else "add --out DIR for the page and all findings"
    return [*lines, "", f"{written}, {report.seconds:.1f} s"]


def _issue_lines(issue: dict[str, Any]) -> list[str]:
    mark = "" if issue["counted"] else " (shown only)"
    lines = [
        f"    {issue['id'] + mark:<32}{issue['rows']:>10,}{issue['row_share']:>10.2%}"
        f"{issue['token_share']:>18.2%}"
    ]
    for each in issue["examples"][:_SHOWN]:
        partner = (
            f" and {each['partner_source']}:{each['partner_line']}" if each["partner_line"] else ""
        )
        lines.append(f"        {each['source']}:{each['line']}{partner}: {each['detail']}")
    return [*lines, f"        fix: {issue['fix']}"]
