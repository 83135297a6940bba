"""``sftprep train``: a model trained on packed shards."""

from __future__ import annotations

import argparse
import json
from dataclasses import fields, replace

from sftprep.cli.options import whole
from sftprep.train.config import CHOICES, TrainConfig, read

SUMMARY = "train a transformers model on packed shards"

EXAMPLES = """\
examples:
  sftprep train --model model/ --shards packs/ --out run/
  sftprep train --model model/ --shards packs/ --out run/ --resume
  sftprep train --random-init config.json --shards packs/ --out run/ --steps 100 --lr 1e-3
  sftprep train --model model/ --shards packs/ --out run/ --lora 16 --lr 2e-4
  torchrun --nproc-per-node 8 -m sftprep train --model model/ --shards packs/ --out run/
"""


_HELP = {
    "model": "folder of a transformers model to start from",
    "random_init": "config.json of a model to start with random weights, instead of --model",
    "resize_embeddings": "give the model a row for each token of the shards' tokenizer",
    "shards": "output folder of `sftprep pack`",
    "out": "folder of the run",
    "resume": "go on from the last checkpoint in --out, if there is one",
    "epochs": "passes over the shards",
    "steps": "optimiser steps, instead of --epochs",
    "rows_per_step": "packed rows per optimiser step, over all ranks",
    "micro_rows": "packed rows per forward pass",
    "seed": "order of rows, random weights, dropout",
    "lr": "highest learning rate",
    "schedule": "how the learning rate falls",
    "warmup": "share of the steps in which the learning rate rises",
    "min_lr": "last learning rate, as a share of --lr",
    "weight_decay": "AdamW's decay of matrices",
    "beta2": "AdamW's second beta; the first is 0.9",
    "clip": "largest norm of the gradient, 0 for no clipping",
    "dtype": "auto is bf16 on CUDA (weights in fp32), else fp32",
    "device": "auto is CUDA where there is one",
    "compile": "torch.compile each block; auto is yes on CUDA with Triton",
    "activation_checkpointing": "compute activations of no block, every second, or all once more",
    "loss_chunk": "trained tokens whose logits are in memory at a time",
    "lora": "rank of LoRA adapters, 0 to train all weights",
    "lora_alpha": "LoRA's alpha, 0 for twice the rank",
    "eval_shards": "held-out shards to evaluate on",
    "eval_every": "steps between evaluations, 0 for one at the end",
    "samples": "answers to generate at the end",
    "save_every": "steps between checkpoints, 0 for one at the end",
    "keep": "checkpoints to keep",
    "log_every": "steps between lines of progress, each of which waits for the device",
    "source": "input that was packed (or name=path): the first row is compared with its rows",
    "peak_tflops": "the device's dense peak, for MFU; 0 is 989 on H100 and H200",
    "tensorboard": "write the metrics for tensorboard as well",
    "quiet": "print no progress",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds an option for each field of the configuration."""
    parser.argument_default = argparse.SUPPRESS
    parser.add_argument(
        "--config", metavar="FILE", help="start from the options in a JSON file; flags win over it"
    )
    defaults = {option.name: option.default for option in fields(TrainConfig)}
    for name, text in _HELP.items():
        flag, default = "--" + name.replace("_", "-"), defaults[name]
        if isinstance(default, bool):
            parser.add_argument(flag, action="store_true", help=text)
            continue
        parser.add_argument(
            flag,
            type=whole if isinstance(default, int) else type(default),
            choices=CHOICES.get(name),
            help=text if default == "" else f"{text} (default {default})",
        )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(options: argparse.Namespace) -> int:
    """Trains, and says what came out."""
    from sftprep.errors import ConfigError

    given = {name: value for name, value in vars(options).items() if name in _HELP}
    file = getattr(options, "config", None)
    config = replace(read(file) if file else TrainConfig(), **given).check()
    try:
        from sftprep.train.loop import train
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"training needs {error.name}, which is not installed",
            hint="pip install 'sftprep[train]'",
        ) from error
    result = train(config)
    if getattr(options, "json", False):
        print(json.dumps(result))
    elif "model" in result:
        print(
            f"{result['steps']} steps in {result['seconds']:.0f} s, "
            f"loss {result['first_loss']:.4f} to {result['last_loss']:.4f}; wrote {result['model']}"
        )
    return 0
