"""Peak memory and throughput of `pack` with a budget and without.

    memory.py [--rows chat.jsonl] [--tokenizer model/] [--budget 256] [--times 20]

Without `--rows` they are those of the corpus of `compare_prepare.py`. The result is
`benches/results/memory.json`. The input is `--rows` again and again until it is `--times` as large
as the budget. Each run is a process of its own; its peak is what the kernel says (VmHWM).
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
from pathlib import Path
from typing import Any

from compare_prepare import RESULTS, unpack

MIB = 1 << 20
PACK = """
import json, sys, sftprep
source, out, tokenizer, memory, threads = sys.argv[1:]
report = sftprep.pack(source, out=out, tokenizer=tokenizer, memory=int(memory),
                      threads=int(threads), overlong="drop")
text = open("/proc/self/status").read()
peak = next(line for line in text.splitlines() if line.startswith("VmHWM"))
print(json.dumps({"peak": int(peak.split()[1]) << 10, "content_id": report.content_id,
                  "tokens": report.totals.encoded, "rows": report.totals.rows}))
"""


def main() -> None:
    """Measures and prints JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=Path, help="JSON Lines, not compressed")
    parser.add_argument("--tokenizer", default="builtin")
    parser.add_argument("--budget", type=int, default=256, help="MiB")
    parser.add_argument("--times", type=float, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS / "memory.json")
    options = parser.parse_args()
    budget = options.budget * MIB
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "input.jsonl"
        if options.rows is None:
            options.rows = Path(folder) / "rows.jsonl"
            unpack(0, options.rows)
        text = options.rows.read_bytes()
        with source.open("wb") as file:
            while file.tell() < options.times * budget:
                file.write(text)
        runs = {name: run(source, Path(folder) / name, memory, options)
                for name, memory in (("without", 0), ("with", budget))}  # fmt: skip
        found = {
            "input_bytes": source.stat().st_size,
            "budget_bytes": budget,
            "threads": options.threads,
            "cores": os.cpu_count(),
            "load_before": os.getloadavg()[0],
            "runs": runs,
        }
    assert runs["with"].pop("content_id") == runs["without"].pop("content_id")
    found["within_budget"] = runs["with"]["peak"] <= budget
    found["throughput_ratio"] = round(runs["without"]["seconds"] / runs["with"]["seconds"], 3)
    options.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=2))


def run(source: Path, out: Path, memory: int, options: argparse.Namespace) -> dict[str, Any]:
    """One run in a process of its own."""
    given = [source, out, options.tokenizer, memory, options.threads]
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", PACK, *map(str, given)], check=False, capture_output=True, text=True
    )
    seconds = time.perf_counter() - begun
    shutil.rmtree(out, ignore_errors=True)  # two of them may be more than the disk holds
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    return {"seconds": round(seconds, 1), **json.loads(done.stdout)}


if __name__ == "__main__":
    main()
