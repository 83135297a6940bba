"""A mixture of finished datasets has the bytes that packing the drawn rows would have given."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from conftest import conversation
from test_tasks import contents

import sftprep
from sftprep import _core
from sftprep.errors import ConfigError, OutputError, ShardError


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Rows of two inputs, some bad."""
    folder = tmp_path_factory.mktemp("inputs")
    paths = {}
    for name, first, count in (("one", 0, 150), ("two", 1000, 80)):
        lines = [json.dumps(conversation(first + i, 1 + i % 4)) for i in range(count)]
        lines[7] = '{"messages": [{"role": "user", "content": "only a question"}]}'
        lines.append("{bad")
        paths[name] = folder / f"{name}.jsonl"
        paths[name].write_text("".join(f"{line}\n" for line in lines))
    return paths


def options(tokenizer_dir: Path, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - any option
    """Options of the datasets."""
    return {"tokenizer": tokenizer_dir, "max_len": 512, "shard_bytes": 64 << 10, **more}


@pytest.fixture(scope="module")
def parts(
    rows: dict[str, Path], tokenizer_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Both, packed."""
    folder = tmp_path_factory.mktemp("parts")
    for name, path in rows.items():
        sftprep.pack({name: path}, out=folder / name, **options(tokenizer_dir))
    return {name: folder / name for name in rows}


def trained(folder: Path) -> int:
    """Trained tokens of a dataset."""
    return int(json.loads(_core.read_manifest(folder))["totals"]["trained"])


def ledger(folder: Path) -> list[dict[str, Any]]:
    with pa.memory_map(str(folder / "ledger.arrow")) as file:
        return pa.ipc.open_stream(file).read_all().to_pylist()


def drawn_lines(mixed: Path, source: int) -> list[int]:
    rows = (row for row in ledger(mixed) if row["source"] == source)
    return [row["line"] for row in rows if row["decision"] == "packed"]


def test_a_mixture_of_everything_is_packed_as_the_inputs_together(
    rows: dict[str, Path], parts: dict[str, Path], tokenizer_dir: Path, tmp_path: Path
) -> None:
    fresh = sftprep.pack(rows, out=tmp_path / "fresh", **options(tokenizer_dir))
    shares = {folder: trained(folder) for folder in parts.values()}
    mixed = sftprep.mix_shards(shares, tmp_path / "mixed", threads=2)
    assert mixed.content_id == fresh.content_id
    assert (mixed.totals, mixed.sequences) == (fresh.totals, fresh.sequences)
    want, seen = contents(tmp_path / "fresh"), contents(tmp_path / "mixed")
    assert {name for name in want if want[name] != seen.get(name)} == {"sftprep.manifest.json"}
    assert [part["rows_drawn"] == part["rows"] for part in mixed.mix] == [True, True]


@pytest.mark.parametrize(
    "change",
    [{}, {"seed": 5}, {"max_len": 700, "balance": 4}, {"trained_tokens": 3000}],
    ids=str,
)
def test_a_mixture_is_what_packing_its_rows_would_give(
    rows: dict[str, Path],
    parts: dict[str, Path],
    tokenizer_dir: Path,
    tmp_path: Path,
    change: dict[str, Any],
) -> None:
    shares = {parts["one"]: 0.3, parts["two"]: 0.7}
    mixed = sftprep.mix_shards(shares, tmp_path / "mixed", **change)
    sftprep.mix_shards(shares, tmp_path / "again", threads=1, **change)
    assert contents(tmp_path / "mixed") == contents(tmp_path / "again")
    assert _core.verify(tmp_path / "mixed")
    # every row of both is in the ledger, and nothing else
    entries = ledger(tmp_path / "mixed")
    assert len(entries) == 151 + 81
    assert mixed.totals.dropped["mix.not_drawn"] > 20
    totals = mixed.totals
    left_out = sum(totals.rejected.values()) + sum(totals.dropped.values())
    assert totals.rows == totals.packed + left_out == 151 + 81
    # the shares are what was asked for, to half a row
    tokens = [source.totals.trained for source in mixed.sources]
    longest = max(entry["trained_tokens"] for entry in entries)
    wanted = change.get("trained_tokens", sum(tokens))
    assert abs(tokens[0] - 0.3 * wanted) <= longest
    assert abs(tokens[1] - 0.7 * wanted) <= longest
    # a fresh pack of just those rows
    picked = {}
    for source, (name, path) in enumerate(rows.items()):
        lines = path.read_text().splitlines()
        kept = [lines[line - 1] for line in drawn_lines(tmp_path / "mixed", source)]
        picked[name] = tmp_path / f"{name}.jsonl"
        picked[name].write_text("".join(f"{line}\n" for line in kept))
    given = {key: value for key, value in change.items() if key != "trained_tokens"}
    sftprep.pack(picked, out=tmp_path / "fresh", **{**options(tokenizer_dir), **given})
    fresh, seen = contents(tmp_path / "fresh"), contents(tmp_path / "mixed")
    data = [name for name in fresh if name.startswith("data-")]
    assert data
    assert all(fresh[name] == seen[name] for name in data)
    assert sum(name.startswith("data-") for name in seen) == len(data)


def test_more_tokens_are_the_same_rows_and_others(parts: dict[str, Path], tmp_path: Path) -> None:
    shares = {parts["one"]: 1, parts["two"]: 1}
    for tokens in (1000, 3000):
        sftprep.mix_shards(shares, tmp_path / str(tokens), trained_tokens=tokens)
    for source in (0, 1):
        few, many = (set(drawn_lines(tmp_path / str(tokens), source)) for tokens in (1000, 3000))
        assert few < many


def test_a_mixture_is_a_dataset_like_any_other(parts: dict[str, Path], tmp_path: Path) -> None:
    sftprep.mix_shards({parts["one"]: 1, parts["two"]: 1}, tmp_path / "mixed")
    sftprep.repack(tmp_path / "mixed", tmp_path / "again", seed=3)
    sftprep.repack(tmp_path / "again", tmp_path / "back", seed=0)
    assert contents(tmp_path / "back") == contents(tmp_path / "mixed")


def test_clashing_names_get_the_folder_in_front(
    rows: dict[str, Path], tokenizer_dir: Path, tmp_path: Path
) -> None:
    for name, path in rows.items():
        sftprep.pack({"data": path}, out=tmp_path / name, **options(tokenizer_dir))
    report = sftprep.mix_shards({tmp_path / name: 1 for name in rows}, tmp_path / "mixed")
    assert [source.name for source in report.sources] == ["one:data", "two:data"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"tokenizer": "builtin", "chat_template": "chatml"}, "tokenizer.files"),
        ({"chat_template": "vicuna"}, "template.blake3"),
        ({"template_kwargs": {"a": 1}}, "template.kwargs"),
        ({"stop": "last"}, "label.stop"),
        ({"max_len": 600}, "pack.max_len"),
    ],
    ids=str,
)
def test_what_does_not_go_together_is_refused(
    rows: dict[str, Path],
    parts: dict[str, Path],
    tokenizer_dir: Path,
    tmp_path: Path,
    change: dict[str, Any],
    field: str,
) -> None:
    sftprep.pack({"two": rows["two"]}, out=tmp_path / "two", **options(tokenizer_dir) | change)
    shares = {parts["one"]: 1, tmp_path / "two": 1}
    with pytest.raises(ConfigError) as caught:
        sftprep.mix_shards(shares, tmp_path / "mixed")
    assert caught.value.field is not None
    assert caught.value.field.startswith(field)
    assert not (tmp_path / "mixed").exists()
    if field == "pack.max_len":
        assert "--max-len" in str(caught.value)
        assert sftprep.mix_shards(shares, tmp_path / "mixed", max_len=600).max_len == 600


def test_wrong_requests_are_refused(parts: dict[str, Path], tmp_path: Path) -> None:
    one, two = parts.values()
    with pytest.raises(ConfigError, match=r"only .* trained tokens: .* in all"):
        sftprep.mix_shards({one: 1, two: 1}, tmp_path / "out", trained_tokens=10**9)
    for share in (0, -1, float("inf")):
        with pytest.raises(ConfigError):
            sftprep.mix_shards({one: 1, two: share}, tmp_path / "out")
    with pytest.raises(ConfigError, match="nothing to mix"):
        sftprep.mix_shards({}, tmp_path / "out")
    with pytest.raises(ConfigError, match="no trained token of"):
        sftprep.mix_shards({one: 1, two: 1e-6}, tmp_path / "out")
    with pytest.raises(ShardError):
        sftprep.mix_shards({one: 1, tmp_path: 1}, tmp_path / "out")
    with pytest.raises(OutputError):
        sftprep.mix_shards({one: 1, two: 1}, one)
    assert not (tmp_path / "out").exists()


def test_the_command(parts: dict[str, Path], tmp_path: Path, sftprep: Callable[..., Any]) -> None:
    given = [f"{parts['one']}=0.3", f"{parts['two']}=0.7"]
    done = sftprep("mix-shards", *given, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "% of all" in done.stdout
    assert f"wrote {tmp_path / 'out'}" in done.stdout
    assert sftprep("mix-shards", parts["one"], "--out", tmp_path / "no").returncode == 2
    assert sftprep("mix-shards", given[0], given[0], "--out", tmp_path / "no").returncode == 2
