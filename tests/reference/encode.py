"""The reference token ids, and labels from character spans by the slowest honest way.

Ids come from HF's tokenizer on the whole text. Which bytes a token covers is not taken from its
offsets (those are in characters, and some tokenizers report them wrongly) but found by spelling
the tokens out, one after the other, over the bytes of the text; a text that the tokenizer
normalises (and so cannot be spelled) falls back to the offsets.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tokenizers

IGNORE = -100
Span = tuple[int, int]


def _byte_alphabet() -> dict[str, int]:
    """Byte-level vocabularies write each byte as one printable character; this reads it back."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [byte for byte in range(256) if byte not in plain]
    return {chr(b): b for b in plain} | {chr(256 + i): b for i, b in enumerate(rest)}


class ReferenceTokenizer:
    """A tokenizer folder, for ids and labels."""

    def __init__(self, folder: Path) -> None:
        """Loads `tokenizer.json` of that folder."""
        path = folder / "tokenizer.json"
        self.tokenizer = tokenizers.Tokenizer.from_file(str(path))
        spec: dict[str, Any] = json.loads(path.read_text("utf-8"))
        self.added = {token["id"]: token for token in spec.get("added_tokens", [])}
        self.byte_level = "ByteLevel" in json.dumps([spec.get("pre_tokenizer"), spec["decoder"]])
        self.prepends = '"Prepend"' in json.dumps(spec.get("normalizer"))
        self.alphabet = _byte_alphabet()

    def encode(self, text: str) -> list[int]:
        """Ids of the whole text, no special token added."""
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def spelling(self, token: int) -> bytes:
        """The bytes that a token stands for."""
        if token in self.added:
            content = str(self.added[token]["content"])
            return (content if self.byte_level else content.replace("▁", " ")).encode()
        piece = str(self.tokenizer.id_to_token(token))
        if self.byte_level:
            return bytes(self.alphabet[char] for char in piece)
        if piece.startswith("<0x") and piece.endswith(">"):
            return bytes([int(piece[3:-1], 16)])
        return piece.replace("▁", " ").encode()

    def byte_spans(self, text: str) -> list[Span]:
        """Bytes of the text that each token covers."""
        encoding = self.tokenizer.encode(text, add_special_tokens=False)
        spelled = self._spell(text.encode(), encoding.ids)
        if spelled is not None:
            return spelled
        ends = _byte_positions(text)
        return [(ends[start], ends[end]) for start, end in encoding.offsets]

    def _spell(self, data: bytes, ids: Sequence[int]) -> list[Span] | None:
        out: list[Span] = []
        cursor = 0
        for index, token in enumerate(ids):
            piece = self.spelling(token)
            flags = self.added.get(token, {})
            begin = cursor
            if flags.get("lstrip"):
                begin = len(data) - len(data[cursor:].lstrip())
            opens = index == 0 or ids[index - 1] in self.added
            if self.prepends and opens and token not in self.added:
                piece = piece[1:]  # the space put in front of every stretch of plain text
            if not data.startswith(piece, begin):
                return None
            end = begin + len(piece)
            if flags.get("rstrip"):
                end = len(data) - len(data[end:].lstrip())
            out.append((cursor, end))
            cursor = end
        return out if cursor == len(data) else None

    def label(self, text: str, trained: Sequence[Span]) -> tuple[list[int], list[int]]:
        """Ids and labels; tokens wholly inside the `trained` character spans get a label."""
        ends = _byte_positions(text)
        inside = bytearray(ends[-1])
        for start, end in trained:
            inside[ends[start] : ends[end]] = b"\x01" * (ends[end] - ends[start])
        ids = self.encode(text)
        labels = [
            token if end > start and all(inside[start:end]) else IGNORE
            for token, (start, end) in zip(ids, self.byte_spans(text), strict=True)
        ]
        if labels:
            labels[0] = IGNORE
        return ids, labels


def _byte_positions(text: str) -> list[int]:
    """Byte position of every character, and of the end."""
    out = [0]
    for char in text:
        out.append(out[-1] + len(char.encode()))
    return out
