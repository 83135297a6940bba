"""Exports say of every token what the dataset says."""

from __future__ import annotations

import json
import pickle
import struct
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sftprep
from sftprep.errors import ConfigError, OutputError
from sftprep.export import export


@pytest.fixture(scope="module")
def rows(packed: Path) -> list[dict[str, list[int]]]:
    """What has to come out."""
    dataset = sftprep.ShardDataset(packed)
    return [{name: values.tolist() for name, values in row.items()} for row in dataset]


def test_hf(packed: Path, rows: list[Any], tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    export(packed, tmp_path / "out", "hf")
    loaded = datasets.load_from_disk(str(tmp_path / "out")).with_format(None)
    assert list(loaded) == rows
    assert not list((tmp_path / "out").glob("spans*"))


def test_parquet(packed: Path, rows: list[Any], tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    export(packed, tmp_path / "out", "parquet")
    assert parquet.read_table(tmp_path / "out" / "train.parquet").to_pylist() == rows


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory, tokenizer_dir: Path) -> Path:
    """Documents that end with the eos token and hold it nowhere else."""
    folder = tmp_path_factory.mktemp("texts")
    lines = (json.dumps({"prompt": f"{i} and {i}?", "completion": f"{2 * i}."}) for i in range(99))
    (folder / "rows.jsonl").write_text("".join(f"{line}\n" for line in lines))
    sftprep.pack(folder / "rows.jsonl", out=folder / "out", tokenizer=tokenizer_dir, max_len=64)
    return folder / "out"


def test_olmo_npy(texts: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    rows = [{name: it.tolist() for name, it in row.items()} for row in sftprep.ShardDataset(texts)]
    export(texts, out, "olmo-npy")
    ids = np.fromfile(out / "token_ids_part_0000.npy", np.uint16)
    assert ids.tolist() == [token for row in rows for token in row["input_ids"]]
    mask = np.fromfile(out / "labels_mask_part_0000.npy", np.bool_)
    assert mask.tolist() == [label != -100 for row in rows for label in row["labels"]]
    borders = np.loadtxt(out / "token_ids_part_0000.csv.gz", np.int64, delimiter=",")
    lengths = [length for row in rows for length in row["seq_lengths"]]
    assert (borders[:, 1] - borders[:, 0]).tolist() == lengths
    assert borders[0, 0] == 0
    assert (borders[1:, 0] == borders[:-1, 1]).all()


def megatron_rows(folder: Path, layout: str) -> list[dict[str, Any]]:
    """Rows as Megatron-Bridge loads them, by what it says of each container."""
    if layout == "megatron-bridge-parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
        loaded: list[dict[str, Any]] = parquet.read_table(folder / "train.idx.parquet").to_pylist()
        return loaded
    if layout == "megatron-bridge-npy":
        allowed = {"_reconstruct", "ndarray", "dtype", "scalar"}

        class Restricted(pickle.Unpickler):
            def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401
                assert module.startswith("numpy"), module
                assert name in allowed, name
                return super().find_class(module, name)

        with (folder / "train.npy").open("rb") as file:
            np.lib.format.read_magic(file)
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            assert dtype.hasobject
            table = Restricted(file).load()
        assert table.shape == shape
        return list(table)
    index = (folder / "train.sft.idx").read_bytes()
    assert index[:9] == b"MMIDIDX\0\0"
    version, code, count, documents = struct.unpack("<QBQQ", index[9:34])
    assert (version, code, documents) == (1, 4, count + 1)
    lengths = np.frombuffer(index, "<i4", count, 34)
    pointers = np.frombuffer(index, "<i8", count, 34 + 4 * count)
    assert len(index) == 34 + 12 * count + 8 * documents
    data = (folder / "train.sft.bin").read_bytes()
    assert pointers[-1] + 4 * lengths[-1] == len(data)
    rows = []
    for length, pointer in zip(lengths.tolist(), pointers.tolist(), strict=True):
        item = np.frombuffer(data, "<i4", length, pointer)
        assert (item[0], item[1]) == (0x53465442, 1)
        words = item[3 + item[2] :].view(np.uint32)
        rows.append(
            {
                "input_ids": (words & 0x7FFFFFFF).astype(np.int64),
                "loss_mask": words >> 31,
                "seq_start_id": item[3 : 3 + item[2]].tolist(),
            }
        )
    return rows


@pytest.mark.parametrize(
    "layout", ["megatron-bridge", "megatron-bridge-parquet", "megatron-bridge-npy"]
)
def test_megatron_bridge(packed: Path, rows: list[Any], tmp_path: Path, layout: str) -> None:
    """Inputs, targets and what is trained are those of the shards, in each document."""
    out = tmp_path / "out"
    export(packed, out, layout)  # type: ignore[arg-type]
    loaded = megatron_rows(out, layout)
    assert len(loaded) == len(rows)
    longest = trained = 0
    for theirs, ours in zip(loaded, rows, strict=True):
        assert list(theirs["input_ids"]) == ours["input_ids"]
        borders = theirs["seq_start_id"] + [len(ours["input_ids"])]
        assert np.diff(borders).tolist() == ours["seq_lengths"]
        for start, end in pairwise(borders):
            # inputs are tokens start..end-1, targets those after them, masks those of the inputs
            mask = [bool(each) for each in theirs["loss_mask"][start : end - 1]]
            assert mask == [label != -100 for label in ours["labels"][start + 1 : end]]
            assert not theirs["loss_mask"][end - 1]
            trained += sum(mask)
            longest = max(longest, end - start - 1)
    assert trained == sum(label != -100 for row in rows for label in row["labels"])
    (facts,) = json.loads((out / "train_metadata.json").read_text())
    assert facts["pack_size"] == 512
    assert facts["dataset_max_seqlen"] == longest
    assert facts["max_samples_per_bin"] == max(len(row["seq_lengths"]) for row in rows)
    sums = [len(row["input_ids"]) - len(row["seq_lengths"]) for row in rows]
    assert facts["min_packed_seqlen"] == min(sums)


def test_megatron_bridge_refuses_what_it_would_not_train(
    tmp_path: Path, tokenizer_dir: Path
) -> None:
    eos = sftprep.Tokenizer.from_file(tokenizer_dir).token_to_id("<|im_end|>")
    row = {"input_ids": [5, eos, 6, 7], "labels": [-100, eos, 6, 7]}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    sftprep.pack(tmp_path / "rows.jsonl", out=tmp_path / "packs", tokenizer=tokenizer_dir)
    with pytest.raises(ConfigError, match="token 2 of row 0 is trained and comes after the eos"):
        export(tmp_path / "packs", tmp_path / "out", "megatron-bridge")
    assert not (tmp_path / "out").exists()


def test_the_command_knows_every_layout() -> None:
    from sftprep.cli.export import _LAYOUTS
    from sftprep.export import LAYOUTS

    assert _LAYOUTS == LAYOUTS


def test_what_a_layout_cannot_hold_is_refused(
    packed: Path, tmp_path: Path, tokenizer_dir: Path
) -> None:
    with pytest.raises(OutputError):
        export(packed, tmp_path, "hf")
    with pytest.raises(ConfigError, match="no layout"):
        export(packed, tmp_path / "out", "nonsense")  # type: ignore[arg-type]
    messages = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b", "weight": 0.5},
    ]
    (tmp_path / "rows.jsonl").write_text(json.dumps({"messages": messages}) + "\n")
    sftprep.pack(tmp_path / "rows.jsonl", out=tmp_path / "weighted", tokenizer=tokenizer_dir)
    for layout in ("olmo-npy", "megatron-bridge"):
        with pytest.raises(ConfigError, match="loss weights"):
            export(tmp_path / "weighted", tmp_path / "out", layout)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="do not end with the eos token"):
        export(packed, tmp_path / "out", "olmo-npy")
    assert not (tmp_path / "out").exists()
    export(tmp_path / "weighted", tmp_path / "out", "hf")


def test_the_command(texts: Path, tmp_path: Path, sftprep: Any) -> None:  # noqa: ANN401
    done = sftprep("export", texts, "--to", "olmo-npy", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "token_ids_part_0000.npy" in done.stdout
