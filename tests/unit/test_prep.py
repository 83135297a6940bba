"""``sftprep prep``: stages in one ledger, deterministic, whole or not there; ``sftprep diff``."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pytest

import sftprep
from sftprep import cli


def chat(question: str, answer: str = "Yes, it is.") -> dict[str, Any]:
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"messages": messages}


def sentence(dice: random.Random) -> str:
    return " ".join(f"word{dice.randrange(900)}" for _ in range(20))


LEAK = "How many apples has Ann if she buys seven apples and then gives two of them to Bob?"


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two inputs of different formats, an exam, and defects of every kind."""
    monkeypatch.chdir(tmp_path)
    dice = random.Random(0)
    rows: list[Any] = [chat(sentence(dice), sentence(dice)) for _ in range(40)]
    rows[3] = chat("Empty?", " ")
    rows[5] = chat("zero\u200bwidth " + sentence(dice), sentence(dice))
    rows[7] = rows[6]
    rows[9] = chat(f"Solve. {LEAK}", "Five.")
    lines = [json.dumps(row) for row in rows]
    lines[11] = "{broken"
    Path("chat.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    tasks = [
        {"instruction": sentence(dice), "input": "<noinput>", "output": sentence(dice), "n": at}
        for at in range(30)
    ]
    tasks.append(dict(tasks[4]))
    Path("tasks.jsonl").write_text("".join(json.dumps(t) + "\n" for t in tasks), encoding="utf-8")
    Path("exam.jsonl").write_text(json.dumps({"text": LEAK}) + "\n", encoding="utf-8")
    return tmp_path


def recipe(**tables: object) -> dict[str, Any]:
    whole: dict[str, Any] = {
        "inputs": {"chat": "chat.jsonl", "tasks": "tasks.jsonl"},
        "rows": {"max_reject_rate": 0.2},
        "clean": {},
        "dedup": {},
        "decontaminate": {"against": ["exam.jsonl"]},
        "mix": {"weights": {"chat": 0.5, "tasks": "50%"}, "budget": 50},
        "split": {"val": "10%"},
        "pack": {"tokenizer": "builtin", "max_len": 256},
    }
    return {key: value for key, value in {**whole, **tables}.items() if value is not None}


def ledger(report: sftprep.PrepReport) -> list[dict[str, Any]]:
    assert report.ledger is not None
    with pa.ipc.open_file(report.ledger) as reader:
        rows: list[dict[str, Any]] = reader.read_all().to_pylist()
    kept = [row for row in rows if row["decision"] == "kept"]
    assert [row["row"] for row in rows] == list(range(1, report.rows + 1))
    assert len(kept) == report.kept
    assert sum(row["times"] for row in rows) == report.lines
    gone = sum(report.dropped.values()) + sum(report.rejected.values())
    assert report.kept + gone == report.rows
    assert all(row["code"] and row["stage"] for row in rows if row["decision"] != "kept")
    return rows


def output(report: sftprep.PrepReport) -> dict[str, list[str]]:
    assert report.out is not None
    return {
        name: (Path(report.out) / path).read_text(encoding="utf-8").splitlines()
        for name, path in report.outputs["rows"].items()
    }


def test_every_row_is_followed_to_its_end(room: Path) -> None:
    report = sftprep.prep(recipe(), out="prepared")
    rows = ledger(report)
    assert report.rows == 71
    by_row = {row["row"]: row for row in rows}
    assert (by_row[4]["stage"], by_row[4]["code"]) == ("clean", "quality.empty_answer")
    assert (by_row[8]["stage"], by_row[8]["code"]) == ("dedup", "quality.identical")
    assert (by_row[8]["partner_source"], by_row[8]["partner_line"]) == ("chat", 7)
    assert by_row[8]["partner_row"] == 7
    assert (by_row[10]["stage"], by_row[10]["code"]) == ("decontaminate", "quality.leak")
    assert (by_row[10]["partner_source"], by_row[10]["partner_line"]) == ("exam", 1)
    assert (by_row[12]["decision"], by_row[12]["code"]) == ("rejected", "row.json")
    assert (by_row[71]["source"], by_row[71]["line"]) == ("tasks", 31)
    assert by_row[71]["partner_row"] in (45, None)
    assert {row["code"] for row in rows if row["stage"] == "mix" and not row["times"]} <= {
        "mix.not_drawn"
    }
    parts = output(report)
    assert sum(map(len, parts.values())) == 50 == report.lines
    assert len(parts["val"]) == 5
    sources = {"chat": Path("chat.jsonl"), "tasks": Path("tasks.jsonl")}
    before = {name: path.read_text(encoding="utf-8").splitlines() for name, path in sources.items()}
    for row in rows:
        if row["decision"] != "kept":
            continue
        line = json.loads(parts[row["part"]][row["output_line"] - 1])
        first = json.loads(before[row["source"]][row["line"] - 1])
        if row["source"] == "tasks":
            assert "'<noinput>' taken out" in row["detail"]
            first["input"] = ""
        if row["source"] == "chat" and row["line"] == 6:
            assert row["code"] == "quality.control_character"
            first["messages"][0]["content"] = first["messages"][0]["content"].replace("\u200b", "")
        assert line == first
    shares = {source["name"]: source for source in report.sources}
    assert shares["chat"]["lines"] == shares["tasks"]["lines"] == 25
    packs = {
        name: sftprep.ShardDataset(f"prepared/{path}")
        for name, path in report.outputs["packs"].items()
    }
    trained = sum(int((row["labels"] >= 0).sum()) for rows_of in packs.values() for row in rows_of)
    assert trained == sum(each["trained_tokens"] for each in report.sources) > 0
    assert [each["stage"] for each in report.funnel] == [
        *("clean", "dedup", "decontaminate", "mix", "split"),
        *("pack", "pack"),
    ]
    saved = json.loads(Path("prepared/prep.json").read_text(encoding="utf-8"))
    assert saved["recipe_hash"] == report.recipe_hash
    step = sftprep.why("prepared", "tasks:31")[0]
    assert (step["row"], step["stage"]) == (71, by_row[71]["stage"])
    assert sftprep.why("prepared", 10)[0]["partner_source"] == "exam"


def test_again_is_the_same_and_the_order_of_rows_is_nothing(room: Path) -> None:
    first = sftprep.prep(recipe(), out="prepared")
    one = Path("prepared/ledger.arrow").read_bytes()
    rows = output(first)
    sftprep.prep(recipe(), out="prepared", overwrite=True)
    assert Path("prepared/ledger.arrow").read_bytes() == one
    lines = Path("tasks.jsonl").read_text(encoding="utf-8").splitlines()
    random.Random(1).shuffle(lines)
    Path("tasks.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    other = sftprep.prep(recipe(), out="shuffled")
    assert {name: sorted(part) for name, part in output(other).items()} == {
        name: sorted(part) for name, part in rows.items()
    }
    found = sftprep.diff("prepared", "shuffled")
    assert found.by == "content"
    assert found.equal
    assert found.same == 50


def test_repeats_and_few_stages(room: Path) -> None:
    mixed = {"weights": {"chat": 1, "tasks": 2}, "repeat_max": 3, "shuffle": True, "budget": 120}
    report = sftprep.prep(recipe(mix=mixed, split=None, pack=None), out="a", keep_stages=False)
    rows = ledger(report)
    assert report.lines == 120 == len(output(report)["rows"])
    assert max(row["times"] for row in rows) == 3
    assert not Path("a/stages").exists()
    only = {"inputs": ["chat.jsonl"], "rows": {"max_reject_rate": 0.2}, "dedup": {}}
    report = sftprep.prep(only, out="b")
    assert {row["stage"] for row in ledger(report)} == {"dedup"}
    packed = {"inputs": ["t=tasks.jsonl"], "pack": {"tokenizer": "builtin", "max_len": 256}}
    report = sftprep.prep(packed, out="c")
    assert report.kept == 31
    assert report.sources[0]["name"] == "t"
    assert report.sources[0]["trained_tokens"] > 0


def test_select_is_a_stage_like_the_others(room: Path) -> None:
    steps = [{"step": "top", "score": "n", "count": 10}]
    few = {"inputs": ["tasks.jsonl"], "select": {"steps": steps}, "split": {"val": 2}}
    report = sftprep.prep(few, out="s")
    rows = ledger(report)
    assert report.kept == 10
    kept = {json.loads(line)["n"] for part in output(report).values() for line in part}
    assert kept == set(range(20, 30))
    assert {(row["stage"], row["code"]) for row in rows if row["decision"] == "dropped"} == {
        ("select", "select.rank")
    }
    assert report.stages[0]["facts"]["funnel"][-1]["after"] == 10


def test_tokens_are_counted_with_the_options_of_pack(room: Path) -> None:
    mixed = {"weights": {"chat": 0.3, "tasks": 0.7}, "unit": "trained_tokens"}
    report = sftprep.prep(recipe(mix=mixed), out="t")
    total = sum(each["trained_tokens"] for each in report.sources)
    facts = next(each["facts"] for each in report.stages if each["stage"] == "mix")
    drawn = {each["name"]: each["drawn"] for each in facts["shares"]}
    assert {each["name"]: each["trained_tokens"] for each in report.sources} == drawn
    assert abs(drawn["chat"] / total - 0.3) < 0.1


def test_a_dry_run_writes_nothing(room: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(room.iterdir())
    report = sftprep.prep(recipe(), dry_run=True)
    assert (report.out, report.ledger, report.lines) == (None, None, 50)
    assert sorted(room.iterdir()) == before
    toml = (
        'inputs = ["chat.jsonl"]\nout = "o"\n[rows]\nmax_reject_rate = 0.2\n[clean]\n'
        '[decontaminate]\nagainst = ["exam.jsonl"]\n'
    )
    Path("recipe.toml").write_text(toml, encoding="utf-8")
    assert cli.main(["prep", "recipe.toml", "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "quality.leak 1" in shown
    assert "nothing was written" in shown
    assert cli.main(["prep", "recipe.toml", "--json", "--drop-stages"]) == 0
    assert json.loads(capsys.readouterr().out)["out"] == "o"
    assert sorted(path.name for path in Path("o").iterdir()) == [
        *("ledger.arrow", "prep.json", "rows.jsonl"),
    ]


def test_yaml_says_the_same(room: Path) -> None:
    pytest.importorskip("yaml")
    text = "inputs: {chat: chat.jsonl}\nrows: {max_reject_rate: 0.2}\nclean: {noinput: blank}\n"
    Path("recipe.yaml").write_text(text, encoding="utf-8")
    report = sftprep.prep("recipe.yaml", dry_run=True)
    assert report.rows == 40


@pytest.mark.parametrize(
    ("tables", "code", "words"),
    [
        ({"inputs": None}, "config.value", "no inputs"),
        ({"inputs": {"a b": "x"}}, "config.value", "is no input"),
        ({"colour": {}}, "config.unknown", "no option colour"),
        ({"dedup": {"treshold": 1}}, "config.unknown", "no option dedup.treshold"),
        ({"dedup": "yes"}, "config.value", "must be a table"),
        ({"clean": {"identity": "burn"}}, "config.value", "cannot be 'burn'"),
        ({"decontaminate": {}}, "config.value", "decontaminate has no against"),
        ({"mix": {"weights": {"chat": 1}}}, "config.value", "weights are for chat"),
        ({"mix": {"weights": {"chat": 1, "tasks": 1}, "budget": 999}}, "config.value", "999"),
        ({"inputs": {"chat": "none.jsonl"}, "mix": None}, "source.missing", "no such file"),
        ({"pack": {"tokenizer": "nowhere"}}, "tokenizer", None),
        ({"rows": {}}, "run.reject_rate", None),
    ],
)
def test_a_failure_leaves_nothing_that_looks_whole(
    room: Path, tables: dict[str, Any], code: str, words: str | None
) -> None:
    if tables == {"rows": {}}:
        tables = {"rows": {"max_reject_rate": 0.0}}
    with pytest.raises(sftprep.SftprepError, match=words) as caught:
        sftprep.prep(recipe(**tables), out="prepared")
    assert str(caught.value.code).startswith(code)
    assert not Path("prepared").exists()


def test_only_its_own_folder_is_replaced(room: Path) -> None:
    Path("mine").mkdir()
    Path("mine/precious.txt").write_text("mine", encoding="utf-8")
    few = recipe(mix=None, split=None, pack=None)
    for overwrite in (False, True):
        with pytest.raises(sftprep.OutputError, match="exists"):
            sftprep.prep(few, out="mine", overwrite=overwrite)
    assert Path("mine/precious.txt").read_text(encoding="utf-8") == "mine"
    sftprep.prep(few, out="p")
    with pytest.raises(sftprep.OutputError, match="exists"):
        sftprep.prep(few, out="p")
    again = {**few, "inputs": {"chat": "p/rows.jsonl"}}
    with pytest.raises(sftprep.ConfigError, match="lies in the output folder"):
        sftprep.prep(again, out="p", overwrite=True)
    assert Path("p/prep.json").exists()


def test_files_of_one_input_have_one_format(room: Path) -> None:
    mixed = {"inputs": {"all": "[ct]*s*.jsonl"}, "clean": {}, "rows": {"max_reject_rate": 0.2}}
    Path("cs.jsonl").write_text(json.dumps(chat("A?")) + "\n", encoding="utf-8")
    with pytest.raises(sftprep.ConfigError, match="formats alpaca, messages"):
        sftprep.prep(mixed, out="o")


def test_a_difference_is_told_with_its_reason(
    room: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = recipe(mix=None, pack=None, decontaminate=None)
    sftprep.prep(few, out="a")
    sftprep.prep({**few, "clean": {"empty_answer": "flag"}, "dedup": {"exact_only": True}}, out="b")
    lines = Path("chat.jsonl").read_text(encoding="utf-8").splitlines()
    Path("chat.jsonl").write_text(
        "\n".join([*lines[1:], json.dumps(chat("New?"))]), encoding="utf-8"
    )
    sftprep.prep(few, out="c")
    found = sftprep.diff("a", "b")
    assert found.only_a["rows"] == 0
    assert found.only_b["why"] == {"clean: quality.empty_answer": 1}
    assert {each["name"] for each in found.settings} == {
        "clean.empty_answer",
        "dedup.exact_only",
    }
    assert not found.equal
    moved = sftprep.diff("a", "c")
    assert moved.only_a["why"] == moved.only_b["why"] == {"not an input": 1}
    assert moved.settings == []
    assert cli.main(["diff", "a", "b"]) == 0
    shown = capsys.readouterr().out
    assert "clean: quality.empty_answer" in shown
    assert "settings that differ" in shown
    assert cli.main(["diff", "a", "a", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["equal"] is True


def test_packs_are_compared_too(room: Path) -> None:
    with Path("tasks.jsonl").open("a", encoding="utf-8") as file:
        file.writelines(
            json.dumps(row) + "\n" for row in [{"instruction": "A?", "output": "B."}] * 3
        )
    for out, length in (("x", 512), ("y", 64)):
        sftprep.pack("tasks.jsonl", out=out, tokenizer="builtin", max_len=length, overlong="drop")
    found = sftprep.diff("x", "y")
    assert (found.kind, found.by) == ("pack", "place")
    assert set(found.only_a["why"]) == {"pack: pack.overlong"}
    assert "pack.max_len" in {each["name"] for each in found.settings}
    assert found.sources[0]["a"]["trained_tokens"] > found.sources[0]["b"]["trained_tokens"]
    sftprep.prep(recipe(mix=None, pack=None), out="p")
    with pytest.raises(sftprep.ConfigError, match="was written by"):
        sftprep.diff("x", "p")
