"""``pollute``: the six polluters of the data-quality study, for conversations, with the truth.

```python
import sftprep

truth = sftprep.pollute("chat.jsonl", "bad.jsonl", dimension="completeness", rate=0.2, seed=1)
```

A polluter spoils a share of the rows in one dimension and writes beside which rows it spoiled and
how; that follows from the seed alone. All other rows are written as they were read, byte for byte.
For tests of checks, and to see what bad data does to a model.
"""

from __future__ import annotations

import copy
import gzip
import json
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from sftprep.errors import ConfigError, FormatError, OutputError, SourceError

Dimension = Literal[
    "target_accuracy",
    "feature_accuracy",
    "completeness",
    "uniqueness",
    "consistent_representation",
    "class_balance",
]
DIMENSIONS: tuple[str, ...] = get_args(Dimension)
_FEWEST = 2
_LONG_WORDS = 40


@dataclass(frozen=True, kw_only=True, slots=True)
class Truth:
    """What was spoiled."""

    dimension: str
    """The dimension."""
    rate: float
    """The share that was asked for."""
    seed: int
    """The seed."""
    rows: int
    """Rows read."""
    written: int
    """Rows written."""
    spoiled: int
    """Rows spoiled, added or left out."""
    out: str
    """Where the rows are."""
    truth: str
    """Where the truth is: per spoiled row ``row`` (line of the output, or null), ``source_row``
    (line of the input), ``dimension``, ``kind`` and, where there is one, ``partner``."""

    def to_dict(self) -> dict[str, Any]:
        """The same as plain data."""
        return asdict(self)


def pollute(
    data: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    dimension: Dimension,
    rate: float,
    seed: int = 0,
    class_column: str | None = None,
    overwrite: bool = False,
) -> Truth:
    """Spoils a share of the rows in one dimension.

    - ``target_accuracy``: answers are exchanged among the chosen rows;
    - ``feature_accuracy``: the prompt gets characters that are garbled, invisible or lost;
    - ``completeness``: the answer is emptied, blanked, set to null or taken out;
    - ``uniqueness``: copies are added, identical, in other case, or with one word more;
    - ``consistent_representation``: markers for an empty input, or another model's name;
    - ``class_balance``: rows of one class are left out (``class_column``).

    Args:
        data: A file of JSON Lines or a JSON array, also ``.gz``, in the formats messages, ShareGPT,
            Alpaca or prompt/completion.
        out: File for the rows, ``.jsonl``; the truth goes beside it as ``.truth.jsonl``.
        dimension: What is spoiled.
        rate: Share of the rows (of the class's rows for ``class_balance``), 0 to 1.
        seed: Decides which rows and how.
        class_column: Column that says which class a row is of.
        overwrite: Replace existing output.

    Raises:
        ConfigError: if an option is wrong.
        SourceError: if the input is missing or unreadable.
        FormatError: if a row has no answer that could be spoiled.
        OutputError: if the output exists or cannot be written.
    """
    _check(dimension, rate, class_column)
    target = _target(Path(out), Path(data), overwrite=overwrite)
    lines = list(_lines(Path(data)))
    rows = [_Row(line, at, os.fspath(data)) for at, line in enumerate(lines, 1)]
    if not rows:
        raise SourceError("the file holds no row", code="source.empty", path=os.fspath(data))
    dice = random.Random(f"sftprep {dimension} {seed}")
    result = _POLLUTERS[dimension](rows, rate, dice, class_column)
    spoiled = []
    written = []
    for line, mark in result:
        if line is not None:
            written.append(line)
        if mark is not None:
            number = None if line is None else len(written)
            spoiled.append({"row": number, "dimension": dimension, **mark})
    truth = target.with_name(f"{target.name[:-6]}.truth.jsonl")
    _write(target, written)
    _write(truth, [json.dumps(each, ensure_ascii=False) for each in spoiled])
    return Truth(
        dimension=dimension,
        rate=rate,
        seed=seed,
        rows=len(rows),
        written=len(written),
        spoiled=len(spoiled),
        out=os.fspath(target),
        truth=os.fspath(truth),
    )


def _check(dimension: str, rate: float, class_column: str | None) -> None:
    if dimension not in DIMENSIONS:
        raise ConfigError(
            f"there is no dimension {dimension!r}",
            field="dimension",
            hint=f"name one of {', '.join(DIMENSIONS)}",
        )
    if not 0 <= rate <= 1:
        raise ConfigError(f"rate is {rate}, it must be 0 to 1", field="rate", hint="0.2 is usual")
    if dimension == "class_balance" and class_column is None:
        raise ConfigError(
            "class_balance needs a column that names the classes",
            field="class_column",
            hint="add --class COLUMN",
        )


def _target(out: Path, data: Path, *, overwrite: bool) -> Path:
    if out.suffix != ".jsonl":
        raise ConfigError(f"--out {out} does not end in .jsonl", field="out")
    if out.exists() and data.exists() and out.samefile(data):
        raise ConfigError("the output is the input", field="out", hint="choose another file")
    for path in (out, out.with_name(f"{out.name[:-6]}.truth.jsonl")):
        if path.exists() and not overwrite:
            raise OutputError(
                "the output exists",
                code="output.exists",
                path=os.fspath(path),
                hint="choose another --out, or add --overwrite",
            )
    return out


def _lines(path: Path) -> Iterator[str]:
    """Rows of a file as lines of JSON."""
    names = path.name.lower().removesuffix(".gz")
    if not names.endswith((".jsonl", ".json", ".ndjson")):
        raise ConfigError(
            f"{path} is of a kind that pollute does not read",
            field="data",
            hint="give .jsonl or .json, also with .gz",
        )
    try:
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if path.name.lower().endswith(".gz") else raw).decode("utf-8")
    except FileNotFoundError as error:
        raise SourceError("there is no such file", code="source.missing", path=str(path)) from error
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise SourceError(str(error), code="source.unreadable", path=os.fspath(path)) from error
    if text.lstrip().startswith("["):
        try:
            rows = json.loads(text)
        except ValueError as error:
            raise FormatError(str(error), code="row.json", path=os.fspath(path)) from error
        yield from (json.dumps(row, ensure_ascii=False) for row in rows)
    else:
        yield from (line for line in text.split("\n") if line.strip())


def _write(path: Path, lines: list[str]) -> None:
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text("".join(f"{line.strip()}\n" for line in lines), encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise OutputError(str(error), path=os.fspath(path)) from error


class _Row:
    """A row, its line, and where its prompt and its answer are."""

    def __init__(self, line: str, number: int, path: str) -> None:
        self.line = line
        self.number = number
        self.path = path
        try:
            self.value = json.loads(line)
        except ValueError as error:
            raise FormatError(str(error), code="row.json", path=path, line=number) from error
        self.prompt, self.answer = self._fields()

    def _fields(self) -> tuple[tuple[Any, str], tuple[Any, str]]:
        row = self.value
        if isinstance(row, dict):
            for messages, speaker, said in (
                ("messages", "role", "content"),
                ("conversations", "from", "value"),
            ):
                found = self._turns(row.get(messages), speaker, said)
                if found is not None:
                    return found
            for prompt, answer in (("instruction", "output"), ("prompt", "completion")):
                if isinstance(row.get(prompt), str) and answer in row:
                    return (row, prompt), (row, answer)
        raise FormatError(
            "the row has no prompt and answer that could be spoiled",
            code="format.unknown",
            path=self.path,
            line=self.number,
            hint="give rows of messages, ShareGPT, Alpaca or prompt/completion",
        )

    @staticmethod
    def _turns(
        turns: object, speaker: str, said: str
    ) -> tuple[tuple[Any, str], tuple[Any, str]] | None:
        if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
            return None
        users = [turn for turn in turns if turn.get(speaker) in {"user", "human"}]
        answers = [turn for turn in turns if turn.get(speaker) in {"assistant", "gpt"}]
        if not users or not answers or not isinstance(users[-1].get(said), str):
            return None
        return (users[-1], said), (answers[-1], said)

    def text(self, place: tuple[Any, str]) -> str:
        value = place[0].get(place[1])
        return value if isinstance(value, str) else ""

    def spoiled(self, change: Callable[[_Row], None]) -> str:
        """The row as a line, after a change to a copy of it."""
        twin = copy.copy(self)
        twin.value = copy.deepcopy(self.value)
        twin.prompt, twin.answer = twin._fields()
        change(twin)
        return json.dumps(twin.value, ensure_ascii=False)


_Marked = tuple[str | None, dict[str, Any] | None]


def _chosen(count: int, rate: float, dice: random.Random) -> list[int]:
    """Rows that are spoiled, as many as the rate says, in order."""
    return sorted(dice.sample(range(count), round(count * rate)))


def _mark(row: _Row, kind: str, **more: object) -> dict[str, Any]:
    return {"source_row": row.number, "kind": kind, **more}


def _each(
    rows: list[_Row],
    rate: float,
    dice: random.Random,
    kinds: dict[str, Callable[[_Row, random.Random], None]],
) -> list[_Marked]:
    chosen = set(_chosen(len(rows), rate, dice))
    names = list(kinds)
    result: list[_Marked] = []
    for at, row in enumerate(rows):
        if at not in chosen:
            result.append((row.line, None))
            continue
        kind = dice.choice(names)
        own = random.Random(dice.random())

        def change(twin: _Row, kind: str = kind, own: random.Random = own) -> None:
            kinds[kind](twin, own)

        result.append((row.spoiled(change), _mark(row, kind)))
    return result


def _targets(
    rows: list[_Row], rate: float, dice: random.Random, _class: str | None
) -> list[_Marked]:
    chosen = _chosen(len(rows), rate, dice)
    if len(chosen) < _FEWEST:
        return [(row.line, None) for row in rows]
    order = chosen[:]
    dice.shuffle(order)
    # a ring: nobody keeps the own answer
    giver = {taker: order[at - 1] for at, taker in enumerate(order)}
    result: list[_Marked] = []
    for at, row in enumerate(rows):
        if at not in giver:
            result.append((row.line, None))
            continue
        other = rows[giver[at]]
        answer = other.answer[0].get(other.answer[1])

        def change(twin: _Row, answer: object = answer) -> None:
            twin.answer[0][twin.answer[1]] = answer

        result.append((row.spoiled(change), _mark(row, "exchanged", partner=other.number)))
    return result


def _put(row: _Row, place: tuple[Any, str], text: str) -> None:
    place[0][place[1]] = text


def _garble(row: _Row, _dice: random.Random) -> None:
    text = row.text(row.prompt).replace("'", "\u2019") + " \u2013 it\u2019s"
    _put(row, row.prompt, text.encode("utf-8").decode("cp1252", "ignore"))


def _insert(char: str) -> Callable[[_Row, random.Random], None]:
    def change(row: _Row, dice: random.Random) -> None:
        text = row.text(row.prompt)
        at = dice.randint(0, len(text))
        _put(row, row.prompt, f"{text[:at]}a{char}b{text[at:]}")

    return change


def _features(
    rows: list[_Row], rate: float, dice: random.Random, _class: str | None
) -> list[_Marked]:
    kinds = {
        "garbled": _garble,
        "invisible": _insert("\u200b"),
        "control": _insert("\x02"),
        "lost": _insert("\ufffd"),
    }
    return _each(rows, rate, dice, kinds)


def _completeness(
    rows: list[_Row], rate: float, dice: random.Random, _class: str | None
) -> list[_Marked]:
    def answer(value: str | None) -> Callable[[_Row, random.Random], None]:
        def change(row: _Row, _dice: random.Random) -> None:
            row.answer[0][row.answer[1]] = value

        return change

    def take_out(row: _Row, _dice: random.Random) -> None:
        row.answer[0].pop(row.answer[1], None)

    kinds = {"empty": answer(""), "blank": answer(" \n\t"), "null": answer(None)}
    return _each(rows, rate, dice, {**kinds, "missing": take_out})


def _uniqueness(
    rows: list[_Row], rate: float, dice: random.Random, _class: str | None
) -> list[_Marked]:
    def shout(row: _Row) -> None:
        _put(row, row.prompt, f" {row.text(row.prompt).upper()} ")

    def one_more(row: _Row) -> None:
        words = row.text(row.answer).split(" ")
        words.insert(dice.randint(0, len(words)), "really")
        _put(row, row.answer, " ".join(words))

    result: list[_Marked] = [(row.line, None) for row in rows]
    for at in _chosen(len(rows), rate, dice):
        row = rows[at]
        # a word more in a short row makes another row of it
        long = len(f"{row.text(row.prompt)} {row.text(row.answer)}".split()) >= _LONG_WORDS
        kind = dice.choice(["identical", "normalised", *(["near"] if long else [])])
        line = {"identical": row.line, "normalised": None, "near": None}[kind]
        if line is None:
            line = row.spoiled(shout if kind == "normalised" else one_more)
        result.append((line, _mark(row, kind, partner=row.number)))
    # copies go anywhere after the rows that were read, so that their numbers stay
    tail = result[len(rows) :]
    dice.shuffle(tail)
    return result[: len(rows)] + tail


def _consistency(
    rows: list[_Row], rate: float, dice: random.Random, _class: str | None
) -> list[_Marked]:
    markers = ["<noinput>", "No input required.", "N/A", "Input: none"]
    names = ["I am ChatGPT, a model trained by OpenAI.", "As of my last knowledge update in 2021,"]

    def marker(row: _Row, own: random.Random) -> None:
        _put(row, row.prompt, f"{row.text(row.prompt)}\n{own.choice(markers)}")

    def name(row: _Row, own: random.Random) -> None:
        _put(row, row.answer, f"{own.choice(names)} {row.text(row.answer)}")

    return _each(rows, rate, dice, {"marker": marker, "identity": name})


def _balance(
    rows: list[_Row], rate: float, dice: random.Random, column: str | None
) -> list[_Marked]:
    classes = [str(row.value.get(column)) for row in rows]
    if all(row.value.get(column) is None for row in rows):
        raise ConfigError(
            f"no row has a column {column!r}", field="class_column", hint="name one that rows have"
        )
    loser = dice.choice(sorted(set(classes)))
    members = [at for at, name in enumerate(classes) if name == loser]
    gone = {members[at] for at in _chosen(len(members), rate, dice)}
    return [
        (None, _mark(row, "left out", partner=None) | {"class": loser})
        if at in gone
        else (row.line, None)
        for at, row in enumerate(rows)
    ]


_POLLUTERS: dict[str, Callable[[list[_Row], float, random.Random, str | None], list[_Marked]]] = {
    "target_accuracy": _targets,
    "feature_accuracy": _features,
    "completeness": _completeness,
    "uniqueness": _uniqueness,
    "consistent_representation": _consistency,
    "class_balance": _balance,
}
