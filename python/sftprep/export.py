"""A packed dataset in the layouts of other trainers, row by row and without tokenizing.

Each layout says the same of every token: its id, whether it is trained, and where its document
begins. What a layout cannot say (loss weights) is refused, not left out.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from sftprep import export_megatron
from sftprep.dataset import ShardDataset
from sftprep.errors import ConfigError, OutputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Layout = Literal[
    "hf",
    "parquet",
    "olmo-npy",
    "megatron-bridge",
    "megatron-bridge-parquet",
    "megatron-bridge-npy",
]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)

_IGNORE = -100
_PARQUET_ROWS = 512
# A file of OLMo-core's numpy datasets is read whole into one array of offsets.
_OLMO_TOKENS = 1 << 30


def export(source: str | os.PathLike[str], out: str | os.PathLike[str], to: Layout) -> list[Path]:
    """Writes a dataset in another layout.

    Args:
        source: Folder of the dataset.
        out: New folder.
        to: ``hf`` (a folder for ``datasets.load_from_disk``, without what sftprep adds),
            ``parquet`` (the same columns), ``olmo-npy`` (flat ``token_ids_part_*.npy``,
            ``labels_mask_part_*.npy`` and the borders of documents), or ``megatron-bridge``
            (``train.sft.bin`` and ``.idx``), ``megatron-bridge-parquet`` (``train.idx.parquet``)
            and ``megatron-bridge-npy`` (``train.npy``), each with ``train_metadata.json``.

    Returns:
        The files written.

    Raises:
        ConfigError: if the layout cannot hold the dataset, or is not known.
        OutputError: if the output exists or cannot be written.
        ShardError: if the source is not whole.
    """
    rows = ShardDataset(source)
    if to not in LAYOUTS:
        raise ConfigError(f"there is no layout {to!r}; known: {', '.join(LAYOUTS)}", field="to")
    folder = Path(out)
    if folder.exists():
        raise OutputError("the output exists", code="output.exists", path=str(folder))
    if to not in {"hf", "parquet"}:
        _refuse_weights(rows)
    if to == "olmo-npy":
        _refuse_other_ends(rows)
    # Under another name until it is whole: half an export does not look like one.
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        _WRITERS[to](rows, partial)
        for path in partial.iterdir():
            _sync(path)
        partial.rename(folder)
        _sync(folder.parent)
    except OSError as error:
        raise OutputError(str(error), path=str(folder)) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return sorted(folder.iterdir())


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _refuse_weights(rows: ShardDataset) -> None:
    for row in range(len(rows)):
        weights = rows.weights(row)
        if weights is None or (weights[rows[row]["labels"] != _IGNORE] == 1).all():
            continue
        for document in rows.documents(row):
            if any(span.trained and span.weight not in {0.0, 1.0} for span in document.spans):
                raise ConfigError(
                    f"{document.source}:{document.line} has loss weights, which this layout "
                    "cannot hold",
                    hint="export to hf or parquet, or pack rows without weights",
                )


def _refuse_other_ends(rows: ShardDataset) -> None:
    """OLMo-core finds documents by their eos token: it has to end each and stand nowhere else."""
    eos = rows.manifest["tokenizer"]["special_ids"].get("eos_token")
    for number, row in enumerate(rows):
        ends = np.cumsum(row["seq_lengths"]) - 1
        if not np.array_equal(np.flatnonzero(row["input_ids"] == eos), ends):
            raise ConfigError(
                f"row {number} has documents that do not end with the eos token {eos}, or hold "
                "it elsewhere; OLMo-core tells documents apart by that token",
                hint="export to hf or parquet, or use a template that ends with eos alone",
            )


def _hf(rows: ShardDataset, folder: Path) -> None:
    names = [file["name"] for file in rows.manifest["files"] if file["kind"] == "data"]
    for name in [*names, "state.json", "dataset_info.json"]:
        shutil.copyfile(rows.path / name, folder / name)


def _parquet(rows: ShardDataset, folder: Path) -> None:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise ConfigError("parquet needs pyarrow", hint="pip install pyarrow") from error
    item = pa.list_(pa.field("item", pa.int32()))
    schema = pa.schema([(name, item) for name in ("input_ids", "labels", "seq_lengths")])
    with parquet.ParquetWriter(folder / "train.parquet", schema, compression="zstd") as writer:
        for start in range(0, len(rows), _PARQUET_ROWS):
            last = min(start + _PARQUET_ROWS, len(rows))
            block: list[Any] = [rows[row] for row in range(start, last)]
            columns = [[row[name] for row in block] for name in schema.names]
            writer.write_table(pa.table(columns, schema=schema))


def _olmo(rows: ShardDataset, folder: Path) -> None:
    """Raw arrays without a header, as OLMo-core maps them; documents follow one another."""
    dtype = np.uint16 if rows.manifest["tokenizer"]["vocab_size"] <= 1 << 16 else np.uint32
    for part, block in enumerate(_blocks(rows)):
        ids: NDArray[Any] = np.concatenate([row["input_ids"] for row in block])
        labels = np.concatenate([row["labels"] for row in block])
        lengths = np.concatenate([row["seq_lengths"] for row in block])
        ids.astype(dtype).tofile(folder / f"token_ids_part_{part:04}.npy")
        (labels != _IGNORE).tofile(folder / f"labels_mask_part_{part:04}.npy")
        ends = np.cumsum(lengths, dtype=np.int64)
        borders = np.stack([ends - lengths, ends], axis=1)
        np.savetxt(folder / f"token_ids_part_{part:04}.csv.gz", borders, fmt="%d", delimiter=",")


def _blocks(rows: ShardDataset) -> Iterator[list[Any]]:
    block: list[Any] = []
    tokens = 0
    for row in rows:
        block.append(row)
        tokens += len(row["input_ids"])
        if tokens >= _OLMO_TOKENS:
            yield block
            block, tokens = [], 0
    if block:
        yield block


_WRITERS = {
    "hf": _hf,
    "parquet": _parquet,
    "olmo-npy": _olmo,
    "megatron-bridge": export_megatron.write_indexed,
    "megatron-bridge-parquet": export_megatron.write_parquet,
    "megatron-bridge-npy": export_megatron.write_npy,
}
