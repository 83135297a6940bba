"""``score``: columns that say something about rows, in a file beside them.

```python
import sftprep

report = sftprep.score("chat.jsonl", model="model/", ifd="cherry", out="chat.scores.arrow")
report.column("ifd_cherry")["median"], report.column("ifd_cherry")["reasons"]
```

Rows are not changed. ``sftprep select`` chooses by the columns.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from sftprep.errors import ConfigError, OutputError
from sftprep.progress import Progress, choose
from sftprep.quality.options import Inputs, PathLike, RowOptions
from sftprep.scores import cache, columns, plugins, table
from sftprep.scores.definitions import definition
from sftprep.scores.report import ScoreReport

if TYPE_CHECKING:
    from sftprep.progress import Display
    from sftprep.scores.columns import Column
    from sftprep.scores.definitions import Definition
    from sftprep.scores.judge import Judge
    from sftprep.scores.measures import Embedded, Measure

Plugin = str | Callable[..., Any]

_KNOWS = (
    "IFD and perplexity are as good as the model: one that does not know the language of the rows "
    "orders them by other things, such as length"
)


def score(
    inputs: Inputs,
    *,
    out: PathLike | None = None,
    model: PathLike | None = None,
    ifd: str | Iterable[str] = (),
    perplexity: bool = False,
    embed: Embedded | None = None,
    experience: PathLike | None = None,
    plugin: Plugin | Iterable[Plugin] = (),
    judge: Judge | None = None,
    chat_template: str = "",
    train_on: str = "assistant",
    max_len: int = 0,
    device: str = "auto",
    dtype: str = "fp32",
    batch_tokens: int = 0,
    cache_dir: PathLike | None = None,
    use_cache: bool = True,
    cache_bytes: int = cache.LIMIT_BYTES,
    dry_run: bool = False,
    progress: bool | Display = False,
    **options: Unpack[RowOptions],
) -> ScoreReport:
    """Computes scores of rows and writes them beside, one line per row.

    Args:
        inputs: One path or several; a mapping names them.
        out: The score file, ``NAME.scores.arrow``; may be left out in a dry run.
        model: A transformers folder, for ``ifd``, ``perplexity`` and ``embed``.
        ifd: ``cherry`` (ratio of mean losses, Alpaca's prompt, 512 tokens) or ``superfilter``
            (ratio of perplexities, bare prompt, 1,024 tokens), or both.
        perplexity: Perplexity of what ``pack`` would train of a row.
        embed: Mean of the last hidden states of the ``prompt``, the ``answer`` or the whole
            ``row``, as a column of vectors.
        experience: Folder: first train the model for an epoch on a thousand rows that stand for
            all, as Cherry LLM does, and score with ``experience/run/model``.
        plugin: Functions from batches to columns, as ``module:function``, ``file.py:function``,
            functions, or ``ftfy``, ``language`` and ``sentence:FOLDER``.
        judge: A language model that rates answers from 0 to 5.
        chat_template: For ``perplexity``: a file, the template itself, or a built-in name; empty:
            the model's own.
        train_on: For ``perplexity``: roles whose turns are trained, or ``last_turn``.
        max_len: Window in tokens, instead of that of the definition.
        device: ``auto``, ``cpu`` or ``cuda``.
        dtype: ``fp32`` or ``bf16``.
        batch_tokens: Tokens of a forward pass, padding included; 0: 4,096, 32,768 on CUDA.
        cache_dir: Folder of known scores; by default below ``~/.cache/sftprep``.
        use_cache: Look there, and keep there what is computed.
        cache_bytes: Size of that folder, at most.
        dry_run: Say how many scores are to be computed, compute and write nothing.
        progress: Show it on standard error.
        **options: How rows are read, and ``overwrite``.

    Returns:
        Per column how many rows have a score, and why the others have none.

    Raises:
        ConfigError: if an option is wrong, or a package is missing.
        SourceError: if an input is missing, unreadable or damaged.
        TrainError: if the model does not load, or memory is too small.
        ScoreError: if a plug-in or the judge fails.
        OutputError: if the output exists or cannot be written.
    """
    started = time.monotonic()
    names = [ifd] if isinstance(ifd, str) else list(ifd)
    definitions = [definition(name) for name in dict.fromkeys(names)]
    given = [plugin] if isinstance(plugin, str) or callable(plugin) else list(plugin)
    loaded = [plugins.load(each) for each in given]
    _check(model, bool(definitions or perplexity or embed), bool(loaded or judge), dtype, device)
    place = _place(out, dry_run=dry_run, overwrite=bool(options.get("overwrite", False)))
    rows = table.read(inputs, options)
    folder = (Path(cache_dir) if cache_dir else cache.default_folder()) if use_cache else None
    display = progress if not isinstance(progress, bool) else choose(quiet=not progress)
    found: list[Column] = [_lengths(rows)]
    notes: list[str] = []
    known, made = 0, 0
    with display:
        wanted: list[Measure] = []
        if model is not None and (definitions or perplexity or embed):
            from_model = _FromModel(model, device, dtype, batch_tokens, display, rows)
            if experience is not None and not dry_run:
                notes.append(from_model.experience(Path(experience)))
            wanted = from_model.measures(
                definitions, chat_template if perplexity else None, train_on, embed, max_len
            )
            notes += from_model.notes(definitions, max_len)
            notes += [_KNOWS] if definitions or perplexity else []
        for measure in wanted:
            from sftprep.scores import measures

            if dry_run:
                counts = measures.plan(measure, rows, folder)
            else:
                tick = _Ticker(display, measure.name, rows)
                more, counts = measures.run(measure, rows, folder, tick, cache_bytes)
                found += more
            known, made = known + counts.cached, made + counts.computed
        for each in loaded if not dry_run else ():
            found += plugins.run(each, rows, _Ticker(display, each.name, rows))
        if judge is not None:
            if dry_run:
                counts = judge.plan(rows, folder)
            else:
                more, counts = judge.run(rows, folder, _Ticker(display, "judge", rows), cache_bytes)
                found += more
            known, made = known + counts.cached, made + counts.computed
        if place is not None and not dry_run:
            _distinct(found)
            columns.write(place, rows, found, {})
    lengths = [float(len(text)) for text in rows.answer]
    return ScoreReport(
        rows=len(rows),
        columns=[] if dry_run else [each.summary(lengths) for each in found],
        cached=known,
        computed=made,
        out=None if dry_run or place is None else str(place),
        notes=notes,
        seconds=time.monotonic() - started,
    )


def _check(
    model: PathLike | None, needs_model: bool, others: bool, dtype: str, device: str
) -> None:
    if not needs_model and not others:
        raise ConfigError(
            "no score is asked for",
            field="--ifd",
            hint="add --ifd cherry, --ifd superfilter, --perplexity, --embed, --plugin or --judge",
        )
    if needs_model and model is None:
        raise ConfigError(
            "there is no model for --ifd, --perplexity or --embed",
            field="--model",
            hint="add --model DIR, a transformers folder",
        )
    for flag, value, known in (
        ("--dtype", dtype, ("fp32", "bf16")),
        ("--device", device, ("auto", "cpu", "cuda")),
    ):
        if value not in known:
            raise ConfigError(f"{value!r} is none of {', '.join(known)}", field=flag)


def _place(out: PathLike | None, *, dry_run: bool, overwrite: bool) -> Path | None:
    if out is None:
        if dry_run:
            return None
        raise ConfigError(
            "there is no --out for the scores",
            field="out",
            hint="add --out NAME.scores.arrow, or --dry-run",
        )
    place = Path(out)
    if not place.name.endswith(".arrow"):
        raise ConfigError(
            f"the output {place.name!r} is no .arrow file",
            field="out",
            hint="call it NAME.scores.arrow",
        )
    if place.exists() and not overwrite and not dry_run:
        raise OutputError(
            "the output exists",
            code="output.exists",
            path=os.fspath(place),
            hint="choose another --out, or add --overwrite; known scores are not computed again",
        )
    if not place.parent.is_dir():
        raise OutputError("there is no such folder", path=str(place.parent), hint="make it first")
    return place


class _FromModel:
    """What a model can say of the rows."""

    def __init__(
        self,
        model: PathLike,
        device: str,
        dtype: str,
        batch_tokens: int,
        display: Display,
        rows: table.Table,
    ) -> None:
        self._options: dict[str, Any] = {
            "device": device, "dtype": dtype, "batch_tokens": batch_tokens,
        }  # fmt: skip
        self._display, self._rows = display, rows
        try:
            from sftprep.scores.model import Scorer
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"scores of a model need {error.name}, which is not installed",
                field="--model",
                hint="pip install 'sftprep[train]'",
            ) from error
        self._scorer = Scorer(model, **self._options)

    def experience(self, out: Path) -> str:
        """Goes on with a model that has seen a little of all rows; says so."""
        from sftprep.scores.experience import experienced
        from sftprep.scores.model import Scorer

        before = self._scorer.path
        tick = _Ticker(self._display, "experience", self._rows)
        trained = experienced(self._scorer, self._rows, out, tick)
        self._scorer = Scorer(trained, **self._options)
        return f"scored with {trained}, trained from {before}"

    def measures(
        self,
        definitions: list[Definition],
        chat_template: str | None,
        train_on: str,
        embed: Embedded | None,
        max_len: int,
    ) -> list[Measure]:
        """The measures that are asked for; a chat template asks for perplexity."""
        from sftprep.scores import measures

        scorer, rows = self._scorer, self._rows
        wanted = [measures.ifd(scorer, rows, each, max_len) for each in definitions]
        if chat_template is not None:
            wanted.append(measures.perplexity(scorer, rows, chat_template, train_on, max_len))
        if embed:
            wanted.append(measures.embedding(scorer, rows, embed, max_len))
        return wanted

    def notes(self, definitions: list[Definition], max_len: int) -> list[str]:
        """Whether the model's positions bound a window."""
        wanted = max_len or max((each.window for each in definitions), default=0)
        if wanted <= self._scorer.positions:
            return []
        return [
            f"the model has {self._scorer.positions:,} positions, less than the window of "
            f"{wanted:,} tokens; rows that do not fit have no score (score.cut, score.prompt)"
        ]


def _lengths(rows: table.Table) -> Column:
    return columns.Column(
        name="answer_chars",
        kind="float64",
        values=[float(len(text)) for text in rows.answer],
        about={"what": "characters of all that is to be learnt"},
    )


def _distinct(found: list[Column]) -> None:
    seen: set[str] = set(columns.RESERVED)
    for column in found:
        for name in (column.name, *([column.name + columns.REASON] if column.reasons else [])):
            if name in seen:
                raise ConfigError(
                    f"there are two columns called {name!r}",
                    field="--plugin",
                    hint="give the columns of plug-ins names of their own",
                )
            seen.add(name)


class _Ticker:
    """Adds up what is done and shows it."""

    def __init__(self, display: Display, stage: str, rows: table.Table) -> None:
        self._display, self._stage = display, stage
        self._rows = self._tokens = self._bytes = 0
        texts = (rows.prompt, rows.answer)
        self._total = sum(len(text) for each in texts for text in each)

    def __call__(self, rows: int, tokens: int, size: int) -> None:
        """So many more rows, tokens and characters are done."""
        self._rows, self._tokens = self._rows + rows, self._tokens + tokens
        self._bytes += size
        self._display.update(
            Progress(
                stage=self._stage,
                rows=self._rows,
                tokens=self._tokens,
                bytes_read=self._bytes,
                bytes_total=self._total,
            )
        )
