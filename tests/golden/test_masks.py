"""Label spans over templates and conversations, judged by provenance in Jinja2 itself."""

from __future__ import annotations

import copy
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from reference import mask, metamorphic
from reference import render as reference
from reference.data import SEED, sample
from reference.engine import Unjudgeable
from reference.normalise import Refusal, normalise

import sftprep

SAMPLED_PAIRS = 1500
Spans = dict[int, list[tuple[int, int]]]
Conversation = dict[str, Any]


@pytest.fixture(scope="module")
def tokenizer(tokenizer_dir: Path) -> sftprep.Tokenizer:
    """Any tokenizer will do: spans are of the text."""
    return sftprep.Tokenizer.from_file(tokenizer_dir)


def spans_of(
    tokenizer: sftprep.Tokenizer, template: reference.Template
) -> Callable[[Conversation], tuple[str, Spans]]:
    """The product's text and trained spans (in characters) of a conversation; no span where it
    refuses the row or does not train the turn."""
    # The index names a special token only where the template reads it; the model's own tokenizer
    # would name this one in any case.
    eos = {"eos_token": "</s>"} if "</s>" in template.source else {}
    special = eos | template.special
    encoder = sftprep.Encoder(
        tokenizer,
        sftprep.ChatTemplate(template.source, special_tokens=special, date=reference.FROZEN_DATE),
    )

    def of(conversation: Conversation) -> tuple[str, Spans]:
        row = {"messages": conversation["messages"]}
        if conversation.get("tools") is not None:
            row["tools"] = conversation["tools"]
        kwargs = conversation.get("template_kwargs") or conversation.get("kwargs")
        if kwargs:
            row["chat_template_kwargs"] = kwargs
        try:
            encoded = encoder.encode(row)
        except (sftprep.LabelError, sftprep.TemplateError, sftprep.FormatError):
            return "", {}
        data = encoded.text.encode()
        spans: Spans = {}
        for start, end, _kind, message, trained in encoded.spans:
            if trained and message is not None:
                begin = len(data[:start].decode())
                stop = begin + len(data[start:end].decode())
                of_message = spans.setdefault(message, [])
                if of_message and of_message[-1][1] == begin:
                    of_message[-1] = (of_message[-1][0], stop)
                else:
                    of_message.append((begin, stop))
        return encoded.text, spans

    return of


def encodable(conversation: Conversation) -> Conversation:
    """The conversation in the normal form of rows, as `Encoder` takes it."""
    out = copy.deepcopy(conversation) | {"add_generation_prompt": False}
    row = {key: out[key] for key in ("messages", "tools") if out.get(key)}
    try:
        sample_row = normalise(row, "messages")
    except Refusal:
        return out
    return out | {"messages": sample_row.messages, "tools": sample_row.tools}


@pytest.fixture(scope="module")
def pairs(data: Path) -> list[tuple[reference.Template, Conversation]]:
    templates = reference.shared_templates(data / "chat_templates")
    conversations = reference.shared_conversations(data / "conversations.jsonl")
    return sample(list(reference.pairs(templates, conversations)), SAMPLED_PAIRS)


def test_no_span_is_wrong(
    tokenizer: sftprep.Tokenizer,
    pairs: list[tuple[reference.Template, Conversation]],
    record_property: Callable[..., None],
) -> None:
    counts: Counter[str] = Counter()
    wrong = []
    for template, conversation in pairs:
        plain = encodable(conversation)
        try:
            text, spans = spans_of(tokenizer, template)(plain)
            verdicts = mask.judge(template.source, template.special, plain, spans)
        except Unjudgeable:
            continue
        if spans:
            theirs = reference.render(
                template.source,
                template.special,
                plain["messages"],
                tools=plain.get("tools"),
                kwargs=plain.get("template_kwargs"),
            )
            if text != theirs:
                wrong.append(f"{template.name} x {conversation['id']}: the text differs")
                continue
        for verdict in verdicts:
            counts[verdict.status] += 1
            if verdict.status == "wrong":
                place = f"{template.name} x {conversation['id']}[{verdict.message}]"
                wrong.append(f"{place}: {'; '.join(verdict.wrong)}")
    for status, count in counts.items():
        record_property(status, count)
    print(f"\nturns: {dict(counts)}")
    assert not wrong, f"{len(wrong)} wrong spans:\n" + "\n".join(wrong[:40])


def test_other_messages_do_not_matter(
    tokenizer: sftprep.Tokenizer,
    pairs: list[tuple[reference.Template, Conversation]],
) -> None:
    chance = random.Random(SEED)
    broken = []
    for template, conversation in pairs:
        of = spans_of(tokenizer, template)
        plain = encodable(conversation)
        text, spans = of(plain)
        for message in spans:
            other = metamorphic.replace_others(plain, message, chance)
            other_text, other_spans = of(other)
            if message not in other_spans:
                continue  # the template may well refuse or reshape the replaced texts
            ours = [text[a:b] for a, b in spans[message]]
            theirs = [other_text[a:b] for a, b in other_spans[message]]
            if ours != theirs:
                place = f"{template.name} x {conversation['id']}[{message}]"
                broken.append(f"{place}: {ours!r} became {theirs!r}")
    assert not broken, f"{len(broken)} spans changed:\n" + "\n".join(broken[:20])
