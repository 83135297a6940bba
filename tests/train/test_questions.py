"""Fine-tuning shown on a real model: questions that it could not answer, answered."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT

torch = pytest.importorskip("torch", reason="the trainer needs torch")
pytest.importorskip("transformers", reason="the trainer needs transformers")

import sftprep  # noqa: E402
from sftprep.add_tokens import add_tokens  # noqa: E402
from sftprep.models.generate import generate, load, stops  # noqa: E402


def share_right(
    model: Path, rows: list[dict[str, list[dict[str, str]]]], tokenizer: object
) -> float:
    """Share of questions that are answered word for word."""
    net, own = load(model)
    asking = own if tokenizer is None else tokenizer
    right = 0
    for row in rows:
        asked, wanted = row["messages"]
        text = asking.apply_chat_template([asked], tokenize=False, add_generation_prompt=True)
        ids = asking(text, add_special_tokens=False)["input_ids"]
        size = net.get_input_embeddings().num_embeddings
        ids = [id_ if id_ < size else 0 for id_ in ids]
        answer = generate(net, ids, stop=stops(net, own), most=32)
        right += own.decode(answer).strip() == wanted["content"]
    return right / len(rows)


@pytest.mark.slow
def test_a_real_model_learns_to_answer(data: Path, tmp_path: Path) -> None:
    base = data / "models" / "stories260k"
    if not base.is_dir():
        pytest.skip(f"no model at {base}")
    make = [sys.executable, str(ROOT / "examples" / "make_questions.py")]
    held_out, questions = tmp_path / "held-out.jsonl", tmp_path / "questions.jsonl"
    subprocess.run([*make, str(held_out), "--count", "60", "--seed", "1"], check=True, timeout=60)
    subprocess.run([*make, str(questions), "--skip", str(held_out)], check=True, timeout=60)
    add_tokens(
        str(base), tmp_path / "tokenizer", tokens=["<|im_start|>", "<|im_end|>"], eos="<|im_end|>",
        chat_template=sftprep._core.builtin_template("chatml"),
    )  # fmt: skip
    sftprep.pack(questions, out=tmp_path / "packs", tokenizer=tmp_path / "tokenizer", max_len=512)
    started = time.process_time()
    from train.helpers import run

    options = {
        "model": str(base), "resize_embeddings": True, "shards": str(tmp_path / "packs"),
        "source": str(questions), "out": str(tmp_path / "run"), "device": "cpu", "lr": 3e-3,
        "rows_per_step": 4, "steps": 300, "samples": 0, "quiet": True,
    }  # fmt: skip
    result = run(options)
    assert time.process_time() - started < 300  # five minutes, on one core of two
    rows = [json.loads(line) for line in held_out.read_text("utf-8").splitlines()]
    model = Path(result["model"])
    assert share_right(model, rows, None) >= 0.65
    assert share_right(base, rows[:20], load(model)[1]) == 0.0
