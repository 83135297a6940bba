"""``sftprep flan``: rows by templates, as FLAN's own preprocessing writes them."""

from __future__ import annotations

import gzip
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from reference import trees as reference

import sftprep
from sftprep import cli
from sftprep.quality.instruct import templates_of

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("SFTPREP_TEST_DATA", ROOT.parent / "shared" / "data"))
TEMPLATES = {
    "nli": [
        ["{premise}\n\nTrue? {hypothesis}\n\n{options_}", "{answer}"],
        ["Does '{premise}' say '{hypothesis}'?", "{answer}"],
        ["{hypothesis} {{not a field}} { neither } {premise}", "{answer} ({weight})"],
    ],
    "lost": [["{a}\n{b}", "{c}"], ["Sentence: {a}n\n{b}", "{c}"], ["{a}nQ: {b}n", "{c}n"]],
}
ROW = {
    "premise": "It {hypothesis} rains.",
    "hypothesis": "It is wet.",
    "options": ["yes", "no"],
    "answer": "yes",
    "weight": 0.5,
}
Json = Any


def write(path: Path, rows: list[Json]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def rows_of(path: Path | str) -> list[Json]:
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def made(tmp_path: Path, rows: list[Json], task: str = "nli", **options: Any) -> list[Json]:  # noqa: ANN401
    out = tmp_path / "out.jsonl"
    given: dict[str, Any] = {"templates": TEMPLATES, "task": task, "overwrite": True, **options}
    report = sftprep.flan(write(tmp_path / "rows.jsonl", rows), out=out, **given)
    assert report.used + report.capped == report.rows == len(rows)
    assert sum(report.templates) == report.written
    found = rows_of(out)
    assert len(found) == report.written
    return found


def test_a_row_by_each_template(tmp_path: Path) -> None:
    found = made(tmp_path, [ROW], choice="all")
    assert [(row["template"], row["row"], row["task"]) for row in found] == [
        (1, 1, "nli"),
        (2, 1, "nli"),
        (3, 1, "nli"),
    ]
    assert found[0]["prompt"] == (
        "It {hypothesis} rains.\n\nTrue? It is wet.\n\nOPTIONS:\n- yes\n- no"
    )
    assert found[2]["prompt"] == "It is wet. {{not a field}} { neither } It {hypothesis} rains."
    assert found[2]["completion"] == "yes (0.5)"


def test_which_template_a_row_takes(tmp_path: Path) -> None:
    rows = [ROW] * 50
    assert [row["template"] for row in made(tmp_path, rows)] == [1 + at % 3 for at in range(50)]
    drawn = [row["template"] for row in made(tmp_path, rows, choice="draw", seed=3)]
    assert drawn == [row["template"] for row in made(tmp_path, rows, choice="draw", seed=3)]
    assert drawn != [row["template"] for row in made(tmp_path, rows, choice="draw", seed=4)]
    assert set(drawn) == {1, 2, 3}


def test_options_are_written_as_asked(tmp_path: Path) -> None:
    letters = made(tmp_path, [ROW], options="letters")[0]["prompt"]
    assert letters.endswith("OPTIONS:\n(A) yes\n(B) no")
    without = made(tmp_path, [{**ROW, "options": None}], options="none")[0]["prompt"]
    assert without == "It {hypothesis} rains.\n\nTrue? It is wet."


def test_a_cap_draws_rows(tmp_path: Path) -> None:
    rows = [{**ROW, "answer": str(at)} for at in range(100)]
    found = made(tmp_path, rows, cap=30, seed=1)
    numbers = [row["row"] for row in found]
    assert len(numbers) == 30
    assert numbers == sorted(numbers) != list(range(1, 31))
    assert numbers == [row["row"] for row in made(tmp_path, rows, cap=30, seed=1)]
    assert len(made(tmp_path, rows, cap=100)) == 100


def test_lost_line_breaks_are_refused_mended_or_kept(tmp_path: Path) -> None:
    row = {"a": "one", "b": "two", "c": "three"}
    with pytest.raises(sftprep.ConfigError, match=r"template 2 of lost has \{a\}n") as caught:
        made(tmp_path, [row], task="lost")
    assert "--lost-breaks fix" in str(caught.value.hint)
    fixed = made(tmp_path, [row], task="lost", choice="all", lost_breaks="fix")
    assert [it["prompt"] for it in fixed] == ["one\ntwo", "Sentence: one\n\ntwo", "one\nQ: two\n"]
    assert fixed[2]["completion"] == "three\n"
    kept = made(tmp_path, [row], task="lost", choice="all", lost_breaks="keep")
    assert kept[1]["prompt"] == "Sentence: onen\ntwo"


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"hypothesis": None}, "format.type", "hypothesis is null"),
        ({"premise": ["a"]}, "format.type", "premise is a list"),
        ({"options": "yes"}, "format.type", "options must be a list of texts"),
    ],
)
def test_a_field_of_another_type_is_named(
    tmp_path: Path, change: Json, code: str, field: str
) -> None:
    with pytest.raises(sftprep.FormatError, match=field) as caught:
        made(tmp_path, [ROW, {**ROW, **change}], choice="all")
    assert (caught.value.code, caught.value.line) == (code, 2)


@pytest.mark.parametrize("name", ["premise", "options", "answer"])
def test_a_field_that_is_missing_is_named(tmp_path: Path, name: str) -> None:
    row = {key: value for key, value in ROW.items() if key != name}
    with pytest.raises(sftprep.FormatError) as caught:
        made(tmp_path, [ROW, row], choice="all")
    assert caught.value.code == "format.missing"
    assert caught.value.line == 2
    assert caught.value.field == ("options_" if name == "options" else name)


@pytest.mark.parametrize(
    "wrong",
    [
        {"task": "other"},
        {"templates": {"nli": []}},
        {"templates": {"nli": [["one"]]}},
        {"templates": {"nli": [["one", 2]]}},
        {"templates": []},
        {"choice": "some"},
        {"options": "some"},
        {"lost_breaks": "some"},
        {"cap": -1},
    ],
)
def test_wrong_options_are_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    if wrong.get("templates") == []:
        wrong = {"templates": write(tmp_path / "t.json", [[]])}
    with pytest.raises(sftprep.ConfigError):
        made(tmp_path, [ROW], **wrong)


def test_packing_takes_what_is_written(tmp_path: Path) -> None:
    made(tmp_path, [ROW])
    for messages in (False, True):
        out = tmp_path / f"packs-{messages}"
        made(tmp_path, [ROW, ROW], messages=messages)
        report = sftprep.pack(tmp_path / "out.jsonl", out=out, tokenizer="builtin")
        assert report.totals.documents == 2
        assert report.sources[0].format == ("messages" if messages else "prompt_completion")


def real(name: str) -> Path:
    path = DATA / "quality" / "flan" / name
    if not path.is_file():
        if os.environ.get("SFTPREP_REQUIRE_DATA") == "1":
            pytest.fail(f"{path} is not there")
        pytest.skip(f"{path} is not there")
    return path


def test_all_real_templates_are_written_as_by_the_reference(tmp_path: Path) -> None:
    path = real("templates_v1.json")
    tasks = json.loads(path.read_text(encoding="utf-8"))
    count, lost = 0, Counter[str]()
    for task, templates in tasks.items():
        fields = {name for it in templates_of(path, task) for text in it for name in names(text)}
        row: dict[str, Json] = {name: f"<{name}> of {{x}}n and \\1" for name in fields}
        row.pop("options_", None)
        row["options"] = ["it is not possible to tell", "yes"]
        found = made(tmp_path, [row], task, templates=path, choice="all", lost_breaks="keep")
        expected = [reference.flan((it[0], it[1]), row) for it in templates]
        assert [(it["prompt"], it["completion"]) for it in found] == expected, task
        count += len(found)
        for at, it in enumerate(templates_of(path, task), 1):
            if it.lost_breaks():
                lost[f"{task} {at}"] += 1
                assert it.mended().lost_breaks() == []
    assert count == sum(len(templates) for templates in tasks.values()) >= 310
    assert lost == {"anli 6": 1, "anli 7": 1, "anli 8": 1}


def names(text: str) -> list[str]:
    import re

    return re.findall(r"\{(\w*)\}", text)


def test_real_rows_that_are_arrays(tmp_path: Path) -> None:
    path = real("cot_strategyqa.jsonl.gz")
    templates = {"cot": [["Q: {question}\nA:", " {rationale} So the answer is {answer}."]]}
    report = sftprep.flan(
        path,
        templates=templates,
        task="cot",
        fields=["question", "answer", "rationale"],
        out=tmp_path / "out.jsonl",
    )
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        first = json.loads(next(lines))
    assert rows_of(str(report.out))[0]["prompt"] == f"Q: {first[0]}\nA:"
    with pytest.raises(sftprep.FormatError, match="array of 3"):
        sftprep.flan(path, templates=templates, task="cot", dry_run=True)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    templates = tmp_path / "templates.json"
    templates.write_text(json.dumps(TEMPLATES), encoding="utf-8")
    rows = write(tmp_path / "rows.jsonl", [ROW] * 5)
    command = ["flan", str(rows), "--templates", str(templates), "--task", "nli"]
    assert cli.main([*command, "--cap", "2", "--out", str(tmp_path / "o.jsonl")]) == 0
    out = capsys.readouterr().out
    assert "2 of 5 rows by 3 templates" in out
    assert "3 rows beyond the cap left out" in out
    assert cli.main([*command, "--all-templates", "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["written"] == 15
    assert cli.main([*command, "--out", str(tmp_path / "o.jsonl")]) == 2
    assert cli.main([*command, "--out", str(rows), "--overwrite"]) == 2


def gsm8k(name: str) -> list[Json]:
    path = DATA / "quality" / "gsm8k" / name
    if not path.is_file():
        if os.environ.get("SFTPREP_REQUIRE_DATA") == "1":
            pytest.fail(f"{path} is not there")
        pytest.skip(f"{path} is not there")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def test_rows_of_one_template_are_not_taken_for_duplicates(tmp_path: Path) -> None:
    with gzip.open(real("cot_strategyqa.jsonl.gz"), "rt", encoding="utf-8") as lines:
        facts = [json.loads(line)[0] for line in lines]
    facts += [row["question"] for row in gsm8k("flan_cot_first3700.jsonl.gz")]
    facts = list(dict.fromkeys(facts))[:5000]
    long = " ".join(f"Rule {number} is to think of point {number + 1}." for number in range(60))
    template = [[f"{long}\n\nQuestion: {{question}}\n\n{{options_}}", "{answer}"]]
    rows = [{"question": it, "options": ["yes", "no"], "answer": "yes"} for it in facts]
    made(tmp_path, rows, "qa", templates={"qa": template})
    plain = write(tmp_path / "facts.jsonl", [{"text": fact} for fact in facts])
    alike = sftprep.dedup(plain, dry_run=True, threshold=0.7).dropped
    tempted = sftprep.dedup(tmp_path / "out.jsonl", dry_run=True, threshold=0.7, common=0).dropped
    aware = sftprep.dedup(tmp_path / "out.jsonl", dry_run=True, threshold=0.7).dropped
    print(f"{len(facts)} rows: {alike} alike, {tempted} by the template, {aware} with the rule")
    assert len(facts) == 5000
    assert sum(tempted.values()) > 2500, "the template must tempt"
    assert sum(aware.values()) <= sum(alike.values())


def test_copies_of_another_collection_match_across_formats(tmp_path: Path) -> None:
    original = gsm8k("openai_train_first3700.jsonl.gz")
    copies = gsm8k("flan_cot_first3700.jsonl.gz")
    chats = [{"messages": [user(row["question"]), assistant(row["answer"])]} for row in original]
    write(tmp_path / "chats.jsonl", chats)
    template = {"gsm8k": [["{question}", "{answer}"]]}
    # one of the copies is a question alone
    made(tmp_path, [{"answer": "", **row} for row in copies], "gsm8k", templates=template)
    inputs = {"original": tmp_path / "chats.jsonl", "flan": tmp_path / "out.jsonl"}
    report = sftprep.dedup(inputs, dry_run=True, field="prompt", keep="first")
    formats = [source["format"] for source in report.sources]
    assert formats == ["messages", "prompt_completion"]
    left = report.sources[1]["kept"]
    print(f"{len(copies) - left} of {len(copies)} matched: {report.dropped}")
    assert left <= 0.001 * len(copies)


def user(text: str) -> Json:
    return {"role": "user", "content": text}


def assistant(text: str) -> Json:
    return {"role": "assistant", "content": text}
