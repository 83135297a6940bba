"""A plug-in: what share of a prompt's words an answer takes up, and whether it ends in a question.

    sftprep score chat.jsonl --plugin examples/plugin.py:overlap --out chat.scores.arrow

The function gets an Arrow batch and returns columns; `None` with a reason where there is no score.
"""

from __future__ import annotations

import re
from typing import Any


def words(text: str) -> set[str]:
    """The words of a text, in lower case."""
    return set(re.findall(r"\w+", text.lower()))


def overlap(batch: Any) -> dict[str, list[Any]]:  # noqa: ANN401 - a pyarrow.RecordBatch
    """Two columns, `overlap` and `asks_back`."""
    prompts = batch.column("prompt_text").to_pylist()
    answers = batch.column("answer_text").to_pylist()
    shares, reasons = [], []
    for prompt, answer in zip(prompts, answers, strict=True):
        asked = words(prompt)
        shares.append(len(asked & words(answer)) / len(asked) if asked else None)
        reasons.append(None if asked else "the prompt has no words")
    return {
        "overlap": shares,
        "overlap.reason": reasons,
        "asks_back": [answer.rstrip().endswith("?") for answer in answers],
    }
