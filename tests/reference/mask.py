"""Independent judge of label masks: is a product's span of an assistant turn right?

It shares nothing with the product but the rules: a turn is trained from after the generation
prompt to its stop token inclusive; header, foreign text and what follows the stop stay out.

    verdicts = judge(source, special, conversation, {message: [(start, end), ...]})

Positions are characters of the rendering. What the judge cannot fix it reports as not proven.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from .engine import Rendered
from .turns import TOKEN_LIKE, Case, Expected, expect

Json = Any
Span = tuple[int, int]

__all__ = ["TOKEN_LIKE", "Case", "Verdict", "expect", "judge", "judge_turn", "reference_spans"]


@dataclass
class Verdict:
    """The judgement of one assistant turn."""

    message: int
    status: str
    """right, wrong, refused (the product gave no span), or unjudged."""
    wrong: list[str] = field(default_factory=list)
    unproven: list[str] = field(default_factory=list)


def judge(
    source: str,
    special: Mapping[str, str],
    conversation: Mapping[str, Json],
    product_spans: Mapping[int, Sequence[Span]],
) -> list[Verdict]:
    """The verdict on every assistant turn; `product_spans` holds trained spans by message.

    Raises:
        Unjudgeable: the reference does not render this conversation.
    """
    case = Case(source, special, conversation)
    out = []
    for message, content in enumerate(case.messages):
        if content.get("role") != "assistant":
            continue
        spans = sorted(s for s in product_spans.get(message, ()) if s[0] < s[1])
        if not spans:
            out.append(Verdict(message, "refused"))
            continue
        out.append(judge_turn(case, message, spans))
    return out


def judge_turn(
    case: Case, message: int, spans: list[Span], expected: Expected | None = None
) -> Verdict:
    """The verdict on one turn; its spans must be sorted and not empty."""
    shown = case.whole
    verdict = Verdict(message, "right")
    inside = {position for start, end in spans for position in range(start, end)}
    foreign = [p for p in sorted(inside) if _is_foreign(shown, p, message)]
    if foreign:
        around = shown.text[max(0, foreign[0] - 20) : foreign[0] + 20]
        verdict.wrong.append(f"foreign text of {shown.owner(foreign[0])} trained: {around!r}")
    for (_, end), (start, _) in pairwise(spans):
        if end < start and not any(_is_foreign(shown, p, message) for p in range(end, start)):
            verdict.wrong.append(f"a hole in the turn: {shown.text[end:start][:40]!r}")
    expected = expected or expect(case, message)
    if expected is None:
        verdict.unproven.append("the turn's content is not in the rendering")
    else:
        _check_content(shown, expected, inside, verdict)
        _check_start(shown, expected, spans, verdict)
        _check_stop(shown, expected, spans, verdict)
    if verdict.wrong:
        verdict.status = "wrong"
    elif verdict.unproven:
        verdict.status = "unjudged"
    return verdict


def _is_foreign(shown: Rendered, position: int, message: int) -> bool:
    owner = shown.owner(position)
    return owner is not None and owner[0] != message


def _check_content(shown: Rendered, expected: Expected, inside: set[int], verdict: Verdict) -> None:
    missing = sorted(p for p in expected.spoken - inside if not shown.text[p].isspace())
    if missing:
        around = shown.text[max(0, missing[0] - 20) : missing[0] + 20]
        verdict.wrong.append(f"{len(missing)} content characters left out, first at {around!r}")


def _check_start(shown: Rendered, expected: Expected, spans: list[Span], verdict: Verdict) -> None:
    start = spans[0][0]
    if not expected.starts and not expected.near:
        verdict.unproven.append("no rendering fixes where the turn starts")
    elif start not in expected.starts and not any(
        _same_start(shown, start, near) for near in expected.near
    ):
        seen = shown.text[start : start + 40]
        wanted = (expected.starts or expected.near)[0]
        verdict.wrong.append(f"starts at {seen!r}, not at {shown.text[wanted : wanted + 40]!r}")


def _same_start(shown: Rendered, start: int, wanted: int) -> bool:
    """Whether two starts differ by nothing but white space of the template's own."""
    low, high = sorted((start, wanted))
    between = range(low, high)
    return all(shown.codes[p] == 0 and shown.text[p].isspace() for p in between)


def _check_stop(shown: Rendered, expected: Expected, spans: list[Span], verdict: Verdict) -> None:
    end = spans[-1][1]
    tail = shown.text[expected.last : end]
    if expected.stop is None:
        # A next turn's role token may serve as the stop: it is then all that follows the content.
        if not TOKEN_LIKE.fullmatch(tail.strip()) or tail != tail.rstrip():
            verdict.unproven.append(f"no rendering fixes the stop; the span ends with {tail!r}")
    elif end < expected.stop:
        left = shown.text[end : expected.stop]
        verdict.wrong.append(f"the stop is left out: {left!r}")
    elif end > expected.stop:
        verdict.wrong.append(f"text after the stop is trained: {shown.text[expected.stop : end]!r}")


def reference_spans(
    source: str, special: Mapping[str, str], conversation: Mapping[str, Json]
) -> dict[int, Span | None]:
    """The span of every assistant turn that the judge can fix on its own (None: it cannot)."""
    case = Case(source, special, conversation)
    out: dict[int, Span | None] = {}
    for message, content in enumerate(case.messages):
        if content.get("role") == "assistant":
            found = expect(case, message)
            fixed = found is not None and found.starts and found.stop is not None
            out[message] = (found.starts[0], found.stop) if fixed else None  # type: ignore
    return out
