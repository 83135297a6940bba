"""What `Encoder.encode` promises about every conversation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reference.encode import ReferenceTokenizer
from strategies import conversations, plain_text

import sftprep

STOP = "<|im_end|>"


@pytest.fixture(scope="module")
def encoder(tokenizer_dir: Path) -> sftprep.Encoder:
    return sftprep.Encoder(sftprep.Tokenizer.from_file(tokenizer_dir))


@pytest.fixture(scope="module")
def oracle(tokenizer_dir: Path) -> ReferenceTokenizer:
    return ReferenceTokenizer(tokenizer_dir)


common = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def encoded(encoder: sftprep.Encoder, row: dict[str, Any]) -> sftprep.EncodedRow | None:
    try:
        return encoder.encode(row)
    except (sftprep.TemplateError, sftprep.LabelError, sftprep.FormatError):
        return None


@common
@given(conversation=conversations())
def test_labels_and_spans_fit(encoder: sftprep.Encoder, conversation: dict[str, Any]) -> None:
    row = encoded(encoder, {"messages": conversation["messages"]})
    if row is None:
        return
    assert len(row.input_ids) == len(row.labels)
    trained = row.labels != -100
    assert trained.any(), "a row without a trained token"
    assert not trained[:1].any(), "nothing predicts the first token"
    assert np.array_equal(row.labels[trained], row.input_ids[trained])
    cursor = 0
    for start, end, kind, message, is_trained in row.spans:
        assert start == cursor
        assert end > start
        cursor = end
        if is_trained:
            assert message is not None, kind
            assert conversation["messages"][message]["role"] == "assistant"
    assert cursor == len(row.text.encode())


@common
@given(texts=st.lists(plain_text, min_size=2, max_size=6))
def test_trained_tokens_spell_the_answers(
    encoder: sftprep.Encoder, oracle: ReferenceTokenizer, texts: list[str]
) -> None:
    roles = ["user", "assistant"]
    messages = [
        {"role": roles[index % 2], "content": content} for index, content in enumerate(texts)
    ]
    row = encoder.encode({"messages": messages})
    assert list(row.input_ids) == oracle.encode(row.text)
    spelled, current = [], b""
    for token, label in zip(row.input_ids, row.labels, strict=True):
        if label >= 0:
            current += oracle.spelling(int(token))
        elif current:
            spelled.append(current.decode())
            current = b""
    spelled += [current.decode()] if current else []
    answers = [m["content"] + STOP for m in messages if m["role"] == "assistant"]
    # A leading newline fuses with the header's newline; the fused token is not trained.
    assert [s.lstrip("\n") for s in spelled] == [a.lstrip("\n") for a in answers]
