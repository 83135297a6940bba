"""Tiny random models, runs in this process, and children that can be killed."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

torch.set_num_threads(1)

SIZES: dict[str, Any] = {
    "vocab_size": 512,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 512,
    "attention_dropout": 0.0,
    "pad_token_id": 0,
    "eos_token_id": 2,
    "bos_token_id": 1,
}
MODELS: dict[str, dict[str, Any]] = {
    "llama": {"tie_word_embeddings": True},
    "qwen2": {},
    "qwen3": {"tie_word_embeddings": True},
    "gemma3_text": {
        "sliding_window": 16,
        "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
        "query_pre_attn_scalar": 8,
    },
    "mistral": {"sliding_window": 16},
}


def run(options: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Trains; returns the result."""
    from sftprep.train.config import TrainConfig
    from sftprep.train.loop import train

    return train(TrainConfig(**(options | changes)))


def steps_of(folder: str | Path) -> list[dict[str, Any]]:
    """The lines of a run's steps."""
    from sftprep.runlog import read

    return [line for line in read(Path(folder) / "metrics.jsonl") if "loss" in line]


def weights_of(folder: str | Path) -> dict[str, torch.Tensor]:
    """The weights that a run exported."""
    from safetensors.torch import load_file

    return load_file(Path(folder) / "model" / "model.safetensors")


def in_child(job: Callable[[], object], **environment: str) -> int:
    """Starts a job in a forked process; returns its id. Importing torch once is enough."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.environ.update(environment)
        with open(os.devnull, "w") as nothing:  # noqa: PTH123
            os.dup2(nothing.fileno(), 1)
        job()
        code = 0
    except BaseException:
        traceback.print_exc(file=sys.stderr)
    finally:
        sys.stderr.flush()
        os._exit(code)


def ended(child: int) -> int:
    """Waits for a child: its exit code, or minus the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
