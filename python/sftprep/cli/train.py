"""``sftprep train``: a model trained on packed shards."""

from __future__ import annotations

import argparse
import json
from dataclasses import fields

from sftprep.cli.options import whole
from sftprep.train.config import TrainConfig, kind, merge, read

SUMMARY = "train a transformers model on packed shards"

EXAMPLES = """\
examples:
  sftprep train --model model/ --shards packs/ --out run/
  sftprep train --model model/ --shards packs/ --out run/ --resume
  sftprep train --random-init config.json --shards packs/ --out run/ --steps 100 --lr 1e-3
  sftprep train --model model/ --shards packs/ --out run/ --lora 16 --lr 2e-4
  torchrun --nproc-per-node 8 -m sftprep train --model model/ --shards packs/ --out run/
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds an option for each field of the configuration."""
    parser.argument_default = argparse.SUPPRESS
    parser.add_argument(
        "--config", metavar="FILE", help="start from the options in a JSON file; flags win over it"
    )
    for option in fields(TrainConfig):
        flag, text = "--" + option.name.replace("_", "-"), option.metadata["help"]
        of = kind(option)
        if of is bool:
            parser.add_argument(flag, action="store_true", help=text)
            continue
        shown = f" (default {option.default})" if option.default != "" else ""
        parser.add_argument(
            flag,
            type=whole if of is int else of,
            choices=option.metadata["choices"] or None,
            help=text.replace("%", "%%") + shown,
        )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(options: argparse.Namespace) -> int:
    """Trains, and says what came out."""
    from sftprep.errors import ConfigError

    names = {option.name for option in fields(TrainConfig)}
    given = {name: value for name, value in vars(options).items() if name in names}
    file = getattr(options, "config", None)
    config = merge(merge(TrainConfig(), read(file) if file else {}), given).check()
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
            f"{result['steps']} steps in {result['seconds']:.0f} s, loss {result['first_loss']:.4f} to "
            f"{result['last_loss']:.4f}; wrote {result['model']}"
        )
    return 0
