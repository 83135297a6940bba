from __future__ import annotations

import pickle

import pytest

from sftprep import _core, errors
from sftprep.errors import SftprepError, build, class_of

CODES = [code for code, *_ in _core.codes()]
CLASSES = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, SftprepError)
]


@pytest.mark.parametrize("code", CODES)
def test_the_core_raises_the_class_of_the_code_with_everything_it_knows(code: str) -> None:
    with pytest.raises(SftprepError) as caught:
        _core._provoke(code)
    error = caught.value
    assert type(error) is class_of(code)
    assert type(error) is not SftprepError
    assert error.as_dict() == {
        "code": code,
        "path": "data/chat.jsonl",
        "line": 7,
        "field": "messages[2].role",
        "hint": "do nothing",
    }
    assert str(error) == (
        f"[{code}]: provoked\n  --> data/chat.jsonl:7\n  field: messages[2].role\n"
        "  hint: do nothing"
    )


def test_a_panic_becomes_an_internal_error() -> None:
    with pytest.raises(errors.InternalError, match="the core panicked: provoked") as caught:
        _core._provoke("panic")
    assert caught.value.code == "run.internal"
    assert caught.value.hint is not None


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_class_pickles_with_its_attributes(kind: type[SftprepError]) -> None:
    error = kind("seen 1, wanted 2", path="a.jsonl", line=3, field="f", hint="do that")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert (copy.message, copy.as_dict(), str(copy)) == (
        error.message,
        error.as_dict(),
        str(error),
    )


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_default_code_exists_and_belongs_to_its_class(kind: type[SftprepError]) -> None:
    assert kind.default_code in CODES
    if kind is not SftprepError:
        assert class_of(kind.default_code) is kind


def test_standard_classes_catch_what_they_should() -> None:
    assert isinstance(build("source.missing", "m"), OSError)
    assert isinstance(build("output.io", "m"), OSError)
    for code in ("config.value", "row.json", "format.role", "template.raised", "shard.corrupt"):
        assert isinstance(build(code, "m"), ValueError)


def test_every_code_has_a_page_and_an_exit_code() -> None:
    documented = {1, 2, 3, 4, 5, 6, 130}
    for code, exit_code, *page in _core.codes():
        assert exit_code in documented, code
        assert all(len(text) > 2 for text in page), code
