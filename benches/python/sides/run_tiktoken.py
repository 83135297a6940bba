"""A plain Python loop over tiktoken, the fastest thing that people write by hand.

    run_tiktoken.py ROWS.jsonl TOKENIZER_FOLDER MAX_LEN

Encodes message by message (Qwen3's text, ids put together by hand) and packs by best fit from a
buffer of 100 conversations, as streaming loaders do. It writes no file, so it does less than the
others.
The ranks come from the tokenizer.json; reading them is set apart.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tiktoken
from side import apart, emit, imports_done

imports_done()

BUFFER = 100
Document = tuple[list[int], list[int]]


def byte_alphabet() -> dict[str, int]:
    """The printable stand-ins that byte-level vocabularies use, and the bytes they stand for."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [byte for byte in range(256) if byte not in plain]
    alphabet = {chr(byte): byte for byte in plain}
    return alphabet | {chr(256 + i): byte for i, byte in enumerate(rest)}


def encoding(folder: Path) -> tiktoken.Encoding:
    """A tiktoken encoding with the vocabulary of a byte-level tokenizer.json."""
    spec: dict[str, Any] = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    alphabet = byte_alphabet()
    ranks = {bytes(alphabet[c] for c in t): i for t, i in spec["model"]["vocab"].items()}
    parts = spec["pre_tokenizer"].get("pretokenizers", [spec["pre_tokenizer"]])
    pattern = next(p["pattern"]["Regex"] for p in parts if p["type"] == "Split")
    special = {token["content"]: token["id"] for token in spec["added_tokens"]}
    return tiktoken.Encoding(
        "folder", pat_str=pattern, mergeable_ranks=ranks, special_tokens=special
    )


def documents(path: Path, enc: tiktoken.Encoding) -> Iterator[Document]:
    """Ids and mask of every row."""
    no_thought = [enc.encode_single_token("<think>"), *enc.encode_ordinary("\n\n")]
    no_thought += [enc.encode_single_token("</think>"), *enc.encode_ordinary("\n\n")]
    start, end = enc.encode_single_token("<|im_start|>"), enc.encode_single_token("<|im_end|>")
    newline = enc.encode_ordinary("\n")
    heads: dict[str, list[int]] = {}
    with path.open("rb") as rows:
        for line in rows:
            ids: list[int] = []
            mask: list[int] = []
            messages = json.loads(line)["messages"]
            for message in messages:
                role = message["role"]
                if role not in heads:
                    heads[role] = [start, *enc.encode_ordinary(role), *newline]
                body = [*enc.encode_ordinary(message["content"]), end]
                if message is messages[-1] and role == "assistant":
                    body = no_thought + body
                ids += heads[role] + body + newline
                trained = int(role == "assistant")
                mask += [0] * len(heads[role]) + [trained] * len(body) + [0] * len(newline)
            yield ids, mask


def pack(docs: Iterator[Document], room: int) -> tuple[int, int, int, int]:
    """Rows, sequences, tokens and trained tokens after best fit from a buffer."""
    buffer: list[Document] = []
    rows = sequences = tokens = trained = 0
    exhausted = False
    while True:
        row: list[int] = []
        mask: list[int] = []
        while True:
            while len(buffer) < BUFFER and not exhausted:
                document = next(docs, None)
                if document is None:
                    exhausted = True
                else:
                    rows += 1
                    buffer.append((document[0][:room], document[1][:room]))
            free = room - len(row)
            fitting = [(len(d[0]), i) for i, d in enumerate(buffer) if len(d[0]) <= free]
            if not fitting:
                break
            ids, flags = buffer.pop(max(fitting)[1])
            row += ids
            mask += flags
        if not row:
            return rows, sequences, tokens, trained
        sequences, tokens, trained = sequences + 1, tokens + len(row), trained + sum(mask)


def main() -> None:
    """Prepares the rows and reports the cost."""
    path, folder, max_len = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    with apart():
        enc = encoding(folder)
    rows, sequences, tokens, trained = pack(documents(path, enc), max_len)
    emit(
        side="tiktoken",
        versions={"tiktoken": tiktoken.__version__},
        rows=rows,
        tokens=tokens,
        trained_tokens=trained,
        sequences=sequences,
    )


main()
