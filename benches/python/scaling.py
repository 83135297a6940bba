"""How `sftprep.pack` scales: threads on the whole corpus, and memory on a large input.

    scaling.py [--repeat 3] [--memory-gb 1.0] [--skip-threads] [--skip-memory]

Threads: one against two threads on all rows of the corpus, taking turns; wall time of the map
phase where the report states it, of the whole call otherwise. Memory: the corpus repeated, every
row made different from every other, until the input has the asked size; the peak of the process.
Data: `SFTPREP_TEST_DATA` (default `../shared/data` beside the repository).
"""

from __future__ import annotations

import argparse
import datetime
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from compare_prepare import RESULTS, Result, data_folder, machine, run_side, unpack


def threads(repeat: int, folder: Path, counts: list[int]) -> dict[str, Any]:
    """Wall time per number of threads, and the speed-up over one."""
    rounds: list[dict[int, Result]] = []
    with tempfile.TemporaryDirectory() as scratch:
        rows = Path(scratch) / "rows.jsonl"
        unpack(0, rows)
        for number in range(repeat):
            order = counts if number % 2 == 0 else counts[::-1]
            done = {}
            for count in order:
                done[count] = run_side(
                    sys.executable, "sftprep", [str(rows), str(folder), "4096", str(count)]
                )
                sys.stderr.write(
                    f"round {number + 1}, {count} threads: {map_seconds(done[count]):.2f} s\n"
                )
            rounds.append(done)
    speedup = {
        count: statistics.median(map_seconds(r[1]) / map_seconds(r[count]) for r in rounds)
        for count in counts
    }
    return {"rounds": rounds, "speedup": speedup}


def map_seconds(report: Result) -> float:
    """Wall time of the map phase."""
    phases = report.get("phases") or {}
    return float(phases.get("map", report["wall_prep_s"]))


def enlarged(target: Path, size: int) -> int:
    """Writes the corpus again and again, each row made different; returns the number of rows."""
    lines = (target.parent / "rows.jsonl").read_bytes().splitlines()
    written = count = 0
    with target.open("wb") as out:
        while written < size:
            for line in lines:
                # Right after the first content's opening quote, so that each text is a new one.
                changed = line.replace(b'"content": "', b'"content": "%d ' % count, 1)
                out.write(changed + b"\n")
                written += len(changed) + 1
                count += 1
                if written >= size:
                    break
    return count


def memory(size: int, folder: Path, thread_count: int) -> dict[str, Any]:
    """Peak memory on an input of `size` bytes."""
    with tempfile.TemporaryDirectory() as scratch:
        unpack(0, Path(scratch) / "rows.jsonl")
        large = Path(scratch) / "large.jsonl"
        rows = enlarged(large, size)
        report = run_side(
            sys.executable, "sftprep", [str(large), str(folder), "4096", str(thread_count)]
        )
        found = large.stat().st_size
    sys.stderr.write(f"{found / 1e9:.2f} GB: peak {report['peak_rss_mb']} MB\n")
    return {"bytes": found, "rows": rows, **report}


def main() -> None:
    """Runs both measurements and writes their JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--memory-gb", type=float, default=1.0)
    parser.add_argument("--tokenizer", default="qwen3", help="folder under tokenizers/")
    parser.add_argument("--skip-threads", action="store_true")
    parser.add_argument("--skip-memory", action="store_true")
    parser.add_argument("--out", default=str(RESULTS / "scaling.json"))
    options = parser.parse_args()
    if not data_folder().is_dir():
        sys.stderr.write(f"no data at {data_folder()} (SFTPREP_TEST_DATA): skipped\n")
        return
    folder = data_folder() / "tokenizers" / options.tokenizer
    counts = [int(count) for count in options.threads.split(",")]
    result: dict[str, Any] = {
        "what": "scaling",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine(),
        "tokenizer": options.tokenizer,
    }
    if not options.skip_threads:
        result["threads"] = threads(options.repeat, folder, counts)
    if not options.skip_memory:
        result["memory"] = memory(int(options.memory_gb * 1e9), folder, max(counts))
    out = Path(options.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    sys.stderr.write(f"written: {out}\n")


if __name__ == "__main__":
    main()
