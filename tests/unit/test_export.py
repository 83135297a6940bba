"""Exports say of every token what the dataset says."""

from __future__ import annotations

import json
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
    with pytest.raises(ConfigError, match="loss weights"):
        export(tmp_path / "weighted", tmp_path / "out", "olmo-npy")
    with pytest.raises(ConfigError, match="do not end with the eos token"):
        export(packed, tmp_path / "out", "olmo-npy")
    assert not (tmp_path / "out").exists()
    export(tmp_path / "weighted", tmp_path / "out", "hf")


def test_the_command(texts: Path, tmp_path: Path, sftprep: Any) -> None:  # noqa: ANN401
    done = sftprep("export", texts, "--to", "olmo-npy", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "token_ids_part_0000.npy" in done.stdout
