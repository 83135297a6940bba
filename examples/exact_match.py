"""Share of questions that a model answers word for word.

    exact_match.py MODEL QUESTIONS.jsonl [--tokenizer DIR] [--limit N]

The tokenizer (default: the model's) must have a chat template; a base model is thus asked with the
template and the tokenizer of the model that was trained from it.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from sftprep.models.generate import generate, load, stops


def main() -> None:
    """Prints the share, and the first answers that were wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("questions", type=Path)
    parser.add_argument("--tokenizer")
    parser.add_argument("--limit", type=int)
    options = parser.parse_args()
    model, tokenizer = load(options.model)
    if options.tokenizer is not None:
        _, tokenizer = None, load_tokenizer(options.tokenizer)
    rows = [json.loads(line) for line in options.questions.read_text("utf-8").splitlines()]
    right, wrong = 0, []
    for row in rows[: options.limit]:
        *asked, wanted = row["messages"]
        text = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        # A base model has no embedding for added tokens; it sees its first token there.
        size = model.get_input_embeddings().num_embeddings
        ids = [id_ if id_ < size else 0 for id_ in ids]
        answer = tokenizer.decode(
            generate(model, ids, stop=stops(model, tokenizer), most=48)
        ).strip()
        right += answer == wanted["content"]
        if answer != wanted["content"]:
            wrong.append(f"{answer!r}, wanted {wanted['content']!r}")
    count = len(rows[: options.limit])
    print(f"{right} of {count} right ({right / count:.1%})", *wrong[:3], sep="\n  ")


def load_tokenizer(path: str) -> object:
    """The tokenizer of a folder."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(path)


if __name__ == "__main__":
    main()
