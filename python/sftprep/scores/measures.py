"""What a model says of rows: IFD, perplexity, embeddings; each a column with reasons.

Every measure goes through the rows in blocks, the longest first. A block that is done is in the
cache, so an interrupted run goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sftprep import _core
from sftprep.config import PackConfig
from sftprep.errors import LabelError, SftprepError, SourceError, TemplateError, TokenizerError
from sftprep.scores.cache import Cache
from sftprep.scores.columns import Column, Counts
from sftprep.scores.model import Done, Scorer, Text
from sftprep.scores.table import prompt_of

if TYPE_CHECKING:
    from sftprep.scores.definitions import Definition
    from sftprep.scores.table import Table

Embedded = Literal["prompt", "answer", "row"]
Rows = Sequence[int]

_BLOCK_ROWS = 2048
_LONGEST_PATH = 256
_TEMPLATE_FILES = ("chat_template.jinja", "chat_template.json", "tokenizer_config.json")


@dataclass(kw_only=True, slots=True)
class Measure:
    """A measure of some rows that is to be computed."""

    name: str
    """Name of its column."""
    about: dict[str, str]
    """What it depends on."""
    width: int
    """Numbers per row."""
    dtype: str
    """Of these numbers."""
    compute: Callable[[Rows, Done], Iterator[tuple[int, Any, str]]]
    """Per row of a block: its index, its numbers, the reason for having none."""
    columns: Callable[[Any, list[str | None], dict[str, str]], list[Column]]
    """Columns of all numbers (NaN where there are none) and reasons."""


def plan(measure: Measure, table: Table, folder: Path | None) -> Counts:
    """How many rows are known, and how many different ones are to be computed."""
    cache = Cache(folder, measure.about, measure.width)
    keys = [key_of(table, at) for at in range(len(table)) if table.problem[at] is None]
    new = {key for key in keys if cache.get(key) is None}
    return Counts(sum(key not in new for key in keys), len(new))


def run(
    measure: Measure,
    table: Table,
    folder: Path | None,
    tick: Done,
    limit: int,
) -> tuple[list[Column], Counts]:
    """Computes what is not known yet; rows that are no samples have the code of their problem.

    Raises:
        SftprepError: if the model cannot do it; what is done by then is kept.
    """
    values = np.full((len(table), measure.width), np.nan, measure.dtype)
    reasons: list[str | None] = [None] * len(table)
    cache = Cache(folder, measure.about, measure.width, limit)
    todo: dict[str, list[int]] = {}
    cached = 0

    def take(at: int, numbers: Any, reason: str) -> None:  # noqa: ANN401 - an array
        values[at], reasons[at] = numbers, reason or None

    for at in range(len(table)):
        if table.problem[at] is not None:
            reasons[at] = table.problem[at]
            continue
        key = key_of(table, at)
        known = cache.get(key)
        if known is None:
            todo.setdefault(key, []).append(at)
        else:
            take(at, *known)
            cached += 1
            tick(1, 0, _size(table, at))
    # One of rows that say the same stands for all of them.
    first = sorted(todo.values(), key=lambda rows: (-_size(table, rows[0]), rows[0]))
    same = {rows[0]: rows for rows in first}
    try:
        for start in range(0, len(first), _BLOCK_ROWS):
            block = [rows[0] for rows in first[start : start + _BLOCK_ROWS]]
            for at, numbers, reason in measure.compute(block, tick):
                cache.put(key_of(table, at), np.asarray(numbers, measure.dtype), reason)
                for each in same[at]:
                    take(each, numbers, reason)
    finally:
        cache.flush()
    return measure.columns(values, reasons, measure.about), Counts(cached, len(first))


def key_of(table: Table, at: int) -> str:
    """The row's hash, and one of its texts: the same row may be read under other options."""
    parts = (table.prompt[at], table.answer[at], table.messages[at], table.alpaca[at])
    texts = hashlib.blake2b(repr(parts).encode("utf-8", "surrogatepass"), digest_size=8)
    return f"{table.row_hash[at]}{texts.hexdigest()}"


def _size(table: Table, at: int) -> int:
    return len(table.prompt[at]) + len(table.answer[at])


def ifd(scorer: Scorer, table: Table, definition: Definition, max_len: int) -> Measure:
    """IFD in one of its definitions, from one forward of A|Q and one of A."""
    window = min(max_len or definition.window, scorer.positions)
    header = len(scorer.encode([definition.header])[0]) if definition.header else 1

    def texts(rows: Rows) -> Iterator[tuple[int, str, list[Text]]]:
        """Per row the reason for having no score, or its two texts."""
        pairs = [prompt_of(table, at, definition) for at in rows]
        encode = scorer.encode
        prompts = [len(ids) for ids in encode([prompt for prompt, _ in pairs])]
        whole = encode([prompt + answer for prompt, answer in pairs])
        alone = encode([definition.header + answer for _, answer in pairs])
        for at, (prompt, answer), start, given, bare in zip(
            rows, pairs, prompts, whole, alone, strict=True
        ):
            # An answer that is scored alone gets what the prompt leaves of the window, plus its
            # header: so both passes see the same tokens of it.
            room = window - start + definition.header_tokens
            wanted = (range(max(1, start), len(given)), range(max(1, header), len(bare)))
            if answer == "":
                yield at, "score.empty", []
            elif start >= window:
                yield at, "score.prompt", []
            elif len(given) > window or len(bare) > room:
                yield at, "score.cut", []
            elif not (wanted[0] and wanted[1]):
                yield at, "score.short", []
            else:
                first = Text(_array(given), wanted[0], len(prompt), rows=0)
                yield at, "", [first, Text(_array(bare), wanted[1], len(answer))]

    def compute(rows: Rows, done: Done) -> Iterator[tuple[int, Any, str]]:
        jobs: list[Text] = []
        owners: list[int] = []
        counts: dict[int, int] = {}
        for at, reason, pair in texts(rows):
            if reason:
                yield at, (math.nan,) * 3, reason
                done(1, 0, _size(table, at))
            else:
                counts[at] = len(pair[0].wanted)
                jobs += pair
                owners += [at, at]

        losses = np.full(len(jobs), np.nan)
        for job, loss in scorer.losses(jobs, done):
            losses[job] = loss
        for job in range(0, len(jobs), 2):
            at, (given, alone) = owners[job], losses[job : job + 2]
            finite = math.isfinite(given) and math.isfinite(alone)
            good = finite and math.isfinite(_ratio(definition, given, alone))
            numbers = (given, alone, counts[at]) if good else (math.nan,) * 3
            yield at, numbers, "" if good else "score.not_finite"

    def columns(
        values: Any,  # noqa: ANN401 - an array
        reasons: list[str | None],
        about: dict[str, str],
    ) -> list[Column]:
        name = f"ifd_{definition.name}"
        ratio = [
            math.nan if math.isnan(given) else _ratio(definition, given, alone)
            for given, alone, _ in values.tolist()
        ]
        said = {
            "": "IFD of the answer",
            "_given": "mean loss of the answer after its prompt, nats per token",
            "_alone": "mean loss of the answer alone, nats per token",
            "_tokens": "tokens of the answer",
        }
        numbers = {"": ratio} | dict(
            zip(("_given", "_alone", "_tokens"), values.T.tolist(), strict=True)
        )
        return [
            Column(
                name=name + end,
                kind="float64",
                values=numbers[end],
                reasons=reasons if end == "" else None,
                about={**about, "what": what},
            )
            for end, what in said.items()
        ]

    about = {
        "definition": f"ifd={definition.name}",
        "template": definition.hash(),
        "window": str(window),
        **scorer.identity(),
    }
    return Measure(
        name=f"ifd_{definition.name}",
        about=about,
        width=3,
        dtype="float64",
        compute=compute,
        columns=columns,
    )


def _ratio(definition: Definition, given: float, alone: float) -> float:
    try:
        return definition.ratio(given, alone)
    except OverflowError:
        return math.inf


def _array(ids: Sequence[int]) -> Any:  # noqa: ANN401 - an array
    return np.asarray(ids, np.int32)


def perplexity(
    scorer: Scorer, table: Table, chat_template: str, train_on: str, max_len: int
) -> Measure:
    """Perplexity of what ``pack`` would train of a row, rendered by the chat template."""
    window = min(max_len or scorer.positions, scorer.positions)
    config = PackConfig.from_dict(
        {
            "source": table.source_options,
            "template": {"tokenizer": str(scorer.path), "chat_template": chat_template},
            "label": {"train_on": train_on},
        }
    )
    encoder = _core.Encoder.from_config(config.to_json())
    # They come with the format of their input, which one row alone may not show.
    found: list[_core.InputRow] = []

    def compute(rows: Rows, done: Done) -> Iterator[tuple[int, Any, str]]:
        if not found:
            found.extend(encoder.rows())
            if [row.line for row in found] != table.line.tolist():
                raise SourceError("the inputs changed while they were read", code="source.changed")
        jobs: list[Text] = []
        owners: list[int] = []
        for at in rows:
            try:
                samples = encoder.encode_samples(found[at])
            except (LabelError, TemplateError, TokenizerError) as error:
                yield at, (math.nan,) * 2, error.code
                done(1, 0, 0)
                continue
            except SftprepError as error:
                if error.code.partition(".")[0] not in {"format", "row"}:
                    raise
                yield at, (math.nan,) * 2, error.code
                done(1, 0, 0)
                continue
            texts = [
                Text(sample.input_ids, np.flatnonzero(sample.labels[1:] >= 0) + 1, 0, rows=0)
                for sample in samples
            ]
            reason = ""
            if any(len(text.ids) > window for text in texts):
                reason = "score.cut"
            elif not sum(len(text.wanted) for text in texts):
                reason = "score.short"
            if reason:
                yield at, (math.nan,) * 2, reason
                done(1, 0, 0)
                continue
            jobs += [text for text in texts if len(text.wanted)]
            owners += [at for text in texts if len(text.wanted)]

        sums: dict[int, list[float]] = {at: [0.0, 0.0] for at in owners}
        for job, loss in scorer.losses(jobs, done):
            count = len(jobs[job].wanted)
            sums[owners[job]][0] += loss * count
            sums[owners[job]][1] += count
        for at, (total, tokens_of) in sums.items():
            value = total / tokens_of
            good = math.isfinite(value) and value < math.log(np.finfo(np.float64).max)
            numbers = (math.exp(value), tokens_of) if good else (math.nan,) * 2
            yield at, numbers, "" if good else "score.not_finite"
            done(1, 0, _size(table, at))

    def columns(
        values: Any,  # noqa: ANN401 - an array
        reasons: list[str | None],
        about: dict[str, str],
    ) -> list[Column]:
        trained = {**about, "what": "tokens that would be trained"}
        return [
            Column(
                name="perplexity",
                kind="float64",
                values=values[:, 0],
                reasons=reasons,
                about={**about, "what": "perplexity of the tokens that would be trained"},
            ),
            Column(name="trained_tokens", kind="float64", values=values[:, 1], about=trained),
        ]

    about = {
        "definition": "perplexity",
        "template": _template_hash(scorer.path, chat_template),
        "label": train_on,
        "read": json.dumps(_reading(table), sort_keys=True),
        "window": str(window),
        **scorer.identity(),
    }
    return Measure(
        name="perplexity",
        about=about,
        width=2,
        dtype="float64",
        compute=compute,
        columns=columns,
    )


def _reading(table: Table) -> dict[str, Any]:
    """The options that say how a row is understood."""
    return {
        name: value
        for name, value in table.source_options.items()
        if name in {"format", "map", "role"}
    }


def _template_hash(folder: Path, chat_template: str) -> str:
    whole = hashlib.blake2b(chat_template.encode(), digest_size=16)
    given = Path(chat_template) if 0 < len(chat_template) < _LONGEST_PATH else None
    for path in (given, *(folder / name for name in _TEMPLATE_FILES)):
        try:
            whole.update(b"" if path is None else path.read_bytes())
        except (OSError, ValueError):  # a template that is given as it is
            whole.update(b"none")
    return whole.hexdigest()


def embedding(scorer: Scorer, table: Table, which: Embedded, max_len: int) -> Measure:
    """Means of the last hidden states of a text; what is beyond the window is left out."""
    window = min(max_len or scorer.positions, scorer.positions)

    def text(at: int) -> str:
        if which == "row":
            return "\n".join(part for part in (table.prompt[at], table.answer[at]) if part)
        return table.prompt[at] if which == "prompt" else table.answer[at]

    def compute(rows: Rows, done: Done) -> Iterator[tuple[int, Any, str]]:
        nothing = np.full(scorer.width, np.nan, np.float32)
        full = [at for at in rows if text(at)]
        for at in set(rows) - set(full):
            yield at, nothing, "score.empty"
            done(1, 0, 0)
        ids = scorer.encode([text(at) for at in full])
        jobs = [
            Text(_array(each[:window]), (), _size(table, at))
            for at, each in zip(full, ids, strict=True)
        ]
        for job, mean in scorer.means(jobs, done):
            good = bool(np.isfinite(mean).all())
            yield full[job], mean if good else nothing, "" if good else "score.not_finite"

    def columns(
        values: Any,  # noqa: ANN401 - an array
        reasons: list[str | None],
        about: dict[str, str],
    ) -> list[Column]:
        what = f"mean of the last hidden states of the {which}, at most {window} tokens"
        return [
            Column(
                name="embedding",
                kind=f"vector:{scorer.width}",
                values=values,
                reasons=reasons,
                about={**about, "what": what},
            )
        ]

    about = {
        "definition": f"embedding={which}",
        "window": str(window),
        **scorer.identity(),
    }
    return Measure(
        name="embedding",
        about=about,
        width=scorer.width,
        dtype="float32",
        compute=compute,
        columns=columns,
    )
