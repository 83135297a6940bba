"""Where an answer begins: ids of the whole text, or those that a serving engine goes on from.

The judge renders the prompt of every trained turn by itself and tokenizes that with the tokenizers
library: with ``boundary="inference"`` exactly those ids must stand before the turn.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from reference.data import TOKENIZERS

import sftprep
from sftprep import _core

STARTS = [
    "Yes.",
    "\nYes.",
    "\n\n\nYes.",
    " Yes.",
    "   Yes",
    "\tYes",
    "'s",
    "123",
    "",
    "é",
    "好",
    "\u200dx",
]
HEADERS = {
    "line": "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}",
    "colon": "{% for m in messages %}{{ m.role }}: {{ m.content }}<|end|>\n\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}",
    "digits": "{% for m in messages %}{{ m.role }} 1{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}assistant 1{% endif %}",
    "spaces": "{% for m in messages %}{{ m.role }}:  {{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:  {% endif %}",
}


def rows() -> list[dict[str, Any]]:
    made = []
    for first in STARTS:
        for second in STARTS:
            made.append(
                {
                    "messages": [
                        {"role": "user", "content": "Are you there?"},
                        {"role": "assistant", "content": first + " I am here, as ever."},
                        {"role": "user", "content": "And now? 12"},
                        {"role": "assistant", "content": second + " Still here."},
                    ]
                }
            )
    return made


def trained_turns(row: _core.EncodedRow) -> list[tuple[int, int]]:
    """Message and first byte of each trained turn."""
    first: dict[int, int] = {}
    for start, _, _, message, trained in row.spans:
        if trained and message is not None:
            first.setdefault(message, start)
    return sorted(first.items())


@pytest.mark.parametrize("name", TOKENIZERS)
def test_inference_has_the_ids_of_its_prompt(data: Path, name: str) -> None:
    hf = pytest.importorskip("tokenizers")
    path = data / "tokenizers" / name / "tokenizer.json"
    oracle = hf.Tokenizer.from_file(str(path))
    tokenizer = sftprep.Tokenizer.from_file(path)
    differing = sum(judge(oracle, tokenizer, header) for header in HEADERS.values())
    assert differing > len(STARTS), "headers and starts are chosen so that many rows differ"


def judge(oracle: Any, tokenizer: sftprep.Tokenizer, header: str) -> int:  # noqa: ANN401
    """Checks all rows under one header; returns how many differ."""
    template = sftprep.ChatTemplate(header)
    as_text = sftprep.Encoder(tokenizer, template)
    as_served = sftprep.Encoder(tokenizer, template, boundary="inference")
    differing = 0
    for row in rows():
        ids = oracle.encode(template.render(row["messages"]), add_special_tokens=False).ids
        assert as_text.encode(row).input_ids.tolist() == ids, "hf is what transformers gives"
        prompts = {}
        for message in (1, 3):
            prompt = template.render(row["messages"][:message], add_generation_prompt=True)
            prompts[message] = oracle.encode(prompt, add_special_tokens=False).ids
        samples = as_served.encode_samples(row)
        seen = []
        for sample in samples:
            for message, _ in trained_turns(sample):
                seen.append(message)
                wanted = prompts[message]
                assert sample.input_ids.tolist()[: len(wanted)] == wanted, (message, row)
                assert sample.labels[len(wanted)] >= 0, "the answer is trained from its first token"
        assert seen == [1, 3]
        equal = all(ids[: len(wanted)] == wanted for wanted in prompts.values())
        whole = len(samples) == 1 and samples[0].input_ids.tolist() == ids
        assert equal or not whole
        assert len(samples) == 1 or not equal, "a row is taken apart only where it must be"
        differing += not whole
    return differing


def test_rows_that_differ_are_counted_and_listed(tmp_path: Path, tokenizer_dir: Path) -> None:
    tokenizer = tmp_path / "model"
    tokenizer.mkdir()
    # a tokenizer that has two newlines as one token
    spec = json.loads((tokenizer_dir / "tokenizer.json").read_text("utf-8"))
    vocab = spec["model"]["vocab"]
    vocab["ĊĊ"] = max(vocab.values()) + 1
    spec["model"]["merges"].insert(0, ["Ċ", "Ċ"])
    (tokenizer / "tokenizer.json").write_text(json.dumps(spec), encoding="utf-8")
    config = (tokenizer_dir / "tokenizer_config.json").read_text("utf-8")
    (tokenizer / "tokenizer_config.json").write_text(config, encoding="utf-8")
    lines = []
    for index in range(20):
        start = "\n\n" if index in {3, 7} else ""
        messages = []
        for turn in range(2):
            messages += [
                {"role": "user", "content": f"What is {index}?"},
                {"role": "assistant", "content": f"{start if turn == 0 else ''}It is {index}."},
            ]
        lines.append(json.dumps({"messages": messages}))
    lines.append(json.dumps({"prompt": "2+2=\n", "completion": "\n\n4"}))
    path = tmp_path / "chat.jsonl"
    path.write_text("\n".join(lines[:20]), encoding="utf-8")
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text(lines[20], encoding="utf-8")
    found = {}
    for boundary in ("hf", "inference"):
        report = sftprep.pack(
            [path, pairs],
            out=tmp_path / boundary,
            tokenizer=tokenizer,
            max_len=512,
            boundary=boundary,  # type: ignore[arg-type]
        )
        assert (report.boundary_rows, report.boundary_turns) == (3, 3)
        assert [(it["line"], it["messages"]) for it in report.boundary_list] == [
            (4, [1]),
            (8, [1]),
            (1, []),
        ]
        found[boundary] = report
        manifest = json.loads(_core.read_manifest(tmp_path / boundary))
        assert manifest["config"]["label"]["boundary"] == boundary
        audit = json.loads(_core.audit(tmp_path / boundary))
        assert audit["ok"], audit["findings"]
    assert found["hf"].straddling_tokens == 3
    assert found["inference"].straddling_tokens == 0
    assert found["hf"].totals.documents == 21
    # an earlier answer's prompt is part of the later one's, so both rows are taken apart
    assert found["inference"].totals.documents == 23
    assert found["inference"].expanded_rows == 2


def test_the_demo_set_has_one_such_row() -> None:
    report = sftprep.pack(
        ROOT / "examples/demo", tokenizer="builtin", max_len=1024, date="2025-01-01", dry_run=True
    )
    assert report.boundary_rows == report.boundary_turns == len(report.boundary_list)


@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_plain_newline_is_a_border_of_byte_level_splits(data: Path, name: str) -> None:
    """Behind a visible character and a newline, before a letter or digit, ids fall apart: what
    lets the check of boundaries skip the usual header."""
    hf = pytest.importorskip("tokenizers")
    path = data / "tokenizers" / name / "tokenizer.json"
    if "byte-level" not in sftprep.Tokenizer.from_file(path).engine_detail:
        pytest.skip("no byte-level split")
    oracle = hf.Tokenizer.from_file(str(path))
    chance = random.Random(name)
    shapes = ["a", "Z", "7", "'", " ", "  ", "\n", "\n\n", "\t", ".", "/", "é", "好", "\u0301", "s"]
    for _ in range(3000):
        left = "".join(chance.choices(shapes, k=chance.randrange(6))) + chance.choice("at9>:}.'/")
        right = chance.choice("aZs7好") + "".join(chance.choices(shapes, k=chance.randrange(6)))
        ids = [oracle.encode(text, add_special_tokens=False).ids for text in (left + "\n", right)]
        whole = oracle.encode(left + "\n" + right, add_special_tokens=False).ids
        assert whole == ids[0] + ids[1], (left, right)
