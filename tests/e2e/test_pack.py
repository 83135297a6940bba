"""The whole job through the command and through the function."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Run, conversation

import sftprep
from sftprep import cli
from sftprep.config import MANIFEST_NAME
from sftprep.errors import (
    ConfigError,
    OutputError,
    RejectBudgetExceeded,
    SourceError,
    TemplateError,
    TokenizerError,
)

Write = Callable[..., Path]


def manifest(out: Path) -> dict[str, Any]:
    return dict(json.loads((out / MANIFEST_NAME).read_text(encoding="utf-8")))


def test_the_command_packs_verifies_and_explains(
    sftprep: Run, chat_file: Path, tokenizer_dir: Path, tmp_path: Path
) -> None:
    done = sftprep(
        "pack", chat_file, "--tokenizer", tokenizer_dir, "--max-len", 512, "--out", "out"
    )
    assert done.returncode == 0, done.stderr
    assert "rows read" in done.stdout
    assert "messages (column `messages`" in done.stdout
    assert "wrote out: 1 shard, " in done.stdout
    assert done.stderr.count("done 100%") == 1
    assert "rows (" in done.stderr

    verified = sftprep("verify", "out")
    assert (verified.returncode, verified.stderr) == (0, "")
    assert verified.stdout.startswith("ok: out")

    stats = json.loads(sftprep("stats", "out", "--json").stdout)
    assert stats["totals"]["packed"] == stats["totals"]["rows"] == 200
    assert stats["packing"]["max_len"] == 512
    people = sftprep("stats", "out").stdout
    assert "rows read                                  200" in people

    shown = sftprep("inspect", "out")
    assert shown.returncode == 0
    assert "«It is " in shown.stdout


def test_verify_finds_one_flipped_bit(
    sftprep: Run, chat_file: Path, tokenizer_dir: Path, tmp_path: Path
) -> None:
    assert sftprep("pack", chat_file, "--tokenizer", tokenizer_dir, "--out", "o").returncode == 0
    file = next((tmp_path / "o").glob("data-*.arrow"))
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    done = sftprep("verify", "o")
    assert done.returncode == 5
    assert file.name in done.stdout
    assert done.stderr.startswith("error[shard.corrupt]")
    report = json.loads(sftprep("verify", "o", "--json").stdout)
    assert report["ok"] is False
    assert report["findings"][0]["file"] == file.name
    (tmp_path / "o" / MANIFEST_NAME).unlink()
    assert sftprep("verify", "o").returncode == 5


def test_log_json_is_json_to_the_last_line(
    sftprep: Run, chat_file: Path, tokenizer_dir: Path
) -> None:
    arguments = ["pack", chat_file, "--tokenizer", tokenizer_dir, "--out", "out", "--log-json"]
    done = sftprep(*arguments)
    assert done.returncode == 0
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert events[-1]["event"] == "progress"
    assert events[-1]["done"] is True
    assert events[-1]["rows"] == 200
    assert json.loads(done.stdout)["totals"]["packed"] == 200
    again = sftprep(*arguments)
    assert again.returncode == 2
    assert json.loads(again.stderr.splitlines()[-1])["code"] == "output.exists"


def test_quiet_says_nothing_but_the_report(
    sftprep: Run, chat_file: Path, tokenizer_dir: Path
) -> None:
    done = sftprep("pack", chat_file, "--tokenizer", tokenizer_dir, "--out", "out", "--quiet")
    assert (done.returncode, done.stderr) == (0, "")
    assert "rows read" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["nowhere.jsonl", "--out", "o"], 3, "error[source.missing]"),
        (["chat.jsonl", "--out", "chat"], 2, "error[output.exists]"),
        (["chat.jsonl", "--out", "o", "--max-len", "1"], 2, "error[config.value]"),
        (["chat.jsonl"], 2, "no output folder"),
        (["--out", "o"], 2, "source.inputs"),
        (["chat.jsonl", "--out", "o", "--tokenizer", "nowhere/"], 3, "error[tokenizer.missing]"),
        (["chat.jsonl", "--out", "o", "--chat-template", "{% if %}"], 3, "error[template.syntax]"),
        (["chat.jsonl", "--out", "o", "--format", "sharegpt"], 1, "error[run.reject_rate]"),
        (["chat.jsonl", "--out", "o", "--config", "nowhere.json"], 3, "error[source.missing]"),
    ],
)
def test_each_failure_has_its_exit_code(
    sftprep: Run,
    chat_file: Path,
    tokenizer_dir: Path,
    tmp_path: Path,
    arguments: list[str],
    code: int,
    said: str,
) -> None:
    (tmp_path / "chat").mkdir()
    (tmp_path / "chat" / "mine.txt").write_text("mine")
    given = arguments if "--tokenizer" in arguments else [*arguments, "--tokenizer", tokenizer_dir]
    done = sftprep("pack", *given, "--quiet")
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "o" / MANIFEST_NAME).exists()


def test_standard_input_is_read(
    sftprep: Run, chat_file: Path, tokenizer_dir: Path, tmp_path: Path
) -> None:
    for text in (chat_file.read_bytes(), gzip.compress(chat_file.read_bytes())):
        done = sftprep(
            "pack", "piped=-", "--tokenizer", tokenizer_dir, "--out", "out", "--overwrite",
            input=text, text=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert manifest(tmp_path / "out")["inputs"][0]["name"] == "piped"
        assert manifest(tmp_path / "out")["totals"]["packed"] == 200


def test_a_dry_run_writes_nothing(
    sftprep: Run, chat_file: Path, tokenizer_dir: Path, tmp_path: Path
) -> None:
    before = sorted(tmp_path.rglob("*"))
    done = sftprep("pack", chat_file, "--tokenizer", tokenizer_dir, "--dry-run", "--limit", 50)
    assert done.returncode == 0, done.stderr
    assert "dry run: nothing was written" in done.stdout
    assert "rows read                                   50" in done.stdout
    assert sorted(tmp_path.rglob("*")) == before


def test_a_manifest_repeats_its_run(
    sftprep: Run, chat_file: Path, tokenizer_dir: Path, tmp_path: Path
) -> None:
    first = ["--tokenizer", tokenizer_dir, "--max-len", 300, "--seed", 9, "--stop", "last"]
    assert sftprep("pack", chat_file, *first, "--out", "one").returncode == 0
    done = sftprep("pack", chat_file, "--config", "one", "--out", "two")
    assert done.returncode == 0, done.stderr
    one, two = manifest(tmp_path / "one"), manifest(tmp_path / "two")
    assert one["content_id"] == two["content_id"]
    assert one["config_hash"] == two["config_hash"] or one["config"] != two["config"]
    other = sftprep("pack", chat_file, "--config", "one", "--seed", 10, "--out", "three")
    assert other.returncode == 0
    assert manifest(tmp_path / "three")["content_id"] != one["content_id"]


def test_threads_and_order_of_flags_change_no_byte(
    chat_file: Path, tokenizer_dir: Path, tmp_path: Path
) -> None:
    outs = []
    for threads in (1, 2, 4):
        out = tmp_path / f"out{threads}"
        sftprep.pack(
            chat_file, out=out, tokenizer=tokenizer_dir, threads=threads, date="2025-01-01"
        )
        outs.append({p.name: p.read_bytes() for p in out.iterdir() if "report" not in p.name})
    assert outs[0] == outs[1] == outs[2]


def test_the_function_returns_a_balanced_report(
    write_rows: Write, tokenizer_dir: Path, tmp_path: Path
) -> None:
    good = write_rows([conversation(index) for index in range(60)], "good.jsonl")
    bad = write_rows(
        ["{", {"messages": []}, {"messages": [{"role": "user", "content": "x"}]}, conversation(1)],
        "bad.jsonl",
    )
    long = write_rows([conversation(1, turns=200)], "long.jsonl")
    snapshots: list[sftprep.Progress] = []
    report = sftprep.pack(
        {"good": good, "bad": bad, "long": long},
        out=tmp_path / "out",
        tokenizer=tokenizer_dir,
        max_len=256,
        overlong="drop",
        max_reject_rate=0.1,
        reject_excerpts=True,
        progress=snapshots.append,
    )
    assert [source.name for source in report.sources] == ["good", "bad", "long"]
    assert report.totals.balanced
    assert all(source.totals.balanced for source in report.sources)
    assert report.totals.rejected == {
        "row.json": 1,
        "format.empty": 1,
        "label.nothing_trained": 1,
    }
    assert report.totals.dropped == {"pack.overlong": 1}
    assert (report.totals.rows, report.totals.packed) == (65, 61)
    assert report.sequences == len(sftprep.ShardDataset(tmp_path / "out"))
    assert 0 < report.fill <= 1
    assert report.content_id == manifest(tmp_path / "out")["content_id"]
    assert snapshots[-1].done
    assert snapshots[-1].rows == 65
    rejects = (tmp_path / "out" / "rejects.jsonl").read_text().splitlines()
    assert len(rejects) == 4
    json.dumps(report.to_dict())
    with pytest.raises(AttributeError):
        report.fill = 0.5  # type: ignore[misc]


def test_inputs_come_in_every_shape(
    chat_file: Path, tokenizer_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shapes: list[Any] = [
        str(chat_file),
        chat_file,
        [chat_file],
        (str(chat_file),),
        {"chat": chat_file},
        "*.jsonl",
        f"named={chat_file}",
    ]
    for number, shape in enumerate(shapes):
        report = sftprep.pack(shape, out=f"out{number}", tokenizer=tokenizer_dir)
        assert report.totals.packed == 200
    with pytest.raises(ConfigError, match="inputs must be paths"):
        sftprep.pack([3], out="out", tokenizer=tokenizer_dir)  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("change", "error", "code"),
    [
        ({"inputs": "nowhere.jsonl"}, SourceError, "source.missing"),
        ({"tokenizer": "nowhere/x/y"}, TokenizerError, "tokenizer.missing"),
        ({"chat_template": "{% if %}"}, TemplateError, "template.syntax"),
        ({"format": "alpaca"}, RejectBudgetExceeded, "run.reject_rate"),
        ({"max_len": 0}, ConfigError, "config.value"),
        ({"date": "tomorrow"}, ConfigError, "config.value"),
        ({"out": "/proc/nowhere"}, OutputError, "output.io"),
        ({"config": {"packing": {}}}, ConfigError, "config.unknown"),
    ],
)
def test_each_failure_has_its_class(
    chat_file: Path,
    tokenizer_dir: Path,
    tmp_path: Path,
    change: dict[str, Any],
    error: type[Exception],
    code: str,
) -> None:
    arguments = {"inputs": chat_file, "out": tmp_path / "out", "tokenizer": tokenizer_dir} | change
    with pytest.raises(error) as caught:
        sftprep.pack(**arguments)
    assert caught.value.code == code  # type: ignore[attr-defined]
    assert not (tmp_path / "out" / MANIFEST_NAME).exists()


def test_a_run_whose_every_row_may_be_rejected_ends_with_its_ledger(
    chat_file: Path, tokenizer_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    report = sftprep.pack(
        chat_file, out=out, tokenizer=tokenizer_dir, format="alpaca", max_reject_rate=1.0
    )
    assert (report.totals.packed, report.totals.rows) == (0, 200)
    assert report.totals.rejected == {"format.missing": 200}
    assert report.warnings
    assert len(sftprep.ShardDataset(out)) == 0
    assert cli.main(["verify", str(out)]) == 0
    assert cli.main(["stats", str(out)]) == 0
    assert cli.main(["inspect", str(out)]) == 2
    assert "there is no row 0 of 0" in capsys.readouterr().err


def test_a_hub_id_is_resolved_offline(
    sftprep: Run, chat_file: Path, tokenizer_dir: Path, tmp_path: Path
) -> None:
    pytest.importorskip("huggingface_hub")
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "hub" / "models--org--small"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True)
    for file in tokenizer_dir.iterdir():
        (snapshot / file.name).write_bytes(file.read_bytes())
    env = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(tmp_path / "hub")}
    arguments = ["pack", chat_file, "--max-len", 512, "--date", "2025-01-01", "--quiet"]
    done = sftprep(*arguments, "--tokenizer", "org/small", "--out", "hub-out", env=env)
    assert done.returncode == 0, done.stderr
    assert sftprep(*arguments, "--tokenizer", tokenizer_dir, "--out", "local").returncode == 0
    ids = [manifest(tmp_path / out)["content_id"] for out in ("hub-out", "local")]
    assert ids[0] == ids[1]
    missing = sftprep(*arguments, "--tokenizer", "org/other", "--out", "o", env=env)
    assert missing.returncode == 3
    assert "error[tokenizer.hub]" in missing.stderr


def test_a_dataset_holds_the_tokenizer_that_made_it(
    chat_file: Path, tokenizer_dir: Path, tmp_path: Path
) -> None:
    """Also where rows with tools have a template of their own; transformers loads it too."""
    folder = tmp_path / "tokenizer"
    shutil.copytree(tokenizer_dir, folder)
    config = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
    default = config["chat_template"]
    tool_use = "{{ tools | length }} tools\n" + default
    config["chat_template"] = [
        {"name": "default", "template": default},
        {"name": "tool_use", "template": tool_use},
    ]
    (folder / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")
    row = conversation(0) | {"tools": [{"type": "function", "function": {"name": "f"}}]}
    with chat_file.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    first = sftprep.pack(chat_file, out=tmp_path / "one", tokenizer=folder)
    second = sftprep.pack(chat_file, out=tmp_path / "two", tokenizer=tmp_path / "one")
    assert first.totals.packed == 201
    contents = [manifest(tmp_path / name)["files"] for name in ("one", "two")]
    shards = [[f["blake3"] for f in files if f["name"].endswith(".arrow")] for files in contents]
    assert second.totals.packed == 201 and shards[0] == shards[1] != []
    transformers = pytest.importorskip("transformers")
    loaded = transformers.AutoTokenizer.from_pretrained(str(tmp_path / "one"))
    assert loaded.get_chat_template(tools=row["tools"]) == tool_use
    assert loaded.get_chat_template() == default


def test_other_threads_run_meanwhile(
    write_rows: Write, tokenizer_dir: Path, tmp_path: Path
) -> None:
    file = write_rows([conversation(index, 5) for index in range(3000)])
    ticks, stop = [], threading.Event()

    def tick() -> None:
        while not stop.wait(0.002):
            ticks.append(time.perf_counter())

    thread = threading.Thread(target=tick)
    thread.start()
    started = time.perf_counter()
    sftprep.pack(file, out=tmp_path / "out", tokenizer=tokenizer_dir, threads=1)
    took = time.perf_counter() - started
    stop.set()
    thread.join()
    gaps = [after - before for before, after in itertools.pairwise(ticks)]
    assert len(ticks) > 20 * took
    assert max(gaps, default=0) < 0.5


def test_render_prints_what_the_model_sees(
    sftprep: Run, chat_file: Path, tokenizer_dir: Path
) -> None:
    row = conversation(3, 1)
    done = sftprep("render", chat_file, "--tokenizer", tokenizer_dir, "--row", 3)
    assert done.returncode == 0, done.stderr
    head, text = done.stdout.split("\n", 1)
    assert ":4 " in head
    for message in row["messages"]:
        assert f"<|im_start|>{message['role']}\n{message['content']}<|im_end|>\n" in text
    prompt = sftprep("render", chat_file, "--tokenizer", tokenizer_dir, "--add-generation-prompt")
    assert prompt.stdout.endswith("<|im_start|>assistant\n")
    masked = sftprep("render", chat_file, "--tokenizer", tokenizer_dir, "--mask", "--count", 2)
    assert masked.stdout.count("«It is") >= 2
    assert '"trained": ' in masked.stdout
    assert "\x1b" not in masked.stdout
    beyond = sftprep("render", chat_file, "--tokenizer", tokenizer_dir, "--row", 999)
    assert beyond.returncode == 2
    assert "there is no row 999" in beyond.stderr


def test_render_names_the_rows_it_cannot(
    sftprep: Run, write_rows: Write, tokenizer_dir: Path
) -> None:
    file = write_rows([conversation(0), "{", conversation(1)], "mixed.jsonl")
    done = sftprep("render", file, "--tokenizer", tokenizer_dir, "--count", 3)
    assert done.returncode == 1
    assert "rejected[row.json]" in done.stderr
    assert ":2" in done.stderr
    assert done.stdout.count("<|im_start|>assistant") == 2


def test_python_dash_m_and_the_script_are_the_same(tmp_path: Path) -> None:
    script = Path(sys.executable).with_name("sftprep")
    if not script.exists():
        pytest.skip("the package is not installed as a script")
    commands = [[str(script)], [sys.executable, "-m", "sftprep"]]
    outputs = [
        subprocess.run([*c, "--version"], check=True, capture_output=True, text=True).stdout
        for c in commands
    ]
    assert outputs[0] == outputs[1] == f"sftprep {sftprep.__version__}\n"


def test_very_many_turns_take_no_more_than_their_share(
    write_rows: Callable[..., Path], tmp_path: Path
) -> None:
    def seconds(turns: int) -> float:
        pair = [{"role": "user", "content": "and?"}, {"role": "assistant", "content": "so."}]
        rows = write_rows([{"messages": pair * turns}], f"{turns}.jsonl")
        started = time.process_time()
        sftprep.pack(rows, out=tmp_path / str(turns), tokenizer="builtin", threads=1)
        return time.process_time() - started

    seconds(10)  # what a first run costs
    # four times the turns: sixteen times the time, if each were proved by all before it
    few, many = seconds(3_000), seconds(12_000)
    assert many < 8 * few, (few, many)
