"""``sftprep interpolate``: the weighted mean of two models."""

from __future__ import annotations

import argparse

SUMMARY = "write the weighted mean of two models' weights"

EXAMPLES = """\
examples:
  sftprep interpolate base/ run/model --alpha 0.5 --out between/
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.add_argument("a", metavar="A", help="folder of a transformers model")
    parser.add_argument("b", metavar="B", help="folder of another one of the same shape")
    parser.add_argument(
        "--alpha",
        type=float,
        required=True,
        help="share of B: 0 gives A, 1 gives B; others go beyond",
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="new folder")


def run(options: argparse.Namespace) -> int:
    """Writes the model."""
    from sftprep.errors import ConfigError

    try:
        from sftprep.models.interpolate import interpolate
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"this needs {error.name}, which is not installed", hint="pip install 'sftprep[train]'"
        ) from error
    count = interpolate(options.a, options.b, options.alpha, options.out)
    print(f"wrote {options.out}: {count:,} parameters, {options.alpha:g} of the way from A to B")
    return 0
