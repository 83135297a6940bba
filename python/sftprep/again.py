"""A finished dataset packed or labelled anew, without its inputs or its tokenizer."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import Any

from sftprep import _core
from sftprep.api import PackReport, PathLike, follow
from sftprep.config import Overlong, PackConfig, Stop, Strategy, merge, nest
from sftprep.errors import ConfigError
from sftprep.progress import Progress, choose


def repack(
    source: PathLike,
    out: PathLike,
    *,
    max_len: int | None = None,
    strategy: Strategy | None = None,
    overlong: Overlong | None = None,
    seed: int | None = None,
    balance: int | None = None,
    shard_bytes: int | None = None,
    overwrite: bool = False,
    allow_lost: bool = False,
    threads: int = 0,
    memory: int = 0,
    progress: Callable[[Progress], object] | bool | None = None,
) -> PackReport:
    """Packs the documents of a finished dataset again, without its inputs or its tokenizer.

    The result has the bytes that packing the inputs with these options would have given. What is
    not given stays as it was.

    Args:
        source: Folder of the dataset.
        out: Output folder.
        max_len: Tokens per packed sequence at most.
        strategy: Packing strategy.
        overlong: What to do with longer rows.
        seed: Order of documents of equal length.
        balance: Rows that all ranks together read in a step; they get rows of like cost.
        shard_bytes: Size of a shard, about.
        overwrite: Replace an existing output.
        allow_lost: Go on, with a warning, although the source lost tokens to its own ``max_len``
            that the new options would have kept.
        threads: Worker threads (0: all cores).
        memory: Memory of the process in bytes, at most; from 192 MiB on (0: not limited).
        progress: As for :func:`pack`.

    Raises:
        ConfigError: if an option is wrong, or the source lost or cut what is needed.
        ShardError: if the source is not whole.
        OutputError: if the output exists or cannot be written.
    """
    given = {
        "max_len": max_len,
        "strategy": strategy,
        "overlong": overlong,
        "seed": seed,
        "balance": balance,
        "shard_bytes": shard_bytes,
    }
    run = {"overwrite": overwrite, "allow_lost": allow_lost, "threads": threads, "memory": memory}
    return _again(source, out, given, run, progress)


def remask(
    source: PathLike,
    out: PathLike,
    *,
    train_on: str | None = None,
    reasoning: bool | None = None,
    tool_calls: bool | None = None,
    stop: Stop | None = None,
    overwrite: bool = False,
    allow_lost: bool = False,
    threads: int = 0,
    memory: int = 0,
    progress: Callable[[Progress], object] | bool | None = None,
) -> PackReport:
    """Trains less of a finished dataset, from the kinds of its spans, and packs it again.

    The result has the bytes that packing the inputs with these options would have given. What is
    not given stays as it was. More than before cannot be trained: nobody proved those spans.

    Args:
        source: Folder of the dataset.
        out: Output folder.
        train_on: ``last_turn`` for the last assistant turn only.
        reasoning: Whether reasoning is trained.
        tool_calls: Whether tool calls are trained.
        stop: Which stop tokens are trained: ``turn``, ``last`` or ``none``.
        overwrite: Replace an existing output.
        allow_lost: Go on, with a warning that names them, where rows may come out otherwise than
            from the inputs: the source rejected or cut them, or made a sample per turn of them.
        threads: Worker threads (0: all cores).
        memory: Memory of the process in bytes, at most; from 192 MiB on (0: not limited).
        progress: As for :func:`pack`.

    Raises:
        ConfigError: if an option is wrong, would train more, or the source knows too little.
        ShardError: if the source is not whole.
        OutputError: if the output exists or cannot be written.
    """
    given = {"train_on": train_on, "reasoning": reasoning, "tool_calls": tool_calls, "stop": stop}
    run = {"overwrite": overwrite, "allow_lost": allow_lost, "threads": threads, "memory": memory}
    return _again(source, out, given, run, progress)


def mix_shards(
    parts: Mapping[PathLike, float],
    out: PathLike,
    *,
    trained_tokens: int | None = None,
    max_len: int | None = None,
    strategy: Strategy | None = None,
    overlong: Overlong | None = None,
    seed: int | None = None,
    balance: int | None = None,
    shard_bytes: int | None = None,
    overwrite: bool = False,
    allow_lost: bool = False,
    threads: int = 0,
    memory: int = 0,
    progress: Callable[[Progress], object] | bool | None = None,
) -> PackReport:
    """Mixes finished datasets by trained tokens into a new one, without tokenizing.

    Whole rows are drawn from each dataset, in an order that the seed decides, until its share is
    reached; no row is drawn twice. The ledger of the result has every row of every dataset. The
    datasets must have one tokenizer, one template and the same labels.

    Args:
        parts: Folders of the datasets, each with its share of trained tokens: only the ratios
            matter.
        out: Output folder.
        trained_tokens: Trained tokens in all; by default as many as there are.
        max_len: Tokens per packed sequence at most. This and the next four may only be left out
            if all datasets have the same.
        strategy: Packing strategy.
        overlong: What to do with longer documents.
        seed: Which rows are drawn, and the order of documents of equal length.
        balance: Rows that all ranks together read in a step; they get rows of like cost.
        shard_bytes: Size of a shard, about.
        overwrite: Replace an existing output.
        allow_lost: As for :func:`repack`.
        threads: Worker threads (0: all cores).
        memory: Memory of the process in bytes, at most; from 192 MiB on (0: not limited).
        progress: As for :func:`pack`.

    Raises:
        ConfigError: if an option is wrong, the datasets do not go together or have too few tokens.
        ShardError: if a dataset is not whole.
        OutputError: if the output exists or cannot be written.
    """
    given = {
        "max_len": max_len,
        "strategy": strategy,
        "overlong": overlong,
        "seed": seed,
        "balance": balance,
        "shard_bytes": shard_bytes,
    }
    options = {name: value for name, value in given.items() if value is not None}
    run = {"overwrite": overwrite, "allow_lost": allow_lost, "threads": threads, "memory": memory}
    listed = [(os.fspath(folder), share) for folder, share in parts.items()]
    if not listed:
        raise ConfigError("there is nothing to mix", field="parts")
    mixed: dict[str, Any] = {"parts": listed, "pack": {**options, **run, "out": os.fspath(out)}}
    if trained_tokens is not None:
        mixed["trained_tokens"] = trained_tokens
    job = _core.PackJob.mix(json.dumps(mixed))
    return _wait(job, listed[0][0], options, out, progress)


def _again(
    source: PathLike,
    out: PathLike,
    given: dict[str, Any],
    run: dict[str, Any],
    progress: Callable[[Progress], object] | bool | None,
) -> PackReport:
    options = {name: value for name, value in given.items() if value is not None}
    places = {"from": os.fspath(source), "out": os.fspath(out)}
    job = _core.PackJob.repack(json.dumps({**options, **run, **places}))
    return _wait(job, source, options, out, progress)


def _wait(
    job: _core.PackJob,
    source: PathLike,
    options: dict[str, Any],
    out: PathLike,
    progress: Callable[[Progress], object] | bool | None,
) -> PackReport:
    """The report of a job, which has the options of the source where none are given."""
    old = json.loads(_core.read_manifest(os.fspath(source)))
    config = merge(merge(PackConfig(), {"pack": old["config"]["pack"]}), nest(options))
    config = merge(config, {"output": {"dir": os.fspath(out)}})
    if callable(progress):
        return follow(job, config, progress)
    with choose(quiet=not progress) as display:
        return follow(job, config, display.update)


__all__ = ["mix_shards", "remask", "repack"]
