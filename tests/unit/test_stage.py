"""Stages that decide in Python: columns out, decisions back, nothing lost on the way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sftprep
from sftprep.quality.stage import REJECTED, UNFIT, USABLE, Stage


def chat(question: str, answer: str = "Yes.", **more: object) -> dict[str, Any]:
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"messages": messages, **more}


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def ledger(path: Path) -> list[dict[str, Any]]:
    with pa.ipc.open_file(path) as reader:
        rows: list[dict[str, Any]] = reader.read_all().to_pylist()
    return rows


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def test_columns_are_arrays_where_they_can_be(tmp_path: Path) -> None:
    rows = [
        chat("One?", "1", id=2**60 + 1, meta={"score": 1, "tags": ["a", "b"]}, v=[1, 2], ok=True),
        chat("Two?", "22", id="x", meta={"score": None, "tags": []}, v=[3, 4.5], ok=False),
        {"messages": [{"role": "narrator", "content": "?"}], "meta": {"score": 2.5}},
    ]
    path = tmp_path / "chat.jsonl"
    path.write_text("\n".join([*map(json.dumps, rows), "{broken"]), encoding="utf-8")
    stage = Stage(
        "look",
        {"here": path},
        columns=["meta.score", "meta.tags", "v", "ok", "messages.0.content", "no.where"],
        texts=["id", "nothing"],
        derived=["prompt_chars", "answer_chars", "answer_text", "turns", "row_hash", "json"],
        max_reject_rate=0.5,
    )
    assert len(stage) == 4
    assert stage.names == ["here"]
    assert stage.state.tolist() == [USABLE, USABLE, UNFIT, REJECTED]
    assert stage.line.tolist() == stage.row.tolist() == [1, 2, 3, 4]
    assert stage.source.tolist() == [0] * 4
    np.testing.assert_equal(stage["meta.score"], [1, np.nan, 2.5, np.nan])
    np.testing.assert_equal(stage["ok"], [1, 0, np.nan, np.nan])
    np.testing.assert_equal(stage["v"], [[1, 2], [3, 4.5], [np.nan] * 2, [np.nan] * 2])
    assert (stage["v"].dtype, stage["ok"].dtype) == (np.float32, np.float64)  # type: ignore[union-attr]
    assert stage["meta.tags"] == [["a", "b"], [], None, None]
    assert stage["messages.0.content"] == ["One?", "Two?", "?", None]
    assert np.isnan(stage["no.where"]).all()
    assert stage["nothing"] == [None] * 4
    assert stage["id"] == [str(2**60 + 1), "x", None, None]
    np.testing.assert_equal(stage["prompt_chars"], [4, 4, np.nan, np.nan])
    np.testing.assert_equal(stage["answer_chars"], [1, 2, np.nan, np.nan])
    np.testing.assert_equal(stage["turns"], [2, 2, np.nan, np.nan])
    assert stage["answer_text"] == ["1", "22", None, None]
    assert [len(each) if each else 0 for each in stage["row_hash"]] == [32, 32, 32, 0]
    assert json.loads(stage["json"][0]) == rows[0]


def test_a_row_has_the_same_hash_in_any_kind_of_file(tmp_path: Path) -> None:
    rows = [chat("One?", n=2.0, none=None), chat("Two?", n=2.5, none=None)]
    pa.parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    turned = [dict(reversed(row.items())) for row in rows]
    paths = [tmp_path / "a.parquet", write(tmp_path / "b.jsonl", turned), tmp_path / "c.json"]
    paths[2].write_text(json.dumps([{**row, "n": int(row["n"])} for row in rows]))
    hashes = [Stage("look", path, derived=["row_hash"])["row_hash"] for path in paths]
    assert hashes[0] == hashes[1]
    assert hashes[0][0] == hashes[2][0]
    assert hashes[0][1] != hashes[2][1]


def test_rows_are_kept_repeated_ordered_and_parted(tmp_path: Path) -> None:
    rows = [chat(f"Question {at}?") for at in range(6)]
    path = write(tmp_path / "chat.jsonl", rows)
    stage = Stage("mix", path)
    report = stage.write(
        np.array([1, 0, 2, 1, 3, 1]),
        out={"train": tmp_path / "train.jsonl", "val": tmp_path / "val.jsonl"},
        codes=["select.bounds", "select.rank"],
        code=[-1, 0, 1, -1, -1, -1],
        detail=[None, "too low", "in twice", None, None, None],
        partner_row=[-1, 5, -1, -1, -1, -1],
        score=[np.nan, 0.25, np.nan, 7, np.nan, np.nan],
        order=[9, 0, 5, 5, 1, 0],
        part=[0, 0, 0, 0, 1, 0],
        options={"seed": 1},
        facts={"funnel": [6, 5]},
    )
    assert (report.rows, report.kept, report.written) == (6, 5, 8)
    assert report.dropped == {"select.bounds": 1}
    assert report.noted == {"select.rank": 1}
    assert report.partners == 1
    assert report.facts == {"funnel": [6, 5]}
    assert [(part["name"], part["rows"], part["lines"]) for part in report.parts] == [
        ("train", 4, 5),
        ("val", 1, 3),
    ]
    text = [json.dumps(row) for row in rows]
    assert lines(tmp_path / "train.jsonl") == [text[at] for at in (5, 2, 2, 3, 0)]
    assert lines(tmp_path / "val.jsonl") == [text[4]] * 3
    book = ledger(tmp_path / "val.ledger.arrow")
    assert book == ledger(tmp_path / "train.ledger.arrow")
    assert [row["times"] for row in book] == [1, 0, 2, 1, 3, 1]
    assert [row["output_line"] for row in book] == [5, None, 2, 4, 1, 1]
    assert [row["part"] for row in book] == ["train", None, "train", "train", "val", "train"]
    assert book[1]["code"] == "select.bounds"
    assert book[1]["detail"] == "too low"
    assert (book[1]["partner_row"], book[1]["partner_line"], book[1]["score"]) == (5, 5, 0.25)
    assert book[2]["code"] == "select.rank"
    assert book[3]["score"] == 7
    assert [
        sftprep.why(tmp_path / "train.jsonl", output_line=at)[0]["row"] for at in (1, 2, 3)
    ] == [
        6,
        3,
        3,
    ]
    assert [sftprep.why(tmp_path / "val.jsonl", output_line=at)[0]["row"] for at in (1, 3)] == [
        5,
        5,
    ]
    with pytest.raises(sftprep.ConfigError, match="no line 4"):
        sftprep.why(tmp_path / "val.jsonl", output_line=4)


def test_another_line_may_be_written(tmp_path: Path) -> None:
    path = write(tmp_path / "chat.jsonl", [chat("A?"), chat("B?")])
    stage = Stage("clean", path)
    new = json.dumps(chat("a?"))
    report = stage.write([1, 1], out=tmp_path / "out.jsonl", line=[new, None])
    assert lines(tmp_path / "out.jsonl") == [new, json.dumps(chat("B?"))]
    assert report.kept == 2
    for wrong, why in [("[]", "no object"), ("{}\n{}", "one line"), ("{", "no JSON")]:
        with pytest.raises(sftprep.ConfigError, match=why):
            stage.write([1, 1], dry_run=True, line=[None, wrong])


def test_decisions_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "chat.jsonl", [chat("A?"), chat("B?")])
    stage = Stage("look", path)
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"times": [1]}, "1 values for 2 rows"),
        ({"times": [1, -1]}, "row 2 is -1"),
        ({"times": [1, 2**33]}, "do not fit int32"),
        ({"times": [1.0, 0.5]}, "dtype float64"),
        ({"times": [[1, 1]]}, "2 axes"),
        ({"times": [1, 0]}, "no reason"),
        ({"times": [1, 0], "code": 1, "codes": ["select.rank"]}, "there are 1"),
        ({"times": [1, 0], "code": 0, "codes": ["select.nothing"]}, "no code"),
        ({"times": [1, 1], "partner_row": [3, -1]}, "partner of row 1 is row 3"),
        ({"times": [1, 1], "partner_row": [0, -1]}, "partner of row 1 is row 0"),
        ({"times": [1, 1], "part": [1, 0]}, "part of row 1 is 1"),
        ({"times": [1, 1], "detail": [1, 2]}, "detail must be"),
        ({"times": [1, 1], "detail": ["a"]}, "detail has 1 values"),
        ({"times": [1, 1], "order": [1]}, "order has 1 values"),
        ({"times": [1, 1], "wish": [1]}, "no decision"),
    ]
    for arguments, why in wrong:
        with pytest.raises(sftprep.ConfigError, match=why):
            stage.write(dry_run=True, **arguments)
    with pytest.raises(sftprep.ConfigError, match="no --out"):
        stage.write([1, 1])
    with pytest.raises(sftprep.ConfigError, match="one of the inputs"):
        stage.write([1, 1], out=path)
    with pytest.raises(sftprep.ConfigError, match="twice"):
        stage.write([1, 1], out={"a": tmp_path / "x.jsonl", "b": tmp_path / "x.jsonl"})
    stage.write([1, 1], out=tmp_path / "x.jsonl")
    with pytest.raises(sftprep.OutputError):
        stage.write([1, 1], out=tmp_path / "x.jsonl")
    with pytest.raises(sftprep.ConfigError):
        Stage("look", path, derived=["nothing"])  # type: ignore[list-item]


def test_an_input_that_changes_between_reading_and_writing_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "chat.jsonl", [chat("A?"), chat("B?")])
    for changed in ([chat("A?"), chat("C?")], [chat("A?")], [chat("A?"), chat("B?"), chat("C?")]):
        write(path, [chat("A?"), chat("B?")])
        stage = Stage("look", path)
        write(path, changed)
        with pytest.raises(sftprep.SourceError, match="changed"):
            stage.write([1, 1], out=tmp_path / "out.jsonl")
        assert sorted(each.name for each in tmp_path.iterdir()) == ["chat.jsonl"]


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_every_row_is_kept_dropped_or_rejected(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    kinds = data.draw(st.lists(st.sampled_from(["good", "bad", "unfit"]), min_size=1, max_size=12))
    texts = {"bad": "{broken", "unfit": json.dumps({"messages": []})}
    rows = [texts.get(kind, json.dumps(chat(f"Q{at}?"))) for at, kind in enumerate(kinds)]
    folder = tmp_path_factory.mktemp("stage")
    (folder / "in.jsonl").write_text("\n".join(rows), encoding="utf-8")
    n = len(rows)
    times = data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n))
    order = data.draw(st.none() | st.lists(st.integers(-2, 2), min_size=n, max_size=n))
    part = data.draw(st.lists(st.integers(0, 1), min_size=n, max_size=n))
    stage = Stage("look", folder / "in.jsonl", format="messages", max_reject_rate=1)
    outs = {name: folder / f"{name}.jsonl" for name in ("a", "b")}
    report = stage.write(
        times, out=outs, codes=["select.rank"], code=0, order=order, part=part, score=0.5
    )
    gone = sum(report.dropped.values()) + sum(report.rejected.values())
    assert report.kept + gone == report.rows == n
    usable = [at for at in range(n) if kinds[at] != "bad" and times[at]]
    position = order or [0] * n
    for number, path in enumerate(outs.values()):
        here = [at for at in usable if part[at] == number]
        here.sort(key=lambda at: (position[at], at))
        expected = [at for at in here for _ in range(times[at])]
        assert lines(path) == [rows[at] for at in expected]
        for line, at in enumerate(expected, start=1):
            assert sftprep.why(path, output_line=line)[0]["row"] == at + 1
    book = ledger(folder / "a.ledger.arrow")
    assert [row["row"] for row in book] == list(range(1, n + 1))
    decisions = [
        "rejected" if kind == "bad" else "kept" if often else "dropped"
        for kind, often in zip(kinds, times, strict=True)
    ]
    assert [row["decision"] for row in book] == decisions
    assert sum(row["times"] for row in book) == report.written
