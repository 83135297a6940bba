"""Fixtures of the trainer's tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import conversation

import sftprep


@pytest.fixture(scope="session")
def configs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A ``config.json`` for each architecture."""
    from train.helpers import MODELS, SIZES

    folder = tmp_path_factory.mktemp("configs")
    found = {}
    for name, more in MODELS.items():
        found[name] = folder / f"{name}.json"
        found[name].write_text(json.dumps({"model_type": name, **SIZES, **more}))
    return found


Pack = Callable[..., Path]


@pytest.fixture(scope="session")
def pack(tmp_path_factory: pytest.TempPathFactory, tokenizer_dir: Path) -> Pack:
    """Packs conversations, from ``first`` on; options as those of ``sftprep.pack``."""

    def make(count: int = 40, first: int = 0, **options: Any) -> Path:
        folder = tmp_path_factory.mktemp("shards")
        rows = [conversation(index, 1 + index % 2) for index in range(first, first + count)]
        for name, part in (("one", rows[::2]), ("two", rows[1::2])):
            text = "".join(f"{json.dumps(row)}\n" for row in part)
            (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
        inputs = {name: folder / f"{name}.jsonl" for name in ("one", "two")}
        settings = {"tokenizer": tokenizer_dir, "max_len": 256, "date": "2025-01-01"} | options
        sftprep.pack(inputs, out=folder / "out", **settings)
        return folder / "out"

    return make


@pytest.fixture(scope="session")
def shards(pack: Pack) -> Path:
    """Forty conversations."""
    return pack()


@pytest.fixture
def options(configs: dict[str, Path], shards: Path, tmp_path: Path) -> dict[str, Any]:
    """Options of a short run of a tiny Llama in fp64."""
    return {
        "random_init": str(configs["llama"]),
        "shards": str(shards),
        "out": str(tmp_path / "run"),
        "dtype": "fp64",
        "device": "cpu",
        "rows_per_step": 4,
        "steps": 6,
        "lr": 1e-3,
        "samples": 0,
        "quiet": True,
        "log_every": 1,
    }
