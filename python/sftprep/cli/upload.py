"""``sftprep upload``: a finished dataset into an object store."""

from __future__ import annotations

import argparse

SUMMARY = "put a finished dataset into an object store, the manifest last"

EXAMPLES = """\
examples:
  sftprep upload packs/ s3://bucket/packs
  sftprep upload packs/ s3://bucket/packs --overwrite
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.add_argument("dataset", metavar="DIR", help="output folder of `sftprep pack`")
    parser.add_argument("url", metavar="URL", help="an empty place, such as s3://bucket/packs")
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace the dataset that is there, or what is left of another upload",
    )


def run(options: argparse.Namespace) -> int:
    """Uploads; an upload that died is gone on with."""
    from sftprep.cloud import upload

    names = upload(options.dataset, options.url, overwrite=options.overwrite)
    print(f"{options.url}: {len(names)} files")
    return 0
