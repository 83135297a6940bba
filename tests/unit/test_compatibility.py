"""The differences that COMPATIBILITY.md lists are those that there are."""

from __future__ import annotations

from pathlib import Path

import pytest

import sftprep

PAGE = Path(__file__).resolve().parents[2] / "COMPATIBILITY.md"
REFUSED = {
    "pprint": "{{ 'a'|pprint }}",
    "random": "{{ [1]|random }}",
    "striptags": "{{ 'a'|striptags }}",
    "urlize": "{{ 'a'|urlize }}",
    "wordwrap": "{{ 'a'|wordwrap }}",
    "encode": "{{ 'a'.encode() }}",
    "translate": "{{ 'a'.translate({}) }}",
    "maketrans": "{{ 'a'.maketrans({}) }}",
    "to_bytes": "{{ (1).to_bytes(1, 'big') }}",
    "lipsum()": "{{ lipsum() }}",
    "autoescape true": "{% autoescape true %}{% endautoescape %}",
    "N{NAME}": "{{ '\\N{DASH}' }}",
    "past 128 bits": "{{ 2**200 }}",
    "include": "{% include 'x' %}",
    "extends": "{% extends 'x' %}",
    "import": "{% import 'x' as y %}",
}
RENDERED = {
    "{{ self }}": "",
    "{{ '<'|escape }}{{ '<'|safe }}": "&lt;<",
    "{{ 99999999999999999999999999999999999999999999 }}": "9" * 44,
    "{% autoescape false %}{{ '<' }}{% endautoescape %}": "<",
    "{{ cycler(1) }}": "<Cycler object>",
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_not_supported_is_refused_and_listed(what: str) -> None:
    assert what in PAGE.read_text("utf-8")
    with pytest.raises(sftprep.TemplateError):
        sftprep.ChatTemplate(REFUSED[what]).render([{"role": "user", "content": "x"}])


@pytest.mark.parametrize("source", RENDERED)
def test_what_is_said_to_work_works(source: str) -> None:
    rendered = sftprep.ChatTemplate(source).render([{"role": "user", "content": "x"}])
    assert rendered == RENDERED[source]
