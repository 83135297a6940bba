from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sftprep
from sftprep.errors import TokenizerError

TEXTS = [
    "",
    "a",
    "The quick brown fox.",
    "<|im_start|>user\nWhat is it?<|im_end|>\n",
    "你好，世界 🙂 e\u0301\u0327 \u200d\u00a0",
    "a" * 1000,
]


@pytest.fixture(scope="module")
def tokenizer(tokenizer_dir: Path) -> sftprep.Tokenizer:
    return sftprep.Tokenizer.from_file(tokenizer_dir / "tokenizer.json")


@pytest.fixture(scope="module")
def reference(tokenizer_dir: Path) -> object:
    tokenizers = pytest.importorskip("tokenizers")
    return tokenizers.Tokenizer.from_file(str(tokenizer_dir / "tokenizer.json"))


def test_arrays_have_the_promised_shapes(tokenizer: sftprep.Tokenizer) -> None:
    for text in TEXTS:
        encoding = tokenizer.encode(text)
        assert encoding.ids.dtype == np.uint32
        assert encoding.ids.shape == (len(encoding),)
        assert encoding.offsets.dtype == np.uint32
        assert encoding.offsets.shape == (len(encoding), 2)
        assert encoding.ids.flags.writeable
        assert encoding.ids is encoding.ids


@pytest.mark.parametrize("text", TEXTS)
def test_ids_are_those_of_the_reference(
    tokenizer: sftprep.Tokenizer, reference: object, text: str
) -> None:
    expected = reference.encode(text, add_special_tokens=False).ids  # type: ignore[attr-defined]
    assert tokenizer.encode(text).ids.tolist() == expected


@given(text=st.text(max_size=60))
def test_offsets_partition_the_bytes_of_any_text(tokenizer: sftprep.Tokenizer, text: str) -> None:
    encoding = tokenizer.encode(text)
    offsets = encoding.offsets
    raw = text.encode()
    assert (offsets[1:, 0] == offsets[:-1, 1]).all()
    pieces = [raw[start:end] for start, end in offsets.tolist()]
    assert b"".join(pieces) == raw
    decoded = b"".join(tokenizer.token_bytes(int(id_)) or b"" for id_ in encoding.ids)
    assert decoded == raw
    assert tokenizer.decode(encoding.ids) == text


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_a_batch_is_its_texts_end_to_end(tokenizer: sftprep.Tokenizer, threads: int) -> None:
    texts = [f"{text} {index}" for index in range(200) for text in TEXTS]
    batch = tokenizer.encode_batch(texts, threads=threads)
    assert len(batch) == len(texts)
    assert batch.row_starts.dtype == np.int64
    assert batch.row_starts[0] == 0
    assert batch.row_starts[-1] == len(batch.ids) == len(batch.offsets)
    for index, text in enumerate(texts):
        row = slice(batch.row_starts[index], batch.row_starts[index + 1])
        alone = tokenizer.encode(text)
        assert (batch.ids[row] == alone.ids).all()
        assert (batch.offsets[row] == alone.offsets).all()


def test_a_token_of_a_batch_may_be_longer_than_a_byte_counts(
    tokenizer_dir: Path, tmp_path: Path
) -> None:
    file = json.loads((tokenizer_dir / "tokenizer.json").read_text("utf-8"))
    like = next(each for each in file["added_tokens"] if each["content"] == "<|im_end|>")
    like["lstrip"] = True
    (tmp_path / "tokenizer.json").write_text(json.dumps(file), "utf-8")
    tokenizer = sftprep.Tokenizer.from_file(tmp_path)
    texts = [f"a{' ' * spaces}<|im_end|>b" for spaces in (0, 1, 243, 244, 245, 246, 5000)]
    batch = tokenizer.encode_batch(texts, threads=1)
    expected = [tokenizer.encode(text).offsets.tolist() for text in texts]
    assert batch.offsets.tolist() == [span for spans in expected for span in spans]
    assert max(end - start for start, end in batch.offsets.tolist()) == 5010
    assert batch.offsets is batch.offsets


def test_an_empty_batch(tokenizer: sftprep.Tokenizer) -> None:
    batch = tokenizer.encode_batch([])
    assert batch.row_starts.tolist() == [0]
    assert batch.offsets.shape == (0, 2)


def test_vocabulary_lookups(tokenizer: sftprep.Tokenizer) -> None:
    stop = tokenizer.token_to_id("<|im_end|>")
    assert stop is not None
    assert tokenizer.id_to_token(stop) == "<|im_end|>"
    assert tokenizer.token_to_id("nonsense, surely") is None
    assert tokenizer.id_to_token(10**6) is None
    assert tokenizer.vocab_size == len(tokenizer) == 400
    assert (stop, "<|im_end|>", True) in tokenizer.added_tokens
    assert tokenizer.engine in {"fast", "tokenizers"}
    ids = tokenizer.encode("hi<|im_end|>").ids
    assert tokenizer.decode(ids, skip_special_tokens=True) == "hi"
    assert tokenizer.decode(ids.tolist()) == "hi<|im_end|>"


def test_it_pickles_by_path(tokenizer: sftprep.Tokenizer) -> None:
    copy = pickle.loads(pickle.dumps(tokenizer))
    assert copy.encode(TEXTS[3]).ids.tolist() == tokenizer.encode(TEXTS[3]).ids.tolist()


def test_other_threads_run_while_a_batch_is_encoded(tokenizer_dir: Path) -> None:
    # Counted in a process of its own, so that nothing else holds its interpreter.
    program = f"""
import sftprep, threading, time
tokenizer = sftprep.Tokenizer.from_file({str(tokenizer_dir)!r})
texts = ["the quick brown fox jumps over the lazy dog " * 50] * 2000
ticks, stop = 0, threading.Event()
def tick():
    global ticks
    while not stop.wait(0.001):
        ticks += 1
thread = threading.Thread(target=tick)
thread.start()
ticks = 0
started = time.perf_counter()
tokenizer.encode_batch(texts, threads=1)
seconds, seen = time.perf_counter() - started, ticks
stop.set()
thread.join()
assert seen > 20 * seconds, (seen, seconds)
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError) as missing:
        sftprep.Tokenizer.from_file(tmp_path / "nowhere")
    assert missing.value.code == "tokenizer.missing"
    (tmp_path / "tokenizer.model").write_bytes(b"x")
    with pytest.raises(TokenizerError) as sentencepiece:
        sftprep.Tokenizer.from_file(tmp_path)
    assert sentencepiece.value.code == "tokenizer.sentencepiece"
    (tmp_path / "tokenizer.json").write_text('{"model": ')
    with pytest.raises(TokenizerError) as cut:
        sftprep.Tokenizer.from_file(tmp_path)
    assert cut.value.code == "tokenizer.invalid"


def test_wrong_types_are_type_errors(tokenizer: sftprep.Tokenizer) -> None:
    with pytest.raises(TypeError):
        tokenizer.encode(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        tokenizer.encode_batch("not a list")  # type: ignore[arg-type]
    with pytest.raises((OverflowError, ValueError)):
        tokenizer.decode([-100])
