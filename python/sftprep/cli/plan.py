"""``sftprep plan``: the second of four steps of a run in several processes."""

from __future__ import annotations

import argparse

from sftprep.cli.options import PHASES as EXAMPLES
from sftprep.cli.options import add_phase_arguments as add_arguments

SUMMARY = "plan the rows of a run whose tasks are all done"

__all__ = ["EXAMPLES", "SUMMARY", "add_arguments", "run"]


def run(options: argparse.Namespace) -> int:
    """Does the phase."""
    from sftprep.api import go_on

    report = go_on(options.out, "plan")
    print(
        f"planned: {report.totals.packed:,} of {report.totals.rows:,} rows, "
        f"{report.sequences:,} sequences, fill {report.fill:.2%}"
    )
    return 0
