"""``sftprep dedup``: every row is accounted for, and every row that goes names one that stays."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet
import pytest

import sftprep
from sftprep import cli

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("SFTPREP_TEST_DATA", ROOT.parent / "shared" / "data"))
LONG = "The quick brown fox jumps over the lazy dog while the cat sleeps on the warm red roof"


def chat(question: str, answer: str = "Yes, it is.") -> dict[str, Any]:
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"messages": messages}


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def ledger(report: sftprep.StageReport) -> list[dict[str, Any]]:
    assert report.ledger is not None
    with pa.ipc.open_file(report.ledger) as reader:
        rows: list[dict[str, Any]] = reader.read_all().to_pylist()
    return rows


def kept(report: sftprep.StageReport) -> list[str]:
    assert report.out is not None
    return Path(report.out).read_text(encoding="utf-8").splitlines()


def check_books(report: sftprep.StageReport) -> list[dict[str, Any]]:
    """Every row once, in order; every partner of the same run alive."""
    rows = ledger(report)
    assert [row["row"] for row in rows] == list(range(1, report.rows + 1))
    assert report.kept + sum(report.dropped.values()) + sum(report.rejected.values()) == len(rows)
    assert len(kept(report)) == report.kept == sum(row["decision"] == "kept" for row in rows)
    for row in rows:
        dropped = row["decision"] == "dropped"
        assert (row["partner_row"] is not None) == (row["score"] is not None) == dropped
        if row["decision"] != "kept":
            assert row["code"] and row["detail"], row
        if dropped and row["stage"] == "dedup":
            partner = rows[row["partner_row"] - 1]
            assert partner["decision"] == "kept"
            assert (partner["source"], partner["line"]) == (
                row["partner_source"],
                row["partner_line"],
            )
    return rows


def test_one_of_each_stays_and_the_rest_is_accounted_for(tmp_path: Path) -> None:
    path = tmp_path / "chat.jsonl"
    lines = [
        json.dumps(chat(LONG)),
        json.dumps(chat(LONG)),
        json.dumps(chat(LONG.upper())),
        json.dumps(chat(LONG.replace("red", "blue") + " of the old house")),
        json.dumps(chat("Something else altogether?")),
        "{broken",
        json.dumps({"messages": [{"role": "narrator", "content": "?"}]}),
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    out = tmp_path / "kept.jsonl"
    report = sftprep.dedup(path, out=out, threshold=0.5, keep="first", max_reject_rate=0.5)
    rows = check_books(report)
    assert report.dropped == {
        "quality.identical": 1,
        "quality.near": 1,
        "quality.normalised": 1,
    }
    assert (report.rejected, report.not_compared) == ({"row.json": 1}, {"format.role": 1})
    assert {row["partner_row"] for row in rows if row["decision"] == "dropped"} == {1}
    assert kept(report) == [lines[0], lines[4], lines[6]]
    near = next(each for each in report.examples if each["code"] == "quality.near")
    assert 0.5 <= near["score"] < 1
    assert "blue" in near["text"]
    assert "red" in near["partner_text"]
    longest = sftprep.dedup(path, out=out, threshold=0.5, max_reject_rate=0.5, overwrite=True)
    assert kept(longest)[0] == lines[3]


def test_fields_are_compared_alone(tmp_path: Path) -> None:
    path = write(
        tmp_path / "chat.jsonl",
        [chat("One question?", "A."), chat("One question?", "B."), chat("Another one?", "B.")],
    )
    gone = {
        field: sum(sftprep.dedup(path, field=field, dry_run=True).dropped.values())
        for field in ("all", "prompt", "answer")
    }
    assert gone == {"all": 0, "prompt": 1, "answer": 1}


def test_rows_without_text_are_not_each_others_duplicates(tmp_path: Path) -> None:
    path = write(tmp_path / "chat.jsonl", [chat("A?", ""), chat("B?", ""), chat("C?", " ")])
    assert sftprep.dedup(path, field="answer", dry_run=True).dropped == {}


def test_any_kind_of_file_goes_in_and_its_values_come_out(tmp_path: Path) -> None:
    rows = [{**chat(LONG, str(at)), "n": 2.5, "big": 2**62, "none": None} for at in range(3)]
    pa.parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "b.parquet")
    (tmp_path / "a.json").write_text(json.dumps(rows, indent=2), encoding="utf-8")
    with gzip.open(tmp_path / "c.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(f"{json.dumps(row)}\n" for row in rows)
    inputs = {"array": tmp_path / "a.json", "columns": tmp_path / "b.parquet"}
    inputs["lines"] = tmp_path / "c.jsonl.gz"
    report = sftprep.dedup(inputs, out=tmp_path / "kept.jsonl", exact_only=True)
    check_books(report)
    assert [json.loads(line) for line in kept(report)] == rows
    assert [source["kept"] for source in report.sources] == [3, 0, 0]
    columns = sftprep.dedup(tmp_path / "b.parquet", out=tmp_path / "p.jsonl", exact_only=True)
    assert [json.loads(line) for line in kept(columns)] == rows


def test_both_methods_decide_alike(tmp_path: Path) -> None:
    rows = [chat(f"{LONG} number {at // 2} and {'more' if at % 2 else 'less'}") for at in range(40)]
    path = write(tmp_path / "chat.jsonl", rows)
    reports = [
        sftprep.dedup(path, method=method, threshold=0.6, dry_run=True)
        for method in ("exact", "sketch")
    ]
    assert [report.method for report in reports] == ["exact", "sketch"]
    assert reports[0].dropped == reports[1].dropped != {}


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ({"threshold": 0}, "config.value", "threshold is 0"),
        ({"field": "title"}, "config.unknown", "title"),
        ({"out": None}, "config.value", "no --out"),
        ({"out": "kept.csv"}, "config.value", "does not end in .jsonl"),
        ({"out": "chat.jsonl"}, "config.value", "one of the inputs"),
        ({"out": "nowhere/kept.jsonl"}, "output.io", "folder does not exist"),
        ({"out": "there.jsonl"}, "output.exists", "exists"),
        ({"inputs": "-"}, "config.value", "cannot be read twice"),
        ({"inputs": "none.jsonl"}, "source.missing", ""),
        ({"inputs": "empty.jsonl"}, "source.empty", "no row"),
        ({"inputs": "bad.jsonl"}, "run.reject_rate", "1 of 2 rows"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_written(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
    code: str,
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("chat.jsonl"), [chat("A question?"), chat("Another?")])
    Path("there.jsonl").write_text("mine\n", encoding="utf-8")
    Path("empty.jsonl").write_text("\n", encoding="utf-8")
    Path("bad.jsonl").write_text(f"{json.dumps(chat('A?'))}\nno json\n", encoding="utf-8")
    before = sorted(path.name for path in tmp_path.iterdir())
    given: dict[str, Any] = {"inputs": "chat.jsonl", "out": "kept.jsonl", **options}
    with pytest.raises(sftprep.SftprepError) as caught:
        sftprep.dedup(given.pop("inputs"), **given)
    assert caught.value.code == code
    assert words in caught.value.message
    assert caught.value.hint or code.startswith("config.unknown")
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert Path("there.jsonl").read_text(encoding="utf-8") == "mine\n"


def test_the_command_prints_the_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "chat.jsonl", [chat(LONG), chat(LONG), chat("Else?")])
    assert cli.main(["dedup", str(path), "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "quality.identical" in shown
    assert "chat:2 because of chat:1" in shown
    assert "nothing was written" in shown
    assert cli.main(["dedup", str(path), "--json", "--out", str(tmp_path / "k.jsonl")]) == 0
    assert json.loads(capsys.readouterr().out)["kept"] == 2
    assert cli.main(["dedup", str(path)]) == 2


def test_the_planted_duplicates_go(tmp_path: Path) -> None:
    planted = DATA / "quality" / "planted" / "alpaca_10k.jsonl.gz"
    if not planted.exists():
        assert not os.environ.get("SFTPREP_REQUIRE_DATA"), f"{planted} is absent"
        pytest.skip(f"{planted} is absent")
    truth = planted.with_name("alpaca_10k.truth.jsonl.gz")
    with gzip.open(planted, "rt", encoding="utf-8") as file:
        ids = [json.loads(line)["id"] for line in file]
    with gzip.open(truth, "rt", encoding="utf-8") as file:
        planted_rows = [json.loads(line) for line in file]
    pairs = {
        frozenset((row["id"], row["partner"])): row["defect"]
        for row in planted_rows
        if row["defect"] in ("exact_dup", "format_dup")
    }
    report = sftprep.dedup(planted, out=tmp_path / "kept.jsonl", exact_only=True)
    rows = check_books(report)
    dropped = [row for row in rows if row["decision"] == "dropped"]
    found = {frozenset((ids[row["row"] - 1], ids[row["partner_row"] - 1])) for row in dropped}
    assert set(pairs) <= found, "a planted duplicate stayed"
    assert len(found & set(pairs)) >= 0.97 * len(found)
    assert report.dropped["quality.identical"] == sum(v == "exact_dup" for v in pairs.values())
