"""torchrun itself: as many processes as one likes make the same model, also from the middle on."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

torch = pytest.importorskip("torch", reason="the trainer needs torch")
pytest.importorskip("transformers", reason="the trainer needs transformers")
if shutil.which("pgrep") is None or shutil.which("bash") is None:
    pytest.skip("needs bash and pgrep", allow_module_level=True)

from train.helpers import run, steps_of, weights_of  # noqa: E402

STEPS = 30
SETTINGS: dict[str, Any] = {
    "dtype": "fp64", "device": "cpu", "rows_per_step": 4, "steps": STEPS, "lr": 1e-3,
    "samples": 0, "log_every": 1, "save_every": 20,
}  # fmt: skip


def torchrun(processes: int, arguments: list[object]) -> subprocess.Popen[str]:
    """Starts ``sftprep train`` as the manual says; a signal is for the ranks, not for torchrun."""
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node",
        processes, "-m", "sftprep", "train", *arguments,
    ]  # fmt: skip
    path = os.pathsep.join(x for x in (str(ROOT / "python"), os.environ.get("PYTHONPATH", "")) if x)
    return subprocess.Popen(
        ["bash", "-c", f"trap '' USR1; exec {shlex.join(map(str, command))}"],
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": path},
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(process: subprocess.Popen[str]) -> str:
    """What it said, once it ended well."""
    try:
        _, said = process.communicate(timeout=240)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert process.returncode == 0, said
    return said


def ranks_of(parent: int) -> list[int]:
    """The processes that torchrun started, each in a session of its own."""
    found = subprocess.run(["pgrep", "-P", str(parent)], capture_output=True, text=True, check=True)
    return [int(line) for line in found.stdout.split()]


@pytest.mark.slow
def test_two_processes_then_one_are_one(
    configs: dict[str, Path], shards: Path, tmp_path: Path
) -> None:
    paths = {"random_init": str(configs["llama"]), "shards": str(shards)}

    def flags(out: str, *more: str) -> list[object]:
        options = {**paths, **SETTINGS, "out": tmp_path / out}
        pairs = ((f"--{name.replace('_', '-')}", value) for name, value in options.items())
        return [part for pair in pairs for part in pair] + list(more)

    run(paths | SETTINGS, out=str(tmp_path / "one"), quiet=True)
    said = finished(torchrun(2, flags("two")))
    assert "trained parameters on 2 x cpu" in said
    # Two processes, stopped by a signal; one goes on.
    stopped = torchrun(2, flags("both"))
    lines = tmp_path / "both" / "metrics.jsonl"
    end = time.monotonic() + 200
    while not (lines.is_file() and lines.read_text().count("\n") >= 3):
        assert stopped.poll() is None
        assert time.monotonic() < end
        time.sleep(0.01)
    for process in [stopped.pid, *ranks_of(stopped.pid)]:  # all of the job's, as Slurm does it
        os.kill(process, signal.SIGUSR1)
    assert "stopped by a signal; saved at step" in finished(stopped)
    assert 3 <= len(steps_of(tmp_path / "both")) < STEPS
    run(paths | SETTINGS, out=str(tmp_path / "both"), quiet=True, resume=True)
    one, weights = steps_of(tmp_path / "one"), weights_of(tmp_path / "one")
    for other in ("two", "both"):
        for a, b in zip(one, steps_of(tmp_path / other), strict=True):
            assert abs(a["loss"] - b["loss"]) < 1e-12
            assert abs(a["grad_norm"] - b["grad_norm"]) < 1e-12
        found = weights_of(tmp_path / other)
        assert found.keys() == weights.keys()  # tied heads are written once
        for name, value in found.items():
            assert float((value - weights[name]).abs().max()) < 1e-12, (other, name)
