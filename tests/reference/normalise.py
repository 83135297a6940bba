"""Independent normaliser: a row of a known SFT format -> what the chat template is given.

Written from the words of the format rules, not from the product: one plain function per format.
It returns a `Sample`, or raises `Refusal` with the reason for which the row must be refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Json = Any
Message = dict[str, Json]

MESSAGE_ROLES = ("system", "developer", "user", "assistant", "tool")
SHAREGPT_ROLES = {
    "system": "system",
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "model": "assistant",
    "function_call": "function_call",
    "tool_call": "function_call",
    "observation": "tool",
    "tool": "tool",
    "function_response": "tool",
    "tool_response": "tool",
}


class Refusal(Exception):
    """The row must be refused; the first argument is the kind of reason, the second says why."""

    def __init__(self, kind: str, why: str) -> None:
        super().__init__(f"{kind}: {why}")
        self.kind = kind


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A row after its format was understood; exactly one of the three shapes is filled."""

    messages: list[Message] | None = None
    """Conversation: the messages."""
    tools: list[Json] | None = None
    """Conversation: tool schemas."""
    kwargs: dict[str, Json] = field(default_factory=dict)
    """Conversation: the row's own chat_template_kwargs."""
    train: list[bool] = field(default_factory=list)
    """Conversation, per message: is it trained (an assistant message that no rule excludes)?"""
    completion: tuple[str, str] | None = None
    """Prompt text and completion text."""
    text: str | None = None
    """Raw text."""


def detect(row: Json) -> str | None:
    """The format of a row by its columns, or None."""
    if not isinstance(row, dict):
        return None
    for name, columns in {
        "messages": ("messages",),
        "sharegpt": ("conversations",),
        "alpaca": ("instruction", "output"),
        "prompt_completion": ("prompt", "completion"),
        "pretokenized": ("input_ids",),
        "text": ("text",),
    }.items():
        if all(column in row for column in columns):
            return name
    return None


def normalise(row: Json, form: str) -> Sample:
    """The sample that a row of that format stands for.

    Raises:
        Refusal: the row does not keep to the format.
    """
    if not isinstance(row, dict):
        raise Refusal("not_object", f"the row is {type(row).__name__}")
    match form:
        case "messages":
            return from_messages(row)
        case "sharegpt":
            return from_sharegpt(row)
        case "alpaca":
            return from_alpaca(row)
        case "prompt_completion":
            return from_prompt_completion(row)
        case "text":
            return Sample(text=_string(row, "text"))
        case _:
            raise ValueError(f"no reference for format {form!r}")


def from_messages(row: Mapping[str, Json]) -> Sample:
    """`messages` (OpenAI / ChatML)."""
    given = _list(row, "messages")
    messages = [_message(m) for m in given]
    flags = [m.get("train") in (None, True, 1) for m in given]
    return Sample(
        messages=messages,
        tools=_tools(row.get("tools")),
        kwargs=_kwargs(row),
        train=[m["role"] == "assistant" and f for m, f in zip(messages, flags, strict=True)],
    )


def from_sharegpt(row: Mapping[str, Json]) -> Sample:
    """`conversations` of `from` and `value`."""
    messages: list[Message] = []
    system = row.get("system")
    if isinstance(system, str) and system:
        messages.append({"role": "system", "content": system})
    for turn in _list(row, "conversations"):
        if not isinstance(turn, dict):
            raise Refusal("type", f"a turn is {type(turn).__name__}")
        who = _string(turn, "from")
        if who not in SHAREGPT_ROLES:
            raise Refusal("role", f"unknown role {who!r}")
        value = _said(turn)
        role = SHAREGPT_ROLES[who]
        if role == "function_call":
            calls = _parse(value, "function_call")
            calls = calls if isinstance(calls, list) else [calls]
            messages.append(
                {"role": "assistant", "content": "", "tool_calls": [_call(c) for c in calls]}
            )
        else:
            messages.append({"role": role, "content": value})
    return Sample(
        messages=messages,
        tools=_tools(row.get("tools")),
        kwargs=_kwargs(row),
        train=[m["role"] == "assistant" for m in messages],
    )


def _said(turn: Mapping[str, Json]) -> str:
    """A turn's text."""
    return _string(turn, "value")


def from_alpaca(row: Mapping[str, Json]) -> Sample:
    """`instruction`, `input`, `output`, with `system` and `history`."""
    instruction = _string(row, "instruction")
    extra = row.get("input")
    if extra is not None and not isinstance(extra, str):
        raise Refusal("type", f"input is {type(extra).__name__}")
    output = _string(row, "output")
    messages: list[Message] = []
    train: list[bool] = []
    system = row.get("system")
    if system:
        messages.append({"role": "system", "content": system})
        train.append(False)
    for pair in row.get("history") or []:
        question, answer = pair
        messages += [
            {"role": "user", "content": question},
            {"role": "assistant", "content": answer},
        ]
        train += [False, False]
    if not instruction and not extra:
        raise Refusal("empty", "there is neither an instruction nor an input")
    user = "\n".join(text for text in (instruction, extra) if text)
    messages += [{"role": "user", "content": user}, {"role": "assistant", "content": output}]
    return Sample(messages=messages, kwargs=_kwargs(row), train=[*train, False, True])


def from_prompt_completion(row: Mapping[str, Json]) -> Sample:
    """`prompt` and `completion`, both text or both messages."""
    prompt, completion = row.get("prompt"), row.get("completion")
    if isinstance(prompt, str) and isinstance(completion, str):
        return Sample(completion=(prompt, completion))
    before = [_message(m) for m in _list(row, "prompt")]
    after = [_message(m) for m in _list(row, "completion")]
    return Sample(
        messages=before + after,
        tools=_tools(row.get("tools")),
        kwargs=_kwargs(row),
        train=[False] * len(before) + [m["role"] == "assistant" for m in after],
    )


def _message(message: Json) -> Message:
    if not isinstance(message, dict):
        raise Refusal("type", f"a message is {type(message).__name__}")
    if "role" not in message:
        raise Refusal("missing", "a message has no role")
    if message["role"] not in MESSAGE_ROLES:
        raise Refusal("role", f"unknown role {message['role']!r}")
    out = {key: value for key, value in message.items() if key not in ("train", "weight")}
    calls = list(out.get("tool_calls") or [])
    content = out.get("content")
    if isinstance(content, list):
        text, reasoning, more = _parts(content)
        out["content"] = text
        if reasoning:
            out["reasoning_content"] = reasoning
        calls += more
    elif content is None:
        if not calls and not out.get("reasoning_content"):
            raise Refusal("missing", "a message has neither content nor tool_calls")
    elif not isinstance(content, str):
        raise Refusal("type", f"content is {type(content).__name__}")
    if calls:
        out["tool_calls"] = [_call(c) for c in calls]
    return out


def _parts(parts: list[Json]) -> tuple[str, str, list[Json]]:
    """Text, reasoning and tool calls of a content that is a list of typed parts."""
    text, reasoning, calls = "", "", []
    for part in parts:
        if isinstance(part, str):
            text += part
            continue
        kind = part.get("type")
        value = next((part[k] for k in (kind, "text", "value") if k in part), None)
        if kind == "text" and isinstance(value, str):
            text += value
        elif kind in ("reasoning", "thinking") and isinstance(value, str):
            reasoning += value
        elif kind == "tool_call":
            calls.append(_parse(value, "tool_call") if isinstance(value, str) else value)
        else:
            raise Refusal("type", f"a part of type {kind!r} is not text")
    return text, reasoning, calls


def _call(call: Json) -> Json:
    """One tool call as {type, function: {name, arguments}}, arguments as an object."""
    if not isinstance(call, dict):
        raise Refusal("type", f"a tool call is {type(call).__name__}")
    if "function" not in call:
        rest = {k: v for k, v in call.items() if k not in ("name", "arguments", "type")}
        inner = {"name": call.get("name"), "arguments": call.get("arguments", {})}
        call = {**rest, "type": "function", "function": inner}
    function = call["function"]
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise Refusal("missing", "a tool call has no name")
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        parsed = _parse(arguments, "arguments")
        if isinstance(parsed, dict):
            call = {**call, "function": {**function, "arguments": parsed}}
    return call


def _tools(tools: Json) -> list[Json] | None:
    """Tool schemas: a JSON string is parsed, a bare function is wrapped."""
    if isinstance(tools, str):
        tools = _parse(tools, "tools") if tools.strip() else None
    if tools is None or tools == []:
        return None  # a row that offers no tool has none
    if not isinstance(tools, list):
        raise Refusal("type", f"tools is {type(tools).__name__}")
    out = []
    for tool in tools:
        if not isinstance(tool, dict):
            raise Refusal("type", f"a tool is {type(tool).__name__}")
        out.append(tool if "function" in tool else {"type": "function", "function": tool})
    return out


def _parse(text: str, what: str) -> Json:
    try:
        return json.loads(text)
    except ValueError as error:
        raise Refusal("json_string", f"{what} does not parse: {error}") from error


def _kwargs(row: Mapping[str, Json]) -> dict[str, Json]:
    return dict(row.get("chat_template_kwargs") or {})


def _list(row: Mapping[str, Json], key: str) -> list[Json]:
    if key not in row:
        raise Refusal("missing", f"there is no {key}")
    if not isinstance(row[key], list):
        raise Refusal("type", f"{key} is {type(row[key]).__name__}")
    if not row[key]:
        raise Refusal("empty", f"{key} is empty")
    return list(row[key])


def _string(row: Mapping[str, Json], key: str) -> str:
    if row.get(key) is None:
        raise Refusal("missing", f"there is no {key}")
    if not isinstance(row[key], str):
        raise Refusal("type", f"{key} is {type(row[key]).__name__}")
    return str(row[key])
