"""A budget of memory is obeyed, changes no byte, and is refused where it cannot work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Run, conversation
from test_tasks import contents

import sftprep
from sftprep import _core
from sftprep.errors import ConfigError

MIB = 1 << 20
FULL = os.environ.get("SFTPREP_REQUIRE_DATA") == "1"
LONG_ROW = 100_000_000 if FULL else 8_000_000
LARGE_ROWS = 100_000 if FULL else 12_000
Write = Callable[..., Path]

PACK = """
import sys, sftprep
import json
source, out, tokenizer, memory, threads, more = sys.argv[1:]
given = {"overlong": "drop", "max_reject_rate": 1.0} | json.loads(more)
report = sftprep.pack(source, out=out, tokenizer=tokenizer, memory=int(memory),
                      threads=int(threads), **given)
text = open("/proc/self/status").read()
peak = next(line for line in text.splitlines() if line.startswith("VmHWM"))
print(int(peak.split()[1]) << 10)
"""


def peak(
    source: Path,
    out: Path,
    tokenizer: Path,
    memory: int,
    threads: int,
    **more: Any,  # noqa: ANN401 - any option
) -> int:
    """Bytes that a process takes at most for a run."""
    given = [source, out, tokenizer, memory, threads, json.dumps(more)]
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


def long_row(size: int, turns: int) -> str:
    """A conversation of that many bytes, of words, numbers and Chinese."""
    text = "one word, then 1234, 你好 and another. "
    content = (text * (size // turns // 40 + 1))[: size // turns - 80]
    messages = []
    for _ in range(turns):
        messages.append({"role": "user", "content": "q"})
        messages.append({"role": "assistant", "content": content})
    return json.dumps({"messages": messages}, ensure_ascii=False)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("turns", [1, 1000])
def test_rows_of_many_megabytes_are_packed_or_rejected_by_name(
    tokenizer_dir: Path, tmp_path: Path, turns: int
) -> None:
    size = LONG_ROW
    source = tmp_path / "long.jsonl"
    rows = [json.dumps(conversation(1)), long_row(size, turns), json.dumps(conversation(2))]
    source.write_text("".join(f"{row}\n" for row in rows))
    length = len(rows[1].encode())

    # what it takes, and no more
    enough = 40 * length + 128 * MIB
    given: dict[str, Any] = {"overlong": "window", "max_len": 4096, "max_line_bytes": 2 * length}
    taken = peak(source, tmp_path / "all", tokenizer_dir, enough, 2, **given)
    print(f"{length:,} bytes in {turns} turns: {taken / length:.1f} bytes of memory for each")
    assert taken <= enough
    totals = json.loads((tmp_path / "all" / "sftprep.manifest.json").read_text())["totals"]
    assert (totals["rows"], totals["packed"]) == (3, 3)
    assert totals["trained"] > length // 20
    assert json.loads(_core.verify(tmp_path / "all"))["ok"]

    # a budget that is too small rejects it, with its line, its bytes and the limit
    less = 192 * MIB
    assert peak(source, tmp_path / "less", tokenizer_dir, less, 2, **given) <= less
    (reject,) = (tmp_path / "less" / "rejects.jsonl").read_text().splitlines()
    reject = json.loads(reject)
    assert (reject["code"], reject["line"]) == ("row.too_long", 2)
    assert f"{length} bytes, more than the {(less - 128 * MIB) // 40} allowed" in reject["message"]
    assert "--max-line-bytes" in reject["message"]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_columnar_inputs_stay_in_the_budget_or_are_refused_by_name(
    tokenizer_dir: Path, tmp_path: Path, kind: str
) -> None:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    memory = 256 * MIB
    rows = [conversation(index, 40) for index in range(8_000)]
    whole = pa.Table.from_pylist(rows)
    assert whole.nbytes > 20 * MIB, "more than a batch may have"

    def write(rows_in_batch: int) -> Path:
        path = tmp_path / f"{rows_in_batch}.{kind}"
        if kind == "parquet":
            # pages are cut every 1,024 rows at the earliest
            size = whole.nbytes // len(rows) * rows_in_batch
            options = {"row_group_size": len(rows), "data_page_size": size}
            dictionary = {"use_dictionary": False, "compression": "zstd"}
            pq.write_table(whole, path, **options, **dictionary)
        else:
            options = pa.ipc.IpcWriteOptions(compression="zstd")
            with pa.ipc.new_file(path, whole.schema, options=options) as file:
                file.write_table(whole, max_chunksize=rows_in_batch)
        return path

    small = write(1024)
    given: dict[str, Any] = {"tokenizer": tokenizer_dir, "max_line_bytes": 1 << 20}
    assert peak(small, tmp_path / "within", tokenizer_dir, memory, 2, max_line_bytes=1 << 20) <= (
        memory
    )
    if kind == "parquet":  # slices change no byte
        sftprep.pack(small, out=tmp_path / "free", overlong="drop", **given)
        one, other = contents(tmp_path / "free"), contents(tmp_path / "within")
        data = [name for name in one if name.startswith("data-")]
        assert data
        assert all(one[name] == other[name] for name in data)
    large = write(len(rows))
    done = subprocess.run(
        [sys.executable, "-m", "sftprep", "pack", large, "--tokenizer", tokenizer_dir,
         "--memory", str(memory), "--out", tmp_path / "refused"],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert "error[run.memory]" in done.stderr, done.stderr
    assert str(large) in done.stderr
    assert "the memory budget has 16 MiB for it" in done.stderr
    assert not (tmp_path / "refused" / "sftprep.manifest.json").exists()


AGAIN = """
import sys, sftprep
verb, source, out, memory, threads = sys.argv[1:]
given = {"memory": int(memory), "threads": int(threads)}
if verb == "repack":
    sftprep.repack(source, out, max_len=12000, **given)
elif verb == "remask":
    sftprep.remask(source, out, train_on="last_turn", **given)
else:
    sftprep.mix_shards({source: 1.0}, out, trained_tokens=1_000_000, **given)
text = open("/proc/self/status").read()
peak = next(line for line in text.splitlines() if line.startswith("VmHWM"))
print(int(peak.split()[1]) << 10)
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory, tokenizer_dir: Path) -> Path:
    """A dataset much larger than the smallest budget."""
    folder = tmp_path_factory.mktemp("large")
    with (folder / "chat.jsonl").open("w") as file:
        for index in range(LARGE_ROWS):
            file.write(json.dumps(conversation(index, 1 + index % 60)) + "\n")
    sftprep.pack(
        folder / "chat.jsonl",
        out=folder / "packs",
        tokenizer=tokenizer_dir,
        max_len=16384,
        shard_bytes=64 * MIB,
    )
    return folder / "packs"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("verb", ["repack", "remask", "mix"])
def test_packing_again_stays_in_the_budget(large: Path, tmp_path: Path, verb: str) -> None:
    memory = 192 * MIB
    size = sum(path.stat().st_size for path in large.iterdir())
    assert size > (memory if FULL else memory // 3)

    def run(memory: int, threads: int) -> int:
        out = tmp_path / f"{memory}-{threads}"
        command = [sys.executable, "-c", AGAIN, verb, large, out, memory, threads]
        done = subprocess.run(list(map(str, command)), check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return int(done.stdout)

    taken = run(memory, 2)
    print(f"{verb}: {taken >> 20} MiB for {size >> 20} MiB")
    assert taken <= memory
    run(0, 1)
    assert contents(tmp_path / f"{memory}-2") == contents(tmp_path / "0-1")


def test_packing_again_in_too_little_memory_is_refused(packed: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least 192 MiB"):
        sftprep.repack(packed, tmp_path / "out", memory=100 * MIB)
    with pytest.raises(ConfigError, match="at least 192 MiB"):
        sftprep.mix_shards({packed: 1.0}, tmp_path / "out", memory=100 * MIB)


def test_budgets_that_cannot_work_are_refused(
    write_rows: Write, tokenizer_dir: Path, tmp_path: Path
) -> None:
    source = write_rows([conversation(1)], "a.jsonl")
    with pytest.raises(ConfigError, match="at least 192 MiB"):
        sftprep.pack(source, out=tmp_path / "out", tokenizer=tokenizer_dir, memory=100 * MIB)
