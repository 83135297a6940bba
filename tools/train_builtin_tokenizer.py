"""Train the built-in tokenizer: a small byte-level BPE on text of this repository alone.

The result, in ``rust/sftprep-core/assets/builtin/``, is ``tokenizer.json`` and
``tokenizer_config.json`` (which carries the built-in ChatML template). It exists so that
``--tokenizer builtin`` works without a network and so that tests have a real tokenizer; it is not
meant for a model.

The split is that of Qwen2, the merges are learned from ``tools/builtin_corpus/*.txt``; there is no
normalizer and no unknown token, so every string comes back byte for byte. Training is
deterministic, and ``--check`` proves it against the committed files.

The corpus holds its own copies (``frozen_*``) of other files of the repository, so that editing
those does not change the tokenizer. Training again changes ids, and with them every golden file
that holds them: it is a change to be named in the CHANGELOG.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

ROOT = Path(__file__).resolve().parent.parent
CORPUS = ROOT / "tools" / "builtin_corpus"
TEMPLATE = ROOT / "rust" / "sftprep-core" / "assets" / "templates" / "chatml.jinja"
OUT = ROOT / "rust" / "sftprep-core" / "assets" / "builtin"

VOCAB_SIZE = 8192
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
    r"|[^\r\n\p{L}\p{N}]?\p{L}+"
    r"|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+"
    r"|\s+(?!\S)"
    r"|\s+"
)
CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TAGS = ["<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"]


def corpus() -> list[str]:
    """Return the training texts in a fixed order."""
    return [path.read_text(encoding="utf-8") for path in sorted(CORPUS.glob("*.txt"))]


def train() -> Tokenizer:
    """Train on the corpus and add the control tokens."""
    tokenizer = Tokenizer(models.BPE())
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"), byte_level]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE - len(CONTROL) - len(TAGS),
        min_frequency=2,
        show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    flags = {"normalized": False, "single_word": False, "lstrip": False, "rstrip": False}
    tokenizer.add_special_tokens([AddedToken(text, special=True, **flags) for text in CONTROL])
    tokenizer.add_tokens([AddedToken(text, special=False, **flags) for text in TAGS])
    return tokenizer


def config() -> dict[str, Any]:
    """Return ``tokenizer_config.json``: the special tokens and the ChatML template."""
    return {
        "add_bos_token": False,
        "bos_token": None,
        "chat_template": TEMPLATE.read_text(encoding="utf-8"),
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|im_end|>",
        "model_max_length": 1_000_000,
        "pad_token": "<|endoftext|>",
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": None,
    }


def build() -> dict[str, bytes]:
    """Return the files of the tokenizer folder, name to bytes."""
    files = {"tokenizer.json": json.loads(train().to_str()), "tokenizer_config.json": config()}
    return {
        name: (json.dumps(data, ensure_ascii=False, indent=1) + "\n").encode()
        for name, data in files.items()
    }


def main(argv: list[str] | None = None) -> int:
    """Write the tokenizer folder, or compare it with what is committed."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", maxsplit=1)[0])
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    args = parser.parse_args(argv)
    OUT.mkdir(parents=True, exist_ok=True)
    stale = []
    for name, data in build().items():
        path = OUT / name
        if args.check:
            if not path.exists() or path.read_bytes() != data:
                stale.append(name)
        else:
            path.write_bytes(data)
            print(f"wrote {path.relative_to(ROOT)} ({len(data):,} bytes)")
    if stale:
        print(f"differs from what training gives: {', '.join(stale)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
