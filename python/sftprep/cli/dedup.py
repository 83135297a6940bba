"""``sftprep dedup``: of rows that say the same, one stays."""

from __future__ import annotations

import argparse

from sftprep.cli.options import add_stage_arguments, given, print_report, whole

SUMMARY = "leave out duplicates and near-duplicates; a ledger names the row that is kept for each"

EXAMPLES = """\
examples:
  sftprep dedup chat.jsonl --dry-run
  sftprep dedup a.jsonl b.parquet --out clean.jsonl --threshold 0.8
  sftprep dedup chat.jsonl --field prompt --keep first --out one-per-prompt.jsonl
  sftprep dedup seeds.jsonl new.jsonl --method rouge-l --field prompt --out novel.jsonl
  sftprep dedup chat.jsonl --exact --out clean.jsonl --json | jq .dropped
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    add_stage_arguments(parser)
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="SHARE",
        help="least Jaccard similarity of near-duplicates, 0.1 to 1 (default 0.8); with --method "
        "rouge-l the F1 that no two kept rows exceed (default 0.7)",
    )
    parser.add_argument(
        "--exact",
        dest="exact_only",
        action="store_true",
        help="only rows that are equal but for letter case, white space and quotes",
    )
    parser.add_argument(
        "--field",
        choices=("all", "prompt", "answer"),
        help="what is compared (default all: everything said in the row)",
    )
    parser.add_argument(
        "--keep",
        choices=("longest", "first"),
        help="which of several stays (default longest, whatever the order of rows; with --method "
        "rouge-l the first)",
    )
    parser.add_argument(
        "--common",
        type=whole,
        metavar="N",
        help="word 3-grams in more than N distinct rows are template: rows that share mostly "
        "those have to be alike without them too (default 50; 0: off)",
    )
    parser.add_argument(
        "--method",
        choices=("auto", "exact", "sketch", "rouge-l"),
        help="exact, or MinHash with exact verification (default auto: exact while memory allows); "
        "or Alpaca's rule: ROUGE-L with all rows kept before",
    )


def run(options: argparse.Namespace) -> int:
    """Runs the stage and prints its report."""
    from sftprep.quality import dedup, summary

    values, as_json = given(options)
    report = dedup(**values)
    print_report(report, summary, as_json=as_json)
    return 0
