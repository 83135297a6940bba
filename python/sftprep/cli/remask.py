"""``sftprep remask``: less to train of a dataset, without tokenizing again."""

from __future__ import annotations

import argparse
import sys

from sftprep.cli import options as types
from sftprep.config import choices

SUMMARY = "train less of a finished dataset, without tokenizing again"

EXAMPLES = """\
examples:
  sftprep remask packs/ --train-on last_turn --out packs-last-turn/
  sftprep remask packs/ --no-reasoning --out packs-answers/
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options; what is not given stays as it was."""
    parser.add_argument("dataset", metavar="DIR", help="output folder of `sftprep pack`")
    parser.add_argument(
        "--train-on", metavar="last_turn", help="last_turn: the last assistant turn only"
    )
    for name, what in (("reasoning", "reasoning"), ("tool_calls", "tool calls")):
        parser.add_argument(
            f"--no-{name.replace('_', '-')}",
            dest=name,
            action="store_false",
            default=None,
            help=f"do not train {what}",
        )
    parser.add_argument(
        "--stop",
        choices=choices("label", "stop"),
        help="train the stop token of every trained turn, of the last, or none",
    )
    types.add_again_arguments(
        parser, "go on, and name them, where rows may come out otherwise than from the inputs"
    )


def run(options: argparse.Namespace) -> int:
    """Labels and packs again, and says what came out."""
    from sftprep.again import remask

    report = remask(
        options.dataset,
        options.out,
        train_on=options.train_on,
        reasoning=options.reasoning,
        tool_calls=options.tool_calls,
        stop=options.stop,
        overwrite=options.overwrite,
        allow_lost=options.allow_lost,
        threads=options.threads,
        memory=options.memory,
        progress=True,
    )
    for warning in report.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    totals = report.totals
    share = totals.trained / max(1, totals.trained + totals.context)
    seconds = sum(report.seconds.values())
    print(
        f"wrote {report.out}: {report.sequences:,} sequences, {share:.1%} of the tokens trained, "
        f"{seconds:.1f} s"
    )
    return 0
