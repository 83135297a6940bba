"""Reference ids and labels of one row, by whole-text encoding and prefix renderings.

For every trained turn the conversation before it (with a generation prompt) and the conversation
up to its end must both be prefixes of the whole text; then what lies between them is the turn.
Where a template rewrites history and they are not, the judge of `mask` decides.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from . import mask
from .encode import ReferenceTokenizer
from .engine import Unjudgeable
from .normalise import Sample
from .render import Template, render

Span = tuple[int, int]


class Undecided(Exception):
    """The reference cannot say where a trained turn starts or stops."""


def conversation_text(template: Template, sample: Sample) -> str:
    """What transformers renders; whatever the template raises is passed on."""
    if sample.messages is None:
        raise ValueError("not a conversation")
    return render(
        template.source,
        template.special,
        sample.messages,
        tools=sample.tools,
        kwargs=sample.kwargs,
    )


def trained_spans(
    template: Template, sample: Sample, text: str, *, judge: bool = True
) -> list[Span]:
    """Character spans of the trained turns; without `judge` by prefix renderings alone.

    Raises:
        Undecided: a turn's span cannot be fixed.
    """
    if sample.messages is None:
        raise ValueError("not a conversation")
    judged: dict[int, Span | None] | None = None
    spans = []
    for index, trained in enumerate(sample.train):
        if not trained:
            continue
        span = _by_prefix(template, sample, text, index)
        if span is None:
            if judged is None:
                judged = _judged(template, sample) if judge else {}
            span = judged.get(index)
        if span is None:
            raise Undecided(f"message {index}")
        spans.append(span)
    return spans


def samples(template: Template, sample: Sample) -> list[Sample]:
    """The samples that a conversation becomes, where one per turn is asked for.

    It is one, unless something that a trained turn says is missing from the text of the whole and
    there in the text of the conversation that ends with that turn. Then it is one per trained
    turn, each ending with its own.
    """
    messages = sample.messages or []
    whole = conversation_text(template, sample)
    turns = [index for index, trained in enumerate(sample.train) if trained]
    cuts = [
        replace(sample, messages=messages[: turn + 1], train=[False] * turn + [True])
        for turn in turns
    ]
    for turn, cut in zip(turns, cuts, strict=True):
        gone = [text for text in _said(messages[turn]) if text not in whole]
        if gone and any(text in conversation_text(template, cut) for text in gone):
            return cuts
    return [sample]


def _said(message: dict[str, Any]) -> list[str]:
    """What a message says: its reasoning, as a field or inside of the content, and its answer."""
    said = [message.get(name) for name in ("reasoning_content", "thinking", "reasoning")]
    content = message.get("content")
    if isinstance(content, str):
        thought, mark, answer = content.rpartition("</think>")
        said += [thought.partition("<think>")[2] if mark else "", answer]
    return [text.strip() for text in said if isinstance(text, str) and text.strip()]


def example(
    template: Template, tokenizer: ReferenceTokenizer, sample: Sample
) -> tuple[list[int], list[int]]:
    """Ids and labels of a conversation."""
    text = conversation_text(template, sample)
    return tokenizer.label(text, trained_spans(template, sample, text))


def completion(
    tokenizer: ReferenceTokenizer, prompt: str, answer: str, eos: str | None
) -> tuple[list[int], list[int]]:
    """Ids and labels of prompt and completion without a template: the eos token ends it."""
    text = prompt + answer + (eos or "")
    return tokenizer.label(text, [(len(prompt), len(text))])


def raw(tokenizer: ReferenceTokenizer, text: str) -> tuple[list[int], list[int]]:
    """Ids and labels of raw text: all but the first token is trained."""
    return tokenizer.label(text, [(0, len(text))])


def _by_prefix(template: Template, sample: Sample, text: str, index: int) -> Span | None:
    messages: list[dict[str, Any]] = sample.messages or []

    def shown(count: int, prompt: bool) -> str | None:
        try:
            return render(
                template.source,
                template.special,
                messages[:count],
                tools=sample.tools,
                add_generation_prompt=prompt,
                kwargs=sample.kwargs,
            )
        except Exception:  # whatever a template raises means that it refuses this prefix
            return None

    before, plain, upto = shown(index, True), shown(index, False), shown(index + 1, False)
    if before is None or upto is None or before == plain:
        return None
    end = upto.rstrip()
    if not text.startswith(before) or not text.startswith(end) or len(before) >= len(end):
        return None
    content = messages[index].get("content")
    turn = text[len(before) : len(end)]
    stops = [match for match in mask.TOKEN_LIKE.finditer(turn) if match.end() == len(turn)]
    if not isinstance(content, str) or content.strip() not in turn or not stops:
        return None
    # One stop token ends the turn; where several end it, the judge has to say which.
    ahead = re.sub(r"\s+$", "", turn[: stops[-1].start()])
    if any(m.end() == len(ahead) for m in mask.TOKEN_LIKE.finditer(ahead)) and not ahead.endswith(
        content.strip()[-1:] or ahead
    ):
        return None
    return len(before), len(end)


def _judged(template: Template, sample: Sample) -> dict[int, Span | None]:
    conversation = {
        "messages": sample.messages,
        "tools": sample.tools,
        "kwargs": sample.kwargs,
    }
    try:
        return mask.reference_spans(template.source, template.special, conversation)
    except Unjudgeable as error:
        raise Undecided(str(error)) from error
