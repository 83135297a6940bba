"""Ctrl-C and SIGTERM end a run within a second and leave no dataset."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sftprep.config import MANIFEST_NAME

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")


@pytest.fixture(autouse=True)
def sigint_not_ignored() -> Iterator[None]:
    """Children of a background job inherit an ignored SIGINT; those of a handled one do not."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def endless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Enough rows for a run of many seconds."""
    path = tmp_path_factory.mktemp("endless") / "chat.jsonl"
    words = "the quick brown fox jumps over the lazy dog " * 20
    with path.open("w", encoding="utf-8") as file:
        for index in range(120_000):
            messages: list[dict[str, Any]] = [
                {"role": "user", "content": f"{index} {words}"},
                {"role": "assistant", "content": f"{words} {index}"},
            ]
            file.write(json.dumps({"messages": messages}) + "\n")
    return path


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_command_within_a_second(
    endless: Path, tokenizer_dir: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "sftprep", "pack", str(endless), "--out", str(out)]
    process = subprocess.Popen(
        [*command, "--tokenizer", str(tokenizer_dir), "--log-json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if json.loads(line).get("rows", 0) > 0:
                break
        assert process.poll() is None, "the run was over too soon"
        started = time.monotonic()
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
        took = time.monotonic() - started
    finally:
        process.kill()
    assert process.returncode == code, err
    assert took < 1.0
    assert "Traceback" not in err
    assert not (out / MANIFEST_NAME).exists()
    assert not out.exists() or not any(out.iterdir())


def test_a_keyboard_interrupt_in_python_cancels_and_is_raised_again(
    endless: Path, tokenizer_dir: Path, tmp_path: Path
) -> None:
    program = f"""
import os, signal, sys, time
import sftprep
sent = 0.0
def interrupt(progress):
    global sent
    if progress.rows > 0 and not sent:
        sent = time.monotonic()
        os.kill(os.getpid(), signal.SIGINT)
try:
    sftprep.pack({str(endless)!r}, out={str(tmp_path / "out")!r},
                 tokenizer={str(tokenizer_dir)!r}, progress=interrupt)
except KeyboardInterrupt:
    assert sent and time.monotonic() - sent < 1.0, time.monotonic() - sent
    sys.exit(7)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (7, "")
    assert not (tmp_path / "out" / MANIFEST_NAME).exists()
