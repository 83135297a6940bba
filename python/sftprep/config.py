"""The options of a run, mirrored from the Rust core, which validates them once more.

Five frozen sections make a :class:`PackConfig`; it crosses to the core as one JSON string and
lands in the manifest, so that ``sftprep pack INPUT... --config packs/sftprep.manifest.json``
repeats a run: the manifest knows everything but where the inputs lie.
A test compares names, types, choices and defaults on both sides.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from sftprep.errors import ConfigError, SourceError
from sftprep.record import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dataclasses import asdict, dataclass, field, replace
    from pathlib import Path
    from typing import Any, Literal
else:
    from sftprep.record import Literal, asdict, dataclass, field, replace

Format = Literal[
    "auto", "messages", "sharegpt", "alpaca", "prompt_completion", "text", "pretokenized", "oasst"
]
Parts = Literal["auto", "join", "raw"]
History = Literal["per_turn", "allow", "refuse"]
Dropped = Literal["refuse", "allow"]
Stop = Literal["turn", "last", "none"]
SpecialText = Literal["as_text", "refuse", "as_transformers"]
Boundary = Literal["hf", "inference"]
AppendEos = Literal["auto", "always", "never"]
Strategy = Literal["bfd", "bfd_split", "first_fit", "sequential", "wrapped", "none"]
Overlong = Literal["window", "drop_oldest_turns", "drop", "truncate", "error"]

MANIFEST_NAME = "sftprep.manifest.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceConfig:
    """What to read."""

    inputs: list[str] = field(default_factory=list)
    """Inputs: ``path`` or ``name=path``; a path is a file, a folder, a pattern or ``-`` (stdin)."""
    format: Format = "auto"
    """Row format, or ``auto`` to detect it per source."""
    map: dict[str, str] = field(default_factory=dict)
    """Column mapping: field that the format wants -> column in the file."""
    role: dict[str, str] = field(default_factory=dict)
    """Role mapping: role in the file -> system, developer, user, assistant or tool."""
    tree: dict[str, str] = field(default_factory=dict)
    """What to take of message trees: rule -> value, such as ``{"threads": "best"}``."""
    parts: Parts = "auto"
    """What to do with a message's content that is a list of parts."""
    limit: int = 0
    """Stop after that many rows (0: all)."""
    max_reject_rate: float = 0.05
    """Share of rows that may be rejected, judged after 100 rows and at the end."""
    max_line_bytes: int = 64 << 20
    """Longest line in bytes; a longer one is rejected and skipped."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TemplateConfig:
    """How to render and tokenize."""

    tokenizer: str = ""
    """A folder, a ``tokenizer.json``, or ``builtin``."""
    chat_template: str = ""
    """A file, the template itself, or a built-in name; empty: the tokenizer's own."""
    kwargs: dict[str, Any] = field(default_factory=dict)
    """Global ``chat_template_kwargs``; a row's own win."""
    date: str = ""
    """``YYYY-MM-DD`` or ``YYYY-MM-DDTHH:MM:SS`` that templates see; empty: today, recorded."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelConfig:
    """What to train on."""

    train_on: str = "assistant"
    """Which turns: a role, several with commas between, or ``last_turn``."""
    history: History = "per_turn"
    """What to do where the template leaves out reasoning of turns that others follow."""
    dropped: Dropped = "refuse"
    """What to do where it leaves out any other field of a trained turn."""
    reasoning: bool = True
    """Train reasoning that the template keeps."""
    tool_calls: bool = True
    """Train tool calls."""
    stop: Stop = "turn"
    """Which stop tokens."""
    special_text: SpecialText = "as_text"
    """What to do with text of a row that spells a control token."""
    boundary: Boundary = "hf"
    """How text is tokenized where an answer begins: as one text, or as inference goes on."""
    append_eos: AppendEos = "auto"
    """Whether raw rows end with the tokenizer's eos token."""
    assistant_header: str = ""
    """Literal text that ends where an assistant's turn begins, if the template proves no start."""
    assistant_stop: str = ""
    """Literal text that ends such a turn; goes with the header."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PackingConfig:
    """How to pack."""

    max_len: int = 4096
    """Tokens per packed sequence, at most."""
    strategy: Strategy = "bfd"
    """Packing strategy."""
    overlong: Overlong = "window"
    """What to do with rows longer than ``max_len``."""
    seed: int = 0
    """Seed of the order in which documents of equal length are placed."""
    balance: int = 0
    """Rows that all ranks together read in a step: they get rows of like cost (0: any rows)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputConfig:
    """Where to write, and with what."""

    dir: str = ""
    """Output folder."""
    shard_bytes: int = 256 << 20
    """Size of a shard in bytes, about."""
    overwrite: bool = False
    """Replace an existing output."""
    reject_excerpts: bool = False
    """Put the text of rejected rows into ``rejects.jsonl``."""
    dry_run: bool = False
    """Plan and count only; write nothing."""
    threads: int = 0
    """Worker threads (0: all cores)."""
    task_bytes: int = 0
    """Bytes of input per task, rounded up to a power of two (0: chosen from the inputs' sizes)."""
    resume: bool = False
    """Go on with what a run with the same options left."""
    memory: int = 0
    """Memory of the process in bytes, at most (0: not limited)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PackConfig:
    """Everything that a ``pack`` run needs to know."""

    source: SourceConfig = field(default_factory=SourceConfig)
    """What to read."""
    template: TemplateConfig = field(default_factory=TemplateConfig)
    """How to render and tokenize."""
    label: LabelConfig = field(default_factory=LabelConfig)
    """What to train on."""
    pack: PackingConfig = field(default_factory=PackingConfig)
    """How to pack."""
    output: OutputConfig = field(default_factory=OutputConfig)
    """Where to write."""

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> PackConfig:
        """Builds a configuration from nested mappings; missing keys keep their defaults.

        Raises:
            ConfigError: if a key is unknown, or a value has the wrong type.
        """
        return merge(cls(), data)

    @classmethod
    def from_file(cls, path: str | Path) -> PackConfig:
        """Reads a TOML or JSON configuration, or the one inside a manifest.

        Raises:
            SourceError: if the file cannot be read.
            ConfigError: if it is not a configuration.
        """
        return merge(cls(), read_file(path))

    def to_dict(self) -> dict[str, Any]:
        """Nested plain dictionaries, as they stand in the manifest."""
        return asdict(self)

    def to_json(self) -> str:
        """The string that crosses to the core.

        Raises:
            ConfigError: if a value, such as a template argument, is not JSON.
        """
        try:
            return json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"the configuration is not plain JSON: {error}") from error


SECTIONS: dict[str, type[Any]] = {
    "source": SourceConfig,
    "template": TemplateConfig,
    "label": LabelConfig,
    "pack": PackingConfig,
    "output": OutputConfig,
}

# Names that differ between `sftprep.pack(...)` and the sections, because the bare field name would
# say too little there.
_RENAMED = {"dir": "out", "kwargs": "template_kwargs"}

OPTIONS: dict[str, tuple[str, str]] = {
    _RENAMED.get(name, name): (section, name)
    for section, kind in SECTIONS.items()
    for name in names(kind)
}
"""Option name -> (section, field)."""


def choices(section: str, name: str) -> tuple[str, ...]:
    """The values that an option with a fixed list allows; empty for the others."""
    return _choices(_hints(section)[name])


def merge(config: PackConfig, data: Mapping[str, Any]) -> PackConfig:
    """`config` with the given keys replaced, section by section.

    Raises:
        ConfigError: if a key is unknown, or a value has the wrong type.
    """
    changed: dict[str, Any] = {}
    for section, values in data.items():
        _known(section, SECTIONS, "")
        if not isinstance(values, Mapping):
            raise ConfigError(
                f"{section} is {_describe(values)}, it must be an object", field=section
            )
        for name, value in values.items():
            _known(name, _hints(section), f"{section}.")
            _check(f"{section}.{name}", value, _hints(section)[name])
        old = getattr(config, section)
        # Mappings (columns, roles, template arguments) are merged key by key.
        united = {
            name: {**getattr(old, name), **value} if isinstance(value, dict) else value
            for name, value in values.items()
        }
        changed[section] = replace(old, **united)
    return replace(config, **changed)


def nest(options: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Flat options of :func:`sftprep.pack` as nested sections.

    Raises:
        ConfigError: if there is no such option.
    """
    nested: dict[str, dict[str, Any]] = {}
    for option, value in options.items():
        _known(option, OPTIONS, "")
        section, name = OPTIONS[option]
        nested.setdefault(section, {})[name] = value
    return nested


def json_of(options: Mapping[str, Any]) -> str:
    """The configuration of flat options as JSON, for work that reads no input.

    Raises:
        ConfigError: if an option is unknown, or has the wrong type.
    """
    return merge(PackConfig(), nest({"inputs": ["-"], **options})).to_json()


def read_file(path: str | Path) -> dict[str, Any]:
    """The nested mapping of a configuration file, or of the configuration inside a manifest.

    A folder stands for the manifest in it.

    Raises:
        SourceError: if the file cannot be read.
        ConfigError: if it is neither TOML nor JSON, or not an object.
    """
    from pathlib import Path

    path = Path(path)
    if path.is_dir():
        path = path / MANIFEST_NAME
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SourceError(
            f"the configuration cannot be read: {error.strerror}",
            code="source.missing" if isinstance(error, FileNotFoundError) else None,
            path=str(path),
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"the configuration is not UTF-8: {error}", path=str(path)) from error
    data = _toml(text, path) if path.suffix == ".toml" else _json(text, path)
    if isinstance(data, dict) and "format_version" in data and "config" in data:
        data = _of_manifest(data, path.parent)
    if not isinstance(data, dict):
        raise ConfigError(
            f"the configuration is {_describe(data)}, it must be an object", path=str(path)
        )
    return data


def _json(text: str, path: Path) -> Any:  # noqa: ANN401 - whatever it holds
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"the configuration is not JSON: {error.msg} at column {error.colno}",
            path=str(path),
            line=error.lineno,
        ) from error


def _toml(text: str, path: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"the configuration is not TOML: {error}", path=str(path)) from error


def _of_manifest(manifest: Mapping[str, Any], folder: Path) -> Any:  # noqa: ANN401 - as it is
    """The configuration of a manifest, with what it says elsewhere: paths are not part of it.

    The tokenizer and the template are the copies beside the manifest.
    """
    config = json.loads(json.dumps(manifest["config"]))
    if not isinstance(config, dict):
        return config
    for section, values in config.items():
        # The canonical form of a manifest writes fractions as strings.
        for name, value in values.items() if section in SECTIONS else ():
            if _hints(section).get(name) == "float" and isinstance(value, str):
                values[name] = float(value)
    template = config.setdefault("template", {})
    if (folder / "tokenizer.json").is_file():
        template.setdefault("tokenizer", str(folder))
    described = manifest.get("template") or {}
    if described.get("name") not in {None, "", "tokenizer"}:
        template.setdefault("chat_template", described["name"])
    if described.get("date"):
        template["date"] = described["date"]
    return config


def _hints(section: str) -> dict[str, str]:
    """The types of a section's fields as they are written above."""
    return SECTIONS[section].__annotations__


def _choices(hint: str) -> tuple[str, ...]:
    choices: tuple[str, ...] = getattr(globals().get(hint), "__args__", ())
    return choices


def _known(name: object, known: Mapping[str, Any], prefix: str) -> None:
    if name in known:
        return
    from difflib import get_close_matches

    close = get_close_matches(str(name), list(known), n=1, cutoff=0.5)
    guess = f"did you mean {prefix}{close[0]}? " if close else ""
    raise ConfigError(
        f"there is no option {prefix}{name}",
        code="config.unknown",
        field=f"{prefix}{name}",
        hint=f"{guess}known: {', '.join(known)}",
    )


def _check(name: str, value: object, hint: str) -> None:
    if choices := _choices(hint):
        fits, want = value in choices, "one of " + ", ".join(choices)
    elif hint == "list[str]":
        fits = isinstance(value, list) and all(isinstance(item, str) for item in value)
        want = "a list of strings"
    elif hint == "dict[str, Any]":
        fits, want = isinstance(value, dict) and _strings(value), "an object"
    elif hint == "dict[str, str]":
        fits = isinstance(value, dict) and _strings(value) and _strings(value.values())
        want = "an object of strings"
    elif hint == "bool":
        fits, want = isinstance(value, bool), "true or false"
    elif hint == "int":
        fits = isinstance(value, int) and not isinstance(value, bool) and value >= 0
        want = "a whole number, 0 or more"
    elif hint == "float":
        fits, want = isinstance(value, (int, float)) and not isinstance(value, bool), "a number"
    else:
        fits, want = isinstance(value, str), "a string"
    if not fits:
        raise ConfigError(f"{name} is {_describe(value)}, it must be {want}", field=name)


def _strings(values: Iterable[object]) -> bool:
    return all(isinstance(value, str) for value in values)


def _describe(value: object) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = repr(value)
    limit = 60
    return text if len(text) <= limit else f"{text[:limit]}…"
