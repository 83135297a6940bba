"""``sftprep check-template``: verdicts, exit codes, and the hash in the manifest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sftprep import _core, cli

NEVER_PROVEN = (
    "{% for m in messages %}{{ m.role }}: {{ m.content | replace('e', '') }}\n{% endfor %}"
)


def certificate(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    code = cli.main(["check-template", *arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_a_proven_template_exits_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    code, found = certificate(capsys, "chatml")
    assert code == 0
    assert found["proven"]
    assert {shape["outcome"] for shape in found["shapes"]} == {"proven"}
    assert cli.main(["check-template", "chatml"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("chatml: proven for plain")
    assert f"certificate: {found['blake3']}" in printed


def test_a_template_that_mangles_content_exits_with_5(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "bad.jinja"
    path.write_text(NEVER_PROVEN, encoding="utf-8")
    code, found = certificate(capsys, str(path))
    assert code == 5
    assert not found["proven"]
    refused = [turn for shape in found["shapes"] for turn in shape["turns"] if turn["rule"]]
    assert refused
    assert all(turn["detail"] for turn in refused)
    assert cli.main(["check-template", str(path)]) == 5
    assert "REFUSED" in capsys.readouterr().out


def test_control_tokens_are_classified(
    capsys: pytest.CaptureFixture[str], tokenizer_dir: Path
) -> None:
    _, found = certificate(capsys, str(tokenizer_dir))
    classes = {it["token"]: it["class"] for it in found["control_tokens"]}
    assert classes == dict.fromkeys(("<|endoftext|>", "<|im_start|>", "<|im_end|>"), "control")
    assert found["tokenizer"]


def test_the_hash_is_the_one_in_the_manifest(
    capsys: pytest.CaptureFixture[str], tokenizer_dir: Path, packed: Path
) -> None:
    _, found = certificate(capsys, str(tokenizer_dir))
    manifest = json.loads(_core.read_manifest(packed))
    assert manifest["template"]["certificate"] == found["blake3"]
    assert len(found["blake3"]) == 64


def test_the_control_tokens_of_real_tokenizers_never_come_from_content(
    capsys: pytest.CaptureFixture[str], data: Path
) -> None:
    folders = sorted(path.parent for path in (data / "tokenizers").glob("*/tokenizer.json"))
    assert folders
    for folder in folders:
        _, found = certificate(capsys, "chatml", "--tokenizer", str(folder))
        assert all(not shape["control_ids_from_content"] for shape in found["shapes"]), folder.name
