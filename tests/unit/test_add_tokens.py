from __future__ import annotations

import json
from pathlib import Path

import pytest

from sftprep import _core, cli
from sftprep.add_tokens import add_tokens, control_tokens
from sftprep.errors import ConfigError, OutputError, TokenizerError


@pytest.fixture
def base(tmp_path: Path, tokenizer_dir: Path) -> Path:
    """The small tokenizer without control tokens."""
    folder = tmp_path / "base"
    folder.mkdir()
    data = json.loads((tokenizer_dir / "tokenizer.json").read_text())
    data["added_tokens"] = [t for t in data["added_tokens"] if t["content"] == "<|endoftext|>"]
    for token in ("<|im_start|>", "<|im_end|>"):
        del data["model"]["vocab"][token]
    # Ids must have no gap where the two were.
    order = sorted(data["model"]["vocab"], key=data["model"]["vocab"].__getitem__)
    data["model"]["vocab"] = {token: id_ for id_, token in enumerate(order)}
    (folder / "tokenizer.json").write_text(json.dumps(data))
    return folder


def test_control_tokens_are_found_in_order_and_once() -> None:
    source = "{{ '<|im_start|>' + role }}<|im_end|><|im_start|> <| no |> <|a b|> <\uff5cUser\uff5c>"
    assert control_tokens(source) == ["<|im_start|>", "<|im_end|>", "<\uff5cUser\uff5c>"]


def test_new_tokens_follow_the_last_id_and_nothing_else_changes(base: Path, tmp_path: Path) -> None:
    before = _core.Tokenizer.from_file(base)
    done = add_tokens(
        str(base), tmp_path / "new", tokens=["<|im_start|>", "<|im_end|>", "<|endoftext|>"]
    )
    size = before.vocab_size
    assert done.added == {"<|im_start|>": size, "<|im_end|>": size + 1}
    assert done.present == {"<|endoftext|>": before.token_to_id("<|endoftext|>")}
    assert done.vocab_size == size + 2
    after = _core.Tokenizer.from_file(tmp_path / "new")
    text = "The quick brown fox 你好"
    assert after.encode(text).ids.tolist() == before.encode(text).ids.tolist()
    assert after.encode("<|im_start|>hi<|im_end|>").ids[[0, -1]].tolist() == [size, size + 1]


def test_transformers_loads_the_folder(base: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    template = "{% for m in messages %}<|im_start|>{{ m.content }}<|im_end|>{% endfor %}"
    add_tokens(
        str(base),
        tmp_path / "new",
        tokens=control_tokens(template),
        chat_template=template,
        eos="<|im_end|>",
    )
    loaded = transformers.AutoTokenizer.from_pretrained(tmp_path / "new")
    messages = [{"role": "user", "content": "hi"}]
    assert loaded.eos_token == "<|im_end|>"
    assert loaded.apply_chat_template(messages, tokenize=False) == "<|im_start|>hi<|im_end|>"
    ids = loaded("<|im_start|>hi<|im_end|>", add_special_tokens=False)["input_ids"]
    ours = _core.Tokenizer.from_file(tmp_path / "new").encode("<|im_start|>hi<|im_end|>")
    assert ids == ours.ids.tolist()
    assert loaded.decode(ids, skip_special_tokens=True) == "hi"


def test_the_command_says_which_ids(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "new")
    arguments = [str(base), "--for", "chatml", "--token", "<x>", "--out", out]
    assert cli.main(["add-tokens", *arguments, "--set-chat-template", "--eos", "<|im_end|>"]) == 0
    said = capsys.readouterr().out
    assert "<|im_start|>" in said
    assert "resize the model's embeddings to 401 rows" in said
    config = json.loads((tmp_path / "new" / "tokenizer_config.json").read_text())
    assert config["eos_token"] == "<|im_end|>"
    assert config["chat_template"] == _core.builtin_template("chatml")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--out", "o"], 2, "there is nothing to add"),
        (["--for", "plain", "--out", "o"], 2, "spells no control token"),
        (["--for", "nowhere.jinja", "--out", "o"], 3, "neither a built-in template"),
        (["--token", "<x>", "--eos", "<y>", "--out", "o"], 2, "'<y>' is not a token"),
        (["--token", "<x>", "--set-chat-template", "--out", "o"], 2, "needs --for"),
    ],
)
def test_mistakes_are_named(
    arguments: list[str],
    code: int,
    said: str,
    base: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(base.parent)
    assert cli.main(["add-tokens", str(base), *arguments]) == code
    assert said in capsys.readouterr().err


def test_damaged_and_missing_files_are_named(base: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no token to add"):
        add_tokens(str(base), tmp_path / "new", tokens=[])
    with pytest.raises(TokenizerError) as missing:
        add_tokens(str(tmp_path / "nowhere"), tmp_path / "new", tokens=["<x>"])
    assert missing.value.code == "tokenizer.missing"
    (base / "tokenizer.json").write_text('{"model": {"vocab": 3}}')
    with pytest.raises(TokenizerError, match="vocabulary is not as in"):
        add_tokens(str(base), tmp_path / "new", tokens=["<x>"])
    (base / "tokenizer.json").write_text("{")
    with pytest.raises(TokenizerError, match="does not load"):
        add_tokens(str(base), tmp_path / "new", tokens=["<x>"])


def test_an_existing_folder_is_left_alone(base: Path) -> None:
    before = (base / "tokenizer.json").read_bytes()
    with pytest.raises(OutputError) as caught:
        add_tokens(str(base), base, tokens=["<x>"])
    assert caught.value.code == "output.exists"
    assert (base / "tokenizer.json").read_bytes() == before
