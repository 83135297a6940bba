from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from sftprep import _core
from sftprep.config import (
    OPTIONS,
    SECTIONS,
    OutputConfig,
    PackConfig,
    SourceConfig,
    choices,
    merge,
    nest,
)
from sftprep.errors import ConfigError, SourceError
from sftprep.pack_options import PackOptions

VALID = PackConfig(source=SourceConfig(inputs=["a.jsonl"]), output=OutputConfig(dir="out"))
FIXED = [(s, f) for s, f in OPTIONS.values() if choices(s, f)]


def test_both_sides_have_the_same_names_order_and_defaults() -> None:
    core = json.loads(_core.default_config())
    mirror = PackConfig().to_dict()
    assert mirror == core
    assert [(s, list(v)) for s, v in mirror.items()] == [(s, list(v)) for s, v in core.items()]


def test_both_sides_have_the_same_types() -> None:
    for section, fields in json.loads(_core.default_config()).items():
        for name, default in fields.items():
            for wrong in (None, True, 1, "x", [1], {"a": 1}):
                if type(wrong) is type(default) or (wrong == 1 and isinstance(default, float)):
                    continue
                data = VALID.to_dict()
                data[section][name] = wrong
                with pytest.raises(ConfigError):
                    _core.check_config(json.dumps(data))
                with pytest.raises(ConfigError):
                    PackConfig.from_dict({section: {name: wrong}})


@pytest.mark.parametrize(("section", "name"), FIXED)
def test_both_sides_have_the_same_choices(section: str, name: str) -> None:
    for value in choices(section, name):
        _core.check_config(merge(VALID, {section: {name: value}}).to_json())
    data = VALID.to_dict()
    data[section][name] = "nonsense"
    with pytest.raises(ConfigError) as caught:
        _core.check_config(json.dumps(data))
    listed = re.findall(r"`(\w+)`", caught.value.message)
    assert tuple(name for name in listed if name != "nonsense") == choices(section, name)


def test_the_options_of_the_function_are_those_of_the_configuration() -> None:
    named = {"inputs", "out", "tokenizer", "max_len"}
    assert set(PackOptions.__annotations__) | named == set(OPTIONS)
    assert sum(len(kind.__dataclass_fields__) for kind in SECTIONS.values()) == len(OPTIONS)


def test_nested_and_flat_options_meet() -> None:
    nested = nest({"max_len": 128, "out": "x", "template_kwargs": {"a": 1}})
    assert nested == {
        "pack": {"max_len": 128},
        "output": {"dir": "x"},
        "template": {"kwargs": {"a": 1}},
    }


def test_mappings_are_merged_key_by_key() -> None:
    base = PackConfig.from_dict({"source": {"map": {"a": "b"}, "limit": 3}})
    merged = merge(base, {"source": {"map": {"c": "d"}}})
    assert merged.source.map == {"a": "b", "c": "d"}
    assert merged.source.limit == 3


@pytest.mark.parametrize(
    ("data", "code", "field", "hint"),
    [
        ({"pack": {"max_length": 1}}, "config.unknown", "pack.max_length", "pack.max_len?"),
        ({"packing": {}}, "config.unknown", "packing", "known: source"),
        ({"pack": 3}, "config.value", "pack", None),
        ({"pack": {"max_len": "3"}}, "config.value", "pack.max_len", None),
        ({"pack": {"max_len": -3}}, "config.value", "pack.max_len", None),
        ({"pack": {"strategy": "best"}}, "config.value", "pack.strategy", None),
        ({"source": {"inputs": "a"}}, "config.value", "source.inputs", None),
    ],
)
def test_mistakes_are_named(data: dict[str, Any], code: str, field: str, hint: str | None) -> None:
    with pytest.raises(ConfigError) as caught:
        PackConfig.from_dict(data)
    assert caught.value.code == code
    assert caught.value.field == field
    if hint is not None:
        assert hint in str(caught.value.hint)


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [
        ("pack", "max_len", 1),
        ("source", "max_reject_rate", 1.5),
        ("output", "shard_bytes", 1),
        ("label", "assistant_header", "A:"),
    ],
)
def test_the_core_checks_ranges(section: str, name: str, value: object) -> None:
    with pytest.raises(ConfigError) as caught:
        _core.check_config(merge(VALID, {section: {name: value}}).to_json())
    assert caught.value.field == f"{section}.{name}"
    assert str(value) in caught.value.message


@pytest.mark.parametrize("train_on", ["", "last", "assistant,", "assistant,last_turn", "everyone"])
def test_what_is_trained_is_named_by_roles(train_on: str) -> None:
    with pytest.raises(ConfigError, match="roles of system, developer, user, assistant, tool"):
        _core.check_config(merge(VALID, {"label": {"train_on": train_on}}).to_json())
    for good in ("assistant", "last_turn", "user,assistant"):
        _core.check_config(merge(VALID, {"label": {"train_on": good}}).to_json())


def test_files_are_read_with_their_mistakes_named(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"pack": {"max_len": 77}}')
    assert PackConfig.from_file(path).pack.max_len == 77
    manifest = tmp_path / "sftprep.manifest.json"
    manifest.write_text('{"format_version": 1, "config": {"pack": {"max_len": 78}}, "x": 1}')
    assert PackConfig.from_file(tmp_path).pack.max_len == 78
    toml = tmp_path / "config.toml"
    toml.write_text('[pack]\nmax_len = 79\n[label]\nhistory = "refuse"\ntrain_on = "user,tool"\n')
    config = PackConfig.from_file(toml)
    assert (config.pack.max_len, config.label.history) == (79, "refuse")
    assert config.label.train_on == "user,tool"
    toml.write_text("[pack\n")
    with pytest.raises(ConfigError, match="not TOML"):
        PackConfig.from_file(toml)
    path.write_text('{"pack": \n {,}}')
    with pytest.raises(ConfigError, match="not JSON") as caught:
        PackConfig.from_file(path)
    assert (caught.value.path, caught.value.line) == (str(path), 2)
    path.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="not UTF-8"):
        PackConfig.from_file(path)
    path.write_text("[]")
    with pytest.raises(ConfigError, match="must be an object"):
        PackConfig.from_file(path)
    with pytest.raises(SourceError) as missing:
        PackConfig.from_file(tmp_path / "nowhere.json")
    assert missing.value.code == "source.missing"


def test_arguments_that_are_not_json_are_refused() -> None:
    config = PackConfig.from_dict({"template": {"kwargs": {"x": object()}}})
    with pytest.raises(ConfigError, match="not plain JSON"):
        config.to_json()
