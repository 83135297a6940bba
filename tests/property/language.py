"""Random small templates in the part of Jinja that chat templates use."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import strategies as st

Json = Any
VARIABLES: dict[str, Json] = {
    "s": "Hello, wörld\n  two ",
    "e": "",
    "t": "<think>\nab</think>\n\ncd<think>e</think>",
    "n": 7,
    "neg": -3,
    "f": 1.5,
    "big": 123456789012345678901234567890,
    "yes": True,
    "nil": None,
    "l": [3, 1, 2],
    "w": ["b", "A", "c", "b"],
    "d": {"b": 1, "a": "x<y>", "k": None, "n": {"q": [1, 2.0]}},
    "rows": [{"role": "x", "v": 2}, {"role": "y", "v": 1}, {"role": "x"}],
}
names = st.sampled_from([*VARIABLES, "missing", "messages", "x"])
strings = st.sampled_from(["", "a", " ", "\\n", "b<", "</think>", "l", "%s", "é", "'", ", "])
quoted = strings.map(lambda s: '"' + s + '"' if "'" in s else f"'{s}'")
numbers = st.sampled_from(["0", "1", "2", "-1", "3.0", "10"])
constants = st.one_of(quoted, numbers, st.sampled_from(["true", "False", "none", "[]", "{}"]))

FILTERS = [
    "tojson",
    "tojson(indent=2)",
    "tojson(ensure_ascii=True)",
    "length",
    "trim",
    "string",
    "join(', ')",
    "join",
    "safe",
    "items",
    "list",
    "upper",
    "lower",
    "title",
    "capitalize",
    "first",
    "last",
    "reverse",
    "sort",
    "unique|list",
    "min",
    "max",
    "int",
    "float",
    "abs",
    "round",
    "default('d')",
    "default('d', true)",
    "replace('l', 'L')",
    "indent(2)",
    "indent(2, true)",
    "dictsort",
    "map('upper')",
    "map(attribute='role')",
    "map(attribute='v', default=0)",
    "selectattr('role', 'equalto', 'x')",
    "selectattr('v', 'defined')",
    "rejectattr('v')",
    "select('string')",
    "reject('none')",
    "sum",
    "count",
    "batch(2)|list",
    "e",
    "xmlattr",
    "xmlattr(false)",
]
METHODS = [
    "strip()",
    "lstrip('H')",
    "rstrip()",
    "split()",
    "split('</think>')",
    "split('l', 1)",
    "rsplit('l', 1)",
    "splitlines()",
    "startswith('H')",
    "endswith(' ')",
    "replace('l', '')",
    "lower()",
    "upper()",
    "title()",
    "capitalize()",
    "find('l')",
    "index('l')",
    "count('l')",
    "get('a')",
    "get('zz', 'no')",
    "items()",
    "keys()",
    "values()",
    "format(1, 2)",
    "isdigit()",
    "append(1)",
    "pop()",
]
TESTS = [
    "defined",
    "undefined",
    "none",
    "string",
    "mapping",
    "iterable",
    "sequence",
    "number",
    "integer",
    "float",
    "boolean",
    "true",
    "false",
    "odd",
    "even",
    "equalto(1)",
    "in([1, 'a'])",
    "divisibleby(2)",
    "callable",
    "lower",
    "upper",
]
OPERATORS = ["+", "-", "*", "/", "//", "%", "~", "==", "!=", "<", "<=", ">", ">=", "in", "not in"]


def _grow(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    def form(pattern: str, *parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        return st.tuples(*parts).map(lambda values: pattern.format(*values))

    return st.one_of(
        form("{}|{}", inner, st.sampled_from(FILTERS)),
        form("({})|{}", inner, st.sampled_from(FILTERS)),
        form("({}).{}", inner, st.sampled_from(METHODS)),
        form("({}) {} ({})", inner, st.sampled_from(OPERATORS), inner),
        form("({}) is {}", inner, st.sampled_from(TESTS)),
        form("({}) is not {}", inner, st.sampled_from(TESTS)),
        form("({}) and ({})", inner, inner),
        form("({}) or ({})", inner, inner),
        form("not ({})", inner),
        form("({}) if ({}) else ({})", inner, inner, inner),
        form("({}) if ({})", inner, inner),
        form("({})[{}]", inner, inner),
        form(
            "({})[{}]",
            inner,
            st.sampled_from(["1:", ":-1", "::-1", "-1", "0", ":2", "'a'", "'role'"]),
        ),
        form("({}).{}", inner, st.sampled_from(["a", "n", "role", "zz", "_x"])),
        form("[{}, {}]", inner, inner),
        form("({}, {})", inner, inner),
        form("{{'k': {}, 'z': {}}}", inner, inner),
        form("range({})|list", st.sampled_from(["3", "1, 4", "5, 0, -2", "n"])),
        form("dict(a={})", inner),
    )


expressions = st.recursive(st.one_of(names, constants), _grow, max_leaves=5)
texts = st.sampled_from(["a", " b ", "\n", "\n\n", "  ", "é<|x|>", "\r\n"])
dashes = st.sampled_from(["", "", "-", "+"])


SHOWN = [
    "{{ loop.index0 }}",
    "{{ x }}",
    "{{ loop.last }}{{ loop.first }}",
    "{{ loop.previtem }}",
    "{% if loop.index == 2 %}{% break %}{% endif %}",
    "{% if loop.first %}{% continue %}{% endif %}",
]
WRAPPERS = ["upper", "trim", "indent(1)", "replace('a', 'b')"]
simple_dashes = st.sampled_from(["", "", "-"])


def _form(pattern: str, **parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Text with named holes written as <name>, because braces are the template's."""

    def fill(values: dict[str, str]) -> str:
        return re.sub(r"<(\w+)>", lambda hole: values.get(hole[1], hole[0]), pattern)

    return st.fixed_dictionaries(parts).map(fill)


def _statement(depth: int) -> st.SearchStrategy[str]:
    """A piece of a template."""
    marks = {"a": dashes, "b": dashes, "c": dashes, "d": dashes, "z": simple_dashes}
    parts = {**marks, "e": expressions}
    flat = [
        _form("{{<z> <e> <z>}}", **parts),
        texts,
        _form("{%<a> set x = <e> <z>%}", **parts),
        _form("{%<a> set q.y = <e> <z>%}{{ q.y }}", **parts),
    ]
    if depth > 1:
        return st.one_of(flat)
    inner = st.deferred(lambda: templates(depth + 1))
    nested = {**parts, "body": inner, "other": inner}
    loop = {
        **nested,
        "tail": st.sampled_from(["", " if x", " if x is defined"]),
        "shown": st.sampled_from(SHOWN),
    }
    return st.one_of(
        *flat,
        _form("{%<a> if <e> <b>%}<body>{% endif <d>%}", **nested),
        _form("{%<a> if <e> <b>%}<body>{%<c> else %}<other>{% endif <d>%}", **nested),
        _form("{%<a> for x in <e><tail> <b>%}<shown><body>{%<c> endfor <d>%}", **loop),
        _form("{%<a> for x in <e><tail> <b>%}<body>{% else %}<other>{% endfor %}", **loop),
        _form("{% set x <z>%}<body>{% endset <d>%}{{ x }}", **nested),
        _form(
            "{% filter <wrapper> <b>%}<body>{% endfilter <d>%}",
            **nested,
            wrapper=st.sampled_from(WRAPPERS),
        ),
        _form(
            "{%<a> macro g(x, y=2, k='d') <b>%}{{ x }}<body>{% endmacro %}{{ g(<e>, k=1) }}",
            **nested,
        ),
        _form("{% generation %}<body>{% endgeneration %}", **nested),
    )


@st.composite
def templates(draw: st.DrawFn, depth: int = 0) -> str:
    """A few pieces in a row."""
    pieces = draw(st.lists(_statement(depth), min_size=1, max_size=3 if depth else 4))
    head = "" if depth else "{% set q = namespace(y=0) %}"
    return head + "".join(pieces)
