"""The first step's loss is TRL's, on the same packed rows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

pytest.importorskip("torch", reason="the trainer needs torch")
if find_spec("trl") is None or find_spec("datasets") is None:
    pytest.skip("needs trl", allow_module_level=True)

from train.helpers import run, steps_of


def test_the_loss_is_that_of_trl(options: dict[str, Any], configs: dict[str, Path]) -> None:
    script = ROOT / "benches" / "python" / "compare_train.py"
    command = [
        sys.executable, str(script), "--side", "trl", "--shards", options["shards"],
        "--config", str(configs["llama"]), "--steps", "3",
    ]  # fmt: skip
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    theirs = json.loads(done.stdout.splitlines()[-1])["losses"]
    run(options, steps=3, dtype="fp32", warmup=0.0)
    ours = [line["loss"] for line in steps_of(options["out"])]
    assert abs(ours[0] - theirs[0]) < 1e-6
    assert ours == pytest.approx(theirs, rel=1e-5)  # and stays so while both train
