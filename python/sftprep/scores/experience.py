"""Cherry LLM's first step: a model that has seen a little of every kind of instruction.

Prompts are embedded (mean of the last hidden states) and clustered; of each cluster a few rows are
taken, evenly over those of its prompts that are neither too easy nor too hard for the model; on
these the model is trained for one epoch, by the package's own trainer. IFD is then scored with it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sftprep import _core
from sftprep.errors import ConfigError, OutputError
from sftprep.scores.definitions import CHERRY
from sftprep.scores.model import Done, Scorer, Text
from sftprep.scores.table import prompt_of

if TYPE_CHECKING:
    from sftprep.scores.table import Table

CLUSTERS, PER_CLUSTER = 100, 10
LEARNING_RATE, MAX_LEN = 2e-5, 512
_EDGES = (1, 99)
_ITERATIONS = 300
_ROWS_PER_STEP = 32
_RECORD = "experience.json"


def experienced(
    scorer: Scorer,
    table: Table,
    out: Path,
    done: Done,
    *,
    clusters: int = CLUSTERS,
    per_cluster: int = PER_CLUSTER,
    seed: int = 0,
    lr: float = LEARNING_RATE,
) -> Path:
    """The folder of the trained model; one that an equal earlier run left is used again.

    Args:
        scorer: The model to begin with.
        table: All rows.
        out: Folder for the chosen rows, the shards, the run and the model.
        done: Called with texts, tokens and bytes that are done.
        clusters: Clusters of prompts.
        per_cluster: Rows of each, at most.
        seed: Of the clusters and of the training.
        lr: Highest learning rate.

    Raises:
        ConfigError: if the folder holds the run of another model or of other rows, or there are
            fewer rows than clusters.
        TrainError: if training fails.
    """
    usable = [at for at in range(len(table)) if table.problem[at] is None and table.task(at)[2]]
    if len(usable) < clusters:
        raise ConfigError(
            f"{len(usable)} rows have an answer, less than the {clusters} clusters",
            field="--experience",
            hint="score with the model as it is, or give more rows",
        )
    prompts = [prompt_of(table, at, CHERRY)[0] for at in usable]
    record = {
        **scorer.identity(),
        "rows": _hash([str(table.row_hash[at]) for at in usable]),
        "clusters": clusters,
        "per_cluster": per_cluster,
        "seed": seed,
        "lr": lr,
    }
    model = out / "run" / "model"
    if _same(out, record) and model.is_dir():
        return model
    vectors, losses = _look(scorer, prompts, done)
    groups, _ = _core.kmeans(vectors, clusters, seed, _ITERATIONS)
    chosen = sorted(usable[at] for at in choose(np.asarray(groups), losses, per_cluster))
    _train(scorer, table, chosen, out, seed, lr)
    (out / _RECORD).write_text(json.dumps(record, indent=2) + "\n", "utf-8")
    return model


def _same(out: Path, record: dict[str, Any]) -> bool:
    """Whether the folder holds such a run; ``False`` if it holds none."""
    try:
        found = json.loads((out / _RECORD).read_text("utf-8"))
    except FileNotFoundError:
        if out.exists() and any(out.iterdir()):
            raise OutputError(
                "the folder is not empty, and holds no finished model of this kind",
                code="output.exists",
                path=str(out),
                field="--experience",
                hint="choose another folder, or remove this one",
            ) from None
        return False
    except (OSError, ValueError) as error:
        raise ConfigError(f"the run cannot be read: {error}", path=str(out)) from error
    for name, value in record.items():
        if found.get(name) != value:
            raise ConfigError(
                f"the folder holds a model of another run: {name} was {found.get(name)!r}, "
                f"now it is {value!r}",
                path=str(out),
                field="--experience",
                hint="choose another folder",
            )
    return True


def _look(scorer: Scorer, prompts: list[str], done: Done) -> tuple[Any, Any]:
    """Mean hidden states of the prompts, and their mean losses."""
    window = min(MAX_LEN, scorer.positions)
    vectors = np.zeros((len(prompts), scorer.width), np.float32)
    losses = np.zeros(len(prompts))
    texts = [
        Text(np.asarray(ids[:window], np.int32), range(1, min(len(ids), window)), len(prompt))
        for ids, prompt in zip(scorer.encode(prompts), prompts, strict=True)
    ]
    for at, mean in scorer.means(texts, done):
        vectors[at] = mean
    for at, loss in scorer.losses(texts, lambda *_: None):
        losses[at] = loss
    return vectors, losses


def choose(groups: Any, losses: Any, per_cluster: int) -> Iterator[int]:  # noqa: ANN401 - arrays
    """Rows of each cluster, evenly over those between the first and the last hundredth by loss.

    Percentiles are those of perplexity, as in the reference. A cluster with fewer rows is taken
    whole; one with fewer between the percentiles, whole as well.
    """
    for group in np.unique(groups):
        rows = np.flatnonzero(groups == group)
        if len(rows) >= per_cluster:
            perplexities = np.exp(losses[rows])
            low, high = np.percentile(perplexities, _EDGES)
            middle = rows[(perplexities >= low) & (perplexities <= high)]
            if len(middle) >= per_cluster:
                rows = middle[:: len(middle) // per_cluster][:per_cluster]
        yield from rows.tolist()


def _train(
    scorer: Scorer, table: Table, chosen: Sequence[int], out: Path, seed: int, lr: float
) -> None:
    """One epoch on the chosen rows, with the prompt that they will be scored with."""
    from sftprep.api import pack
    from sftprep.dataset import ShardDataset
    from sftprep.train.config import TrainConfig
    from sftprep.train.loop import train

    out.mkdir(parents=True, exist_ok=True)
    pairs = [prompt_of(table, at, CHERRY) for at in chosen]
    lines = (json.dumps({"prompt": prompt, "completion": answer}) for prompt, answer in pairs)
    (out / "rows.jsonl").write_text("".join(f"{line}\n" for line in lines), "utf-8")
    length = min(MAX_LEN, scorer.positions)
    packs, tokenizer = out / "packs", str(scorer.path)
    pack(out / "rows.jsonl", out=packs, tokenizer=tokenizer, max_len=length, seed=seed)
    # About 128 rows per step, the batch of the reference; fewer where that were less than 4 steps.
    steps = max(1, min(_ROWS_PER_STEP, len(ShardDataset(packs)) // 4))
    config = TrainConfig(model=tokenizer, shards=str(packs), out=str(out / "run"), seed=seed, lr=lr)
    train(
        replace(
            config,
            rows_per_step=steps,
            device=scorer.device.type,
            dtype="auto",
            samples=0,
            quiet=True,
        )
    )


def _hash(texts: Sequence[str]) -> str:
    return hashlib.blake2b("\n".join(texts).encode(), digest_size=16).hexdigest()
