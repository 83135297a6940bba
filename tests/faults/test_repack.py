"""A dataset that is packed again has the bytes that packing its inputs again would have given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import conversation
from test_tasks import contents

import sftprep
from sftprep import _core
from sftprep.errors import ConfigError, OutputError, ShardError

CHANGES: list[dict[str, Any]] = [
    {},
    {"max_len": 700},
    {"max_len": 8192, "seed": 3},
    {"max_len": 60, "overlong": "drop"},
    {"max_len": 60, "overlong": "truncate"},
    {"strategy": "sequential"},
    {"strategy": "first_fit", "shard_bytes": 16 << 10},
    {"strategy": "none"},
    {"balance": 4, "max_len": 600},
    {"strategy": "wrapped", "max_len": 333},
    {"strategy": "bfd_split", "max_len": 50},
]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Rows of two inputs, some bad, some with weights of their own."""
    import json

    folder = tmp_path_factory.mktemp("inputs")
    rows: list[Any] = [conversation(index, 1 + index % 4) for index in range(200)]
    rows[7] = {"messages": [{"role": "user", "content": "only a question"}]}
    rows[9]["messages"][2]["weight"] = 0
    rows[50] = {"text": "not like the others"}
    paths = {}
    for name, part in (("one", rows[:120]), ("two", rows[120:])):
        paths[name] = folder / f"{name}.jsonl"
        paths[name].write_text("".join(f"{json.dumps(row)}\n" for row in part) + "{bad\n")
    return paths


@pytest.fixture(scope="module")
def source(
    inputs: dict[str, Path], tokenizer_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A dataset that lost nothing to its length."""
    out = tmp_path_factory.mktemp("source") / "out"
    sftprep.pack(inputs, out=out, **options(tokenizer_dir))
    return out


def options(tokenizer_dir: Path) -> dict[str, Any]:
    """Options of the source."""
    return {"tokenizer": tokenizer_dir, "max_len": 512, "shard_bytes": 64 << 10}


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_packed_again_is_packed_anew(
    source: Path,
    inputs: dict[str, Path],
    tokenizer_dir: Path,
    tmp_path: Path,
    change: dict[str, Any],
) -> None:
    fresh = sftprep.pack(inputs, out=tmp_path / "fresh", **{**options(tokenizer_dir), **change})
    again = sftprep.repack(source, tmp_path / "again", threads=2, **change)
    assert contents(tmp_path / "again") == contents(tmp_path / "fresh")
    assert (again.totals, again.sequences, again.shards) == (
        fresh.totals,
        fresh.sequences,
        fresh.shards,
    )
    assert again.max_len == fresh.max_len
    assert [it.format for it in again.sources] == [it.format for it in fresh.sources]


def test_repacking_again_and_again_loses_nothing(source: Path, tmp_path: Path) -> None:
    sftprep.repack(source, tmp_path / "a", strategy="none", max_len=900)
    sftprep.repack(tmp_path / "a", tmp_path / "b", strategy="bfd", max_len=512)
    assert contents(tmp_path / "b") == contents(source)


def test_a_source_that_lost_something_is_refused(
    inputs: dict[str, Path], tokenizer_dir: Path, tmp_path: Path
) -> None:
    given = {**options(tokenizer_dir), "max_len": 80}
    for overlong in ("drop", "truncate"):
        lossy = tmp_path / overlong
        sftprep.pack(inputs, out=lossy, overlong=overlong, **given)
        with pytest.raises(ConfigError) as caught:
            sftprep.repack(lossy, tmp_path / "out", max_len=512)
        assert "lost tokens of" in caught.value.message
        assert "one:" in caught.value.message
        assert not (tmp_path / "out").exists()
        report = sftprep.repack(lossy, tmp_path / f"{overlong}-out", max_len=512, allow_lost=True)
        assert any("lost tokens" in warning for warning in report.warnings)
        assert _core.verify(tmp_path / f"{overlong}-out")
    # what was dropped for its length is dropped again where less fits
    sftprep.repack(tmp_path / "drop", tmp_path / "less", max_len=70)
    sftprep.pack(inputs, out=tmp_path / "fresh", overlong="drop", **{**given, "max_len": 70})
    assert contents(tmp_path / "less") == contents(tmp_path / "fresh")


def test_windows_are_kept_or_refused(
    inputs: dict[str, Path], source: Path, tokenizer_dir: Path, tmp_path: Path
) -> None:
    given = {**options(tokenizer_dir), "max_len": 80}
    windows = sftprep.pack(inputs, out=tmp_path / "windows", **given)
    assert windows.windows > windows.window_rows > 0
    again = sftprep.repack(tmp_path / "windows", tmp_path / "again", strategy="first_fit", seed=4)
    sftprep.pack(inputs, out=tmp_path / "fresh", strategy="first_fit", seed=4, **given)
    assert contents(tmp_path / "again") == contents(tmp_path / "fresh")
    assert (again.windows, again.window_rows) == (windows.windows, windows.window_rows)
    # other windows are rendered, which takes the inputs
    for where, change in (("windows", 512), ("windows", 70), ("source", 80)):
        folder = source if where == "source" else tmp_path / where
        with pytest.raises(ConfigError, match=r"may come out otherwise"):
            sftprep.repack(folder, tmp_path / "out", max_len=change)
        assert not (tmp_path / "out").exists()
    report = sftprep.repack(tmp_path / "windows", tmp_path / "lost", max_len=70, allow_lost=True)
    assert report.totals.dropped_tokens["pack.overlong"] > 0
    assert _core.verify(tmp_path / "lost")


def test_rows_without_messages_are_sliced_again(tokenizer_dir: Path, tmp_path: Path) -> None:
    import json

    rows = [{"text": f"{index} is a number " * (1 + index % 30)} for index in range(60)]
    source = tmp_path / "rows.jsonl"
    source.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    given = options(tokenizer_dir)
    sftprep.pack(source, out=tmp_path / "whole", **given)
    fresh = sftprep.pack(source, out=tmp_path / "fresh", **{**given, "max_len": 40})
    again = sftprep.repack(tmp_path / "whole", tmp_path / "again", max_len=40)
    assert contents(tmp_path / "again") == contents(tmp_path / "fresh")
    assert again.windows == fresh.windows > 60


def test_a_source_that_cut_documents_is_refused(
    inputs: dict[str, Path], tokenizer_dir: Path, tmp_path: Path
) -> None:
    given = {**options(tokenizer_dir), "max_len": 80, "strategy": "bfd_split"}
    sftprep.pack(inputs, out=tmp_path / "cut", **given)
    with pytest.raises(ConfigError, match="piece of a document"):
        sftprep.repack(tmp_path / "cut", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_is_no_dataset_is_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ShardError):
        sftprep.repack(tmp_path, tmp_path / "out")
    with pytest.raises(OutputError):
        sftprep.repack(source, source)
    with pytest.raises(ConfigError):
        sftprep.repack(source, tmp_path / "out", max_len=1)


def test_the_command(source: Path, tmp_path: Path, sftprep: Callable[..., Any]) -> None:
    done = sftprep("repack", source, "--max-len", 700, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert f"wrote {tmp_path / 'out'}" in done.stdout
