"""Fixtures that all tests share; nothing is downloaded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent

# The models are tiny: more threads of torch only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The same examples on every run, so that a red run is the change's doing; "slow" looks further.
settings.register_profile(
    "fast",
    max_examples=50,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "slow", max_examples=2000, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("SFTPREP_HYPOTHESIS", "fast"))


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real data, read in place; tests that need it skip where it is absent."""
    root = Path(os.environ.get("SFTPREP_TEST_DATA", ROOT / "../shared/data")).resolve()
    if root.is_dir():
        return root
    reason = f"no test data at {root} (set SFTPREP_TEST_DATA)"
    if os.environ.get("SFTPREP_REQUIRE_DATA") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@pytest.fixture(scope="session")
def tokenizer_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small byte-level BPE with ChatML's control tokens and template, trained here."""
    tokenizers = pytest.importorskip("tokenizers")
    model = tokenizers.Tokenizer(tokenizers.models.BPE())
    model.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=400,
        show_progress=False,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
    )
    model.train_from_iterator(_TEXTS, trainer)
    folder = tmp_path_factory.mktemp("tokenizer")
    model.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "chat_template": CHATML,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


_TEXTS = [
    "system user assistant tool",
    "The quick brown fox jumps over the lazy dog, and the dog does not mind at all.",
    "What is two and two? Two and two is four. What is the capital of France? It is Paris.",
    "你好，世界。今天天气很好。",
    "Größe, naïve café, Привет, мир! こんにちは 🙂",
    "def add(a, b):\n    return a + b\n",
] * 20


def conversation(index: int, turns: int = 1) -> dict[str, Any]:
    """A row in the messages format whose texts differ from every other row's."""
    messages = [{"role": "system", "content": f"You are helper {index}."}]
    for turn in range(turns):
        messages.append({"role": "user", "content": f"What is {index} plus {turn}? 你好 🙂"})
        messages.append(
            {"role": "assistant", "content": f"It is {index + turn}. " * (1 + index % 7)}
        )
    return {"messages": messages}


@pytest.fixture
def write_rows(tmp_path: Path) -> Callable[..., Path]:
    """Writes rows as JSON Lines and returns the path."""

    def write(rows: list[Any], name: str = "chat.jsonl") -> Path:
        path = tmp_path / name
        lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return path

    return write


@pytest.fixture
def chat_file(write_rows: Callable[..., Path]) -> Path:
    """Two hundred conversations."""
    return write_rows([conversation(index, 1 + index % 3) for index in range(200)])


Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def sftprep(tmp_path: Path) -> Run:
    """Runs the command in a process of its own, in a folder of its own."""

    def run(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "sftprep", *map(str, arguments)]
        settings: dict[str, Any] = {"cwd": tmp_path, "text": True, "timeout": 120} | options
        return subprocess.run(command, check=False, capture_output=True, **settings)

    return run


@pytest.fixture(scope="session")
def packed(tmp_path_factory: pytest.TempPathFactory, tokenizer_dir: Path) -> Path:
    """A packed dataset of several shards; tests that change it copy it first."""
    import sftprep

    folder = tmp_path_factory.mktemp("packed")
    for name, first in (("one", 0), ("two", 300)):
        rows = [conversation(index, 1 + index % 3) for index in range(first, first + 300)]
        lines = "".join(f"{json.dumps(row)}\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    sftprep.pack(
        {"one": folder / "one.jsonl", "two": folder / "two.jsonl"},
        out=folder / "out",
        tokenizer=tokenizer_dir,
        max_len=512,
        shard_bytes=64 << 10,
        date="2025-01-01",
    )
    return folder / "out"
