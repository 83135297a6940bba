"""Checkpoints: whole or absent, for any number of ranks; and export as a transformers folder."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint import state_dict as states

from sftprep.errors import ShardCorrupt, TrainError
from sftprep.train.model import add_lora, load

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sftprep.dataset import ShardDataset
    from sftprep.train.config import TrainConfig
    from sftprep.train.model import Ranks, Trainee

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


class Checkpoints:
    """The checkpoints of a run: ``checkpoints/step-N`` below its folder.

    Args:
        config: Options of the run.
        manifest: Of its shards.
        ranks: This process among the others.
    """

    def __init__(self, config: TrainConfig, manifest: dict[str, Any], ranks: Ranks) -> None:
        self._folder = Path(config.out) / "checkpoints"
        self._keep, self._ranks = config.keep, ranks
        self._identity = {
            "tokenizer.files": manifest["tokenizer"]["files"],
            "tokenizer.vocab_size": manifest["tokenizer"]["vocab_size"],
            "template.blake3": manifest["template"]["blake3"],
            "shards.content_id": manifest["content_id"],  # the last: it changes with all of them
            **{f"--{k.replace('_', '-')}": v for k, v in config.identity().items()},
        }

    def last(self) -> Path | None:
        """The newest finished checkpoint."""
        found = [path for path in self._folder.glob("step-*") if (path / "run.json").is_file()]
        return max(found, key=lambda path: int(path.name[5:]), default=None)

    def save(self, step: int, trainee: Trainee, optimizer: torch.optim.Optimizer) -> None:
        """Writes beside, syncs, then renames: a folder with its final name is whole."""
        final, part = self._folder / f"step-{step}", self._folder / f".part-{step}"
        if final.exists():
            return
        if self._ranks.rank == 0:
            for stale in self._folder.glob(".part-*"):
                shutil.rmtree(stale)
            self._folder.mkdir(parents=True, exist_ok=True)
        self._wait()
        model, optim = states.get_state_dict(trainee, optimizer, options=_options(trainee))
        with _alone():
            dcp.save({"model": model, "optim": optim}, checkpoint_id=part)
        if self._ranks.rank == 0:
            text = json.dumps({"step": step, **self._identity}, indent=2)
            with (part / "run.json").open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            part.rename(final)
            _sync(self._folder)
            old = sorted(self._folder.glob("step-*"), key=lambda path: int(path.name[5:]))
            for path in old[: -self._keep]:
                shutil.rmtree(path)
        self._wait()

    def restore(self, trainee: Trainee, optimizer: torch.optim.Optimizer) -> int:
        """Loads the newest checkpoint and returns its step; 0 if there is none.

        Raises:
            TrainError: if something that the run depends on has changed, which it names.
            ShardCorrupt: if the checkpoint cannot be read.
        """
        path = self.last()
        if path is None:
            return 0
        try:
            saved = json.loads((path / "run.json").read_text("utf-8"))
            step = int(saved.pop("step"))
            for name, value in self._identity.items():
                if saved.get(name) != value:
                    raise TrainError(
                        f"{name} was {saved.get(name)!r} at the checkpoint, now it is {value!r}",
                        code="train.changed",
                        path=str(path),
                        field=name,
                        hint="put it back, or begin a new run with another --out",
                    )
            model, optim = states.get_state_dict(trainee, optimizer, options=_options(trainee))
            with _alone():
                dcp.load({"model": model, "optim": optim}, checkpoint_id=path)
        except (OSError, ValueError, dcp.api.CheckpointException) as error:
            if isinstance(error, TrainError):
                raise
            raise ShardCorrupt(
                f"the checkpoint cannot be read: {error}",
                path=str(path),
                hint="remove its folder; the one before it is then used",
            ) from error
        states.set_state_dict(
            trainee,
            optimizer,
            model_state_dict=model,
            optim_state_dict=optim,
            options=_options(trainee),
        )
        return step

    def _wait(self) -> None:
        if self._ranks.size > 1:
            dist.barrier()


@contextmanager
def _alone() -> Iterator[None]:
    """A single process is meant, and needs no warning."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled")
        yield


def _options(trainee: Trainee) -> states.StateDictOptions:
    frozen = any(not p.requires_grad for p in trainee.parameters())
    return states.StateDictOptions(ignore_frozen_params=frozen, strict=not frozen)


def _sync(folder: Path) -> None:
    place = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(place)
    finally:
        os.close(place)


def export(trainee: Trainee, config: TrainConfig, shards: ShardDataset) -> Path:
    """Writes ``model/`` below the run, a transformers folder; all ranks call it.

    Adapters are merged. What ends a turn in the shards also ends generation.
    """
    options = states.StateDictOptions(full_state_dict=True, cpu_offload=True)
    weights = states.get_model_state_dict(trainee, options=options)
    out = Path(config.out) / "model"
    if dist.is_initialized() and dist.get_rank() != 0:
        return out
    model: Any = trainee.model
    # Sharding makes copies of tied weights, which a transformers folder holds once.
    once = {name for name, _ in trainee.named_parameters()}
    every = {name for name, _ in trainee.named_parameters(remove_duplicate=False)}
    weights = {
        name.removeprefix("model."): value
        for name, value in weights.items()
        if config.lora or name in once or name not in every
    }
    if config.lora:
        dtype = next(value.dtype for name, value in weights.items() if "lora_" not in name)
        adapted = add_lora(load(config, shards.manifest, dtype), config)
        adapted.load_state_dict(weights)
        for module in list(adapted.modules()):
            if hasattr(module, "merge") and hasattr(module, "base_layer"):
                module.merge()
        model = adapted
        weights = {
            name.replace(".base_layer", ""): value
            for name, value in adapted.state_dict().items()
            if "lora_" not in name
        }
    part = out.with_name(".part-model")
    shutil.rmtree(part, ignore_errors=True)
    model.config.use_cache = True
    if stops := _stops(shards):
        model.generation_config.eos_token_id = stops
    model.save_pretrained(part, state_dict=weights)
    model.config.use_cache = False
    for name in _TOKENIZER_FILES:
        if (shards.path / name).is_file():
            shutil.copyfile(shards.path / name, part / name)
    shutil.rmtree(out, ignore_errors=True)
    part.rename(out)
    return out


def _stops(shards: ShardDataset) -> list[int]:
    """Tokens that end a trained turn, or a trained document, in the first row."""
    ids, found = shards[0]["input_ids"], set()
    for document in shards.documents(0):
        ends = [span.end for span in document.spans if span.trained and span.kind == "stop"]
        found |= {int(ids[end - 1]) for end in ends}
    return sorted(found)
