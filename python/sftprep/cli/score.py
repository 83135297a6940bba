"""``sftprep score``: columns that say something about rows, in a file beside them."""

from __future__ import annotations

import argparse
import json

from sftprep.cli.options import add_format_arguments, size, whole

SUMMARY = "score rows: IFD, perplexity, embeddings, plug-ins, a judge; writes a file beside them"

EXAMPLES = """\
examples:
  sftprep score chat.jsonl --model model/ --ifd cherry --out chat.scores.arrow
  sftprep score chat.jsonl --model gpt2/ --ifd superfilter --ifd cherry --out chat.scores.arrow
  sftprep score chat.jsonl --model model/ --perplexity --embed prompt --out chat.scores.arrow
  sftprep score chat.jsonl --plugin mine.py:score --plugin language --out chat.scores.arrow
  sftprep score chat.jsonl --judge http://localhost:8000/v1 --judge-model NAME --out c.scores.arrow
"""

_JUDGE = ("model", "retries", "per_minute", "parallel", "timeout")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.argument_default = argparse.SUPPRESS
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="DATA",
        help="a file, a folder or a quoted pattern, each also as name=path",
    )
    parser.add_argument(
        "--out", metavar="FILE", help="the score file, NAME.scores.arrow; one line per input row"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing score file")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="say how many scores are known and how many are to be computed; compute nothing",
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    model = parser.add_argument_group("scores of a model (extra 'train')")
    model.add_argument("--model", metavar="DIR", help="a transformers folder")
    model.add_argument(
        "--ifd",
        action="append",
        choices=("cherry", "superfilter"),
        help="instruction-following difficulty: ratio of mean losses with Alpaca's prompt in 512 "
        "tokens (cherry), or of perplexities with the bare prompt in 1,024 (superfilter); they "
        "are different numbers; may be repeated",
    )
    model.add_argument(
        "--perplexity",
        action="store_true",
        help="perplexity of what `pack` would train, rendered by the chat template",
    )
    model.add_argument(
        "--embed",
        choices=("prompt", "answer", "row"),
        help="mean of the last hidden states, as a column of vectors",
    )
    model.add_argument(
        "--experience",
        metavar="DIR",
        help="first train the model for an epoch on 1,000 rows from 100 clusters of prompts, as "
        "Cherry LLM does, into DIR, and score with DIR/run/model",
    )
    model.add_argument(
        "--chat-template",
        metavar="TEMPLATE",
        help="for --perplexity: a file, the template itself, or a built-in name (default: the "
        "model's own)",
    )
    model.add_argument(
        "--train-on", metavar="ROLES", help="for --perplexity: roles that are trained"
    )
    model.add_argument(
        "--max-len", type=whole, metavar="N", help="window in tokens, instead of the definition's"
    )
    model.add_argument("--device", choices=("auto", "cpu", "cuda"), help="auto is CUDA if there")
    model.add_argument("--dtype", choices=("fp32", "bf16"), help="default fp32")
    model.add_argument(
        "--batch-tokens",
        type=whole,
        metavar="N",
        help="tokens of a forward pass, padding included (default 4,096; 32,768 on CUDA)",
    )
    other = parser.add_argument_group("other scores")
    other.add_argument(
        "--plugin",
        action="append",
        metavar="FUNCTION",
        help="module:function or file.py:function from an Arrow batch to columns; or ftfy, "
        "language, sentence:FOLDER (extra 'quality-hooks'); may be repeated",
    )
    other.add_argument(
        "--judge",
        metavar="URL",
        help="rate the accuracy of answers from 0 to 5 with a model behind an OpenAI-compatible "
        "interface; its key, if any, is read from SFTPREP_JUDGE_KEY",
    )
    other.add_argument("--judge-model", metavar="NAME", help="its name there")
    other.add_argument(
        "--judge-retries", type=whole, metavar="N", help="more tries after a failure (default 4)"
    )
    other.add_argument(
        "--judge-per-minute", type=float, metavar="N", help="requests per minute (default: any)"
    )
    other.add_argument(
        "--judge-parallel", type=whole, metavar="N", help="requests at a time (default 4)"
    )
    other.add_argument(
        "--judge-timeout", type=float, metavar="SECONDS", help="for one answer (default 120)"
    )
    cache = parser.add_argument_group("scores of earlier runs")
    cache.add_argument(
        "--cache",
        dest="cache_dir",
        metavar="DIR",
        help="where they are kept, by model, tokenizer, template, definition and row (default: "
        "below ~/.cache/sftprep)",
    )
    cache.add_argument(
        "--no-cache", dest="use_cache", action="store_false", help="compute all, keep none"
    )
    cache.add_argument(
        "--cache-size",
        dest="cache_bytes",
        type=size,
        metavar="SIZE",
        help="of that folder, at most (default 1GiB); the least recently used go",
    )
    rows = parser.add_argument_group("rows")
    add_format_arguments(rows)
    rows.add_argument("--limit", type=whole, metavar="N", help="read N rows only (default 0: all)")
    rows.add_argument(
        "--max-reject-rate",
        type=float,
        metavar="SHARE",
        help="end the run when more rows are no JSON objects (default 0.05)",
    )
    rows.add_argument(
        "--threads", type=whole, metavar="N", help="threads that read rows (default 0: all cores)"
    )
    parser.add_argument("--quiet", action="store_true", help="print no progress")
    parser.add_argument(
        "--log-json", action="store_true", help="progress and errors as JSON lines on stderr"
    )


def run(options: argparse.Namespace) -> int:
    """Scores, and prints what came out."""
    from sftprep.errors import ConfigError
    from sftprep.progress import choose
    from sftprep.scores.judge import Judge
    from sftprep.scores.report import summary
    from sftprep.scores.run import score

    given = vars(options)
    as_json = given.pop("json", False)
    display = choose(quiet=given.pop("quiet", False), log_json=given.pop("log_json", False))
    for name in ("command", "version"):
        given.pop(name, None)
    judging = {name: given.pop(f"judge_{name}") for name in _JUDGE if f"judge_{name}" in given}
    url = given.pop("judge", None)
    if judging and url is None:
        raise ConfigError("there is no address of the judge", field="--judge", hint="add it")
    judge = Judge(url=url, **{"model": "", **judging}).check() if url else None
    report = score(judge=judge, progress=display, **given)
    if as_json:
        print(json.dumps(report.to_dict(), ensure_ascii=False, indent=2))
    else:
        print("\n".join(summary(report)))
    return 0
