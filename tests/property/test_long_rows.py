"""Rows longer than a sequence: whatever they are, each token to train is trained once."""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from reference import shards
from strategies import conversations, plain_text

import sftprep
from sftprep import _core

HEAD = "<|im_start|>{{ m.role }}\n"
CHATML = f"{{% for m in messages %}}{HEAD}{{{{ m.content }}}}<|im_end|>\n{{% endfor %}}"
PROMPT = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
TEMPLATES = {
    "chatml": CHATML + PROMPT,
    # reasoning only in the last message
    "forgets": (
        f"{{% for m in messages %}}{HEAD}"
        "{% if loop.last and m.reasoning_content %}"
        "<think>{{ m.reasoning_content }}</think>{% endif %}"
        "{{ m.content }}<|im_end|>\n{% endfor %}" + PROMPT
    ),
    # the system prompt inside of the first question, turns that have to alternate
    "strict": (
        "{% if messages[0].role == 'system' %}{% set system = messages[0].content %}"
        "{% set rest = messages[1:] %}{% else %}{% set system = '' %}{% set rest = messages %}"
        "{% endif %}{% for m in rest %}"
        "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('roles must alternate') }}{% endif %}"
        f"{HEAD}{{% if loop.first and system %}}{{{{ system }}}}\n\n{{% endif %}}"
        "{{ m.content }}<|im_end|>\n{% endfor %}" + PROMPT
    ),
    # the first question looks different, the date stands before all
    "first": (
        "<|im_start|>system\n{{ tools | tojson if tools else 'no tools' }}<|im_end|>\n"
        "{% for m in messages %}"
        f"{HEAD}{{% if loop.first %}}To begin with: {{% endif %}}"
        "{{ m.content }}<|im_end|>\n{% endfor %}" + PROMPT
    ),
}
SHARED = ["qwen3", "llama3_1", "gemma3", "deepseek_v3"]
words = st.integers(0, 60).map(
    lambda n: " ".join(["word", "other", "é", "x y"][i % 4] for i in range(n))
)


@st.composite
def talks(draw: st.DrawFn) -> dict[str, Any]:
    """Longer conversations in a usual order, sometimes of an agent that calls its tools."""
    messages: list[dict[str, Any]] = []
    if draw(st.booleans()):
        messages.append({"role": "system", "content": draw(plain_text)})
    for turn in range(draw(st.integers(1, 6))):
        messages.append({"role": "user", "content": f"{draw(words)} question {turn}"})
        for call in range(draw(st.sampled_from([0, 0, 0, 1, 6]))):
            function = {"name": "search", "arguments": {"q": draw(words)}}
            calls = [{"type": "function", "function": function}]
            messages.append({"role": "assistant", "content": f"call {call}", "tool_calls": calls})
            messages.append({"role": "tool", "name": "search", "content": draw(plain_text)})
        answer = {"role": "assistant", "content": f"{draw(words)} answer {turn}"}
        if draw(st.integers(0, 3)) == 0:
            answer["reasoning_content"] = draw(plain_text)
        if draw(st.integers(0, 9)) == 0:
            answer["train"] = False
        messages.append(answer)
    if draw(st.integers(0, 5)) == 0:
        messages.append({"role": "user", "content": "and then?"})
    return {"messages": messages}


Trained = dict[int, list[list[int]]]


def trained(documents: list[shards.Document]) -> Trained:
    """The trained ids of each message, a list per document that has some."""
    found: Trained = defaultdict(list)
    for document in documents:
        start, own = 0, defaultdict(list)
        first = document.spans[-1][0] - len(document.ids)
        for end, _, message, _ in document.spans:
            stop = end - first
            own[message] += [label for label in document.labels[start:stop] if label >= 0]
            start = stop
        for message, ids in own.items():
            if ids:
                found[message].append(ids)
    return found


def joined(by_message: Trained) -> dict[int, list[int]]:
    return {message: list(chain.from_iterable(it)) for message, it in by_message.items()}


def pack(folder: Path, rows: list[Any], **options: object) -> tuple[Any, Any, sftprep.PackReport]:
    source = folder / "rows.jsonl"
    source.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    out = folder / f"out-{options['max_len']}"
    report = sftprep.pack(source, out=out, max_reject_rate=1.0, dropped="allow", **options)
    if report.sequences:
        _core.verify(str(out))
        audit = json.loads(_core.audit(str(out)))
        assert audit["ok"], audit["findings"]
    return shards.by_line(out), {it["line"]: it for it in shards.ledger(out)}, report


def judge(rows: list[Any], max_len: int, no_thought: list[int], **options: object) -> None:
    """Packs rows whole and as windows, and compares what is trained.

    A template may put ``no_thought`` before some turns, depending on what stands around them.
    """

    def bare(ids: list[int]) -> list[int]:
        count = len(no_thought)
        return ids[count:] if ids[:count] == no_thought else ids

    with tempfile.TemporaryDirectory() as folder:
        whole, before, _ = pack(Path(folder), rows, max_len=1 << 20, **options)
        parts, ledger, report = pack(Path(folder), rows, max_len=max_len, **options)
    windows = 0
    for line, entry in ledger.items():
        if before[line]["decision"] != "packed":
            assert entry["decision"] == before[line]["decision"]
            continue
        if entry["decision"] != "packed":
            assert (entry["code"], bool(entry["detail"])) == ("pack.overlong", True)
            continue
        own = parts[line]
        assert all(len(document.ids) <= max_len for document in own)
        packed_tokens = sum(len(document.ids) for document in own)
        assert entry["tokens"] == packed_tokens + entry["cut_tokens"]
        found, wanted = joined(trained(own)), joined(trained(whole[line]))
        if no_thought:
            found, wanted = ({at: bare(ids) for at, ids in it.items()} for it in (found, wanted))
        if found != wanted:
            # what is missing is missing whole, and the ledger says so
            assert (entry["code"], entry["cut_tokens"] > 0) == ("pack.overlong", True)
            assert found == {message: wanted[message] for message in found}
        windows += len(own) if entry["code"] else 0
    assert report.windows <= windows


@pytest.mark.parametrize("name", TEMPLATES)
@settings(max_examples=20, suppress_health_check=list(HealthCheck), deadline=None)
@given(
    rows=st.lists(st.one_of(talks(), talks(), conversations()), min_size=1, max_size=4),
    max_len=st.sampled_from([2, 17, 60, 100, 200]),
    options=st.sampled_from(
        [
            {},
            {},
            {"train_on": "last_turn"},
            {"train_on": "user,assistant"},
            {"stop": "last"},
            {"history": "allow"},
            {"reasoning": False},
            {"boundary": "inference"},
        ]
    ),
)
def test_conversations(
    tokenizer_dir: Path, name: str, rows: list[Any], max_len: int, options: dict[str, Any]
) -> None:
    # that a template shows a thought in the last turn of a window only is what inference has, too
    assume(not (name == "forgets" and options.get("history") == "allow"))
    # what it says before the first question of a window is part of no turn, and of its tokens
    assume(not (name == "first" and options.get("train_on") == "user,assistant"))
    judge(rows, max_len, [], tokenizer=tokenizer_dir, chat_template=TEMPLATES[name], **options)


@pytest.mark.parametrize("name", SHARED)
@settings(max_examples=8, suppress_health_check=list(HealthCheck), deadline=None)
@given(
    rows=st.lists(talks(), min_size=1, max_size=4),
    max_len=st.sampled_from([60, 100, 200, 400]),
)
def test_conversations_of_publishers(data: Path, name: str, rows: list[Any], max_len: int) -> None:
    folder = data / "tokenizers" / name
    tokenizer = sftprep.Tokenizer.from_file(folder)
    thought = tokenizer.encode("<think>\n\n</think>\n\n").ids.tolist() if name == "qwen3" else []
    judge(rows, max_len, thought, tokenizer=folder)


@pytest.mark.parametrize("form", ["text", "prompt_completion", "pretokenized"])
@settings(max_examples=20, suppress_health_check=list(HealthCheck), deadline=None)
@given(draw=st.data(), max_len=st.sampled_from([2, 3, 16, 50]))
def test_rows_without_messages(
    tokenizer_dir: Path, form: str, draw: st.DataObject, max_len: int
) -> None:
    rows = []
    for _ in range(draw.draw(st.integers(1, 5))):
        if form == "text":
            rows.append({"text": draw.draw(words) + draw.draw(plain_text)})
        elif form == "prompt_completion":
            rows.append({"prompt": draw.draw(words), "completion": draw.draw(plain_text)})
            rows.append({"prompt": draw.draw(plain_text), "completion": draw.draw(words) + "."})
        else:
            ids = draw.draw(st.lists(st.integers(0, 200), min_size=2, max_size=200))
            mask = draw.draw(st.lists(st.integers(0, 1), min_size=len(ids), max_size=len(ids)))
            rows.append(
                {"input_ids": ids, "loss_mask": mask} if any(mask[1:]) else {"input_ids": ids}
            )
    rows.sort(key=len)
    if form == "pretokenized":
        rows = [row for row in rows if len(row) == len(rows[0])]
    judge(rows, max_len, [], tokenizer=tokenizer_dir, format=form)


def test_raw_text_repeats_one_token(tokenizer_dir: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        row = {"text": "nothing but text " * 40}
        ((whole,),) = pack(Path(folder), [row], tokenizer=tokenizer_dir, max_len=4096)[0].values()
        parts, ledger, report = pack(Path(folder), [row], tokenizer=tokenizer_dir, max_len=32)
    assert [label for part in parts[1] for label in part.labels if label >= 0] == whole.ids[1:]
    assert report.repeated_tokens == len(parts[1]) - 1 == report.windows - 1
    assert ledger[1]["tokens"] == len(whole.ids) + report.repeated_tokens
    assert (ledger[1]["cut_tokens"], report.window_rows) == (0, 1)
