"""``sftprep prep``: the stages of a recipe, with one ledger."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sftprep.quality import StageReport

SUMMARY = "run a recipe: clean, dedup, decontaminate, select, mix, split, pack, with one ledger"

EXAMPLES = """\
a recipe (every stage is a table, and optional; keys are the options of the stage's own verb):
  out = "prepared"
  [inputs]
  chat = "chat.jsonl"
  math = "math/*.parquet"
  [clean]
  identity = "drop"
  [dedup]
  threshold = 0.8
  [decontaminate]
  against = ["exam.jsonl"]
  [mix]
  weights = { chat = 0.7, math = 0.3 }
  [split]
  val = "2%"
  [pack]
  tokenizer = "model/"
  max_len = 4096

examples:
  sftprep prep recipe.toml --dry-run
  sftprep prep recipe.toml --out prepared/
  sftprep why prepared/ chat:17
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.add_argument(
        "recipe", metavar="RECIPE", help="a file of TOML or JSON, or of YAML with PyYAML"
    )
    parser.add_argument("--out", metavar="DIR", help="output folder (default: the recipe's own)")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="run everything in a temporary folder, say what would go and why, keep nothing",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a folder that prep wrote")
    parser.add_argument(
        "--drop-stages",
        action="store_true",
        help="remove the rows between the stages at the end (default: as the recipe says)",
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def run(options: argparse.Namespace) -> int:
    """Runs the recipe and prints its report."""
    from sftprep.prepare import prep, prep_summary

    def told(name: str, report: StageReport) -> None:
        print(f"{name}: {report.kept:,} of {report.rows:,} rows stay", file=sys.stderr)

    report = prep(
        options.recipe,
        out=options.out,
        dry_run=options.dry_run,
        overwrite=options.overwrite,
        keep_stages=False if options.drop_stages else None,
        progress=told,
    )
    if options.json:
        print(json.dumps(report.to_dict(), ensure_ascii=False, indent=2, default=str))
    else:
        print("\n".join(prep_summary(report)))
    return 0
