"""Strings that know, per character, where they come from; they stay `str` to everything else.

Every character carries a code: 0 for text that is the template's own, a positive number for one
character of one leaf of the input (see `Leaves`), and MIXED where an operation has no exact rule.
Comparison, hashing and searching see the text alone, so that a program runs as without codes.
"""

# ruff: noqa: ANN401 - values of a template may be anything

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, SupportsIndex

LITERAL = 0
MIXED = -1
Codes = list[int]


@dataclass
class Leaves:
    """The leaves of the input: leaf k owns the codes from `starts[k]` to `starts[k + 1]`."""

    starts: list[int] = field(default_factory=list)
    owners: list[tuple[int, tuple[str, ...]]] = field(default_factory=list)
    next_code: int = 1

    def add(self, size: int, message: int, path: tuple[str, ...]) -> int:
        """Registers a leaf of `size` characters; returns the code of its first character."""
        first = self.next_code
        self.starts.append(first)
        self.owners.append((message, path))
        self.next_code += max(size, 1)
        return first


class Text(str):
    """A string with one code per character."""

    codes: Codes
    __slots__ = ("codes",)

    def __new__(cls, text: str, codes: Codes | None = None) -> Text:
        """Text with these codes (None: all literal)."""
        self = super().__new__(cls, text)
        self.codes = [LITERAL] * len(self) if codes is None else codes
        if len(self.codes) != len(self):
            raise AssertionError("codes do not fit the text")
        return self

    def _sub(self, text: str, start: int) -> Text:
        return type(self)(text, self.codes[start : start + len(text)])

    def _mixed(self, text: str, *others: Any) -> Text:
        touched = any(self.codes) or any(any(codes_of(o)) for o in others)
        return type(self)(text, [MIXED if touched else LITERAL] * len(text))

    def __str__(self) -> str:
        return self if type(self) is Text else Text(str.__str__(self), self.codes)

    def __add__(self, other: str) -> Text:
        if not isinstance(other, str):
            return NotImplemented
        return type(self)(str.__add__(self, other), self.codes + codes_of(other))

    def __radd__(self, other: str) -> Text:
        if not isinstance(other, str):
            return NotImplemented
        return type(self)(str.__add__(other, self), codes_of(other) + self.codes)

    def __mul__(self, times: SupportsIndex) -> Text:
        return type(self)(str.__mul__(self, times), self.codes * times)

    __rmul__ = __mul__

    def __getitem__(self, key: SupportsIndex | slice) -> Text:
        if isinstance(key, slice):
            return type(self)(str.__getitem__(self, key), self.codes[key])
        return type(self)(str.__getitem__(self, key), [self.codes[key]])

    def __iter__(self) -> Iterator[str]:
        return (self[index] for index in range(len(self)))

    def __mod__(self, values: Any) -> Text:
        return percent(self, values)

    def __rmod__(self, template: str) -> Text:
        return percent(Text(template), self)

    def lstrip(self, chars: str | None = None) -> Text:
        rest = str.lstrip(self, chars)
        return self._sub(rest, len(self) - len(rest))

    def rstrip(self, chars: str | None = None) -> Text:
        return self._sub(str.rstrip(self, chars), 0)

    def strip(self, chars: str | None = None) -> Text:
        return self.lstrip(chars).rstrip(chars)

    def removeprefix(self, prefix: str, /) -> Text:
        return self[len(prefix) :] if self.startswith(prefix) else self

    def removesuffix(self, suffix: str, /) -> Text:
        return self[: len(self) - len(suffix)] if suffix and self.endswith(suffix) else self

    def _pieces(self, parts: Sequence[str]) -> list[Text]:
        """Parts that lie in this text in order; whatever lies between them is skipped."""
        out, cursor = [], 0
        for part in parts:
            start = self.find(part, cursor)
            out.append(self._sub(part, start))
            cursor = start + len(part)
        return out

    def _split_at(self, parts: Sequence[str], step: int) -> list[Text]:
        out, cursor = [], 0
        for part in parts:
            out.append(self._sub(part, cursor))
            cursor += len(part) + step
        return out

    def split(self, sep: str | None = None, maxsplit: SupportsIndex = -1) -> list[Text]:  # type: ignore[override]
        parts = str.split(self, sep, maxsplit)
        return self._pieces(parts) if sep is None else self._split_at(parts, len(sep))

    def rsplit(self, sep: str | None = None, maxsplit: SupportsIndex = -1) -> list[Text]:  # type: ignore[override]
        parts = str.rsplit(self, sep, maxsplit)
        return self._pieces(parts) if sep is None else self._split_at(parts, len(sep))

    def splitlines(self, keepends: bool = False) -> list[Text]:  # type: ignore[override]
        cursor, out = 0, []
        for kept, line in zip(
            str.splitlines(self, True), str.splitlines(self, keepends), strict=True
        ):
            out.append(self._sub(line, cursor))
            cursor += len(kept)
        return out

    def partition(self, sep: str) -> tuple[Text, Text, Text]:
        at = self.find(sep)
        if at < 0:
            return self, self[:0], self[:0]
        return self[:at], self[at : at + len(sep)], self[at + len(sep) :]

    def rpartition(self, sep: str) -> tuple[Text, Text, Text]:
        at = self.rfind(sep)
        if at < 0:
            return self[:0], self[:0], self
        return self[:at], self[at : at + len(sep)], self[at + len(sep) :]

    def replace(self, old: str, new: str, count: SupportsIndex = -1, /) -> Text:
        if old == "":
            return self._mixed(str.replace(self, old, new, count), new)
        parts = self.split(old, count)
        return join(Text(new, codes_of(new)), parts, type(self))

    def join(self, parts: Iterable[str], /) -> Text:
        return join(self, parts, type(self))

    def _mapped(self, whole: str, single: Callable[[int, str], str]) -> Text:
        codes: Codes = []
        for index, (char, code) in enumerate(zip(str.__iter__(self), self.codes, strict=True)):
            codes += [code] * len(single(index, char))
        return type(self)(whole, codes) if len(codes) == len(whole) else self._mixed(whole)

    def lower(self) -> Text:
        return self._mapped(str.lower(self), lambda _, c: c.lower())

    def upper(self) -> Text:
        return self._mapped(str.upper(self), lambda _, c: c.upper())

    def casefold(self) -> Text:
        return self._mapped(str.casefold(self), lambda _, c: c.casefold())

    def swapcase(self) -> Text:
        return self._mapped(str.swapcase(self), lambda _, c: c.swapcase())

    def capitalize(self) -> Text:
        return self._mapped(str.capitalize(self), lambda i, c: c.title() if i == 0 else c.lower())

    def title(self) -> Text:
        return self._mapped(str.title(self), lambda _, c: c)

    def format(self, *args: Any, **kwargs: Any) -> Text:
        return self._mixed(str.format(self, *args, **kwargs), *args, *kwargs.values())

    def center(self, *args: Any) -> Text:
        return self._mixed(str.center(self, *args))

    def ljust(self, *args: Any) -> Text:
        return self._mixed(str.ljust(self, *args))

    def rjust(self, *args: Any) -> Text:
        return self._mixed(str.rjust(self, *args))

    def zfill(self, *args: Any) -> Text:
        return self._mixed(str.zfill(self, *args))

    def expandtabs(self, *args: Any) -> Text:
        return self._mixed(str.expandtabs(self, *args))

    def translate(self, *args: Any) -> Text:
        return self._mixed(str.translate(self, *args))


_ESCAPES = {"&": "&amp;", ">": "&gt;", "<": "&lt;", "'": "&#39;", '"': "&#34;"}


class Safe(Text):
    """What `|safe` makes: like markupsafe's Markup, it escapes what is added to it."""

    __slots__ = ()

    def __html__(self) -> str:
        return self

    def __add__(self, other: str) -> Text:
        return Text.__add__(self, escape(other)) if isinstance(other, str) else NotImplemented

    def __radd__(self, other: str) -> Text:
        return Text.__radd__(self, escape(other)) if isinstance(other, str) else NotImplemented

    def join(self, parts: Iterable[str], /) -> Text:
        return join(self, [escape(part) for part in parts], Safe)


class Number(int):
    """An integer leaf."""

    code: int


class Real(float):
    """A leaf with a fraction."""

    code: int


class Items(list[Any]):
    """A list of the input."""

    code: int


class Table(dict[Any, Any]):
    """An object of the input."""

    code: int


def codes_of(value: Any) -> Codes:
    """The codes of a string (a plain one is literal), or of a value that printing would show."""
    if isinstance(value, Text):
        return value.codes
    if isinstance(value, str):
        return [LITERAL] * len(value)
    return [code_of(value)]


def code_of(value: Any, default: int = LITERAL) -> int:
    """The code of a number or container of the input; `default` for anything else."""
    return value.code if isinstance(value, (Number, Real, Items, Table)) else default


def join(separator: Text, parts: Iterable[str], kind: type[Text] = Text) -> Text:
    """`separator.join(parts)`."""
    texts: list[str] = []
    codes: Codes = []
    for index, part in enumerate(parts):
        if index:
            texts.append(separator)
            codes += separator.codes
        if not isinstance(part, str):
            raise TypeError(f"sequence item {index}: expected str, {type(part).__name__} found")
        texts.append(part)
        codes += codes_of(part)
    return kind(str.join("", texts), codes)


def escape(value: str) -> Text:
    """HTML escaping as markupsafe does it; safe text stays."""
    if isinstance(value, Safe):
        return value
    texts, codes = [], []
    for char, code in zip(str.__iter__(value), codes_of(value), strict=True):
        texts.append(_ESCAPES.get(char, char))
        codes += [code] * len(texts[-1])
    return Safe("".join(texts), codes)


def percent(template: Text, values: Any) -> Text:
    """`template % values`; exact for %s, %d and %%, mixed for everything else."""
    plain = str.__mod__(template, values)
    given = list(values) if isinstance(values, tuple) else [values]
    out = type(template)("")
    cursor = 0
    for match in re.finditer(r"%(.)", str.__str__(template)):
        out = out + template[cursor : match.start()]
        cursor = match.end()
        if match[1] == "%":
            out = out + Text("%")
        elif match[1] in "sd" and given:
            out = out + printed(given.pop(0))
        else:
            return template._mixed(plain, *given)
    out = out + template[cursor:]
    return out if str.__eq__(out, plain) else template._mixed(plain, *given)


def printed(value: Any) -> Text:
    """`str(value)`."""
    if isinstance(value, Text):
        return Text(str.__str__(value), value.codes)
    if isinstance(value, (dict, list, tuple)):
        return represented(value)
    plain = _plain_number(value)
    text = str(plain)
    return Text(text, [code_of(value)] * len(text))


def represented(value: Any, code: int = LITERAL) -> Text:
    """`repr(value)`, of containers and their leaves; `code` is that of the container."""
    own = code_of(value, code)
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, dict):
        pairs = [
            join(Text(": "), [represented(k, own), represented(v, own)]) for k, v in value.items()
        ]
        return Text("{") + join(Text(", "), pairs) + Text("}")
    if isinstance(value, (list, tuple)):
        body = join(Text(", "), [represented(v, own) for v in value])
        if isinstance(value, list):
            return Text("[") + body + Text("]")
        return Text("(") + body + Text(",)" if len(value) == 1 else ")")
    text = repr(_plain_number(value))
    return Text(text, [own] * len(text))


def _quoted(value: str) -> Text:
    plain = str.__str__(value) if type(value) is str else "".join(str.__iter__(value))
    quote = repr(plain)[0]
    texts, codes = [quote], [LITERAL]
    for char, code in zip(str.__iter__(plain), codes_of(value), strict=True):
        # A neighbour that forces the same outer quote shows how this one character is written.
        shown = repr(char + ('"' if quote == "'" else "'"))[1:-2] if char not in "'\"" else char
        shown = "\\'" if char == "'" and quote == "'" else shown
        texts.append(shown)
        codes += [code] * len(shown)
    return Text("".join([*texts, quote]), [*codes, LITERAL])


def _plain_number(value: Any) -> Any:
    if isinstance(value, Number):
        return int.__int__(value)
    return float.__float__(value) if isinstance(value, Real) else value


def dumps(
    value: Any,
    ensure_ascii: bool = False,
    indent: Any = None,
    separators: Any = None,
    sort_keys: bool = False,
) -> Text:
    """`json.dumps(value, ...)` with codes; checked against json.dumps itself."""
    item, colon = separators or ((", " if indent is None else ","), ": ")
    if indent is not None and not isinstance(indent, str):
        indent = " " * indent
    writer = _Json(ensure_ascii, indent, Text(item), Text(colon), sort_keys)
    out = writer.write(value, 0, LITERAL)
    plain = json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )
    if not str.__eq__(out, plain):
        raise AssertionError(f"tainted JSON differs: {out!r} {plain!r}")
    return out


@dataclass
class _Json:
    ensure_ascii: bool
    indent: str | None
    item: Text
    colon: Text
    sort_keys: bool

    def write(self, value: Any, depth: int, code: int) -> Text:
        own = code_of(value, code)
        if isinstance(value, str):
            return self.string(value, code)
        if isinstance(value, dict):
            entries = sorted(value.items()) if self.sort_keys else value.items()
            parts = [
                self.key(k, own) + self.colon + self.write(v, depth + 1, own) for k, v in entries
            ]
            return self.wrap("{", parts, "}", depth)
        if isinstance(value, (list, tuple)):
            return self.wrap("[", [self.write(v, depth + 1, own) for v in value], "]", depth)
        text = json.dumps(_plain_number(value))
        return Text(text, [own] * len(text))

    def key(self, key: Any, code: int) -> Text:
        if isinstance(key, str):
            return self.string(key, code)
        return Text('"') + self.write(key, 0, code) + Text('"')

    def string(self, value: str, code: int) -> Text:
        codes = codes_of(value)
        texts, out = ['"'], [LITERAL]
        for char, origin in zip(str.__iter__(value), codes, strict=True):
            shown = json.dumps(char, ensure_ascii=self.ensure_ascii)[1:-1]
            texts.append(shown)
            out += [origin] * len(shown)
        return Text("".join([*texts, '"']), [*out, LITERAL])

    def wrap(self, opening: str, parts: list[Text], closing: str, depth: int) -> Text:
        if not parts or self.indent is None:
            return Text(opening) + join(self.item, parts) + Text(closing)
        inner, outer = "\n" + self.indent * (depth + 1), "\n" + self.indent * depth
        body = join(Text(self.item + inner), parts)
        return Text(opening + inner) + body + Text(outer + closing)


def mark(value: Any, leaves: Leaves, message: int, path: tuple[str, ...] = ()) -> Any:
    """A copy of JSON data whose leaves carry codes; a message's `role` stays literal."""
    if isinstance(value, str):
        if path == ("role",):
            return Text(value)
        first = leaves.add(len(value), message, path)
        return Text(value, list(range(first, first + len(value))))
    if isinstance(value, dict):
        table = Table()
        table.code = leaves.add(1, message, path)
        for key, inner in value.items():
            name = Text(key)
            if path:
                first = leaves.add(len(key), message, (*path, key))
                name = Text(key, list(range(first, first + len(key))))
            table[name] = mark(inner, leaves, message, (*path, key))
        return table
    if isinstance(value, list):
        items = Items(mark(inner, leaves, message, (*path, "[]")) for inner in value)
        items.code = leaves.add(1, message, path)
        return items
    if isinstance(value, bool) or value is None:
        return value
    number: Number | Real = Number(value) if isinstance(value, int) else Real(value)
    number.code = leaves.add(1, message, path)
    return number
