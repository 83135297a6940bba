"""How fast a finished dataset is packed again.

    repack.py [--tokens 100_000_000] [--threads 1 2] [--repeat 3] [--budget 256]

The dataset is of rows of made-up ids, in conversations of 30 to 4,000 tokens whose every other 64
tokens are trained, packed to 4,096 tokens; it is packed again to 8,192. Each run is a process of
its own, with the files read once before. Bytes are those of the new folder; a run with `--memory`
says what its peak was. The result is `benches/results/repack.json`.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from compare_prepare import RESULTS, machine

MIB = 1 << 20
REPACK = """
import json, os, sys, time, sftprep
source, out, threads, memory = sys.argv[1:]
begun, cpu = time.perf_counter(), time.process_time()
report = sftprep.repack(source, out, max_len=8192, threads=int(threads), memory=int(memory))
seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
text = open("/proc/self/status").read()
peak = next(line for line in text.splitlines() if line.startswith("VmHWM"))
size = sum(entry.stat().st_size for entry in os.scandir(out))
print(json.dumps({"seconds": round(seconds, 3), "cpu": round(cpu, 3), "bytes": size,
                  "phases": report.seconds, "peak": int(peak.split()[1]) << 10,
                  "content_id": report.content_id}))
"""


def make(folder: Path, tokens: int) -> Path:
    """A dataset of that many tokens."""
    import sftprep

    chance = np.random.default_rng(0)
    made = 0
    with (folder / "rows.jsonl").open("w") as file:
        while made < tokens:
            length = int(np.clip(chance.lognormal(5.9, 0.9), 30, 4000))
            ids = chance.integers(0, 250, length)
            labels = np.where(np.arange(length) // 64 % 2 == 1, ids, -100)
            file.write(json.dumps({"input_ids": ids.tolist(), "labels": labels.tolist()}) + "\n")
            made += length
    sftprep.pack(
        folder / "rows.jsonl", out=folder / "source", tokenizer="builtin", max_len=4096,
        overlong="drop",
    )  # fmt: skip
    (folder / "rows.jsonl").unlink()
    return folder / "source"


def run(source: Path, threads: int, memory: int = 0) -> dict[str, Any]:
    """One run in a process of its own."""
    for path in source.iterdir():
        path.read_bytes()
    with tempfile.TemporaryDirectory(dir=source.parent) as out:
        given = [source, Path(out) / "again", threads, memory]
        command = [sys.executable, "-c", REPACK, *map(str, given)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    found["mb_per_second"] = round(found["bytes"] / found["seconds"] / 1e6, 1)
    return found


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=100_000_000)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--budget", type=int, default=256, help="MiB")
    parser.add_argument("--out", type=Path, default=RESULTS / "repack.json")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as scratch:
        source = make(Path(scratch), options.tokens)
        runs: dict[int, list[dict[str, Any]]] = {count: [] for count in options.threads}
        for _ in range(options.repeat):
            for count, own in runs.items():
                own.append(run(source, count))
                print(f"{count} threads: {own[-1]['mb_per_second']} MB/s", file=sys.stderr)
        within = run(source, max(options.threads), options.budget * MIB)
        size = sum(path.stat().st_size for path in source.iterdir())
    ids = {each["content_id"] for own in runs.values() for each in own} | {within["content_id"]}
    assert len(ids) == 1, ids
    found = {
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "load_before": load,
        "tokens": options.tokens,
        "source_bytes": size,
        "mb_per_second": {
            count: statistics.median(each["mb_per_second"] for each in own)
            for count, own in runs.items()
        },
        "within_budget": {
            "budget": options.budget * MIB,
            "peak": within["peak"],
            "mb_per_second": within["mb_per_second"],
        },
        "rounds": runs,
    }
    options.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(found["mb_per_second"]), json.dumps(found["within_budget"]))


if __name__ == "__main__":
    main()
