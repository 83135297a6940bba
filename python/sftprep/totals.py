"""What became of every row and token, as tables for people."""

from __future__ import annotations

from sftprep.record import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from dataclasses import dataclass, field
    from typing import Any
else:
    from sftprep.record import dataclass, field


@dataclass(frozen=True, kw_only=True, slots=True)
class Totals:
    """Rows and tokens of one source, or of all.

    They balance: ``rows = packed + rejected + dropped`` and
    ``encoded = trained + context + cut + dropped_tokens``, the last ones summed over reasons.
    """

    rows: int = 0
    """Rows read."""
    packed: int = 0
    """Rows of which at least one document was packed."""
    rejected: dict[str, int] = field(default_factory=dict)
    """Rows that were bad, by code."""
    dropped: dict[str, int] = field(default_factory=dict)
    """Rows that were good but left out, by reason."""
    encoded: int = 0
    """Tokens that the tokenizer gave."""
    trained: int = 0
    """Tokens that have a label."""
    context: int = 0
    """Tokens that are packed without a label."""
    cut: dict[str, int] = field(default_factory=dict)
    """Tokens cut off packed rows, by reason."""
    dropped_tokens: dict[str, int] = field(default_factory=dict)
    """Tokens of rows that were rejected or dropped after tokenizing, by reason."""
    documents: int = 0
    """Documents packed."""

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Totals:
        """Totals from the core's JSON; keys of newer cores are ignored."""
        known = names(cls)
        return cls(**{key: value for key, value in data.items() if key in known})

    @property
    def rows_rejected(self) -> int:
        """Rows that were bad."""
        return sum(self.rejected.values())

    @property
    def rows_dropped(self) -> int:
        """Rows that were good but left out."""
        return sum(self.dropped.values())

    @property
    def balanced(self) -> bool:
        """Whether every row and every token is accounted for."""
        rows = self.packed + self.rows_rejected + self.rows_dropped
        lost = sum(self.cut.values()) + sum(self.dropped_tokens.values())
        return (self.rows, self.encoded) == (rows, self.trained + self.context + lost)


def table(totals: Totals) -> list[str]:
    """The balance of rows and tokens, reasons indented."""
    lines: list[str] = []

    def line(name: str, count: int, reasons: Mapping[str, int] | None = None) -> None:
        lines.append(f"{name:<30}{count:>16,}")
        lines.extend(f"    {code:<26}{part:>16,}" for code, part in (reasons or {}).items())

    line("rows read", totals.rows)
    line("  packed", totals.packed)
    line("  rejected", totals.rows_rejected, totals.rejected)
    line("  dropped", totals.rows_dropped, totals.dropped)
    line("tokens encoded", totals.encoded)
    line("  trained", totals.trained)
    line("  context", totals.context)
    line("  cut", sum(totals.cut.values()), totals.cut)
    line("  dropped", sum(totals.dropped_tokens.values()), totals.dropped_tokens)
    return lines


def by_source(totals: Iterable[tuple[str, Totals]]) -> list[str]:
    """One line per source."""
    heads = ("source", "rows", "packed", "rejected", "dropped", "tokens", "trained", "share")
    rows: list[tuple[str, ...]] = [heads]
    for name, each in totals:
        packed = each.trained + each.context
        share = f"{each.trained / packed:.1%}" if packed else "-"
        counts = (each.rows, each.packed, each.rows_rejected, each.rows_dropped, packed)
        rows.append((name, *(f"{count:,}" for count in (*counts, each.trained)), share))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if at == 0 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def counted(number: int, noun: str) -> str:
    """A number with its noun: ``1 row``, ``2,000 rows``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def balance_line(ranks: int, imbalance: float, before: float) -> str:
    """How equal the work of the ranks is, for people."""
    return (
        f"steps of {ranks:,} rows: the costliest row has {imbalance:.3f} of the mean cost, "
        f"{before:.3f} before balancing"
    )


def packing_line(packing: Mapping[str, Any]) -> str:
    """How full the packed rows are, in one line."""
    room = f"of at most {packing['max_len']:,} tokens by {packing['strategy']}"
    if not packing["rows"]:
        return f"no row {room}: nothing was left to pack"
    return (
        f"{counted(packing['rows'], 'row')} {room}: {float(packing['fill'] or 0):.3%} full, "
        f"lower bound {counted(packing['lower_bound'], 'row')}, "
        f"gap {float(packing['gap'] or 0):.3%}"
    )
