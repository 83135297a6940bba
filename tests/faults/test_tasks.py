"""The same bytes whatever the number of threads, tasks and processes, and in whatever order."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import conversation

import sftprep
from sftprep.errors import ConfigError, OutputError, RejectBudgetExceeded, RunError, SourceError

Write = Callable[..., Path]


def contents(folder: Path) -> dict[str, str]:
    """Hash of every file but the report, which tells the time, and what a dead run left."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if path.name != "sftprep.report.json" and not path.name.startswith(".")
    }


@pytest.fixture
def inputs(write_rows: Write, tmp_path: Path) -> dict[str, Path]:
    """Inputs of several kinds; the first is cut into many tasks of 4 KiB."""
    rows: list[Any] = [conversation(index, 1 + index % 4) for index in range(150)]
    rows[3] = "not json"
    rows[77] = {"messages": []}
    rows[111] = ""
    long = write_rows(rows, "long.jsonl")
    short = write_rows([conversation(index) for index in range(500, 505)], "short.jsonl")
    packed = tmp_path / "packed.jsonl.gz"
    text = "".join(f"{json.dumps(conversation(index))}\n" for index in range(900, 940))
    packed.write_bytes(gzip.compress(text.encode()))
    return {"long": long, "short": short, "packed": packed}


def options(tokenizer_dir: Path, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - any option
    """Options that give several shards and several tasks."""
    return {
        "tokenizer": tokenizer_dir,
        "max_len": 300,
        "shard_bytes": 32 << 10,
        "task_bytes": 4 << 10,
        **more,
    }


@pytest.mark.parametrize(
    ("strategy", "balance"), [("bfd", 0), ("bfd", 4), ("bfd_split", 0), ("wrapped", 0)]
)
def test_threads_and_tasks_do_not_change_a_byte(
    inputs: dict[str, Path], tokenizer_dir: Path, tmp_path: Path, strategy: str, balance: int
) -> None:
    given = options(
        tokenizer_dir,
        strategy=strategy,
        balance=balance,
        overlong="truncate",
        reject_excerpts=True,
    )
    whole = sftprep.pack(inputs, out=tmp_path / "whole", **{**given, "task_bytes": 1 << 30})
    want = contents(tmp_path / "whole")
    assert whole.shards > 2
    for threads in (1, 2, 7):
        out = tmp_path / f"threads-{threads}"
        report = sftprep.pack(inputs, out=out, threads=threads, **given)
        assert contents(out) == want
        assert report.totals == whole.totals
        for of in (1, 2, 5):
            out = tmp_path / f"tasks-{threads}-{of}"
            order = list(range(1, of + 1))
            random.Random(of).shuffle(order)
            for part in order:
                sftprep.pack(inputs, out=out, threads=threads, task=(part, of), **given)
            assert sftprep.go_on(out, "plan").totals == whole.totals
            for part in reversed(order):
                sftprep.go_on(out, "write", task=(part, of), threads=threads)
            done = sftprep.go_on(out, "commit")
            assert contents(out) == want
            assert (done.content_id, done.shards) == (whole.content_id, whole.shards)
            assert not [path for path in out.iterdir() if path.name.startswith(".")]


def test_hashes_of_inputs_are_those_of_the_files(
    inputs: dict[str, Path], tokenizer_dir: Path, tmp_path: Path
) -> None:
    blake3 = {}
    for size in (1 << 10, 1 << 12, 1 << 30):
        out = tmp_path / str(size)
        sftprep.pack(inputs, out=out, **options(tokenizer_dir, task_bytes=size))
        manifest = json.loads((out / "sftprep.manifest.json").read_text())
        blake3[size] = [(entry["bytes"], entry["blake3"]) for entry in manifest["inputs"]]
    assert blake3[1 << 10] == blake3[1 << 12] == blake3[1 << 30]
    assert all(hash_ for _, hash_ in blake3[1 << 10])


def test_lines_are_counted_from_the_start_of_the_file(
    inputs: dict[str, Path], tokenizer_dir: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    sftprep.pack(inputs, out=out, **options(tokenizer_dir, max_len=4096))
    rejects = [json.loads(line) for line in (out / "rejects.jsonl").read_text().splitlines()]
    assert [(it["source"], it["line"]) for it in rejects] == [("long", 4), ("long", 78)]
    lines = inputs["long"].read_bytes()
    assert lines[rejects[0]["byte_offset"] :].startswith(b"not json\n")
    rows = sftprep.ShardDataset(out)
    documents = [document for row in range(len(rows)) for document in rows.documents(row)]
    seen = sorted(it.line for it in documents if it.source == "long")
    assert seen == [line for line in range(1, 151) if line not in {4, 78, 112}]
    for document in documents:
        if document.source == "long":
            start = lines[: document.byte_offset].count(b"\n")
            assert start + 1 == document.line


def test_errors_name_the_line_of_the_file(
    inputs: dict[str, Path], tokenizer_dir: Path, tmp_path: Path
) -> None:
    given = options(tokenizer_dir, max_len=100, overlong="error")
    with pytest.raises(sftprep.PackError) as whole:
        sftprep.pack(inputs, out=tmp_path / "a", **{**given, "task_bytes": 1 << 30})
    with pytest.raises(sftprep.PackError) as cut:
        sftprep.pack(inputs, out=tmp_path / "b", **given)
    assert (cut.value.line, cut.value.path) == (whole.value.line, whole.value.path)


def test_too_many_rejects_end_the_run_wherever_they_lie(
    write_rows: Write, tokenizer_dir: Path, tmp_path: Path
) -> None:
    rows: list[Any] = [conversation(index) for index in range(300)] + ["bad"] * 40
    path = write_rows(rows)
    out = tmp_path / "out"
    with pytest.raises(RejectBudgetExceeded) as whole:
        sftprep.pack(path, out=tmp_path / "whole", **options(tokenizer_dir, task_bytes=1 << 30))
    for part in (2, 1):
        sftprep.pack(path, out=out, task=(part, 2), **options(tokenizer_dir))
    with pytest.raises(RejectBudgetExceeded) as caught:
        sftprep.go_on(out, "plan")
    assert caught.value.message == whole.value.message
    assert f"{path}:301: row.json" in caught.value.message


def test_a_phase_waits_for_the_one_before(
    inputs: dict[str, Path], tokenizer_dir: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    for phase in ("plan", "write", "commit"):
        with pytest.raises(RunError) as caught:
            sftprep.go_on(out, phase)
        assert caught.value.code == "run.incomplete"
        assert not out.exists()
    given = options(tokenizer_dir)
    sftprep.pack(inputs, out=out, task=(1, 2), **given)
    with pytest.raises(RunError, match="tasks are not done"):
        sftprep.go_on(out, "plan")
    sftprep.pack(inputs, out=out, task=(2, 2), **given)
    for phase in ("write", "commit"):
        with pytest.raises(RunError, match="plan phase is not done"):
            sftprep.go_on(out, phase)
    sftprep.go_on(out, "plan")
    sftprep.go_on(out, "write", task=(1, 2))
    with pytest.raises(RunError, match="is not written"):
        sftprep.go_on(out, "commit")
    with pytest.raises(sftprep.ShardError):
        sftprep.ShardDataset(out)
    sftprep.go_on(out, "write", task=(2, 2))
    sftprep.go_on(out, "commit")
    assert len(sftprep.ShardDataset(out)) > 0


def test_processes_of_one_run_agree_on_what_it_is(
    inputs: dict[str, Path], tokenizer_dir: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    sftprep.pack(inputs, out=out, task=(1, 2), **options(tokenizer_dir))
    for other in ({"max_len": 301}, {"train_on": "last_turn"}, {"task_bytes": 8 << 10}):
        with pytest.raises(OutputError) as caught:
            sftprep.pack(inputs, out=out, task=(2, 2), **{**options(tokenizer_dir), **other})
        assert caught.value.code == "output.exists"
    with inputs["long"].open("a") as file:
        file.write(json.dumps(conversation(1)) + "\n")
    with pytest.raises(SourceError) as changed:
        sftprep.pack(inputs, out=out, task=(2, 2), **options(tokenizer_dir))
    assert changed.value.code == "source.changed"


def test_what_cannot_be_shared_is_refused(
    inputs: dict[str, Path], tokenizer_dir: Path, tmp_path: Path
) -> None:
    given = options(tokenizer_dir)
    for wrong in ({"limit": 10}, {"dry_run": True}):
        with pytest.raises(ConfigError):
            sftprep.pack(inputs, out=tmp_path / "out", task=(1, 2), **given, **wrong)
    with pytest.raises(ConfigError, match="standard input cannot be read twice"):
        sftprep.pack("-", out=tmp_path / "out", task=(1, 2), **given)
    with pytest.raises(ConfigError, match="standard input cannot be read twice"):
        sftprep.pack("x=-", out=tmp_path / "out", resume=True, **given)
    with pytest.raises(ConfigError):
        sftprep.pack(inputs, out=tmp_path / "out", task=(3, 2), **given)
    assert not (tmp_path / "out").exists()


def test_a_limit_counts_over_tasks(
    inputs: dict[str, Path], tokenizer_dir: Path, tmp_path: Path
) -> None:
    for limit in (1, 40, 120, 10_000):
        found = []
        for size in (4 << 10, 1 << 30):
            out = tmp_path / f"{limit}-{size}"
            given = options(tokenizer_dir, task_bytes=size, limit=limit, max_reject_rate=0.5)
            report = sftprep.pack(inputs, out=out, **given)
            found.append((report.content_id, report.totals))
        assert found[0] == found[1]
        assert found[0][1].rows == min(limit, 194)
