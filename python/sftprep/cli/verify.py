"""``sftprep verify``: whether a dataset's bytes are what its manifest promises."""

from __future__ import annotations

import argparse
import json

SUMMARY = "check that a dataset's files are what its manifest promises"

EXAMPLES = """\
examples:
  sftprep verify packs/
  sftprep verify packs/ --fast
  sftprep verify packs/ --json | jq .ok
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.add_argument("dataset", metavar="DIR", help="output folder of `sftprep pack`")
    depth = parser.add_mutually_exclusive_group()
    depth.add_argument(
        "--full", action="store_true", help="hash every byte and check every row (default)"
    )
    depth.add_argument(
        "--fast", action="store_true", help="sizes, footers and batch headers only, in milliseconds"
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def run(options: argparse.Namespace) -> int:
    """Prints what was checked; a difference is an error with exit code 5."""
    from sftprep import _core

    report = json.loads(_core.verify(options.dataset, full=not options.fast))
    if options.json:
        print(json.dumps(report, ensure_ascii=False, indent=2))
    else:
        print(summary(options.dataset, report))
    return 0


def summary(dataset: str, report: dict[str, object]) -> str:
    """The report for people."""
    facts = ", ".join(
        f"{value:,} {key}" for key, value in report.items() if type(value) is int and value
    )
    return f"ok: {dataset} ({facts})"
