"""``sftprep doctor``: how another trainer has to be set up for packed shards."""

from __future__ import annotations

import argparse
import sys

from sftprep.cli import options as types

SUMMARY = "print how another trainer reads the shards as they are, and what would spoil them"

EXAMPLES = """\
examples:
  sftprep doctor --trl packs/
  sftprep doctor --trl packs/ --set max_length=2048 --set packing=true
  sftprep doctor --trl packs/ --settings sft.yaml
"""

_WRONG = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.add_argument(
        "--trl",
        required=True,
        metavar="DIR",
        help="output folder of `sftprep pack`, for TRL's SFTTrainer: print the recipe, or judge "
        "settings",
    )
    parser.add_argument(
        "--settings",
        metavar="FILE",
        help="settings of SFTConfig to judge: JSON, TOML, or YAML where PyYAML is installed",
    )
    parser.add_argument(
        "--set",
        dest="one",
        metavar="NAME=JSON",
        type=types.json_pair,
        action=types.Collect,
        default=argparse.SUPPRESS,
        help="one such setting; may be repeated, and wins over the file",
    )


def run(options: argparse.Namespace) -> int:
    """Prints the recipe, or what is wrong with the settings: then exit code 2."""
    from sftprep.doctor import read_settings, trl_findings, trl_recipe

    settings = None
    if options.settings is not None or hasattr(options, "one"):
        file = {} if options.settings is None else read_settings(options.settings)
        settings = {**file, **getattr(options, "one", {})}
    findings = trl_findings(options.trl, settings)
    if settings is None:
        print(trl_recipe(options.trl), end="")
        for finding in findings:
            print(finding, file=sys.stderr)
    else:
        print("\n".join(map(str, findings)) or "ok: the rows are trained as they are")
    return _WRONG if any(finding.severity == "error" for finding in findings) else 0
