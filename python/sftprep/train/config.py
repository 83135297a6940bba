"""The options of a training run; ``sftprep train --help`` explains them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from sftprep.errors import ConfigError

CHOICES = {
    "schedule": ("cosine", "linear", "constant"),
    "dtype": ("auto", "bf16", "fp32", "fp64"),
    "device": ("auto", "cpu", "cuda"),
    "compile": ("auto", "yes", "no"),
    "activation_checkpointing": ("none", "half", "full"),
}
_AT_LEAST_1 = ("rows_per_step", "micro_rows", "loss_chunk", "keep", "log_every")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """Everything that a run depends on; written to the run's folder as ``config.json``."""

    # What makes the weights: a resumed run must have the same.
    model: str = ""
    random_init: str = ""
    resize_embeddings: bool = False
    epochs: float = 1.0
    steps: int = 0
    rows_per_step: int = 8
    seed: int = 0
    lr: float = 1e-5
    schedule: str = "cosine"
    warmup: float = 0.03
    min_lr: float = 0.0
    weight_decay: float = 0.0
    beta2: float = 0.95
    clip: float = 1.0
    dtype: str = "auto"
    lora: int = 0
    lora_alpha: float = 0.0
    # Where, how fast, and what is said about it: from `shards` on, a resumed run may differ.
    shards: str = ""
    out: str = ""
    resume: bool = False
    micro_rows: int = 1
    device: str = "auto"
    compile: str = "auto"
    activation_checkpointing: str = "none"
    loss_chunk: int = 1024
    eval_shards: str = ""
    eval_every: int = 0
    samples: int = 3
    save_every: int = 500
    keep: int = 2
    log_every: int = 10
    source: str = ""
    peak_tflops: float = 0.0
    tensorboard: bool = False
    quiet: bool = False

    def identity(self) -> dict[str, Any]:
        """The options that a resumed run must have in common with its beginning."""
        values = list(asdict(self).items())
        return dict(values[: [name for name, _ in values].index("shards")])

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
        for name, value in asdict(self).items():
            flag, low = "--" + name.replace("_", "-"), int(name in _AT_LEAST_1)
            if name in CHOICES and value not in CHOICES[name]:
                raise ConfigError(f"{value!r} is none of {', '.join(CHOICES[name])}", field=flag)
            if isinstance(value, int | float) and not low <= value < float("inf"):
                raise ConfigError(f"{value} is not a finite number from {low} on", field=flag)
        if self.steps == 0 and self.epochs == 0:
            raise ConfigError("0 epochs are nothing to train", field="--epochs")
        return self

    def write(self, path: Path) -> None:
        """Writes the options as JSON, as :func:`read` takes them."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")


def read(path: str | Path) -> TrainConfig:
    """The options in a JSON file.

    Raises:
        ConfigError: if it is not there, not JSON, or has an unknown key.
    """
    try:
        given = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"the options cannot be read: {error}", path=str(path)) from error
    known = {option.name: type(option.default) for option in fields(TrainConfig)}
    for name, value in given.items():
        if name not in known:
            raise ConfigError(f"there is no option {name!r}", code="config.unknown", path=str(path))
        kind = (int, float) if known[name] is float else known[name]
        if not isinstance(value, kind) or (isinstance(value, bool) and known[name] is not bool):
            raise ConfigError(f"{name} is {value!r}, not {known[name].__name__}", path=str(path))
    return replace(TrainConfig(), **given)
