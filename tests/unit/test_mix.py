"""``sftprep mix``: shares exact to one row, drawn by content and seed, nothing lost in silence."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pytest

import sftprep
from sftprep import cli
from sftprep.config import json_of
from sftprep.quality.mix import Unit


def chat(question: str, answer: str) -> dict[str, Any]:
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"messages": messages}


def make(path: Path, name: str, rows: int, words: int = 5) -> Path:
    dice = random.Random(name)
    made = [chat(f"{name} {at}", "word " * dice.randrange(1, 2 * words)) for at in range(rows)]
    file = path / f"{name}.jsonl"
    file.write_text("".join(f"{json.dumps(row)}\n" for row in made), encoding="utf-8")
    return file


def drawn(report: sftprep.StageReport) -> Counter[str]:
    assert report.out is not None
    lines = Path(report.out).read_text(encoding="utf-8").splitlines()
    assert len(lines) == report.written
    return Counter(lines)


def by_source(counts: Counter[str]) -> Counter[str]:
    out: Counter[str] = Counter()
    for line, count in counts.items():
        out[json.loads(line)["messages"][0]["content"].split()[0]] += count
    return out


def book(report: sftprep.StageReport) -> list[dict[str, Any]]:
    assert report.ledger is not None
    with pa.ipc.open_file(report.ledger) as reader:
        rows: list[dict[str, Any]] = reader.read_all().to_pylist()
    assert report.kept + sum(report.dropped.values()) + sum(report.rejected.values()) == len(rows)
    assert sum(row["times"] for row in rows) == report.written
    return rows


@pytest.fixture
def three(tmp_path: Path) -> dict[str, float]:
    sizes = {"a": (400, 0.7), "b": (300, 0.27), "safety": (40, 0.03)}
    return {str(make(tmp_path, name, rows)): share for name, (rows, share) in sizes.items()}


@pytest.mark.parametrize("budget", [1, 7, 100, 333, 500, 571])
def test_shares_of_rows_are_exact(tmp_path: Path, three: dict[str, float], budget: int) -> None:
    report = sftprep.mix(three, out=tmp_path / "m.jsonl", budget=budget)
    counts = drawn(report)
    assert counts.total() == budget
    assert max(counts.values()) == 1
    for name, share in (("a", 0.7), ("b", 0.27), ("safety", 0.03)):
        assert abs(by_source(counts)[name] - share * budget) < 1, name
    rows = book(report)
    assert {row["code"] for row in rows if row["decision"] == "dropped"} == {"mix.not_drawn"}


def test_without_a_budget_one_source_is_used_up(tmp_path: Path, three: dict[str, float]) -> None:
    once = by_source(drawn(sftprep.mix(three, out=tmp_path / "once.jsonl")))
    assert once == {"a": 400, "b": 154, "safety": 17}
    often = sftprep.mix(three, out=tmp_path / "often.jsonl", repeat_max=4)
    counts = drawn(often)
    assert by_source(counts) == {"a": 933, "b": 360, "safety": 40}
    assert set(counts.values()) == {1, 2, 3}
    assert often.facts["shares"][0]["most"] == 3
    rows = book(often)
    assert {row["detail"] for row in rows if row["times"] > 1} == {"2 times", "3 times"}


def test_repeats_have_an_end(tmp_path: Path, three: dict[str, float]) -> None:
    report = sftprep.mix(three, out=tmp_path / "m.jsonl", budget=5000, repeat_max=9)
    counts = drawn(report)
    assert counts.total() == 5000
    assert max(counts.values()) == 9
    with pytest.raises(sftprep.ConfigError, match="more than 8 times") as caught:
        sftprep.mix(three, dry_run=True, budget=5000, repeat_max=8)
    assert "a budget of 4,571 fits" in str(caught.value.hint)
    assert (
        drawn(sftprep.mix(three, out=tmp_path / "n.jsonl", budget=4571, repeat_max=8)).total()
        == 4571
    )


def test_a_cap_bounds_what_is_drawn_from(tmp_path: Path, three: dict[str, float]) -> None:
    report = sftprep.mix(three, out=tmp_path / "m.jsonl", cap_per_source=50, repeat_max=2)
    names: dict[str, set[str]] = {}
    for line in drawn(report):
        names.setdefault(json.loads(line)["messages"][0]["content"].split()[0], set()).add(line)
    assert all(len(lines) <= 50 for lines in names.values())
    assert report.dropped["mix.capped"] == 350 + 250


@pytest.mark.parametrize("unit", ["chars", "tokens", "trained_tokens"])
def test_other_units_are_met_to_one_row(
    tmp_path: Path, three: dict[str, float], unit: Unit, tokenizer_dir: Path
) -> None:
    encode = {"tokenizer": str(tokenizer_dir)}
    report = sftprep.mix(three, out=tmp_path / "m.jsonl", unit=unit, encode=encode)
    shares = report.facts["shares"]
    total = report.facts["budget"]
    encoder = sftprep.Encoder.from_config(json_of(encode))
    sizes = {}
    for line in drawn(report):
        row = json.loads(line)["messages"]
        encoded = encoder.encode(line)
        sizes[line] = {
            "chars": sum(len(each["content"]) for each in row) + 1,
            "tokens": len(encoded),
            "trained_tokens": int((encoded.labels >= 0).sum()),
        }[unit]
    largest = max(sizes.values())
    for share in shares:
        assert abs(share["drawn"] - share["share"] * total) <= largest, share
    if unit != "chars":
        seen = sum(sizes[line] * count for line, count in drawn(report).items())
        assert seen == sum(share["drawn"] for share in shares)


def test_the_order_of_rows_does_not_matter(tmp_path: Path, three: dict[str, float]) -> None:
    first = sftprep.mix(three, out=tmp_path / "m.jsonl", budget=300, seed=5, shuffle=True)
    for path in three:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
        random.Random(path).shuffle(lines)
        Path(path).write_text("\n".join(lines), encoding="utf-8")
    other = sftprep.mix(three, out=tmp_path / "n.jsonl", budget=300, seed=5, shuffle=True)
    assert Path(first.out or "").read_bytes() == Path(other.out or "").read_bytes()
    seeded = sftprep.mix(three, out=tmp_path / "o.jsonl", budget=300, seed=6)
    assert drawn(seeded) != drawn(other)
    step = sftprep.why(tmp_path / "o.jsonl", output_line=300)[0]
    lines = Path(seeded.out or "").read_text(encoding="utf-8").splitlines()
    source = {Path(path).stem: path for path in three}[step["source"]]
    assert lines[299] == Path(source).read_text(encoding="utf-8").splitlines()[step["line"] - 1]


@pytest.mark.parametrize(
    ("parts", "options", "words"),
    [
        ({}, {}, "nothing to mix"),
        ({"a.jsonl": "x"}, {}, "share of a is 'x'"),
        ({"a.jsonl": 0}, {}, "share of a is 0"),
        ({"a.jsonl": 1, "a=b.jsonl": 1}, {}, "two sources are named a"),
        ({"a.jsonl": 1}, {"unit": "words"}, "unit is 'words'"),
        ({"a.jsonl": 1}, {"unit": "tokens"}, "there is none"),
        ({"a.jsonl": 1}, {"repeat_max": 0}, "repeat_max is 0"),
        ({"a.jsonl": 1, "bad.jsonl": 1}, {"unit": "chars"}, "bad has no chars"),
    ],
)
def test_what_is_wrong_is_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    parts: dict[str, Any],
    options: dict[str, Any],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        make(tmp_path, name, 5)
    Path("bad.jsonl").write_text('{"messages": []}\n', encoding="utf-8")
    with pytest.raises(sftprep.ConfigError, match=words) as caught:
        sftprep.mix(parts, out="m.jsonl", **options)
    assert caught.value.hint or not parts
    assert not Path("m.jsonl").exists()


def test_the_command(
    tmp_path: Path, three: dict[str, float], capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"{path}={share:.0%}" for path, share in three.items()]
    assert cli.main(["mix", *words, "--budget", "100", "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "a: 70 of 400 rows, 70 rows, 70.00% of all" in shown
    assert "nothing was written" in shown
    out = str(tmp_path / "m.jsonl")
    assert cli.main(["mix", *words, "--budget", "100", "--out", out, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["written"] == 100
    with pytest.raises(SystemExit):
        cli.main(["mix", "a.jsonl"])
