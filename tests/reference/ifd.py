"""IFD row by row and token by token, as the published scripts of both papers go about it."""

from __future__ import annotations

import math
from typing import Any

import torch

Model = Any
HEADER = "### Response:"
HEADER_TOKENS = 4


def alpaca_prompt(instruction: str, given: str) -> str:
    """The prompt that the Cherry scripts use."""
    request = "Write a response that appropriately completes the request."
    if given == "":
        return (
            f"Below is an instruction that describes a task. {request}\n\n"
            f"### Instruction:\n{instruction}\n\n{HEADER}"
        )
    return (
        "Below is an instruction that describes a task, paired with an input that provides further "
        f"context. {request}\n\n"
        f"### Instruction:\n{instruction}\n\n### Input:\n{given}\n\n{HEADER}"
    )


def token_losses(model: Model, ids: torch.Tensor) -> list[float]:
    """The loss of every token but the first, each from a softmax of its own."""
    with torch.no_grad():
        logits = model(ids).logits
    losses = []
    for place in range(1, ids.shape[1]):
        chances = torch.log_softmax(logits[0, place - 1], dim=-1)
        losses.append(-chances[ids[0, place]].item())
    return losses


def cherry(
    model: Model, tokenizer: Model, row: dict[str, str], max_length: int = 512
) -> tuple[float, bool] | None:
    """The ratio of mean losses, and whether the answer was cut; ``None`` where it is dropped."""
    prompt, answer = alpaca_prompt(row["instruction"], row.get("input", "")), row["output"]
    prompt_length = len(tokenizer.encode(prompt, truncation=True, max_length=max_length))
    if prompt_length >= max_length:
        return None
    means, cut = [], False
    limits = {HEADER: max_length - prompt_length + HEADER_TOKENS, prompt: max_length}
    for before, limit in limits.items():
        text = before + answer
        ids = tokenizer.encode(text, return_tensors="pt", truncation=True, max_length=limit)
        cut = cut or len(tokenizer.encode(text)) > limit
        start = len(tokenizer.encode(before))
        end = ids.shape[1]
        if end - start <= 0:
            return None
        if before == HEADER and prompt_length + end - start > max_length:
            return None
        part = token_losses(model, ids)[start - 1 : end - 1]
        means.append(sum(part) / len(part))
    return means[1] / means[0], cut


def superfilter(
    model: Model, tokenizer: Model, row: dict[str, str], max_length: int = 1024
) -> tuple[float, bool] | None:
    """The ratio of perplexities, and whether the answer was cut; ``None`` where there is none."""
    answer = row["output"]
    if answer == "":
        return None
    prompt = row["instruction"] + "\n" + (row["input"] + "\n" if row.get("input") else "")
    prompt_length = len(tokenizer.encode(prompt, truncation=True, max_length=max_length))
    room = max_length - prompt_length + 1
    alone = tokenizer.encode(answer, return_tensors="pt", truncation=True, max_length=room)
    both = tokenizer.encode(
        prompt + answer, return_tensors="pt", truncation=True, max_length=max_length
    )
    labels = both.clone()
    labels[0, : len(tokenizer.encode(prompt))] = -100
    with torch.no_grad():
        given = torch.exp(model(both, labels=labels).loss).item()
        bare = torch.exp(model(alone, labels=alone).loss).item()
    whole = tokenizer.encode(prompt + answer)
    cut = len(whole) > max_length or len(tokenizer.encode(answer)) > room
    value = given / bare
    return None if math.isnan(value) else (value, cut)
