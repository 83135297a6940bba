"""Tokenizers by hub id: ``org/name`` becomes a local folder.

Only tokenizer files are fetched, never weights and never code. A path that exists always wins, so
nothing is fetched by accident for a folder that happens to look like an id.
"""

from __future__ import annotations

from sftprep.errors import TokenizerError

_HUB_ID = r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w./-]+)?"

# `tokenizer.model` is asked for only to say clearly that a repository has nothing else.
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "generation_config.json",
    "chat_template.jinja",
    "chat_template.json",
    "additional_chat_templates/*.jinja",
    "tokenizer.model",
)


def is_hub_id(name: str) -> bool:
    """Whether a tokenizer name is a hub id (``org/name`` or ``org/name@revision``), not a path."""
    if "/" not in name[1:] or name.startswith("/") or name.endswith(".json"):
        return False
    import re
    from pathlib import Path

    return bool(re.fullmatch(_HUB_ID, name, re.ASCII)) and not Path(name).exists()


def resolve(name: str) -> str:
    """The local folder of a hub id; every other name is returned as it is.

    The cache, the token and offline mode are those of ``huggingface_hub`` (``HF_HOME``,
    ``HF_TOKEN``, ``HF_HUB_OFFLINE``).

    Raises:
        TokenizerError: with code ``tokenizer.hub`` if it cannot be fetched.
    """
    if not is_hub_id(name):
        return name
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise _failed(
            name, "fetching from the hub needs the extra 'hub'", 'pip install "sftprep[hub]"'
        ) from error
    repository, _, revision = name.partition("@")
    try:
        folder = snapshot_download(
            repository, revision=revision or None, allow_patterns=list(TOKENIZER_FILES)
        )
    # huggingface_hub raises errors of its own, of its HTTP library and of the operating system;
    # the set changes between versions, and all of them mean the same here.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise _failed(
            name,
            f"{type(error).__name__}: {_shortened(reason)}",
            "check the id and the network, or fetch it elsewhere and give the local folder",
        ) from error
    from pathlib import Path

    if not any(Path(folder).glob("*")):
        raise _failed(name, "the repository has no tokenizer files", "check the id")
    return str(folder)


def _failed(name: str, reason: str, hint: str) -> TokenizerError:
    return TokenizerError(
        f"{name!r} is not a local path, and as a hub id it cannot be fetched: {reason}",
        code="tokenizer.hub",
        field="template.tokenizer",
        hint=hint,
    )


def _shortened(text: str, limit: int = 200) -> str:
    return text if len(text) <= limit else f"{text[:limit]}…"
