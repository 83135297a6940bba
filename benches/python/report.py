"""Makes the Markdown tables of `benches/results/*.json`.

report.py [FOLDER]        (default: benches/results; prints to standard output)
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from statistics import median
from typing import Any

from compare_prepare import RESULTS

Result = dict[str, Any]


def machine_line(result: Result) -> str:
    """One line on what it was measured on."""
    found = result["machine"]
    return (
        f"{result['date']}; {found['cpu']}, {found['cores']} cores, {found['system']}, "
        f"Python {found['python']}; load at the end {found['load_1min']}"
    )


def prepare_table(result: Result) -> str:
    """The comparison of preparations."""
    rounds = result["rounds"]
    lines = [
        f"### Preparing {result['rows']:,} conversations ({result['bytes'] / 1e6:.1f} MB), "
        f"`{result['tokenizer']}`, max_len {result['max_len']}, one thread",
        "",
        f"{len(rounds)} rounds in turns. CPU seconds without imports; the speed-up is taken round "
        "by round (smallest and median).",
        "",
        "| side | CPU s, median [min, max] | rows per CPU s | sftprep's speed-up, min / median "
        "| with imports | peak MB | sequences | tokens | trained |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for side, found in result["summary"].items():
        prep = found["cpu_prep_s"]
        last = rounds[-1][side]
        versions = ", ".join(f"{k} {v}" for k, v in last.get("versions", {}).items())
        ratio, ratio_total = "-", "-"
        if "speedup_cpu_prep_s" in found and side != "sftprep":
            speed, total = found["speedup_cpu_prep_s"], found["speedup_cpu_total_s"]
            ratio = f"{speed['min']:.2f} / {speed['median']:.2f}"
            ratio_total = f"{total['median']:.2f}"
        counts = [last.get(k) for k in ("sequences", "tokens", "trained_tokens")]
        shown = " | ".join("-" if count is None else f"{count:,}" for count in counts)
        lines.append(
            f"| {side} ({versions}) | {prep['median']:.2f} [{prep['min']:.2f}, {prep['max']:.2f}] "
            f"| {result['rows'] / prep['median']:,.0f} | {ratio} | {ratio_total} "
            f"| {found['peak_rss_mb']:,.0f} | {shown} |"
        )
    return "\n".join([*lines, "", machine_line(result)])


def profile_table(result: Result) -> str:
    """Where the time of a run goes."""
    rounds = result["rounds"]
    stages = {stage for each in rounds for stage in each}
    middle = {stage: median(each.get(stage, 0.0) for each in rounds) for stage in stages}
    total = sum(middle.values())
    lines = [
        f"### Stages of packing {result['rows']:,} conversations, `{result['tokenizer']}`",
        "",
        "One thread; samples of `perf` by the stage that asked for them, medians of "
        f"{len(rounds)} rounds of the release build.",
        "",
        "| stage | CPU s | share |",
        "| --- | --- | --- |",
    ]
    for stage, seconds in sorted(middle.items(), key=lambda item: -item[1]):
        lines.append(f"| {stage} | {seconds:.3f} | {seconds / total:.1%} |")
    if "hf_cpu_s" in result:
        hf, shares = result["hf_cpu_s"], result["share_with_hf"]
        lines += [
            "",
            f"`tokenizers` takes {median(hf):.2f} CPU s for the same texts. With it inside, all "
            f"but tokenizing would be {median(shares):.2%} of the time "
            f"[{min(shares):.2%}, {max(shares):.2%}].",
        ]
    return "\n".join([*lines, "", machine_line(result)])


def scaling_table(result: Result) -> str:
    """Threads and memory."""
    lines = ["### Scaling", ""]
    if "threads" in result:
        lines += ["| threads | speed-up of the map phase, median |", "| --- | --- |"]
        lines += [f"| {n} | {x:.2f} |" for n, x in result["threads"]["speedup"].items()]
        lines.append("")
    if "memory" in result:
        found = result["memory"]
        lines.append(
            f"{found['bytes'] / 1e9:.2f} GB of input ({found['rows']:,} rows): peak "
            f"{found['peak_rss_mb']:,.0f} MB, {found['wall_prep_s']:.0f} s."
        )
    return "\n".join([*lines, "", machine_line(result)])


def render_table(result: Result) -> str:
    """Rendering."""
    versions = ", ".join(f"{name} {found}" for name, found in result["versions"].items())
    names = {
        "transformers": "`apply_chat_template`",
        "jinja2": "its compiled template alone",
        "minijinja": "minijinja's binding",
        "sftprep": "`ChatTemplate.render`",
        "plain": "engine without origins",
        "engine": "engine with origins",
    }
    lines = [
        "### Rendering",
        "",
        f"{result['repeat']} rounds; microseconds of one CPU per conversation, best round "
        f"({versions}; build: {result['build']}).",
        "",
        f"| template, rows | {' | '.join(names.values())} |",
        f"| --- |{' --- |' * len(names)}",
    ]
    for name, found in result["compared"].items():
        times = " | ".join(f"{found['microseconds'][side]['best']:.2f}" for side in names)
        lines.append(f"| {name}: {found['rows']} | {times} |")
    lines += [
        "",
        "How many times as many rows per CPU second the engine with origins renders, smallest and "
        "median of the rounds, and rows whose text is equal to that of transformers:",
        "",
        "| template, rows | `apply_chat_template` | compiled template | minijinja | equal: "
        "sftprep | equal: minijinja |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, found in result["compared"].items():
        ratios = " | ".join(
            f"{found['engine_speedup'][side]['min']:.1f} / "
            f"{found['engine_speedup'][side]['median']:.1f}"
            for side in ("transformers", "jinja2", "minijinja")
        )
        equal = found["equal"]
        lines.append(
            f"| {name} | {ratios} | {equal['sftprep']} of {found['rows']} "
            f"| {equal['minijinja']} of {found['rows']} |"
        )
    return "\n".join([*lines, "", machine_line(result)])


def tokenizers_table(result: Result) -> str:
    """The comparison of tokenizer packages."""
    names = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    lines = [
        "### Tokenizing, one thread, MB of UTF-8 per CPU second",
        "",
        f"Medians of {result['rounds']} rounds (`tokenizers`: one). {names}.",
        "",
        "| tokenizer, corpus | engine | first 2 MB | cold | steady | hot | steady: sftprep's "
        "multiple | load s | peak MB | documents that differ |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for cell, engines in result["cells"].items():
        ours = engines.get("sftprep", {}).get("steady")
        for engine, found in engines.items():
            if "error" in found:
                lines.append(
                    f"| {cell} | {engine} | - | - | - | - | - | - | - | {found['error']} |"
                )
                continue
            speeds = " | ".join(
                f"{found[key]:.3g}" for key in ("first_2mb", "cold", "steady", "hot")
            )
            ratio = f"{ours / found['steady']:.2f}" if ours else "-"
            documents = result["corpora"][cell.split("/")[1]]["documents"]
            lines.append(
                f"| {cell} | {engine} | {speeds} | {ratio} | {found['load_s']:.3f} "
                f"| {found['rss_mb']:,.0f} | {found['differing']} of {documents:,} |"
            )
    return "\n".join([*lines, "", machine_line(result)])


def readers_table(result: Result) -> str:
    """The comparison of readers."""
    versions = ", ".join(f"{name} {found}" for name, found in result["versions"].items())
    lines = [
        "### Readers",
        "",
        f"Random rows of {result['length']:,} tokens (of {result['rows']:,}), ids and labels as "
        f"int64 torch tensors, one thread, page cache warm; {len(result['rounds'])} rounds in "
        f"turns ({versions}).",
        "",
        "| reader | rows per CPU second, median [min] | rows per second | sftprep's speed-up, "
        "min / median |",
        "| --- | --- | --- | --- |",
    ]
    for side, found in result["summary"].items():
        cpu, wall, ratio = (
            found[name] for name in ("rows_per_cpu_s", "rows_per_s", "sftprep_speedup")
        )
        lines.append(
            f"| {side} | {cpu['median']:,.0f} [{cpu['min']:,.0f}] | {wall['median']:,.0f} "
            f"| {ratio['min']:.2f} / {ratio['median']:.2f} |"
        )
    own = [each["sftprep"] for each in result["rounds"]]
    opened = sorted(each["open_ms"]["first"] for each in own)
    lines += [
        "",
        f"Allocated by Arrow while sftprep read: {max(x['arrow_bytes_allocated'] for x in own)} "
        f"bytes. Opening {own[0]['open_ms']['shards']} shards for the first time in a process: "
        f"{opened[0]:.0f} to {opened[-1]:.0f} ms.",
        *(f"Left out: {side}, {why}." for side, why in result["left_out"].items()),
    ]
    return "\n".join([*lines, "", machine_line(result)])


TABLES = {
    "compare_readers": readers_table,
    "compare_render": render_table,
    "compare_prepare": prepare_table,
    "compare_tokenizers": tokenizers_table,
    "profile_stages": profile_table,
    "scaling": scaling_table,
}


def main() -> None:
    """Prints a table per result."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else RESULTS
    for path in sorted(folder.glob("*.json")):
        result = json.loads(path.read_text("utf-8"))
        if result.get("what") in TABLES:
            sys.stdout.write(TABLES[result["what"]](result) + "\n\n")


if __name__ == "__main__":
    main()
