"""``sftprep explain``: where one token of a pack came from, and why it is trained or not."""

from __future__ import annotations

import argparse
import json
from typing import Any

SUMMARY = "explain one token: source file, line, message, field, character, and its label"

EXAMPLES = """\
examples:
  sftprep explain packs/:0:17
  sftprep explain packs/:0:17 --json | jq .source.parts
  sftprep explain packs/:0:17 --input chat=/new/place/chat.jsonl
"""

_PARTS = 3
_NOT_OF_THE_ROW = {
    "literal": "text of the template",
    "special_token": "a special token that the template writes",
    "added": "the end-of-sequence token, added",
    "joined": "joins two fields of the source row",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.add_argument(
        "token",
        metavar="DIR:ROW:POS",
        type=_place,
        help="a dataset, a packed row in it and a token in that, both counted from 0",
    )
    parser.add_argument(
        "--input",
        dest="inputs",
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="where an input of the dataset is now, if not where it was; may be repeated",
    )
    parser.add_argument("--json", action="store_true", help="print the explanation as JSON")


def run(options: argparse.Namespace) -> int:
    """Prints what is known; a source row that is gone or changed is an error after that."""
    from sftprep import _core
    from sftprep.errors import SourceError

    path, row, position = options.token
    found: dict[str, Any] = json.loads(_core.explain(path, row, position, options.inputs))[0]
    if options.json:
        print(json.dumps(found, ensure_ascii=False, indent=2))
    else:
        print("\n".join(lines(found)))
    missing = found["missing"]
    if missing is None:
        return 0
    raise SourceError(
        missing["message"],
        code=missing["code"],
        path=missing["path"],
        line=missing["line"],
        hint=missing["hint"],
    )


def lines(found: dict[str, Any]) -> list[str]:
    """The explanation for people."""
    from sftprep.inspect import printable

    document = found["document"]
    first, last = found["span"]
    state = "trained" if found["trained"] else "not trained"
    place = f"{document['path'] or document['source']}:{document['line']}"
    source = found["source"]
    role = f" ({source['role']})" if source and source["role"] else ""
    message = f", message {found['message']}{role}" if found["message"] is not None else ""
    proof = f"; its start was proven by {source['method']}" if source and source["method"] else ""
    weight = "" if found["weight"] == 1 else f", weight {found['weight']:g}"
    shown = [
        f"token     {_quoted(found['token'])}, id {found['id']}, position {found['position']} of "
        f"row {found['row']}",
        f"kind      {found['kind']}{message}, tokens {first} to {last - 1} of the row",
        f"label     {state}: {found['why']}{proof}{weight}",
        f"document  {document['index']} of the row, token {document['token']} of it"
        + (f", part {document['part']} of its source row" if document["part"] else ""),
        f"source    {place}, byte {document['byte_offset']}",
    ]
    for part in source["parts"] if source else ():
        shown.append(f"origin    {_origin(part)}")
    before, token, after = (
        printable(found[name]).replace("↵\n", "↵") for name in ("before", "token", "after")
    )
    return [*shown, f"text      {before}⟦{token}⟧{after}"]


def _origin(part: dict[str, Any]) -> str:
    text = _quoted(part["text"])
    if part["origin"] in _NOT_OF_THE_ROW:
        return f"{text}: {_NOT_OF_THE_ROW[part['origin']]}"
    if part["origin"] == "tokens":
        return f"{part['path']} of the source row"
    field = f"messages[{part['message']}]" if part["message"] is not None else part["origin"]
    if part["field"]:
        field = f"{field}.{part['field']}" if part["message"] is not None else part["field"]
    if part["origin"] == "text":
        field = part["path"] or "text"
    where = f"{text}: {field}"
    if part["path"] not in {None, field}:
        where += f", in the source row {part['path']}"
    if part["chars"] is None:
        return f"{where}; not an exact copy of its characters"
    (first, last), (low, high) = part["chars"], part["field_bytes"]
    return f"{where}, characters {first} to {last}, bytes {low} to {high}"


def _quoted(text: str) -> str:
    from sftprep.inspect import printable

    return json.dumps(printable(text).replace("↵\n", "\n"), ensure_ascii=False)


def _place(text: str) -> tuple[str, int, int]:
    """``DIR:ROW:POS``."""
    parts = text.rsplit(":", _PARTS - 1)
    if len(parts) == _PARTS and parts[0] and all(part.isdecimal() for part in parts[1:]):
        return parts[0], int(parts[1]), int(parts[2])
    raise argparse.ArgumentTypeError(
        f"{text!r} is not of the form DIR:ROW:POS, such as packs/:0:17"
    )
