"""``sftprep pollute``: seeded, with the truth beside; what is observable, ``check`` recovers."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

import sftprep
from sftprep import cli
from sftprep.quality.pollute import DIMENSIONS, Dimension, Truth

RATE = 0.1


def load(path: str | Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows of several formats are tried below; these are plain, distinct and without a finding."""
    path = tmp_path_factory.mktemp("pollute") / "clean.jsonl"
    words = [f"w{chr(97 + n // 26)}{chr(97 + n % 26)}" for n in range(600)]
    with path.open("w", encoding="utf-8") as file:
        for n in range(600):
            own = " ".join(words[(n * 7 + k * k) % 600] for k in range(45))
            messages = [
                {"role": "user", "content": f"What is {words[n]} of {n}?"},
                {"role": "assistant", "content": f"It is {own}, number {n}."},
            ]
            topic = ["history", "law"][n % 2]
            file.write(json.dumps({"topic": topic, "messages": messages}) + "\n")
    return path


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_seed_and_rate_decide_and_the_truth_is_beside(
    clean: Path, tmp_path: Path, dimension: Dimension
) -> None:
    def run(name: str, seed: int) -> tuple[Truth, str, str]:
        truth = sftprep.pollute(
            clean,
            tmp_path / f"{name}.jsonl",
            dimension=dimension,
            rate=RATE,
            seed=seed,
            class_column="topic",
        )
        texts = [Path(path).read_text(encoding="utf-8") for path in (truth.out, truth.truth)]
        return truth, texts[0], texts[1]

    truth, rows, marks = run("a", 1)
    assert (rows, marks) == run("b", 1)[1:]
    assert (rows, marks) != run("c", 2)[1:]
    read = 300 if dimension == "class_balance" else 600
    assert truth.spoiled == round(read * RATE)
    before, after = clean.read_text(encoding="utf-8").splitlines(), rows.splitlines()
    spoiled = load(truth.truth)
    assert len(spoiled) == truth.spoiled and len(after) == truth.written
    changed = {each["row"] for each in spoiled}
    left_out = {each["source_row"] for each in spoiled if each["row"] is None}
    kept = [line for at, line in enumerate(before, 1) if at not in left_out]
    for at, line in enumerate(kept, 1):
        assert (after[at - 1] == line) == (at not in changed), at
    if dimension != "class_balance":
        for each in spoiled:
            assert each["kind"] and 1 <= each["source_row"] <= 600


@pytest.mark.parametrize("rate", [0.05, 0.2])
@pytest.mark.parametrize(
    "dimension", ["feature_accuracy", "completeness", "uniqueness", "consistent_representation"]
)
def test_check_recovers_the_rate(
    clean: Path, tmp_path: Path, dimension: Dimension, rate: float
) -> None:
    truth = sftprep.pollute(clean, tmp_path / "bad.jsonl", dimension=dimension, rate=rate, seed=3)
    assert sftprep.check(clean).dimension(dimension)["rows"] == 0
    report = sftprep.check(truth.out, out=tmp_path / "report")
    found = report.dimension(dimension)["rows"]
    assert abs(found - truth.spoiled) <= 0.1 * truth.spoiled, (found, truth.spoiled)
    marked = {each["row"] for each in load(tmp_path / "report/findings.jsonl") if each["issues"]}
    # of two that are alike either may be the one that would go
    spoiled = [{each["row"], each.get("partner")} for each in load(truth.truth)]
    assert sum(bool(each & marked) for each in spoiled) >= 0.9 * len(spoiled)


def test_check_recovers_what_was_left_out(clean: Path, tmp_path: Path) -> None:
    truth = sftprep.pollute(
        clean,
        tmp_path / "bad.jsonl",
        dimension="class_balance",
        rate=0.4,
        class_column="topic",
    )
    before = sftprep.check(clean, class_column="topic").dimension("class_balance")
    report = sftprep.check(truth.out, class_column="topic")
    assert before["number"] == pytest.approx(0.0, abs=1e-9)
    assert report.dimension("class_balance")["number"] > 0.03
    [panel] = [each for each in report.panels if each["id"] == "class"]
    most, least = (each["rows"] for each in panel["classes"])
    assert 1 - least / most == pytest.approx(0.4, rel=0.1)


def test_exchanged_answers_rank_first_on_real_rows(data: Path, tmp_path: Path) -> None:
    source = tmp_path / "alpaca.jsonl"
    with gzip.open(data / "quality/alpaca/alpaca_data.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [line for line in file if json.loads(line)["output"].strip()][20_000:26_000]
    source.write_text("".join(rows), encoding="utf-8")
    truth = sftprep.pollute(
        source, tmp_path / "bad.jsonl", dimension="target_accuracy", rate=0.03, seed=5
    )
    sftprep.check(truth.out, out=tmp_path / "report")
    found = load(tmp_path / "report/findings.jsonl")
    scores = {each["row"]: each["swapped"] for each in found}
    spoiled = {each["row"] for each in load(truth.truth)}
    bad = [scores.get(row, 0.0) for row in spoiled]
    good = [scores.get(row, 0.0) for row in range(1, truth.written + 1) if row not in spoiled]
    wins = sum(sum(b > g for g in good) for b in bad) / (len(bad) * len(good))
    print(f"exchanged answers: AUC {wins:.3f}")
    assert wins >= 0.95


FORMATS = {
    "alpaca": {"instruction": "Why is that so?", "input": "", "output": "Because it is."},
    "sharegpt": {
        "conversations": [
            {"from": "human", "value": "Why is that so?"},
            {"from": "gpt", "value": "Because it is."},
        ]
    },
    "prompt_completion": {"prompt": "Why is that so?", "completion": "Because it is."},
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("dimension", DIMENSIONS[:5])
def test_every_format(tmp_path: Path, name: str, dimension: Dimension) -> None:
    source = tmp_path / "rows.json"
    source.write_text(json.dumps([FORMATS[name]] * 4), encoding="utf-8")
    truth = sftprep.pollute(source, tmp_path / "bad.jsonl", dimension=dimension, rate=0.5, seed=2)
    assert truth.spoiled == 2 and truth.written == (6 if dimension == "uniqueness" else 4)


def test_bad_input_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = tmp_path / "good.jsonl"
    good.write_text(json.dumps(FORMATS["alpaca"]) + "\n", encoding="utf-8")
    out = tmp_path / "out.jsonl"

    def run(**options: object) -> None:
        arguments: dict[str, Any] = {"dimension": "completeness", "rate": 0.5, **options}
        sftprep.pollute(arguments.pop("data", good), arguments.pop("out", out), **arguments)

    for options in (
        {"dimension": "beauty"},
        {"rate": 1.5},
        {"dimension": "class_balance"},
        {"dimension": "class_balance", "class_column": "nowhere"},
        {"out": tmp_path / "out.txt"},
        {"out": good},
        {"data": tmp_path / "rows.parquet"},
    ):
        with pytest.raises(sftprep.ConfigError):
            run(**options)
    for text in ("{broken\n", '{"text": "raw"}\n', "[1]\n", "7\n"):
        bad = tmp_path / "bad.jsonl"
        bad.write_text(text, encoding="utf-8")
        with pytest.raises(sftprep.FormatError):
            run(data=bad)
    with pytest.raises(sftprep.SourceError):
        run(data=tmp_path / "nowhere.jsonl")
    (tmp_path / "cut.jsonl.gz").write_bytes(b"\x1f\x8b\x08broken")
    with pytest.raises(sftprep.SourceError):
        run(data=tmp_path / "cut.jsonl.gz")
    run()
    with pytest.raises(sftprep.OutputError):
        run()
    arguments = ["pollute", str(good), "--dim", "completeness", "--rate", "1", "--out", str(out)]
    assert cli.main([*arguments, "--overwrite"]) == 0
    assert "1 of 1 rows spoiled" in capsys.readouterr().out
