"""``sftprep why``: what became of one row, and why."""

from __future__ import annotations

import argparse
import json

from sftprep.cli.options import whole

SUMMARY = "say what became of one row and why, by the ledgers of the stages that it went through"

EXAMPLES = """\
examples:
  sftprep why clean.jsonl 17
  sftprep why clean.jsonl chat:17
  sftprep why packs/ 17
  sftprep why prepared/ chat:17
  sftprep why safe.jsonl --output-line 4
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.add_argument(
        "data",
        metavar="DATA",
        help="the output of a stage, its ledger, a packed folder, or the folder of a recipe",
    )
    parser.add_argument(
        "row",
        nargs="?",
        metavar="ROW",
        help="number of the row among those that the stage read, from 1, or source:line",
    )
    parser.add_argument(
        "--output-line", type=whole, metavar="N", help="instead: line of the stage's output"
    )
    parser.add_argument("--json", action="store_true", help="print the steps as JSON")


def run(options: argparse.Namespace) -> int:
    """Prints the steps."""
    from sftprep.quality.why import why, why_summary

    steps = why(options.data, options.row, output_line=options.output_line)
    if options.json:
        print(json.dumps(steps, ensure_ascii=False, indent=2))
    else:
        print("\n".join(why_summary(steps)))
    return 0
