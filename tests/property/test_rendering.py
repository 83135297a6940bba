"""Random conversations through every shared template: the text that transformers gives, or a
refusal by both."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reference import render as reference
from strategies import conversations

import sftprep

EXAMPLES = 10_000 if os.environ.get("SFTPREP_HYPOTHESIS") == "slow" else 300


@lru_cache(maxsize=1024)
def compiled(source: str, special: tuple[tuple[str, str], ...]) -> sftprep.ChatTemplate:
    return sftprep.ChatTemplate(source, dict(special), date=reference.FROZEN_DATE)


@pytest.fixture(scope="module")
def templates(data: Path) -> list[reference.Template]:
    return reference.shared_templates(data / "chat_templates")


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    chosen=st.integers(0, 10**6),
    conversation=conversations(),
    prompt=st.booleans(),
)
def test_equal_to_transformers(
    templates: list[reference.Template],
    chosen: int,
    conversation: dict[str, Any],
    prompt: bool,
) -> None:
    template = templates[chosen % len(templates)]
    kwargs = conversation.get("template_kwargs") or {}
    tools = conversation.get("tools")
    try:
        expected: str | None = reference.render(
            template.source,
            template.special,
            conversation["messages"],
            tools=tools,
            add_generation_prompt=prompt,
            kwargs=kwargs,
        )
    except Exception:  # a template may raise anything at all
        expected = None
    try:
        ours: str | None = compiled(
            template.source, tuple(sorted(template.special.items()))
        ).render(conversation["messages"], tools, prompt, **kwargs)
    except sftprep.TemplateError:
        ours = None
    assert ours == expected, template.name
