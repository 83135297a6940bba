"""``sftprep download``: a dataset out of an object store."""

from __future__ import annotations

import argparse

SUMMARY = "fetch a dataset from an object store and check every byte"

EXAMPLES = """\
examples:
  sftprep download s3://bucket/packs packs/
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.add_argument("url", metavar="URL", help="where it is, such as s3://bucket/packs")
    parser.add_argument("out", metavar="DIR", help="new folder")


def run(options: argparse.Namespace) -> int:
    """Downloads."""
    from sftprep.cloud import download

    print(f"{download(options.url, options.out)}: checked")
    return 0
