"""``sftprep check``: what is wrong with the rows, in six dimensions."""

from __future__ import annotations

import argparse

from sftprep.cli.options import Collect, add_format_arguments, given, pair, print_report, whole

SUMMARY = "look at rows in six dimensions: numbers, worst rows, one-line fixes; changes nothing"

EXAMPLES = """\
examples:
  sftprep check chat.jsonl
  sftprep check train.jsonl test=exam.jsonl --out report/
  sftprep check chat.jsonl --fail-on completeness=0.5% --fail-on mojibake=0
  sftprep check chat.jsonl --out report/ --review 100 --seed 1
  sftprep check --verdicts report/review.jsonl
"""

FAILED = 1
"""Exit code where the policy fails."""


def share(text: str) -> tuple[str, float]:
    """``NAME=SHARE``; a share is a number up to 1 or per cent."""
    name, value = pair(text)
    percent = value.endswith("%")
    try:
        number = float(value.removesuffix("%"))
    except ValueError:
        number = -1.0
    number = number / 100 if percent else number
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"the share of {text!r} is not of the kind 0.02 or 2%")
    return name, number


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.argument_default = argparse.SUPPRESS
    parser.add_argument(
        "inputs",
        nargs="*",
        metavar="DATA",
        help="a file, a folder or a quoted pattern, each also as name=path; inputs whose name says "
        "test, val, dev or eval are held out",
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        help="folder for report.html, report.json and findings.jsonl",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing report")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument(
        "--fail-on",
        metavar="NAME=SHARE",
        type=share,
        action=Collect,
        help="share of rows that a dimension or an issue may reach, such as 0.02 or 2%%; above it "
        "the exit code is 1; may be repeated",
    )
    parser.add_argument(
        "--tokenizer",
        metavar="NAME",
        help="counts tokens: a folder, a tokenizer.json, a hub id, or builtin (default)",
    )
    parser.add_argument(
        "--chat-template",
        metavar="TEMPLATE",
        help="a file, the template itself, or a built-in name (default: the tokenizer's own)",
    )
    parser.add_argument("--train-on", metavar="ROLES", help="roles that are trained, or last_turn")
    parser.add_argument(
        "--max-len", type=whole, metavar="N", help="tokens of a row, at most (default 4096)"
    )
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="SHARE",
        help="least Jaccard similarity of near-duplicates, 0.1 to 1 (default 0.8)",
    )
    parser.add_argument(
        "--common",
        type=whole,
        metavar="N",
        help="word 3-grams in more than N distinct rows are template (default 50; 0: off)",
    )
    parser.add_argument(
        "--class",
        dest="class_column",
        metavar="COLUMN",
        help="a column that says which class a row is of, for the balance",
    )
    parser.add_argument(
        "--examples", type=whole, metavar="N", help="rows shown of each issue (default 5)"
    )
    parser.add_argument(
        "--review",
        type=whole,
        metavar="N",
        help="also draw N rows for a second look by a person, held-out inputs first, into "
        "DIR/review.jsonl",
    )
    parser.add_argument("--seed", type=whole, metavar="S", help="seed of that draw (default 0)")
    parser.add_argument(
        "--verdicts",
        metavar="FILE",
        help="read a review.jsonl back whose verdicts are filled in (ok, bad or unsure)",
    )
    add_format_arguments(parser)
    parser.add_argument(
        "--limit", type=whole, metavar="N", help="read N rows only (default 0: all)"
    )
    parser.add_argument(
        "--threads", type=whole, metavar="N", help="worker threads (default 0: all cores)"
    )


def run(options: argparse.Namespace) -> int:
    """Prints what was found; a policy that fails means exit code 1."""
    from sftprep.errors import ConfigError

    values, as_json = given(options)
    verdicts = values.pop("verdicts", None)
    if verdicts is not None:
        return _verdicts(verdicts, as_json=as_json)
    from sftprep.quality.check import check, check_summary

    if not values.get("inputs"):
        raise ConfigError("there is no input", field="inputs", hint="add DATA, or --verdicts FILE")
    if values.get("review") and "out" not in values:
        raise ConfigError(
            "there is no --out for the drawn rows",
            field="out",
            hint="add --out DIR; the rows go into DIR/review.jsonl",
        )
    report = check(**values)
    print_report(report, check_summary, as_json=as_json)
    return 0 if report.ok else FAILED


def _verdicts(path: str, *, as_json: bool) -> int:
    from sftprep.quality.review import read_verdicts, review_summary

    result = read_verdicts(path)
    print_report(result, review_summary, as_json=as_json)
    return 0
