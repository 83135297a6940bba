"""Threads of message trees and ROUGE-L as anybody would write them, and FLAN's templates."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

Json = Any
ROLES = {"prompter": "user", "assistant": "assistant"}


def paths(message: Json, before: tuple[Json, ...] = ()) -> Iterator[tuple[Json, ...]]:
    """All ways from the first message down to a leaf."""
    here = (*before, message)
    if not message["replies"]:
        yield here
    for reply in message["replies"]:
        yield from paths(reply, here)


def pruned(message: Json) -> Json:
    """The tree without messages that are deleted or rejected, and what is below those."""
    good = [
        it for it in message["replies"] if not it["deleted"] and it["review_result"] is not False
    ]
    return {**message, "replies": [pruned(it) for it in good]}


def chat(thread: tuple[Json, ...]) -> list[dict[str, str]]:
    """A thread as a conversation."""
    return [{"role": ROLES[it["role"]], "content": it["text"]} for it in thread]


def threads(tree: Json) -> list[list[dict[str, str]]]:
    """The threads that end with an answer."""
    if tree["prompt"]["deleted"] or tree["prompt"]["review_result"] is False:
        return []
    found = paths(pruned(tree["prompt"]))
    return [chat(path) for path in found if path[-1]["role"] == "assistant"]


def answered(tree: Json) -> list[list[dict[str, str]]]:
    """The threads up to their last answers, none the beginning of another."""
    cut = []
    for path in paths(pruned(tree["prompt"])):
        answers = [at for at, it in enumerate(path, 1) if it["role"] == "assistant"]
        cut.append(tuple(it["message_id"] for it in path[: max(answers, default=0)]))
    by_id = {it["message_id"]: it for path in paths(tree["prompt"]) for it in path}
    whole = [it for it in dict.fromkeys(cut) if it]
    longest = [it for it in whole if not any(it == other[: len(it)] != other for other in whole)]
    return [chat(tuple(by_id[name] for name in it)) for it in longest]


def best(tree: Json) -> list[dict[str, str]]:
    """The thread of the best replies, up to its last answer."""
    message, path = pruned(tree["prompt"]), []
    while True:
        path.append(message)
        replies = message["replies"]
        if not replies:
            break
        ranks = [it.get("rank") for it in replies]
        order = [float("inf") if rank is None else rank for rank in ranks]
        message = replies[order.index(min(order))]
    while path and path[-1]["role"] != "assistant":
        path.pop()
    return chat(tuple(path))


def flat(tree: Json) -> Iterator[Json]:
    """The messages of a tree, one by one."""
    waiting = [tree["prompt"]]
    while waiting:
        message = waiting.pop()
        waiting += reversed(message["replies"])
        row = {name: value for name, value in message.items() if name != "replies"}
        yield {
            "message_tree_id": tree["message_tree_id"],
            "parent_id": None,
            "tree_state": tree["tree_state"],
            **row,
        }


def flan(template: tuple[str, str], row: dict[str, Json]) -> tuple[str, str]:
    """A row by a template, as FLAN writes it: the format string is cut at its fields."""
    made = []
    for text in template:
        parts = [part for part in re.split(r"({\w*})", text) if part]
        fields = {**row, "options_": "OPTIONS:\n- " + "\n- ".join(row.get("options", []))}
        field = [part[0] == "{" and part[-1] == "}" for part in parts]
        made.append(
            "".join(
                str(fields[part[1:-1]]) if is_field else part
                for part, is_field in zip(parts, field, strict=True)
            )
        )
    return made[0], made[1]


def words(text: str) -> list[str]:
    """Words as ROUGE counts them, without a stemmer."""
    return re.sub(r"[^a-z0-9]+", " ", text.lower()).split()


def rouge_l(one: list[str], other: list[str]) -> float:
    """F1 of the longest common subsequence."""
    if not one or not other:
        return 0.0
    row = [0] * (len(other) + 1)
    for a in one:
        corner = 0
        for at, b in enumerate(other):
            above = row[at + 1]
            row[at + 1] = corner + 1 if a == b else max(above, row[at])
            corner = above
    precision, recall = row[-1] / len(other), row[-1] / len(one)
    total = precision + recall
    return 2 * precision * recall / total if total > 0 else 0.0


def novel(texts: list[str], threshold: float) -> list[int]:
    """Which texts stay, taken one after the other."""
    kept: list[tuple[int, list[str]]] = []
    for at, text in enumerate(texts):
        own = words(text)
        if all(rouge_l(own, other) <= threshold for _, other in kept):
            kept.append((at, own))
    return [at for at, _ in kept]
