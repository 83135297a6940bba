"""``sftprep clean``: what is taken out is told, and nothing else of a row changes."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet
import pytest

import sftprep
from sftprep import _core, cli
from sftprep.quality.clean import RULES

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("SFTPREP_TEST_DATA", ROOT.parent / "shared" / "data"))
OFF = dict.fromkeys(RULES, "off")


def chat(*texts: str) -> dict[str, Any]:
    roles = ("user", "assistant")
    messages = [{"role": roles[at % 2], "content": text} for at, text in enumerate(texts)]
    return {"messages": messages}


def write(path: Path, rows: list[Any]) -> Path:
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def ledger(report: sftprep.StageReport) -> list[dict[str, Any]]:
    assert report.ledger is not None
    with pa.ipc.open_file(report.ledger) as reader:
        rows: list[dict[str, Any]] = reader.read_all().to_pylist()
    kept = sum(row["decision"] == "kept" for row in rows)
    assert report.rows == len(rows)
    assert report.kept == kept == len(lines(report))
    assert kept + sum(report.dropped.values()) + sum(report.rejected.values()) == len(rows)
    assert all(row["code"] and row["detail"] for row in rows if row["decision"] != "kept")
    return rows


def lines(report: sftprep.StageReport) -> list[str]:
    assert report.out is not None
    return Path(report.out).read_text(encoding="utf-8").split("\n")[:-1]


def test_only_the_text_changes_and_the_ledger_says_it(tmp_path: Path) -> None:
    same = (
        '{ "n":1.50, "messages" : [{"role":"user","content":"A \\u00e9?"},'
        '{"content":"B.","role":"assistant"}] }'
    )
    odd = (
        '{"id": "a\u200bb", "n": 1e3, "messages": [{"role": "user", "content": "zero\u200bwidth'
        ' and \\u0007bell"}, {"role": "assistant", "content": "\ufeffYes \\u00e9."}], "x": [1,  2]}'
    )
    path = write(tmp_path / "chat.jsonl", [same, odd])
    report = sftprep.clean(path, out=tmp_path / "clean.jsonl")
    rows = ledger(report)
    assert lines(report) == [
        same,
        '{"id": "a\u200bb", "n": 1e3, "messages": [{"role": "user", "content": "zerowidth'
        ' and bell"}, {"role": "assistant", "content": "Yes é."}], "x": [1,  2]}',
    ]
    assert [row["code"] for row in rows] == [None, "quality.control_character"]
    assert rows[1]["detail"] == (
        "fixed messages.0.content: 2 control or invisible characters taken out; "
        "fixed messages.1.content: 1 control or invisible character taken out"
    )
    assert report.facts == {"changed": 1, "found": {"fixed unicode": 1}}
    again = sftprep.clean(report.out or "", out=tmp_path / "twice.jsonl")
    assert lines(again) == lines(report)
    assert again.noted == {}, "what is clean stays as it is"


@pytest.mark.parametrize(
    ("row", "rule", "code", "fixed"),
    [
        (chat("Hi?", ""), "empty_answer", "quality.empty_answer", None),
        (chat("Hi?"), "empty_answer", "quality.empty_answer", None),
        (chat(" ", "Yes."), "empty_prompt", "quality.empty_prompt", None),
        (chat("Hi?", "A.", "B?"), "roles", "quality.roles", None),
        ({"messages": [{"role": "narrator", "content": "x"}]}, "roles", "format.role", None),
        ({"messages": None}, "format", "format.missing", None),
        (chat("Say.", "donâ€™t"), "mojibake", "quality.mojibake", None),
        (chat("Say.", "It\ufffds"), "replacement", "quality.replacement_character", None),
        (chat("Say.", "a\u200bb"), "unicode", "quality.control_character", chat("Say.", "ab")),
        (
            chat("Say it.\n<noinput>", "Yes."),
            "noinput",
            "quality.no_input_marker",
            chat("Say it.", "Yes."),
        ),
        (
            chat("Say.", "Yes.\n\n###\n12. Instruction: Next\n12. Output: No"),
            "merged_record",
            "quality.merged_record",
            chat("Say.", "Yes.\n\n###"),
        ),
        (
            chat("Say.", "we go round and round and round again. " * 9),
            "loops",
            "quality.loop",
            None,
        ),
        (chat("Draw.", "<nooutput> This cannot be drawn"), "incapable", "quality.incapable", None),
        (chat("Who?", "I am ChatGPT, made by OpenAI."), "identity", "quality.identity", None),
        (
            chat("Help?", "I'm sorry, but as an AI I cannot assist with that request."),
            "refusal",
            "quality.refusal",
            None,
        ),
        (chat("Say.", "Yes.<|im_end|>"), "leftovers", "quality.leftover", None),
    ],
)
def test_every_rule_does_what_it_is_told(
    tmp_path: Path, row: dict[str, Any], rule: str, code: str, fixed: dict[str, Any] | None
) -> None:
    good = chat("What is two and two?", "Four.")
    path = write(tmp_path / "chat.jsonl", [good, row])

    def run(action: str) -> tuple[sftprep.StageReport, list[dict[str, Any]]]:
        out = tmp_path / f"{action}.jsonl"
        report = sftprep.clean(path, out=out, rules={**OFF, rule: action}, format="messages")
        return report, ledger(report)

    report, rows = run("off")
    assert report.kept == 2
    assert rows[1]["code"] is None
    report, rows = run("flag")
    assert report.kept == 2
    assert (rows[1]["code"], rows[1]["detail"][:7]) == (code, "flagged")
    assert rows[0]["code"] is None
    assert json.loads(lines(report)[1]) == row
    report, rows = run("drop")
    assert report.dropped == {code: 1}
    assert [json.loads(line) for line in lines(report)] == [good]
    if fixed is None:
        if rule != "mojibake":
            with pytest.raises(sftprep.ConfigError, match="cannot be 'fix'"):
                run("fix")
        return
    report, rows = run("fix")
    assert json.loads(lines(report)[1]) == fixed
    assert (rows[1]["code"], rows[1]["detail"][:5]) == (code, "fixed")


def test_a_fix_that_leaves_nothing_ends_the_row(tmp_path: Path) -> None:
    rows = [chat("Hi?", "\u200b"), chat("None", "Yes."), chat("Hi?", "\ue000 icon")]
    report = sftprep.clean(write(tmp_path / "c.jsonl", rows), out=tmp_path / "o.jsonl")
    book = ledger(report)
    assert report.dropped == {"quality.empty_answer": 1}
    # a message that is nothing but a marker would be empty; private characters have a meaning
    assert [row["code"] for row in book[1:]] == [
        "quality.no_input_marker",
        "quality.control_character",
    ]
    assert all(row["detail"].startswith("flagged") for row in book[1:])
    assert [json.loads(line) for line in lines(report)] == rows[1:]


def test_every_format_and_kind_of_file(tmp_path: Path) -> None:
    alpaca = {"instruction": "Say\u200b it.", "input": "<noinput>", "output": "Yes.", "n": 2}
    sharegpt = {
        "conversations": [
            {"from": "human", "value": "Say it.\nNo input"},
            {"from": "gpt", "value": "Y\u200bes."},
        ]
    }
    completion = {"prompt": "", "completion": "y\u200bes"}
    mapped = {"dialogue": {"turns": [{"who": "user", "text": "a\u200b?"}]}, "k": "\u200b"}
    mapped["dialogue"]["turns"].append({"who": "assistant", "text": "b"})
    maps = {"messages": "dialogue.turns", "messages.role": "who", "messages.content": "text"}
    for name, row, want, options in [
        ("alpaca", alpaca, {**alpaca, "instruction": "Say it.", "input": ""}, {}),
        (
            "sharegpt",
            sharegpt,
            {
                "conversations": [
                    {"from": "human", "value": "Say it."},
                    {"from": "gpt", "value": "Yes."},
                ]
            },
            {},
        ),
        ("completion", completion, {"prompt": "", "completion": "yes"}, {}),
        ("text", {"text": "a\u200b"}, {"text": "a"}, {}),
        (
            "mapped",
            mapped,
            {
                "dialogue": {
                    "turns": [{"who": "user", "text": "a?"}, {"who": "assistant", "text": "b"}]
                },
                "k": "\u200b",
            },
            {"map": maps, "format": "messages"},
        ),
    ]:
        path = tmp_path / f"{name}.parquet"
        pa.parquet.write_table(pa.Table.from_pylist([row] * 2), path)
        write(tmp_path / f"{name}.jsonl", [row] * 2)
        for file in (path, tmp_path / f"{name}.jsonl"):
            report = sftprep.clean(file, out=tmp_path / "out.jsonl", overwrite=True, **options)
            assert [json.loads(line) for line in lines(report)] == [want] * 2, file
            ledger(report)


def test_mojibake_is_repaired_by_the_hook_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [chat("Say donâ€™t.", "donâ€™t"), chat("Fine?", "Yes."), chat("Say.", "donâ€™t")]
    path = write(tmp_path / "chat.jsonl", rows)
    asked: list[str] = []

    def repair(text: str) -> str:
        asked.append(text)
        return text.replace("â€™", "’") if "Say" not in text else text

    report = sftprep.clean(path, out=tmp_path / "o.jsonl", rules={"mojibake": "fix"}, repair=repair)
    assert asked == ["Say donâ€™t.", "donâ€™t"], "each text once"
    assert [json.loads(line)["messages"][1]["content"] for line in lines(report)] == [
        "don’t",
        "Yes.",
        "don’t",
    ]
    book = ledger(report)
    assert "fixed messages.1.content: garbled text repaired" in book[0]["detail"]
    assert "flagged mojibake" in book[0]["detail"], "the hook left it"
    monkeypatch.setitem(__import__("sys").modules, "ftfy", None)
    with pytest.raises(sftprep.ConfigError, match="needs ftfy"):
        sftprep.clean(path, dry_run=True, rules={"mojibake": "fix"})


@pytest.mark.parametrize(
    ("rules", "code", "words"),
    [
        ({"colour": "drop"}, "config.unknown", "no rule 'colour'"),
        ({"identity": "burn"}, "config.value", "identity cannot be 'burn'"),
        ({"roles": "fix"}, "config.value", "roles cannot be 'fix'"),
    ],
)
def test_what_is_wrong_is_named(
    tmp_path: Path, rules: dict[str, str], code: str, words: str
) -> None:
    path = write(tmp_path / "chat.jsonl", [chat("A?", "B.")])
    with pytest.raises(sftprep.ConfigError, match=words) as caught:
        sftprep.clean(path, dry_run=True, rules=rules)
    assert caught.value.code == code
    assert caught.value.hint


def test_the_core_has_the_same_rules(tmp_path: Path) -> None:
    path = write(tmp_path / "chat.jsonl", [chat("A?", "B.")])
    source = {"inputs": [str(path)]}
    for name, (default, fixable, _) in RULES.items():
        config = {"source": source, "dry_run": True, "rules": {name: default}}
        json.loads(_core.clean(json.dumps(config)))
        config["rules"] = {name: "fix"}
        if fixable:
            _core.clean(json.dumps(config))
        else:
            with pytest.raises(sftprep.ConfigError):
                _core.clean(json.dumps(config))
    with pytest.raises(sftprep.ConfigError, match="expected one of") as caught:
        _core.clean(json.dumps({"source": source, "rules": {"colour": "off"}}))
    assert all(f"`{name}`" in str(caught.value) for name in RULES)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [chat("A?", "B\u200b."), chat("C?", ""), chat("Who?", "I am ChatGPT by OpenAI.")]
    path = write(tmp_path / "chat.jsonl", rows)
    assert cli.main(["clean", str(path), "--dry-run", "--rule", "identity=drop"]) == 0
    shown = capsys.readouterr().out
    for wanted in ("quality.identity", "quality.empty_answer", "fixed unicode", "nothing was"):
        assert wanted in shown
    out = tmp_path / "o.jsonl"
    assert cli.main(["clean", str(path), "--out", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["facts"]["changed"] == 1
    assert cli.main(["clean", str(path), "--out", str(out), "--rule", "x=drop"]) == 2
    steps = sftprep.why(out, 2)
    assert (steps[0]["stage"], steps[0]["code"]) == ("clean", "quality.empty_answer")


def test_the_planted_defects_are_found(tmp_path: Path) -> None:
    planted = DATA / "quality" / "planted" / "alpaca_10k.jsonl.gz"
    if not planted.exists():
        assert not os.environ.get("SFTPREP_REQUIRE_DATA"), f"{planted} is absent"
        pytest.skip(f"{planted} is absent")
    report = sftprep.clean(planted, out=tmp_path / "clean.jsonl", rules={"loops": "drop"})
    book = ledger(report)
    with gzip.open(planted, "rt", encoding="utf-8") as file:
        ids = [json.loads(line)["id"] for line in file]
    with gzip.open(planted.with_name("alpaca_10k.truth.jsonl.gz"), "rt", encoding="utf-8") as file:
        truth: dict[str, set[str]] = {}
        for line in file:
            row = json.loads(line)
            truth.setdefault(row["defect"], set()).add(row["id"])
    dropped = {ids[row["row"] - 1] for row in book if row["decision"] == "dropped"}
    for defect in ("empty_output", "missing_output", "null_output", "whitespace_output"):
        assert truth[defect] <= dropped, defect
    assert len(truth["loop"] & dropped) >= 0.98 * len(truth["loop"])
    assert len(truth["merged_record"] & dropped) >= 0.95 * len(truth["merged_record"])
    mended = {ids[row["row"] - 1] for row in book if "fixed" in (row["detail"] or "")}
    lost = {ids[row["row"] - 1] for row in book if "lost character" in (row["detail"] or "")}
    assert truth["control_char"] <= mended | dropped | lost, "U+FFFD cannot be fixed, only told"
    assert len(truth["control_char"] & lost) < 0.5 * len(truth["control_char"])
    by_id = {json.loads(line)["id"]: line for line in lines(report)}
    with gzip.open(planted, "rt", encoding="utf-8") as file:
        before = {json.loads(line)["id"]: line.rstrip("\n") for line in file}
    changed = {key for key, line in by_id.items() if line != before[key]}
    assert changed == {key for key in mended if key in by_id}


def test_conversations_that_are_none_go_and_no_others(tmp_path: Path) -> None:
    planted = DATA / "quality" / "planted" / "sharegpt_roles.jsonl.gz"
    if not planted.exists():
        assert not os.environ.get("SFTPREP_REQUIRE_DATA"), f"{planted} is absent"
        pytest.skip(f"{planted} is absent")
    report = sftprep.clean(planted, out=tmp_path / "clean.jsonl")
    with gzip.open(planted, "rt", encoding="utf-8") as file:
        ids = [json.loads(line)["id"] for line in file]
    with gzip.open(planted.with_name("sharegpt_roles.truth.jsonl.gz"), "rt") as file:
        truth = {json.loads(line)["id"] for line in file}
    gone = {ids[row["row"] - 1] for row in ledger(report) if row["decision"] == "dropped"}
    assert gone == truth
    assert len(gone) > 90
