"""``sftprep mix``: rows of several sources in exact shares."""

from __future__ import annotations

import argparse

from sftprep.cli.options import add_stage_arguments, given, print_report, whole

SUMMARY = "mix rows of several sources in shares that are exact to one row"

EXAMPLES = """\
examples:
  sftprep mix chat.jsonl=0.7 math.jsonl=0.27 safety.jsonl=3% --budget 10_000 --out mixed.jsonl
  sftprep mix chat=a/chat.jsonl=2 code=b/*.jsonl=1 --cap-per-source 3000 --out mixed.jsonl
  sftprep mix a.jsonl=1 b.jsonl=1 --unit trained_tokens --tokenizer model/ --repeat-max 4 --dry-run
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    add_stage_arguments(parser, inputs=False)
    parser.add_argument(
        "parts",
        nargs="+",
        type=_part,
        metavar="DATA=SHARE",
        help="a file, a folder or a quoted pattern, also as name=path, and its share (0.7 or 3%%): "
        "only the ratios of the shares matter",
    )
    parser.add_argument(
        "--unit",
        choices=("rows", "chars", "tokens", "trained_tokens"),
        help="what is counted (default rows); tokens are counted before rows are cut to a length",
    )
    parser.add_argument(
        "--budget",
        type=whole,
        metavar="N",
        help="units in all (default: until every source is used up, as far as --repeat-max goes)",
    )
    parser.add_argument(
        "--cap-per-source", type=whole, metavar="N", help="rows of a source that are drawn from"
    )
    parser.add_argument(
        "--repeat-max", type=whole, metavar="N", help="how often a row is there at most (default 1)"
    )
    parser.add_argument("--seed", type=whole, metavar="N", help="which rows are drawn (default 0)")
    parser.add_argument(
        "--shuffle", action="store_true", help="write rows in an order that the seed decides"
    )
    parser.add_argument("--tokenizer", metavar="NAME", help="what counts tokens, as for pack")
    parser.add_argument("--chat-template", metavar="TEMPLATE", help="as for pack")
    parser.add_argument("--train-on", metavar="ROLES", help="as for pack")


def _part(text: str) -> tuple[str, str]:
    path, equals, share = text.rpartition("=")
    if not (path and equals and share):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form DATA=SHARE, as in a.jsonl=1")
    return path, share


def run(options: argparse.Namespace) -> int:
    """Runs the stage and prints its report."""
    from sftprep.errors import ConfigError
    from sftprep.quality.mix import mix, mix_summary

    values, as_json = given(options)
    listed = values.pop("parts")
    if len(dict(listed)) < len(listed):
        raise ConfigError("a source is values twice", field="parts")
    encode: dict[str, str] = {
        name: values.pop(name)
        for name in ("tokenizer", "chat_template", "train_on")
        if name in values
    }
    report = mix(dict(listed), encode=encode, **values)
    print_report(report, mix_summary, as_json=as_json)
    return 0
