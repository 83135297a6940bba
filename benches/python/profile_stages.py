"""Where the CPU time of `pack` goes, stage by stage: samples of a whole run, by who asked for them.

profile_stages.py INPUT TOKENIZER [--rows N] [--threads N] [--rounds N] [--hf] [--json FILE]

With `--hf`, Hugging Face's `tokenizers` encodes the same texts in every round, and the time of all
that is not tokenizing is also given as its share of a run with that tokenizer inside.

Builds `rust/sftprep-core/examples/pack.rs` with symbols and frame pointers (target/profile), runs
it under Linux `perf`, and gives each sample to the innermost function on its stack that belongs to
a stage: an allocation or a page fault counts for the stage that caused it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

from compare_prepare import ROOT, machine

HERTZ = 2000
STAGES = {
    "tokenizing": ("sftprep_tokenize::", "tokenizers::"),
    "rendering and spans": ("sftprep_template::",),
    "labels": ("sftprep_core::label",),
    "parsing and formats": ("sftprep_core::format", "sftprep_core::json", "jiter::"),
    "reading": ("sftprep_core::source", "zlib_rs::", "flate2::", "zstd::"),
    "planning": ("sftprep_core::pack::",),
    "writing": ("sftprep_core::shard", "arrow_", "blake3::", "xxhash_rust::"),
    "template certificate": ("sftprep_core::pipeline::certify",),
    "the rest of the pipeline": ("sftprep_core::", "pack::main"),
}


def build() -> Path:
    """The example program, optimised and with symbols."""
    target = Path(os.environ.get("SFTPREP_PROFILE_TARGET", ROOT / "target" / "profile"))
    flags = {
        "CARGO_PROFILE_RELEASE_DEBUG": "1",
        "CARGO_PROFILE_RELEASE_STRIP": "none",
        "RUSTFLAGS": "-Cforce-frame-pointers=yes",
    }
    command = ["cargo", "build", "--release", "-p", "sftprep-core", "--example", "pack"]
    command += ["--target-dir", str(target)]
    subprocess.run(command, cwd=ROOT, env=os.environ | flags, check=True)
    return target / "release" / "examples" / "pack"


def stacks(samples: Path) -> Iterator[list[str]]:
    """The functions of each sample, innermost first."""
    command = ["perf", "script", "-i", str(samples), "-F", "ip,sym", "--inline"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for block in text.split("\n\n"):
        names = [line.split(None, 1)[1] for line in block.splitlines() if " " in line.strip()]
        if names:
            yield names


def stage_of(stack: list[str]) -> str:
    """The stage of the innermost function that belongs to one.

    The certificate renders and tokenizes too, so it is looked for on the whole stack.
    """
    if any("::certify" in name for name in stack):
        return "template certificate"
    for name in stack:
        for stage, words in STAGES.items():
            if any(word in name for word in words):
                return stage
    return "start and kernel"


def profile(program: Path, arguments: list[str]) -> Counter[str]:
    """Samples by stage of one run of the program."""
    with tempfile.TemporaryDirectory() as folder:
        samples = Path(folder) / "perf.data"
        record = ["perf", "record", "-q", "-F", str(HERTZ), "--call-graph", "fp"]
        command = [*record, "-o", str(samples), "--", str(program), *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return Counter(stage_of(stack) for stack in stacks(samples))


def first_rows(source: Path, rows: int, into: Path) -> Path:
    """The first rows of a JSON Lines file as a file."""
    with source.open("rb") as lines, into.open("wb") as out:
        out.writelines(islice(lines, rows))
    return into


def hf_texts(source: Path, tokenizer: str) -> list[str]:
    """What `pack` tokenizes, row by row."""
    import sftprep

    folder = sftprep.Tokenizer.from_file(tokenizer)
    encoder = sftprep.Encoder(folder)
    with source.open(encoding="utf-8") as lines:
        return [encoder.encode(json.loads(line)).text for line in lines]


def hf_seconds(texts: list[str], tokenizer: str) -> float:
    """CPU time of `tokenizers` for the texts, on one thread."""
    from tokenizers import Tokenizer

    place = Path(tokenizer)
    encoder = Tokenizer.from_file(str(place / "tokenizer.json" if place.is_dir() else place))
    started = time.process_time()
    for text in texts:
        encoder.encode(text, add_special_tokens=False)
    return time.process_time() - started


def table(found: dict[str, float]) -> list[str]:
    """The stages, largest first."""
    total = sum(found.values())
    lines = ["| stage | CPU s | share |", "| --- | --- | --- |"]
    for stage, seconds in sorted(found.items(), key=lambda item: -item[1]):
        lines.append(f"| {stage} | {seconds:.3f} | {100 * seconds / total:.1f} % |")
    return [*lines, f"| all | {total:.3f} | 100 % |"]


def main() -> None:
    """Runs and prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("input", type=Path)
    parser.add_argument("tokenizer")
    parser.add_argument("--rows", type=int, default=12_000)
    parser.add_argument("--threads", default="1")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--hf", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if not shutil.which("perf"):
        parser.error("this needs Linux perf (Debian: linux-perf)")
    program = build()
    rounds: list[dict[str, float]] = []
    hf: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        rows = first_rows(options.input, options.rows, Path(folder) / "rows.jsonl")
        texts = hf_texts(rows, options.tokenizer) if options.hf else []
        places = [str(rows), options.tokenizer, f"{folder}/packs", options.threads]
        profile(program, places)  # compiles the tokenizer's plan, if it is not there yet
        for _ in range(options.rounds):
            shutil.rmtree(f"{folder}/packs")  # to remove an old dataset is no stage
            found = profile(program, places)
            rounds.append({stage: count / HERTZ for stage, count in found.items()})
            if options.hf:
                hf.append(hf_seconds(texts, options.tokenizer))
    stages = {stage for each in rounds for stage in each}
    middle = {stage: median(each.get(stage, 0.0) for each in rounds) for stage in stages}
    lines = table(middle)
    result: dict[str, Any] = {
        "what": "profile_stages",
        "date": time.strftime("%Y-%m-%d"),
        "rows": options.rows,
        "tokenizer": Path(options.tokenizer).name,
        "rounds": rounds,
        "machine": machine(),
    }
    if hf:
        rest = [sum(each.values()) - each["tokenizing"] for each in rounds]
        shares = [part / (part + seconds) for part, seconds in zip(rest, hf, strict=True)]
        lines += [
            "",
            f"Not tokenizing: {median(rest):.3f} CPU s [{min(rest):.3f}, {max(rest):.3f}]; "
            f"`tokenizers` on the same texts: {median(hf):.2f} [{min(hf):.2f}, {max(hf):.2f}]; "
            f"with it inside, the rest would be {median(shares):.2%} "
            f"[{min(shares):.2%}, {max(shares):.2%}].",
        ]
        result |= {"hf_cpu_s": hf, "share_with_hf": shares}
    sys.stdout.write("\n".join(lines) + "\n")
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
