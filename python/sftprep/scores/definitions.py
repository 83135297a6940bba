"""The two definitions of instruction-following difficulty (IFD), by name.

Both compare how well a model predicts an answer with its prompt (A|Q) and without it (A). They
differ in template, window and ratio, and order rows quite differently; so a score always carries
the name of its definition.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

from sftprep.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class Definition:
    """How a row becomes two texts, and their losses one number."""

    name: str
    """``cherry`` or ``superfilter``."""
    with_input: str
    """Prompt of rows that have an input."""
    without_input: str
    """Prompt of the others."""
    header: str
    """What stands before an answer that is scored alone."""
    window: int
    """Tokens of prompt and answer, at most, special tokens included."""
    header_tokens: int
    """Tokens that the reference adds to what the prompt leaves, for an answer alone."""
    of_perplexities: bool
    """Whether perplexities are compared, or mean losses."""

    def prompt(self, instruction: str, given: str) -> str:
        """The text before the answer."""
        if given == "":
            return self.without_input.replace("{instruction}", instruction)
        before, after = self.with_input.split("{input}")
        return before.replace("{instruction}", instruction) + given + after

    def ratio(self, given: float, alone: float) -> float:
        """The score of two mean losses (nats per token)."""
        if self.of_perplexities:
            return math.exp(given - alone)
        return given / alone if alone else math.inf

    def hash(self) -> str:
        """Of everything that a score depends on but model, tokenizer and row."""
        parts = (self.name, self.with_input, self.without_input, self.header, self.header_tokens)
        text = repr((*parts, self.of_perplexities))
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


_HEAD = "Write a response that appropriately completes the request.\n\n### Instruction:\n"
_RESPONSE = "### Response:"

CHERRY = Definition(
    name="cherry",
    with_input="Below is an instruction that describes a task, paired with an input that provides "
    f"further context. {_HEAD}{{instruction}}\n\n### Input:\n{{input}}\n\n{_RESPONSE}",
    without_input="Below is an instruction that describes a task. "
    f"{_HEAD}{{instruction}}\n\n{_RESPONSE}",
    header=_RESPONSE,
    window=512,
    # Tokens of the header in Llama's tokenizer, bos included; the reference has it for all models.
    header_tokens=4,
    of_perplexities=False,
)
"""Cherry LLM (From Quantity to Quality): mean loss of A|Q over mean loss of A."""

SUPERFILTER = Definition(
    name="superfilter",
    with_input="{instruction}\n{input}\n",
    without_input="{instruction}\n",
    header="",
    window=1024,
    header_tokens=1,
    of_perplexities=True,
)
"""Superfiltering: perplexity of A|Q over perplexity of A."""

DEFINITIONS = {each.name: each for each in (CHERRY, SUPERFILTER)}


def definition(name: str) -> Definition:
    """The definition of that name.

    Raises:
        ConfigError: if there is none.
    """
    found = DEFINITIONS.get(name)
    if found is None:
        raise ConfigError(
            f"there is no definition of IFD called {name!r}",
            field="--ifd",
            hint=f"one of {', '.join(DEFINITIONS)}; they are different numbers",
        )
    return found
