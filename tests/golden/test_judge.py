"""The judge itself: it accepts right spans, and catches every kind of planted error."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from reference import engine, mask
from reference import render as reference
from reference.data import sample
from reference.taint import MIXED

SAMPLED_PAIRS = 100
Span = tuple[int, int]

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
INSTRUCT = (
    "<s>{% for m in messages %}{% if m.role == 'assistant' %} {{ m.content | trim }}</s>"
    "{% else %}[INST] {{ m.content }} [/INST]{% endif %}{% endfor %}"
)
TALK: dict[str, Any] = {
    "messages": [
        {"role": "user", "content": "yes"},
        {"role": "assistant", "content": "yes"},
        {"role": "user", "content": "assistant"},
        {"role": "assistant", "content": "no\n"},
    ]
}


@pytest.mark.parametrize(
    ("template", "turns"),
    [
        (CHATML, ["yes<|im_end|>", "no\n<|im_end|>"]),
        (INSTRUCT, [" yes</s>", " no</s>"]),
        (CHATML.replace("<|im_end|>", "[|end|]"), ["yes[|end|]", "no\n[|end|]"]),
    ],
    ids=["chatml", "instruct", "unusual stop"],
)
def test_known_spans(template: str, turns: list[str]) -> None:
    found = mask.reference_spans(template, {}, TALK)
    text = reference.render(template, {}, TALK["messages"])
    assert [text[a:b] for a, b in (span for span in found.values() if span)] == turns


def test_a_template_without_stop_is_not_decided() -> None:
    template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n\n{% endfor %}"
    assert set(mask.reference_spans(template, {}, TALK).values()) == {None}


def test_provenance_changes_no_byte(data: Path) -> None:
    templates = reference.shared_templates(data / "chat_templates")
    conversations = reference.shared_conversations(data / "conversations.jsonl")
    rendered = 0
    for template, conversation in sample(
        list(reference.pairs(templates, conversations)), SAMPLED_PAIRS
    ):
        try:
            shown = mask.Case(template.source, template.special, conversation).whole
        except engine.Unjudgeable as reason:
            assert "the reference raises" in str(reason), (template.name, conversation["id"])
            continue
        rendered += 1
        assert MIXED not in shown.codes, (template.name, conversation["id"])
    assert rendered > SAMPLED_PAIRS // 2


def shift(start: int, end: int) -> Callable[[Span, str], list[Span]]:
    return lambda span, _: [(span[0] + start, span[1] + end)]


def plus_first(span: Span, _: str) -> list[Span]:
    return [(0, 1), span] if span[0] > 1 else []


PLANTED: dict[str, Callable[[Span, str], list[Span]]] = {
    "one character of the header": shift(-1, 0),
    "the whole header": shift(-8, 0),
    "first character lost": shift(1, 0),
    "stop cut": shift(0, -1),
    "stop left out": lambda span, text: [
        (span[0], span[1] - len(next(reversed(mask.TOKEN_LIKE.findall(text[slice(*span)])), "x")))
    ],
    "next character trained": shift(0, 1),
    "everything after trained": lambda span, text: [(span[0], len(text))],
    "everything before trained": lambda span, _: [(0, span[1])],
    "the middle left out": lambda span, _: [
        (span[0], sum(span) // 2 - 1),
        (sum(span) // 2 + 1, span[1]),
    ],
}


def test_planted_errors_are_caught(data: Path) -> None:
    templates = reference.shared_templates(data / "chat_templates")
    conversations = reference.shared_conversations(data / "conversations.jsonl")
    missed: Counter[str] = Counter()
    planted: Counter[str] = Counter()
    for template, conversation in sample(
        list(reference.pairs(templates, conversations)), SAMPLED_PAIRS
    ):
        try:
            case = mask.Case(template.source, template.special, conversation)
        except engine.Unjudgeable:
            continue
        for message, content in enumerate(case.messages):
            found = mask.expect(case, message) if content["role"] == "assistant" else None
            if found is None or not found.starts or found.stop is None or not found.spoken:
                continue
            if found.near:
                continue  # there a start is known but for white space: no place to plant errors
            span = (found.starts[0], found.stop)
            right = mask.judge_turn(case, message, [span], found)
            assert right.status == "right", (template.name, conversation["id"], right)
            for name, plant in PLANTED.items():
                spans = plant(span, case.whole.text)
                if not _differs(case.whole.text, span, spans, found.starts):
                    continue
                planted[name] += 1
                if mask.judge_turn(case, message, spans, found).status != "wrong":
                    missed[name] += 1
    assert sum(planted.values()) > 300
    assert not missed, f"planted {dict(planted)}, missed {dict(missed)}"


def _differs(text: str, span: Span, spans: list[Span], starts: tuple[int, ...]) -> bool:
    """Whether the planted spans are an error at all: they differ in more than white space at the
    inside, and do not start at another proven start."""
    if any(a < 0 or b > len(text) or a >= b for a, b in spans) or spans == [span]:
        return False
    if spans[0][0] in starts and len(spans) == 1:
        return spans[0][1] != span[1]
    lost = set(range(*span)) - {p for a, b in spans for p in range(a, b)}
    return len(spans) == 1 or any(not text[p].isspace() for p in lost)
