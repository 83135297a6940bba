"""``sftprep audit``: whether the masks of a dataset are right."""

from __future__ import annotations

import argparse
import json
from typing import Any

SUMMARY = "check the masks of a dataset: stop tokens, headers, foreign text, control tokens"

EXAMPLES = """\
examples:
  sftprep audit packs/
  sftprep audit packs/ --json | jq .counts
  sftprep audit packs/ --parity
"""

WRONG = 5
"""Exit code for a dataset with findings."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.add_argument("dataset", metavar="DIR", help="output folder of `sftprep pack`")
    parser.add_argument(
        "--parity",
        action="store_true",
        help="also read the source rows again, and hold the ids before every trained turn against "
        "those that a serving engine makes of its prompt",
    )
    parser.add_argument(
        "--input",
        dest="inputs",
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="for --parity: where an input is now, if not where it was; may be repeated",
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def run(options: argparse.Namespace) -> int:
    """Prints what was found; anything found means exit code 5."""
    from sftprep import _core

    report = json.loads(_core.audit(options.dataset))
    ok = report["ok"]
    if options.parity:
        report["parity"] = json.loads(_core.parity(options.dataset, options.inputs))
        ok = ok and report["parity"]["ok"]
    if options.json:
        print(json.dumps(report, ensure_ascii=False, indent=2))
    else:
        print("\n".join(lines(options.dataset, report)))
        if options.parity:
            print("\n".join(parity_lines(report["parity"])))
    return 0 if ok else WRONG


def lines(dataset: str, report: dict[str, Any]) -> list[str]:
    """The report for people."""
    from sftprep.totals import counted

    seen = ", ".join(
        [
            counted(report["rows"], "row"),
            counted(report["documents"], "document"),
            counted(report["turns"], "trained turn"),
            counted(report["trained_tokens"], "trained token"),
            f"{report['straddling_tokens']:,} at an edge",
        ]
    )
    found = [f"{'ok' if report['ok'] else 'wrong'}: {dataset} ({seen})"]
    found += [f"  not checked: {what}" for what in report["skipped"]]
    found += [
        f"  {check}: {counted(count, 'finding')}" for check, count in report["counts"].items()
    ]
    for finding in report["findings"]:
        found.append(f"  {finding['check']}: {_place(finding)}: {finding['what']}")
    hidden = sum(report["counts"].values()) - len(report["findings"])
    return [*found, f"  … and {hidden:,} more"] if hidden else found


_CAUSES = {
    "boundary": "a token lies across the start of the turn (see --boundary)",
    "bos": "other beginning-of-sequence tokens",
    "generation_prompt": "the generation prompt ends otherwise than the turn begins",
    "reasoning": "reasoning of earlier turns is left out in one of the two",
    "tools": "tools stand in another place",
    "refused": "the template refuses the prompt",
    "source": "the source row cannot be had as it was",
    "other": "another reason",
}


def parity_lines(report: dict[str, Any]) -> list[str]:
    """Parity with inference, for people."""
    from sftprep.totals import counted

    state = "ok" if report["ok"] else "wrong"
    found = [
        f"parity {state}: before {report['equal']:,} of {counted(report['turns'], 'trained turn')} "
        "stand the ids of inference"
    ]
    found += [
        f"  {cause}: {count:,}, {_CAUSES[cause]}" for cause, count in report["causes"].items()
    ]
    for it in report["findings"]:
        message = "" if it["message"] is None else f", message {it['message']}"
        found.append(
            f"  {it['cause']}: row {it['row']}, document {it['document']} "
            f"({it['source']}:{it['line']}){message}: {it['what']}"
        )
    hidden = sum(report["causes"].values()) - len(report["findings"])
    return [*found, f"  … and {hidden:,} more"] if hidden else found


def _place(finding: dict[str, Any]) -> str:
    if finding["row"] is None:
        return str(finding["source"])
    place = f"row {finding['row']}, document {finding['document']}"
    if finding["line"] is not None:
        place += f" ({finding['source']}:{finding['line']})"
    if finding["message"] is not None:
        place += f", message {finding['message']}"
    return place
