"""``sftprep eval``: the loss of a model on packed shards."""

from __future__ import annotations

import argparse
import json

from sftprep.cli.options import whole

SUMMARY = "measure a model's loss on packed shards, by token and by source"

EXAMPLES = """\
examples:
  sftprep eval run/model --shards held-out/
  sftprep eval run/model --shards held-out/ --json | jq .sources
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.add_argument("model", metavar="MODEL", help="folder of a transformers model")
    parser.add_argument("--shards", required=True, metavar="DIR", help="output of `sftprep pack`")
    parser.add_argument(
        "--micro-rows", type=whole, default=1, metavar="N", help="rows per forward pass (default 1)"
    )
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="auto: CUDA if there is one",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(options: argparse.Namespace) -> int:
    """Prints loss and accuracy."""
    from sftprep.errors import ConfigError
    from sftprep.train.config import TrainConfig

    config = TrainConfig(
        model=options.model,
        shards=options.shards,
        out=".",
        micro_rows=options.micro_rows,
        device=options.device,
        compile="no",
    ).check()
    try:
        from sftprep.train.evaluate import evaluate_model
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"evaluation needs {error.name}, which is not installed",
            hint="pip install 'sftprep[train]'",
        ) from error
    found = evaluate_model(config)
    if options.json:
        print(json.dumps(found, ensure_ascii=False))
        return 0
    rows = {"all": {**found, "loss": found["eval_loss"]} | {"accuracy": found["eval_accuracy"]}}
    rows["all"]["tokens"] = found["eval_tokens"]
    print(f"{'source':24} {'loss':>8} {'right':>7} {'tokens':>10}")
    for name, row in (*found["sources"].items(), *rows.items()):
        print(f"{name:24} {row['loss']:8.4f} {row['accuracy']:7.1%} {row['tokens']:10,}")
    return 0
