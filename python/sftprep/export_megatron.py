"""A packed dataset as Megatron-Bridge reads packed SFT data (`GPTSFTPackedDataset`).

It keeps rows in one of three containers: an indexed data set (its own default by now), Parquet, or
a pickled numpy array (all versions so far, deprecated). A row is the same in all of them:

- ``input_ids``: the tokens of the row;
- ``seq_start_id``: where each document begins, a list;
- ``loss_mask``: of each token, whether the token *after* it in its document is trained.

Its reader makes of every document of L tokens L - 1 inputs and the L - 1 targets after them, so no
token sees or predicts across documents. A target after an eos token is never trained there, so rows
in which one has a label are refused.
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from sftprep.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from sftprep.dataset import Row, ShardDataset

_IGNORE = -100
_PARQUET_ROWS = 500
_NAME = "train"

_MARK, _VERSION = 0x53465442, 1
_INDEX_HEAD, _INT32 = b"MMIDIDX\0\0", 4


def pack(row: Row, eos: int | None, number: int) -> dict[str, Any]:
    """A row in that layout.

    Raises:
        ConfigError: if its reader would leave out a trained token.
    """
    ids, lengths = row["input_ids"], row["seq_lengths"]
    ends = np.cumsum(lengths, dtype=np.int64)
    mask = np.zeros(len(ids), np.bool_)
    # A document's first token has no label, so the last of the one before gets False.
    mask[:-1] = row["labels"][1:] != _IGNORE
    if eos is not None and (mask & (ids == eos)).any():
        place = int(np.flatnonzero(mask & (ids == eos))[0]) + 1
        raise ConfigError(
            f"token {place} of row {number} is trained and comes after the eos token {eos}; "
            "Megatron-Bridge never trains such a token",
            hint="export to hf or parquet, or use a template in which eos ends a document",
        )
    return {"input_ids": ids, "loss_mask": mask, "seq_start_id": (ends - lengths).tolist()}


def write_indexed(rows: ShardDataset, folder: Path) -> None:
    """Megatron's indexed data set, an item per row: what Megatron-Bridge itself writes today.

    An item is int32 words: a mark, the layout's version, the number of documents, where each
    begins, then a word per token whose highest bit is its loss mask.
    """
    lengths = np.empty(len(rows), np.int32)
    with (folder / f"{_NAME}.sft.bin").open("wb") as file:
        for number, packed in enumerate(_packs(rows)):
            starts = np.asarray(packed["seq_start_id"], np.int32)
            head = np.asarray([_MARK, _VERSION, len(starts)], np.int32)
            words = packed["input_ids"].view(np.uint32) | (packed["loss_mask"].astype("u4") << 31)
            item = np.concatenate([head, starts, words.view(np.int32)]).astype("<i4", copy=False)
            lengths[number] = len(item)
            file.write(item.tobytes())
    ends = np.cumsum(lengths, dtype=np.int64) * 4
    with (folder / f"{_NAME}.sft.idx").open("wb") as file:
        file.write(_INDEX_HEAD + struct.pack("<QBQQ", 1, _INT32, len(rows), len(rows) + 1))
        file.write(lengths.astype("<i4").tobytes())
        file.write((ends - lengths * np.int64(4)).astype("<i8").tobytes())
        file.write(np.arange(len(rows) + 1, dtype="<i8").tobytes())
    _write_metadata(rows, folder)


def write_npy(rows: ShardDataset, folder: Path) -> None:
    """One array of such dictionaries, pickled by numpy: what every version reads, as a whole."""
    table: NDArray[Any] = np.empty(len(rows), object)
    for number, packed in enumerate(_packs(rows)):
        # Arrays, not lists: the reader concatenates slices of them, and they take a tenth of the
        # memory. Only the starts have to be a list, to which it adds the end.
        table[number] = packed
    np.save(folder / f"{_NAME}.npy", table, allow_pickle=True)
    _write_metadata(rows, folder)


def write_parquet(rows: ShardDataset, folder: Path) -> None:
    """Parquet, which is read by row groups."""
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise ConfigError("parquet needs pyarrow", hint="pip install pyarrow") from error
    types = {"input_ids": pa.int32(), "loss_mask": pa.int8(), "seq_start_id": pa.int32()}
    schema = pa.schema([(name, pa.list_(each)) for name, each in types.items()])
    block: list[dict[str, Any]] = []
    with parquet.ParquetWriter(folder / f"{_NAME}.idx.parquet", schema) as writer:

        def flush() -> None:
            columns = [
                [np.asarray(packed[name], types[name].to_pandas_dtype()) for packed in block]
                for name in types
            ]
            writer.write_table(pa.table(columns, schema=schema))
            block.clear()

        for packed in _packs(rows):
            block.append(packed)
            if len(block) == _PARQUET_ROWS:
                flush()
        if block:
            flush()
    _write_metadata(rows, folder)


def _packs(rows: ShardDataset) -> Iterator[dict[str, Any]]:
    eos = rows.manifest["tokenizer"]["special_ids"].get("eos_token")
    for number, row in enumerate(rows):
        yield pack(row, eos, number)


def _write_metadata(rows: ShardDataset, folder: Path) -> None:
    """What it wants to know where `cu_seqlens` are padded; lengths are those of the inputs."""
    inputs = [row["seq_lengths"].astype(np.int64) - 1 for row in rows]
    sums = [int(lengths.sum()) for lengths in inputs]
    documents = sum(len(lengths) for lengths in inputs)
    size = rows.max_len
    facts = {
        "dataset_max_seqlen": max((int(lengths.max()) for lengths in inputs), default=0),
        "max_samples_per_bin": max((len(lengths) for lengths in inputs), default=0),
        "packing_factor": round(documents / max(len(inputs), 1), 2),
        "packing_efficiency": round(100 * sum(sums) / max(len(inputs) * size, 1), 2),
        "pack_size": size,
        "min_packed_seqlen": min(sums, default=0),
    }
    (folder / f"{_NAME}_metadata.json").write_text(json.dumps([facts]) + "\n", encoding="utf-8")
