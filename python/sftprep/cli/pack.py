"""``sftprep pack``: files of conversations in, packed and labelled shards out."""

from __future__ import annotations

import argparse
import json
import sys

from sftprep.cli import options as types
from sftprep.config import OPTIONS, PackConfig, choices, merge, nest, read_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sftprep.api import PackReport

SUMMARY = "pack files of conversations into labelled, memory-mappable shards"

_SHOWN_SOURCES = 30

EXAMPLES = """\
examples:
  sftprep pack chat.jsonl --tokenizer Qwen/Qwen3-8B --out packs/
  sftprep pack math=math.parquet code='code/*.jsonl.zst' --tokenizer model/ --out packs/
  zcat chat.jsonl.gz | sftprep pack - --tokenizer model/ --max-len 8192 --out packs/
  sftprep pack alpaca.json --tokenizer gpt2/ --chat-template alpaca --out packs/
  sftprep pack chat.jsonl --tokenizer model/ --out packs/ --dry-run --limit 1000
  sftprep pack big/ --tokenizer model/ --out packs/ --resume
  sftprep pack s3://bucket/chat/ --tokenizer model/ --out s3://bucket/packs
  sftprep pack big/ --tokenizer model/ --out packs/ --ray=auto
  sftprep pack big/ --tokenizer model/ --memory 1GiB --out packs/
  sftprep pack big/ --tokenizer model/ --balance 8 --out packs/
  sftprep pack data.jsonl --config packs/sftprep.manifest.json --out again/
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options; an option that is not given stays out of the namespace."""
    # The value of a flag wins over the file's, the file's over the default, so flags have none.
    parser.argument_default = argparse.SUPPRESS
    parser.add_argument(
        "inputs",
        nargs="*",
        metavar="INPUT",
        help="a file, a folder, a quoted pattern or - (standard input), each also as name=path; "
        ".jsonl, .json, .parquet, .arrow, also .gz and .zst; or the like in an object store, "
        "s3://bucket/key (needs the extra 'cloud')",
    )
    parser.add_argument("--out", metavar="DIR", help="output folder, or s3://bucket/key")
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="start from the options in a TOML or JSON file or in a manifest; flags win over it",
    )
    types.add_template_arguments(parser.add_argument_group("rows, template, tokenizer"))
    types.add_label_arguments(parser.add_argument_group("labels"))
    _add_packing(parser.add_argument_group("packing"))
    _add_run(parser.add_argument_group("run"))


def _add_packing(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "--max-len",
        type=types.whole,
        metavar="TOKENS",
        help="tokens per packed sequence, at most (default 4096)",
    )
    group.add_argument(
        "--strategy",
        choices=choices("pack", "strategy"),
        help="packing strategy (default bfd: exact best-fit decreasing over all rows)",
    )
    group.add_argument(
        "--overlong",
        choices=choices("pack", "overlong"),
        help="rows longer than max-len: several windows, each token trained once (default), the "
        "last window, drop and count them, keep their first tokens, or end the run",
    )
    group.add_argument(
        "--seed", type=types.whole, help="order of documents of equal length (default 0)"
    )
    group.add_argument(
        "--balance",
        type=types.whole,
        metavar="ROWS",
        help="order the packed rows so that ROWS rows that follow each other (ranks times rows per "
        "rank and step) cost about the same; see docs/learn/packing.md (default 0: shuffled only)",
    )
    group.add_argument(
        "--shard-size",
        dest="shard_bytes",
        type=types.size,
        metavar="SIZE",
        help="size of a shard, about (default 256MiB)",
    )


def _add_run(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "--limit", type=types.whole, metavar="N", help="stop after N rows (default 0: all)"
    )
    group.add_argument(
        "--max-reject-rate",
        type=float,
        metavar="SHARE",
        help="end the run when more rows are rejected, judged after 100 rows and at the end "
        "(default 0.05)",
    )
    group.add_argument(
        "--max-line-bytes",
        type=types.size,
        metavar="SIZE",
        help="reject longer lines (default 64MiB)",
    )
    group.add_argument(
        "--reject-excerpts",
        action="store_true",
        help="put the text of rejected rows into rejects.jsonl",
    )
    group.add_argument("--overwrite", action="store_true", help="replace an existing output")
    group.add_argument("--dry-run", action="store_true", help="plan and count only, write nothing")
    group.add_argument(
        "--threads", type=types.whole, metavar="N", help="worker threads (default 0: all cores)"
    )
    group.add_argument(
        "--memory",
        type=types.size,
        metavar="SIZE",
        help="memory of the process, at most, from 192MiB on; rows longer than (SIZE - 128MiB) / "
        "40 are rejected (default 0: not limited)",
    )
    group.add_argument(
        "--resume",
        action="store_true",
        help="go on with what a run with the same options left when it was killed or failed",
    )
    group.add_argument(
        "--task",
        type=types.task,
        metavar="I/N",
        help="only part I of N of the reading and tokenizing, beside other processes; then come "
        "`sftprep plan`, `sftprep write` and `sftprep commit`",
    )
    group.add_argument(
        "--task-size",
        dest="task_bytes",
        type=types.size,
        metavar="SIZE",
        help="bytes of input that are done or lost together (default: 64MiB, more for large jobs)",
    )
    group.add_argument(
        "--ray",
        nargs="?",
        const="",
        metavar="ADDRESS",
        help="run on a Ray cluster whose nodes share the file system (needs the extra 'ray'); "
        "without an address, on that of RAY_ADDRESS or on this machine",
    )
    group.add_argument(
        "--ray-parts",
        type=types.whole,
        metavar="N",
        help="with --ray: parts of each phase (default: twice the cluster's CPUs)",
    )
    group.add_argument(
        "--stage",
        metavar="DIR",
        help="keep local copies of what is in object stores here, to --resume with (default: a "
        "temporary folder)",
    )
    group.add_argument(
        "--log-json",
        action="store_true",
        help="progress and errors as JSON lines on standard error, the report as one JSON object "
        "on standard output",
    )
    group.add_argument("--quiet", action="store_true", help="no progress")


def run(options: argparse.Namespace) -> int:
    """Runs the job and prints its report."""
    from sftprep.api import run as run_job
    from sftprep.progress import choose

    config = resolve(options)
    log_json = getattr(options, "log_json", False)
    task = getattr(options, "task", None)
    with choose(quiet=getattr(options, "quiet", False), log_json=log_json) as display:
        phase = "all" if task is None else "map"
        where = {
            name: getattr(options, name)
            for name in ("stage", "ray", "ray_parts")
            if hasattr(options, name)
        }
        report = run_job(config, display.update, phase, task, **where)
    if log_json:
        print(json.dumps(report.to_dict(), ensure_ascii=False))
    elif task is not None:
        print(f"done: {report.parts_done} of {report.parts} tasks of {config.output.dir}")
    else:
        for warning in report.warnings:
            print(f"warning: {warning}", file=sys.stderr)
        print("\n".join(summary(report, dry_run=config.output.dry_run)))
    return 0


def resolve(options: argparse.Namespace) -> PackConfig:
    """The configuration: flag, else file, else default."""
    given = {key: value for key, value in vars(options).items() if key in OPTIONS}
    if not given.get("inputs"):
        given.pop("inputs", None)
    file = getattr(options, "config", None)
    base = PackConfig() if file is None else merge(PackConfig(), read_file(file))
    return merge(base, nest(given))


def _more(sources: int) -> list[str]:
    return [f"… and {sources:,} more; `sftprep stats` lists all"] if sources else []


def summary(report: PackReport, *, dry_run: bool) -> list[str]:
    """The report for people."""
    from sftprep.record import values
    from sftprep.totals import balance_line, by_source, counted, packing_line, table

    seconds = sum(report.seconds.values())
    written = (
        "dry run: nothing was written"
        if dry_run
        else f"wrote {report.out}: {counted(report.shards, 'shard')}, "
        f"{counted(report.bytes_written, 'byte')}"
    )
    shown = report.sources[:_SHOWN_SOURCES]
    lines = [
        *(f"{each.name}: {each.format or 'empty'} ({each.evidence})" for each in shown),
        *_more(len(report.sources) - len(shown)),
        "",
        *table(report.totals),
        "",
    ]
    if len(report.sources) > 1:
        totals = [(source.name, source.totals) for source in shown]
        lines += [*by_source(totals), *_more(len(report.sources) - len(shown)), ""]
    packing = {**values(report), "rows": report.sequences}
    lines.append(packing_line(packing))
    if report.balance:
        lines.append(balance_line(report.balance, report.imbalance, report.imbalance_before))
    if report.duplicate_keys:
        keys = counted(report.duplicate_keys, "key")
        lines.append(f"{keys} occurred twice in one object; the last won")
    if report.expanded_rows:
        lines.append(
            f"{counted(report.expanded_rows, 'row')} became "
            f"{counted(report.expanded_samples, 'sample')}, one per turn, each as inference has it "
            "(--history, --boundary)"
        )
    if report.tree_messages:
        counts = dict(report.tree_messages)
        used, others = counts.pop("used", 0), sum(counts.values())
        why = ", ".join(f"{count:,} {name}" for name, count in sorted(counts.items()))
        left = f", {others:,} left out ({why})" if others else ""
        lines.append(f"messages of trees: {used:,} in threads{left} (--tree)")
    if report.window_rows:
        repeated = counted(report.repeated_tokens, "token")
        lines.append(
            f"{counted(report.window_rows, 'row')} longer than {report.max_len} tokens became "
            f"{counted(report.windows, 'window')}; {repeated} repeated as context (--overlong)"
        )
    if report.boundary_rows:
        turns = counted(report.boundary_turns, "turn")
        lines.append(
            f"before {turns} of {counted(report.boundary_rows, 'row')}, inference has other ids "
            "than transformers (--boundary)"
        )
    if report.straddling_tokens:
        tokens = counted(report.straddling_tokens, "token")
        lines.append(f"across the edge of a trained span: {tokens}, not trained")
    lines.append(f"{written}, {seconds:.1f} s, tokenizer engine {report.tokenizer_engine}")
    return lines
