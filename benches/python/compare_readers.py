"""Compares readers of packed rows: random rows into int64 torch tensors, all on the same content.

    compare_readers.py [--rows 8192] [--length 4096] [--reads 20000] [--rounds 3] [--sides ...]

Every side has its own copy of the rows in its own format and reads them in a process of its own, in
the environment of this script, which needs torch, datasets, litdata and mosaicml-streaming (a side
whose package is absent is named in the result as left out). The sides take turns, and files are
read once before the clock starts, so that the page cache is warm for all. A read is one random
row: its ids and its labels as two int64 torch tensors. One thread; rates are per second and per
second of CPU time. The result is `benches/results/compare_readers.json`.

What pyarrow allocated is asked of pyarrow itself, which the sftprep side imports for that alone.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from compare_prepare import ONE_THREAD, RESULTS, machine

SIDES = {
    "sftprep": "numpy",
    "memmap": "numpy",
    "datasets": "datasets",
    "litdata": "litdata",
    "mosaicml": "mosaicml-streaming",
}
MANY = 100
Row = tuple[Any, Any]
Reader = Callable[[int], Row]


@cache
def contents(rows: int, length: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Ids and labels, ``(rows, length)``; every other document of 256 tokens is trained."""
    ids = np.random.default_rng(0).integers(0, 250, (rows, length), dtype=np.int32)
    trained = np.arange(length) // 128 % 2 == 1
    return ids, np.where(trained, ids, -100).astype(np.int32)


def make_sftprep(folder: Path, rows: int, length: int) -> None:
    """Documents of a quarter of a row each, which `pack` makes full rows of; once in 100 files."""
    import sftprep

    ids, labels = (each.reshape(-1, length // 4) for each in contents(rows, length))
    with (folder / "rows.jsonl").open("w") as file:
        for one, two in zip(ids, labels, strict=True):
            file.write(json.dumps({"input_ids": one.tolist(), "labels": two.tolist()}) + "\n")
    given: Any = {"tokenizer": "builtin", "max_len": length, "strategy": "sequential"}
    sftprep.pack(folder / "rows.jsonl", out=folder / "sftprep", **given)
    size = rows * (8 * length + 28) // MANY + 1
    sftprep.pack(folder / "rows.jsonl", out=folder / "many", shard_bytes=size, **given)


def make_memmap(folder: Path, rows: int, length: int) -> None:
    """Two plain arrays."""
    for name, values in zip(("ids", "labels"), contents(rows, length), strict=True):
        values.tofile(folder / f"{name}.bin")


def litdata_sample(rows: int, length: int, row: int) -> dict[str, Any]:
    """A row for litdata, whose worker imports this module."""
    import torch

    ids, labels = contents(rows, length)
    return {"ids": torch.from_numpy(ids[row]), "labels": torch.from_numpy(labels[row])}


def make_litdata(folder: Path, rows: int, length: int) -> None:
    """What `optimize` writes, with one worker."""
    from litdata import optimize

    optimize(
        fn=partial(litdata_sample, rows, length), inputs=list(range(rows)),
        output_dir=str(folder / "litdata"), chunk_bytes="64MB", num_workers=1,
    )  # fmt: skip


def make_mosaicml(folder: Path, rows: int, length: int) -> None:
    """Shards of arrays, not compressed."""
    from streaming import MDSWriter

    ids, labels = contents(rows, length)
    columns = dict.fromkeys(("ids", "labels"), f"ndarray:int32:{length}")
    with MDSWriter(out=str(folder / "mosaicml"), columns=columns) as out:
        for one, two in zip(ids, labels, strict=True):
            out.write({"ids": one, "labels": two})


def open_sftprep(folder: Path, rows: int, length: int) -> Reader:
    """The rows as `ShardDataset` gives them, copied into tensors."""
    import torch

    import sftprep

    data = sftprep.ShardDataset(folder / "sftprep")
    assert len(data) == rows
    int64, tensor = torch.int64, torch.tensor

    def read(row: int) -> Row:
        found = data[row]
        return tensor(found["input_ids"], dtype=int64), tensor(found["labels"], dtype=int64)

    return read


def open_memmap(folder: Path, rows: int, length: int) -> Reader:
    """A row of each array, copied into tensors."""
    import torch

    ids, labels = (
        np.memmap(folder / f"{name}.bin", np.int32, "r", shape=(rows, length))
        for name in ("ids", "labels")
    )
    int64, tensor = torch.int64, torch.tensor
    return lambda row: (tensor(ids[row], dtype=int64), tensor(labels[row], dtype=int64))


def open_datasets(folder: Path, rows: int, length: int) -> Reader:
    """`load_from_disk` on the same shards; its torch format is int64."""
    from datasets import load_from_disk

    data = load_from_disk(str(folder / "sftprep")).with_format("torch")

    def read(row: int) -> Row:
        found = data[row]
        return found["input_ids"], found["labels"]

    return read


def open_litdata(folder: Path, rows: int, length: int) -> Reader:
    """Its own index."""
    import torch
    from litdata import StreamingDataset

    data = StreamingDataset(str(folder / "litdata"))

    def read(row: int) -> Row:
        found = data[row]
        return found["ids"].to(torch.int64), found["labels"].to(torch.int64)

    return read


def open_mosaicml(folder: Path, rows: int, length: int) -> Reader:
    """Its own index."""
    import torch
    from streaming import StreamingDataset

    data = StreamingDataset(local=str(folder / "mosaicml"), shuffle=False, batch_size=1)

    def read(row: int) -> Row:
        found = data[row]
        int64 = torch.int64
        return torch.tensor(found["ids"], dtype=int64), torch.tensor(found["labels"], dtype=int64)

    return read


def measure(side: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """One side, in this process: random rows per second, and what else is asked of ours."""
    import torch

    torch.set_num_threads(1)
    rows, length = options.rows, options.length
    read: Reader = globals()[f"open_{side}"](folder, rows, length)
    ids, labels = contents(rows, length)
    for row in np.random.default_rng(2).integers(0, rows, 50).tolist():
        for found, wanted in zip(read(row), (ids[row], labels[row]), strict=True):
            assert found.dtype == torch.int64
            assert np.array_equal(found.numpy(), wanted), f"{side} reads something else"
    del ids, labels
    contents.cache_clear()
    for row in range(rows):
        read(row)
    wanted = np.random.default_rng(1).integers(0, rows, options.reads).tolist()
    begin, cpu = time.perf_counter(), time.process_time()
    reads = 0
    for reads, row in enumerate(wanted, 1):
        read(row)
        if reads % 100 == 0 and time.perf_counter() - begin > options.seconds:
            break
    seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
    result = {"rows_per_s": reads / seconds, "rows_per_cpu_s": reads / cpu, "reads": reads}
    if side == "sftprep":
        result |= ours(folder, options)
    return result


def ours(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """What Arrow had to do with it, and how long opening many shards takes."""
    alone = "pyarrow" not in sys.modules
    import pyarrow as pa

    import sftprep

    times, clocks = [], []
    for _ in range(20):
        begin, cpu = time.perf_counter(), time.process_time()
        data = sftprep.ShardDataset(folder / "many")
        data[0]
        times.append(time.perf_counter() - begin)
        clocks.append(time.process_time() - cpu)
    shards = sum(file["kind"] == "data" for file in data.manifest["files"])
    return {
        "pyarrow_was_imported": not alone,
        "arrow_bytes_allocated": pa.default_memory_pool().max_memory(),
        "open_ms": {
            "shards": shards, "first": times[0] * 1e3, "best": min(times) * 1e3,
            "median": statistics.median(times) * 1e3, "cpu": statistics.median(clocks) * 1e3,
        },
    }  # fmt: skip


def child(arguments: list[str]) -> dict[str, Any]:
    """Runs this script on one side; its last line is the result."""
    command = [sys.executable, __file__, *arguments]
    done = subprocess.run(
        command, env=os.environ | ONE_THREAD, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)}\n{done.stderr[-3000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def given_options(options: argparse.Namespace) -> str:
    """What was said on the command line that changes what is measured."""
    names = ("rows", "length", "reads", "seconds", "rounds", "sides")
    return " ".join(f"--{name} {getattr(options, name)}" for name in names)


def compare(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All rounds of all sides."""
    versions = {"torch": importlib.metadata.version("torch"), "numpy": np.__version__}
    left_out, sides = {}, []
    given = [f"--rows={options.rows}", f"--length={options.length}", f"--reads={options.reads}",
             f"--seconds={options.seconds}", f"--folder={folder}"]  # fmt: skip
    for side in options.sides.split(","):
        try:
            versions[SIDES[side]] = importlib.metadata.version(SIDES[side])
        except importlib.metadata.PackageNotFoundError:
            left_out[side] = f"{SIDES[side]} is not installed"
            continue
        if side != "datasets":
            child([*given, f"--make={side}"])
        sides.append(side)
    rounds = []
    for number in range(options.rounds):
        rounds.append({side: child([*given, f"--side={side}"]) for side in sides})
        speeds = {side: round(it["rows_per_s"]) for side, it in rounds[-1].items()}
        print(f"round {number + 1}: {speeds}", file=sys.stderr)
    summary = {}
    for side in sides:
        summary[side] = {
            name: {"min": min(speeds), "median": statistics.median(speeds)}
            for name in ("rows_per_s", "rows_per_cpu_s")
            for speeds in ([it[side][name] for it in rounds],)
        }
        if "sftprep" in sides:
            cpu = "rows_per_cpu_s"
            ratios = [it["sftprep"][cpu] / it[side][cpu] for it in rounds]
            speedup = {"min": min(ratios), "median": statistics.median(ratios)}
            summary[side]["sftprep_speedup"] = speedup
    from sftprep import __version__

    versions["sftprep"] = __version__
    return {
        "what": "compare_readers",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "command": f"python benches/python/compare_readers.py {given_options(options)}".strip(),
        "machine": machine(),
        "versions": versions,
        "rows": options.rows,
        "length": options.length,
        "left_out": left_out,
        "summary": summary,
        "rounds": rounds,
    }


def main() -> None:
    """Compares, or does what the parent asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=8192)
    parser.add_argument("--length", type=int, default=4096)
    parser.add_argument("--reads", type=int, default=20_000, help="random rows per side and round")
    parser.add_argument("--seconds", type=float, default=10, help="or as many as fit into this")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sides", default=",".join(SIDES))
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--make", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=RESULTS / "compare_readers.json")
    options = parser.parse_args()
    if options.make:
        globals()[f"make_{options.make}"](options.folder, options.rows, options.length)
        print("{}")
    elif options.side:
        print(json.dumps(measure(options.side, options.folder, options)))
    else:
        with tempfile.TemporaryDirectory() as name:
            result = compare(options, Path(name))
        options.out.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
        print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
