"""The loss on held-out shards, by token, in all and for each source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sftprep.dataset import ShardDataset
from sftprep.train.data import Loader, Stager
from sftprep.train.model import Ranks, load, prepare, stored

if TYPE_CHECKING:
    from sftprep.train.config import TrainConfig
    from sftprep.train.model import Trainee


def evaluate(
    trainee: Trainee, shards: ShardDataset, vocab_size: int, micro_rows: int, ranks: Ranks
) -> dict[str, Any]:
    """Loss, accuracy and number of trained tokens; the same for each source under ``sources``."""
    names = [entry["name"] for entry in shards.manifest["inputs"]]
    # Loss, right guesses and tokens of each source.
    sums = torch.zeros(len(names), 3, dtype=torch.float64, device=ranks.device)
    # As many micro-batches on each rank; the last may be empty.
    turns = -(-len(shards) // (micro_rows * ranks.size))
    mine = range(ranks.rank, len(shards), ranks.size)
    batches = (list(mine[at * micro_rows : (at + 1) * micro_rows]) for at in range(turns))
    pad = trainee.constant_shapes
    loader = Loader(Stager(shards, vocab_size, micro_rows, ranks.device, pad=pad), batches)
    mode = trainee.training
    trainee.eval()
    try:
        with torch.no_grad():
            for _ in range(turns):
                micro = next(loader)
                losses, guesses = trainee(micro)
                of = [_source_of_token(shards, row) for row in micro.rows]
                source = np.concatenate(of) if of else np.empty(0, np.int64)
                place = torch.from_numpy(source).to(ranks.device)[micro.index + 1]
                right = (guesses == micro.targets).double()
                values = torch.stack([losses.double(), right, torch.ones_like(right)], 1)
                sums.index_add_(0, place, values)
    finally:
        loader.close()
        trainee.train(mode)
    table = ranks.sum(sums).tolist()
    by_source = {
        name: {"loss": loss / count, "accuracy": right / count, "tokens": int(count)}
        for name, (loss, right, count) in zip(names, table, strict=True)
        if count
    }
    loss, right, count = (sum(column) for column in zip(*table, strict=True))
    return {
        "eval_loss": loss / max(count, 1),
        "eval_accuracy": right / max(count, 1),
        "eval_tokens": int(count),
        "sources": by_source,
    }


def _source_of_token(shards: ShardDataset, row: int) -> np.ndarray[Any, Any]:
    numbers, lengths = shards.origins(row)
    return np.repeat(numbers.astype(np.int64), lengths)


def evaluate_model(config: TrainConfig) -> dict[str, Any]:
    """As :func:`evaluate`, for a model on disk."""
    shards = ShardDataset(config.shards)
    ranks = Ranks.join(config.device)
    model = load(config, shards.manifest, stored(config, ranks.device))
    trainee = prepare(model, config, ranks)
    vocab_size = model.get_input_embeddings().num_embeddings
    return evaluate(trainee, shards, vocab_size, config.micro_rows, ranks)
