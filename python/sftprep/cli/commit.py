"""``sftprep commit``: the last of four steps of a run in several processes."""

from __future__ import annotations

import argparse

from sftprep.cli.options import PHASES as EXAMPLES
from sftprep.cli.options import add_phase_arguments as add_arguments

SUMMARY = "make a dataset of the shards that are written: check them and write the manifest"

__all__ = ["EXAMPLES", "SUMMARY", "add_arguments", "run"]


def run(options: argparse.Namespace) -> int:
    """Does the phase."""
    from sftprep.api import go_on

    report = go_on(options.out, "commit")
    print(f"wrote {options.out}: {report.shards} shards, {report.content_id}")
    return 0
