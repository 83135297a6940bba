"""A run that is killed anywhere and then resumed gives the bytes of one that was not disturbed."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import conversation
from test_tasks import contents

import sftprep
from sftprep import _core

MANIFEST = "sftprep.manifest.json"
# The first passes of a point, and later ones; a run passes some points only a few times.
PASSES = (1, 2, 5, 11, 23)
KILLS = 200 if os.environ.get("SFTPREP_REQUIRE_DATA") == "1" else 12


class Job:
    """A run of several tasks and shards, as a command in a process of its own."""

    def __init__(self, folder: Path, tokenizer: Path) -> None:
        """Writes the input and packs it undisturbed."""
        self.folder = folder
        rows = [conversation(index, 1 + index % 4) for index in range(400)]
        lines: list[str] = [json.dumps(row) for row in rows]
        lines[50] = "bad"
        self.input = folder / "chat.jsonl"
        self.input.write_text("".join(f"{line}\n" for line in lines))
        self.tokenizer = tokenizer
        self.times = 0
        started = time.monotonic()
        done = self.run(folder / "whole")
        self.seconds = time.monotonic() - started
        assert done.returncode == 0, done.stderr
        self.want = contents(folder / "whole")

    def command(self, out: Path, *more: str) -> list[str]:
        """The command line."""
        options = ["--max-len", "300", "--shard-size", "32KiB", "--task-size", "16KiB", "--quiet"]
        given = ["pack", str(self.input), "--tokenizer", str(self.tokenizer), "--out", str(out)]
        return [sys.executable, "-m", "sftprep", *given, *options, *more]

    def run(
        self, out: Path, *more: str, point: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Runs it; `point` says where it dies."""
        environment = {**os.environ, **({"SFTPREP_KILL_AT": point} if point else {})}
        return subprocess.run(
            self.command(out, *more),
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def check(self, out: Path, *more: str) -> None:
        """What is left of a killed run is no dataset, or the whole one; resumed, it is the same."""
        if (out / MANIFEST).exists() and not more:
            assert contents(out) == self.want
            assert json.loads(_core.verify(out))["ok"]
        done = self.run(out, "--resume", *more)
        assert done.returncode == 0, done.stderr
        assert contents(out) == self.want
        assert not [path for path in out.iterdir() if path.name.startswith(".")]


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory, tokenizer_dir: Path) -> Job:
    """One job for all tests of this file."""
    return Job(tmp_path_factory.mktemp("killed"), tokenizer_dir)


@pytest.mark.parametrize("point", _core.kill_points())
@pytest.mark.parametrize("replaces", [False, True])
def test_killed_at_a_named_point(job: Job, tmp_path: Path, point: str, replaces: bool) -> None:
    reached = False
    for number in PASSES:
        out = tmp_path / f"{number}"
        more = ("--overwrite",) if replaces else ()
        if replaces:
            sftprep.pack(
                job.input, out=out, tokenizer=job.tokenizer, max_len=200, max_reject_rate=0.5
            )
            before = contents(out)
        killed = job.run(out, *more, point=f"{point}:{number}")
        if killed.returncode == 0:
            break
        assert killed.returncode == -signal.SIGABRT, killed.stderr
        reached = True
        if replaces and point != "commit.swapped":
            assert contents(out) == before, "the old dataset is untouched until it is exchanged"
        job.check(out, *more)
        shutil.rmtree(out)
    only = {"commit.placed", "commit.synced", "commit.whole"} if replaces else {"commit.swapped"}
    assert reached or point in only


def test_killed_at_random_times_and_again_while_resuming(job: Job, tmp_path: Path) -> None:
    chance = random.Random(7)
    for number in range(KILLS):
        out = tmp_path / f"{number}"
        for _ in range(chance.randint(1, 3)):
            process = subprocess.Popen(
                job.command(out, "--resume", "--threads", str(chance.choice([1, 2, 5]))),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            try:
                process.wait(chance.uniform(0.3, 1.1) * job.seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        job.check(out)
        shutil.rmtree(out)


def test_phases_that_are_killed_are_repeated(job: Job, tmp_path: Path) -> None:
    out = tmp_path / "out"
    point = {"task.done": 2, "plan.done": 1, "shard.done": 2, "commit.placed": 3}
    steps: list[tuple[list[str], str]] = [
        (job.command(out, "--task", "1/2"), "task.done"),
        (job.command(out, "--task", "2/2"), "task.done"),
        ([sys.executable, "-m", "sftprep", "plan", str(out)], "plan.done"),
        ([sys.executable, "-m", "sftprep", "write", str(out), "--task", "1/2"], "shard.done"),
        ([sys.executable, "-m", "sftprep", "write", str(out), "--task", "2/2"], "shard.done"),
        ([sys.executable, "-m", "sftprep", "commit", str(out)], "commit.placed"),
    ]
    for command, name in steps:
        environment = {**os.environ, "SFTPREP_KILL_AT": f"{name}:{point[name]}"}
        killed = subprocess.run(command, env=environment, capture_output=True, check=False)
        assert killed.returncode == -signal.SIGABRT, (command, killed.stderr)
        assert not (out / MANIFEST).exists()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert contents(out) == job.want


@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_what_was_left_is_checked_before_it_is_used(job: Job, tmp_path: Path, damage: str) -> None:
    for pattern in ("map-*.seg", "map-*.log", "map-*.json", "write-*.json", "data-*", "spans-*"):
        out = tmp_path / "out"
        killed = job.run(out, point="commit.begin:1")
        assert killed.returncode == -signal.SIGABRT
        (work,) = out.glob(".work-*")
        path = sorted(work.rglob(pattern))[1]
        if damage == "remove":
            path.unlink()
        else:
            data = bytearray(path.read_bytes())
            if damage == "flip":
                data[len(data) // 2] ^= 16
            path.write_bytes(data[: len(data) - (damage == "cut")])
        job.check(out)
        shutil.rmtree(out)


def test_other_options_and_changed_inputs_are_not_resumed(job: Job, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert job.run(out, point="task.done:3").returncode == -signal.SIGABRT
    other = job.run(out, "--resume", "--max-len", "200")
    assert other.returncode == 2
    assert "an unfinished run with other options" in other.stderr
    excerpts = job.run(out, "--resume", "--reject-excerpts")
    assert excerpts.returncode == 2
    assert "output.reject_excerpts" in excerpts.stderr
    stat = job.input.stat()
    os.utime(job.input, ns=(stat.st_atime_ns, stat.st_mtime_ns + 10**9))
    try:
        changed = job.run(out, "--resume")
        assert changed.returncode == 3
        assert "source.changed" in changed.stderr
    finally:
        os.utime(job.input, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    job.check(out)


def test_without_resume_a_run_begins_anew(job: Job, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert job.run(out, point="commit.placed:4").returncode == -signal.SIGABRT
    assert not (out / MANIFEST).exists()
    done = job.run(out)
    assert done.returncode == 0, done.stderr
    assert contents(out) == job.want


def test_the_date_of_the_first_run_stays(
    write_rows: Callable[..., Path], tokenizer_dir: Path, tmp_path: Path
) -> None:
    path = write_rows([conversation(index) for index in range(100)])
    given: dict[str, Any] = {
        "tokenizer": tokenizer_dir,
        "task_bytes": 4096,
        "chat_template": "{{ strftime_now('%H:%M:%S') }}{% for m in messages %}<|im_start|>"
        "{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}",
    }
    out = tmp_path / "out"
    sftprep.pack(path, out=out, task=(1, 2), **given)
    time.sleep(1.1)
    sftprep.pack(path, out=out, task=(2, 2), **given)
    sftprep.go_on(out, "plan")
    sftprep.go_on(out, "write")
    sftprep.go_on(out, "commit")
    date = json.loads((out / MANIFEST).read_text())["template"]["date"]
    again = sftprep.pack(path, out=tmp_path / "again", date=date, **given)
    assert again.content_id == json.loads((out / MANIFEST).read_text())["content_id"]
