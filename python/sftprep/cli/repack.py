"""``sftprep repack``: other packing options for a dataset, without tokenizing again."""

from __future__ import annotations

import argparse
import sys

from sftprep.cli import options as types
from sftprep.config import choices

SUMMARY = "pack a finished dataset again with other options, without tokenizing"

EXAMPLES = """\
examples:
  sftprep repack packs/ --max-len 8192 --out packs-8k/
  sftprep repack packs/ --balance 64 --out packs-64-ranks/
  sftprep repack packs/ --strategy sequential --seed 3 --out packs-in-order/
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options; what is not given stays as it was."""
    parser.add_argument("dataset", metavar="DIR", help="output folder of `sftprep pack`")
    parser.add_argument("--out", required=True, metavar="DIR", help="output folder")
    parser.add_argument("--max-len", type=types.whole, metavar="TOKENS", help="tokens per sequence")
    parser.add_argument("--strategy", choices=choices("pack", "strategy"), help="packing strategy")
    parser.add_argument(
        "--overlong", choices=choices("pack", "overlong"), help="what to do with longer rows"
    )
    parser.add_argument("--seed", type=types.whole, help="order of documents of equal length")
    parser.add_argument(
        "--balance",
        type=types.whole,
        metavar="ROWS",
        help="ROWS rows that follow each other cost about the same, see `sftprep pack --help`",
    )
    parser.add_argument(
        "--shard-size", type=types.size, metavar="SIZE", help="size of a shard, about"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output")
    parser.add_argument(
        "--allow-lost",
        action="store_true",
        help="go on although the source lost tokens that these options would have kept",
    )
    parser.add_argument(
        "--threads", type=types.whole, default=0, metavar="N", help="worker threads (0: all cores)"
    )


def run(options: argparse.Namespace) -> int:
    """Packs again and says what came out."""
    from sftprep.again import repack

    report = repack(
        options.dataset,
        options.out,
        max_len=options.max_len,
        strategy=options.strategy,
        overlong=options.overlong,
        seed=options.seed,
        balance=options.balance,
        shard_bytes=options.shard_size,
        overwrite=options.overwrite,
        allow_lost=options.allow_lost,
        threads=options.threads,
        progress=True,
    )
    for warning in report.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    seconds = sum(report.seconds.values())
    print(
        f"wrote {report.out}: {report.sequences:,} sequences, fill {report.fill:.2%}, "
        f"{report.bytes_written:,} bytes, {seconds:.1f} s"
    )
    return 0
