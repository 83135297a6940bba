"""Argument types that several commands share."""

from __future__ import annotations

import argparse
import json
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}
_SIZE = r"(\d+(?:\.\d+)?)\s*([kmg]i?)?b?"

PHASES = """\
examples:
  sftprep pack big/ --tokenizer model/ --out packs/ --task 1/4   (and 2/4, 3/4, 4/4)
  sftprep plan packs/
  sftprep write packs/ --task 1/2                                (and 2/2)
  sftprep commit packs/
"""
"""Examples of `plan`, `write` and `commit`: the steps of a run in several processes."""


def size(text: str) -> int:
    """Bytes of a size such as ``256MiB``, ``1.5GB`` or ``65536``."""
    import re

    match = re.fullmatch(_SIZE, text.strip(), re.IGNORECASE)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 256MiB, 1.5GB or 65536")
    number, unit = match.groups()
    return int(float(number) * _UNITS[(unit or "").lower()])


def whole(text: str) -> int:
    """A whole number, 0 or more; underscores may group its digits."""
    try:
        number = int(text)
    except ValueError:
        number = -1
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number, 0 or more")
    return number


def task(text: str) -> tuple[int, int]:
    """``I/N``: part I, counted from 1, of N."""
    number, slash, of = text.partition("/")
    if slash and number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of):
        return int(number), int(of)
    raise argparse.ArgumentTypeError(f"{text!r} is not of the form I/N with I from 1 to N")


def pair(text: str) -> tuple[str, str]:
    """``KEY=VALUE``."""
    key, equals, value = text.partition("=")
    if not (key and equals and value):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form KEY=VALUE")
    return key, value


def json_pair(text: str) -> tuple[str, Any]:
    """``KEY=JSON``."""
    key, value = pair(text)
    try:
        return key, json.loads(value)
    except json.JSONDecodeError:
        raise argparse.ArgumentTypeError(
            f"the value of {text!r} is not JSON; a string needs quotes: '{key}=\"{value}\"'"
        ) from None


class Collect(argparse.Action):
    """Collects repeated ``KEY=VALUE`` options in one dictionary."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,  # noqa: ANN401 - one of the pairs above
        option_string: str | None = None,
    ) -> None:
        """Adds one pair."""
        key, value = values
        setattr(namespace, self.dest, {**getattr(namespace, self.dest, {}), key: value})


def add_color_argument(parser: argparse._ActionsContainer) -> None:
    """The option that says whether to print colours."""
    parser.add_argument(
        "--color",
        choices=("auto", "always", "never"),
        help="colours on a terminal (auto, default; NO_COLOR is obeyed), always, or never",
    )


def wants_color(options: argparse.Namespace) -> bool:
    """Whether to print colours to standard output."""
    asked = getattr(options, "color", None) or "auto"
    if asked != "auto":
        return bool(asked == "always")
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def add_stage_arguments(
    parser: argparse.ArgumentParser, folder: str | None = None, *, inputs: bool = True
) -> None:
    """Options of every stage that reads rows and writes the ones that stay.

    Args:
        parser: The parser of the command.
        folder: Help of ``--out`` for a stage that writes a folder.
        inputs: Whether the inputs are plain ones.
    """
    parser.argument_default = argparse.SUPPRESS
    if inputs:
        parser.add_argument(
            "inputs",
            nargs="+",
            metavar="DATA",
            help="a file, a folder or a quoted pattern, each also as name=path; .jsonl, .json, "
            ".parquet, .arrow, also .gz and .zst",
        )
    parser.add_argument(
        "--out",
        metavar="DIR" if folder else "FILE",
        help=folder
        or "file for the rows that stay, .jsonl; the ledger goes beside it (.ledger.arrow)",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would go and why, write nothing"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    add_format_arguments(parser)
    add_limits(parser, "rows are no JSON objects")
    parser.add_argument(
        "--threads", type=whole, metavar="N", help="worker threads (default 0: all cores)"
    )


def add_phase_arguments(parser: argparse._ActionsContainer) -> None:
    """The folder of a run in several processes."""
    parser.add_argument("out", metavar="DIR", help="the --out of `sftprep pack --task`")


def add_format_arguments(parser: argparse._ActionsContainer) -> None:
    """Options that say how rows are understood."""
    from sftprep.config import choices

    parser.add_argument(
        "--format",
        choices=choices("source", "format"),
        help="row format (default: auto, detected per source, with its evidence)",
    )
    parser.add_argument(
        "--map",
        metavar="WANTED=COLUMN",
        type=pair,
        action=Collect,
        help="the column that holds a field the format wants, such as messages=dialogue; "
        "may be repeated",
    )
    parser.add_argument(
        "--role",
        metavar="FROM=TO",
        type=pair,
        action=Collect,
        help="a role of the file and what it means (system, developer, user, assistant, tool); "
        "may be repeated",
    )
    parser.add_argument(
        "--tree",
        metavar="RULE=VALUE",
        type=pair,
        action=Collect,
        help="what to take of message trees: threads=all, answered or best; state=, lang=; "
        "deleted=, rejected=, synthetic=keep or drop; label.NAME=0.5..; may be repeated",
    )


def add_template_arguments(parser: argparse._ActionsContainer) -> None:
    """Options that say how rows are understood, rendered and tokenized."""
    from sftprep.config import choices

    parser.add_argument(
        "--tokenizer",
        metavar="NAME",
        help="a folder, a tokenizer.json, a hub id (org/name, needs the extra 'hub'), or 'builtin'",
    )
    parser.add_argument(
        "--chat-template",
        metavar="TEMPLATE",
        help="a file, the template itself, or chatml, alpaca, vicuna, plain "
        "(default: the tokenizer's own)",
    )
    parser.add_argument(
        "--template-arg",
        dest="template_kwargs",
        metavar="KEY=JSON",
        type=json_pair,
        action=Collect,
        help="a variable for the template, such as enable_thinking=false; a row's own win; "
        "may be repeated",
    )
    parser.add_argument(
        "--date",
        metavar="DATE",
        help="YYYY-MM-DD or YYYY-MM-DDTHH:MM:SS that templates see (default: today, recorded)",
    )
    add_format_arguments(parser)
    parser.add_argument(
        "--parts",
        choices=choices("source", "parts"),
        help="content that is a list of parts: hand it to the template (raw), join its texts "
        "(join), or whichever the template handles (auto, default)",
    )


def add_label_arguments(parser: argparse._ActionsContainer) -> None:
    """Options that say what is trained."""
    from sftprep.config import choices

    parser.add_argument(
        "--train-on",
        metavar="ROLES",
        help="roles whose turns are trained, with commas between (default assistant), or "
        "last_turn: the last assistant turn only",
    )
    parser.add_argument(
        "--history",
        choices=choices("label", "history"),
        help="the template leaves out reasoning of turns that others follow: one sample per turn, "
        "as inference would see it (per_turn, default), train them without it (allow), or reject "
        "the row (refuse)",
    )
    parser.add_argument(
        "--dropped",
        choices=choices("label", "dropped"),
        help="the template leaves out any other field of a trained turn: reject the row (refuse, "
        "default), or train the turn without it (allow)",
    )
    parser.add_argument(
        "--no-reasoning",
        dest="reasoning",
        action="store_false",
        help="do not train reasoning",
    )
    parser.add_argument(
        "--no-tool-calls",
        dest="tool_calls",
        action="store_false",
        help="do not train tool calls",
    )
    parser.add_argument(
        "--stop",
        choices=choices("label", "stop"),
        help="train the stop token of every trained turn (turn, default), of the last (last), "
        "or none",
    )
    parser.add_argument(
        "--special-text",
        choices=choices("label", "special_text"),
        help="a row's own text that spells a control token: tokenize it as plain text (default), "
        "refuse the row, or let it become the token as transformers does",
    )
    parser.add_argument(
        "--boundary",
        choices=choices("label", "boundary"),
        help="tokenize as one text, as transformers does (hf, default; a token across the start of "
        "an answer is not trained), or as a serving engine goes on from its prompt (inference)",
    )
    parser.add_argument(
        "--append-eos",
        choices=choices("label", "append_eos"),
        help="end rows without a template with eos: completions only (auto, default), "
        "raw text too (always), neither (never)",
    )
    parser.add_argument(
        "--assistant-header",
        metavar="TEXT",
        help="for a template that proves no start: the literal text before an assistant's turn; "
        "still verified, and given together with --assistant-stop",
    )
    parser.add_argument(
        "--assistant-stop",
        metavar="TEXT",
        help="the literal text that ends such a turn",
    )


def add_packing_again_arguments(parser: argparse._ActionsContainer, seed: str) -> None:
    """Options of packing for documents that are there already; ``seed`` says what it decides."""
    from sftprep.config import choices

    parser.add_argument("--max-len", type=whole, metavar="TOKENS", help="tokens per sequence")
    parser.add_argument("--strategy", choices=choices("pack", "strategy"), help="packing strategy")
    parser.add_argument(
        "--overlong", choices=choices("pack", "overlong"), help="what to do with longer rows"
    )
    parser.add_argument("--seed", type=whole, help=seed)
    parser.add_argument(
        "--balance",
        type=whole,
        metavar="ROWS",
        help="ROWS rows that follow each other cost about the same, see `sftprep pack --help`",
    )
    parser.add_argument("--shard-size", type=size, metavar="SIZE", help="size of a shard, about")


def add_again_arguments(parser: argparse._ActionsContainer, lost: str) -> None:
    """Options of a run over finished datasets; ``lost`` says what ``--allow-lost`` goes on with."""
    parser.add_argument("--out", required=True, metavar="DIR", help="output folder")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output")
    parser.add_argument("--allow-lost", action="store_true", help=lost)
    parser.add_argument(
        "--threads", type=whole, default=0, metavar="N", help="worker threads (0: all cores)"
    )
    parser.add_argument(
        "--memory",
        type=size,
        default=0,
        metavar="SIZE",
        help="memory of the process, at most, from 192MiB on (default 0: not limited)",
    )


def add_limits(parser: argparse.ArgumentParser, rejected: str) -> None:
    """Adds how many rows are read, and what share of them may be rejected because they are so."""
    parser.add_argument(
        "--limit", type=whole, metavar="N", help="read N rows only (default 0: all)"
    )
    parser.add_argument(
        "--max-reject-rate",
        type=float,
        metavar="SHARE",
        help=f"end the run when more {rejected} (default 0.05)",
    )


def given(options: argparse.Namespace) -> tuple[dict[str, Any], bool]:
    """What a command was given beside options of every command, and whether JSON is wanted."""
    values = dict(vars(options))
    for name in ("command", "log_json", "version"):
        values.pop(name, None)
    return values, bool(values.pop("json", False))


def print_report(report: Any, summary: Callable[[Any], list[str]], *, as_json: bool) -> None:  # noqa: ANN401
    """Prints the report of a stage: as JSON, or the lines of its summary."""
    if as_json:
        print(json.dumps(report.to_dict(), ensure_ascii=False, indent=2))
    else:
        print("\n".join(summary(report)))
