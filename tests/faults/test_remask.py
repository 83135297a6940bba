"""A dataset labelled again has the bytes that packing its inputs with less to train gives."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Run
from test_tasks import contents

import sftprep
from sftprep import _core
from sftprep.errors import ConfigError

CHANGES: list[dict[str, Any]] = [
    {},
    {"train_on": "last_turn"},
    {"reasoning": False},
    {"tool_calls": False},
    {"stop": "last"},
    {"stop": "none"},
    {"train_on": "last_turn", "stop": "none", "reasoning": False},
]

# plain words around the messages, so that tokens lie across the edges of spans
PLAIN = """\
{%- for m in messages -%}
{%- if m.role == 'assistant' -%}
{{ 'Assistant:' -}}
{%- if m.reasoning_content %}{{ '(' + m.reasoning_content + ')' }}{% endif -%}
{{- m.content -}}
{%- for call in m.tool_calls or [] -%}
{{- ' do ' + call.function.name + call.function.arguments|string -}}
{%- endfor -%}
{{- ' END.' + '\n' -}}
{%- else -%}
{{- m.role.upper() + ':' + m.content + '\n' -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt %}{{ 'Assistant:' }}{% endif -%}
"""


def rows() -> list[Any]:
    """Conversations with reasoning and tools, whose texts begin and end in many ways."""
    chance = random.Random(5)
    ends = ["", "\n", " ", ".", ")", "\n\n", " do", "("]

    def text(words: str) -> str:
        return chance.choice(ends) + words + chance.choice(ends)

    made: list[Any] = []
    for index in range(150):
        messages: list[dict[str, Any]] = [{"role": "user", "content": text(f"what is {index}")}]
        for turn in range(1 + index % 3):
            answer = {"role": "assistant", "content": text(f"it is {index + turn}")}
            if chance.random() < 0.4:
                answer["reasoning_content"] = text(f"think of {index}")
            if chance.random() < 0.3:
                call = {"name": "look", "arguments": {"at": index}}
                answer["tool_calls"] = [{"type": "function", "function": call}]
                messages += [answer, {"role": "tool", "content": text("found")}]
                answer = {"role": "assistant", "content": text("so it is")}
            messages += [answer, {"role": "user", "content": text("and then")}]
        made.append({"messages": messages[:-1] if index % 5 else messages})
    made[3]["messages"][1]["train"] = False
    made[8]["messages"][-1]["weight"] = 0.5
    made.append({"messages": [{"role": "user", "content": "only a question"}]})
    return made


@pytest.fixture
def inputs(write_rows: Callable[..., Path]) -> Path:
    """The rows, and one that is no JSON."""
    return write_rows([*rows(), "{bad"])


def options(template: str) -> dict[str, Any]:
    """Options of the source."""
    return {
        "tokenizer": "builtin",
        "chat_template": template,
        "history": "allow",
        "dropped": "allow",
        "max_len": 256,
        "max_reject_rate": 1.0,
    }


@pytest.mark.parametrize("change", CHANGES, ids=str)
@pytest.mark.parametrize("template", ["chatml", PLAIN], ids=["chatml", "plain"])
def test_labelled_again_is_labelled_anew(
    inputs: Path, tmp_path: Path, template: str, change: dict[str, Any]
) -> None:
    sftprep.pack(inputs, out=tmp_path / "source", **options(template))
    fresh = sftprep.pack(inputs, out=tmp_path / "fresh", **{**options(template), **change})
    again = sftprep.remask(tmp_path / "source", tmp_path / "again", **change)
    assert contents(tmp_path / "again") == contents(tmp_path / "fresh")
    assert (again.totals, again.sequences) == (fresh.totals, fresh.sequences)
    assert fresh.totals.trained > 0


def test_plain_words_do_have_tokens_across_edges(inputs: Path, tmp_path: Path) -> None:
    report = sftprep.pack(inputs, out=tmp_path / "out", **options(PLAIN))
    assert report.straddling_tokens > 50


@pytest.mark.parametrize(
    "change",
    [{"stop": "turn"}, {"train_on": "assistant"}, {"reasoning": True}, {"train_on": "user"}],
    ids=str,
)
def test_more_cannot_be_trained(inputs: Path, tmp_path: Path, change: dict[str, Any]) -> None:
    less = {"stop": "last", "train_on": "last_turn", "reasoning": False}
    sftprep.pack(inputs, out=tmp_path / "source", **options("chatml"), **less)
    with pytest.raises(ConfigError, match="only less can be trained"):
        sftprep.remask(tmp_path / "source", tmp_path / "out", **change)
    assert not (tmp_path / "out").exists()


def test_rows_that_became_several_are_refused_or_named(
    write_rows: Callable[..., Path], tmp_path: Path
) -> None:
    forgets = PLAIN.replace("m.reasoning_content %}", "m.reasoning_content and loop.last %}")
    turns = [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "1", "reasoning_content": "hm"},
        {"role": "user", "content": "two"},
        {"role": "assistant", "content": "2", "reasoning_content": "so"},
    ]
    given = {**options(forgets), "history": "per_turn"}
    sftprep.pack(write_rows([{"messages": turns}]), out=tmp_path / "source", **given)
    with pytest.raises(ConfigError, match="one sample per turn") as caught:
        sftprep.remask(tmp_path / "source", tmp_path / "out", train_on="last_turn")
    assert "chat:1" in caught.value.message
    report = sftprep.remask(
        tmp_path / "source", tmp_path / "out", train_on="last_turn", allow_lost=True
    )
    assert any("one sample per turn" in warning for warning in report.warnings)
    assert _core.verify(tmp_path / "out")


def test_the_command_says_what_is_trained(inputs: Path, tmp_path: Path, sftprep: Run) -> None:
    source = tmp_path / "source"
    given = tmp_path / "options.json"
    given.write_text(json.dumps({"label": {"history": "allow", "dropped": "allow"}}))
    packed = sftprep(
        "pack", inputs, "--config", given, "--tokenizer", "builtin", "--max-reject-rate", "1",
        "--out", source,
    )  # fmt: skip
    assert packed.returncode == 0, packed.stderr
    done = sftprep("remask", source, "--train-on", "last_turn", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "of the tokens trained" in done.stdout
