"""Label spans over templates and conversations, judged by provenance in Jinja2 itself."""

from __future__ import annotations

import copy
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from reference import mask, metamorphic
from reference import render as reference
from reference.data import SEED, sample
from reference.engine import Unjudgeable
from reference.normalise import Refusal, normalise
from reference.turns import positions

import sftprep

SAMPLED_PAIRS = 1500
PROVEN_SHARE = 0.97
"""Of all assistant turns of which the reference renders anything."""
PROVEN_OF_ALL = 0.92
"""Of all, with those of which the template prints nothing at all: they have no span."""
Spans = dict[int, list[tuple[int, int]]]
Conversation = dict[str, Any]


@pytest.fixture(scope="module")
def tokenizer(tokenizer_dir: Path) -> sftprep.Tokenizer:
    """Any tokenizer will do: spans are of the text."""
    return sftprep.Tokenizer.from_file(tokenizer_dir)


@dataclass(frozen=True)
class Product:
    """What one sample of a row is: the conversation that it shows, its text, its trained spans."""

    conversation: Conversation
    text: str
    spans: Spans
    """Characters by message; nothing for a turn that is not trained."""


class Masks:
    """The product's masks under a template."""

    def __init__(self, tokenizer: sftprep.Tokenizer, template: reference.Template) -> None:
        # The index names a special token only where the template reads it; the model's own
        # tokenizer would name this one in any case.
        eos = {"eos_token": "</s>"} if "</s>" in template.source else {}
        compiled = sftprep.ChatTemplate(
            template.source, special_tokens=eos | template.special, date=reference.FROZEN_DATE
        )
        self.default = sftprep.Encoder(tokenizer, compiled)
        # Whether a field of the row is lost is one question, whether the mask of what is there is
        # right another: spans are judged whatever the answer to the first.
        self.lenient = sftprep.Encoder(tokenizer, compiled, dropped="allow")

    def samples(self, conversation: Conversation, only: int | None = None) -> list[Product]:
        """The samples of a row, `only` one message of which is trained; nothing if refused."""
        row = _row(conversation, only)
        try:
            samples = self.lenient.encode_samples(row)
        except (sftprep.LabelError, sftprep.TemplateError, sftprep.FormatError):
            return []
        return [_product(conversation, sample) for sample in samples]

    def by_turn(self, conversation: Conversation) -> list[Product]:
        """As `samples`; of a row that is refused, those of its turns that are proven."""
        whole = self.samples(conversation)
        turns = range(len(conversation["messages"]))
        return whole or [it for turn in turns for it in self.samples(conversation, turn)]

    def loses_a_field(self, conversation: Conversation, turn: int) -> bool:
        """Whether the default policy refuses a turn because the template leaves out a field."""
        try:
            self.default.encode_samples(_row(conversation, turn))
        except sftprep.LabelError as error:
            return "rule D" in str(error)
        except (sftprep.TemplateError, sftprep.FormatError):
            return False
        return False


def _row(conversation: Conversation, only: int | None) -> dict[str, Any]:
    messages = conversation["messages"]
    if only is not None:
        messages = [
            message | ({} if index == only else {"train": False})
            for index, message in enumerate(messages)
        ]
    row = {"messages": messages}
    if conversation.get("tools") is not None:
        row["tools"] = conversation["tools"]
    kwargs = conversation.get("template_kwargs") or conversation.get("kwargs")
    return row | ({"chat_template_kwargs": kwargs} if kwargs else {})


def _product(conversation: Conversation, sample: sftprep.EncodedRow) -> Product:
    data = sample.text.encode()
    spans: Spans = {}
    for start, end, _kind, message, trained in sample.spans:
        if trained and message is not None:
            begin = len(data[:start].decode())
            stop = begin + len(data[start:end].decode())
            of_message = spans.setdefault(message, [])
            if of_message and of_message[-1][1] == begin:
                of_message[-1] = (of_message[-1][0], stop)
            else:
                of_message.append((begin, stop))
    shown = conversation["messages"]
    if sample.turn is not None:
        shown = shown[: sample.turn + 1]
        assert set(spans) <= {sample.turn}, "a sample of one turn trains another"
    return Product(conversation | {"messages": shown}, sample.text, spans)


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
    wrong: list[str] = []
    for template, conversation in pairs:
        plain = encodable(conversation)
        try:
            case = mask.Case(template.source, template.special, plain)
        except Unjudgeable:
            continue
        masks = Masks(tokenizer, template)
        place = f"{template.name} x {conversation['id']}"
        verdicts: dict[int, mask.Verdict] = {}
        for shown in masks.by_turn(plain):
            if shown.text != rendered(template, shown.conversation):
                wrong.append(f"{place}: the text differs")
            for verdict in judged(template, shown):
                if verdict.message in verdicts:
                    wrong.append(f"{place}[{verdict.message}]: trained twice")
                verdicts[verdict.message] = verdict
        for turn, message in enumerate(plain["messages"]):
            if message.get("role") != "assistant":
                continue
            verdict = verdicts.get(turn, mask.Verdict(turn, "refused"))
            counts[verdict.status] += 1
            if verdict.status == "refused":
                counts["refused: nothing rendered"] += not positions(case.whole, turn)[0]
            elif masks.loses_a_field(plain, turn):
                counts["proven, but the template leaves out a field"] += 1
            wrong += [f"{place}[{turn}]: {why}" for why in verdict.wrong]
    turns = sum(counts[status] for status in ("right", "wrong", "unjudged", "refused"))
    proven = turns - counts["refused"]
    share = proven / (turns - counts["refused: nothing rendered"])
    for status, count in counts.items():
        record_property(status, count)
    print(f"\n{turns} turns, proven: {share:.2%}, of all {proven / turns:.2%}: {dict(counts)}")
    assert not wrong, f"{len(wrong)} wrong spans:\n" + "\n".join(wrong[:40])
    assert share >= PROVEN_SHARE
    assert proven / turns >= PROVEN_OF_ALL


def judged(template: reference.Template, shown: Product) -> list[mask.Verdict]:
    """The verdicts on the turns that a sample trains."""
    found = mask.judge(template.source, template.special, shown.conversation, shown.spans)
    return [verdict for verdict in found if verdict.message in shown.spans]


def rendered(template: reference.Template, conversation: Conversation) -> str:
    return reference.render(
        template.source,
        template.special,
        conversation["messages"],
        tools=conversation.get("tools"),
        kwargs=conversation.get("template_kwargs"),
    )


def test_other_messages_do_not_matter(
    tokenizer: sftprep.Tokenizer,
    pairs: list[tuple[reference.Template, Conversation]],
) -> None:
    chance = random.Random(SEED)
    broken = []
    for template, conversation in pairs:
        masks = Masks(tokenizer, template)
        plain = encodable(conversation)
        for shown in masks.samples(plain):
            for message in shown.spans:
                other = metamorphic.replace_others(plain, message, chance)
                # the template may well refuse or reshape the replaced texts
                for changed in masks.samples(other):
                    if message not in changed.spans:
                        continue
                    ours = [shown.text[a:b] for a, b in shown.spans[message]]
                    theirs = [changed.text[a:b] for a, b in changed.spans[message]]
                    if ours != theirs:
                        place = f"{template.name} x {conversation['id']}[{message}]"
                        broken.append(f"{place}: {ours!r} became {theirs!r}")
    assert not broken, f"{len(broken)} spans changed:\n" + "\n".join(broken[:20])
