"""``sftprep split``: parts of which none nearly repeats a row of another."""

from __future__ import annotations

import argparse

from sftprep.cli.options import add_stage_arguments, given, print_report, whole

SUMMARY = "split into train, val and test so that no two similar rows are in different parts"

EXAMPLES = """\
examples:
  sftprep split chat.jsonl --val 2% --out parts/
  sftprep split chat.jsonl --val 500 --test 1% --seed 1 --out parts/
  sftprep split chat.jsonl --group-by document_id --dry-run
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    add_stage_arguments(parser, "folder for train.jsonl, val.jsonl and test.jsonl")
    parser.add_argument(
        "--val", metavar="SHARE", help="validation rows: 2%%, 0.02 or a number (default 2%%)"
    )
    parser.add_argument(
        "--test", metavar="SHARE", help="test rows: 1%%, 0.01 or a number (default 0: none)"
    )
    parser.add_argument("--seed", type=whole, metavar="N", help="which groups go where (default 0)")
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="SHARE",
        help="least Jaccard similarity of word 3-grams that keeps rows together (default 0.7)",
    )
    parser.add_argument(
        "--common",
        type=whole,
        metavar="N",
        help="word 3-grams in more than N distinct rows are template: rows that share mostly "
        "those have to be alike without them too (default 0: off)",
    )
    parser.add_argument(
        "--field", choices=("all", "prompt", "answer"), help="what is compared (default all)"
    )
    parser.add_argument(
        "--group-by",
        action="append",
        metavar="COLUMN",
        help="rows of equal values stay together; may be repeated (default conversation_id, "
        "message_tree_id, source_id, where rows have them)",
    )


def run(options: argparse.Namespace) -> int:
    """Runs the stage and prints its report."""
    from sftprep.quality.split import split, split_summary

    values, as_json = given(options)
    report = split(**values)
    print_report(report, split_summary, as_json=as_json)
    return 0
