"""What the system can refuse: a clear error each time, never half a dataset that looks whole."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import conversation
from test_tasks import contents

import sftprep
from sftprep.errors import OutputError, SourceError

Write = Callable[..., Path]
Run = Callable[..., "subprocess.CompletedProcess[str]"]
MANIFEST = "sftprep.manifest.json"
ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


@pytest.fixture
def chat(write_rows: Write) -> Path:
    """About 700 KB of conversations."""
    return write_rows([conversation(index, 1 + index % 4) for index in range(1500)])


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB, unmounted afterwards."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if not ROOT or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a file system is not allowed here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def arguments(chat: Path, tokenizer: Path, out: Path, *more: str) -> list[str]:
    given = ["pack", str(chat), "--tokenizer", str(tokenizer), "--out", str(out), "--quiet"]
    return [sys.executable, "-m", "sftprep", *given, "--max-len", "512", *more]


def test_a_disk_too_small_is_refused_before_anything_is_read(
    chat: Path, tokenizer_dir: Path, small_disk: Path
) -> None:
    with pytest.raises(OutputError) as caught:
        sftprep.pack(chat, out=small_disk / "out", tokenizer=tokenizer_dir, max_len=512)
    assert caught.value.code == "output.disk_full"
    assert "needed" in caught.value.message
    assert not (small_disk / "out").exists()


def test_a_disk_that_fills_up_ends_the_run_and_resuming_finishes_it(
    chat: Path, tokenizer_dir: Path, small_disk: Path, tmp_path: Path
) -> None:
    # with --resume the estimate is left to the write phase, so the disk does fill up
    out = small_disk / "out"
    more = ("--resume", "--task-size", "64KiB", "--shard-size", "64KiB")
    failed = subprocess.run(
        arguments(chat, tokenizer_dir, out, *more), capture_output=True, text=True, check=False
    )
    assert failed.returncode == 4, failed.stderr
    assert "output.disk_full" in failed.stderr
    assert not (out / MANIFEST).exists()
    remount = ["mount", "-o", "remount,size=64m", str(small_disk)]
    subprocess.run(remount, check=True)
    done = subprocess.run(
        arguments(chat, tokenizer_dir, out, *more), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    whole = tmp_path / "whole"
    sftprep.pack(chat, out=whole, tokenizer=tokenizer_dir, max_len=512, shard_bytes=64 << 10)
    assert contents(out) == contents(whole)


@pytest.mark.parametrize("limit", [0, 1000, 100_000, 400_000])
def test_a_limit_on_file_sizes_is_an_error_like_any_other(
    chat: Path, tokenizer_dir: Path, tmp_path: Path, limit: int
) -> None:
    out = tmp_path / "out"

    def restrict() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = subprocess.run(
        arguments(chat, tokenizer_dir, out),
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=restrict,
    )
    assert done.returncode == 4, (done.returncode, done.stderr)
    assert "error[output." in done.stderr
    assert not (out / MANIFEST).exists()


def test_few_open_files_are_enough(chat: Path, tokenizer_dir: Path, tmp_path: Path) -> None:
    def restrict() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))

    out = tmp_path / "out"
    done = subprocess.run(
        arguments(chat, tokenizer_dir, out, "--task-size", "4KiB"),
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=restrict,
    )
    assert done.returncode == 0, done.stderr
    sftprep.pack(chat, out=tmp_path / "whole", tokenizer=tokenizer_dir, max_len=512)
    assert contents(out) == contents(tmp_path / "whole")


@pytest.mark.skipif(not ROOT, reason="needs a read-only mount")
def test_a_read_only_target_is_refused_before_any_work(
    chat: Path, tokenizer_dir: Path, small_disk: Path
) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(OutputError) as caught:
        sftprep.pack(chat, out=small_disk / "out", tokenizer=tokenizer_dir)
    assert caught.value.code == "output.io"
    assert str(small_disk) in str(caught.value.path)


@pytest.mark.parametrize("how", ["removed", "cut", "appended"])
def test_an_input_that_changes_ends_the_run(
    chat: Path, tokenizer_dir: Path, tmp_path: Path, how: str
) -> None:
    out = tmp_path / "out"
    changed = False

    def change(_: Any) -> None:  # noqa: ANN401 - a snapshot of the progress
        nonlocal changed
        if changed:
            return
        changed = True
        if how == "removed":
            chat.unlink()
        elif how == "cut":
            os.truncate(chat, chat.stat().st_size - 10)
        else:
            with chat.open("a") as file:
                file.write("{}\n")

    big = chat.read_text() * 40
    chat.write_text(big)
    with pytest.raises(SourceError) as caught:
        sftprep.pack(
            chat,
            out=out,
            tokenizer=tokenizer_dir,
            max_len=512,
            threads=1,
            task_bytes=1 << 20,
            progress=change,
        )
    assert caught.value.code in {"source.changed", "source.unreadable"}
    assert str(chat) in str(caught.value.path)
    assert not (out / MANIFEST).exists()


def test_a_second_writer_is_turned_away(chat: Path, tokenizer_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    chat.write_text(chat.read_text() * 20)
    first = subprocess.Popen(
        arguments(chat, tokenizer_dir, out), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        while not list(out.glob(".work-*")):
            assert first.poll() is None
            time.sleep(0.01)
        first.send_signal(signal.SIGSTOP)  # it holds the lock as long as the others take
        for more in ((), ("--resume",), ("--task", "1/2"), ("--overwrite",)):
            second = subprocess.run(
                arguments(chat, tokenizer_dir, out, *more),
                capture_output=True,
                text=True,
                check=False,
            )
            assert second.returncode == 4, second.stderr
            assert "error[output.locked]" in second.stderr
        first.send_signal(signal.SIGCONT)
        assert first.wait(120) == 0
    finally:
        first.kill()
        first.communicate()
    assert (out / MANIFEST).exists()


def test_two_processes_on_one_task_do_not_meet(
    chat: Path, tokenizer_dir: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    chat.write_text(chat.read_text() * 10)
    commands = [arguments(chat, tokenizer_dir, out, "--task", f"{part}/2") for part in (1, 2, 2)]
    running = [
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for command in commands
    ]
    ends = [(process.communicate(timeout=120)[1], process.returncode) for process in running]
    assert ends[0][1] == 0, ends
    assert {code for _, code in ends[1:]} <= {0, 4}
    assert 0 in {code for _, code in ends[1:]}, ends
    assert all("output.locked" in text for text, code in ends if code == 4)
    sftprep.go_on(out, "plan")
    sftprep.go_on(out, "write")
    sftprep.go_on(out, "commit")
    sftprep.pack(chat, out=tmp_path / "whole", tokenizer=tokenizer_dir, max_len=512)
    assert contents(out) == contents(tmp_path / "whole")


def test_environment_and_place_do_not_change_a_byte(
    chat: Path, tokenizer_dir: Path, tmp_path: Path
) -> None:
    want: dict[str, str] = {}
    for number, environment in enumerate(
        ({}, {"TZ": "Asia/Kathmandu", "LC_ALL": "C"}, {"PYTHONHASHSEED": "7", "LANG": "tr_TR"})
    ):
        home = tmp_path / f"place-{number}"
        home.mkdir()
        shutil.copy(chat, home / "chat.jsonl")
        done = subprocess.run(
            arguments(Path("chat.jsonl"), tokenizer_dir, Path("out")),
            cwd=home,
            env={**os.environ, **environment},
            preexec_fn=lambda number=number: os.umask((0o022, 0o077, 0o002)[number]) and None,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found = contents(home / "out")
        want = want or found
        assert found == want
    assert json.loads((tmp_path / "place-0/out" / MANIFEST).read_text())["inputs"]
