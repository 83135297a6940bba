"""Packed training is the same as training document by document, to machine precision."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the trainer needs torch")
pytest.importorskip("transformers", reason="the trainer needs transformers")

from sftprep import ShardDataset  # noqa: E402
from train.helpers import MODELS, run, steps_of, weights_of  # noqa: E402

STEPS = 5


def by_document(config: Path, shards: Path, lr: float) -> tuple[list[float], dict[str, Any]]:
    """Plain transformers: one forward per document, full batch, AdamW and clipping; fp64."""
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    wanted = AutoConfig.for_model(**json.loads(config.read_text()))
    model = AutoModelForCausalLM.from_config(wanted, dtype=torch.float32).double()
    model.set_attn_implementation("sdpa")  # eager computes its softmax in fp32
    rows = ShardDataset(shards)
    documents = []
    for row in rows:
        start = 0
        for length in row["seq_lengths"].tolist():
            part = slice(start, start + length)
            documents.append(
                [torch.tensor(row[k][part])[None].long() for k in ("input_ids", "labels")]
            )
            start += length
    count = sum(int((labels != -100).sum()) for _, labels in documents)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, betas=(0.9, 0.95), weight_decay=0.0)
    losses = []
    for _ in range(STEPS):
        loss = torch.zeros((), dtype=torch.float64)
        for ids, labels in documents:
            logits = model(input_ids=ids, use_cache=False).logits
            part = torch.nn.functional.cross_entropy(
                logits[0, :-1], labels[0, 1:], ignore_index=-100, reduction="sum"
            )
            (part / count).backward()
            loss += part.detach() / count
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss))
    return losses, dict(model.state_dict())


@pytest.fixture
def exact_norm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gemma-3's norm computes in fp32 even in an fp64 model, and so do its gradients."""
    from transformers.models.gemma3.modeling_gemma3 import Gemma3RMSNorm

    def forward(self: Any, x: torch.Tensor) -> torch.Tensor:
        return self._norm(x) * (1.0 + self.weight)

    monkeypatch.setattr(Gemma3RMSNorm, "forward", forward)


@pytest.mark.usefixtures("exact_norm")
@pytest.mark.parametrize("name", MODELS)
def test_packed_equals_unpacked_equals_any_packing(
    name: str, configs: dict[str, Path], options: dict[str, Any], pack: Any, tmp_path: Path
) -> None:
    packings = {
        "best fit": pack(16),
        "other rows": pack(16, max_len=384, seed=5),
        "unpacked": pack(16, strategy="none"),
    }
    assert len({len(ShardDataset(path)) for path in packings.values()}) == 3
    losses, weights = by_document(configs[name], packings["unpacked"], 1e-3)
    for title, path in packings.items():
        out = tmp_path / title
        rows = len(ShardDataset(path))  # every step sees all documents, however they are packed
        run(
            options, random_init=str(configs[name]), shards=str(path), out=str(out), steps=STEPS,
            rows_per_step=rows, schedule="constant", warmup=0.0,
        )  # fmt: skip
        found = [line["loss"] for line in steps_of(out)]
        assert max(abs(a - b) for a, b in zip(found, losses, strict=True)) < 1e-12, title
        for key, value in weights_of(out).items():
            assert float((value - weights[key]).abs().max()) < 1e-12, (title, key)


@pytest.mark.parametrize("name", MODELS)
def test_fp32_forward_is_equal(
    name: str, configs: dict[str, Path], pack: Any, options: dict[str, Any], tmp_path: Path
) -> None:
    losses = []
    for title in ("bfd", "none"):
        shards, out = pack(16, strategy=title), tmp_path / title
        rows = len(ShardDataset(shards))
        run(
            options,
            random_init=str(configs[name]),
            shards=str(shards),
            out=str(out),
            steps=1,
            rows_per_step=rows,
            dtype="fp32",
        )
        losses.append(steps_of(out)[0]["loss"])
    assert abs(losses[0] - losses[1]) < 1e-6 * abs(losses[1])
