"""How long the plan of ten million documents takes, and how much memory.

    plan.py [--documents 1_000_000 10_000_000] [--repeat 3]

Builds and runs `rust/sftprep-core/examples/plan_times.rs`, a process for each number of documents;
the peak is that of the process, with the lengths themselves (4 bytes each). The result is
`benches/results/plan.json`: the median of the rounds.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import statistics
import subprocess
from pathlib import Path
from typing import Any

from compare_prepare import RESULTS, machine

ROOT = Path(__file__).resolve().parents[2]
LINE = re.compile(r"(\w+) (\w+) (\d+): plan ([\d.]+)(\S*s), .*? pieces listed in ([\d.]+)(\S*s),")
PEAK = re.compile(r"VmHWM:\s+(\d+) kB")
SECONDS = {"s": 1.0, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9}


def measure(documents: int) -> dict[str, Any]:
    """One process."""
    command = ["cargo", "run", "--release", "-q", "-p", "sftprep-core", "--example", "plan_times"]
    done = subprocess.run(
        [*command, "--", str(documents)], check=True, capture_output=True, text=True, cwd=ROOT
    )
    found: dict[str, Any] = {}
    for name, strategy, _, plan, unit, listed, listed_unit in LINE.findall(done.stdout):
        found[f"{name} {strategy}"] = {
            "plan": float(plan) * SECONDS[unit],
            "listed": float(listed) * SECONDS[listed_unit],
        }
    peak = PEAK.search(done.stdout)
    assert peak, done.stdout
    assert found, done.stdout
    return {"peak": int(peak[1]) << 10, "seconds": found}


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS / "plan.json")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    sizes: dict[int, Any] = {}
    for documents in options.documents:
        rounds = [measure(documents) for _ in range(options.repeat)]
        sizes[documents] = {
            "peak": max(each["peak"] for each in rounds),
            "seconds": {
                name: {
                    what: statistics.median(each["seconds"][name][what] for each in rounds)
                    for what in ("plan", "listed")
                }
                for name in rounds[0]["seconds"]
            },
        }
    found = {
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "load_before": load,
        "documents": sizes,
    }
    options.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(sizes, indent=2))


if __name__ == "__main__":
    main()
