"""``sftprep check-template``: which conversation shapes a template's masks are proven for."""

from __future__ import annotations

import argparse
import json
from typing import Any

from sftprep.cli import options as types

SUMMARY = "certify a chat template: which shapes are proven, and what is refused by which rule"

EXAMPLES = """\
examples:
  sftprep check-template chatml
  sftprep check-template model/
  sftprep check-template new.jinja --tokenizer model/
  sftprep check-template model/ --json | jq .proven
"""

NOT_PROVEN = 5
"""Exit code for a template that is not proven for plain conversations."""

_MARKS = {"proven": "proven", "refused": "REFUSED", "template_refuses": "template refuses"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.add_argument(
        "template",
        metavar="TEMPLATE",
        help="a file, a built-in name, a tokenizer folder, or a hub id",
    )
    parser.add_argument(
        "--tokenizer",
        metavar="NAME",
        default="",
        help="a folder, a tokenizer.json, a hub id or 'builtin' (default: the template's own, if "
        "TEMPLATE is a folder)",
    )
    parser.add_argument(
        "--template-arg",
        dest="template_kwargs",
        metavar="KEY=JSON",
        type=types.json_pair,
        action=types.Collect,
        help="a variable for the template, such as enable_thinking=false; may be repeated",
    )
    parser.add_argument("--json", action="store_true", help="print the certificate as JSON")


def run(options: argparse.Namespace) -> int:
    """Prints the certificate; exit code 5 if plain conversations are not proven."""
    from sftprep import _core, hub
    from sftprep.config import json_of

    given: dict[str, Any] = {"tokenizer": hub.resolve(options.tokenizer)}
    if getattr(options, "template_kwargs", None):
        given["template_kwargs"] = options.template_kwargs
    certificate = json.loads(_core.check_template(hub.resolve(options.template), json_of(given)))
    if options.json:
        print(json.dumps(certificate, ensure_ascii=False, indent=2))
    else:
        print("\n".join(lines(options.template, certificate)))
    return 0 if certificate["proven"] else NOT_PROVEN


def lines(name: str, certificate: dict[str, Any]) -> list[str]:
    """The certificate for people."""
    verdict = "proven" if certificate["proven"] else "NOT PROVEN"
    shapes = certificate["shapes"]
    width = max(len(shape["name"]) for shape in shapes)
    stop = "inside every proven turn" if certificate["stop_always_inside"] else "not in every turn"
    history = "rewritten once turns follow" if certificate["rewrites_history"] else "kept as it was"
    found = [f"{name}: {verdict} for plain, multi-turn and system conversations", ""]
    found += [line for shape in shapes for line in _shape(shape, width)]
    found += ["", f"stop token: {stop}", f"history: {history}"]
    if certificate["generation_tags"]:
        disagree = ", ".join(certificate["tags_disagree"]) or "agree with the proven spans"
        found.append(f"generation tags: {disagree}")
    if certificate["reads_clock"]:
        found.append("date: the text depends on it; give --date to repeat a run")
    found += _tokens(certificate)
    found.append(f"certificate: {certificate['blake3']}")
    return found


def _shape(shape: dict[str, Any], width: int) -> list[str]:
    from sftprep.inspect import printable

    turns = shape["turns"]
    methods = ", ".join(dict.fromkeys(turn["method"] for turn in turns if turn["method"]))
    mark = _MARKS[shape["outcome"]]
    notes = [methods] if shape["outcome"] == "proven" else []
    notes += [f"{shape['samples']} samples, one per turn"] if shape["samples"] > 1 else []
    notes += [f"leaves out {', '.join(shape['left_out'])}"] if shape["left_out"] else []
    if shape["rewritten_after"]:
        after = ", ".join(str(message) for message in shape["rewritten_after"])
        notes.append(f"rewritten after message {after}")
    dropped = dict.fromkeys(field for turn in turns for field in turn["dropped"])
    notes += [f"drops {', '.join(dropped)}"] if dropped else []
    found = [f"  {shape['name']:{width}}  {mark:16}  {'; '.join(notes)}".rstrip()]
    refused = [turn for turn in turns if turn["rule"]]
    for turn in refused:
        found.append(f"    message {turn['message']}: rule {turn['rule']}: {turn['detail']}")
        found.append(f"      there: {printable(turn['around'])!r}")
    if shape["error"] and not refused:
        found.append(f"    {printable(shape['error'])}")
    if shape["control_ids_from_content"]:
        found.append(f"    {shape['control_ids_from_content']} control ids from the row's own text")
    return found


def _tokens(certificate: dict[str, Any]) -> list[str]:
    if not certificate["tokenizer"]:
        stand_ins = ", ".join(certificate["stand_ins"])
        note = f"; stand-ins for {stand_ins}" if stand_ins else ""
        return [f"tokenizer: none given, so tokens were not judged{note}"]
    found = []
    for kind in ("control", "tag"):
        tokens = [it["token"] for it in certificate["control_tokens"] if it["class"] == kind]
        shown = " ".join(tokens[:12]) + (" …" if len(tokens) > 12 else "")  # noqa: PLR2004
        found.append(f"{kind} tokens: {len(tokens)}  {shown}".rstrip())
    if certificate["split_control_strings"]:
        split = " ".join(certificate["split_control_strings"])
        found.append(f"not single tokens of this tokenizer: {split}")
    return found
