"""A budget of memory is obeyed, changes no byte, and is refused where it cannot work."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Run, conversation
from test_tasks import contents

import sftprep
from sftprep.errors import ConfigError

MIB = 1 << 20
Write = Callable[..., Path]

PACK = """
import sys, sftprep
source, out, tokenizer, memory, threads = sys.argv[1:]
report = sftprep.pack(source, out=out, tokenizer=tokenizer, memory=int(memory),
                      threads=int(threads), overlong="drop", max_reject_rate=1.0)
text = open("/proc/self/status").read()
peak = next(line for line in text.splitlines() if line.startswith("VmHWM"))
print(int(peak.split()[1]) << 10)
"""


def peak(source: Path, out: Path, tokenizer: Path, memory: int, threads: int) -> int:
    """Bytes that a process takes at most for a run."""
    given = [source, out, tokenizer, memory, threads]
    done = subprocess.run(
        [sys.executable, "-c", PACK, *map(str, given)], check=True, capture_output=True, text=True
    )
    return int(done.stdout)


def test_a_budget_changes_no_byte_of_the_data(
    write_rows: Write, tokenizer_dir: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    run: Run = request.getfixturevalue("sftprep")
    source = write_rows([conversation(index, 1 + index % 4) for index in range(500)], "a.jsonl")
    given: dict[str, Any] = {"tokenizer": tokenizer_dir, "max_len": 300, "shard_bytes": 64 << 10}
    sftprep.pack(source, out=tmp_path / "free", **given)
    for threads in (1, 3):
        out = tmp_path / str(threads)
        # in a process of its own: what this one has loaded may be above the budget by itself
        done = run(
            "pack", source, "--tokenizer", tokenizer_dir, "--max-len", 300, "--shard-size", "64KiB",
            "--memory", "192MiB", "--threads", threads, "--out", out,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        one, other = contents(tmp_path / "free"), contents(tmp_path / str(threads))
        # the manifest has the limit for rows
        assert {name for name in one if one[name] != other[name]} == {"sftprep.manifest.json"}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_long_rows_stay_in_the_budget_or_are_rejected_by_name(
    tokenizer_dir: Path, tmp_path: Path
) -> None:
    memory = 256 * MIB
    limit = (memory - 128 * MIB) // 40
    source = tmp_path / "long.jsonl"
    with source.open("w") as file:
        for size in [limit - 1000] * 6 + [limit + 1, 30 * MIB]:
            text = ("one 1 two 22 " * (size // 13 + 1))[: size - 100]
            turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": text}]
            row = json.dumps({"messages": turns})
            file.write(row + " " * (size - len(row)) + "\n")
        file.write(json.dumps(conversation(1)) + "\n")
    assert peak(source, tmp_path / "out", tokenizer_dir, memory, 4) <= memory
    rejects = (tmp_path / "out" / "rejects.jsonl").read_text().splitlines()
    long = [row for row in map(json.loads, rejects) if row["code"] == "row.too_long"]
    assert [row["line"] for row in long] == [7, 8]
    assert "more than the" in long[0]["message"]


def test_budgets_that_cannot_work_are_refused(
    write_rows: Write, tokenizer_dir: Path, tmp_path: Path
) -> None:
    source = write_rows([conversation(1)], "a.jsonl")
    with pytest.raises(ConfigError, match="at least 192 MiB"):
        sftprep.pack(source, out=tmp_path / "out", tokenizer=tokenizer_dir, memory=100 * MIB)
