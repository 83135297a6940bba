"""A disk that fails or dawdles: every system call of a run ends with EIO once, or moves few bytes.

A shim in C, compiled here and preloaded, stands between the command and the system.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import conversation
from test_tasks import contents

import sftprep
from sftprep.config import MANIFEST_NAME

Write = Callable[..., Path]
Done = subprocess.CompletedProcess[str]
FULL = os.environ.get("SFTPREP_REQUIRE_DATA") == "1"
# Of each kind of call, of which a run makes up to some hundred, the one that fails: in full mode
# every one, else the 1st, 2nd, 4th, 8th and so on.
COMPILER = next((it for it in ("cc", "gcc", "clang") if shutil.which(it)), None)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="preloads a library into glibc")


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that fails."""
    if COMPILER is None:
        pytest.skip("needs a C compiler")
    path = tmp_path_factory.mktemp("shim") / "sick_disk.so"
    source = Path(__file__).with_name("sick_disk.c")
    flags = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([COMPILER, *flags, "-o", path, source, "-ldl"], check=True)
    return path


class Disk:
    """Runs commands on a disk that fails."""

    def __init__(self, shim: Path, folder: Path) -> None:
        """Everything below `folder` is on it."""
        self.shim = shim
        self.folder = folder
        self.log = folder.with_name(f"{folder.name}.log")

    def run(self, call: str, at: int, *command: object) -> tuple[Done, str | None]:
        """Runs sftprep; the file concerned by the call that failed, if one did."""
        self.log.unlink(missing_ok=True)
        sick = {
            "LD_PRELOAD": str(self.shim),
            "SICK_FOLDER": str(self.folder),
            "SICK_CALL": call,
            "SICK_AT": str(at),
            "SICK_LOG": str(self.log),
        }
        done = healthy(*command, environment=sick)
        assert done.returncode >= 0, (call, at, done.stderr)
        assert "panicked" not in done.stderr
        return done, self.log.read_text().strip() if self.log.exists() else None

    def failures(self, call: str, *command: object) -> Iterator[tuple[Done, str]]:
        """Runs it once for each call of the kind, which fails, until it makes no more of them."""
        at = 1
        while True:
            done, file = self.run(call, at, *command)
            if file is None:
                assert done.returncode == 0, (call, at, done.stderr)
                assert at > 1, f"no {call} was seen: the shim is not in the way"
                return
            yield done, file
            at = at + 1 if FULL else 2 * at


def healthy(*command: object, environment: dict[str, str] | None = None) -> Done:
    """Runs sftprep on a disk that works."""
    return subprocess.run(
        [sys.executable, "-m", "sftprep", *map(str, command)],
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def command(write_rows: Write, tokenizer_dir: Path) -> list[object]:
    """A run of a few tasks and shards, without its output."""
    rows: list[object] = [conversation(index, 1 + index % 3) for index in range(60)]
    rows[7] = "bad"
    given = ["--max-len", 300, "--shard-size", "16KiB", "--task-size", "8KiB", "--threads", 2]
    return ["pack", write_rows(rows), "--tokenizer", tokenizer_dir, *given, "--quiet"]


@pytest.fixture
def disk(shim: Path, tmp_path: Path) -> Disk:
    (tmp_path / "disk").mkdir()
    return Disk(shim, (tmp_path / "disk").resolve())


@pytest.mark.parametrize("call", ["write", "sync", "rename", "read"])
def test_an_output_that_cannot_be_written_is_no_dataset_and_is_gone_on_with(
    disk: Disk, command: list[object], tmp_path: Path, call: str
) -> None:
    assert healthy(*command, "--out", tmp_path / "whole").returncode == 0
    want = contents(tmp_path / "whole")
    out = disk.folder / "out"
    for done, file in disk.failures(call, *command, "--out", out):
        if done.returncode == 0:
            # a file that cannot be read back may be made again, or not be needed
            assert call == "read" or MANIFEST_NAME in file, (call, file)
            assert contents(out) == want, (call, file)
        else:
            assert done.returncode == 4, (call, file, done.stderr)
            assert "error[output.io]" in done.stderr, (call, file, done.stderr)
            assert str(out) in done.stderr, (call, file, done.stderr)
            if (out / MANIFEST_NAME).exists():
                # only if what failed is the sync after the last rename
                assert contents(out) == want, (call, file)
            again = healthy(*command, "--out", out, "--resume")
            if again.returncode:
                assert "it holds a dataset" in again.stderr, (call, file, again.stderr)
            assert contents(out) == want, (call, file)
        shutil.rmtree(out)


@pytest.mark.parametrize("call", ["write", "sync", "rename", "read"])
def test_packing_again_onto_a_failing_disk_leaves_no_half_dataset(
    disk: Disk, packed: Path, tmp_path: Path, call: str
) -> None:
    again = ["repack", packed, "--max-len", 700]
    assert healthy(*again, "--out", tmp_path / "whole").returncode == 0
    want = contents(tmp_path / "whole")
    out = disk.folder / "out"
    for done, file in disk.failures(call, *again, "--out", out):
        if done.returncode:
            assert done.returncode == 4, (call, file, done.stderr)
            assert "error[output.io]" in done.stderr, (call, file, done.stderr)
        if (out / MANIFEST_NAME).exists():
            assert contents(out) == want, (call, file)
        if out.exists():
            shutil.rmtree(out)


def test_an_input_that_cannot_be_read_ends_the_run(
    disk: Disk, command: list[object], tmp_path: Path
) -> None:
    source = str(shutil.copy(str(command[1]), disk.folder / "chat.jsonl"))
    command[1] = source
    for done, file in disk.failures("read", *command, "--out", tmp_path / "out"):
        assert file == source
        assert done.returncode == 3, done.stderr
        assert "error[source.unreadable]" in done.stderr
        assert source in done.stderr
        assert not (tmp_path / "out" / MANIFEST_NAME).exists()


def test_a_dataset_that_cannot_be_read_is_found(disk: Disk, packed: Path) -> None:
    folder = shutil.copytree(packed, disk.folder / "packs")
    for done, file in disk.failures("read", "verify", folder, "--full"):
        assert done.returncode == 5, (file, done.stderr)
        assert Path(file).name in done.stdout + done.stderr, (file, done.stdout, done.stderr)
    program = f"import sftprep; print(len(sftprep.ShardDataset({str(folder)!r})))"
    sick = {
        "LD_PRELOAD": str(disk.shim),
        "SICK_FOLDER": str(disk.folder),
        "SICK_CALL": "read",
        "SICK_AT": "1",
        "SICK_LOG": str(disk.log),
    }
    disk.log.unlink(missing_ok=True)
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **sick},
        capture_output=True,
        text=True,
        check=False,
    )
    assert disk.log.exists()
    assert done.returncode == 1
    assert "sftprep.errors." in done.stderr
    assert MANIFEST_NAME in done.stderr


def test_short_and_interrupted_calls_change_no_byte(
    disk: Disk, command: list[object], tmp_path: Path
) -> None:
    assert healthy(*command, "--out", tmp_path / "whole").returncode == 0
    source = shutil.copy(str(command[1]), disk.folder / "chat.jsonl")
    command[1] = source
    out = disk.folder / "out"
    done, seen = disk.run("short", 0, *command, "--out", out)
    assert done.returncode == 0, done.stderr
    assert seen
    assert contents(out) == contents(tmp_path / "whole")
    done, seen = disk.run("short", 0, "verify", out, "--full")
    assert done.returncode == 0, done.stderr
    assert seen
    assert sftprep.ShardDataset(out)
