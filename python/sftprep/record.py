"""Frozen records: what ``dataclasses`` makes of a class, without its price at start-up.

``dataclasses`` imports ``inspect`` and compiles six functions for each class: for the ten classes
of a run, a twentieth of the time in which 12,000 rows are read, tokenized and packed. A record is
written as a frozen data class, and is one for type checkers::

    if TYPE_CHECKING:
        from dataclasses import asdict, dataclass, field, replace
    else:
        from sftprep.record import asdict, dataclass, field, replace

It is one for everybody else too: ``dataclasses.fields``, ``replace`` and ``asdict``, and
``inspect.signature``, find what they look for, which is made when they look.

Modules that every command imports leave out ``typing`` for the same reason: type checkers take any
variable named ``TYPE_CHECKING`` for true.
"""

from __future__ import annotations

from types import GenericAlias

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Literal:
    """Stands in for ``typing.Literal``: ``Literal["a", "b"].__args__`` are the choices."""

    def __class_getitem__(cls, choices: Any) -> GenericAlias:  # noqa: ANN401 - one, or a tuple
        return GenericAlias(cls, choices)


class _Factory:
    """A default that is made anew for each record."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make


class _Missing:
    """Stands where a field has no default."""


class _OfTwin:
    """An attribute of a record's class that the data class of the same fields is asked for."""

    def __init__(self, ask: Callable[[Any], Any]) -> None:
        self.ask = ask

    def __set_name__(self, _owner: type, name: str) -> None:
        self.name = name

    def __get__(self, _record: object, kind: type[Record]) -> Any:  # noqa: ANN401 - whatever it is
        if kind is Record:
            raise AttributeError(self.name)
        value = self.ask(_twin(kind))
        setattr(kind, self.name, value)
        return value


def _twin(kind: type[Record]) -> type:
    import dataclasses

    def default(value: object) -> Any:  # noqa: ANN401 - a field, which stubs take for its default
        if isinstance(value, _Factory):
            return dataclasses.field(default_factory=value.make)
        return dataclasses.field() if value is _Missing else dataclasses.field(default=value)

    fields = [
        (name, kind.__annotations__[name], default(it)) for name, it in kind._defaults.items()
    ]
    return dataclasses.make_dataclass(kind.__name__, fields, frozen=True, kw_only=True, slots=True)


def _signature(twin: type) -> Any:  # noqa: ANN401 - of `inspect`, which is not imported yet
    import inspect

    return inspect.signature(twin)


class Record:
    """Base of the records."""

    __slots__ = ()
    __match_args__ = ()
    __dataclass_fields__ = _OfTwin(lambda twin: twin.__dataclass_fields__)
    __signature__ = _OfTwin(_signature)
    _defaults: dict[str, Any] = {}  # noqa: RUF012 - ClassVar is of typing

    def __init__(self, **given: Any) -> None:  # noqa: ANN401 - as the fields have it
        kind = type(self)
        for name, default in kind._defaults.items():
            value = given.pop(name, default)
            if value is _Missing:
                raise TypeError(f"{kind.__name__} needs a value of {name!r}")
            object.__setattr__(self, name, value.make() if isinstance(value, _Factory) else value)
        if given:
            raise TypeError(f"{kind.__name__} has no field {next(iter(given))!r}")

    def __setattr__(self, name: str, _value: object) -> None:
        raise _frozen(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> None:
        raise _frozen(f"cannot delete field {name!r}")

    def __eq__(self, other: object) -> bool:
        return values(self) == values(other) if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(values(self).values()))

    def __repr__(self) -> str:
        inside = ", ".join(f"{name}={value!r}" for name, value in values(self).items())
        return f"{type(self).__qualname__}({inside})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), values(self))

    def __replace__(self, **changes: Any) -> Record:  # noqa: ANN401 - as the fields have it
        return type(self)(**{**values(self), **changes})


def _rebuild(kind: type[Record], of: dict[str, Any]) -> Record:
    return kind(**of)


def _frozen(message: str) -> AttributeError:
    from dataclasses import FrozenInstanceError

    return FrozenInstanceError(message)


def dataclass(*, frozen: bool, kw_only: bool, slots: bool) -> Callable[[type[Any]], type[Record]]:
    """Makes a record of a class; all options have to be true, and say so to the reader."""
    if not (frozen and kw_only and slots):
        raise TypeError("a record is frozen, takes keywords only, and has slots")
    return _record


def _record(kind: type[Any]) -> type[Record]:
    fields = kind.__annotations__
    of = {name: part for name, part in vars(kind).items() if name not in fields}
    del of["__dict__"], of["__weakref__"]
    of["__slots__"] = tuple(fields)
    of["_defaults"] = {name: getattr(kind, name, _Missing) for name in fields}
    return type(kind.__name__, (Record,), of)


def field(*, default_factory: Callable[[], Any]) -> Any:  # noqa: ANN401 - stands for the value
    """The default of a field that is made for each record."""
    return _Factory(default_factory)


def names(kind: type[Any]) -> tuple[str, ...]:
    """The fields of a record or of its class, in order."""
    return tuple(kind._defaults)


def values(record: Any) -> dict[str, Any]:  # noqa: ANN401 - a record
    """The fields of a record with their values."""
    return {name: getattr(record, name) for name in record._defaults}


def replace(record: Any, **changes: Any) -> Any:  # noqa: ANN401 - of the same class
    """The record with other values in some fields."""
    return record.__replace__(**changes)


def asdict(value: Any) -> Any:  # noqa: ANN401 - a record, and what is in it
    """A record as plain dictionaries and lists, which it shares nothing with."""
    if isinstance(value, Record):
        return {name: asdict(part) for name, part in values(value).items()}
    if isinstance(value, dict):
        return {asdict(key): asdict(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(asdict(part) for part in value)
    return value
