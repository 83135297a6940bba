"""The shared data in place: which sets there are, and their rows."""

from __future__ import annotations

import gzip
import json
import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from .normalise import detect

Item = TypeVar("Item")
Json = Any
TOKENIZERS = (
    "deepseek_v3",
    "gemma3",
    "gpt2",
    "llama3_1",
    "mistral_tekken",
    "mistral_v3_spm",
    "qwen3",
)
SEED = 20250630


def everything() -> bool:
    """Whether the full counts are asked for, not a sample."""
    return os.environ.get("SFTPREP_REQUIRE_DATA") == "1"


def sample(items: Sequence[Item], size: int) -> list[Item]:
    """A seeded sample in the order given; all of them where the full counts are asked for."""
    if everything() or len(items) <= size:
        return list(items)
    chosen = sorted(random.Random(SEED).sample(range(len(items)), size))
    return [items[index] for index in chosen]


@dataclass(frozen=True)
class RowSet:
    """A file of rows in one format."""

    path: Path
    form: str

    @property
    def name(self) -> str:
        """Folder and file, for test ids."""
        return f"{self.path.parent.name}/{self.path.name}"


def lines_of(path: Path) -> list[bytes]:
    """The lines of a `.jsonl` or `.jsonl.gz`, split on LF alone."""
    data = path.read_bytes()
    if path.suffix == ".gz":
        data = gzip.decompress(data)
    lines = data.split(b"\n")
    return lines[:-1] if lines[-1] == b"" else lines


def row_sets(root: Path) -> Iterator[RowSet]:
    """Every file of rows in a supported format, with the format its first row shows."""
    files = [*(root / "sft").glob("*.jsonl*"), *(root / "quality").glob("*/*.jsonl*")]
    for path in sorted(files):
        form = detect(json.loads(lines_of(path)[0]))
        if form is not None and form != "pretokenized" and "truth" not in path.name:
            yield RowSet(path, form)


def parse(line: bytes) -> Json:
    """A row as Python reads it."""
    return json.loads(line)
