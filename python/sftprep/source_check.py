"""Packed documents held against the input rows they were made from, by transformers' own code.

The inputs are read as ``pack`` reads them, in every format; each conversation is handed over as a
template would see it. Rendering, tokens and labels are then worked out anew: a turn is what the
template appends after the generation prompt, up to its stop token.
"""

from __future__ import annotations

import json
import re
import secrets
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from sftprep import _core
from sftprep.config import PackConfig, merge, nest, read_file
from sftprep.errors import ConfigError, TrainError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sftprep.dataset import Document, ShardDataset

_IGNORE = -100
_THEN = "{%- macro strftime_now(form) %}{{ then[form] }}{% endmacro -%}"
# What a template is given by transformers itself, beside the conversation and its options.
_GIVEN = {"messages", "tools", "documents", "add_generation_prompt", "strftime_now"}


class Sample(NamedTuple):
    """What a document may be."""

    ids: list[int]
    trained: dict[int, set[int]]
    """Tokens of each turn that is trained, all or not at all, by its message."""


def check_source(shards: ShardDataset, row: int, source: str) -> int:
    """Compares the documents of a packed row with their input rows.

    Args:
        shards: The packed dataset.
        row: Row of it.
        source: Where an input is now: a path or ``name=path``, as for ``sftprep pack``.

    Returns:
        Documents compared. Those of other inputs are left out, and those whose tokens or labels
        plain transformers code cannot tell: pretokenized rows, text that spells control tokens.

    Raises:
        ConfigError: if no document of the row is of this input.
        TrainError: naming the input row that differs.
    """
    again = _Again(shards, source)
    wanted = {(it.source, it.line): it for it in again.own(shards.documents(row))}
    packed, compared = shards[row], 0
    for given in again.rows(max(line for _, line in wanted)):
        place = (again.name or given.source, given.line)
        for document in shards.documents(row) if place in wanted else ():
            if (document.source, document.line) != place:
                continue
            own = slice(document.start, document.end)
            ids, labels = packed["input_ids"][own], packed["labels"][own]
            samples = again.samples(given, document)
            if samples is None:
                continue
            compared += 1
            matching = [it for it in samples if it.ids == ids.tolist()]
            trained = {at for at, label in enumerate(labels.tolist()) if label != _IGNORE}
            if not any(_explains(it, trained, document) for it in matching):
                what = "labels" if matching else "tokens"
                raise TrainError(
                    f"the shards differ from the source in {what}",
                    code="train.loss", path=source, line=document.line,
                    hint="pack again, with the options that were meant",
                )  # fmt: skip
    return compared


def _explains(sample: Sample, trained: set[int], document: Document) -> bool:
    """Whether the labels are whole turns of the sample, as far as these are known.

    Free are tokens that straddle an edge, and turns that the template renders in another way once
    others follow, or of which the options train a part.
    """
    chosen = {at for turn in sample.trained.values() if turn & trained for at in turn}
    for span in document.spans:
        known = span.message is None or span.message in sample.trained
        if span.straddles or not known:
            free = range(span.start - document.start, span.end - document.start)
            trained, chosen = trained.difference(free), chosen.difference(free)
    return chosen == trained


class _Again:
    """Makes samples of input rows anew."""

    def __init__(self, shards: ShardDataset, source: str) -> None:
        from transformers import AutoTokenizer

        self._source = source
        self._config = merge(PackConfig(), read_file(shards.path))
        names = [entry["name"] for entry in shards.manifest["inputs"]]
        self.name = names[0] if len(names) == 1 else None
        self._tokenizer: Any = AutoTokenizer.from_pretrained(shards.path)
        self._mark = secrets.token_hex(16)  # no text begins with it
        file = shards.path / "chat_template.jinja"
        template = file.read_text("utf-8") if file.is_file() else ""
        self._dump = _core.Encoder(
            _core.Tokenizer.from_file(shards.path),
            _core.ChatTemplate(self._mark + _dump(template)),
            template_kwargs=self._config.template.kwargs,
        )
        label = self._config.label
        self._whole = label.reasoning and label.tool_calls and label.stop == "turn"
        self._more: dict[str, Any] = {}
        if date := shards.manifest["template"]["date"]:  # it was today then
            then = datetime.fromisoformat(date)
            forms = set(re.findall(r"strftime_now\(\s*['\"]([^'\"]*)", template))
            self._more = {
                "chat_template": _THEN + template,
                "then": {form: then.strftime(form) for form in forms},
            }

    def rows(self, last: int) -> Iterator[_core.InputRow]:
        """The input's rows, up to a line."""
        inputs = nest({"inputs": [self._source], "limit": last})
        return iter(_core.Encoder.from_config(merge(self._config, inputs).to_json()).rows())

    def own(self, documents: list[Document]) -> list[Document]:
        """The documents that are of this input.

        Raises:
            ConfigError: if there is none.
        """
        name = self.name or next((row.source for row in self.rows(1)), "")
        found = [it for it in documents if it.source == name]
        if not found:
            raise ConfigError(
                f"the first row of the run has no document of {name!r}, but of "
                f"{', '.join(sorted({it.source for it in documents}))}",
                field="--source",
                path=self._source,
                hint="give one of these, as name=path if it is called otherwise",
            )
        return found

    def samples(self, given: _core.InputRow, document: Document) -> list[Sample] | None:
        """What the document may be; ``None`` if plain transformers code cannot tell."""
        text = self._dump.render(given)
        if not text.startswith(self._mark):
            if not self._dump.encode_samples(given)[0].text:
                return None  # ids, of which nothing is made anew
            prompt = self._dump.render(given, add_generation_prompt=True)
            return list(self._running(text, 0 if prompt == text else len(prompt), document))
        conversation = json.loads(text.removeprefix(self._mark))
        added = self._tokenizer.added_tokens_decoder.values()
        if any(token.content in text for token in added):
            return None
        messages = conversation.pop("messages")
        last = max((it.message for it in document.spans if it.message is not None), default=0)
        # A row may have become one sample per turn, which ends with that turn.
        several = {len(messages), last + 1}
        found = [self._turns(messages[:end], conversation) for end in sorted(several)]
        return found if document.first_token == 0 else None

    def _running(self, text: str, start: int, document: Document) -> Iterator[Sample]:
        """Text without a template, or a piece of it: trained from a character on."""
        for special in (False, True):
            coded = self._tokenizer(text, add_special_tokens=special, return_offsets_mapping=True)
            ends = [[], [self._tokenizer.eos_token_id]]
            for end in ends:
                ids, first = [*coded["input_ids"], *end], document.first_token
                edges = [a for a, _ in coded["offset_mapping"]] + [len(text)] * len(end)
                piece = slice(first, first + document.end - document.start)
                trained = {at for at, a in enumerate(edges[piece]) if at and a >= start}
                yield Sample(ids[piece], {0: trained})

    def _turns(self, messages: list[Any], more: dict[str, Any]) -> Sample:
        """A conversation, and the tokens of each assistant turn."""

        def render(end: int, prompt: bool) -> str:
            text: str = self._tokenizer.apply_chat_template(
                messages[:end], tokenize=False, add_generation_prompt=prompt, **more, **self._more
            )
            return text

        text, turns = render(len(messages), False), {}
        coded = self._tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        stops = [re.escape(token) for token in self._tokenizer.all_special_tokens]
        for at, message in enumerate(messages):
            if message["role"] != "assistant" or not self._whole:
                continue
            before, after = render(at, True), render(at + 1, False)
            start = len(before)
            if not (text.startswith(before) and text.startswith(after)):
                continue
            # What the template puts after the stop token is not trained.
            found = [it.end() for it in re.finditer("|".join(stops) or "$^", after[start:])]
            end = start + found[-1] if found else len(after)
            spans = enumerate(coded["offset_mapping"])
            turns[at] = {place for place, (a, b) in spans if start <= a and b <= end and place}
        return Sample(list(coded["input_ids"]), turns)


def _dump(template: str) -> str:
    """A template that prints, as JSON, what it is given and the other template asks for."""
    from jinja2 import meta
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(extensions=["jinja2.ext.loopcontrols"])
    plain = re.sub(r"{%-?\s*(end)?generation\s*-?%}", "", template)
    asked = meta.find_undeclared_variables(environment.parse(plain))
    names = sorted(asked - _GIVEN - {*environment.globals, "raise_exception"})
    items = "".join(
        f"{{% if {name} is defined and {name} is not callable %}}, {json.dumps(name)}: "
        f"{{{{ {name} | tojson }}}}{{% endif %}}"
        for name in names
        if not name.endswith("_token")
    )
    kept = "".join(
        f', "{name}": {{{{ {name} | default(none) | tojson }}}}' for name in ("tools", "documents")
    )
    return f'{{"messages": {{{{ messages | tojson }}}}{kept}{items}}}'
