"""``sftprep dedup --method rouge-l``: the keep-list of Alpaca's rule."""

from __future__ import annotations

import gzip
import importlib.util
import json
import os
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import trees as reference
from reference.data import everything

import sftprep
from sftprep import cli

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("SFTPREP_TEST_DATA", ROOT.parent / "shared" / "data"))
Json = Any
WORDS = st.sampled_from(["a", "b", "c", "d", "e", "f", "I", "II", "K", "É", "x1", "2"])


def write(path: Path, texts: list[str]) -> Path:
    rows = [{"prompt": text, "completion": "x"} for text in texts]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def kept(path: Path, out: Path, **options: Any) -> tuple[list[int], list[Json]]:  # noqa: ANN401
    given: dict[str, Any] = {"method": "rouge-l", "field": "prompt", "overwrite": True, **options}
    report = sftprep.dedup(path, out=out, **given)
    assert report.method == "rouge-l"
    with pa.ipc.open_file(report.ledger) as reader:
        ledger = reader.read_all().to_pylist()
    return [row["row"] - 1 for row in ledger if row["decision"] == "kept"], ledger


def instructions(count: int) -> list[str]:
    """Instructions of Alpaca, every thirteenth again with words changed, so that something goes."""
    path = DATA / "quality" / "alpaca" / "alpaca_data.jsonl.gz"
    if not path.is_file():
        if os.environ.get("SFTPREP_REQUIRE_DATA") == "1":
            pytest.fail(f"{path} is not there")
        pytest.skip(f"{path} is not there")
    found: list[str] = []
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            text = json.loads(line)["instruction"]
            found.append(text)
            if number % 13 == 0:
                parts = text.split()
                changed = parts[: 1 + len(parts) * 3 // 4] + ["please"] * (number % 3)
                found.append(" ".join(changed))
            if len(found) >= count:
                return found[:count]
    return found


def test_real_instructions_are_kept_as_by_the_table(tmp_path: Path) -> None:
    texts = instructions(2000 if everything() else 500)
    path = write(tmp_path / "rows.jsonl", texts)
    start = time.process_time()
    mine, ledger = kept(path, tmp_path / "out.jsonl")
    seconds = time.process_time() - start
    theirs = reference.novel(texts, 0.7)
    assert mine == theirs
    assert 0.01 < 1 - len(mine) / len(texts) < 0.15
    dropped = [row for row in ledger if row["decision"] == "dropped"]
    for row in dropped:
        own, partner = texts[row["row"] - 1], texts[row["partner_row"] - 1]
        assert row["partner_row"] - 1 in set(mine)
        assert row["code"] == "quality.rouge_l"
        assert row["score"] == reference.rouge_l(reference.words(own), reference.words(partner))
        assert row["score"] > 0.7
    assert seconds < 5


@pytest.mark.skipif(importlib.util.find_spec("rouge_score") is None, reason="no rouge_score")
def test_the_package_says_the_same(tmp_path: Path) -> None:
    from rouge_score import rouge_scorer  # type: ignore[import-not-found]

    texts = instructions(600)
    scorer = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False)
    stay: list[int] = []
    for at, text in enumerate(texts):
        scores = [scorer.score(text, texts[other])["rougeL"].fmeasure for other in stay]
        if max(scores, default=0.0) <= 0.7:
            stay.append(at)
    assert kept(write(tmp_path / "rows.jsonl", texts), tmp_path / "out.jsonl")[0] == stay


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(
        st.lists(
            WORDS,
            max_size=9,
        ).map(" ".join),
        min_size=1,
        max_size=25,
    ),
    threshold=st.sampled_from([0.0, 0.25, 0.5, 0.7, 0.8, 1.0]),
)
def test_any_texts_are_kept_as_by_the_table(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], threshold: float
) -> None:
    folder = tmp_path_factory.mktemp("rouge")
    found, _ = kept(write(folder / "rows.jsonl", texts), folder / "o.jsonl", threshold=threshold)
    assert found == reference.novel(texts, threshold)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"keep": "longest"}, "keep"),
        ({"exact_only": True}, "exact_only"),
        ({"threshold": 2}, "threshold"),
    ],
)
def test_what_goes_ill_with_it_is_refused(
    tmp_path: Path, options: dict[str, Any], field: str
) -> None:
    path = write(tmp_path / "rows.jsonl", ["one"])
    with pytest.raises(sftprep.ConfigError) as caught:
        sftprep.dedup(path, dry_run=True, method="rouge-l", **options)
    assert caught.value.field == field


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = ["Name three large cities", "name three LARGE cities!", "Write a poem"]
    path = write(tmp_path / "rows.jsonl", texts)
    assert cli.main(["dedup", str(path), "--method", "rouge-l", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "quality.rouge_l" in out
    assert "search rouge-l" in out
