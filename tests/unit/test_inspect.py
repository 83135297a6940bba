from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

import sftprep
from sftprep import cli
from sftprep.inspect import joined, mark, printable, view


@pytest.fixture(scope="module")
def rows(packed: Path) -> sftprep.ShardDataset:
    return sftprep.ShardDataset(packed)


@pytest.fixture(scope="module")
def tokenizer(packed: Path) -> sftprep.Tokenizer:
    return sftprep.Tokenizer.from_file(packed)


def test_control_and_direction_characters_are_escaped() -> None:
    assert printable("a\x1b[31mb") == "a\\x1b[31mb"
    assert printable("\u202eabc\u2066") == "\\u202eabc\\u2066"
    assert printable("x\x00\x7f\x9b") == "x\\x00\\x7f\\x9b"
    assert printable("a\nb\tc") == "a↵\nb\tc"
    assert printable("👩\u200d🚀 你好") == "👩\u200d🚀 你好"


def test_marks() -> None:
    assert mark("hi", "answer", trained=True, color=False) == "«hi»"
    assert mark("hi", "user", trained=False, color=False) == "hi"
    assert mark("hi", "answer", trained=True, color=True) == "\x1b[1;32mhi\x1b[0m"
    assert mark("a\nb", "user", trained=False, color=True) == (
        "\x1b[2;34ma↵\x1b[0m\n\x1b[2;34mb\x1b[0m"
    )


def test_spans_that_look_alike_are_joined() -> None:
    spans = [(0, 2, "answer", True), (2, 3, "stop", True), (3, 5, "user", False)]
    assert joined(spans, color=False) == [(0, 3, "answer", True), (3, 5, "user", False)]
    assert joined(spans, color=True) == spans


def test_a_row_shows_its_documents(
    rows: sftprep.ShardDataset, tokenizer: sftprep.Tokenizer
) -> None:
    head, *lines = view(rows, tokenizer, 0, width=100)
    documents = rows.documents(0)
    assert f"{len(rows[0]['input_ids']):,} of 512 tokens" in head
    assert f"{len(documents)} documents" in head
    rules = [line for line in lines if line.startswith("── document")]
    assert len(rules) == len(documents)
    for rule, document in zip(rules, documents, strict=True):
        assert f"{document.source}:{document.line}," in rule
        assert len(rule) >= 100
    text = "".join(line for line in lines if not line.startswith("── document"))
    marked = re.findall("«(.*?)»", text.replace("\n", ""), re.DOTALL)
    assert marked
    assert all(part.startswith("It is ") and part.endswith("<|im_end|>") for part in marked)
    plain = text.replace("«", "").replace("»", "").replace("↵", "").replace("\n", "")
    whole = tokenizer.decode(rows[0]["input_ids"]).replace("\n", "")
    assert plain == whole


def test_colours_change_nothing_else(
    rows: sftprep.ShardDataset, tokenizer: sftprep.Tokenizer
) -> None:
    coloured = "\n".join(view(rows, tokenizer, 1, color=True))
    plain = "\n".join(view(rows, tokenizer, 1))
    assert "\x1b[1;32m" in coloured
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == plain.replace("«", "").replace("»", "")


def test_the_command(
    packed: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli.main(["inspect", str(packed), "--row", "1", "--document", "0"]) == 0
    out = capsys.readouterr().out
    assert "document 0" in out
    assert "document 1:" not in out
    assert "\x1b" not in out
    assert cli.main(["inspect", str(packed), "--count", "2", "--color", "always"]) == 0
    out = capsys.readouterr().out
    assert "row 0:" in out
    assert "row 1:" in out
    assert "\x1b[" in out
    assert cli.main(["inspect", str(packed), "--row", "99999"]) == 2
    assert "there is no row 99999 of" in capsys.readouterr().err
    assert cli.main(["inspect", str(packed), "--document", "99"]) == 2
    assert "there is no document 99 of" in capsys.readouterr().err


def test_the_tokenizer_can_be_named(
    packed: Path, tmp_path: Path, tokenizer_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(packed, tmp_path / "copy")
    (copy / "tokenizer.json").unlink()
    assert cli.main(["inspect", str(copy)]) == 3
    assert "name it with --tokenizer" in capsys.readouterr().err
    assert cli.main(["inspect", str(copy), "--tokenizer", str(tokenizer_dir)]) == 0
