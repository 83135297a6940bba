"""``sftprep split``: no two similar rows are in different parts, whatever the order of rows."""

from __future__ import annotations

import gzip
import json
import os
import random
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pytest

import sftprep
from sftprep import cli

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("SFTPREP_TEST_DATA", ROOT.parent / "shared" / "data"))


def chat(question: str, answer: str = "Yes.") -> dict[str, Any]:
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"messages": messages}


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def rows_of(report: sftprep.StageReport) -> dict[str, list[str]]:
    return {
        part["name"]: Path(part["out"]).read_text(encoding="utf-8").splitlines()
        for part in report.parts
    }


def grams(text: str) -> frozenset[tuple[str, ...]]:
    """Word 3-grams of plain English text; words as ``dedup`` sees them are letters or digits."""
    words = re.findall(r"[a-z0-9]+", text.lower())
    size = min(3, len(words))
    return frozenset(tuple(words[at : at + size]) for at in range(len(words) - size + 1))


def families(count: int, dice: random.Random) -> list[dict[str, Any]]:
    """Rows in families of one to six that differ in a word or two."""
    rows = []
    for _ in range(count):
        words = [f"word{dice.randrange(500)}" for _ in range(30)]
        for _ in range(dice.choice((1, 1, 1, 2, 3, 6))):
            other = words.copy()
            other[dice.randrange(30)] = f"word{dice.randrange(500)}"
            rows.append(chat(" ".join(other)))
    return rows


def test_no_similar_pair_straddles(tmp_path: Path) -> None:
    rows = families(150, random.Random(4))
    path = write(tmp_path / "chat.jsonl", rows)
    report = sftprep.split(path, out=tmp_path / "parts", val="10%", test=20, seed=3)
    parts = rows_of(report)
    together = [line for lines in parts.values() for line in lines]
    assert sorted(together) == sorted(json.dumps(row) for row in rows)
    assert report.kept == report.rows == len(rows)
    assert [part["rows"] for part in report.parts][2] == 20
    assert abs(len(parts["val"]) - len(rows) / 10) <= 3
    sets = {
        name: [
            grams(" ".join(each["content"] for each in json.loads(line)["messages"]))
            for line in part
        ]
        for name, part in parts.items()
    }
    near = 0
    for a, one in sets.items():
        for b, other in sets.items():
            for x in one:
                for y in other:
                    if len(x & y) >= 0.7 * len(x | y):
                        assert a == b, "a pair straddles"
                        near += x is not y
    assert near > 50, "there is something to keep together"


def test_the_order_of_rows_does_not_matter(tmp_path: Path) -> None:
    dice = random.Random(1)
    rows = families(80, dice)
    one = sftprep.split(write(tmp_path / "a.jsonl", rows), out=tmp_path / "a", val=12, test="5%")
    dice.shuffle(rows)
    other = sftprep.split(write(tmp_path / "b.jsonl", rows), out=tmp_path / "b", val=12, test="5%")
    for name, lines in rows_of(one).items():
        assert sorted(lines) == sorted(rows_of(other)[name]), name
    again = sftprep.split(tmp_path / "b.jsonl", out=tmp_path / "c", val=12, test="5%")
    assert rows_of(again) == rows_of(other)
    moved = sftprep.split(tmp_path / "b.jsonl", out=tmp_path / "d", val=12, test="5%", seed=1)
    assert rows_of(moved)["val"] != rows_of(other)["val"]


def test_conversations_and_sources_stay_together(tmp_path: Path) -> None:
    dice = random.Random(2)
    rows = [
        {**chat(f"unlike {dice.random()} {dice.random()} {dice.random()}"), "doc": at // 4}
        for at in range(60)
    ]
    for at, row in enumerate(rows):
        if at % 5 == 0:
            row["conversation_id"] = f"c{at // 15}"
    path = write(tmp_path / "chat.jsonl", rows)
    by = ["doc", "conversation_id", "nothing"]
    report = sftprep.split(path, out=tmp_path / "parts", val="20%", group_by=by)
    assert report.facts["by"] == {"doc": 60, "conversation_id": 12, "nothing": 0}
    where: dict[tuple[str, Any], set[str]] = {}
    for name, lines in rows_of(report).items():
        for line in lines:
            row = json.loads(line)
            for column in ("doc", "conversation_id"):
                if column in row:
                    where.setdefault((column, row[column]), set()).add(name)
    assert all(len(names) == 1 for names in where.values())
    assert len(rows_of(report)["val"]) >= 4


def test_every_row_is_in_the_ledger(tmp_path: Path) -> None:
    path = tmp_path / "chat.jsonl"
    rows = [json.dumps(chat(f"a question of number {at}?")) for at in range(30)]
    rows[4], rows[9] = "{broken", json.dumps({"messages": []})
    path.write_text("\n".join(rows), encoding="utf-8")
    report = sftprep.split(path, out=tmp_path / "parts", val=5, max_reject_rate=0.5)
    assert (report.rows, report.kept, report.rejected) == (30, 29, {"row.json": 1})
    with pa.ipc.open_file(tmp_path / "parts" / "val.ledger.arrow") as reader:
        book = reader.read_all().to_pylist()
    assert [row["row"] for row in book] == list(range(1, 31))
    parts = rows_of(report)
    for row in book:
        if row["decision"] == "kept":
            assert parts[row["part"]][row["output_line"] - 1] == rows[row["row"] - 1]
    step = sftprep.why(tmp_path / "parts" / "val.jsonl", output_line=2)[0]
    assert parts["val"][1] == rows[step["row"] - 1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"val": "2x"}, "val is '2x'"),
        ({"val": "150%"}, "val is '150%'"),
        ({"val": -1}, "val is -1"),
        ({"val": 1.5}, "val is 1.5"),
        ({"val": 0}, "nothing is held out"),
        ({"val": 5, "test": 5}, "would take 10 of 10 rows"),
        ({"threshold": 0}, "threshold is 0"),
        ({"out": None}, "no --out"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    path = write(tmp_path / "chat.jsonl", [chat(f"number {at}") for at in range(10)])
    with pytest.raises(sftprep.ConfigError, match=re.escape(words)) as caught:
        sftprep.split(path, **{"out": tmp_path / "parts", **options})
    assert caught.value.hint
    assert not (tmp_path / "parts").exists()


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "chat.jsonl", [chat(f"number {at} of many") for at in range(50)])
    assert cli.main(["split", str(path), "--val", "10%", "--dry-run"]) == 0
    assert "val                                  5 of 5 asked for" in capsys.readouterr().out
    assert cli.main(["split", str(path), "--val", "5", "--out", str(tmp_path / "p"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["facts"]["wanted"] == {"val": 5}
    assert cli.main(["split", str(path), "--out", str(tmp_path / "p")]) == 2


def test_planted_duplicates_do_not_straddle(tmp_path: Path) -> None:
    planted = DATA / "quality" / "planted" / "alpaca_10k.jsonl.gz"
    if not planted.exists():
        assert not os.environ.get("SFTPREP_REQUIRE_DATA"), f"{planted} is absent"
        pytest.skip(f"{planted} is absent")
    report = sftprep.split(planted, out=tmp_path / "parts", val="10%", test="5%")
    where = {}
    for name, lines in rows_of(report).items():
        where |= {json.loads(line)["id"]: name for line in lines}
    with gzip.open(planted.with_name("alpaca_10k.truth.jsonl.gz"), "rt", encoding="utf-8") as file:
        truth = [json.loads(line) for line in file]
    pairs = [
        (row["id"], row["partner"])
        for row in truth
        if row["defect"] in ("exact_dup", "format_dup") and row["partner"] in where
    ]
    assert len(pairs) > 400
    assert all(where[a] == where[b] for a, b in pairs)
    sizes = {part["name"]: part["rows"] for part in report.parts}
    assert abs(sizes["val"] - round(0.1 * report.kept)) <= 1
    assert abs(sizes["test"] - round(0.05 * report.kept)) <= 1
