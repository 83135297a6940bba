from __future__ import annotations

import json
import pickle
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import conversation

import sftprep
from sftprep.columns import DATA, view_batch
from sftprep.config import MANIFEST_NAME
from sftprep.errors import ShardCorrupt, ShardError


@pytest.fixture(scope="module")
def rows(packed: Path) -> sftprep.ShardDataset:
    return sftprep.ShardDataset(packed)


@pytest.fixture
def copy(packed: Path, tmp_path: Path) -> Path:
    return shutil.copytree(packed, tmp_path / "copy")


def test_rows_are_what_pyarrow_reads(rows: sftprep.ShardDataset, packed: Path) -> None:
    ipc = pytest.importorskip("pyarrow.ipc")
    files = sorted(packed.glob("data-*.arrow"))
    assert len(files) > 1
    expected = [row for file in files for row in ipc.open_file(file).read_all().to_pylist()]
    assert len(rows) == len(expected)
    for row, theirs in zip(rows, expected, strict=True):
        assert {name: values.tolist() for name, values in row.items()} == theirs
        assert all(values.dtype == np.int32 for values in row.values())


def test_rows_are_views_that_cannot_be_written(rows: sftprep.ShardDataset) -> None:
    row = rows[3]
    assert not row["input_ids"].flags.owndata
    assert type(row["input_ids"]) is np.ndarray
    with pytest.raises(ValueError, match="read-only"):
        row["input_ids"][0] = 1


def test_indices_behave_as_those_of_a_list(rows: sftprep.ShardDataset) -> None:
    last = len(rows) - 1
    assert (rows[-1]["input_ids"] == rows[last]["input_ids"]).all()
    assert (rows[np.int64(last)]["input_ids"] == rows[last]["input_ids"]).all()
    for index in (len(rows), -len(rows) - 1, 10**9):
        with pytest.raises(IndexError, match=f"row {index} of {len(rows)}"):
            rows[index]
    with pytest.raises(AttributeError):
        rows["input_ids"]  # type: ignore[index]


def test_documents_name_their_rows_and_partition_the_sequence(
    rows: sftprep.ShardDataset, tokenizer_dir: Path
) -> None:
    tokenizer = sftprep.Tokenizer.from_file(tokenizer_dir)
    seen = set()
    for index, row in enumerate(rows):
        at = 0
        for document, length in zip(
            rows.documents(index), row["seq_lengths"].tolist(), strict=True
        ):
            assert (document.start, document.end) == (at, at + length)
            spans = document.spans
            assert [s.start for s in spans] == [at, *(s.end for s in spans[:-1])]
            assert spans[-1].end == document.end
            at += length
            first = 0 if document.source == "one" else 300
            row_index = first + document.line - 1
            seen.add(row_index)
            text = tokenizer.decode(row["input_ids"][document.start : document.end])
            messages = conversation(row_index, 1 + row_index % 3)["messages"]
            assert all(message["content"] in text for message in messages)
            trained = "".join(
                tokenizer.decode(row["input_ids"][s.start : s.end]) for s in spans if s.trained
            )
            answers = [m["content"] + "<|im_end|>" for m in messages if m["role"] == "assistant"]
            assert trained == "".join(answers)
            labelled = row["labels"][document.start : document.end] >= 0
            assert labelled.sum() == sum(s.end - s.start for s in spans if s.trained)
        assert at == len(row["input_ids"]) <= rows.max_len
    assert seen == set(range(600))


def test_it_pickles_by_path_and_knows_when_the_data_changed(copy: Path, packed: Path) -> None:
    rows = sftprep.ShardDataset(copy)
    packet = pickle.dumps(rows)
    assert len(packet) < 1000
    assert (pickle.loads(packet)[5]["labels"] == rows[5]["labels"]).all()
    del rows
    shutil.rmtree(copy)
    sftprep.pack({"one": packed.parent / "one.jsonl"}, out=copy, tokenizer=packed, max_len=256)
    with pytest.raises(ShardCorrupt, match="the dataset changed"):
        pickle.loads(packet)


def test_forked_and_spawned_workers_read_it(packed: Path) -> None:
    program = f"""
import multiprocessing, sys, sftprep
def read(arguments):
    rows, index = arguments
    return int(rows[index]["input_ids"].sum())
if __name__ == "__main__":
    rows = sftprep.ShardDataset({str(packed)!r})
    expected = [int(row["input_ids"].sum()) for row in rows]
    for method in multiprocessing.get_all_start_methods():
        with multiprocessing.get_context(method).Pool(2) as pool:
            assert pool.map(read, [(rows, i) for i in range(len(rows))]) == expected, method
"""
    path = packed.parent / "workers.py"
    path.write_text(program)
    subprocess.run([sys.executable, str(path)], check=True, timeout=120)


def test_it_reads_faster_than_30_000_rows_a_second(rows: sftprep.ShardDataset) -> None:
    order = [random.Random(0).randrange(len(rows)) for _ in range(20_000)]
    best = 0.0
    for _ in range(3):
        started = time.perf_counter()
        for index in order:
            rows[index]
        best = max(best, len(order) / (time.perf_counter() - started))
    assert best > 30_000


def test_no_dataset_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ShardError) as caught:
        sftprep.ShardDataset(tmp_path)
    assert caught.value.code == "shard.missing"


def test_a_changed_manifest_is_found(copy: Path) -> None:
    manifest = copy / MANIFEST_NAME
    text = manifest.read_text()
    manifest.write_text(text.replace('"max_len":512', '"max_len":513'))
    with pytest.raises(ShardCorrupt) as caught:
        sftprep.ShardDataset(copy)
    assert caught.value.code == "shard.manifest"


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda file: file.unlink(), "cannot be opened"),
        (lambda file: file.write_bytes(file.read_bytes()[:-1]), "the manifest promises"),
        (lambda file: file.write_bytes(file.read_bytes() + b"x"), "the manifest promises"),
    ],
)
def test_a_file_of_another_size_is_found_when_opening(
    copy: Path, damage: Callable[[Path], object], said: str
) -> None:
    damage(min(copy.glob("data-*.arrow")))
    with pytest.raises(ShardCorrupt, match=said):
        sftprep.ShardDataset(copy)


def test_damaged_offsets_are_an_error_and_never_a_crash(copy: Path) -> None:
    manifest = json.loads((copy / MANIFEST_NAME).read_text())
    file = next(f for f in manifest["files"] if f["kind"] == "data")
    path = copy / file["name"]
    data = bytearray(path.read_bytes())
    offset, size = file["batches"][0]["buffers"][0]
    for value in (2**30, -1, 0):
        damaged = data.copy()
        damaged[offset + 8 : offset + 12] = value.to_bytes(4, "little", signed=True)
        path.write_bytes(damaged)
        with pytest.raises(ShardCorrupt, match="list offsets"):
            sftprep.ShardDataset(copy)[1]
    assert size > 12


@pytest.mark.parametrize(
    "buffers",
    [
        [[0, 8]],
        [[0, 10**9]] * 6,
        [[-8, 8]] * 6,
        [[3, 8]] * 6,
        [[0, 4]] * 6,
    ],
)
def test_buffers_outside_the_file_are_an_error(buffers: list[list[int]]) -> None:
    mapped = np.zeros(64, np.uint8)
    with pytest.raises(ShardCorrupt):
        view_batch(mapped, {"rows": 1, "buffers": buffers}, DATA, Path("x.arrow"))
