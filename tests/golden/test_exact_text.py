"""Renderings equal transformers' on every template and conversation, or both refuse."""

from __future__ import annotations

import itertools
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from reference import render as reference
from reference.data import sample

import sftprep

SAMPLED_PAIRS = 600


@lru_cache(maxsize=1024)
def product_template(source: str, special: tuple[tuple[str, str], ...]) -> sftprep.ChatTemplate:
    return sftprep.ChatTemplate(source, special_tokens=dict(special), date=reference.FROZEN_DATE)


def product(template: reference.Template, conversation: dict[str, Any], prompt: bool) -> str | None:
    """The product's text, None where it refuses."""
    try:
        compiled = product_template(template.source, tuple(sorted(template.special.items())))
        return str(
            compiled.render(
                conversation["messages"],
                tools=conversation.get("tools"),
                add_generation_prompt=prompt,
                **(conversation.get("template_kwargs") or {}),
            )
        )
    except sftprep.TemplateError:
        return None


def expected(
    template: reference.Template, conversation: dict[str, Any], prompt: bool
) -> str | None:
    """The reference's text, None where it raises."""
    try:
        return reference.render(
            template.source,
            template.special,
            conversation["messages"],
            tools=conversation.get("tools"),
            add_generation_prompt=prompt,
            kwargs=conversation.get("template_kwargs"),
        )
    except Exception:  # a template may raise anything at all
        return None


def first_difference(ours: str | None, theirs: str | None) -> str:
    if ours is None or theirs is None:
        return f"sftprep {'refuses' if ours is None else 'renders'}, transformers does not"
    pairs = itertools.zip_longest(ours, theirs)
    at = next(i for i, (a, b) in enumerate(pairs) if a != b)
    begin = max(0, at - 30)
    return f"at {at}: {ours[begin : at + 30]!r} is not {theirs[begin : at + 30]!r}"


@pytest.mark.parametrize("prompt", [False, True], ids=["plain", "generation_prompt"])
def test_shared_templates(data: Path, prompt: bool) -> None:
    templates = reference.shared_templates(data / "chat_templates")
    conversations = reference.shared_conversations(data / "conversations.jsonl")
    wrong = []
    pairs = sample(list(reference.pairs(templates, conversations)), SAMPLED_PAIRS)
    for template, conversation in pairs:
        ours = product(template, conversation, prompt)
        theirs = expected(template, conversation, prompt)
        if ours != theirs:
            difference = first_difference(ours, theirs)
            wrong.append(f"{template.name} x {conversation['id']}: {difference}")
    assert not wrong, f"{len(wrong)} of {len(pairs)} differ:\n" + "\n".join(wrong[:40])
