"""The options of a training run; the flags of ``sftprep train`` are made from them."""

from __future__ import annotations

import json
from dataclasses import MISSING, Field, asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from sftprep.errors import ConfigError


def _option(default: object, text: str, *, choices: tuple[str, ...] = (), resume: bool = True) -> Any:  # noqa: ANN401, E501 - a dataclass field
    """A field; ``resume`` says whether a resumed run may have another value."""
    return field(default=default, metadata={"help": text, "choices": choices, "resume": resume})


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """Everything that a run depends on; written to the run's folder as ``config.json``."""

    model: str = _option("", "folder of a transformers model to start from", resume=False)
    random_init: str = _option("", "config.json of a model to start with random weights, instead of --model", resume=False)  # noqa: E501
    resize_embeddings: bool = _option(False, "give the model a row for each token of the shards' tokenizer", resume=False)  # noqa: E501
    shards: str = _option("", "output folder of `sftprep pack`")
    out: str = _option("", "folder of the run")
    resume: bool = _option(False, "go on from the last checkpoint in --out, if there is one")
    epochs: float = _option(1.0, "passes over the shards", resume=False)
    steps: int = _option(0, "optimiser steps, instead of --epochs", resume=False)
    rows_per_step: int = _option(8, "packed rows per optimiser step, over all ranks", resume=False)
    micro_rows: int = _option(1, "packed rows per forward pass")
    seed: int = _option(0, "order of rows, random weights, dropout", resume=False)
    lr: float = _option(1e-5, "highest learning rate", resume=False)
    schedule: str = _option("cosine", "how the learning rate falls", choices=("cosine", "linear", "constant"), resume=False)  # noqa: E501
    warmup: float = _option(0.03, "share of the steps in which the learning rate rises", resume=False)  # noqa: E501
    min_lr: float = _option(0.0, "last learning rate, as a share of --lr", resume=False)
    weight_decay: float = _option(0.0, "AdamW's decay of matrices", resume=False)
    beta2: float = _option(0.95, "AdamW's second beta (the first is 0.9)", resume=False)
    clip: float = _option(1.0, "largest norm of the gradient (0: no clipping)", resume=False)
    dtype: str = _option("auto", "bf16 keeps fp32 weights and computes in bf16; auto: bf16 on CUDA, else fp32", choices=("auto", "bf16", "fp32", "fp64"), resume=False)  # noqa: E501
    device: str = _option("auto", "auto: CUDA where there is one", choices=("auto", "cpu", "cuda"))
    compile: str = _option("auto", "torch.compile each block; auto: on CUDA", choices=("auto", "yes", "no"))  # noqa: E501
    activation_checkpointing: str = _option("none", "recompute activations of no block, every second, or all", choices=("none", "half", "full"))  # noqa: E501
    loss_chunk: int = _option(1024, "trained tokens per chunk of logits")
    lora: int = _option(0, "rank of LoRA adapters (0: train all weights)", resume=False)
    lora_alpha: float = _option(0.0, "LoRA's alpha (0: twice the rank)", resume=False)
    eval_shards: str = _option("", "held-out shards to evaluate on")
    eval_every: int = _option(0, "steps between evaluations (0: at the end only)")
    samples: int = _option(3, "answers to generate at the end")
    save_every: int = _option(500, "steps between checkpoints (0: at the end only)")
    keep: int = _option(2, "checkpoints to keep")
    log_every: int = _option(10, "steps between lines of progress, each of which waits for the device")  # noqa: E501
    source: str = _option("", "JSONL file that the shards were made of: its rows check the first row")  # noqa: E501
    peak_tflops: float = _option(0.0, "the device's dense peak, for MFU (0: 989 on H100 and H200)")
    tensorboard: bool = _option(False, "write the metrics for tensorboard as well")
    quiet: bool = _option(False, "print no progress")

    def check(self) -> TrainConfig:
        """Returns itself.

        Raises:
            ConfigError: if a value is out of range or missing.
        """
        for name in ("shards", "out"):
            if not getattr(self, name):
                raise ConfigError(f"--{name} is missing", field=f"--{name}")
        if bool(self.model) == bool(self.random_init):
            raise ConfigError("give either --model or --random-init", field="--model")
        low = {"rows_per_step": 1, "micro_rows": 1, "loss_chunk": 1, "keep": 1, "log_every": 1}
        for option in fields(self):
            value, choices = getattr(self, option.name), option.metadata["choices"]
            flag = "--" + option.name.replace("_", "-")
            if choices and value not in choices:
                raise ConfigError(f"{value!r} is none of {', '.join(choices)}", field=flag)
            if isinstance(value, int | float) and not value >= low.get(option.name, 0):
                raise ConfigError(f"{value} is less than {low.get(option.name, 0)}", field=flag)
        if self.steps == 0 and self.epochs == 0:
            raise ConfigError("0 epochs are nothing to train", field="--epochs")
        return self

    def write(self, path: Path) -> None:
        """Writes the options as JSON, as :func:`read` takes them."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")


def read(path: str | Path) -> dict[str, Any]:
    """The options in a JSON file.

    Raises:
        ConfigError: if it is not there, not JSON, or has an unknown key.
    """
    try:
        given = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"the options cannot be read: {error}", path=str(path)) from error
    known = {option.name: option for option in fields(TrainConfig)}
    for name, value in given.items():
        if name not in known:
            raise ConfigError(f"there is no option {name!r}", code="config.unknown", path=str(path))
        wanted = kind(known[name])
        if not isinstance(value, (int, float) if wanted is float else wanted):
            raise ConfigError(f"{name} is {value!r}, not {wanted.__name__}", path=str(path))
    return dict(given)


def kind(option: Field[Any]) -> type:
    """The type of an option's values."""
    assert option.default is not MISSING
    return type(option.default)


def merge(base: TrainConfig, given: dict[str, Any]) -> TrainConfig:
    """Options with some replaced."""
    return replace(base, **given)
