"""``sftprep verify``: whether a dataset's bytes are what its manifest promises."""

from __future__ import annotations

import argparse
import json
from typing import Any

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
    """Prints what was found; anything found means exit code 5."""
    from sftprep import _core
    from sftprep.errors import ShardCorrupt

    report = json.loads(_core.verify(options.dataset, full=not options.fast))
    if options.json:
        print(json.dumps(report, ensure_ascii=False, indent=2))
    else:
        print("\n".join(lines(options.dataset, report)))
    if report["ok"]:
        return 0
    raise ShardCorrupt(
        "the dataset differs from what its manifest promises",
        path=options.dataset,
        hint="fetch or pack the dataset again",
    )


def lines(dataset: str, report: dict[str, Any]) -> list[str]:
    """The report for people."""
    from sftprep.totals import counted

    seen = (
        f"{counted(report['files'], 'file')}, {counted(report['bytes_hashed'], 'byte')} hashed, "
        f"{counted(report['rows_checked'], 'row')} checked"
    )
    if report["ok"]:
        return [f"ok: {dataset} ({seen})"]
    found = [f"  {finding['file']}: {finding['what']}" for finding in report["findings"]]
    return [f"damaged: {dataset} ({seen})", *found]
