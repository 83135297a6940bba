from __future__ import annotations

import json
import pickle
import re
from collections import OrderedDict
from enum import IntEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from conftest import CHATML
from hypothesis import given
from hypothesis import strategies as st

import sftprep
from sftprep.errors import ConfigError, FormatError, TemplateError

MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Größe? 你好 🙂"},
    {"role": "assistant", "content": "Yes."},
]


def show(value: object) -> str:
    return sftprep.ChatTemplate("{{ value | tojson }}").render([], value=value)


def test_it_renders_as_transformers_does() -> None:
    utils = pytest.importorskip("transformers.utils.chat_template_utils")
    template = sftprep.ChatTemplate(CHATML, special_tokens={"eos_token": "<e>"})
    for prompt in (False, True):
        expected, _ = utils.render_jinja_template(
            [MESSAGES], chat_template=CHATML, add_generation_prompt=prompt
        )
        assert template.render(MESSAGES, add_generation_prompt=prompt) == expected[0]


def test_every_argument_reaches_the_template() -> None:
    source = (
        "{{ bos_token }}|{{ tools | tojson }}|{{ documents | tojson }}|{{ extra }}|"
        "{{ add_generation_prompt }}|{{ messages | length }}"
    )
    template = sftprep.ChatTemplate(source, special_tokens={"bos_token": "<s>"})
    rendered = template.render(
        MESSAGES,
        tools=[{"name": "f"}],
        documents=[{"text": "d"}],
        add_generation_prompt=True,
        extra=3,
    )
    assert rendered == '<s>|[{"name": "f"}]|[{"text": "d"}]|3|True|3'
    assert template.render(MESSAGES) == "<s>|null|null||False|3"
    assert template.render(MESSAGES, [{"name": "f"}], True).startswith('<s>|[{"name": "f"}]')


class Number(IntEnum):
    ONE = 1


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (2**63, str(2**63)),
        (-(10**40), str(-(10**40))),
        (1.0, "1.0"),
        (1e20, "1e+20"),
        ("a\u2028é", '"a\u2028é"'),
        ((1, "x"), '[1, "x"]'),
        ({"b": 1, "a": {"c": []}}, '{"b": 1, "a": {"c": []}}'),
        (OrderedDict(b=1, a=2), '{"b": 1, "a": 2}'),
        (MappingProxyType({"b": 1}), '{"b": 1}'),
        (np.int64(7), "7"),
        (np.float32(0.5), "0.5"),
        (Number.ONE, "1"),
    ],
)
def test_values_arrive_as_they_are(value: object, text: str) -> None:
    assert show(value) == text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(value=JSON)
def test_json_survives_the_crossing(value: object) -> None:
    import json

    assert show(value) == json.dumps(value, ensure_ascii=False)


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ({"a": [1, object()]}, "kwargs.value.a[1]"),
        ({1: 2}, "kwargs.value"),
        ({"a": {1, 2}}, "kwargs.value.a"),
        (b"bytes", "kwargs.value"),
    ],
)
def test_what_is_not_json_is_named(value: object, field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        show(value)
    assert caught.value.field == field


def test_lone_surrogates_are_refused() -> None:
    with pytest.raises(FormatError) as caught:
        show(["fine", "\ud800"])
    assert (caught.value.code, caught.value.field) == ("row.encoding", "kwargs.value[1]")


def test_deep_nesting_is_refused() -> None:
    deep: list[Any] = []
    for _ in range(1000):
        deep = [deep]
    with pytest.raises(FormatError) as caught:
        show(deep)
    assert caught.value.code == "row.depth"
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(FormatError):
        show(loop)


@pytest.mark.parametrize("messages", [None, "text", {"role": "user"}, 3])
def test_messages_must_be_a_list(messages: Any) -> None:  # noqa: ANN401 - wrong on purpose
    with pytest.raises(ConfigError, match="it must be a list"):
        sftprep.ChatTemplate(CHATML).render(messages)


@pytest.mark.parametrize(
    ("source", "code", "line"),
    [
        ("\n{% if x %}", "template.syntax", None),
        ("a\n{{ missing.name }}", "template.undefined", 2),
        ("{{ 'a' + 1 }}", "template.type", 1),
        ("\n\n{{ raise_exception('no system') }}", "template.raised", 3),
        ("{{ ''.__class__.__mro__ }}", "template.security", 1),
        ("{% for i in range(10**9) %}{% endfor %}", "template.limit", 1),
        ("{{ x | nonsense }}", "template.syntax", 1),
    ],
)
def test_errors_point_into_the_template(source: str, code: str, line: int | None) -> None:
    with pytest.raises(TemplateError) as caught:
        sftprep.ChatTemplate(source).render(MESSAGES)
    assert caught.value.code == code
    assert caught.value.path == "chat template"
    assert caught.value.hint
    if line is not None:
        assert caught.value.line == line
        assert source.split("\n")[line - 1] in caught.value.message


def test_a_refusal_is_quoted() -> None:
    template = sftprep.ChatTemplate("{{ raise_exception('no system role') }}")
    with pytest.raises(TemplateError, match="no system role"):
        template.render([])


def test_the_date_is_fixed_or_now() -> None:
    source = "{{ strftime_now('%Y-%m-%d %H:%M:%S') }}"
    assert sftprep.ChatTemplate(source, date="2025-06-30").render([]) == "2025-06-30 00:00:00"
    exact = sftprep.ChatTemplate(source, date="2025-06-30T12:34:56")
    assert exact.render([]) == "2025-06-30 12:34:56"
    assert sftprep.ChatTemplate("{{ strftime_now('%Y') }}").render([]) >= "2025"
    for wrong in ("yesterday", "2025-13-01", "2025-06-30 12", "", "20250630"):
        with pytest.raises(ConfigError) as caught:
            sftprep.ChatTemplate(source, date=wrong)
        assert caught.value.field == "date"


def test_it_pickles() -> None:
    template = sftprep.ChatTemplate(
        "{{ bos_token }}{{ strftime_now('%d') }}", {"bos_token": "<s>"}, "2025-01-09"
    )
    copy = pickle.loads(pickle.dumps(template))
    assert copy.render([]) == template.render([]) == "<s>09"
    assert copy.source == template.source
    assert copy.special_tokens == {"bos_token": "<s>"}


def value_at(message: dict[str, Any], path: str) -> Any:  # noqa: ANN401 - whatever is there
    """The value at a path such as ``tool_calls[0].function.name``."""
    value: Any = message
    for step in re.findall(r"[^.\[\]]+", path):
        value = value[int(step)] if isinstance(value, list) else value[step]
    return value


CALLS = [{"type": "function", "function": {"name": "look", "arguments": {"at": "ü 🙂"}}}]
TRACED = [
    *MESSAGES,
    {"role": "assistant", "content": "Größe 🙂 <b>", "reasoning": "hm", "tool_calls": CALLS},
]


def test_every_byte_of_a_traced_text_has_its_origin() -> None:
    source = (
        "{{ bos_token }}{% for m in messages %}<{{ m.role }}>{{ m.reasoning_content }}"
        "{{ m.content | upper }}|{{ m.content[1:] }}"
        "{% for c in m.tool_calls %}{{ c.function.name }}{{ c.function.arguments | tojson }}"
        "{% endfor %}</>{% endfor %}{{ extra }}{{ tools | tojson }}"
    )
    template = sftprep.ChatTemplate(source, special_tokens={"bos_token": "<s>"})
    traced = template.render_traced(TRACED, tools=[{"name": "f"}], extra="e")
    assert traced.text == template.render(TRACED, tools=[{"name": "f"}], extra="e")
    raw, at, seen = traced.text.encode(), 0, set()
    for segment in traced.segments:
        assert segment.start == at < segment.end
        at = segment.end
        seen.add((segment.origin, segment.field))
        if segment.chars is not None:
            assert segment.message is not None
            field = value_at(TRACED[segment.message], str(segment.field))
            first, last = segment.chars
            assert field[first:last].encode() == raw[segment.start : segment.end], segment
        if segment.origin in {"literal", "special_token", "variable", "tools"}:
            assert segment.message is None
    assert at == len(raw)
    assert seen >= {
        ("literal", None),
        ("special_token", None),
        ("role", "role"),
        ("message", "content"),
        ("message", "reasoning"),
        ("message", "tool_calls[0].function.name"),
        ("variable", "extra"),
        ("tools", "tools"),
    }
    copied = [
        it for it in traced.segments if it.message == 3 and it.field == "content" and it.chars
    ]
    assert [it.chars for it in copied][-1] == (1, len("Größe 🙂 <b>"))
    assert "messages[3].content[1:" in repr(copied[-1])
    assert all(it.owner == it.message for it in traced.segments if it.origin == "message")


def test_traced_text_of_real_templates_is_exact(data: Path) -> None:
    rows = [
        json.loads(line)
        for line in (data / "conversations.jsonl").read_text("utf-8").split("\n")
        if line
    ]
    copied = 0
    for path in sorted((data / "chat_templates").glob("*.jinja"))[::10]:
        template = sftprep.ChatTemplate(path.read_text("utf-8"), {"bos_token": "<s>"})
        for row in rows:
            try:
                traced = template.render_traced(row["messages"], row.get("tools"))
            except sftprep.TemplateError:
                continue
            raw = traced.text.encode()
            assert [it.start for it in traced.segments] == [
                0,
                *(it.end for it in traced.segments[:-1]),
            ][: len(traced.segments)]
            for it in traced.segments:
                if it.chars is None:
                    continue
                assert it.message is not None
                field = value_at(row["messages"][it.message], str(it.field))
                assert field[it.chars[0] : it.chars[1]].encode() == raw[it.start : it.end], it
                copied += 1
    assert copied > 1000
