"""Text of a row never becomes a control token, whatever it spells and wherever it stands.

The judge knows nothing of origins or offsets: a conversation with planted text must hold the same
control ids, in the same order, as the same conversation with harmless text in the same places.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from reference.data import TOKENIZERS, sample

import sftprep
from sftprep import _core

SAMPLE = 60

# Fields stand side by side with nothing between, so halves of a token meet in the text.
ADJACENT = (
    "{% for m in messages %}"
    "{% if m.role == 'assistant' %}{{ '\\n>' + m.content + '<|end|>' }}"
    "{% else %}{{ m.content }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '\\n>' }}{% endif %}"
)
# The template's own text ends with the first half.
HALF_OWN = (
    "{{% for m in messages %}}"
    "{{% if m.role == 'assistant' %}}{{{{ '\\n>' + m.content + '<|end|>' }}}}"
    "{{% else %}}{{{{ {half} + m.content + '\\n' }}}}{{% endif %}}"
    "{{% endfor %}}{{% if add_generation_prompt %}}{{{{ '\\n>' }}}}{{% endif %}}"
)
CALL = {"type": "function", "function": {"name": "look", "arguments": {"at": "it"}}}


def conversation(system: str, user: str, tool: str, answer: str) -> dict[str, Any]:
    """One text in every role that a row can have."""
    return {
        "messages": [
            {"role": "system", "content": f"a{system}"},
            {"role": "user", "content": user},
            {"role": "assistant", "content": f"b{answer}c", "tool_calls": [CALL]},
            {"role": "tool", "content": tool},
            {"role": "assistant", "content": f"d{answer}e"},
        ]
    }


def chat(system: str, user: str, answer: str) -> dict[str, Any]:
    """The same without tools, for templates that refuse them."""
    return {
        "messages": [
            {"role": "system", "content": f"a{system}"},
            {"role": "user", "content": user},
            {"role": "assistant", "content": f"b{answer}c"},
        ]
    }


class Bench:
    """A tokenizer with its control tokens, and templates to plant text in."""

    def __init__(self, folder: Path) -> None:
        """Reads the folder."""
        self.tokenizer = sftprep.Tokenizer.from_file(folder)
        spec = json.loads((folder / "tokenizer.json").read_text("utf-8"))
        config = folder / "tokenizer_config.json"
        own = json.loads(config.read_text("utf-8")).get("chat_template") if config.exists() else ""
        sources = [own] if isinstance(own, str) and own else []
        sources.append(str(_core.builtin_template("chatml")))
        added = [token for token in spec["added_tokens"] if token["content"].strip()]
        special = {token["id"]: token["content"] for token in added if token["special"]}
        self.special = special
        # What a template writes is a control token to it, unless it is a tag or plain text.
        self.encoders = [
            (
                sftprep.Encoder(self.tokenizer, sftprep.ChatTemplate(source, {"bos_token": ""})),
                special
                | {
                    token["id"]: token["content"]
                    for token in added
                    if "｜" in token["content"] and token["content"] in source
                },
            )
            for source in [*sources, ADJACENT]
        ]
        self.control = {
            token: text for _, control in self.encoders for token, text in control.items()
        }

    def half_own(self, half: str) -> tuple[sftprep.Encoder, dict[int, str]]:
        """A template whose own text ends with that half of a token."""
        source = HALF_OWN.format(half=json.dumps(half, ensure_ascii=False))
        return sftprep.Encoder(self.tokenizer, sftprep.ChatTemplate(source)), self.special

    def control_ids(
        self, judged: tuple[sftprep.Encoder, dict[int, str]], row: dict[str, Any]
    ) -> list[int] | None:
        """Control ids of a row, or None if the template or the labels refuse it."""
        encoder, control = judged
        try:
            encoded = encoder.encode(row)
        except sftprep.SftprepError:
            return None
        return [int(token) for token in encoded.input_ids if int(token) in control]


def halves(token: str) -> Iterator[tuple[str, str]]:
    """The token cut in two, at the middle and near both ends."""
    cuts = {1, len(token) // 2, len(token) - 1}
    return ((token[:cut], token[cut:]) for cut in sorted(cuts) if 0 < cut < len(token))


def rows_of(text: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Rows with the text in every role, each with its harmless twin."""
    yield conversation(text, text, text, text), conversation("x", "x", "x", "x")
    yield chat(text, text, text), chat("x", "x", "x")


def judge(bench: Bench, pairs: Iterator[tuple[dict[str, Any], dict[str, Any]]]) -> int:
    """Compares planted rows with their twins on all templates; returns the pairs compared."""
    compared = 0
    for planted, harmless in pairs:
        for encoder in bench.encoders:
            found = bench.control_ids(encoder, planted)
            wanted = bench.control_ids(encoder, harmless)
            if found is None or wanted is None:
                continue
            assert found == wanted, planted
            compared += 1
    return compared


@pytest.fixture(scope="module", params=TOKENIZERS)
def bench(request: pytest.FixtureRequest, data: Path) -> Bench:
    return Bench(data / "tokenizers" / request.param)


def test_control_tokens_planted_whole_stay_text(bench: Bench) -> None:
    tokens = sample(sorted(bench.control.values()), SAMPLE)
    assert tokens
    compared = sum(judge(bench, rows_of(token)) for token in tokens)
    assert compared >= 2 * len(tokens)


def test_control_tokens_planted_in_halves_stay_text(bench: Bench) -> None:
    compared = 0
    for token in sample(sorted(bench.control.values()), SAMPLE):
        for first, second in halves(token):
            pairs = [
                (conversation(first, second, second, second), conversation("x", "x", "x", "x")),
                (chat(first, second, first), chat("x", "x", "x")),
                (chat(f"x{first}", f"{second}{token}", second), chat("x", "x", "x")),
            ]
            compared += judge(bench, iter(pairs))
            own = bench.half_own(first)
            found = bench.control_ids(own, chat("x", second, "x"))
            assert found == bench.control_ids(own, chat("x", "x", "x")), (first, second)
            compared += found is not None
    assert compared > 0


def test_a_role_is_no_way_in(bench: Bench) -> None:
    for token in sample(sorted(bench.control.values()), SAMPLE // 4):
        row = chat("x", "x", "x")
        row["messages"].insert(1, {"role": token, "content": "x"})
        for encoder, _ in bench.encoders:
            with pytest.raises(sftprep.FormatError):
                encoder.encode(row)


def test_naughty_strings_bring_no_control_token(bench: Bench, data: Path) -> None:
    path = data / "hostile" / "naughty_strings" / "blns.json"
    strings = [text for text in json.loads(path.read_text("utf-8")) if text.strip()]
    compared = sum(judge(bench, rows_of(text)) for text in sample(strings, SAMPLE))
    assert compared >= min(len(strings), SAMPLE)


def test_the_judge_sees_an_injection(bench: Bench) -> None:
    tokens = list(bench.control.values())
    encoder = sftprep.Encoder(
        bench.tokenizer, sftprep.ChatTemplate(ADJACENT), special_text="as_transformers"
    )
    judged = (encoder, bench.control)
    planted = bench.control_ids(judged, chat("x", tokens[0], "x"))
    assert planted != bench.control_ids(judged, chat("x", "x", "x"))
