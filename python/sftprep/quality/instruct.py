"""``flan``: rows of a task written out by templates, each a prompt and a completion.

```python
import sftprep

report = sftprep.flan("rows.jsonl", templates="templates.json", task="anli", out="anli.jsonl")
```

A template is a pair of texts with fields in braces, ``{premise}``, that are columns of the row.
The field ``{options_}`` is FLAN's list of the answers that may be given, made of the column
``options``.
A field that a row does not have ends the work with its name.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from sftprep.errors import ConfigError, FormatError, OutputError, SourceError
from sftprep.quality.options import PathLike

Choice = Literal["turn", "draw", "all"]
OptionsStyle = Literal["list", "letters", "none"]
LostBreaks = Literal["refuse", "fix", "keep"]

_FIELD = re.compile(r"\{(\w*)\}")
# Behind a field at the end of a line, or before a field or a capital letter, `n` is what is left of
# a line break that lost its backslash.
_LOST = re.compile(r"(\{\w*\})n(?=$|[\n{A-Z])")
_PAIR = 2
_MOST_LETTERS = 26


class Template(NamedTuple):
    """A pair of texts with fields."""

    prompt: str
    """The text before the answer."""
    completion: str
    """The answer."""

    def lost_breaks(self) -> list[str]:
        """Fields behind which a line break lost its backslash, such as ``{hypothesis}n``."""
        return [f"{field}n" for text in self for field in _LOST.findall(text)]

    def mended(self) -> Template:
        """The same with those line breaks."""
        return Template(*(_LOST.sub("\\1\n", text) for text in self))

    def without_options(self) -> Template:
        """The same for rows that do not say which answers there are."""
        prompt = self.prompt.replace("{options_}", "").replace("{options_str}", "").strip()
        return Template(prompt, self.completion)

    def fill(self, row: Mapping[str, Any]) -> Template:
        """The texts of a row; a value is never looked at for fields.

        Raises:
            KeyError: naming the field that the row does not have.
        """

        def value(match: re.Match[str]) -> str:
            return text_of(row[match[1]], match[1])

        return Template(*(_FIELD.sub(value, text) for text in self))


@dataclass(frozen=True, kw_only=True, slots=True)
class FlanReport:
    """What was written; ``used`` and ``capped`` add up to ``rows``."""

    task: str
    """The task whose templates were used."""
    rows: int
    """Rows read."""
    used: int
    """Rows that were written out."""
    capped: int
    """Rows beyond the cap."""
    written: int
    """Rows written: one per row used, or one per template and row used."""
    templates: list[int]
    """Rows written by each template of the task."""
    lost_breaks: dict[str, list[str]]
    """Templates, by number from 1, in which line breaks lost their backslash, with the places."""
    out: str | None
    """Where the rows are; ``None`` after a dry run."""

    def to_dict(self) -> dict[str, Any]:
        """The same as plain data."""
        return asdict(self)


def flan(
    rows: PathLike,
    *,
    templates: PathLike | Mapping[str, Any],
    task: str,
    out: PathLike | None = None,
    choice: Choice = "turn",
    options: OptionsStyle = "list",
    lost_breaks: LostBreaks = "refuse",
    cap: int = 0,
    seed: int = 0,
    fields: Sequence[str] = (),
    messages: bool = False,
    dry_run: bool = False,
    overwrite: bool = False,
) -> FlanReport:
    """Writes the rows of a task out by its templates.

    Args:
        rows: Rows of the task: JSON Lines or a JSON array, also ``.gz``.
        templates: A JSON file ``{task: [[input, target], ...]}``, or the same as a mapping.
        task: The task.
        out: File for the rows, ``.jsonl``: ``prompt`` and ``completion``, with ``task``,
            ``template`` and ``row`` (both from 1) beside.
        choice: Which template a row takes: one after the other in ``turn``, as FLAN does; one that
            is drawn (``draw``); or ``all`` of them, each making a row.
        options: How ``{options_}`` is written: ``list`` (``OPTIONS:`` and lines with a dash),
            ``letters`` (``(A)``, ``(B)``, ...) or ``none``, without options.
        lost_breaks: What to do with templates in which a line break lost its backslash
            (``{field}n``).
        cap: Rows used at most, drawn where there are more, in their order; 0: all. FLAN has 3,000.
        seed: Decides what is drawn.
        fields: Names for the cells of rows that are arrays.
        messages: Write a user's and an assistant's message instead of prompt and completion.
        dry_run: Write nothing.
        overwrite: Replace an existing output.

    Raises:
        ConfigError: if an option is wrong, or the templates are not what they should be.
        SourceError: if a file is missing or unreadable.
        FormatError: if a row does not have a field of its template.
        OutputError: if the output exists or cannot be written.
    """
    _check(choice, options, lost_breaks, cap)
    chosen = templates_of(templates, task)
    lost = {str(at): it.lost_breaks() for at, it in enumerate(chosen, 1) if it.lost_breaks()}
    if lost and lost_breaks == "refuse":
        first, places = next(iter(lost.items()))
        raise ConfigError(
            f"template {first} of {task} has {places[0]}: a line break that lost its backslash "
            f"({len(lost)} of {len(chosen)} templates)",
            field="templates",
            hint="write the line break with lost_breaks='fix' (--lost-breaks fix), or go on with "
            "'keep'",
        )
    if lost_breaks == "fix":
        chosen = [it.mended() for it in chosen]
    if options == "none":
        chosen = [it.without_options() for it in chosen]
    target = _target(out, Path(rows), dry_run=dry_run, overwrite=overwrite)
    given = list(_rows(Path(rows), fields))
    if not given:
        raise SourceError("the file holds no row", code="source.empty", path=os.fspath(rows))
    used = range(len(given))
    if 0 < cap < len(given):
        dice = random.Random(f"sftprep flan cap {task} {seed}")
        used = sorted(dice.sample(used, cap))  # type: ignore[assignment]
    written, counts = [], [0] * len(chosen)
    for at in used:
        row = _with_options(given[at], options, os.fspath(rows), at + 1)
        for number in _numbers(at, len(chosen), choice, f"{task} {seed}"):
            try:
                text = chosen[number].fill(row)
            except KeyError as error:
                raise _no_field(error.args[0], row, number, os.fspath(rows), at + 1) from None
            except TypeError as error:
                raise FormatError(
                    str(error), code="format.type", path=os.fspath(rows), line=at + 1
                ) from None
            counts[number] += 1
            named = {"task": task, "template": number + 1, "row": at + 1}
            written.append(
                json.dumps({**_made(text, messages=messages), **named}, ensure_ascii=False)
            )
    if target is not None:
        _write(target, written)
    return FlanReport(
        task=task,
        rows=len(given),
        used=len(used),
        capped=len(given) - len(used),
        written=len(written),
        templates=counts,
        lost_breaks=lost,
        out=None if target is None else os.fspath(target),
    )


def templates_of(source: PathLike | Mapping[str, Any], task: str) -> list[Template]:
    """The templates of a task.

    Raises:
        ConfigError: if there is no such task, or its templates are not pairs of texts.
        SourceError: if the file is missing or unreadable.
    """
    tasks = source
    where = "templates"
    if not isinstance(source, Mapping):
        where = os.fspath(source)
        try:
            tasks = json.loads(Path(source).read_text(encoding="utf-8"))
        except OSError as error:
            code = "source.missing" if isinstance(error, FileNotFoundError) else None
            raise SourceError(str(error.strerror), code=code, path=where) from error
        except ValueError as error:
            raise ConfigError(f"the templates are not JSON: {error}", path=where) from error
    if not isinstance(tasks, Mapping):
        raise ConfigError("the templates must be an object: task -> list of pairs", path=where)
    if task not in tasks:
        known = ", ".join(list(tasks)[:_MOST_LETTERS])
        raise ConfigError(
            f"there are no templates for {task!r}", field="task", hint=f"there are: {known}"
        )
    pairs = tasks[task]
    wanted = isinstance(pairs, list) and pairs
    for at, pair in enumerate(pairs if wanted else (), 1):
        texts = isinstance(pair, (list, tuple)) and all(isinstance(text, str) for text in pair)
        if not texts or len(pair) != _PAIR:
            raise ConfigError(
                f"template {at} of {task} is not a pair of texts [input, target]", path=where
            )
    if not wanted:
        raise ConfigError(f"the templates of {task} must be a list of pairs", path=where)
    return [Template(*pair) for pair in pairs]


def text_of(value: object, name: str) -> str:
    """A value as text: numbers by their digits, truth as ``true`` and ``false``.

    Raises:
        TypeError: if it is null, a list or an object.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, (bool, int, float)):
        return json.dumps(value)
    kind = "null" if value is None else "a list" if isinstance(value, list) else "an object"
    raise TypeError(f"the field {name} is {kind}, it must be a text or a number")


def options_text(options: Sequence[str], style: OptionsStyle) -> str:
    """FLAN's list of the answers that may be given."""
    if style == "letters":
        return "OPTIONS:" + "".join(f"\n({chr(65 + at)}) {it}" for at, it in enumerate(options))
    return "OPTIONS:\n- " + "\n- ".join(options)


def _check(choice: str, options: str, lost_breaks: str, cap: int) -> None:
    for name, value, known in (
        ("choice", choice, get_args(Choice)),
        ("options", options, get_args(OptionsStyle)),
        ("lost_breaks", lost_breaks, get_args(LostBreaks)),
    ):
        if value not in known:
            raise ConfigError(
                f"{name} is {value!r}, it must be one of {', '.join(known)}", field=name
            )
    if cap < 0:
        raise ConfigError(f"cap is {cap}, it must be 0 or more", field="cap")


def _numbers(at: int, templates: int, choice: Choice, seed: str) -> Iterator[int]:
    if choice == "all":
        yield from range(templates)
    elif choice == "draw":
        yield random.Random(f"sftprep flan {seed} {at}").randrange(templates)
    else:
        yield at % templates


def _with_options(row: dict[str, Any], style: OptionsStyle, path: str, line: int) -> dict[str, Any]:
    options = row.get("options")
    if options is None or style == "none":
        return row
    texts = isinstance(options, list) and all(isinstance(it, str) for it in options)
    if not texts:
        raise FormatError(
            "the field options must be a list of texts",
            code="format.type",
            path=path,
            line=line,
            field="options",
        )
    if style == "letters" and len(options) > _MOST_LETTERS:
        raise FormatError(
            f"there are {len(options)} options and {_MOST_LETTERS} letters",
            path=path,
            line=line,
            field="options",
            hint="write them as a list",
        )
    return {**row, "options_": options_text(options, style)}


def _no_field(name: str, row: Mapping[str, Any], number: int, path: str, line: int) -> FormatError:
    columns = ", ".join(list(row)[:12])
    wanted = "options, a list of texts" if name == "options_" else name
    return FormatError(
        f"template {number + 1} has the field {name!r}, and the row has {columns}",
        code="format.missing",
        path=path,
        line=line,
        field=name,
        hint=f"the row needs {wanted}",
    )


def _made(text: Template, *, messages: bool) -> dict[str, Any]:
    if not messages:
        return {"prompt": text.prompt, "completion": text.completion}
    return {
        "messages": [
            {"role": "user", "content": text.prompt},
            {"role": "assistant", "content": text.completion},
        ]
    }


def _rows(path: Path, fields: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Rows of a file as objects."""
    name = path.name.lower()
    if not name.removesuffix(".gz").endswith((".jsonl", ".json", ".ndjson")):
        raise ConfigError(
            f"{path} is of a kind that flan does not read",
            field="rows",
            hint="give .jsonl or .json, also with .gz",
        )
    try:
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if name.endswith(".gz") else raw).decode("utf-8")
    except FileNotFoundError as error:
        raise SourceError("there is no such file", code="source.missing", path=str(path)) from error
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise SourceError(str(error), code="source.unreadable", path=str(path)) from error
    for line, value in enumerate(_values(path, text, whole=".jsonl" not in name), 1):
        if isinstance(value, dict):
            yield value
        elif isinstance(value, list) and len(value) == len(fields):
            yield dict(zip(fields, value, strict=True))
        else:
            what = f"an array of {len(value)}" if isinstance(value, list) else "no object"
            raise FormatError(
                f"the row is {what}, and {len(fields)} fields are named",
                code="row.not_object",
                path=str(path),
                line=line,
                hint="name the cells of rows that are arrays with --fields a,b,c",
            )


def _values(path: Path, text: str, *, whole: bool) -> Iterator[Any]:
    line = 0
    try:
        if whole and text.lstrip().startswith("["):
            yield from json.loads(text)
            return
        for line, each in enumerate(text.split("\n"), 1):  # noqa: B007 - named in the error
            if each.strip():
                yield json.loads(each)
    except ValueError as error:
        raise FormatError(str(error), code="row.json", path=str(path), line=line or 1) from error


def _target(out: PathLike | None, rows: Path, *, dry_run: bool, overwrite: bool) -> Path | None:
    if dry_run:
        return None
    if out is None:
        raise ConfigError(
            "there is no --out for the rows", field="out", hint="add --out FILE.jsonl, or --dry-run"
        )
    path = Path(out)
    if path.suffix != ".jsonl":
        raise ConfigError(f"--out {path} does not end in .jsonl", field="out")
    if path.exists() and rows.exists() and path.samefile(rows):
        raise ConfigError("the output is the input", field="out", hint="choose another file")
    if path.exists() and not overwrite:
        raise OutputError(
            "the output exists",
            code="output.exists",
            path=str(path),
            hint="choose another --out, or add --overwrite",
        )
    return path


def _write(path: Path, lines: list[str]) -> None:
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise OutputError(str(error), path=str(path)) from error
