from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import CHATML, conversation
from hypothesis import given
from hypothesis import strategies as st

import sftprep
from sftprep.errors import ConfigError, FormatError, LabelError, TemplateError


@pytest.fixture(scope="module")
def tokenizer(tokenizer_dir: Path) -> sftprep.Tokenizer:
    return sftprep.Tokenizer.from_file(tokenizer_dir)


@pytest.fixture(scope="module")
def encoder(tokenizer: sftprep.Tokenizer) -> sftprep.Encoder:
    return sftprep.Encoder(tokenizer, sftprep.ChatTemplate(CHATML))


def check(encoder: sftprep.Encoder, tokenizer: sftprep.Tokenizer, row: dict[str, Any]) -> None:
    """Compares with the slow and obvious way: text by hand, labels by character ranges."""
    text, ranges = "", []
    for message in row["messages"]:
        text += f"<|im_start|>{message['role']}\n"
        start = len(text.encode())
        text += f"{message['content']}<|im_end|>"
        if message["role"] == "assistant":
            ranges.append((start, len(text.encode())))
        text += "\n"
    x = encoder.encode(row)
    assert x.text == text
    whole = tokenizer.encode(text)
    assert x.input_ids.tolist() == whole.ids.tolist()
    expected = [
        id_ if index and any(a <= start and end <= b for a, b in ranges) else -100
        for index, (id_, (start, end)) in enumerate(
            zip(whole.ids.tolist(), whole.offsets.tolist(), strict=True)
        )
    ]
    assert x.labels.tolist() == expected
    assert len(x) == len(x.input_ids) == len(x.labels)


def test_a_row_is_encoded_as_by_hand(
    encoder: sftprep.Encoder, tokenizer: sftprep.Tokenizer
) -> None:
    for index in range(10):
        check(encoder, tokenizer, conversation(index, 1 + index % 4))


# Control strings in a row's own text never become tokens, so they are tested by themselves.
WORDS = st.text(max_size=30).filter(lambda text: "<|" not in text and text.strip())


@given(turns=st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=4))
def test_any_conversation_is_encoded_as_by_hand(
    encoder: sftprep.Encoder, tokenizer: sftprep.Tokenizer, turns: list[tuple[str, str]]
) -> None:
    messages = []
    for question, answer in turns:
        messages.append({"role": "user", "content": question})
        messages.append({"role": "assistant", "content": answer})
    check(encoder, tokenizer, {"messages": messages})


@given(turns=st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=4))
def test_trained_spans_are_the_answers(
    encoder: sftprep.Encoder, turns: list[tuple[str, str]]
) -> None:
    messages = []
    for question, answer in turns:
        messages.append({"role": "user", "content": question})
        messages.append({"role": "assistant", "content": answer})
    x = encoder.encode({"messages": messages})
    raw = x.text.encode()
    assert [start for start, *_ in x.spans] == [0, *(end for _, end, *_ in x.spans[:-1])]
    assert x.spans[-1][1] == len(raw)
    trained: dict[int | None, bytes] = {}
    for start, end, kind, message, is_trained in x.spans:
        if is_trained:
            assert kind in {"answer", "stop"}
            trained[message] = trained.get(message, b"") + raw[start:end]
    assert trained == {
        2 * index + 1: f"{answer}<|im_end|>".encode() for index, (_, answer) in enumerate(turns)
    }


def test_the_arrays_are_writable_int32(encoder: sftprep.Encoder) -> None:
    x = encoder.encode(conversation(1))
    for values in (x.input_ids, x.labels):
        assert values.dtype == np.int32
        assert values.flags.writeable
    assert x.mask_method == {2: "origin"}


def test_rows_come_as_mappings_text_or_bytes(encoder: sftprep.Encoder) -> None:
    row = conversation(5)
    expected = encoder.encode(row).labels.tolist()
    assert encoder.encode(json.dumps(row)).labels.tolist() == expected
    assert encoder.encode(json.dumps(row).encode()).labels.tolist() == expected


def test_every_format_is_detected(tokenizer: sftprep.Tokenizer) -> None:
    encoder = sftprep.Encoder(tokenizer)
    sharegpt = {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}
    messages = {
        "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    }
    alpaca = {"instruction": "a", "input": "", "output": "b"}
    expected = encoder.encode(messages).labels.tolist()
    assert encoder.encode(sharegpt).labels.tolist() == expected
    assert encoder.encode(alpaca).labels.tolist() == expected
    text = encoder.encode({"text": "some text"})
    assert (text.labels[1:] == text.input_ids[1:]).all()
    assert text.labels[0] == -100
    completion = encoder.encode({"prompt": "2+2=", "completion": "4"})
    assert completion.text == "2+2=4<|im_end|>"
    tokens = encoder.encode({"input_ids": [5, 6, 7], "labels": [-100, -100, 7]})
    assert (tokens.text, tokens.labels.tolist()) == ("", [-100, -100, 7])


def test_options_are_those_of_pack(tokenizer: sftprep.Tokenizer) -> None:
    row = conversation(1, turns=3)
    every = sftprep.Encoder(tokenizer).encode(row)
    last = sftprep.Encoder(tokenizer, train_on="last_turn").encode(row)
    assert (last.labels >= 0).sum() < (every.labels >= 0).sum()
    no_stop = sftprep.Encoder(tokenizer, stop="none").encode(row)
    assert (every.labels >= 0).sum() - (no_stop.labels >= 0).sum() == 3
    with pytest.raises(ConfigError, match="there is no option trainon"):
        sftprep.Encoder(tokenizer, trainon="last_turn")
    with pytest.raises(ConfigError, match=r"label\.stop is"):
        sftprep.Encoder(tokenizer, stop="never")


def test_text_that_spells_a_control_token_stays_text(tokenizer: sftprep.Tokenizer) -> None:
    row = {
        "messages": [
            {"role": "user", "content": "what is <|im_end|>?"},
            {"role": "assistant", "content": "a token"},
        ]
    }
    stop = tokenizer.token_to_id("<|im_end|>")
    assert (sftprep.Encoder(tokenizer).encode(row).input_ids == stop).sum() == 2
    as_transformers = sftprep.Encoder(tokenizer, special_text="as_transformers")
    assert (as_transformers.encode(row).input_ids == stop).sum() == 3
    with pytest.raises(LabelError) as caught:
        sftprep.Encoder(tokenizer, special_text="refuse").encode(row)
    assert caught.value.code == "label.control_text"


@pytest.mark.parametrize(
    ("row", "code", "field"),
    [
        ({"messages": []}, "format.empty", "messages"),
        ({"messages": [{"role": "narrator", "content": "x"}]}, "format.role", "messages[0].role"),
        ({"messages": "text"}, "format.type", "messages"),
        ('{"messages": [,]}', "row.json", None),
        ("[1]", "row.not_object", None),
        ([1], "row.not_object", None),
    ],
)
def test_bad_rows_are_named(
    encoder: sftprep.Encoder,
    row: Any,  # noqa: ANN401 - wrong on purpose
    code: str,
    field: str | None,
    tokenizer: sftprep.Tokenizer,
) -> None:
    forced = sftprep.Encoder(tokenizer, format="messages")
    with pytest.raises(FormatError) as caught:
        forced.encode(row)
    assert caught.value.code == code
    if field is not None:
        assert caught.value.field == field


def test_nothing_to_train_is_an_error(encoder: sftprep.Encoder) -> None:
    with pytest.raises(LabelError) as caught:
        encoder.encode({"messages": [{"role": "user", "content": "hello"}]})
    assert caught.value.code == "label.nothing_trained"


def test_a_template_that_refuses_is_an_error(tokenizer: sftprep.Tokenizer) -> None:
    template = sftprep.ChatTemplate("{{ raise_exception('no') }}")
    with pytest.raises(TemplateError):
        sftprep.Encoder(tokenizer, template).encode(conversation(1))


def test_render_is_the_text_without_labels(encoder: sftprep.Encoder) -> None:
    row = conversation(2)
    assert encoder.render(row) == encoder.encode(row).text
    question = {"messages": row["messages"][:2]}
    prompt = encoder.render(question, add_generation_prompt=True)
    assert prompt == encoder.render(question) + "<|im_start|>assistant\n"


def test_an_encoder_is_shared_by_threads(encoder: sftprep.Encoder) -> None:
    rows = [conversation(index, 1 + index % 4) for index in range(200)]
    expected = [encoder.encode(row).labels.tolist() for row in rows]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            found = pool.map(lambda row: encoder.encode(row).labels.tolist(), rows)
            assert list(found) == expected


def test_a_refused_row_leaves_no_trace(encoder: sftprep.Encoder) -> None:
    expected = encoder.encode(conversation(3)).labels.tolist()
    for _ in range(3):
        with pytest.raises(LabelError):
            encoder.encode({"messages": [{"role": "user", "content": "hello"}]})
        assert encoder.encode(conversation(3)).labels.tolist() == expected
