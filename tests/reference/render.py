"""The reference rendering: transformers' own renderer, called as `apply_chat_template` calls it.

The clock that templates read is frozen, so that a rendering is the same on every day.
"""

from __future__ import annotations

import csv
import datetime
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")

import transformers.utils.chat_template_utils as chat_utils

FROZEN = datetime.datetime(2025, 6, 30, 12, 34, 56)
"""What the clock says; give the product the same with `date`."""
FROZEN_DATE = "2025-06-30T12:34:56"

Json = Any


class _Clock(datetime.datetime):
    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:  # type: ignore[override]
        return FROZEN


vars(chat_utils)["datetime"] = _Clock


@dataclass(frozen=True)
class Template:
    """A chat template with what its tokenizer would pass into it."""

    name: str
    source: str
    special: dict[str, str]


def render(
    template: str,
    special: dict[str, str],
    messages: Sequence[dict[str, Json]],
    *,
    tools: list[Json] | None = None,
    add_generation_prompt: bool = False,
    kwargs: dict[str, Json] | None = None,
) -> str:
    """One rendering as text; whatever the template raises is passed on."""
    kept = [{k: v for k, v in m.items() if v is not None} for m in messages]
    rendered = chat_utils.render_jinja_template(
        conversations=[kept],
        tools=tools,
        documents=None,
        chat_template=template,
        add_generation_prompt=add_generation_prompt,
        **{**special, **(kwargs or {})},
    )
    return str(rendered[0][0])


def shared_templates(folder: Path) -> list[Template]:
    """The templates that INDEX.tsv of that folder lists, byte for byte."""
    out = []
    with (folder / "INDEX.tsv").open(encoding="utf-8", newline="") as index:
        for row in csv.DictReader(index, delimiter="\t", quoting=csv.QUOTE_NONE):
            names = ("bos_token", "eos_token", "unk_token", "pad_token")
            special = {name: row[name] for name in names if row.get(name)}
            source = (folder / row["file"]).read_bytes().decode("utf-8")
            out.append(Template(row["file"], source, special))
    return out


def shared_conversations(path: Path) -> list[dict[str, Json]]:
    """The hard conversations; their text holds line separators other than LF."""
    lines = path.read_bytes().decode("utf-8").split("\n")
    return [json.loads(line) for line in lines if line]


def tokenizer_template(folder: Path, has_tools: bool) -> Template | None:
    """The template and special tokens of a tokenizer folder, as transformers picks them."""
    config_path = folder / "tokenizer_config.json"
    config = json.loads(config_path.read_text("utf-8")) if config_path.is_file() else {}
    special = {}
    for name in ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token"):
        value = config.get(name)
        if isinstance(value, dict):
            value = value.get("content")
        if isinstance(value, str) and value:
            special[name] = value
    own = folder / "chat_template.jinja"
    source = own.read_text("utf-8") if own.is_file() else config.get("chat_template")
    if isinstance(source, list):
        named = {entry["name"]: entry["template"] for entry in source}
        source = named.get("tool_use") if has_tools and "tool_use" in named else named["default"]
    return Template(folder.name, source, special) if source else None


def pairs(
    templates: Sequence[Template], conversations: Sequence[dict[str, Json]]
) -> Iterator[tuple[Template, dict[str, Json]]]:
    """Every template with every conversation."""
    for template in templates:
        for conversation in conversations:
            yield template, conversation
