"""Arithmetic on columns: ``complexity * quality``, ``-ifd``, ``(a + 2 * b) / c``."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sftprep.errors import ConfigError

Values = NDArray[np.float64]

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_LONGEST = 1_000


@dataclass(frozen=True, slots=True)
class Expression:
    """A formula on columns."""

    text: str
    names: tuple[str, ...]
    """Columns that it needs, in the order in which they occur."""
    tree: ast.expr

    def values(self, columns: Mapping[str, Values]) -> Values:
        """Its value per row; NaN where a column has none, or where it is not finite."""
        with np.errstate(all="ignore"):
            found = np.asarray(self._value(self.tree, columns), dtype=np.float64)
        found = np.where(np.isfinite(found), found, np.nan)
        return found

    def _value(self, node: ast.expr, columns: Mapping[str, Values]) -> Any:  # noqa: ANN401 - or a number
        if isinstance(node, ast.BinOp):
            left, right = self._value(node.left, columns), self._value(node.right, columns)
            return _BINARY[type(node.op)](left, right)
        if isinstance(node, ast.UnaryOp):
            value = self._value(node.operand, columns)
            return -value if isinstance(node.op, ast.USub) else value
        if isinstance(node, ast.Constant):
            return np.float64(node.value)  # type: ignore[arg-type] # `parse` lets numbers through only
        return columns[_name(node) or ""]


def parse(text: str, field: str) -> Expression:
    """The formula that a text writes.

    Raises:
        ConfigError: if it is none; ``field`` says where it stands.
    """
    try:
        if len(text) > _LONGEST:
            raise SyntaxError
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise _wrong(text, field, "it is no formula") from None
    names: list[str] = []
    _check(tree, text, field, names)
    return Expression(text, tuple(dict.fromkeys(names)), tree)


def _check(node: ast.expr, text: str, field: str, names: list[str]) -> None:
    name = _name(node)
    if name is not None:
        names.append(name)
    elif isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        _check(node.left, text, field, names)
        _check(node.right, text, field, names)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        _check(node.operand, text, field, names)
    elif not (isinstance(node, ast.Constant) and type(node.value) in {int, float}):
        raise _wrong(text, field, f"{ast.unparse(node)!r} is neither a column nor a number")


def _name(node: ast.expr) -> str | None:
    """A column, whose name may have dots."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = _name(node.value)
        return None if before is None else f"{before}.{node.attr}"
    return None


def _wrong(text: str, field: str, why: str) -> ConfigError:
    return ConfigError(
        f"{text!r}: {why}",
        field=field,
        hint="name a column, or write + - * / and brackets between columns: complexity*quality",
    )
