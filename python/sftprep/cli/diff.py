"""``sftprep diff``: two runs beside each other."""

from __future__ import annotations

import argparse
import json

SUMMARY = "compare two outputs of prep, or of pack: rows and why, shares, tokens, settings"

EXAMPLES = """\
examples:
  sftprep diff prepared-a/ prepared-b/
  sftprep diff packs-a/ packs-b/ --json | jq .only_a.why
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.add_argument("a", metavar="RUN_A", help="output folder of `sftprep prep` or of `pack`")
    parser.add_argument("b", metavar="RUN_B", help="another one of the same kind")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def run(options: argparse.Namespace) -> int:
    """Compares and prints."""
    from sftprep.differences import diff, diff_summary

    report = diff(options.a, options.b)
    if options.json:
        print(json.dumps(report.to_dict(), ensure_ascii=False, indent=2))
    else:
        print("\n".join(diff_summary(report)))
    return 0
