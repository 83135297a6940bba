"""``sftprep render``: what the chat template makes of a file's rows."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from sftprep.cli import options as types
from sftprep.config import OPTIONS, PackConfig, merge, nest

if TYPE_CHECKING:
    from sftprep._core import EncodedRow

SUMMARY = "print rows of a file as the model sees them, optionally with what is trained"

EXAMPLES = """\
examples:
  sftprep render chat.jsonl --tokenizer model/
  sftprep render chat.jsonl --tokenizer model/ --row 2031 --mask
  sftprep render chat.jsonl --tokenizer model/ --add-generation-prompt
  sftprep render chat.jsonl --tokenizer builtin --chat-template new.jinja --mask
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.argument_default = argparse.SUPPRESS
    parser.add_argument("input", metavar="INPUT", help="a file, a folder, a pattern or -")
    parser.add_argument(
        "--row", type=types.whole, metavar="N", help="first row to print, from 0 (default 0)"
    )
    parser.add_argument("--count", type=types.whole, metavar="N", help="rows to print (default 1)")
    parser.add_argument(
        "--add-generation-prompt",
        action="store_true",
        help="end with the header of the assistant's next turn",
    )
    parser.add_argument(
        "--mask", action="store_true", help="mark what is trained, and count tokens"
    )
    types.add_color_argument(parser)
    types.add_template_arguments(parser.add_argument_group("rows, template, tokenizer"))
    types.add_label_arguments(parser.add_argument_group("labels, for --mask"))


def run(options: argparse.Namespace) -> int:
    """Prints the rows; a row that is rejected is said to be, and the others go on."""
    import sys

    from sftprep import _core, hub
    from sftprep.errors import ConfigError, SftprepError

    mask = getattr(options, "mask", False)
    prompt = getattr(options, "add_generation_prompt", False)
    if mask and prompt:
        raise ConfigError(
            "a generation prompt is not part of a training row; give one of both",
            field="--add-generation-prompt",
        )
    color = types.wants_color(options)
    encoder = _core.Encoder.from_config(resolve(options, hub.resolve).to_json())
    first = getattr(options, "row", 0)
    count = getattr(options, "count", 1)
    printed, failed = 0, 0
    for number, row in enumerate(encoder.rows()):
        if number < first:
            continue
        if number >= first + count:
            break
        printed += 1
        print(f"── {row.source}:{row.line} " + "─" * 40)
        try:
            if mask:
                for sample in encoder.encode_samples(row):
                    print(masked(sample, color))
            else:
                text = encoder.render(row, add_generation_prompt=prompt)
                print(text, end="" if text.endswith("\n") else "\n")
        except SftprepError as error:
            failed += 1
            print(f"rejected{error}", file=sys.stderr)
    if not printed:
        raise ConfigError(f"there is no row {first}", field="--row")
    return 1 if failed else 0


def resolve(options: argparse.Namespace, local: Any) -> PackConfig:  # noqa: ANN401 - hub.resolve
    """The configuration of a run that would pack these rows."""
    given = {key: value for key, value in vars(options).items() if key in OPTIONS}
    given["inputs"] = [options.input]
    if "tokenizer" in given:
        given["tokenizer"] = local(given["tokenizer"])
    return merge(PackConfig(), nest(given))


def masked(row: EncodedRow, color: bool) -> str:
    """The text with its trained spans marked, and the counts."""
    from sftprep.inspect import joined, legend, mark

    raw = row.text.encode()
    pieces = [
        mark(raw[start:end].decode(errors="replace"), kind, trained=trained, color=color)
        for start, end, kind, trained in joined(
            [(start, end, kind, trained) for start, end, kind, _, trained in row.spans], color
        )
    ]
    trained = int((row.labels >= 0).sum())
    facts: dict[str, object] = {"tokens": len(row.input_ids), "trained": trained}
    facts |= {"methods": row.mask_method} | ({} if row.turn is None else {"turn": row.turn})
    return f"{''.join(pieces)}\n{json.dumps(facts)}\n{legend(color)}"
