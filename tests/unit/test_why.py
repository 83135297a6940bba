"""``sftprep why``: every row of every stage has its reason, back to the first file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import sftprep
from sftprep import cli

LONG = "The quick brown fox jumps over the lazy dog while the cat sleeps on the warm red roof"


def write(path: Path, texts: list[str]) -> Path:
    rows = [
        {"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": "Yes."}]}
        for q in texts
    ]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def test_a_row_is_followed_through_its_stages(tmp_path: Path) -> None:
    first = write(tmp_path / "chat.jsonl", [LONG, LONG, "Is it late now?", f"{LONG} of the house"])
    exam = write(tmp_path / "exam.jsonl", [f"{LONG} of the house"])
    clean, safe = tmp_path / "clean.jsonl", tmp_path / "safe.jsonl"
    sftprep.dedup(first, out=clean, exact_only=True, keep="first")
    sftprep.decontaminate(clean, against=exam, out=safe, containment=0.9)
    [step] = sftprep.why(clean, 2)
    assert (step["stage"], step["row"], step["decision"]) == ("dedup", 2, "dropped")
    assert (step["partner_row"], step["partner_line"], step["score"]) == (1, 1, 1.0)
    assert step["code"] == "quality.identical" and step["cause"] and step["output_line"] is None
    # row 3 of the second stage was line 4 of the first file
    later, earlier = sftprep.why(safe, 3)
    assert (later["stage"], later["decision"]) == ("decontaminate", "dropped")
    assert later["partner_source"] == str(exam).removesuffix(".jsonl") or later["partner_line"] == 1
    assert (earlier["stage"], earlier["row"], earlier["output_line"]) == ("dedup", 4, 3)
    kept, before = sftprep.why(safe, output_line=2)
    assert (kept["decision"], kept["row"], before["row"]) == ("kept", 2, 3)
    lines = safe.read_text(encoding="utf-8").splitlines()
    assert lines[1] == first.read_text(encoding="utf-8").splitlines()[before["line"] - 1]
    by_place = sftprep.why(clean, f"{step['source']}:2")
    assert by_place == [step]


def test_packed_rows_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "chat.jsonl", ["Is it?", "Was it?"])
    with path.open("a", encoding="utf-8") as file:
        file.write('{"messages": [{"role": "narrator", "content": "x"}]}\n')
    sftprep.pack(path, out=tmp_path / "packs", tokenizer="builtin", max_reject_rate=0.5)
    [packed] = sftprep.why(tmp_path / "packs", 1)
    assert packed["decision"] == "packed" and packed["trained_tokens"] > 0
    assert packed["source"].endswith("chat")
    assert cli.main(["why", str(tmp_path / "packs"), "3"]) == 0
    text = capsys.readouterr().out
    assert "rejected" in text and "format.role" in text and "narrator" in text
    assert cli.main(["why", str(tmp_path / "packs"), f"{packed['source']}:2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["row"] == 2


def test_what_is_not_there_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clean = tmp_path / "clean.jsonl"
    sftprep.dedup(write(tmp_path / "a.jsonl", ["One?", "Two?"]), out=clean)
    for row in (0, 3, "a:9", "chat", ""):
        with pytest.raises(sftprep.ConfigError):
            sftprep.why(clean, row)
    with pytest.raises(sftprep.ConfigError, match="name one row"):
        sftprep.why(clean)
    with pytest.raises(sftprep.ConfigError, match="no line 7"):
        sftprep.why(clean, output_line=7)
    with pytest.raises(sftprep.SourceError):
        sftprep.why(tmp_path / "a.jsonl", 1)
    damaged = tmp_path / "bad.ledger.arrow"
    damaged.write_bytes((tmp_path / "clean.ledger.arrow").read_bytes()[:-40])
    with pytest.raises(sftprep.SourceError):
        sftprep.why(damaged, 1)
    assert cli.main(["why", str(clean), "99"]) == 2
    assert "the ledger has 2 rows" in capsys.readouterr().err
