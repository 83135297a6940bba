"""``sftprep select``: the rows worth training on, step by step."""

from __future__ import annotations

import argparse
from typing import Any

from sftprep.cli.options import add_stage_arguments, given, pair, print_report, whole

SUMMARY = "take rows out step by step, by scores, lists, draws or novelty; a ledger says why"

EXAMPLES = """\
steps (in the order in which they are given; NAME,key=value,... after --step, lists as JSON):
  bounds             score, min, max, above, below, missing=drop|keep       (--min, --max, ...)
  top                score, count or share, of=survivors|rows, lowest, missing          (--top)
  where              columns={"lang":"en","turns":{"min":4}}: is, not, min, max, above, below,
                     contains, matches; a list means any of it                        (--where)
  complete           columns: rows that have all of them
  rows               file (or rows), name, first=0|1, by: a published list of row numbers, of
                     values of the column `by`, or of rows as objects
  quality            column, rules, source: rows without patterns; those of s1 by default
  unsolved           columns: rows that no grader model solves (also: difficulty)
  diversity          budget, domain, length, uniform, always, benchmarks, weights, seed, source:
                     the draws of s1
  greedy             sort, novelty=cosine|tags, embedding, tags, threshold, budget, rounds, lowest
  kmeans             embedding, clusters, per_cluster, pick=nearest|random|best, score, pca, seed
  facility_location  embedding, metric=cosine|euclidean, budget, or clusters and per_cluster, pca,
                     seed

A score is a column (of --scores, or of the rows; dots lead inside), something worked out
(answer_chars, prompt_chars, turns), or a formula such as complexity*quality. An embedding is a
column of lists of numbers, or a .npy file with one line per row.

examples:
  sftprep select chat.jsonl --min quality=4.5 --out best.jsonl
  sftprep select chat.jsonl --scores chat.scores.arrow --max ifd_cherry=1 --top ifd_cherry=10% \\
      --out best.jsonl
  sftprep select alpaca.jsonl --step rows,file=chosen.json,first=0 --out chosen.jsonl
  sftprep select chat.jsonl --out diverse.jsonl \\
      --step 'greedy,sort=complexity*quality,embedding=chat.npy,budget=6000'
  sftprep select s1.jsonl --step quality --step difficulty --step diversity,budget=1000 --dry-run
"""


class _Steps(argparse.Action):
    """Collects steps in their order, whatever option writes them."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,  # noqa: ANN401 - a text or a pair
        option_string: str | None = None,
    ) -> None:
        """Adds one step."""
        kind = (option_string or "").lstrip("-")
        namespace.steps = [*getattr(namespace, "steps", []), (kind, values)]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    add_stage_arguments(parser)
    bounds = (
        ("min", "that have at least this score"),
        ("max", "that have at most this score"),
        ("above", "that have more than this score"),
        ("below", "that have less than this score"),
    )
    for name, what in bounds:
        parser.add_argument(
            f"--{name}",
            dest="steps",
            type=pair,
            action=_Steps,
            metavar="SCORE=NUMBER",
            help=f"a step: rows {what}",
        )
    parser.add_argument(
        "--top",
        dest="steps",
        type=pair,
        action=_Steps,
        metavar="SCORE=N|P%",
        help="a step: the N or the P percent of the rows that are left with the highest score",
    )
    parser.add_argument(
        "--where",
        dest="steps",
        type=pair,
        action=_Steps,
        metavar="COLUMN=VALUE",
        help="a step: rows that have this value, or one of a JSON list",
    )
    parser.add_argument(
        "--step",
        dest="steps",
        action=_Steps,
        metavar="STEP",
        help="any step: NAME,key=value,... or JSON",
    )
    parser.add_argument(
        "--scores", metavar="FILE", help="scores of these rows, as `sftprep score` wrote them"
    )
    parser.add_argument(
        "--seed", type=whole, metavar="N", help="seed of steps that draw (default 0)"
    )
    parser.add_argument(
        "--domain", metavar="COLUMN", help="column whose spread the funnel shows (entropy, bits)"
    )


def run(options: argparse.Namespace) -> int:
    """Runs the stage and prints its report."""
    from sftprep.quality.selection import select, select_summary

    values, as_json = given(options)
    steps = [_step(*each) for each in values.pop("steps", [])]
    report = select(values.pop("inputs"), steps, **values)
    print_report(report, select_summary, as_json=as_json)
    return 0


def _step(kind: str, given: Any) -> dict[str, Any]:  # noqa: ANN401 - a text or a pair
    from sftprep.quality.steps import from_text, value_of

    if kind == "step":
        return from_text(given)
    name, text = given
    if kind == "where":
        return {"step": "where", "columns": {name: value_of(text)}}
    if kind != "top":
        return {"step": "bounds", "score": name, kind: value_of(text)}
    if text.endswith("%"):
        share = value_of(text[:-1])
        is_number = isinstance(share, int | float)
        return {"step": "top", "score": name, "share": share / 100 if is_number else text}
    return {"step": "top", "score": name, "count": value_of(text)}
