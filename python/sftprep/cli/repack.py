"""``sftprep repack``: other packing options for a dataset, without tokenizing again."""

from __future__ import annotations

import argparse
import sys

from sftprep.cli import options as types

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
    types.add_packing_again_arguments(parser, "order of documents of equal length")
    types.add_again_arguments(
        parser, "go on although the source lost tokens that these options would have kept"
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
        memory=options.memory,
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
