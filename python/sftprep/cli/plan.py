"""``sftprep plan``: the second of four steps of a run in several processes."""

from __future__ import annotations

import argparse

SUMMARY = "plan the rows of a run whose tasks are all done"

EXAMPLES = """\
examples:
  sftprep pack big/ --tokenizer model/ --out packs/ --task 1/4   (and 2/4, 3/4, 4/4)
  sftprep plan packs/
  sftprep write packs/ --task 1/2                                (and 2/2)
  sftprep commit packs/
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    add_out(parser)


def add_out(parser: argparse.ArgumentParser) -> None:
    """Adds the folder of the run."""
    parser.add_argument("out", metavar="DIR", help="the --out of `sftprep pack --task`")


def run(options: argparse.Namespace) -> int:
    """Does the phase."""
    from sftprep.api import go_on

    report = go_on(options.out, "plan")
    print(
        f"planned: {report.totals.packed:,} of {report.totals.rows:,} rows, "
        f"{report.sequences:,} sequences, fill {report.fill:.2%}"
    )
    return 0
