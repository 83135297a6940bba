"""What of object stores needs no object store; the rest is tests/e2e/test_readers_cloud.py."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import sftprep
from sftprep import cloud
from sftprep.errors import ConfigError


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("s3://b/k", ("s3", "b", "k")),
        ("s3://b/deep/key.jsonl", ("s3", "b", "deep/key.jsonl")),
        ("s3://b/folder/", ("s3", "b", "folder")),
        ("s3a://b", ("s3a", "b", "")),
        ("gs://b/*.jsonl", ("gs", "b", "*.jsonl")),
    ],
)
def test_places(url: str, parts: tuple[str, str, str]) -> None:
    assert tuple(cloud.parse(url)) == parts


@pytest.mark.parametrize("url", ["s3:/b/k", "s3://", "http://host/file", "b/k", "x=s3://b/k"])
def test_what_is_no_place(url: str) -> None:
    with pytest.raises(ConfigError, match="not a place in an object store"):
        cloud.parse(url)


def test_without_the_extra_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("obstore", "obstore.exceptions", "obstore.store"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError) as caught:
        sftprep.pack("s3://bucket/a.jsonl", out=tmp_path / "out", tokenizer="builtin")
    assert caught.value.hint == 'pip install "sftprep[cloud]"'
    with pytest.raises(ConfigError):
        cloud.download("s3://bucket/packs", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
