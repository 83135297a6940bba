"""Each choice of what is trained, with the same words in flags, in TOML and in Python."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest
from reference import shards

import sftprep
from sftprep import _core
from sftprep.cli import pack as command
from sftprep.config import PackConfig, merge

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.reasoning_content %}<think>{{ m.reasoning_content }}</think>{% endif %}"
    "{{ m.content }}{% for c in m.tool_calls or [] %}<call>{{ c.function.name }}</call>"
    "{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CALL = {"type": "function", "function": {"name": "add", "arguments": {"a": 1}}}
MESSAGES: list[dict[str, Any]] = [
    {"role": "system", "content": "be brief"},
    {"role": "user", "content": "one and one?"},
    {"role": "assistant", "content": "", "reasoning_content": "hm", "tool_calls": [CALL]},
    {"role": "tool", "content": "2"},
    {"role": "assistant", "content": "two", "reasoning_content": "easy"},
]
STOP = "<|im_end|>"
CALLED, SAID = f"<think>hm</think><call>add</call>{STOP}", f"<think>easy</think>two{STOP}"
Case = tuple[list[str], str, dict[str, Any], str]
CASES: dict[str, Case] = {
    "default": ([], "", {}, CALLED + SAID),
    "last turn": (
        ["--train-on", "last_turn"],
        'train_on = "last_turn"',
        {"train_on": "last_turn"},
        SAID,
    ),
    "roles": (
        ["--train-on", "user,tool"],
        'train_on = "user,tool"',
        {"train_on": "user,tool"},
        f"one and one?{STOP}2{STOP}",
    ),
    "all roles": (
        ["--train-on", "system,user,assistant,tool"],
        'train_on = "system,user,assistant,tool"',
        {"train_on": "system,user,assistant,tool"},
        f"be brief{STOP}one and one?{STOP}{CALLED}2{STOP}{SAID}",
    ),
    "no reasoning": (
        ["--no-reasoning"],
        "reasoning = false",
        {"reasoning": False},
        f"<call>add</call>{STOP}two{STOP}",
    ),
    "no tool calls": (
        ["--no-tool-calls"],
        "tool_calls = false",
        {"tool_calls": False},
        f"<think>hm</think>{STOP}{SAID}",
    ),
    "stop of the last": (
        ["--stop", "last"],
        'stop = "last"',
        {"stop": "last"},
        CALLED.removesuffix(STOP) + SAID,
    ),
    "no stop": (
        ["--stop", "none"],
        'stop = "none"',
        {"stop": "none"},
        CALLED.removesuffix(STOP) + SAID.removesuffix(STOP),
    ),
}


def resolved(*arguments: str) -> PackConfig:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.resolve(parser.parse_args(["rows.jsonl", *arguments]))


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"messages": MESSAGES}) + "\n")
    return path


@pytest.fixture
def template(tmp_path: Path) -> Path:
    path = tmp_path / "template.jinja"
    path.write_text(TEMPLATE)
    return path


@pytest.mark.parametrize("name", CASES)
def test_a_choice_in_flags_in_toml_and_in_python(
    name: str, tmp_path: Path, rows: Path, template: Path, tokenizer_dir: Path
) -> None:
    flags, toml, options, expected = CASES[name]
    file = tmp_path / "config.toml"
    file.write_text(f"[label]\n{toml}\n")
    from_flags = resolved(*flags)
    assert from_flags == resolved("--config", str(file))
    in_python = merge(PackConfig(), {"source": {"inputs": ["rows.jsonl"]}, "label": options})
    assert from_flags == in_python

    out = tmp_path / "out"
    sftprep.pack(rows, out=out, tokenizer=tokenizer_dir, chat_template=str(template), config=file)
    tokenizer = sftprep.Tokenizer.from_file(tokenizer_dir)
    (document,) = shards.documents(out)
    trained = [token for token in document.labels if token >= 0]
    assert tokenizer.decode(trained, skip_special_tokens=False) == expected
    found = json.loads(_core.audit(str(out)))
    assert found["ok"], found["findings"]

    encoder = sftprep.Encoder(tokenizer, sftprep.ChatTemplate(TEMPLATE), **options)
    row = encoder.encode({"messages": MESSAGES})
    assert row.labels.tolist() == document.labels


def test_messages_say_what_is_trained_and_with_what_weight(
    tmp_path: Path, template: Path, tokenizer_dir: Path
) -> None:
    flags = [{}, {}, {"train": False}, {}, {"weight": 0.5}]
    messages = [message | flag for message, flag in zip(MESSAGES, flags, strict=True)]
    path = tmp_path / "flags.jsonl"
    zero = [message | {"weight": 0} if "weight" in message else message for message in messages]
    path.write_text(
        json.dumps({"messages": messages}) + "\n" + json.dumps({"messages": zero}) + "\n"
    )
    out = tmp_path / "out"
    sftprep.pack(
        path,
        out=out,
        tokenizer=tokenizer_dir,
        chat_template=str(template),
        max_reject_rate=1.0,
        strategy="none",
    )
    tokenizer = sftprep.Tokenizer.from_file(tokenizer_dir)
    (document,) = shards.documents(out)
    trained = [token for token in document.labels if token >= 0]
    assert tokenizer.decode(trained, skip_special_tokens=False) == SAID
    (side,) = shards.table(next(out.glob("spans-*.arrow"))).to_pylist()
    weights = {
        (message, weight)
        for message, weight, bits in zip(
            side["span_message"], side["span_weight"], side["span_flags"], strict=True
        )
        if bits & 1
    }
    assert weights == {(4, 0.5)}
    # 0 is "not trained": nothing of the second row would be
    assert [entry["code"] for entry in shards.ledger(out)] == ["", "label.nothing_trained"]


def test_a_declared_header_and_stop(tmp_path: Path, tokenizer_dir: Path) -> None:
    bare = tmp_path / "bare.jinja"
    bare.write_text(
        "{% for m in messages %}{% if m.role == 'assistant' %}>> {{ m.content }} ;;\n"
        "{% else %}{{ m.content }}{% endif %}{% endfor %}"
    )
    rows = tmp_path / "rows.jsonl"
    talk = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}]
    rows.write_text(json.dumps({"messages": talk}) + "\n")
    options: dict[str, Any] = {"tokenizer": tokenizer_dir, "chat_template": str(bare)}
    out = tmp_path / "out"
    declared = {"assistant_header": ">> ", "assistant_stop": ";;"}
    report = sftprep.pack(rows, out=out, **options, **declared)
    assert report.turns_by_method == {"declared": 1}
    file = tmp_path / "config.toml"
    file.write_text('[label]\nassistant_header = ">> "\nassistant_stop = ";;"\n')
    flags = resolved("--assistant-header", ">> ", "--assistant-stop", ";;")
    assert flags == resolved("--config", str(file))
    tokenizer = sftprep.Tokenizer.from_file(tokenizer_dir)
    template = sftprep.ChatTemplate(bare.read_text())
    row = sftprep.Encoder(tokenizer, template, **declared).encode({"messages": talk})
    said = [row.text.encode()[a:b] for a, b, _, _, trained in row.spans if trained]
    assert b"".join(said) == b"yes ;;"
    assert row.mask_method == {1: "declared"}
    for wrong in ({"assistant_header": "hi"}, {"assistant_stop": "yes"}):
        encoder = sftprep.Encoder(tokenizer, template, **(declared | wrong))
        with pytest.raises(sftprep.LabelError, match="rule C"):
            encoder.encode({"messages": talk})
    with pytest.raises(sftprep.LabelError, match="rule C"):
        sftprep.Encoder(tokenizer, template).encode({"messages": talk})


def test_a_turn_without_a_stop_token_is_never_silent(
    tmp_path: Path, rows: Path, tokenizer_dir: Path
) -> None:
    endless = tmp_path / "endless.jinja"
    endless.write_text(TEMPLATE.replace(STOP, ""))
    report = sftprep.pack(
        rows, out=tmp_path / "out", tokenizer=tokenizer_dir, chat_template=str(endless)
    )
    assert any("trained turns have no stop token" in warning for warning in report.warnings)
