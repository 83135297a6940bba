"""Jinja2 itself, run on strings that carry their origin: exact provenance of every character.

Jinja2 compiles a template to Python. Here the compiled Python works on `taint.Text`: constants
become literal `Text`, `str`, joining and `tojson` get versions that keep codes. Every rendering is
compared with the reference rendering, so that a slip here shows as `Unjudgeable`, never as a
wrong verdict.
"""

# ruff: noqa: ANN401 - values of a template, and Jinja2's own types, may be anything

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import jinja2
import jinja2.ext
from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.utils import Namespace

from . import render as reference
from .taint import LITERAL, Leaves, Safe, Text, codes_of, dumps, join, mark, printed

Json = Any
TOOLS, EXTRA = -1, -2
"""Message numbers of what belongs to no message: tools, and template arguments."""


class Unjudgeable(Exception):
    """The tainted rendering cannot be had, or is not the reference rendering."""


class _Generator(CodeGenerator):
    def visit_Const(self, node: nodes.Const, frame: Frame) -> None:
        value = node.as_const(frame.eval_ctx)
        self.write(f"_literal({value!r})" if isinstance(value, str) else repr(value))

    def visit_TemplateData(self, node: nodes.TemplateData, frame: Frame) -> None:
        self.write(f"_literal({node.data!r})")

    def _output_const_repr(self, group: Iterable[Any]) -> str:
        return f"_literal({''.join(str(part) for part in group)!r})"


class _Template(jinja2.Template):
    @classmethod
    def from_code(
        cls, environment: jinja2.Environment, code: Any, globals: Any, uptodate: Any = None
    ) -> jinja2.Template:
        namespace: dict[str, Any] = {"environment": environment, "__file__": code.co_filename}
        exec(code, namespace)
        namespace |= {"_literal": Text, "str": printed, "str_join": _str_join}
        template = cls._from_namespace(environment, namespace, globals)
        template._uptodate = uptodate
        return template


class _Generation(jinja2.ext.Extension):
    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Any) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        call = self.call_method("_body")
        return nodes.CallBlock(call, [], [], body).set_lineno(line)

    def _body(self, caller: Any) -> Any:
        return caller()


class _Environment(jinja2.Environment):
    code_generator_class = _Generator
    template_class = _Template
    concat = staticmethod(lambda parts: join(Text(""), parts))


def _str_join(parts: Sequence[Any]) -> Text:
    return join(Text(""), [printed(part) for part in parts])


def _title(value: Any) -> Text:
    text = value if isinstance(value, Text) else printed(value)
    parts = jinja2.filters._word_beginning_split_re.split("".join(str.__iter__(text)))
    out = Text("")
    for part in text._split_at(parts, 0):
        out = out + part[:1].upper() + part[1:].lower()
    return out


def _indent(value: Any, width: Any = 4, first: bool = False, blank: bool = False) -> Text:
    pad = width if isinstance(width, str) else " " * width
    lines = (value + Text("\n")).splitlines()
    shown = [
        Text(pad, codes_of(pad)) + line if (line or blank) and number else line
        for number, line in enumerate(lines)
    ]
    out = join(Text("\n"), shown)
    return Text(pad, codes_of(pad)) + out if first else out


@jinja2.pass_eval_context
def _join(context: Any, value: Any, d: Any = "", attribute: Any = None) -> Text:
    if attribute is not None:
        value = map(jinja2.filters.make_attrgetter(context.environment, attribute), value)
    return join(printed(d), [printed(part) for part in value])


def _safe(value: Any) -> Safe:
    text = printed(value)
    return Safe("".join(str.__iter__(text)), text.codes)


def _raise(message: Any) -> None:
    raise jinja2.TemplateError(str(message))


@lru_cache(maxsize=512)
def _compiled(source: str) -> jinja2.Template:
    environment = _Environment(
        trim_blocks=True,
        lstrip_blocks=True,
        optimized=False,
        extensions=[_Generation, "jinja2.ext.loopcontrols"],
    )
    environment.filters |= {
        "tojson": dumps,
        "title": _title,
        "indent": _indent,
        "join": _join,
        "safe": _safe,
        "string": lambda v: v if isinstance(v, Text) else printed(v),
    }
    environment.globals |= {
        "raise_exception": _raise,
        "strftime_now": lambda form: Text(reference.FROZEN.strftime(str.__str__(form))),
        "dict": dict,
        "namespace": Namespace,
    }
    return environment.from_string(source)


class Rendered:
    """A rendering whose characters know their origin."""

    def __init__(self, text: str, codes: list[int], leaves: Leaves) -> None:
        self.text, self.codes, self.leaves = text, codes, leaves
        self._owner: list[tuple[int, tuple[str, ...]]] = [(EXTRA, ())] * leaves.next_code
        ends = [*leaves.starts, leaves.next_code][1:]
        for start, end, owner in zip(leaves.starts, ends, leaves.owners, strict=True):
            self._owner[start:end] = [owner] * (end - start)

    def owner(self, position: int) -> tuple[int, tuple[str, ...]] | None:
        """(message, path) of a character, or None where it is the template's own."""
        code = self.codes[position]
        return None if code == LITERAL else self._owner[code]


def _prepared(messages: Sequence[dict[str, Json]]) -> list[dict[str, Json]]:
    """What transformers does to messages first: nulls out, reasoning under both its names."""
    out = []
    for message in messages:
        kept = {key: value for key, value in message.items() if value is not None}
        names = ("reasoning_content", "thinking", "reasoning")
        reasoning = next((kept[name] for name in names if name in kept), None)
        if reasoning is not None:
            kept = {"thinking": reasoning, **kept, "reasoning_content": reasoning}
        out.append(kept)
    return out


def render(
    source: str,
    special: dict[str, str],
    messages: Sequence[dict[str, Json]],
    *,
    tools: list[Json] | None = None,
    add_generation_prompt: bool = False,
    kwargs: dict[str, Json] | None = None,
) -> Rendered:
    """The reference rendering with origins.

    Raises:
        Unjudgeable: the reference raises, or the two renderings differ.
    """
    try:
        expected = reference.render(
            source,
            special,
            messages,
            tools=tools,
            add_generation_prompt=add_generation_prompt,
            kwargs=kwargs,
        )
    except Exception as error:
        raise Unjudgeable(f"the reference raises {type(error).__name__}: {error}") from error
    leaves = Leaves()
    variables = {name: Text(value) for name, value in special.items()}
    marked = {k: mark(v, leaves, EXTRA, (k,)) for k, v in (kwargs or {}).items()}
    inputs = [mark(m, leaves, index) for index, m in enumerate(_prepared(messages))]
    schemas = None if tools is None else mark(tools, leaves, TOOLS, ("tools",))
    try:
        out = _compiled(source).render(
            messages=inputs,
            tools=schemas,
            documents=None,
            add_generation_prompt=add_generation_prompt,
            **{**variables, **marked},
        )
    except Exception as error:
        raise Unjudgeable(f"tainted rendering raises {type(error).__name__}: {error}") from error
    text = "".join(str.__iter__(out))
    if text != expected:
        raise Unjudgeable("the tainted rendering differs from the reference")
    return Rendered(text, codes_of(out), leaves)


CLOCK: datetime.datetime = reference.FROZEN
