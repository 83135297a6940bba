"""``sftprep decontaminate``: leaked test items go, each with the item and the place."""

from __future__ import annotations

import gzip
import json
import os
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pytest

import sftprep
from sftprep import cli

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("SFTPREP_TEST_DATA", ROOT.parent / "shared" / "data")) / "quality"
QUESTION = (
    "Lena reads 14 pages every morning and twice as many pages every evening. "
    "How many pages does she read in a week?"
)


def chat(question: str, answer: str = "294.") -> dict[str, Any]:
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"messages": messages}


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def ledger(report: sftprep.StageReport) -> list[dict[str, Any]]:
    assert report.ledger is not None
    with pa.ipc.open_file(report.ledger) as reader:
        rows: list[dict[str, Any]] = reader.read_all().to_pylist()
    assert [row["row"] for row in rows] == list(range(1, report.rows + 1))
    gone = sum(report.dropped.values()) + sum(report.rejected.values())
    assert report.kept + gone == report.rows == len(rows)
    return rows


def test_the_ledger_names_item_and_characters(tmp_path: Path) -> None:
    path = write(
        tmp_path / "chat.jsonl",
        [chat("Größe?"), chat(f"Größe — {QUESTION} Danke!"), chat("Else?", QUESTION)],
    )
    exam = write(tmp_path / "exam.jsonl", [{"text": "Another item of some other test?"}])
    more = write(tmp_path / "more.jsonl", [{"text": QUESTION}])
    out = tmp_path / "kept.jsonl"
    report = sftprep.decontaminate(path, against={"a": exam, "b": more}, out=out)
    assert (report.kept, report.items) == (1, 2)
    rows = ledger(report)
    assert [row["decision"] for row in rows] == ["kept", "dropped", "dropped"]
    for row in rows[1:]:
        assert (row["code"], row["stage"]) == ("quality.leak", "decontaminate")
        assert (row["partner_source"], row["partner_line"], row["partner_row"]) == ("b", 1, 2)
        assert row["score"] == 1
    start, end = map(int, re.findall(r"characters (\d+)-(\d+)", rows[1]["detail"])[0])
    text = f"Größe — {QUESTION} Danke!\n294."
    assert text[start:end] == QUESTION.rstrip("?")
    assert out.read_text(encoding="utf-8") == json.dumps(chat("Größe?")) + "\n"
    assert report.examples[0]["partner_text"] == QUESTION
    only = sftprep.decontaminate(path, against=more, field="prompt", dry_run=True)
    assert only.kept == 2


@pytest.mark.parametrize(("containment", "kept"), [(0.0, 0), (0.5, 0), (0.85, 1), (1.0, 1)])
def test_the_threshold_is_read(tmp_path: Path, containment: float, kept: int) -> None:
    half = " ".join(QUESTION.split()[:13])
    path = write(tmp_path / "chat.jsonl", [chat(half), chat(QUESTION)])
    exam = write(tmp_path / "exam.jsonl", [{"text": QUESTION}])
    report = sftprep.decontaminate(path, against=exam, containment=containment, dry_run=True)
    assert report.kept == kept


def test_test_sets_of_any_columns_are_mapped(tmp_path: Path) -> None:
    path = write(tmp_path / "chat.jsonl", [chat(QUESTION), chat("Else?")])
    rows = [{"question": QUESTION, "solution": "A long solution of many words that is not asked."}]
    exam = write(tmp_path / "exam.jsonl", rows)
    with pytest.raises(sftprep.FormatError) as caught:
        sftprep.decontaminate(path, against=exam, dry_run=True)
    assert caught.value.code == "format.unknown"
    mapped = sftprep.decontaminate(
        path, against=exam, against_format="text", against_map={"text": "question"}, dry_run=True
    )
    assert mapped.dropped == {"quality.leak": 1}


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ({"containment": 1.5}, "config.value", "containment is 1.5"),
        ({"ngram": 0}, "config.value", "ngram is 0"),
        ({"against": []}, "config.value", "no test set"),
        ({"against": "none.jsonl"}, "source.missing", ""),
        ({"against": "empty.jsonl"}, "source.empty", "hold no text"),
        ({"against": "broken.jsonl"}, "row.json", "a row of a test set cannot be read"),
        ({"against": "-"}, "config.value", "cannot be read twice"),
        ({"out": "exam.jsonl"}, "config.value", "one of the test sets"),
    ],
)
def test_what_is_wrong_is_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
    code: str,
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("chat.jsonl"), [chat("A question?")])
    exam = write(Path("exam.jsonl"), [{"text": QUESTION}]).read_bytes()
    Path("empty.jsonl").write_text('{"text": " "}\n', encoding="utf-8")
    Path("broken.jsonl").write_text('{"text": "a b c"}\n{"text": \n', encoding="utf-8")
    given: dict[str, Any] = {"against": "exam.jsonl", "out": "kept.jsonl", **options}
    with pytest.raises(sftprep.SftprepError) as caught:
        sftprep.decontaminate("chat.jsonl", overwrite=True, **given)
    assert caught.value.code == code
    assert words in caught.value.message
    assert caught.value.hint
    assert not Path("kept.jsonl").exists()
    assert Path("exam.jsonl").read_bytes() == exam


def test_the_command_prints_the_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "chat.jsonl", [chat(QUESTION), chat("Else?")])
    exam = write(tmp_path / "exam.jsonl", [{"question": QUESTION}])
    command = ["decontaminate", str(path), "--against", str(exam), "--against-format", "text"]
    command += ["--against-map", "text=question"]
    assert cli.main([*command, "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "quality.leak" in shown
    assert "chat:1 because of exam:1" in shown
    assert "100.0 % of the test item" in shown
    assert cli.main([*command, "--json", "--out", str(tmp_path / "kept.jsonl")]) == 0
    assert json.loads(capsys.readouterr().out)["dropped"] == {"quality.leak": 1}


def test_the_planted_leaks_go(tmp_path: Path) -> None:
    planted = DATA / "planted" / "alpaca_10k.jsonl.gz"
    if not planted.exists():
        assert not os.environ.get("SFTPREP_REQUIRE_DATA"), f"{planted} is absent"
        pytest.skip(f"{planted} is absent")
    with gzip.open(planted, "rt", encoding="utf-8") as file:
        ids = [json.loads(line)["id"] for line in file]
    with gzip.open(planted.with_name("alpaca_10k.truth.jsonl.gz"), "rt") as file:
        truth = [json.loads(line) for line in file]
    forms = {row["id"]: row["form"] for row in truth if row["defect"] == "leaked_test"}
    questions = tmp_path / "gsm8k.jsonl"
    gsm8k = DATA / "gsm8k" / "openai_test_first660.jsonl.gz"
    with gzip.open(gsm8k, "rt", encoding="utf-8") as file:
        write(questions, [{"text": json.loads(line)["question"]} for line in file])
    report = sftprep.decontaminate(
        planted, against=[questions, DATA / "bench"], out=tmp_path / "kept.jsonl"
    )
    gone = {ids[row["row"] - 1] for row in ledger(report) if row["decision"] == "dropped"}
    assert len(gone & set(forms)) >= 0.97 * len(gone)
    for form, least in (("verbatim", 1.0), ("embedded", 1.0), ("edited", 0.85)):
        of_form = {name for name, each in forms.items() if each == form}
        assert len(of_form & gone) >= least * len(of_form), form
