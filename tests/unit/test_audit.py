"""``sftprep audit``: no finding on right masks, and every planted error found.

Errors are planted in the files of a finished dataset: in the spans alone, in the labels alone, and
in both so that they agree with each other, which is how a faulty program would have written them.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import sftprep
from sftprep import _core, cli

SCAFFOLD, SYSTEM, USER, REASONING, ANSWER, TOOL_CALL, TOOL_OUTPUT, STOP = range(8)
LOOK = {"type": "function", "function": {"name": "look", "arguments": {"at": "the sky"}}}
TOOL = {
    "type": "function",
    "function": {"name": "look", "description": "Looks.", "parameters": {"type": "object"}},
}


def rows() -> list[dict[str, Any]]:
    """Conversations with every kind of span."""
    made = []
    for index in range(40):
        made.append(
            {
                "messages": [
                    {"role": "system", "content": f"You are watcher {index}."},
                    {"role": "user", "content": f"What is up there, number {index}?"},
                    {"role": "assistant", "content": "", "tool_calls": [LOOK]},
                    {"role": "tool", "content": f"{index} birds"},
                    {
                        "role": "assistant",
                        "content": f"I see {index} birds.",
                        "reasoning_content": f"The tool says {index}.",
                    },
                    {"role": "user", "content": "Thank you, that is all."},
                    {"role": "assistant", "content": "Gladly."},
                ],
                "tools": [TOOL],
            }
        )
    return made


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audit")
    text = "".join(f"{json.dumps(row)}\n" for row in rows())
    (folder / "chat.jsonl").write_text(text, encoding="utf-8")
    out = folder / "packs"
    sftprep.pack(
        folder / "chat.jsonl", out=out, tokenizer="builtin", max_len=1024, date="2025-01-01"
    )
    return out


def audit(folder: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(_core.audit(folder))
    return report


class Files:
    """The first record batch of a dataset, open for damage."""

    def __init__(self, folder: Path) -> None:
        """Maps the buffers that hold labels and spans."""
        manifest = json.loads(_core.read_manifest(folder))
        self.folder = folder
        self.places: dict[str, list[list[int]]] = {}
        self.paths: dict[str, Path] = {}
        for file in manifest["files"]:
            if file["kind"] in {"data", "spans"} and file["kind"] not in self.paths:
                self.paths[file["kind"]] = folder / file["name"]
                self.places[file["kind"]] = file["batches"][0]["buffers"]
        self.ids = self.buffer("data", 1, "<i4")
        self.labels = self.buffer("data", 3, "<i4")
        self.token_ends = self.buffer("data", 0, "<i4")
        self.doc_tokens = self.buffer("data", 5, "<i4")
        self.span_rows = self.buffer("spans", 16, "<i4")
        self.ends = self.buffer("spans", 17, "<i4")
        self.kinds = self.buffer("spans", 19, "u1")
        self.messages = self.buffer("spans", 21, "<i4")
        self.flags = self.buffer("spans", 23, "u1")

    def buffer(self, kind: str, index: int, dtype: str) -> NDArray[Any]:
        """A buffer that writes through to its file."""
        offset, size = self.places[kind][index]
        count = size // np.dtype(dtype).itemsize
        return np.memmap(self.paths[kind], dtype, "r+", offset, (count,))

    def span(self, kind: int, nth: int = 3) -> int:
        """The nth span of a kind in the first row."""
        found = np.flatnonzero(self.kinds[: self.span_rows[1]] == kind)
        return int(found[nth])

    def range(self, span: int) -> tuple[int, int]:
        """First token and end of a span of the first row."""
        return (int(self.ends[span - 1]) if span else 0), int(self.ends[span])

    def relabel(self) -> None:
        """Makes the labels of the first row what its spans say."""
        last, start = int(self.token_ends[1]), 0
        self.labels[:last] = -100
        for span in range(int(self.span_rows[1])):
            end = int(self.ends[span])
            if self.flags[span] & 1:
                self.labels[start:end] = self.ids[start:end]
            start = end
        starts = np.concatenate([[0], np.cumsum(self.doc_tokens)])
        self.labels[starts[starts < last]] = -100

    def flush(self) -> None:
        """Writes the damage."""
        for array in (self.ids, self.labels, self.ends, self.kinds, self.messages, self.flags):
            array.flush()  # type: ignore[attr-defined]


Damage = Callable[[Files], None]


def moved(kind: int, *, by: int, before: bool) -> Damage:
    """Moves the border before or after a span."""

    def damage(files: Files) -> None:
        span = files.span(kind)
        files.ends[span - 1 if before else span] += by
        files.relabel()

    return damage


def flagged(kind: int, *, trained: bool) -> Damage:
    """Trains a span, or does not."""

    def damage(files: Files) -> None:
        files.flags[files.span(kind)] = int(trained)
        files.relabel()

    return damage


def becomes(kind: int, other: int, *, offset: int = 0, step: int = 0, trained: bool) -> Damage:
    """Says of a span, or of one near it, that it is of another kind and of the message there."""

    def damage(files: Files) -> None:
        span = files.span(kind)
        target = span + offset
        files.kinds[target] = other
        files.flags[target] = int(trained)
        files.messages[target] = files.messages[span + step]
        files.relabel()

    return damage


def label(kind: int, *, at: int, value: int | None) -> Damage:
    """Sets one label at a place in a span: to its id, or to a value."""

    def damage(files: Files) -> None:
        start, end = files.range(files.span(kind))
        token = start + at if at >= 0 else end + at
        files.labels[token] = files.ids[token] if value is None else value

    return damage


def shifted(by: int) -> Damage:
    """All labels of the first row moved, as when a program shifts them itself."""

    def damage(files: Files) -> None:
        last = int(files.token_ends[1])
        files.labels[:last] = np.roll(files.labels[:last], by)

    return damage


def first_token(files: Files) -> None:
    files.labels[0] = files.ids[0]


def all_untrained(files: Files) -> None:
    first = int(files.doc_tokens[0])
    files.flags[: files.span_rows[1]][files.ends[: files.span_rows[1]] <= first] = 0
    files.relabel()


def control_in(kind: int) -> Damage:
    """A control token inside of text of that kind."""

    def damage(files: Files) -> None:
        start, _ = files.range(files.span(STOP))
        target, _ = files.range(files.span(kind))
        files.ids[target] = files.ids[start]
        files.relabel()

    return damage


def doubled_stop(files: Files) -> None:
    _, end = files.range(files.span(STOP))
    stop = files.span(STOP)
    files.ids[end] = files.ids[end - 1]
    files.ends[stop] += 1
    files.relabel()


def everything(files: Files) -> None:
    last = int(files.token_ends[1])
    files.labels[:last] = files.ids[:last]


def no_turn(files: Files) -> None:
    message = files.messages[files.span(ANSWER)]
    span = files.span(ANSWER)
    for near in range(span - 2, span + 3):
        if files.messages[near] == message:
            files.flags[near] = 0
    files.relabel()


DAMAGES: dict[str, Damage] = {
    "answer begins one token early": moved(ANSWER, by=-1, before=True),
    "answer begins one token late": moved(ANSWER, by=1, before=True),
    "answer begins two tokens early": moved(REASONING, by=-2, before=True),
    "reasoning begins one token early": moved(REASONING, by=-1, before=True),
    "tool call begins one token early": moved(TOOL_CALL, by=-1, before=True),
    "tool call begins one token late": moved(TOOL_CALL, by=1, before=True),
    "stop reaches into the scaffold": moved(STOP, by=1, before=False),
    "stop token not trained": flagged(STOP, trained=False),
    "stop token is scaffold": becomes(STOP, SCAFFOLD, trained=False),
    "stop token is answer text": becomes(STOP, ANSWER, trained=False),
    "scaffold before the user trained": becomes(USER, SCAFFOLD, offset=-1, trained=True),
    "header trained": becomes(TOOL_CALL, SCAFFOLD, offset=-1, trained=True),
    "header is answer": becomes(TOOL_CALL, TOOL_CALL, offset=-1, trained=True),
    "scaffold after the stop is answer": becomes(STOP, ANSWER, offset=1, trained=True),
    "user trained": flagged(USER, trained=True),
    "system trained": flagged(SYSTEM, trained=True),
    "tool output trained": flagged(TOOL_OUTPUT, trained=True),
    "user is answer": becomes(USER, ANSWER, trained=True),
    "system is answer": becomes(SYSTEM, ANSWER, trained=True),
    "tool output is answer": becomes(TOOL_OUTPUT, ANSWER, trained=True),
    "user text of the answer's message": becomes(USER, ANSWER, step=2, trained=True),
    "reasoning alone not trained": flagged(REASONING, trained=False),
    "one label missing in the answer": label(ANSWER, at=1, value=-100),
    "last label of the answer missing": label(ANSWER, at=-1, value=-100),
    "label of the stop missing": label(STOP, at=0, value=-100),
    "one user label set": label(USER, at=0, value=None),
    "one header label set": label(SCAFFOLD, at=-1, value=None),
    "wrong label in the answer": label(ANSWER, at=1, value=5),
    "labels shifted left": shifted(-1),
    "labels shifted right": shifted(1),
    "first token trained": first_token,
    "document without labels": all_untrained,
    "turn without labels": no_turn,
    "everything trained": everything,
    "control token in user text": control_in(USER),
    "control token in system text": control_in(SYSTEM),
    "control token in tool output": control_in(TOOL_OUTPUT),
    "control token in the answer": control_in(ANSWER),
    "stop token twice": doubled_stop,
}


def test_right_masks_have_no_finding(right: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = audit(right)
    assert report["ok"], report["findings"]
    assert report["skipped"] == []
    assert report["documents"] == 40
    assert report["turns"] == 120
    assert cli.main(["audit", str(right)]) == 0
    assert capsys.readouterr().out.startswith("ok: ")


@pytest.mark.parametrize("name", DAMAGES)
def test_every_planted_error_is_found(right: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "packs"
    shutil.copytree(right, folder)
    files = Files(folder)
    DAMAGES[name](files)
    files.flush()
    report = audit(folder)
    assert not report["ok"], name
    rowed = [finding for finding in report["findings"] if finding["row"] is not None]
    if name not in {"turn without labels", "reasoning alone not trained"}:
        assert rowed, "only the sums show it"
        assert rowed[0]["line"] >= 1
    assert report["findings"][0]["what"]


def test_more_than_thirty_errors_are_planted() -> None:
    assert len(DAMAGES) > 30


def test_doubled_beginning_of_sequence_is_found(tmp_path: Path, tokenizer_dir: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(tokenizer_dir, model)
    config = json.loads((model / "tokenizer_config.json").read_text("utf-8"))
    config["bos_token"] = "<|endoftext|>"
    source = "{{ bos_token }}" + config["chat_template"]
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    path = tmp_path / "chat.jsonl"
    path.write_text(json.dumps({"messages": messages}) + "\n", encoding="utf-8")
    for name, template, ok in (("one", source, True), ("two", "{{ bos_token }}" + source, False)):
        config["chat_template"] = template
        (model / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
        out = tmp_path / name
        sftprep.pack(path, out=out, tokenizer=model, max_len=256, date="2025-01-01")
        report = audit(out)
        assert report["ok"] is ok
        assert set(report["counts"]) == (set() if ok else {"bos"})


def test_findings_are_printed_and_exit_with_5(
    right: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "packs"
    shutil.copytree(right, folder)
    files = Files(folder)
    DAMAGES["user trained"](files)
    files.flush()
    assert cli.main(["audit", str(folder)]) == 5
    printed = capsys.readouterr().out
    assert printed.startswith("wrong: ")
    assert "user is trained" in printed
    assert cli.main(["audit", str(folder), "--json"]) == 5
    assert json.loads(capsys.readouterr().out)["counts"]["foreign"] == 1
