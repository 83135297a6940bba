"""``sftprep errors``: the page of each error code."""

from __future__ import annotations

import argparse
import difflib
import textwrap

from sftprep.errors import ConfigError, class_of

SUMMARY = "list the error codes, or explain one with an example and its mending"

EXAMPLES = """\
examples:
  sftprep errors
  sftprep errors template.undefined
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.add_argument("code", nargs="?", metavar="CODE", help="code to explain")


def run(options: argparse.Namespace) -> int:
    """Prints the list, or one page."""
    from sftprep import _core

    pages = {page[0]: page for page in _core.codes()}
    if options.code is None:
        width = max(map(len, pages))
        for code, _, cause, _, _ in pages.values():
            print(f"{code:{width}}  {cause}")
        return 0
    if options.code not in pages:
        close = difflib.get_close_matches(options.code, list(pages), n=1, cutoff=0.4)
        raise ConfigError(
            f"there is no error code {options.code!r}",
            field="CODE",
            hint=f"did you mean {close[0]}?" if close else "`sftprep errors` lists all codes",
        )
    code, exit_code, cause, example, fix = pages[options.code]
    print(f"{code}  ({class_of(code).__name__}, exit code {exit_code})\n")
    for title, text in (("cause", cause), ("example", example), ("fix", fix)):
        print(f"{title}:")
        # An example is to be copied, so it is never wrapped.
        wrapped = [text] if title == "example" else textwrap.wrap(text, 76)
        print("\n".join(f"  {line}" for line in wrapped) + "\n")
    return 0
