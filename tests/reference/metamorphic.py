"""Changes of a conversation under which a turn's span must keep its text."""

from __future__ import annotations

import copy
import random
import string
from collections.abc import Mapping
from typing import Any

Conversation = dict[str, Any]


def replace_others(
    conversation: Mapping[str, Any], message: int, chance: random.Random
) -> Conversation:
    """The texts of all other messages replaced by other text of the same length and shape.

    Only user, system and assistant text is replaced, letter by letter, so that white space,
    tags and everything else that a template may look at stay what they are.
    """
    out = copy.deepcopy(dict(conversation))
    for index, other in enumerate(out["messages"]):
        content = other.get("content")
        if index != message and isinstance(content, str) and "<" not in content:
            other["content"] = scramble(content, chance)
    return out


def scramble(text: str, chance: random.Random) -> str:
    """Each ASCII letter replaced by a random one of its case."""
    return "".join(
        chance.choice(string.ascii_lowercase)
        if char in string.ascii_lowercase
        else chance.choice(string.ascii_uppercase)
        if char in string.ascii_uppercase
        else char
        for char in text
    )


def swap_texts(conversation: Mapping[str, Any], first: int, second: int) -> Conversation:
    """The contents of two messages exchanged."""
    out = copy.deepcopy(dict(conversation))
    one, two = out["messages"][first], out["messages"][second]
    one["content"], two["content"] = two["content"], one["content"]
    return out
