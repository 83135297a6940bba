"""A run on a Ray cluster has the bytes of one process, whichever workers die.

The cluster is a local one.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, conversation

import sftprep
from sftprep.errors import ConfigError, OutputError, RejectBudgetExceeded, SourceError

Write = Callable[..., Path]

if find_spec("ray") is None:
    pytest.skip("needs ray", allow_module_level=True)
pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # Ray's own
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs /proc"),
]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file but the report, which tells the time."""
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]
    return {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if path.name != "sftprep.report.json"
    }


def connect(cpus: int = 2, **environment: str) -> None:
    """Two workers, or one of several threads, which have the package of this tree."""
    import ray

    names = {"PYTHONPATH": str(ROOT / "python"), **environment}
    ray.init(
        num_cpus=cpus, include_dashboard=False, log_to_driver=False, logging_level="ERROR",
        runtime_env={"env_vars": names},
    )  # fmt: skip


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A cluster that the tests share."""
    import ray

    connect()
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory, tokenizer_dir: Path) -> dict[str, Any]:
    """Options that give many tasks and shards, and what they give in one process."""
    import json

    folder = tmp_path_factory.mktemp("ray")
    rows = [json.dumps(conversation(index, 1 + index % 4)) for index in range(600)]
    rows[50] = "not json"
    (folder / "one.jsonl").write_text("".join(f"{row}\n" for row in rows[:400]))
    (folder / "two.jsonl").write_text("".join(f"{row}\n" for row in rows[400:]))
    given = {
        "inputs": [folder / "one.jsonl", folder / "two.jsonl"], "tokenizer": tokenizer_dir,
        "max_len": 300, "shard_bytes": 32 << 10, "task_bytes": 16 << 10, "date": "2025-01-01",
    }  # fmt: skip
    report = sftprep.pack(out=folder / "whole", **given)
    assert report.shards > 4
    return {"given": given, "report": report, "want": contents(folder / "whole")}


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("parts", [1, 2, 5])
def test_the_bytes_are_those_of_one_process(
    job: dict[str, Any], tmp_path: Path, threads: int, parts: int
) -> None:
    out, stages = tmp_path / "out", []
    report = sftprep.pack(
        out=out, ray=True, ray_parts=parts, threads=threads,
        progress=lambda progress: stages.append(progress.stage), **job["given"],
    )  # fmt: skip
    assert contents(out) == job["want"]
    want = job["report"]
    assert (report.content_id, report.totals, report.shards) == (
        want.content_id, want.totals, want.shards,
    )  # fmt: skip
    assert list(report.seconds) == ["map", "plan", "write", "commit"]
    assert stages[0] == "map"
    assert stages[-1] == "done"


def workers() -> list[int]:
    """Processes of this cluster that are at a part of a run."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if line.startswith(b"ray::sftprep_part"):
                found.append(int(entry.name))
    return found


@pytest.mark.usefixtures("cluster")
def test_a_worker_that_is_killed(tmp_path: Path, tokenizer_dir: Path, write_rows: Write) -> None:
    path = write_rows([conversation(index, 1 + index % 4) for index in range(20_000)], "big.jsonl")
    given: Any = {
        "tokenizer": tokenizer_dir, "max_len": 300, "threads": 1, "task_bytes": 64 << 10,
        "shard_bytes": 1 << 20,
    }  # fmt: skip
    sftprep.pack(path, out=tmp_path / "whole", **given)
    want = contents(tmp_path / "whole")
    killed: list[int] = []
    over = threading.Event()

    def kill() -> None:
        """Kills a worker once some tasks are done, and one again when shards are written."""
        for sign in ("map-*.json", "write-*.json"):
            while not over.is_set():
                done = len(list((tmp_path / "out").glob(f".work-*/**/{sign}")))
                if done >= 2 and (found := workers()):
                    os.kill(found[0], signal.SIGKILL)
                    killed.append(found[0])
                    break
                time.sleep(0.005)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        sftprep.pack(path, out=tmp_path / "out", ray=True, ray_parts=2, **given)
    finally:
        over.set()
        killer.join()
    assert killed, "the run was over before a worker could be killed"
    assert contents(tmp_path / "out") == want


@pytest.mark.slow
@pytest.mark.parametrize("point", ["task.done:4", "shard.done:6", "file.synced:23"])
def test_workers_that_keep_dying_come_to_an_end(
    job: dict[str, Any], tmp_path: Path, point: str
) -> None:
    """Each worker process dies as soon as it has passed the point so often."""
    import ray

    if ray.is_initialized():
        ray.shutdown()
    connect(SFTPREP_KILL_AT=point)
    try:
        sftprep.pack(out=tmp_path / "out", ray=True, ray_parts=2, **job["given"])
    finally:
        ray.shutdown()
    assert contents(tmp_path / "out") == job["want"]


def test_errors_keep_their_class_and_place(
    job: dict[str, Any], tmp_path: Path, write_rows: Write
) -> None:
    import ray

    if not ray.is_initialized():
        connect()
    try:
        with pytest.raises(SourceError) as caught:
            given = job["given"] | {"inputs": tmp_path / "nowhere.jsonl"}
            sftprep.pack(out=tmp_path / "out", ray=True, **given)
        assert caught.value.code == "source.missing"
        bad = write_rows(["bad"] * 30 + [conversation(1)])
        with pytest.raises(RejectBudgetExceeded):
            sftprep.pack(out=tmp_path / "out", ray=True, **(job["given"] | {"inputs": bad}))
        sftprep.pack(out=tmp_path / "there", ray=True, ray_parts=1, **job["given"])
        with pytest.raises(OutputError) as exists:
            sftprep.pack(out=tmp_path / "there", ray=True, **job["given"])
        assert exists.value.code == "output.exists"
        again = sftprep.pack(out=tmp_path / "there", ray=True, resume=True, **job["given"])
        assert again.content_id == job["report"].content_id
        other = job["given"] | {"max_len": 200}
        replaced = sftprep.pack(out=tmp_path / "there", ray=True, overwrite=True, **other)
        assert replaced.content_id != job["report"].content_id
        assert sftprep.ShardDataset(tmp_path / "there").max_len == 200
    finally:
        ray.shutdown()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"dry_run": True}, "not distributed"),
        ({"limit": 5}, "limit counts"),
        ({"task": (1, 2)}, "divides a run by itself"),
        ({"ray": "chat.jsonl"}, "is not the address of a Ray cluster"),
    ],
)
def test_what_cannot_be_distributed(tmp_path: Path, more: dict[str, Any], said: str) -> None:
    given: Any = {"out": tmp_path / "out", "tokenizer": "builtin", "ray": True} | more
    with pytest.raises(ConfigError, match=said):
        sftprep.pack("chat.jsonl", **given)


def test_the_command(job: dict[str, Any], tmp_path: Path, sftprep: Any) -> None:  # noqa: ANN401
    given = job["given"]
    done = sftprep(
        "pack", *given["inputs"], "--tokenizer", given["tokenizer"], "--max-len", "300",
        "--shard-size", "32KiB", "--task-size", "16KiB", "--date", "2025-01-01", "--quiet",
        "--out", "out", "--ray-parts", "2", "--ray",
        env=os.environ | {"PYTHONPATH": str(ROOT / "python")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "wrote out: " in done.stdout
    assert contents(tmp_path / "out") == job["want"]


@pytest.mark.slow
def test_more_threads_than_cores_give_the_same_bytes(job: dict[str, Any], tmp_path: Path) -> None:
    import ray

    if ray.is_initialized():
        ray.shutdown()
    connect(cpus=7)
    try:
        for parts in (1, 2, 5):
            out = tmp_path / str(parts)
            sftprep.pack(out=out, ray=True, ray_parts=parts, threads=7, **job["given"])
            assert contents(out) == job["want"]
    finally:
        ray.shutdown()
