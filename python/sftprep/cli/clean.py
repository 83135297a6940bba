"""``sftprep clean``: what rows show by themselves is taken out, flagged, or ends them."""

from __future__ import annotations

import argparse

from sftprep.cli.options import Collect, add_stage_arguments, given, pair, print_report

SUMMARY = "take out, flag or drop what rows show by themselves: damage, markers, empty answers"

EXAMPLES = """\
examples:
  sftprep clean chat.jsonl --dry-run
  sftprep clean chat.jsonl --out clean.jsonl --rule identity=drop --rule refusal=off
  sftprep clean chat.jsonl --out clean.jsonl --rule mojibake=fix     (needs ftfy)
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    add_stage_arguments(parser)
    parser.add_argument(
        "--rule",
        dest="rules",
        metavar="RULE=ACTION",
        type=pair,
        action=Collect,
        help="off, flag, fix or drop what a rule finds; may be repeated. Rules: format, roles, "
        "empty_answer, empty_prompt, merged_record (dropped unless you say otherwise), unicode, "
        "noinput (fixed), mojibake, replacement, loops, incapable, identity, refusal, leftovers "
        "(flagged); merged_record, mojibake, unicode and noinput can be fixed",
    )


def run(options: argparse.Namespace) -> int:
    """Runs the stage and prints its report."""
    from sftprep.quality.clean import clean, clean_summary

    values, as_json = given(options)
    report = clean(**values)
    print_report(report, clean_summary, as_json=as_json)
    return 0
