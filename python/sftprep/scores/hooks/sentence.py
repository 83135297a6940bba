"""Sentence embeddings of prompts, by a model2vec or sentence-transformers folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sftprep.errors import ConfigError

if TYPE_CHECKING:
    from sftprep.scores.hooks import Columns, Hook


def make(folder: str) -> Hook:
    """A hook with the column ``sentence_embedding`` of each prompt, or of the row without one.

    Raises:
        ConfigError: if the folder holds neither kind of model.
    """
    path = Path(folder)
    if not path.is_dir():
        raise ConfigError("there is no such folder", path=folder, field="--plugin")
    try:
        encode = _encoder(path)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ConfigError(
            f"the sentence model does not load: {error}",
            path=folder,
            field="--plugin",
            hint="give a folder that model2vec or sentence-transformers saved",
        ) from error

    def hook(batch: Columns) -> Columns:
        pairs = zip(batch["prompt_text"], batch["answer_text"], strict=True)
        return {"sentence_embedding": list(encode([prompt or answer for prompt, answer in pairs]))}

    return hook


def _encoder(path: Path) -> Any:  # noqa: ANN401 - a method of either package
    def read(name: str) -> Any:  # noqa: ANN401 - JSON
        file = path / name
        return json.loads(file.read_text("utf-8")) if file.is_file() else None

    # model2vec says what it is in one file or the other, by version.
    modules, config = read("modules.json") or [{}], read("config.json") or {}
    kinds = [str(modules[0].get("type", "")), str(config.get("model_type", ""))]
    if kinds[0].endswith("StaticEmbedding") or kinds[1] == "model2vec":
        from model2vec import StaticModel

        return StaticModel.from_pretrained(path).encode
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(path)).encode
