"""The rows that are scored: which they are, and their texts."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sftprep.quality.options import Inputs, RowOptions, source_of
from sftprep.quality.stage import Derived, Stage

if TYPE_CHECKING:
    import numpy as np

    from sftprep.scores.definitions import Definition

    Numbers = np.ndarray[Any, Any]

_DERIVED: tuple[Derived, ...] = (
    "prompt_text",
    "answer_text",
    "row_hash",
    "json",
    "messages",
    "problem",
)


@dataclass(kw_only=True, slots=True)
class Table:
    """All rows of the inputs, in order."""

    names: list[str]
    """Of the inputs."""
    inputs: list[tuple[str, str]]
    """Names and paths of the inputs."""
    row: Numbers
    """Number over all inputs, from 1."""
    source: Numbers
    """Index into ``names``."""
    line: Numbers
    """Line (1-based) of its input."""
    row_hash: list[str | None]
    """Of what the row says, wherever it stands."""
    problem: list[str | None]
    """Code of what keeps a row from being a sample, if anything does."""
    prompt: list[str]
    """All that is given in a row."""
    answer: list[str]
    """All that is to be learnt."""
    messages: list[str | None]
    """The conversation as JSON."""
    json: list[str | None]
    """The row as JSON."""
    alpaca: list[tuple[str, str, str] | None]
    """Instruction, input and output, where a row has these and nothing more."""
    source_options: dict[str, Any]
    """How the rows were read."""

    def __len__(self) -> int:
        return len(self.row)

    def place(self, at: int) -> str:
        """Where a row stands, for people."""
        return f"{self.names[int(self.source[at])]}:{int(self.line[at])}"

    def task(self, at: int) -> tuple[str, str, str]:
        """Instruction, input and answer of a row.

        Rows of the Alpaca format have them. Of a conversation the last assistant message is the
        answer, and the texts of all messages before it, a line for each, are the instruction.
        """
        found = self.alpaca[at]
        if found is not None:
            return found
        messages = json.loads(self.messages[at] or "[]")
        last = len(messages) - 1
        while last >= 0 and messages[last].get("role") != "assistant":
            last -= 1
        if last < 0:
            return self.prompt[at], "", self.answer[at]
        texts = [text_of(message) for message in messages[: last + 1]]
        return "\n".join(text for text in texts[:-1] if text), "", texts[-1]


def text_of(message: dict[str, Any]) -> str:
    """What a message says: its content, texts of parts joined."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        texts = [part.get("text") if isinstance(part, dict) else part for part in content]
        return "".join(text for text in texts if isinstance(text, str))
    return ""


def prompt_of(table: Table, at: int, definition: Definition) -> tuple[str, str]:
    """The prompt of a row under a definition, and its answer."""
    instruction, given, answer = table.task(at)
    return definition.prompt(instruction, given), answer


def read(inputs: Inputs, options: RowOptions) -> Table:
    """Reads the rows.

    Raises:
        ConfigError: if an option is wrong.
        SourceError: if an input is missing, unreadable or damaged.
        RejectBudgetExceeded: if too many rows are no JSON objects.
    """
    if not isinstance(inputs, str | os.PathLike | Mapping):
        inputs = list(inputs)  # they are named again below
    names = options.get("map", {})
    fields = [names.get(name, name) for name in ("instruction", "input", "output")]
    stage = Stage("score", inputs, texts=fields, derived=_DERIVED, **options)

    def texts(name: str) -> list[str | None]:
        """A column of texts; one without any comes as numbers, none of which is there."""
        column = stage[name]
        return column if isinstance(column, list) else [None] * len(stage)

    prompt, answer = texts("prompt_text"), texts("answer_text")
    alpaca = zip(*map(texts, fields), prompt, answer, strict=True)
    return Table(
        names=stage.names,
        inputs=list(zip(stage.names, stage.paths, strict=True)),
        row=stage.row,
        source=stage.source,
        line=stage.line,
        row_hash=texts("row_hash"),
        problem=texts("problem"),
        prompt=[each or "" for each in prompt],
        answer=[each or "" for each in answer],
        messages=texts("messages"),
        json=texts("json"),
        alpaca=[_alpaca(*each) for each in alpaca],
        source_options=source_of(inputs, options)[0],
    )


def _alpaca(
    instruction: str | None,
    given: str | None,
    output: str | None,
    prompt: str | None,
    answer: str | None,
) -> tuple[str, str, str] | None:
    """The three fields, if the sample is made of them alone: no system text, no earlier turns."""
    if instruction is None or prompt is None or (output or "") != (answer or ""):
        return None
    joined = f"{instruction}\n{given}" if given else instruction
    return (instruction, given or "", output or "") if joined == prompt else None
