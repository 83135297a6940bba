"""``sftprep write``: the third of four steps of a run in several processes."""

from __future__ import annotations

import argparse

from sftprep.cli import options as types

SUMMARY = "write the shards of a run that is planned, or some of them"

EXAMPLES = """\
examples:
  sftprep pack big/ --tokenizer model/ --out packs/ --task 1/4   (and 2/4, 3/4, 4/4)
  sftprep plan packs/
  sftprep write packs/ --task 1/2                                (and 2/2)
  sftprep commit packs/
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.add_argument("out", metavar="DIR", help="the --out of `sftprep pack --task`")
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
