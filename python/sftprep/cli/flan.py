"""``sftprep flan``: rows of a task written out by templates."""

from __future__ import annotations

import argparse
import json

from sftprep.cli.options import given, whole

SUMMARY = "write the rows of a task out by FLAN's templates, as prompts and completions"

EXAMPLES = """\
examples:
  sftprep flan anli.jsonl --templates templates.json --task anli --out train.jsonl
  sftprep flan boolq.jsonl --templates templates.json --task bool_q --all-templates --out all.jsonl
  sftprep flan qa.jsonl --templates t.json --task qa --cap 3000 --seed 1 --draw --out qa.out.jsonl
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.argument_default = argparse.SUPPRESS
    parser.add_argument("rows", metavar="ROWS", help=".jsonl or .json, also with .gz")
    parser.add_argument(
        "--templates",
        required=True,
        metavar="FILE",
        help="a JSON object: task -> list of pairs [input, target] with fields in braces",
    )
    parser.add_argument("--task", required=True, metavar="NAME", help="the task in that file")
    parser.add_argument("--out", metavar="FILE", help="file for the rows, .jsonl")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--all-templates",
        dest="choice",
        action="store_const",
        const="all",
        help="a row per template (default: each row takes the next template, as in FLAN)",
    )
    which.add_argument(
        "--draw", dest="choice", action="store_const", const="draw", help="draw a template per row"
    )
    parser.add_argument(
        "--options",
        choices=("list", "letters", "none"),
        help="how {options_} is written from the column options: a list with dashes (default), "
        "(A) (B) ..., or not at all",
    )
    parser.add_argument(
        "--lost-breaks",
        choices=("refuse", "fix", "keep"),
        help="templates in which a line break lost its backslash, {field}n: refuse them (default), "
        "write the line break, or keep the n",
    )
    parser.add_argument(
        "--cap", type=whole, metavar="N", help="rows used at most, drawn (default 0: all)"
    )
    parser.add_argument("--seed", type=whole, metavar="S", help="what is drawn (default 0)")
    parser.add_argument(
        "--fields",
        type=lambda text: text.split(","),
        metavar="A,B,C",
        help="names for the cells of rows that are arrays",
    )
    parser.add_argument(
        "--messages", action="store_true", help="write messages instead of prompt and completion"
    )
    parser.add_argument("--dry-run", action="store_true", help="count, write nothing")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def run(options: argparse.Namespace) -> int:
    """Writes the rows and says how many."""
    from sftprep.quality.instruct import flan

    values, as_json = given(options)
    report = flan(values.pop("rows"), **values)
    if as_json:
        print(json.dumps(report.to_dict(), ensure_ascii=False, indent=2))
        return 0
    print(f"{report.used:,} of {report.rows:,} rows by {len(report.templates)} templates")
    if report.capped:
        print(f"{report.capped:,} rows beyond the cap left out")
    for number, places in report.lost_breaks.items():
        print(f"template {number} has lost the backslash of a line break: {', '.join(places)}")
    wrote = f"wrote {report.out}" if report.out else "dry run: nothing was written"
    print(f"{wrote} ({report.written:,} rows)")
    return 0
