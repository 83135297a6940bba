"""Answers from a model, with a budget of thinking if asked for."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from sftprep.errors import TrainError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sftprep.dataset import ShardDataset


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Budget forcing: thinking ends no sooner than ``low`` tokens and no later than ``high``."""

    low: int
    high: int
    waits: int
    """How often an early end is replaced by ``wait``."""
    end: list[int]
    """Tokens that end thinking."""
    wait: list[int]
    """Tokens that make the model go on."""


def load(path: str | Path, device: str = "cpu") -> tuple[Any, Any]:
    """A model and its tokenizer.

    Raises:
        TrainError: if the folder has none.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if not Path(path).is_dir():
        raise TrainError("there is no such model", path=str(path), hint="give a folder")
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(path, dtype="auto")
        return model.to(device).eval(), AutoTokenizer.from_pretrained(path)
    except (OSError, ValueError, KeyError) as error:
        raise TrainError(f"the model does not load: {error}", path=str(path)) from error


def stops(model: Any, tokenizer: Any) -> set[int]:
    """Tokens that end an answer."""
    ends = model.generation_config.eos_token_id
    found = {*ends} if isinstance(ends, list) else {ends}
    return {id_ for id_ in found | {tokenizer.eos_token_id} if id_ is not None}


@torch.no_grad()
def generate(
    model: Any,
    prompt: list[int],
    *,
    stop: set[int],
    most: int,
    temperature: float = 0.0,
    seed: int = 0,
    budget: Budget | None = None,
) -> list[int]:
    """Tokens after the prompt, the stop token left out; greedy at temperature 0."""
    dice = torch.Generator(model.device).manual_seed(seed)
    out: list[int] = []
    fed, cache, waits = 0, None, 0 if budget is None else budget.waits
    thinking = budget is not None
    while len(out) < most:
        ids = torch.tensor([(prompt + out)[fed:]], device=model.device)
        result = model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
        cache, fed = result.past_key_values, len(prompt) + len(out)
        logits = result.logits[0, -1].float()
        if temperature > 0:
            chances = torch.softmax(logits / temperature, -1)
            token = int(torch.multinomial(chances, 1, generator=dice))
        else:
            token = int(logits.argmax())
        if budget is None or not thinking:
            if token in stop:
                break
            out.append(token)
            continue
        ends = token in stop or [*out, token][-len(budget.end) :] == budget.end
        if ends and len(out) < budget.low and waits:
            waits -= 1
            if token not in stop:  # take back what was said of the end already, and its cache
                del out[len(out) + 1 - len(budget.end) :]
                fed, cache = (fed, cache) if len(budget.end) == 1 else (0, None)
            out += budget.wait
        elif ends:
            thinking = False
            if token in stop:
                break
            out.append(token)
        else:
            out.append(token)
            if len(out) >= budget.high:
                thinking = False
                out += budget.end
    return out[:most]


def samples(model: Path, shards: ShardDataset, count: int, path: Path) -> Iterator[dict[str, str]]:
    """Answers to the prompts of the first documents, each beside the answer in the shards."""
    if count == 0:
        return
    if not (model / "tokenizer.json").is_file():
        return
    net, tokenizer = load(model)
    found = []
    for prompt, wanted in _prompts(shards, count):
        ids = generate(net, prompt, stop=stops(net, tokenizer), most=max(2 * len(wanted), 32))
        texts = (tokenizer.decode(x) for x in (prompt, ids, wanted))
        found.append(dict(zip(("prompt", "answer", "wanted"), texts, strict=True)))
        yield found[-1]
    path.write_text("".join(json.dumps(x, ensure_ascii=False) + "\n" for x in found), "utf-8")


def _prompts(shards: ShardDataset, count: int) -> Iterator[tuple[list[int], list[int]]]:
    for number in range(len(shards)):
        row = shards[number]
        for document in shards.documents(number):
            ids = row["input_ids"][document.start : document.end].tolist()
            trained = [span for span in document.spans if span.trained]
            if trained and trained[0].start > document.start:
                start = trained[0].start - document.start
                end = next((s.end for s in trained if s.kind == "stop"), trained[-1].end)
                yield ids[:start], ids[start : end - document.start]
                count -= 1
            if count == 0:
                return
