"""Writes a tokenizer folder with a template's control tokens added.

A base model's tokenizer has no ``<|im_start|>``: a template that uses it would be tokenized as
seven ordinary tokens, which trains badly and stops never. This adds such strings as special
tokens, with ids after the last one, and leaves every other token as it was.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sftprep import hub
from sftprep.errors import ConfigError, OutputError, TokenizerError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# The form in which templates write control tokens that no ordinary text contains: <|im_start|>.
# Other forms ([INST], <start_of_turn>) also occur as ordinary text, so they are asked for by name.
_CONTROL = re.compile(r"<([|\uff5c])[\w\u2581./-]+\1>")


@dataclass(frozen=True, kw_only=True, slots=True)
class Added:
    """What was written."""

    out: Path
    """The new tokenizer folder."""
    added: dict[str, int]
    """Tokens that are new, with their ids."""
    present: dict[str, int]
    """Tokens that were there already, with their ids."""
    vocab_size: int
    """One more than the largest id: the rows that the model's embedding needs at least."""


def control_tokens(template: str) -> list[str]:
    """The control tokens that a template's source spells, in order, each once."""
    return list(dict.fromkeys(match[0] for match in _CONTROL.finditer(template)))


def add_tokens(
    tokenizer: str,
    out: str | Path,
    *,
    tokens: Sequence[str],
    chat_template: str | None = None,
    eos: str | None = None,
) -> Added:
    """Writes a copy of a tokenizer with special tokens added.

    Args:
        tokenizer: A folder, a ``tokenizer.json``, or a hub id.
        out: New folder; it must not exist, or be empty.
        tokens: Tokens to add.
        chat_template: Template source to store in the folder, if any.
        eos: Token to make the end-of-sequence token, if any; one of the tokens, old or new.

    Returns:
        The ids of the tokens.

    Raises:
        TokenizerError: if there is no ``tokenizer.json``, or it is damaged.
        ConfigError: if there is nothing to add, or ``eos`` is no token.
        OutputError: if the folder exists or cannot be written.
    """
    source = _tokenizer_json(tokenizer)
    data = _read_json(source)
    if not tokens or not all(tokens):
        raise ConfigError("there is no token to add", field="tokens")
    known = _ids(data, source)
    added, present = _extend(data, known, tokens)
    if eos is not None and eos not in known | added:
        raise ConfigError(f"{eos!r} is not a token", field="eos", hint="add it with --token")

    config = source.parent / "tokenizer_config.json"
    settings = _read_json(config) if config.exists() else {}
    _settle(settings, data, added, chat_template, eos)

    out = Path(out)
    files = {
        "tokenizer.json": json.dumps(data, ensure_ascii=False, indent=2),
        "tokenizer_config.json": json.dumps(settings, ensure_ascii=False, indent=2),
    }
    if chat_template is not None:
        files["chat_template.jinja"] = chat_template
    elif (source.parent / "chat_template.jinja").exists():
        files["chat_template.jinja"] = (source.parent / "chat_template.jinja").read_text("utf-8")
    _write(out, files)
    return Added(
        out=out,
        added=added,
        present=present,
        vocab_size=_checked(out / "tokenizer.json", added | present),
    )


def _tokenizer_json(tokenizer: str) -> Path:
    path = Path(hub.resolve(tokenizer))
    if path.is_dir():
        if not (path / "tokenizer.json").exists() and (path / "tokenizer.model").exists():
            raise TokenizerError(
                "the folder holds only a sentencepiece tokenizer.model",
                code="tokenizer.sentencepiece",
                path=str(path),
                hint="convert it once: AutoTokenizer.from_pretrained(dir).save_pretrained(dir)",
            )
        path = path / "tokenizer.json"
    if not path.exists():
        raise TokenizerError(
            "there is no tokenizer here",
            code="tokenizer.missing",
            path=str(path),
            hint="give a folder with tokenizer.json, a tokenizer.json, or a hub id",
        )
    return path


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise TokenizerError(f"the file does not load: {error}", path=str(path)) from error
    if not isinstance(data, dict):
        raise TokenizerError("the file is not a JSON object", path=str(path))
    return data


def _ids(data: dict[str, Any], path: Path) -> dict[str, int]:
    """Every token with its id: the model's, then the added ones, which win."""
    try:
        vocab = data["model"]["vocab"]
        # Unigram models list [token, score]; the place in the list is the id.
        pairs = (
            vocab.items()
            if isinstance(vocab, dict)
            else ((entry[0], index) for index, entry in enumerate(vocab))
        )
        ids = {str(token): int(id_) for token, id_ in pairs}
        ids.update((str(t["content"]), int(t["id"])) for t in data.get("added_tokens") or [])
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise TokenizerError(
            f"the vocabulary is not as in a tokenizer.json: {type(error).__name__}: {error}",
            path=str(path),
        ) from error
    return ids


def _extend(
    data: dict[str, Any], known: dict[str, int], tokens: Iterable[str]
) -> tuple[dict[str, int], dict[str, int]]:
    """Adds the tokens to ``data``; returns the new ones and those that were there."""
    entries = data.setdefault("added_tokens", []) or []
    data["added_tokens"] = entries
    by_content = {entry["content"]: entry for entry in entries}
    added: dict[str, int] = {}
    present: dict[str, int] = {}
    following = max(known.values(), default=-1) + 1
    for token in dict.fromkeys(tokens):
        if token in by_content:
            by_content[token]["special"] = True
            present[token] = known[token]
            continue
        # A string that is an ordinary token of the model keeps its id and becomes special.
        if token in known:
            present[token] = known[token]
        else:
            added[token] = following
            following += 1
        entries.append(
            {
                "id": present.get(token, added.get(token)),
                "content": token,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
        )
    entries.sort(key=lambda entry: int(entry["id"]))
    return added, present


def _settle(
    settings: dict[str, Any],
    data: dict[str, Any],
    added: dict[str, int],
    chat_template: str | None,
    eos: str | None,
) -> None:
    """Brings ``tokenizer_config.json`` into line with the new tokens."""
    settings.setdefault("tokenizer_class", "PreTrainedTokenizerFast")
    decoder = settings.get("added_tokens_decoder")
    if isinstance(decoder, dict):
        new = {id_: token for token, id_ in added.items()}
        for entry in data["added_tokens"]:
            if entry["id"] in new:
                kept = {key: value for key, value in entry.items() if key != "id"}
                decoder[str(entry["id"])] = kept
    if eos is not None:
        settings["eos_token"] = eos
    if chat_template is not None:
        settings["chat_template"] = chat_template


def _write(out: Path, files: dict[str, str]) -> None:
    try:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise OutputError(
                "the output exists and is not empty",
                code="output.exists",
                path=str(out),
                hint="choose another folder",
            )
        out.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (out / name).write_text(text, encoding="utf-8", newline="\n")
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(str(error), path=str(out)) from error


def _checked(path: Path, wanted: dict[str, int]) -> int:
    """Loads what was written and compares the ids: a loader numbers added tokens itself."""
    from sftprep import _core

    tokenizer = _core.Tokenizer.from_file(path)
    for token, id_ in wanted.items():
        seen = tokenizer.token_to_id(token)
        if seen != id_:
            raise TokenizerError(
                f"{token!r} was given the id {id_}, but loading the file gives {seen}; "
                "the vocabulary has gaps that a tokenizer.json cannot express",
                path=str(path),
            )
    return tokenizer.vocab_size
