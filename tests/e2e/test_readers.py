"""Other programs read the shards as they are, row by row what `ShardDataset` reads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import sftprep

Rows = list[dict[str, list[int]]]
COLUMNS = ["input_ids", "labels", "seq_lengths"]


@pytest.fixture(scope="module")
def rows(packed: Path) -> Rows:
    """What has to come out."""
    dataset = sftprep.ShardDataset(packed)
    return [{name: values.tolist() for name, values in row.items()} for row in dataset]


@pytest.fixture(scope="module")
def shards(packed: Path) -> list[Path]:
    """The data files, several of them."""
    found = sorted(packed.glob("data-*.arrow"))
    assert len(found) > 1
    return found


def test_pyarrow(shards: list[Path], rows: Rows) -> None:
    pa = pytest.importorskip("pyarrow")
    ds = pytest.importorskip("pyarrow.dataset")
    for read in (pa.ipc.open_stream, pa.ipc.open_file):
        tables = []
        for shard in shards:
            with pa.memory_map(str(shard)) as file:
                tables.append(read(file).read_all())
        table = pa.concat_tables(tables)
        table.validate(full=True)
        assert table.column_names == COLUMNS
        assert table.to_pylist() == rows
    assert ds.dataset([str(shard) for shard in shards], format="ipc").to_table().to_pylist() == rows


def test_datasets(packed: Path, shards: list[Path], rows: Rows, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    whole = datasets.load_from_disk(str(packed))
    assert whole.column_names == COLUMNS
    assert list(whole.with_format(None)) == rows
    files = [datasets.Dataset.from_file(str(shard)) for shard in shards]
    assert list(datasets.concatenate_datasets(files)) == rows
    names = [str(shard) for shard in shards]
    for streaming in (False, True):
        loaded = datasets.load_dataset(
            "arrow", data_files=names, split="train", streaming=streaming, cache_dir=str(tmp_path)
        )
        assert list(loaded) == rows


def test_polars(shards: list[Path], rows: Rows) -> None:
    polars = pytest.importorskip("polars")
    names = [str(shard) for shard in shards]
    frames = [
        polars.scan_ipc(names).collect(),
        polars.concat([polars.read_ipc(name) for name in names]),
        polars.concat([polars.read_ipc_stream(name) for name in names]),
    ]
    for frame in frames:
        assert frame.columns == COLUMNS
        assert frame.to_dicts() == rows


def test_duckdb_through_arrow(shards: list[Path], rows: Rows) -> None:
    duckdb = pytest.importorskip("duckdb")
    ds = pytest.importorskip("pyarrow.dataset")
    packs = ds.dataset([str(shard) for shard in shards], format="ipc")
    connection = duckdb.connect()
    connection.register("packs", packs)
    query = "select count(*), sum(len(input_ids))"
    found = connection.execute(f"{query} from packs").fetchone()
    tokens = sum(len(row["input_ids"]) for row in rows)
    assert found == (len(rows), tokens)
    everything = connection.execute("select input_ids, labels, seq_lengths from packs").fetchall()
    key = [tuple(row[name] for name in COLUMNS) for row in rows]
    assert sorted(everything) == sorted(key)


PROGRAM = """
import sys, time
import numpy, torch
import sftprep.dataset
rows = sftprep.ShardDataset(sys.argv[1])
for row in rows:
    ids = torch.tensor(row["input_ids"], dtype=torch.int64)
    assert ids.dtype == torch.int64 and ids.numpy().tolist() == row["input_ids"].tolist()
assert "pyarrow" not in sys.modules
import pyarrow
assert pyarrow.default_memory_pool().max_memory() == 0
assert pyarrow.total_allocated_bytes() == 0
clocks = []
for _ in range(5):
    begin = time.process_time()
    many = sftprep.ShardDataset(sys.argv[2])
    many[len(many) - 1]
    clocks.append(time.process_time() - begin)
shards = sum(file["kind"] == "data" for file in many.manifest["files"])
print(shards, min(clocks))
"""


def test_arrow_allocates_nothing_and_a_hundred_shards_open_at_once(
    packed: Path, tmp_path: Path, tokenizer_dir: Path
) -> None:
    pytest.importorskip("torch", reason="rows become tensors")
    pytest.importorskip("pyarrow")
    inputs = [packed.parent / "one.jsonl", packed.parent / "two.jsonl"]
    given: Any = {"tokenizer": tokenizer_dir, "max_len": 256, "shard_bytes": 3200}
    sftprep.pack(inputs, out=tmp_path / "many", **given)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(packed), str(tmp_path / "many")],
        env=dict(os.environ), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    shards, seconds = done.stdout.split()
    assert int(shards) >= 100
    # The target is 50 ms; processor time, as the machines that test are shared.
    assert float(seconds) * 100 / int(shards) < 0.05
