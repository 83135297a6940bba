"""``sftprep pollute``: spoils a share of the rows on purpose, with the truth beside."""

from __future__ import annotations

import argparse
import json

from sftprep.cli.options import given, whole

SUMMARY = "spoil a share of the rows in one dimension on purpose; which and how stands beside"

EXAMPLES = """\
examples:
  sftprep pollute chat.jsonl --dim target_accuracy --rate 0.2 --seed 1 --out bad.jsonl
  sftprep pollute chat.jsonl --dim class_balance --class topic --rate 0.5 --out bad.jsonl
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.argument_default = argparse.SUPPRESS
    parser.add_argument("data", metavar="DATA", help=".jsonl or .json, also with .gz")
    parser.add_argument(
        "--dim",
        dest="dimension",
        required=True,
        metavar="DIMENSION",
        help="target_accuracy (answers exchanged), feature_accuracy (garbled, invisible or lost "
        "characters in prompts), completeness (answers emptied or missing), uniqueness (copies), "
        "consistent_representation (markers, other models' names), class_balance (rows of a class "
        "left out)",
    )
    parser.add_argument(
        "--rate", type=float, required=True, metavar="SHARE", help="share of the rows, 0 to 1"
    )
    parser.add_argument(
        "--out",
        required=True,
        metavar="FILE",
        help="file for the rows, .jsonl; the truth goes beside it (.truth.jsonl)",
    )
    parser.add_argument("--seed", type=whole, metavar="S", help="which rows and how (default 0)")
    parser.add_argument(
        "--class",
        dest="class_column",
        metavar="COLUMN",
        help="for class_balance: a column that says which class a row is of",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output")
    parser.add_argument("--json", action="store_true", help="print what was done as JSON")


def run(options: argparse.Namespace) -> int:
    """Runs the polluter and says what it did."""
    from sftprep.quality.pollute import pollute

    values, as_json = given(options)
    truth = pollute(values.pop("data"), values.pop("out"), **values)
    if as_json:
        print(json.dumps(truth.to_dict(), ensure_ascii=False, indent=2))
    else:
        print(f"{truth.spoiled:,} of {truth.rows:,} rows spoiled in {truth.dimension}")
        print(f"wrote {truth.out} ({truth.written:,} rows) and {truth.truth}")
    return 0
