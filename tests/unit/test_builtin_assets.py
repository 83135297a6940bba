"""The tokenizer, templates and example rows that ship with the program."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jinja2.exceptions import TemplateError
from transformers import PreTrainedTokenizerFast

ROOT = Path(__file__).resolve().parents[2]
ASSETS = ROOT / "rust" / "sftprep-core" / "assets"
DEMO = ROOT / "examples" / "demo"
TEMPLATES = ("chatml", "alpaca", "vicuna", "plain")
STOP = "<|im_end|>"

Message = dict[str, Any]


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast.from_pretrained(ASSETS / "builtin")


def render(
    tokenizer: PreTrainedTokenizerFast, name: str, messages: list[Message], **kwargs: object
) -> str:
    source = (ASSETS / "templates" / f"{name}.jinja").read_text(encoding="utf-8")
    text = tokenizer.apply_chat_template(messages, chat_template=source, tokenize=False, **kwargs)
    assert isinstance(text, str)
    return text


def demo_rows(pattern: str = "*.json*") -> Iterator[dict[str, Any]]:
    for path in sorted(DEMO.glob(pattern)):
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode()
        if path.suffix == ".json":
            yield from json.loads(text)
        else:
            yield from (json.loads(line) for line in text.split("\n") if line)


def strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from strings(item)


def run_tool(name: str) -> None:
    command = [sys.executable, str(ROOT / "tools" / name), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_training_again_gives_the_committed_bytes() -> None:
    run_tool("train_builtin_tokenizer.py")


def test_made_demo_files_are_fresh() -> None:
    run_tool("make_demo_files.py")


def test_the_picture_is_fresh() -> None:
    run_tool("make_picture.py")


def test_config_carries_the_builtin_template() -> None:
    config = json.loads((ASSETS / "builtin" / "tokenizer_config.json").read_text(encoding="utf-8"))
    template = (ASSETS / "templates" / "chatml.jinja").read_text(encoding="utf-8")
    assert config["chat_template"] == template
    assert (config["eos_token"], config["pad_token"]) == (STOP, "<|endoftext|>")


def test_added_tokens() -> None:
    data = json.loads((ASSETS / "builtin" / "tokenizer.json").read_text(encoding="utf-8"))
    special = {token["content"]: token["special"] for token in data["added_tokens"]}
    assert special == {
        "<|endoftext|>": True,
        "<|im_start|>": True,
        "<|im_end|>": True,
        "<think>": False,
        "</think>": False,
        "<tool_call>": False,
        "</tool_call>": False,
        "<tool_response>": False,
        "</tool_response>": False,
    }
    assert data["normalizer"] is None
    assert data["model"]["unk_token"] is None


def test_every_demo_text_comes_back(tokenizer: PreTrainedTokenizerFast) -> None:
    seen = 0
    for text in (text for row in demo_rows() for text in strings(row)):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert tokenizer.decode(ids) == text
        seen += 1
    assert seen > 400


def test_every_byte_has_a_token(tokenizer: PreTrainedTokenizerFast) -> None:
    text = "".join(map(chr, [*range(0x2000), 0xFFFF, 0x1F468, 0x200D, 0x10FFFF]))
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text


PLAIN = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "First question", "input": "some context"},
    {"role": "assistant", "content": "First answer"},
    {"role": "user", "content": "Second question"},
    {"role": "assistant", "content": "Second answer"},
]
SHAPES = [PLAIN, PLAIN[1:], [{"role": "system", "content": ""}, *PLAIN[1:]], PLAIN[1:3]]


def check_provable(text: str, prefix: str, prompt: str, answer: str) -> None:
    """A turn's answer is what follows the generation prompt, and ends with the stop token."""
    assert text.startswith(prefix)
    assert prefix.startswith(prompt)
    assert prefix[len(prompt) :].strip() == answer + STOP


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("messages", SHAPES)
def test_answers_can_be_proved(
    tokenizer: PreTrainedTokenizerFast, name: str, messages: list[Message]
) -> None:
    text = render(tokenizer, name, messages)
    for index, message in enumerate(messages):
        prefix = render(tokenizer, name, messages[: index + 1])
        assert text.startswith(prefix)
        if message["role"] == "assistant":
            prompt = render(tokenizer, name, messages[:index], add_generation_prompt=True)
            check_provable(text, prefix, prompt, message["content"])


def test_chatml_turns_with_tools_and_reasoning_can_be_proved(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    turns = 0
    for row in [*demo_rows("02-*.jsonl"), *demo_rows("03-*.jsonl")]:
        messages, tools = row["messages"], row.get("tools")
        if any(isinstance(message.get("content"), list) for message in messages):
            continue  # joined before rendering
        text = render(tokenizer, "chatml", messages, tools=tools)
        for index, message in enumerate(messages):
            prefix = render(tokenizer, "chatml", messages[: index + 1], tools=tools)
            assert text.startswith(prefix)
            if message["role"] != "assistant":
                continue
            asked = {"tools": tools, "add_generation_prompt": True}
            prompt = render(tokenizer, "chatml", messages[:index], **asked)
            assert prefix.startswith(prompt)
            answer = prefix[len(prompt) :]
            assert answer.endswith(STOP + "\n")
            reasoning = message.get("reasoning_content") or message.get("thinking")
            assert answer.startswith("<think>\n") == bool(reasoning)
            assert answer.count("<tool_call>") == len(message.get("tool_calls") or [])
            turns += 1
    assert turns >= 15


def test_alpaca_is_the_original_prompt(tokenizer: PreTrainedTokenizerFast) -> None:
    messages = [PLAIN[1], {"role": "assistant", "content": "Answer"}]
    assert render(tokenizer, "alpaca", messages) == (
        "Below is an instruction that describes a task, paired with an input that provides "
        "further context. Write a response that appropriately completes the request.\n\n"
        "### Instruction:\nFirst question\n\n### Input:\nsome context\n\n### Response:"
        "Answer<|im_end|>"
    )
    messages[0] = {"role": "user", "content": "First question"}
    assert render(tokenizer, "alpaca", messages) == (
        "Below is an instruction that describes a task. Write a response that appropriately "
        "completes the request.\n\n### Instruction:\nFirst question\n\n### Response:"
        "Answer<|im_end|>"
    )


@pytest.mark.parametrize("name", ["alpaca", "vicuna", "plain"])
@pytest.mark.parametrize(
    "turn",
    [
        {"role": "assistant", "content": "x", "reasoning_content": "because"},
        {"role": "assistant", "tool_calls": [{"name": "f", "arguments": {}}]},
        {"role": "tool", "content": "x"},
        {"role": "narrator", "content": "x"},
    ],
)
def test_what_has_no_place_is_refused(
    tokenizer: PreTrainedTokenizerFast, name: str, turn: Message
) -> None:
    with pytest.raises(TemplateError):
        render(tokenizer, name, [{"role": "user", "content": "q"}, turn])


@pytest.mark.parametrize("name", ["alpaca", "vicuna", "plain"])
def test_tools_and_a_missing_eos_are_refused(tokenizer: PreTrainedTokenizerFast, name: str) -> None:
    with pytest.raises(TemplateError, match="tools"):
        render(tokenizer, name, PLAIN, tools=[{"name": "f"}])
    with pytest.raises(TemplateError, match="eos_token"):
        render(tokenizer, name, PLAIN, eos_token="")


def test_the_demo_has_every_format_and_two_broken_rows() -> None:
    rows = list(demo_rows())
    keys = {key for row in rows for key in row}
    assert {"messages", "conversations", "instruction", "prompt", "text", "input_ids"} <= keys
    assert len(rows) >= 60
    lines = (ROOT / "examples" / "broken.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 2
    with pytest.raises(json.JSONDecodeError):
        json.loads(lines[0])
    assert [message["role"] for message in json.loads(lines[1])["messages"]][1] == "narrator"
