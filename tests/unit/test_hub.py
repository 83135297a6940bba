from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from sftprep import hub
from sftprep.errors import TokenizerError

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tokenizer_dir: Path) -> Path:
    """A hub cache that holds one repository, and no network."""
    constants = pytest.importorskip("huggingface_hub.constants")
    repository = tmp_path / "hub" / "models--some-org--small-model"
    snapshot = repository / "snapshots" / COMMIT
    snapshot.parent.mkdir(parents=True)
    shutil.copytree(tokenizer_dir, snapshot)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)
    return snapshot


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("org/name", True),
        ("Qwen/Qwen3-8B", True),
        ("org/name@main", True),
        ("org/name.v1_2-x", True),
        ("builtin", False),
        ("", False),
        ("./org/name", False),
        ("/org/name", False),
        ("a/b/c", False),
        ("folder/tokenizer.json", False),
        ("../org", False),
        ("org/", False),
        ("org/näme", False),
    ],
)
def test_ids_are_told_from_paths(name: str, expected: bool) -> None:
    assert hub.is_hub_id(name) is expected


def test_a_path_that_exists_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("org/name").mkdir(parents=True)
    assert hub.resolve("org/name") == "org/name"


@pytest.mark.parametrize("name", ["some-org/small-model", f"some-org/small-model@{COMMIT}"])
def test_a_cached_repository_is_found(cache: Path, name: str) -> None:
    assert Path(hub.resolve(name)) == cache


def test_what_is_not_cached_is_an_error_that_says_so(cache: Path) -> None:
    with pytest.raises(TokenizerError) as caught:
        hub.resolve("some-org/other-model")
    assert caught.value.code == "tokenizer.hub"
    assert "some-org/other-model" in caught.value.message
    assert "local folder" in str(caught.value.hint)
    assert "\n" not in caught.value.message


def test_without_the_extra_the_error_says_how_to_get_it(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(TokenizerError) as caught:
        hub.resolve("some-org/small-model")
    assert caught.value.code == "tokenizer.hub"
    assert caught.value.hint == 'pip install "sftprep[hub]"'
