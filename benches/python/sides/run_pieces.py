"""The script a careful user writes: HF tokenizers on pieces of text, best fit, an Arrow file.

    run_pieces.py ROWS.jsonl TOKENIZER_FOLDER MAX_LEN

The pieces are cut where the label changes (ChatML), so that labels need no offsets, and all
pieces of a chunk of rows go to `encode_batch_fast` at once. It knows one template and refuses
nothing: a lower bound of the work around HF's tokenizer, not a product.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import tokenizers
from side import emit, imports_done

imports_done()

CHUNK_ROWS = 256
IGNORE = -100
NO_THOUGHT = "<think>\n\n</think>\n\n"
"""What Qwen3's template puts before the last answer when it has no reasoning."""


def pieces(messages: list[dict[str, Any]]) -> list[tuple[str, bool]]:
    """Qwen3's text of a conversation, cut where the label changes."""
    out: list[tuple[str, bool]] = []
    context = ""
    for index, message in enumerate(messages):
        head = f"<|im_start|>{message['role']}\n"
        if message["role"] == "assistant":
            answer = message["content"]
            if index == len(messages) - 1:
                answer = NO_THOUGHT + answer.lstrip("\n")
            out += [(context + head, False), (answer + "<|im_end|>", True)]
            context = "\n"
        else:
            context += f"{head}{message['content']}<|im_end|>\n"
    return [*out, (context, False)]


def documents(
    path: Path, tokenizer: tokenizers.Tokenizer
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Ids and labels of every row."""
    with path.open("rb") as rows:
        while chunk := list(islice(rows, CHUNK_ROWS)):
            cut = [pieces(json.loads(line)["messages"]) for line in chunk]
            texts = [text for row in cut for text, _ in row]
            encodings = iter(tokenizer.encode_batch_fast(texts, add_special_tokens=False))
            for row in cut:
                ids, labels = [], []
                for _, trained in row:
                    part = np.array(next(encodings).ids, np.int32)
                    ids.append(part)
                    labels.append(part if trained else np.full(len(part), IGNORE, np.int32))
                yield np.concatenate(ids), np.concatenate(labels)


def best_fit(lengths: np.ndarray, room: int) -> list[list[int]]:
    """Best-fit decreasing; one bit per remaining space tells which spaces are there."""
    order = np.argsort(-lengths, kind="stable")
    by_space: list[list[int]] = [[] for _ in range(room + 1)]
    spaces = 0
    bins: list[list[int]] = []
    for index in order:
        length = int(lengths[index])
        fitting = spaces >> length
        if fitting:
            space = length + (fitting & -fitting).bit_length() - 1
            chosen = by_space[space].pop()
            if not by_space[space]:
                spaces &= ~(1 << space)
        else:
            chosen, space = len(bins), room
            bins.append([])
        bins[chosen].append(int(index))
        by_space[space - length].append(chosen)
        spaces |= 1 << (space - length)
    return bins


def write(
    path: Path, bins: list[list[int]], docs: list[tuple[np.ndarray, np.ndarray]], room: int
) -> int:
    """Writes the packed rows; returns how many tokens have a label."""
    kind = pa.list_(pa.int32())
    names = ("input_ids", "labels", "seq_lengths")
    schema = pa.schema([(name, kind) for name in names])
    trained = 0
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        for start in range(0, len(bins), 512):
            columns: tuple[list[np.ndarray], ...] = ([], [], [])
            for members in bins[start : start + 512]:
                columns[0].append(np.concatenate([docs[i][0][:room] for i in members]))
                columns[1].append(np.concatenate([docs[i][1][:room] for i in members]))
                columns[2].append(np.array([min(len(docs[i][0]), room) for i in members], np.int32))
            arrays = []
            for column in columns:
                offsets = np.cumsum([0, *(len(part) for part in column)]).astype(np.int32)
                arrays.append(pa.ListArray.from_arrays(offsets, np.concatenate(column)))
            trained += int((np.concatenate(columns[1]) != IGNORE).sum())
            writer.write_batch(pa.record_batch(arrays, schema=schema))
    return trained


def main() -> None:
    """Prepares the rows and reports the cost."""
    path, folder, max_len = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    docs = list(documents(path, tokenizer))
    lengths = np.array([min(len(ids), max_len) for ids, _ in docs])
    bins = best_fit(lengths, max_len)
    with tempfile.TemporaryDirectory() as folder_out:
        trained = write(Path(folder_out) / "packed.arrow", bins, docs, max_len)
    emit(
        side="pieces",
        versions={"tokenizers": tokenizers.__version__, "pyarrow": pa.__version__},
        rows=len(docs),
        tokens=int(lengths.sum()),
        trained_tokens=trained,
        sequences=len(bins),
    )


main()
