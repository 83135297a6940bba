"""``sftprep export``: a packed dataset in the layout of another trainer."""

from __future__ import annotations

import argparse

SUMMARY = "write a packed dataset in the layout of another trainer, without tokenizing"

EXAMPLES = """\
examples:
  sftprep export packs/ --to parquet --out packs-parquet/
  sftprep export packs/ --to olmo-npy --out packs-npy/
  sftprep export packs/ --to megatron-bridge --out packs-bridge/
"""

# Those of sftprep.export, which is not imported for --help.
_LAYOUTS = (
    "hf",
    "parquet",
    "olmo-npy",
    "megatron-bridge",
    "megatron-bridge-parquet",
    "megatron-bridge-npy",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.add_argument("dataset", metavar="DIR", help="output folder of `sftprep pack`")
    parser.add_argument(
        "--to",
        required=True,
        choices=_LAYOUTS,
        metavar="LAYOUT",
        help=f"the layout: {', '.join(_LAYOUTS)}",
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="new folder")


def run(options: argparse.Namespace) -> int:
    """Writes the files and lists them."""
    from sftprep.export import export

    for path in export(options.dataset, options.out, options.to):
        print(f"{path}  {path.stat().st_size:,} bytes")
    return 0
