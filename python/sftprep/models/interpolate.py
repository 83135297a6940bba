"""A model between two others: the weighted mean of their weights."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch

from sftprep.errors import ConfigError, TrainError


def interpolate(a: str, b: str, alpha: float, out: str) -> int:
    """Writes ``(1 - alpha) * a + alpha * b`` as a transformers folder; returns the parameters.

    Raises:
        TrainError: if the two do not have the same weights.
    """
    from transformers import AutoModelForCausalLM

    if Path(out).exists():
        raise ConfigError("the output exists", code="output.exists", path=out, field="--out")
    models: list[Any] = []
    for path in (a, b):
        if not Path(path).is_dir():
            raise TrainError("there is no such model", path=path, hint="give a folder")
        models.append(AutoModelForCausalLM.from_pretrained(path, dtype="auto"))
    first, second = (model.state_dict() for model in models)
    for name in {*first, *second}:
        shapes = [tuple(x[name].shape) if name in x else "missing" for x in (first, second)]
        if shapes[0] != shapes[1]:
            raise TrainError(f"{name} is {shapes[0]} in {a} and {shapes[1]} in {b}", field=name)
    mixed = {
        name: torch.lerp(value.double(), second[name].double(), alpha).to(value.dtype)
        if value.is_floating_point()
        else value
        for name, value in first.items()
    }
    models[0].load_state_dict(mixed)
    models[0].save_pretrained(out)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        if (Path(a) / name).is_file():
            shutil.copyfile(Path(a) / name, Path(out) / name)
    return sum(value.numel() for value in models[0].parameters())
