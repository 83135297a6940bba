"""``sftprep write``: the third of four steps of a run in several processes."""

from __future__ import annotations

import argparse

from sftprep.cli import options as types
from sftprep.cli.options import PHASES as EXAMPLES

SUMMARY = "write the shards of a run that is planned, or some of them"

__all__ = ["EXAMPLES", "SUMMARY", "add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    types.add_phase_arguments(parser)
    parser.add_argument(
        "--task", type=types.task, metavar="I/N", help="only part I of N (default: all shards)"
    )
    parser.add_argument(
        "--threads", type=types.whole, default=0, metavar="N", help="worker threads (0: all cores)"
    )


def run(options: argparse.Namespace) -> int:
    """Does the phase."""
    from sftprep.api import go_on

    report = go_on(options.out, "write", task=options.task, threads=options.threads)
    print(f"done: {report.parts_done} of {report.parts} shards of {options.out}")
    return 0
