from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sftprep import _core, cli
from sftprep.cli import options as types
from sftprep.cli import pack
from sftprep.config import OPTIONS, PackConfig
from sftprep.errors import ConfigError

COMMANDS = (
    "pack",
    "inspect",
    "verify",
    "audit",
    "stats",
    "render",
    "check-template",
    "add-tokens",
    "score",
    "train",
    "eval",
    "generate",
    "interpolate",
    "errors",
)


def parsed(*arguments: str) -> PackConfig:
    return pack.resolve(cli._parser(["pack"]).parse_args(["pack", *arguments]))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_has_examples_and_exit_codes(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as done:
        cli.main([command, "--help"])
    assert done.value.code == 0
    text = capsys.readouterr().out
    assert f"sftprep {command}" in text.split("examples:")[1]
    for code in ("0 done", "2 usage", "3 input", "5 integrity", "130 interrupted"):
        assert code in text


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("65536", 65536),
        ("64KiB", 65536),
        ("64kib", 65536),
        ("1.5GB", 1_500_000_000),
        ("256 MiB", 256 << 20),
        ("1g", 10**9),
        ("0", 0),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert types.size(text) == size


@pytest.mark.parametrize("text", ["", "x", "-1", "1TB", "1.2.3", "MiB"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is not a size"):
        types.size(text)


def test_every_option_has_a_flag() -> None:
    given = parsed(
        "a.jsonl", "b=b.jsonl", "--out", "o", "--tokenizer", "t", "--chat-template", "c",
        "--template-arg", "x=[1, null]", "--template-arg", 'y="z"', "--date", "2025-01-01",
        "--format", "text", "--map", "text=body", "--role", "narrator=system", "--parts", "raw",
            "--tree", "threads=best",
        "--train-on", "last_turn", "--no-reasoning", "--no-tool-calls", "--stop", "last",
        "--history", "allow", "--dropped", "allow", "--assistant-header", "A:",
        "--assistant-stop", "<end>",
        "--special-text", "refuse", "--append-eos", "never", "--boundary", "inference",
        "--max-len", "77",
        "--strategy", "wrapped", "--overlong", "truncate", "--seed", "5",
        "--balance", "8", "--shard-size", "1MiB",
        "--limit", "9", "--max-reject-rate", "0.5", "--max-line-bytes", "1KiB",
        "--reject-excerpts", "--overwrite", "--dry-run", "--threads", "3",
        "--task-size", "1MiB", "--resume", "--memory", "1GiB",
    )  # fmt: skip
    default = PackConfig()
    for section, name in OPTIONS.values():
        value = getattr(getattr(given, section), name)
        assert value != getattr(getattr(default, section), name), (section, name)
    assert given.source.inputs == ["a.jsonl", "b=b.jsonl"]
    assert given.template.kwargs == {"x": [1, None], "y": "z"}
    assert given.output.shard_bytes == 1 << 20
    _core.check_config(given.to_json())


def test_without_flags_everything_keeps_its_default() -> None:
    assert parsed() == PackConfig()


def test_flags_win_over_the_file_and_the_file_over_the_default(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    content = {
        "pack": {"max_len": 10, "seed": 3},
        "source": {"inputs": ["file.jsonl"], "map": {"text": "body", "tools": "t"}},
    }
    file.write_text(json.dumps(content))
    config = parsed("--config", str(file), "--max-len", "20", "--map", "text=content")
    assert (config.pack.max_len, config.pack.seed) == (20, 3)
    assert config.pack.strategy == "bfd"
    assert config.source.inputs == ["file.jsonl"]
    assert config.source.map == {"text": "content", "tools": "t"}
    assert parsed("flag.jsonl", "--config", str(file)).source.inputs == ["flag.jsonl"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["pack", "a", "--max-len", "x"], "'x' is not a whole number"),
        (["pack", "a", "--max-len", "-1"], "'-1' is not a whole number"),
        (["pack", "a", "--map", "x"], "'x' is not of the form KEY=VALUE"),
        (["pack", "a", "--template-arg", "x=y"], "is not JSON; a string needs quotes"),
        (["pack", "a", "--strategy", "best"], "invalid choice"),
        (["pack", "a", "--nonsense"], "unrecognized arguments"),
        (["nonsense"], "invalid choice"),
        ([], "required: COMMAND"),
    ],
)
def test_usage_errors_exit_with_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as done:
        cli.main(arguments)
    assert done.value.code == 2
    assert said in capsys.readouterr().err


def test_errors_are_printed_with_their_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "nowhere.json"
    assert cli.main(["pack", "a", "--config", str(missing)]) == 3
    err = capsys.readouterr().err
    assert err.startswith("error[source.missing]: the configuration cannot be read")
    assert f"--> {missing}" in err


def test_errors_are_json_where_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = tmp_path / "nowhere.json"
    assert cli.main(["pack", "a", "--config", str(missing), "--log-json"]) == 3
    event = json.loads(capsys.readouterr().err)
    assert (event["event"], event["code"], event["path"]) == (
        "error",
        "source.missing",
        str(missing),
    )


def test_a_bug_is_an_internal_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_: object) -> int:
        raise KeyError("oops")

    monkeypatch.setattr(cli.errors, "run", broken)
    assert cli.main(["errors"]) == 6
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "error[run.internal]: KeyError: 'oops'" in err


@pytest.mark.parametrize(
    ("raised", "code"), [(KeyboardInterrupt, 130), (cli.Terminated, 143), (BrokenPipeError, 141)]
)
def test_signals_have_their_exit_codes(
    raised: type[BaseException], code: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def stopped(_: object) -> int:
        raise raised

    monkeypatch.setattr(cli.errors, "run", stopped)
    # A closed pipe has standard output replaced; give it one to lose.
    with (tmp_path / "out").open("w") as out:
        monkeypatch.setattr(sys, "stdout", out)
        assert cli.main(["errors"]) == code


def test_the_signal_handler_is_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    cli.main(["errors", "row.json"])
    assert signal.getsignal(signal.SIGTERM) is before


def test_every_exit_code_of_the_core_is_documented() -> None:
    for code, exit_code, *_ in _core.codes():
        assert f"{exit_code} " in cli.EXIT_CODES, code


def test_errors_lists_and_explains(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["errors"]) == 0
    listed = capsys.readouterr().out
    for code, *_ in _core.codes():
        assert f"{code} " in listed
        assert cli.main(["errors", code]) == 0
        page = capsys.readouterr().out
        assert all(title in page for title in (code, "cause:", "example:", "fix:"))
    assert cli.main(["errors", "row.jsn"]) == 2
    assert "did you mean row.json?" in capsys.readouterr().err


def test_a_closed_pipe_is_quiet() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "sftprep", "errors"],
        stdout=writer,
        stderr=subprocess.PIPE,
        timeout=30,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_manifest_repeats_its_run(tmp_path: Path) -> None:
    manifest = {
        "format_version": 1,
        "config": {"source": {"max_reject_rate": "0.25"}, "pack": {"max_len": 9}},
        "template": {"name": "alpaca", "date": "2025-01-02"},
    }
    (tmp_path / "sftprep.manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "tokenizer.json").write_text("{}")
    config = parsed("a.jsonl", "--config", str(tmp_path), "--out", "again")
    assert config.source.max_reject_rate == 0.25
    assert config.pack.max_len == 9
    assert config.template.tokenizer == str(tmp_path)
    assert config.template.chat_template == "alpaca"
    assert config.template.date == "2025-01-02"


def test_an_unknown_option_of_the_function_is_named() -> None:
    import sftprep

    with pytest.raises(ConfigError, match="there is no option max_length") as caught:
        sftprep.pack("a.jsonl", out="o", max_length=3)  # type: ignore[call-arg]
    assert "did you mean max_len?" in str(caught.value.hint)
