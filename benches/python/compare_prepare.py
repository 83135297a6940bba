"""Compares `sftprep.pack` with what people use instead, on the same rows, in the same minutes.

    compare_prepare.py [--repeat 5] [--rows 12000] [--max-len 4096] [--sides sftprep,trl,...]

Every side runs in a process of its own; the sides take turns, so that a slow minute of the
machine hits all of them, and ratios are taken round by round. Times are CPU seconds (user +
system of the process tree) with the imports left out; `cpu_total_s` has them in.

The peers run in the environment that `setup_peers.sh` makes (`--peers`), sftprep in the one that
runs this script. Data: `SFTPREP_TEST_DATA` (default `../shared/data` beside the repository).
The result is one JSON file under `benches/results/`; `report.py` makes the table from it.
"""

from __future__ import annotations

import argparse
import datetime
import gzip
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from itertools import islice
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RESULTS = ROOT / "benches" / "results"
SIDES = ("sftprep", "trl", "pieces", "tiktoken")
ONE_THREAD = {
    "CUDA_VISIBLE_DEVICES": "",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "WANDB_DISABLED": "true",
}
Result = dict[str, Any]


def data_folder() -> Path:
    """Where the shared data is."""
    given = os.environ.get("SFTPREP_TEST_DATA")
    return Path(given) if given else ROOT.parent / "shared" / "data"


def unpack(rows: int, target: Path) -> None:
    """Writes the first `rows` rows of the corpus to `target` (0: all)."""
    source = data_folder() / "bench" / "bench57k.messages.jsonl.gz"
    with gzip.open(source, "rb") as packed, target.open("wb") as plain:
        plain.writelines(islice(packed, rows or None))


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    cpu = "unknown"
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = info.read_text("utf-8").splitlines()
        cpu = next((x.split(":", 1)[1].strip() for x in lines if x.startswith("model name")), cpu)
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "load_1min": round(os.getloadavg()[0], 2),
    }


def run_side(python: str, side: str, arguments: list[str]) -> Result:
    """Runs one side to its end; its own report plus the peak memory of its largest process."""
    command = [python, str(HERE / "sides" / f"run_{side}.py"), *arguments]
    with (
        tempfile.TemporaryDirectory() as home,
        tempfile.TemporaryFile("w+b") as out,
        tempfile.TemporaryFile("w+b") as errors,
    ):
        environment = os.environ | ONE_THREAD | {"HF_HOME": home, "TMPDIR": home}
        process = subprocess.Popen(command, stdout=out, stderr=errors, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        errors.seek(0)
        lines = out.read().decode("utf-8", "replace").splitlines()
        if process.returncode != 0:
            tail = errors.read().decode("utf-8", "replace")[-2000:]
            raise SystemExit(f"side {side} ended with {process.returncode}:\n{tail}")
    report: Result = json.loads(next(x for x in lines if x.startswith("@side "))[6:])
    report["peak_rss_mb"] = round(usage.ru_maxrss / 1024, 1)
    report["load_1min"] = round(os.getloadavg()[0], 2)
    return report


def summarise(rounds: list[dict[str, Result]], sides: list[str]) -> dict[str, Any]:
    """Median and range per side, and the ratio to sftprep round by round."""
    summary: dict[str, Any] = {}
    for side in sides:
        prep = [r[side]["cpu_prep_s"] for r in rounds]
        summary[side] = {
            "cpu_prep_s": {"min": min(prep), "median": statistics.median(prep), "max": max(prep)},
            "cpu_total_s": {"median": statistics.median(r[side]["cpu_total_s"] for r in rounds)},
            "peak_rss_mb": max(r[side]["peak_rss_mb"] for r in rounds),
        }
        if "sftprep" in sides:
            for key in ("cpu_prep_s", "cpu_total_s"):
                ratios = [r[side][key] / r["sftprep"][key] for r in rounds]
                summary[side][f"speedup_{key}"] = {
                    "min": min(ratios),
                    "median": statistics.median(ratios),
                }
    return summary


def main() -> None:
    """Runs the comparison and writes its JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--rows", type=int, default=12_000, help="0: all")
    parser.add_argument("--max-len", type=int, default=4096)
    parser.add_argument("--tokenizer", default="qwen3", help="folder under tokenizers/")
    parser.add_argument("--sides", default=",".join(SIDES))
    parser.add_argument("--peers", default=str(ROOT / "benches" / ".peers" / "bin" / "python"))
    parser.add_argument("--out", default=str(RESULTS / "compare_prepare.json"))
    options = parser.parse_args()
    sides = options.sides.split(",")
    if not Path(options.peers).is_file() and sides != ["sftprep"]:
        sys.stderr.write(f"no peers at {options.peers} (benches/python/setup_peers.sh): skipped\n")
        sides = ["sftprep"]
    if not data_folder().is_dir():
        sys.stderr.write(f"no data at {data_folder()} (SFTPREP_TEST_DATA): skipped\n")
        return
    folder = data_folder() / "tokenizers" / options.tokenizer
    rounds: list[dict[str, Result]] = []
    with tempfile.TemporaryDirectory() as scratch:
        rows = Path(scratch) / "rows.jsonl"
        unpack(options.rows, rows)
        arguments = [str(rows), str(folder), str(options.max_len)]
        for number in range(options.repeat):
            # Reversing every other round keeps a side from always following the same neighbour.
            order = sides if number % 2 == 0 else sides[::-1]
            done = {}
            for side in order:
                python = sys.executable if side == "sftprep" else options.peers
                done[side] = run_side(python, side, arguments)
                seconds = done[side]["cpu_prep_s"]
                sys.stderr.write(f"round {number + 1} {side}: {seconds:.2f} CPU s\n")
            rounds.append(done)
        size = rows.stat().st_size
    result = {
        "what": "compare_prepare",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine(),
        "rows": options.rows,
        "bytes": size,
        "tokenizer": options.tokenizer,
        "max_len": options.max_len,
        "rounds": rounds,
        "summary": summarise(rounds, sides),
    }
    out = Path(options.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", "utf-8")
    sys.stderr.write(f"written: {out}\n")


if __name__ == "__main__":
    main()
