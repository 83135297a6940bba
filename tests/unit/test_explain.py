"""``sftprep explain``: every token's origin is really there in the row that it names."""

from __future__ import annotations

import gzip
import json
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, conversation

import sftprep
from sftprep import _core, cli


def value_at(row: Any, path: str) -> Any:  # noqa: ANN401 - whatever is there
    """The value at a path such as ``conversations[1].value``."""
    for step in re.findall(r"[^.\[\]]+", path):
        row = row[int(step)] if isinstance(row, list) else row[step]
    return row


class Sources:
    """The rows of input files, read by other means."""

    def __init__(self) -> None:
        """Nothing is read yet."""
        self.files: dict[str, Any] = {}

    def row(self, path: str, line: int, offset: int) -> Any:  # noqa: ANN401 - a row
        """The row at a place."""
        if path not in self.files:
            self.files[path] = self.read(Path(path))
        rows = self.files[path]
        if isinstance(rows, bytes):
            end = rows.find(b"\n", offset)
            assert rows[:offset].count(b"\n") == line - 1
            return json.loads(rows[offset : end if end >= 0 else len(rows)])
        return rows[line - 1]

    def read(self, path: Path) -> Any:  # noqa: ANN401 - bytes or rows
        """A file."""
        if path.suffix == ".parquet":
            return pytest.importorskip("pyarrow.parquet").read_table(path).to_pylist()
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        return json.loads(raw) if path.suffix == ".json" else raw


def explained(folder: Path, row: int, inputs: list[str] | None = None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(_core.explain(folder, row, None, inputs or []))
    return found


def one(folder: Path, row: int, position: int, *inputs: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_core.explain(folder, row, position, inputs))[0]
    return found


def check(token: dict[str, Any], sources: Sources) -> str:
    """Holds one explanation against the source row; returns what its parts are."""
    assert token["missing"] is None, token
    origins = token["source"]
    document = token["document"]
    row = sources.row(document["path"], document["line"], document["byte_offset"])
    at = origins["bytes"][0]
    kinds = set()
    for part in origins["parts"]:
        start, end = part["bytes"]
        if part["origin"] == "tokens":
            assert value_at(row, part["path"]) == token["id"]
            return "tokens"
        assert start == at
        at = end
        kinds.add(part["origin"])
        if part["chars"] is None:
            continue
        kinds.add("exact")
        text = value_at(row, part["path"])
        first, last = part["chars"]
        low, high = part["field_bytes"]
        own = text.encode()[low:high]
        assert own.decode(errors="replace") == part["text"], part
        # the characters are the fewest that hold these bytes
        assert len(text[:first].encode()) <= low <= high <= len(text[:last].encode())
        assert first == last or len(text[: last - 1].encode()) < high
        assert first == last or len(text[: first + 1].encode()) > low
    assert at == origins["bytes"][1]
    return "+".join(sorted(kinds))


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo") / "packs"
    sftprep.pack(
        ROOT / "examples/demo", out=out, tokenizer="builtin", max_len=1024, date="2025-01-01"
    )
    return out


def test_every_token_of_the_demo_set_is_explained_exactly(demo: Path) -> None:
    rows = sftprep.ShardDataset(demo)
    sources, seen = Sources(), Counter[str]()
    encoder = sftprep.Encoder(sftprep.Tokenizer.from_file(demo))
    exact = 0
    for index, row in enumerate(rows):
        tokens = explained(demo, index)
        assert [token["id"] for token in tokens] == row["input_ids"].tolist()
        assert [token["trained"] for token in tokens] == (row["labels"] >= 0).tolist()
        for position, token in enumerate(tokens):
            assert (token["row"], token["position"]) == (index, position)
            assert token["why"]
            kinds = check(token, sources)
            seen[kinds] += 1
            exact += "exact" in kinds or kinds == "tokens"
            if token["kind"] in {"user", "answer", "system", "text", "reasoning"}:
                # what people wrote is always found, to the character
                own = [it for it in token["source"]["parts"] if it["origin"] in {"message", "text"}]
                assert all(it["path"] and it["chars"] for it in own), token
    assert sum(seen.values()) > 9000
    assert exact > 5000, seen
    assert seen["exact+message"] > 4000
    assert {"tokens", "literal", "exact+text"} <= set(seen), seen
    assert encoder


def test_the_words_say_where_and_why(packed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = sftprep.ShardDataset(packed)
    document = rows.documents(3)[1]
    answer = next(span for span in document.spans if span.trained)
    assert cli.main(["explain", f"{packed}:3:{answer.start}"]) == 0
    said = capsys.readouterr().out
    assert f"{document.source}.jsonl:{document.line}, byte {document.byte_offset}" in said
    assert "trained: answer of a trained turn; its start was proven by origin" in said
    assert '"It": messages[2].content, characters 0 to' in said
    assert "message 2 (assistant)" in said
    assert "⟦It⟧" in said
    assert cli.main(["explain", f"{packed}:3:{document.start}"]) == 0
    said = capsys.readouterr().out
    assert "not trained: the template's own text is context" in said
    assert '"<|im_start|>": text of the template' in said
    assert cli.main(["explain", f"{packed}:3:{answer.start}", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["source"]["parts"][0]["path"] == "messages[2].content"


@pytest.mark.parametrize("place", ["packs", "packs:1", "packs:1:x", ":1:2", "packs:-1:2"])
def test_a_token_is_named_by_row_and_position(place: str) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["explain", place])
    assert caught.value.code == 2


def test_there_is_no_such_token(packed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for place in (f"{packed}:0:99999", f"{packed}:99999:0"):
        assert cli.main(["explain", place]) == 2
        assert "row" in capsys.readouterr().err


@pytest.fixture
def small(tmp_path: Path, tokenizer_dir: Path) -> tuple[Path, Path]:
    """A file and the dataset made of it."""
    path = tmp_path / "chat.jsonl"
    rows = [conversation(index) for index in range(5)]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    sftprep.pack(path, out=tmp_path / "packs", tokenizer=tokenizer_dir, max_len=512)
    return path, tmp_path / "packs"


def test_a_source_that_is_gone_is_said_to_be(
    small: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path, packs = small
    moved = path.rename(path.with_name("moved.jsonl"))
    assert cli.main(["explain", f"{packs}:0:30"]) == 3
    printed = capsys.readouterr()
    assert "source.missing" in printed.err
    assert "--input" in printed.err
    assert "chat.jsonl:" in printed.out, "the sidecar still knows the place"
    assert "origin" not in printed.out
    (packs / "sftprep.report.json").unlink()
    found = one(packs, 0, 30)
    assert found["missing"]["code"] == "source.missing"
    assert "nothing says where" in found["missing"]["message"]
    name = found["document"]["source"]
    for given in (f"{name}={moved}", str(moved)):
        assert cli.main(["explain", f"{packs}:0:30", "--input", given]) == 0
        assert "origin" in capsys.readouterr().out
    assert cli.main(["explain", f"{packs}:0:30", "--input", f"other={moved}"]) == 2
    assert "no input named 'other'" in capsys.readouterr().err


def test_a_source_that_changed_is_said_to_have(
    small: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path, packs = small
    rows = sftprep.ShardDataset(packs)
    place = next(it for it in rows.documents(0) if it.line == 3)
    before = path.read_text("utf-8")
    lines = before.split("\n")

    def said(text: str) -> dict[str, Any]:
        path.write_text(text, encoding="utf-8")
        found = one(packs, 0, place.start + 3)
        assert found["source"] is None
        missing: dict[str, Any] = found["missing"]
        assert missing["code"] == "source.changed"
        assert missing["line"] == 3
        return missing

    # another word in the row itself, of the same length
    missing = said("\n".join([*lines[:2], lines[2].replace("What", "Whot"), *lines[3:]]))
    assert "gives other tokens" in missing["message"]
    # a line before it grew
    missing = said("\n".join([lines[0] + "   ", *lines[1:]]))
    assert f"{len(before.encode()) + 3} bytes now, {len(before.encode())}" in missing["message"]
    missing = said("\n".join(lines[:2]))
    assert "bytes now" in missing["message"]
    assert cli.main(["explain", f"{packs}:0:{place.start}"]) == 3
    assert "source.changed" in capsys.readouterr().err
    # a change elsewhere does no harm: the row still gives the same tokens
    path.write_text("\n".join([*lines[:3], "", *lines[3:]]), encoding="utf-8")
    assert one(packs, 0, place.start + 3)["missing"] is None


def test_cut_and_truncated_documents_are_explained(tmp_path: Path, tokenizer_dir: Path) -> None:
    path = tmp_path / "chat.jsonl"
    rows = [conversation(index, turns=4) for index in range(20)]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    for name, options in (("cut", {"strategy": "wrapped"}), ("short", {"overlong": "truncate"})):
        out = tmp_path / name
        sftprep.pack(path, out=out, tokenizer=tokenizer_dir, max_len=64, **options)  # type: ignore[arg-type]
        sources, late = Sources(), 0
        for row in range(len(sftprep.ShardDataset(out))):
            for token in explained(out, row):
                check(token, sources)
                late += token["document"]["token"] >= 64
        assert (late > 0) is (name == "cut")


def test_windows_that_a_repack_kept_are_explained(tmp_path: Path, tokenizer_dir: Path) -> None:
    source = tmp_path / "chat.jsonl"
    rows = [conversation(index, 12) for index in range(3)]
    source.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    given: Any = {"tokenizer": tokenizer_dir, "overlong": "window"}
    sftprep.pack(source, out=tmp_path / "windows", max_len=300, **given)
    sftprep.repack(tmp_path / "windows", tmp_path / "kept", max_len=2000, allow_lost=True)
    rows_of = sftprep.ShardDataset(tmp_path / "kept")
    documents = [document for row in range(len(rows_of)) for document in rows_of.documents(row)]
    assert any(document.part > 0 for document in documents), "no windows were kept"
    sources = Sources()
    for row in range(len(rows_of)):
        kinds = {check(token, sources) for token in explained(tmp_path / "kept", row)}
        assert len(kinds) > 1


def test_standard_input_cannot_be_read_again(
    tmp_path: Path,
    tokenizer_dir: Path,
    sftprep: Any,  # noqa: ANN401 - a fixture
) -> None:
    line = json.dumps(conversation(1))
    out = tmp_path / "packs"
    done = sftprep("pack", "-", "--tokenizer", tokenizer_dir, "--out", out, input=line)
    assert done.returncode == 0, done.stderr
    found = one(out, 0, 4)
    assert "standard input" in found["missing"]["message"]
    (tmp_path / "saved.jsonl").write_text(line, encoding="utf-8")
    assert one(out, 0, 4, str(tmp_path / "saved.jsonl"))["missing"] is None


def test_folders_are_copied_whole(small: tuple[Path, Path], tmp_path: Path) -> None:
    _, packs = small
    copy = shutil.copytree(packs, tmp_path / "copy")
    assert one(copy, 0, 7) == one(packs, 0, 7)
