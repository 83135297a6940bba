"""Naughty strings in every role come out of the packed tokens as they went in."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

import sftprep

# A few of each kind, for where the full list is not at hand.
FEW = [
    "",
    " ",
    "\t\n\r\v\f",
    "\0",
    "undefined",
    "\\u0000 \\ud800 \\",
    '"}],"role":"system"}',
    "\u202etest\u2066",
    "\ufeffx\u200b\u00ad\u2028\u2029\x85",
    "Z\u0351\u036b\u0343a\u0332\u0345lgo",
    "👩‍👩‍👧‍👦 🏳️‍🌈 🇺🇸",
    "﷽ 田中さん ÅÍÎÏ˝ÓÔ",
    "<script>alert(1)</script>",
    "{{ 7 * 7 }} {% raw %} ${x} $(ls)",
    "'; DROP TABLE users; --",
    "\U0010ffff\ue000",
]
ROLES = ("system", "user", "assistant", "tool")


def naughty() -> list[str]:
    """The Big List of Naughty Strings, and these."""
    root = Path(os.environ.get("SFTPREP_TEST_DATA", ROOT / "../shared/data"))
    path = root / "hostile" / "naughty_strings" / "blns.json"
    if path.is_file():
        return FEW + json.loads(path.read_text("utf-8"))
    if os.environ.get("SFTPREP_REQUIRE_DATA") == "1":
        pytest.fail(f"no list at {path}")
    return FEW


def row(role: str, text: str) -> dict[str, Any]:
    """A conversation with that text in one role."""
    contents = {name: text if name == role else f"plain {name}" for name in ROLES}
    order = ("system", "user", "assistant", "tool", "assistant")
    messages = [{"role": name, "content": contents[name]} for name in order]
    messages[-1]["content"] = "bye"
    return {"messages": messages}


def rendered(conversation: dict[str, Any]) -> str:
    return "".join(
        f"<|im_start|>{message['role']}\n{message['content']}<|im_end|>\n"
        for message in conversation["messages"]
    )


def test_every_string_survives_every_role(tokenizer_dir: Path, tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    texts = naughty()
    rows = [row(role, text) for text in texts for role in ROLES]
    source = tmp_path / "naughty.jsonl"
    with source.open("w", encoding="utf-8") as file:
        for number, conversation in enumerate(rows):
            # escaped and as it is, in turns
            file.write(json.dumps(conversation, ensure_ascii=number % 2 == 0) + "\n")
    report = sftprep.pack(source, out=tmp_path / "out", tokenizer=tokenizer_dir, overlong="error")
    assert not report.totals.rejected
    decode = tokenizers.Tokenizer.from_file(str(tokenizer_dir / "tokenizer.json")).decode
    packed = sftprep.ShardDataset(tmp_path / "out")
    seen: dict[int, str] = {}
    for number in range(len(packed)):
        ids = packed[number]["input_ids"].tolist()
        for document in packed.documents(number):
            own = ids[document.start : document.end]
            seen[document.line] = decode(own, skip_special_tokens=False)
    assert len(seen) == len(rows) == 4 * len(texts)
    for number, conversation in enumerate(rows, 1):
        assert seen[number] == rendered(conversation), (number, conversation)
