"""``sftprep mix-shards``: finished datasets mixed by trained tokens, without tokenizing."""

from __future__ import annotations

import argparse
import sys

from sftprep.cli import options as types

SUMMARY = "mix finished datasets by trained tokens into a new one, without tokenizing"

EXAMPLES = """\
examples:
  sftprep mix-shards math/=0.7 chat/=0.3 --out mixed/
  sftprep mix-shards math/=2 chat/=1 --trained-tokens 50_000_000 --seed 1 --out mixed/
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options; what is not given must be the same in all datasets."""
    parser.add_argument(
        "parts",
        nargs="+",
        type=_part,
        metavar="DIR=SHARE",
        help="output folder of `sftprep pack`, and its share of the trained tokens; only the "
        "ratios of the shares matter",
    )
    parser.add_argument(
        "--trained-tokens",
        type=types.whole,
        metavar="N",
        help="trained tokens in all, about (default: as many as there are, no row twice)",
    )
    types.add_packing_again_arguments(parser, "which rows are drawn, and the order of packed ones")
    types.add_again_arguments(
        parser, "go on although a dataset lost tokens that these options would have kept"
    )


def _part(text: str) -> tuple[str, float]:
    folder, equals, share = text.rpartition("=")
    try:
        number = float(share)
    except ValueError:
        number = 0.0
    if not (folder and equals and 0 < number < float("inf")):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form DIR=SHARE, such as a/=0.7")
    return folder, number


def run(options: argparse.Namespace) -> int:
    """Mixes, and says what came out."""
    from sftprep.again import mix_shards
    from sftprep.errors import ConfigError

    parts = dict(options.parts)
    if len(parts) < len(options.parts):
        raise ConfigError("a dataset is given twice", field="parts")
    report = mix_shards(
        parts,
        options.out,
        trained_tokens=options.trained_tokens,
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
    drawn = sum(part["trained_tokens_drawn"] for part in report.mix)
    for folder, part in zip(parts, report.mix, strict=True):
        print(
            f"{folder}: {part['rows_drawn']:,} of {part['rows']:,} rows, "
            f"{part['trained_tokens_drawn']:,} of {part['trained_tokens']:,} trained tokens, "
            f"{part['trained_tokens_drawn'] / drawn:.2%} of all"
        )
    seconds = sum(report.seconds.values())
    print(
        f"wrote {report.out}: {report.sequences:,} sequences, fill {report.fill:.2%}, "
        f"{report.bytes_written:,} bytes, {seconds:.1f} s"
    )
    return 0
