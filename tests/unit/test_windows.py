"""What windows of a long conversation look like, and what is told of them."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from reference import shards

import sftprep
from sftprep import _core

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
WHOLE_ONLY = (
    "{% if messages[0].opens and not messages[-1].closes %}"
    "{{ raise_exception('it has no end') }}{% endif %}" + CHATML
)
"""Takes a conversation only up to the message that closes it."""
Rows = list[dict[str, Any]]


def talk(turns: int, words: int = 6, system: str = "Be kind.") -> Rows:
    messages: Rows = [{"role": "system", "content": system}]
    for turn in range(turns):
        messages.append({"role": "user", "content": f"question {turn} " + "why " * words})
        messages.append({"role": "assistant", "content": f"answer {turn} " + "so " * words})
    return messages


def packed(
    folder: Path, tokenizer_dir: Path, rows: list[Any], template: str = CHATML, **options: object
) -> tuple[Path, sftprep.PackReport]:
    source, file = folder / "rows.jsonl", folder / "template.jinja"
    source.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    file.write_text(template)
    out = folder / "packs"
    options = {"max_len": 100, **options}
    report = sftprep.pack(
        source, out=out, tokenizer=tokenizer_dir, chat_template=str(file), **options
    )
    if report.sequences:
        _core.verify(str(out))
        audit = json.loads(_core.audit(str(out)))
        assert audit["ok"], audit["findings"]
    return out, report


def texts(out: Path, tokenizer_dir: Path) -> list[tuple[str, str]]:
    """Text, and trained text, of the windows of the first row."""
    tokenizer = sftprep.Tokenizer.from_file(tokenizer_dir)
    return [
        (
            tokenizer.decode(part.ids, skip_special_tokens=False),
            tokenizer.decode([it for it in part.labels if it >= 0], skip_special_tokens=False),
        )
        for part in shards.by_line(out)[1]
    ]


def test_a_window_is_the_rendering_of_its_messages(tmp_path: Path, tokenizer_dir: Path) -> None:
    messages = talk(5)
    out, report = packed(tmp_path, tokenizer_dir, [{"messages": messages}])
    template = sftprep.ChatTemplate(CHATML)
    found = texts(out, tokenizer_dir)
    head, rest = messages[:1], messages[1:]
    windows = [
        head + rest[start : start + count] for count in range(1, 11) for start in range(0, 10, 2)
    ]
    rendered = {template.render(window) for window in windows}
    assert len(found) > 2
    assert all(text in rendered for text, _ in found)
    answers = "".join(trained for _, trained in found)
    wanted = [f"{it['content']}<|im_end|>" for it in messages if it["role"] == "assistant"]
    assert answers == "".join(wanted)
    (entry,) = shards.ledger(out)
    parts = shards.by_line(out)[1]
    assert (entry["decision"], entry["code"], entry["cut_tokens"]) == ("packed", "pack.overlong", 0)
    assert entry["documents"] == len(parts) == report.windows
    assert entry["tokens"] == sum(len(part.ids) for part in parts) == report.totals.encoded
    assert (report.window_rows, report.totals.cut) == (1, {})


def test_drop_oldest_turns_keeps_the_last_window(tmp_path: Path, tokenizer_dir: Path) -> None:
    out, report = packed(
        tmp_path,
        tokenizer_dir,
        [{"messages": talk(5)}],
        overlong="drop_oldest_turns",
        max_len=220,
    )
    ((text, trained),) = texts(out, tokenizer_dir)
    assert text.startswith("<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nquestion")
    assert trained.count("answer") > 1
    assert trained.endswith("<|im_end|>")
    assert "answer 4" in trained
    assert "question 0" not in text
    (entry,) = shards.ledger(out)
    assert entry["cut_tokens"] == report.totals.cut["pack.overlong"] > 0


def test_a_long_answer_is_sliced_and_its_stop_trained_once(
    tmp_path: Path, tokenizer_dir: Path
) -> None:
    messages = talk(2)
    messages[2]["content"] = "".join(f"step {n}. " for n in range(120))
    out, _ = packed(tmp_path, tokenizer_dir, [{"messages": messages}])
    found = texts(out, tokenizer_dir)
    trained = "".join(own for _, own in found)
    assert trained == f"{messages[2]['content']}<|im_end|>{messages[4]['content']}<|im_end|>"
    assert found[0][0].startswith("<|im_start|>system\nBe kind.")
    assert "<|im_end|>" not in found[0][1]
    for (_, before), (text, own) in pairwise(found[:-1]):
        assert text.index(own[:20]) > 0, "some context comes first"
        assert before.endswith(text[: text.index(own[:20])])


def test_a_prompt_that_is_too_long_keeps_its_tail(tmp_path: Path, tokenizer_dir: Path) -> None:
    messages = talk(1)
    messages[1]["content"] = "".join(f"fact {n}. " for n in range(200)) + "the question"
    out, report = packed(tmp_path, tokenizer_dir, [{"messages": messages}])
    ((text, trained),) = texts(out, tokenizer_dir)
    assert trained == f"{messages[2]['content']}<|im_end|>"
    assert "the question<|im_end|>\n<|im_start|>assistant\n" in text
    assert "Be kind" not in text
    assert report.totals.cut["pack.overlong"] > 0


def test_what_no_window_can_be_made_of_is_dropped_with_the_reason(
    tmp_path: Path, tokenizer_dir: Path
) -> None:
    closed, open_end = talk(5), [*talk(5), {"role": "user", "content": "and?", "closes": True}]
    closed[0]["opens"] = open_end[0]["opens"] = True
    closed[-1]["closes"] = True
    rows = [{"messages": it} for it in (closed, open_end, talk(1))]
    out, report = packed(tmp_path, tokenizer_dir, rows, WHOLE_ONLY)
    part, none, _ = shards.ledger(out)
    assert (part["decision"], part["code"], part["documents"]) == ("packed", "pack.overlong", 1)
    ((_, trained),) = texts(out, tokenizer_dir)
    assert trained == f"{closed[-1]['content']}<|im_end|>"
    assert part["cut_tokens"] > 100
    assert (none["decision"], none["code"]) == ("dropped", "pack.overlong")
    assert "no window could be made" in none["detail"]
    assert "it has no end" in none["detail"]
    assert report.totals.dropped_tokens == {"pack.overlong": none["tokens"]}


def test_tokens_of_windows_are_explained(tmp_path: Path, tokenizer_dir: Path) -> None:
    messages = talk(5)
    messages[6]["content"] = "".join(f"step {n}. " for n in range(120))
    out, _ = packed(tmp_path, tokenizer_dir, [{"messages": messages}])
    dataset = sftprep.ShardDataset(out)
    seen = set()
    for row in range(len(dataset)):
        ids = dataset[row]["input_ids"]
        for position in range(0, len(ids), 3):
            (told,) = json.loads(_core.explain(str(out), row, position, []))
            assert told["missing"] is None, told["missing"]
            part = told["source"]["parts"][0]
            if part["path"] is None or told["message"] is None or part["chars"] is None:
                continue
            assert part["path"] == f"messages[{told['message']}].content"
            first, last = part["chars"]
            assert messages[told["message"]]["content"][first:last] in told["token"] + part["text"]
            if told["trained"]:
                seen.add("trained")
                assert told["kind"] in {"answer", "stop"}
            elif told["kind"] == "answer":
                seen.add("repeated")
                assert "repeated as context" in told["why"]
    assert seen == {"trained", "repeated"}


def test_windows_have_the_ids_of_inference(tmp_path: Path, tokenizer_dir: Path) -> None:
    messages = talk(6)
    messages[4]["content"] += "and so on, " * 60
    out, _ = packed(tmp_path, tokenizer_dir, [{"messages": messages}])
    parity = json.loads(_core.parity(str(out), []))
    assert parity["ok"], parity["findings"]
    assert parity["turns"] >= 5


def test_the_command_tells(
    tmp_path: Path, tokenizer_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from sftprep.cli import main

    source = tmp_path / "rows.jsonl"
    source.write_text(json.dumps({"messages": talk(5)}) + "\n")
    given = ["--tokenizer", str(tokenizer_dir), "--max-len", "100", "--out", str(tmp_path / "out")]
    assert main(["pack", str(source), *given]) == 0
    told = capsys.readouterr().out
    assert "1 row longer than 100 tokens became" in told
    assert "repeated as context (--overlong)" in told
