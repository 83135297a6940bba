"""The reference normaliser against rows whose meaning anyone can read off."""

from __future__ import annotations

from typing import Any

import pytest
from reference.normalise import Refusal, detect, normalise

CALL = {"type": "function", "function": {"name": "add", "arguments": {"a": 1}}}
Row = dict[str, Any]


@pytest.mark.parametrize(
    ("form", "row", "messages"),
    [
        (
            "sharegpt",
            {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
            [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}],
        ),
        (
            "sharegpt",
            {
                "conversations": [
                    {"from": "function_call", "value": '{"name": "add", "arguments": {"a": 1}}'},
                    {"from": "observation", "value": "2"},
                ]
            },
            [
                {"role": "assistant", "content": "", "tool_calls": [CALL]},
                {"role": "tool", "content": "2"},
            ],
        ),
        (
            "alpaca",
            {"instruction": "i", "input": "x", "output": "o", "history": [["q", "a"]]},
            [
                {"role": "user", "content": "q"},
                {"role": "assistant", "content": "a"},
                {"role": "user", "content": "i\nx"},
                {"role": "assistant", "content": "o"},
            ],
        ),
        (
            "alpaca",
            {"instruction": "i", "input": "", "output": "o", "system": "s"},
            [
                {"role": "system", "content": "s"},
                {"role": "user", "content": "i"},
                {"role": "assistant", "content": "o"},
            ],
        ),
        (
            "messages",
            {
                "messages": [
                    {
                        "role": "assistant",
                        "content": [
                            {"type": "reasoning", "value": "hm"},
                            {"type": "text", "text": "a"},
                            {"type": "text", "value": "b"},
                            {"type": "tool_call", "value": '{"name":"add","arguments":{"a":1}}'},
                        ],
                    }
                ]
            },
            [
                {
                    "role": "assistant",
                    "content": "ab",
                    "reasoning_content": "hm",
                    "tool_calls": [CALL],
                }
            ],
        ),
        (
            "messages",
            {
                "messages": [
                    {
                        "role": "assistant",
                        "content": None,
                        "tool_calls": [
                            {
                                "type": "function",
                                "function": {"name": "add", "arguments": '{"a":1}'},
                            }
                        ],
                    }
                ]
            },
            [{"role": "assistant", "content": None, "tool_calls": [CALL]}],
        ),
    ],
)
def test_messages(form: str, row: Row, messages: list[Row]) -> None:
    assert normalise(row, form).messages == messages


def test_what_is_trained() -> None:
    row = {"instruction": "i", "output": "o", "history": [["q", "a"]]}
    assert normalise(row, "alpaca").train == [False, False, False, True]


def test_tools_are_parsed_and_wrapped() -> None:
    tools = '[{"name": "f"}, {"type": "function", "function": {"name": "g"}}]'
    row = {"messages": [{"role": "user", "content": "x"}], "tools": tools}
    wrapped = [{"type": "function", "function": {"name": name}} for name in "fg"]
    assert normalise(row, "messages").tools == wrapped


@pytest.mark.parametrize(
    ("form", "row", "kind"),
    [
        ("messages", [], "not_object"),
        ("messages", {"messages": []}, "empty"),
        ("messages", {"messages": {}}, "type"),
        ("messages", {"messages": [{"role": "narrator", "content": "x"}]}, "role"),
        ("messages", {"messages": [{"role": "user"}]}, "missing"),
        ("sharegpt", {"conversations": [{"from": "gpt"}]}, "missing"),
        ("sharegpt", {"conversations": [{"from": "gpt", "value": 3}]}, "type"),
        ("sharegpt", {"conversations": [{"from": "gpt", "value": ["x"]}]}, "type"),
        ("sharegpt", {"conversations": [{"from": "function_call", "value": "{"}]}, "json_string"),
        ("alpaca", {"instruction": "i", "output": None}, "missing"),
    ],
)
def test_refusals(form: str, row: Row, kind: str) -> None:
    with pytest.raises(Refusal) as caught:
        normalise(row, form)
    assert caught.value.kind == kind


def test_detection() -> None:
    assert detect({"text": "x"}) == "text"
    assert detect({"instruction": "i", "output": "o"}) == "alpaca"
    assert detect({"foo": 1}) is None
