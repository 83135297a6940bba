"""The options of :func:`sftprep.pack` for type checkers; nothing imports it when it runs."""

from __future__ import annotations

from typing import Any, TypedDict

from sftprep.config import (
    AppendEos,
    Boundary,
    Dropped,
    Format,
    History,
    Overlong,
    Parts,
    SpecialText,
    Stop,
    Strategy,
)


class PackOptions(TypedDict, total=False):
    """The options of :func:`pack` beside its named arguments; ``sftprep pack --help`` explains."""

    format: Format
    map: dict[str, str]
    role: dict[str, str]
    tree: dict[str, str]
    parts: Parts
    limit: int
    max_reject_rate: float
    max_line_bytes: int
    chat_template: str
    template_kwargs: dict[str, Any]
    date: str
    train_on: str
    history: History
    dropped: Dropped
    reasoning: bool
    tool_calls: bool
    stop: Stop
    special_text: SpecialText
    boundary: Boundary
    append_eos: AppendEos
    assistant_header: str
    assistant_stop: str
    strategy: Strategy
    overlong: Overlong
    seed: int
    balance: int
    shard_bytes: int
    overwrite: bool
    reject_excerpts: bool
    dry_run: bool
    threads: int
    task_bytes: int
    resume: bool
    memory: int
