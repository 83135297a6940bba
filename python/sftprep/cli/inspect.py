"""``sftprep inspect``: packed rows for people."""

from __future__ import annotations

import argparse
import shutil

from sftprep.cli.options import add_color_argument, wants_color, whole

SUMMARY = "show packed rows: documents, span kinds, and what is trained"

EXAMPLES = """\
examples:
  sftprep inspect packs/
  sftprep inspect packs/ --row 17 --document 2
  sftprep inspect packs/ --row 0 --color always | less -R
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
