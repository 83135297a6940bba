"""The GPU script runs to its end at toy size, so that it is ready where there is a GPU."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest
from conftest import ROOT

torch = pytest.importorskip("torch", reason="the trainer needs torch")
pytest.importorskip("transformers", reason="the trainer needs transformers")

from train.helpers import ended, in_child  # noqa: E402


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gpu_run", ROOT / "benches" / "gpu" / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="needs fork")
def test_every_part_runs_at_toy_size(script: ModuleType, tmp_path: Path) -> None:
    shards = script.make_shards(tmp_path, 64, 8, 4000)
    kernels = script.kernel(toy=True)
    assert len(kernels) == 3
    assert all(found["passed"] and not found["varlen"] for found in kernels.values())
    checked = script.check(toy=True, shards=shards)
    assert checked["passed"]
    assert "self_attn" in checked["planted_leak"]
    wanted = ["train"] + ["trl"] * (importlib.util.find_spec("trl") is not None)

    def job() -> None:  # it patches the trainer, hence a process of its own
        torch.manual_seed(0)
        common = {"toy": True, "shards": str(shards), "steps": 4, "shape": "toy"}
        for name in wanted:
            found = script.part(name, common | {"attention": "sdpa"})
            (tmp_path / f"{name}.json").write_text(json.dumps(found))

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONWARNINGS", "ignore")
        assert ended(in_child(job)) == 0
    found = {name: json.loads((tmp_path / f"{name}.json").read_text()) for name in wanted}
    train = found["train"]
    assert train["tokens_per_s"] > 0
    assert 0 <= train["stall"] < 1
    assert train["first_batch_s"] < 5
    assert len(train["losses"]) == 4
    if "trl" in found:
        assert found["trl"]["losses"] == pytest.approx(train["losses"], abs=1e-4)
