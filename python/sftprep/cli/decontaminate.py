"""``sftprep decontaminate``: rows that contain a test item leave the training set."""

from __future__ import annotations

import argparse

from sftprep.cli.options import Collect, add_stage_arguments, given, pair, print_report, whole

SUMMARY = "leave out rows that contain an item of a test set; a ledger says which item, and where"

EXAMPLES = """\
examples:
  sftprep decontaminate chat.jsonl --against exam.jsonl --dry-run
  sftprep decontaminate chat.jsonl --against exam.jsonl 'eval/*.jsonl' --out clean.jsonl
  sftprep decontaminate chat.jsonl --against gsm8k.jsonl --against-format text \\
      --against-map text=question --out clean.jsonl
"""

_FIELDS = ("all", "prompt", "answer")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    from sftprep.config import choices

    add_stage_arguments(parser)
    parser.add_argument(
        "--against",
        nargs="+",
        required=True,
        metavar="TEST",
        help="test sets: files, folders or quoted patterns, each also as name=path",
    )
    parser.add_argument(
        "--against-format",
        choices=choices("source", "format"),
        help="row format of the test sets (default: auto, detected per file)",
    )
    parser.add_argument(
        "--against-map",
        metavar="WANTED=COLUMN",
        type=pair,
        action=Collect,
        help="a column of the test sets, such as text=question; may be repeated",
    )
    parser.add_argument(
        "--against-field",
        choices=_FIELDS,
        help="what of a test row is searched for (default prompt; raw text is all prompt)",
    )
    parser.add_argument(
        "--containment",
        type=float,
        metavar="SHARE",
        help="least share of a test item's word n-grams that a row has to have, 0 to 1 "
        "(default 0.5)",
    )
    parser.add_argument(
        "--ngram",
        type=whole,
        metavar="WORDS",
        help="words of an n-gram (default 5); shorter items are found where they make up a line",
    )
    parser.add_argument(
        "--common",
        type=whole,
        metavar="N",
        help="n-grams of more than N rows are boilerplate and do not count (default 50; 0: off)",
    )
    parser.add_argument("--field", choices=_FIELDS, help="what of a row is searched (default all)")


def run(options: argparse.Namespace) -> int:
    """Runs the stage and prints its report."""
    from sftprep.quality import decontaminate, summary

    values, as_json = given(options)
    report = decontaminate(**values)
    print_report(report, summary, as_json=as_json)
    return 0
