"""A model that looks at texts: losses of chosen tokens, and mean hidden states.

Texts are sorted by length and padded on the right, which no token of a causal model sees; so a
batch gives what each text gives alone, but for rounding.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from sftprep.errors import ConfigError, TrainError

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
_LOGITS = 1 << 25
"""Logits that are in memory at a time."""
_CLOSE = {"fp32": 1e-5, "bf16": 1e-3}
_WEIGHTS = ("*.safetensors", "*.bin", "config.json")
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
)


@dataclass(frozen=True, slots=True)
class Text:
    """Tokens of a text, and which of them count."""

    ids: Any
    """All tokens, a sequence or an array."""
    wanted: Any
    """Places (from 1) of those whose loss is wanted."""
    size: int
    """Characters of rows that are done with it, for progress."""
    rows: int = 1
    """Rows that are done with it."""


Done = Callable[[int, int, int], None]
"""Called with rows, tokens and characters that are done since the last call."""


class Scorer:
    """A model and its tokenizer, in inference.

    Args:
        path: A transformers folder.
        device: ``auto``, ``cpu`` or ``cuda``.
        dtype: ``fp32`` or ``bf16``.
        batch_tokens: Tokens of a forward pass, padding included.

    Raises:
        TrainError: if the folder has no model that loads.
        ConfigError: if an option is wrong.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        device: str = "auto",
        dtype: str = "fp32",
        batch_tokens: int = 0,
    ) -> None:
        self.path = Path(path)
        if not self.path.is_dir():
            raise TrainError(
                "there is no such model", path=str(path), hint="give a local transformers folder"
            )
        if device == "cuda" and not torch.cuda.is_available():
            raise ConfigError("there is no CUDA device", field="--device", hint="use --device cpu")
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self.device, self.dtype = torch.device(device), dtype
        self.batch_tokens = batch_tokens or (32768 if device == "cuda" else 4096)
        try:
            auto: Any = AutoModelForCausalLM
            with _without_bars():
                self.model: Any = auto.from_pretrained(self.path, dtype=_DTYPES[dtype])
                self.tokenizer: Any = AutoTokenizer.from_pretrained(self.path)
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            raise TrainError(
                f"the model or its tokenizer does not load: {_first_line(error)}",
                path=str(path),
                hint="it must be a causal language model with config.json, weights and "
                "tokenizer.json",
            ) from error
        self.model.to(self.device).eval()
        self.model.config.use_cache = False
        text = self.model.config.get_text_config()
        self.positions = int(getattr(text, "max_position_embeddings", None) or 1 << 30)
        self.embeddings = int(self.model.get_input_embeddings().num_embeddings)
        self._body = self.model.base_model
        self._direct: bool | None = None
        """Whether logits are the head on the body's states; known after the first batch."""

    def encode(self, texts: list[str]) -> list[list[int]]:
        """Ids with the special tokens that the tokenizer adds, as transformers gives them.

        Raises:
            ConfigError: if the tokenizer has more tokens than the model.
        """
        if not texts:
            return []
        ids: list[list[int]] = self.tokenizer(
            texts, truncation=False, return_attention_mask=False, verbose=False
        )["input_ids"]
        top = max((max(each, default=0) for each in ids), default=0)
        if top >= self.embeddings:
            raise ConfigError(
                f"the tokenizer gives id {top}, the model has {self.embeddings} embeddings",
                path=str(self.path),
                field="--model",
                hint="give the tokenizer and the model of one folder; added tokens need "
                "embeddings (`sftprep train --resize-embeddings`)",
            )
        return ids

    def losses(self, texts: Sequence[Text], done: Done) -> Iterator[tuple[int, float]]:
        """The mean loss in nats of each text's wanted tokens, with the text's index."""
        for batch in self._batches(texts, "losses"):
            found = self._guarded(self._losses, [texts[at] for at in batch])
            yield from zip(batch, found, strict=True)
            self._tell(texts, batch, done)

    def means(self, texts: Sequence[Text], done: Done) -> Iterator[tuple[int, Any]]:
        """The mean of each text's last hidden states, float32, with the text's index."""
        for batch in self._batches(texts, "means"):
            found = self._guarded(self._means, [texts[at] for at in batch])
            yield from zip(batch, found, strict=True)
            self._tell(texts, batch, done)

    @staticmethod
    def _tell(texts: Sequence[Text], batch: list[int], done: Done) -> None:
        several = [texts[at] for at in batch]
        tokens, size = sum(len(each.ids) for each in several), sum(each.size for each in several)
        done(sum(each.rows for each in several), tokens, size)

    def _batches(self, texts: Sequence[Text], job: str) -> Iterator[list[int]]:
        """Texts of like length; the longest first, so that memory that is too small shows."""
        order = sorted(range(len(texts)), key=lambda at: (-len(texts[at].ids), at))
        batch: list[int] = []
        for at in order:
            longest = len(texts[batch[0]].ids) if batch else 0
            if batch and longest * (len(batch) + 1) > self.batch_tokens:
                yield batch
                batch = []
            batch.append(at)
        if batch:
            yield batch

    def _guarded(self, work: Callable[[list[Text]], list[Any]], texts: list[Text]) -> list[Any]:
        try:
            return work(texts)
        except RuntimeError as error:
            if not (isinstance(error, torch.OutOfMemoryError) or "CPUAllocator" in str(error)):
                raise
            raise TrainError(
                f"out of memory with a batch of {len(texts)} x {len(texts[0].ids)} tokens: "
                + _first_line(error),
                code="train.memory",
                field="--batch-tokens",
                hint=f"lower --batch-tokens (now {self.batch_tokens}), or use --dtype bf16",
            ) from error

    def _padded(self, texts: list[Text]) -> torch.Tensor:
        ids = np.zeros((len(texts), len(texts[0].ids)), np.int64)
        for row, text in zip(ids, texts, strict=True):
            row[: len(text.ids)] = text.ids
        return torch.from_numpy(ids).to(self.device)

    @torch.inference_mode()
    def _losses(self, texts: list[Text]) -> list[float]:
        ids = self._padded(texts)
        counts = [len(text.wanted) for text in texts]
        row = torch.repeat_interleave(torch.arange(len(texts)), torch.tensor(counts))
        place = torch.tensor(np.concatenate([np.asarray(text.wanted) for text in texts]))
        row, place = row.to(self.device), place.to(self.device)
        if self._direct is None:
            self._direct = self._head_is_all(ids[:1, : len(texts[0].ids)])
        parts: list[torch.Tensor] = []
        if self._direct:
            states = self._body(input_ids=ids, use_cache=False).last_hidden_state
            head, step = self.model.get_output_embeddings(), max(1, _LOGITS // self.embeddings)
            for x, y in zip(
                states[row, place - 1].split(step), ids[row, place].split(step), strict=True
            ):
                parts.append(F.cross_entropy(head(x).float(), y, reduction="none"))
        else:  # all logits, of a few texts at a time
            step = max(1, 8 * _LOGITS // (ids.shape[1] * self.embeddings))
            for first in range(0, len(texts), step):
                logits = self.model(input_ids=ids[first : first + step], use_cache=False).logits
                inside = (row >= first) & (row < first + step)
                r, at = row[inside], place[inside]
                x = logits[r - first, at - 1].float()
                parts.append(F.cross_entropy(x, ids[r, at], reduction="none"))
        all_losses = torch.cat(parts).double().cpu()
        return [float(part.mean()) for part in all_losses.split(counts)]

    def _head_is_all(self, ids: torch.Tensor) -> bool:
        """Whether the model's logits are its head on its body's states and nothing more.

        Then only wanted tokens have to go through the head, most of the work for small models.
        Models that scale or cap logits go through their own forward.
        """
        if self._body is self.model or self.model.get_output_embeddings() is None:
            return False
        whole = self.model(input_ids=ids, use_cache=False).logits
        states = self._body(input_ids=ids, use_cache=False).last_hidden_state
        ours = self.model.get_output_embeddings()(states)
        if ours.shape != whole.shape:
            return False
        scale = whole.float().abs().max().clamp_min(1e-6)
        return bool((ours.float() - whole.float()).abs().max() / scale < _CLOSE[self.dtype])

    @torch.inference_mode()
    def _means(self, texts: list[Text]) -> list[Any]:
        ids = self._padded(texts)
        states = self._body(input_ids=ids, use_cache=False).last_hidden_state.float()
        lengths = [len(text.ids) for text in texts]
        return [
            state[:length].mean(0).cpu().numpy()
            for state, length in zip(states, lengths, strict=True)
        ]

    @property
    def width(self) -> int:
        """Numbers of a hidden state."""
        return int(self.model.config.get_text_config().hidden_size)

    def identity(self) -> dict[str, str]:
        """What scores depend on, as hashes and names."""
        return {
            "model": _hash(sorted(p for each in _WEIGHTS for p in self.path.glob(each))),
            "tokenizer": _hash([self.path / name for name in TOKENIZER_FILES]),
            "dtype": self.dtype,
            "device": self.device.type,
        }


@contextmanager
def _without_bars() -> Iterator[None]:
    """Without transformers' bars: they would stand between lines of JSON."""
    own: Any = logging
    shown = own.is_progress_bar_enabled()
    own.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            own.enable_progress_bar()


def _hash(paths: Sequence[Path]) -> str:
    """Of the names and bytes of those files that are there."""
    whole = hashlib.sha256()
    for path in paths:
        if path.is_file():
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            whole.update(f"{path.name} {digest}\n".encode())
    return whole.hexdigest()[:32]


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
