"""Compiled blocks: the same losses, one shape, and nothing compiled after the first step."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the trainer needs torch")
pytest.importorskip("transformers", reason="the trainer needs transformers")

from sftprep.train import attention, loop  # noqa: E402
from sftprep.train.config import TrainConfig  # noqa: E402
from sftprep.train.model import compiles  # noqa: E402
from train.helpers import MODELS, SIZES, run, steps_of  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # dynamo's own, of the code that it looks into


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Trains with compiled blocks by a backend; returns the number of graphs after each step."""
    real, step = torch.nn.Module.compile, loop.Run._step

    def train(backend: str, options: dict[str, Any], **changes: Any) -> list[int]:
        from torch._dynamo.utils import counters

        torch._dynamo.reset()
        counters.clear()
        graphs = []

        def counted(self: Any, number: int) -> None:
            step(self, number)
            graphs.append(counters["stats"]["unique_graphs"])

        def compile(self: Any, **more: Any) -> None:
            real(self, backend=backend, **more)

        with monkeypatch.context() as patch:
            patch.setattr(torch.nn.Module, "compile", compile)
            patch.setattr(loop.Run, "_step", counted)
            run(options, compile="yes", **changes)
        torch._dynamo.reset()
        return graphs

    return train


def kernel(q: Any, k: Any, v: Any, borders: Any, *_: Any, window_size: Any, **more: Any) -> Any:
    """What the kernel that only CUDA has computes, with a mask."""
    at = torch.arange(len(q))
    of = torch.bucketize(at, borders[1:], right=True)
    distance = at[:, None] - at
    seen = (of[:, None] == of) & (distance >= 0)
    if window_size[0] >= 0:
        seen &= distance <= window_size[0]
    out = torch.nn.functional.scaled_dot_product_attention(
        *(x.transpose(0, 1)[None] for x in (q, k, v)), attn_mask=seen, **more
    )
    return out[0].transpose(0, 1)


@pytest.mark.parametrize(
    ("name", "how", "cuda"),
    [
        ("llama", "none", False),
        ("llama", "none", True),
        ("llama", "full", True),
        ("llama", "half", True),
        ("gemma3_text", "none", True),
        ("gemma3_text", "full", True),
    ],
)
def test_nothing_is_compiled_after_the_first_step(
    name: str, how: str, cuda: bool, configs: dict[str, Path], options: dict[str, Any],
    tmp_path: Path, compiled: Any, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    path = tmp_path / "deep.json"  # more layers than dynamo would compile one by one
    deep = {"model_type": name, **SIZES, **MODELS[name], "num_hidden_layers": 12}
    if name == "gemma3_text":
        deep["layer_types"] = (["sliding_attention"] * 5 + ["full_attention"]) * 2
    path.write_text(json.dumps(deep))
    options |= {"random_init": str(path), "steps": 5, "activation_checkpointing": how}
    run(options, out=str(tmp_path / "plain"))
    if cuda:
        monkeypatch.setattr(attention, "varlen_attn", kernel)
        monkeypatch.setattr(attention, "uses_varlen", lambda _: True)
    graphs = compiled("aot_eager", options)
    assert 0 < graphs[0] <= 8, graphs
    assert len(set(graphs)) == 1, graphs
    plain, found = (steps_of(path) for path in (tmp_path / "plain", options["out"]))
    assert len(plain) == len(found) == 5
    # Gemma-3's norm computes in fp32, whatever the weights are.
    close = 1e-12 if name == "llama" else 1e-7
    for a, b in zip(plain, found, strict=True):
        assert b["loss"] == pytest.approx(a["loss"], rel=close)
        assert b["grad_norm"] == pytest.approx(a["grad_norm"], rel=1e3 * close)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_compiled_code_gives_the_same_losses(
    options: dict[str, Any], tmp_path: Path, compiled: Any
) -> None:
    options |= {"steps": 3, "dtype": "fp32"}
    run(options, out=str(tmp_path / "plain"))
    graphs = compiled("inductor", options)
    assert len(set(graphs)) == 1, graphs
    losses = [[x["loss"] for x in steps_of(p)] for p in (tmp_path / "plain", options["out"])]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_the_default_compiles_only_where_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    for triton in (None, object()):
        monkeypatch.setattr("importlib.util.find_spec", lambda name, found=triton: found)
        assert not compiles(TrainConfig(), cpu)
        assert compiles(TrainConfig(), cuda) == (triton is not None)
        assert compiles(TrainConfig(compile="yes"), cpu)
        assert not compiles(TrainConfig(compile="no"), cuda)
