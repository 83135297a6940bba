"""``sftprep trees``: messages of an export that has one per row, put together to trees."""

from __future__ import annotations

import argparse

from sftprep.cli.options import add_limits, given, print_report, size

SUMMARY = "put the messages of a flat Open-Assistant export together to trees"

EXAMPLES = """\
examples:
  sftprep trees messages.jsonl.gz --out trees.jsonl
  sftprep trees part-1.parquet part-2.parquet --hold 2GiB --out trees.jsonl
  sftprep pack trees.jsonl --tree threads=best --tree lang=en --tokenizer model/ --out packs/
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.argument_default = argparse.SUPPRESS
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="DATA",
        help="files of one message per row: .jsonl, .json, .parquet, .arrow, also .gz and .zst",
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        help="file for the trees, .jsonl; the ledger of messages goes beside it (.ledger.arrow)",
    )
    parser.add_argument(
        "--hold",
        type=size,
        metavar="SIZE",
        help="messages held at most (default 256MiB); beyond, the tree that was added to the "
        "longest ago is written",
    )
    parser.add_argument("--dry-run", action="store_true", help="count, write nothing")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    add_limits(parser, "messages are part of no tree")


def run(options: argparse.Namespace) -> int:
    """Runs the stage and prints its report."""
    from sftprep.quality import summary, trees

    values, as_json = given(options)
    report = trees(**values)
    print_report(report, summary, as_json=as_json)
    return 0
