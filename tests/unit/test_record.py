from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle

import pytest

from sftprep import record
from sftprep.api import PackReport
from sftprep.config import OutputConfig, PackConfig, SourceConfig
from sftprep.progress import Progress
from sftprep.totals import Totals

OPTIONS = {"frozen": True, "kw_only": True, "slots": True}
KINDS = (SourceConfig, OutputConfig, PackConfig, Totals, Progress, PackReport)


class Plain:
    """A class as it is before it becomes one or the other."""

    name: str
    size: int = 3
    parts: list[str] = dataclasses.field(default_factory=list)

    def twice(self) -> int:
        """Methods stay."""
        return 2 * self.size


def pair() -> tuple[type, type]:
    """The data class and the record of the same fields."""
    body = {name: part for name, part in vars(Plain).items() if not name.startswith("__dict")}
    body.pop("__weakref__")
    ours = body | {"parts": record.field(default_factory=list), "__qualname__": "Plain"}
    of = {**body, "parts": dataclasses.field(default_factory=list)}
    theirs = dataclasses.dataclass(**OPTIONS)(type("Plain", (), of))  # type: ignore[call-overload]
    return theirs, record.dataclass(**OPTIONS)(type("Plain", (), ours))


def test_a_record_is_what_a_data_class_is() -> None:
    theirs, ours = pair()
    for kind in (theirs, ours):
        one = kind(name="a")
        assert (one.name, one.size, one.parts, one.twice()) == ("a", 3, [], 6)
        assert one == kind(name="a", size=3)
        assert one != kind(name="a", size=4)
        assert one != theirs(name="a") or kind is theirs
        assert one.parts is not kind(name="a").parts
        assert repr(one) == "Plain(name='a', size=3, parts=[])"
        assert kind.__doc__ == Plain.__doc__
        assert kind.__module__ == __name__
        assert dataclasses.is_dataclass(one)
        assert [f.name for f in dataclasses.fields(one)] == ["name", "size", "parts"]
        assert dataclasses.replace(one, size=5) == kind(name="a", size=5)
        assert dataclasses.asdict(one) == {"name": "a", "size": 3, "parts": []}
        assert copy.deepcopy(one) == one
        with pytest.raises(dataclasses.FrozenInstanceError, match="size"):
            one.size = 1
        with pytest.raises(dataclasses.FrozenInstanceError, match="size"):
            del one.size
        with pytest.raises((AttributeError, TypeError)):
            one.other = 1
        with pytest.raises(TypeError, match="name"):
            kind()
        with pytest.raises(TypeError, match="other"):
            kind(name="a", other=1)
        with pytest.raises(TypeError):
            kind("a")
        with pytest.raises(TypeError):
            hash(one)
    assert str(inspect.signature(ours)) == str(inspect.signature(theirs))
    assert hash(ours(name="a", parts=())) == hash(ours(name="a", parts=()))


@pytest.mark.parametrize("kind", KINDS)
def test_records_of_the_package(kind: type) -> None:
    one = kind()
    assert pickle.loads(pickle.dumps(one)) == one
    assert dataclasses.asdict(one) == record.asdict(one)
    assert tuple(f.name for f in dataclasses.fields(one)) == record.names(kind)
    assert "_" not in {name[0] for name in inspect.signature(kind).parameters}


def test_a_copy_shares_nothing() -> None:
    config = PackConfig()
    config.to_dict()["source"]["inputs"].append("x")
    assert config == PackConfig()


def test_other_kinds_are_refused() -> None:
    with pytest.raises(TypeError, match="frozen"):
        record.dataclass(frozen=False, kw_only=True, slots=True)
