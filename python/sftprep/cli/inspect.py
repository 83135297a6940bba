"""``sftprep inspect``: packed rows for people."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from sftprep.cli.options import add_color_argument, wants_color, whole

if TYPE_CHECKING:
    from sftprep._core import Tokenizer
    from sftprep.dataset import ShardDataset

SUMMARY = "show packed rows: documents, span kinds, and what is trained"

EXAMPLES = """\
examples:
  sftprep inspect packs/
  sftprep inspect packs/ --row 17 --document 2
  sftprep inspect packs/ --row 0 --color always | less -R
  sftprep inspect packs/ --count 20 --html packs.html
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.add_argument("dataset", metavar="DIR", help="output folder of `sftprep pack`")
    parser.add_argument(
        "--row", type=whole, default=0, metavar="N", help="first row to show (default 0)"
    )
    parser.add_argument(
        "--count", type=whole, default=1, metavar="N", help="rows to show (default 1)"
    )
    parser.add_argument(
        "--document", type=whole, metavar="N", help="show only that document of each row"
    )
    parser.add_argument(
        "--tokenizer",
        metavar="NAME",
        help="tokenizer to read the ids with (default: the copy in the output folder)",
    )
    parser.add_argument(
        "--html",
        metavar="FILE",
        help="write the rows as one page for a browser, which needs no network",
    )
    add_color_argument(parser)
    parser.add_argument(
        "--width", type=whole, metavar="N", help="columns (default: the terminal's)"
    )


def run(options: argparse.Namespace) -> int:
    """Prints the rows."""
    from sftprep import _core, hub
    from sftprep.dataset import ShardDataset
    from sftprep.errors import ConfigError, TokenizerError
    from sftprep.inspect import legend, view

    rows = ShardDataset(options.dataset)
    own = rows.path / "tokenizer.json"
    if options.tokenizer is None and not own.is_file():
        raise TokenizerError(
            "the dataset has no copy of its tokenizer",
            code="tokenizer.missing",
            path=str(own),
            hint="name it with --tokenizer",
        )
    name = str(own) if options.tokenizer is None else hub.resolve(options.tokenizer)
    tokenizer = _core.Tokenizer.from_file(name)
    if options.html is not None:
        return _write(options, rows, tokenizer)
    color = wants_color(options)
    width = options.width or shutil.get_terminal_size().columns
    try:
        rows[options.row]  # said to be missing even if no row is asked for
        for index in range(options.row, min(options.row + options.count, len(rows))):
            shown = view(
                rows, tokenizer, index, document=options.document, color=color, width=width
            )
            for line in shown:
                print(line)
    except IndexError as error:
        raise ConfigError(f"there is no {error}", field="--row") from error
    print(legend(color))
    return 0


def _write(options: argparse.Namespace, rows: ShardDataset, tokenizer: Tokenizer) -> int:
    """Writes the page."""
    from sftprep.errors import ConfigError, OutputError
    from sftprep.page import page
    from sftprep.totals import counted

    if options.document is not None:
        raise ConfigError("a page shows whole rows", field="--document")
    last = min(options.row + options.count, len(rows))
    try:
        rows[options.row]
    except IndexError as error:
        raise ConfigError(f"there is no {error}", field="--row") from error
    try:
        with Path(options.html).open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(page(rows, tokenizer, range(options.row, last)))
    except OSError as error:
        raise OutputError(
            f"the page cannot be written: {error.strerror}", path=options.html
        ) from error
    print(f"wrote {options.html}: {counted(last - options.row, 'row')}")
    return 0
