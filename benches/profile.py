"""Where the CPU time of `pack` goes, stage by stage: samples of a whole run, by who asked for them.

profile.py INPUT TOKENIZER [--threads N] [--json FILE]

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
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
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
        "CARGO_PROFILE_RELEASE_LTO": "off",
        "CARGO_PROFILE_RELEASE_CODEGEN_UNITS": "16",
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
    command = ["perf", "script", "-i", str(samples), "-F", "ip,sym", "--no-inline"]
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


def main() -> None:
    """Runs and prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("input")
    parser.add_argument("tokenizer")
    parser.add_argument("--threads", default="1")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if not shutil.which("perf"):
        parser.error("this needs Linux perf (Debian: linux-perf)")
    with tempfile.TemporaryDirectory() as out:
        places = [options.input, options.tokenizer, f"{out}/packs", options.threads]
        program = build()
        profile(program, places)  # compiles the tokenizer's plan, if it is not there yet
        found = profile(program, places)
    total = sum(found.values())
    lines = ["| stage | CPU s | share |", "| --- | --- | --- |"]
    for stage, count in found.most_common():
        lines.append(f"| {stage} | {count / HERTZ:.3f} | {100 * count / total:.1f} % |")
    lines.append(f"| all | {total / HERTZ:.3f} | 100 % |")
    sys.stdout.write("\n".join(lines) + "\n")
    if options.json:
        seconds = {stage: round(count / HERTZ, 4) for stage, count in found.items()}
        options.json.write_text(json.dumps(seconds, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
