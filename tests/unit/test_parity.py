"""``sftprep audit --parity``: whether the ids before turns are those of inference, and why not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, conversation

import sftprep
from sftprep import _core, cli

LOOP = (
    "{% for m in messages %}<|{{ m.role }}|>BODY<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>PROMPT{% endif %}"
)
CASES = {
    "equal": LOOP.replace("BODY", "{{ m.content }}").replace("PROMPT", ""),
    # a prompt that goes on with a mark that the turns do not have
    "generation_prompt": (LOOP.replace("BODY", "{{ m.content }}").replace("PROMPT", "<think>")),
    # the token that begins a sequence, only where inference asks
    "bos": (
        "{% if add_generation_prompt %}{{ bos_token }}{% endif %}"
        + LOOP.replace("BODY", "{{ m.content }}").replace("PROMPT", "")
    ),
    # tools before the last user message, as some templates put them
    "tools": (
        LOOP.replace(
            "BODY",
            "{% if tools and m.role == 'user' and messages[loop.index0:] | "
            "selectattr('role', 'equalto', 'user') | list | length == 1 %}{{ tools | tojson }}"
            "{% endif %}{{ m.content }}",
        ).replace("PROMPT", "")
    ),
}
TOOL = {"type": "function", "function": {"name": "look", "description": "Looks."}}


def pack(tmp_path: Path, template: str, rows: list[dict[str, Any]], **options: Any) -> Path:  # noqa: ANN401
    """A dataset of some rows."""
    path = tmp_path / "chat.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    out = tmp_path / "packs"
    sftprep.pack(
        path,
        out=out,
        chat_template=template,
        max_len=1024,
        overwrite=True,
        date="2025-01-01",
        **{"tokenizer": "builtin", **options},
    )
    return out


def found(packs: Path, *inputs: str) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(_core.parity(packs, inputs))
    assert report["turns"] == report["equal"] + sum(
        count for cause, count in report["causes"].items() if cause != "source"
    )
    assert report["ok"] is (not report["causes"])
    return report


@pytest.mark.parametrize("cause", CASES)
def test_turns_are_told_apart_by_cause(tmp_path: Path, tokenizer_dir: Path, cause: str) -> None:
    template = CASES[cause]
    model = shutil.copytree(tokenizer_dir, tmp_path / "model")
    config = json.loads((model / "tokenizer_config.json").read_text("utf-8"))
    config["bos_token"] = "<|endoftext|>"
    (model / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    rows = [conversation(index, turns=2) for index in range(5)]
    for row in rows:
        row["tools"] = [TOOL]
        for message in row["messages"]:
            message["content"] = message["content"].strip()
    packs = pack(tmp_path, template, rows, tokenizer=model)
    report = found(packs)
    assert report["turns"] == 10
    if cause == "equal":
        assert report["ok"]
        return
    assert set(report["causes"]) == {cause}, report["findings"][:3]
    first = report["findings"][0]
    assert (first["cause"], first["source"]) == (cause, "chat")
    assert first["what"]


def test_reasoning_that_later_turns_hide_is_named(tmp_path: Path) -> None:
    template = LOOP.replace(
        "BODY",
        "{% if m.reasoning_content and loop.index0 > messages | map(attribute='role') | list "
        "| length - 3 %}<think>{{ m.reasoning_content }}</think>{% endif %}{{ m.content }}",
    ).replace("PROMPT", "")
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "One.", "reasoning_content": "hm"},
        {"role": "assistant", "content": "Two."},
        {"role": "user", "content": "Go on"},
        {"role": "assistant", "content": "Three."},
    ]
    packs = pack(tmp_path, template, [{"messages": messages}], history="allow")
    report = found(packs)
    assert report["causes"] == {"reasoning": 1}
    assert report["findings"][0]["message"] == 2
    # one sample per turn, and every turn has its prompt
    packs = pack(tmp_path, template, [{"messages": messages}])
    assert found(packs)["ok"]


def test_boundaries_are_named_and_gone_with_inference(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    template = LOOP.replace("BODY", "  {{ m.content }}").replace("PROMPT", "  ")
    rows = [conversation(index, turns=2) for index in range(3)]
    packs = pack(tmp_path, template, rows)
    report = found(packs)
    assert set(report["causes"]) == {"boundary"}
    assert cli.main(["audit", str(packs), "--parity"]) == 5
    said = capsys.readouterr().out
    assert "parity wrong: before 0 of 6 trained turns stand the ids of inference" in said
    assert "boundary: 6, a token lies across" in said
    packs = pack(tmp_path, template, rows, boundary="inference")
    assert found(packs)["ok"]
    assert cli.main(["audit", str(packs), "--parity", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["parity"]["equal"] == 6


def test_the_demo_set_with_inference_boundaries_is_at_parity(tmp_path: Path) -> None:
    packs = tmp_path / "packs"
    sftprep.pack(
        ROOT / "examples/demo",
        out=packs,
        tokenizer="builtin",
        max_len=1024,
        date="2025-01-01",
        boundary="inference",
    )
    report = found(packs)
    assert report["turns"] > 60
    assert report["ok"], report["findings"]


def test_rows_that_are_gone_are_findings(tmp_path: Path) -> None:
    packs = pack(tmp_path, "chatml", [conversation(index) for index in range(3)])
    path = tmp_path / "chat.jsonl"
    lines = path.read_text("utf-8").split("\n")
    moved = path.rename(tmp_path / "moved.jsonl")
    report = found(packs)
    assert report["causes"] == {"source": 3}
    assert found(packs, f"chat={moved}")["ok"]
    path.write_text("\n".join([lines[0], lines[1].replace("What", "Whot"), lines[2]]), "utf-8")
    report = found(packs)
    assert (report["equal"], report["causes"]) == (2, {"source": 1})
    assert report["findings"][0]["line"] == 2
