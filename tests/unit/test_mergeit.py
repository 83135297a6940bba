"""MergeIT: pairs within clusters, merged by a function that may fail."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sftprep
from sftprep.quality.mergeit import mergeit, pairs

Json = dict[str, Any]
TEXTS = ["Name a river.", "Name a lake.", "Add 2 and 3.", "Add 2 and 4.", "Sing!", "Name a sea."]
VECTORS = np.array([[1, 0], [1, 0.1], [0, 1], [0.1, 1], [-1, 0], [1, 0.2]], float)
CLUSTERS = [0, 0, 1, 1, 1, 0]


def write(path: Path) -> Path:
    rows = [{"instruction": text, "output": text.upper()} for text in TEXTS]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def joined(one: Json, other: Json) -> Json:
    return {name: f"{one[name]} And: {other[name]}" for name in one}


def ledger(report: sftprep.StageReport) -> list[Json]:
    with pa.ipc.open_file(report.ledger) as reader:
        rows: list[Json] = reader.read_all().to_pylist()
    return rows


def test_a_pair_becomes_one_row_and_the_ledger_names_both(tmp_path: Path) -> None:
    report = mergeit(
        write(tmp_path / "rows.jsonl"),
        out=tmp_path / "out.jsonl",
        embeddings=VECTORS,
        clusters=CLUSTERS,
        merge=joined,
        score=lambda row: len(row["output"]),
    )
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["instruction"] for row in lines] == [
        "Name a river. And: Name a lake.",
        "Add 2 and 3. And: Add 2 and 4.",
        "Sing!",
        "Name a sea.",
    ]
    assert (report.rows, report.kept, report.dropped) == (6, 4, {"quality.merged_away": 2})
    assert report.noted == {"quality.merged": 2}
    rows = ledger(report)
    assert [(row["code"], row["partner_row"]) for row in rows] == [
        ("quality.merged", 2),
        ("quality.merged_away", 1),
        ("quality.merged", 4),
        ("quality.merged_away", 3),
        (None, None),
        (None, None),
    ]
    assert "merged in try 1" in rows[0]["detail"]
    assert sftprep.why(tmp_path / "out.jsonl", 2)[0]["code"] == "quality.merged_away"


@pytest.mark.parametrize("failure", ["raises", "not better", "no object", "not JSON", "empty"])
def test_where_merging_fails_both_rows_stay(tmp_path: Path, failure: str) -> None:
    calls: list[tuple[str, str]] = []

    def merge(one: Json, other: Json) -> Any:  # noqa: ANN401 - a stub that misbehaves
        calls.append((one["instruction"], other["instruction"]))
        one["instruction"] = "changed in place"
        if failure == "raises":
            raise TimeoutError("no answer")
        return {
            "not better": {"instruction": "x", "output": ""},
            "no object": 5,
            "not JSON": {"instruction": float("nan")},
            "empty": {},
        }[failure]

    path = write(tmp_path / "rows.jsonl")
    report = mergeit(
        path,
        out=tmp_path / "out.jsonl",
        embeddings=VECTORS,
        clusters=CLUSTERS,
        merge=merge,
        score=lambda row: len(str(row.get("output", ""))),
    )
    assert calls == [(TEXTS[0], TEXTS[1])] * 3 + [(TEXTS[2], TEXTS[3])] * 3
    assert (tmp_path / "out.jsonl").read_text() == path.read_text()
    assert report.noted == {"quality.not_merged": 4}
    assert "not merged in 3 tries" in ledger(report)[0]["detail"]


def test_a_later_try_counts(tmp_path: Path) -> None:
    tries = itertools.count(1)

    def merge(one: Json, other: Json) -> Json:
        if next(tries) % 3:
            raise ValueError("not yet")
        return joined(one, other)

    given: Json = {"embeddings": VECTORS, "clusters": CLUSTERS, "merge": merge, "dry_run": True}
    path = write(tmp_path / "rows.jsonl")
    assert mergeit(path, **given).noted == {"quality.merged": 2}
    assert mergeit(path, tries=1, **given).noted == {"quality.not_merged": 4}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"embeddings": VECTORS[:3]}, "embeddings"),
        ({"embeddings": VECTORS[:, 0]}, "embeddings"),
        ({"embeddings": VECTORS * np.nan}, "embeddings"),
        ({"clusters": CLUSTERS[:3]}, "clusters"),
        ({"clusters": [0.5] * 6}, "clusters"),
        ({"tries": 0}, "tries"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, change: Json, field: str) -> None:
    given: Json = {"embeddings": VECTORS, "clusters": CLUSTERS, "merge": joined, "dry_run": True}
    with pytest.raises(sftprep.ConfigError) as caught:
        mergeit(write(tmp_path / "rows.jsonl"), **{**given, **change})
    assert caught.value.field == field


@settings(max_examples=80, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.integers(-4, 4), st.integers(-4, 4), st.integers(-1, 2)),
        min_size=1,
        max_size=14,
    ),
    threshold=st.sampled_from([-0.5, 0.0, 0.55, 0.9]),
)
def test_pairs_are_those_of_the_loop(rows: list[tuple[int, int, int]], threshold: float) -> None:
    """Group by group and row by row, as MergeIT's own loop takes them in groups of two."""
    used: set[int] = set()
    expected = []
    for i, (x, y, group) in enumerate(rows):
        for j in range(i + 1, len(rows)):
            if i in used or j in used or group < 0 or rows[j][2] != group:
                continue
            a, b = np.array([x, y], float), np.array(rows[j][:2], float)
            norms = [np.linalg.norm(it) or 1.0 for it in (a, b)]
            if float((a / norms[0]) @ (b / norms[1])) > threshold + 1e-12:
                expected.append((i, j))
                used |= {i, j}
    vectors = np.array([row[:2] for row in rows], float)
    close = np.array([row[2] for row in rows])
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-300)
    if np.isclose(unit @ unit.T, threshold).any():
        return  # rounding may decide such a pair either way
    assert pairs(vectors, close, threshold) == expected
