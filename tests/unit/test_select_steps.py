"""The steps of ``sftprep select`` as they are written, and what is said of wrong ones."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import sftprep
from sftprep import cli
from sftprep.quality.steps import KINDS, from_text, step_of


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def chat(question: str = "What?", answer: str = "That.", **more: object) -> dict[str, Any]:
    return {"instruction": question, "output": answer, **more}


def test_wrong_steps_are_named(tmp_path: Path) -> None:
    rows = [chat(n=1, t="x", v=[1.0, 2.0]), chat(n=2, t="y", v=[3.0])]
    path = write(tmp_path / "chat.jsonl", rows)
    wrong: list[tuple[Any, str]] = [
        ("nothing", "no step 'nothing'"),
        ({"score": "n"}, "has no name"),
        ([], "no step"),
        ({"step": "top", "score": "n"}, "either count or share"),
        ({"step": "top", "count": 1}, "needs score"),
        ({"step": "top", "score": "n", "count": "x"}, "a whole number"),
        ({"step": "top", "score": "n", "share": 2}, "0 to 1"),
        ({"step": "top", "score": "n", "many": 2}, "no option 'many'"),
        ({"step": "top", "score": "m", "count": 1}, "no row has a column 'm'"),
        ({"step": "top", "score": "t", "count": 1}, "'x' in row 1, not numbers"),
        ({"step": "bounds", "score": "n"}, "no bound"),
        ({"step": "greedy"}, "no vectors"),
        ({"step": "greedy", "embedding": "v"}, "no vectors of one length"),
        ({"step": "greedy", "embedding": np.zeros((3, 2))}, "3 vectors for 2 rows"),
        ({"step": "greedy", "novelty": "tags", "tags": "t"}, "no list of texts"),
        ({"step": "kmeans", "embedding": "v", "clusters": 0, "per_cluster": 1}, "1 or more"),
        ({"step": "facility_location", "embedding": "v"}, "either budget"),
        ({"step": "quality", "rules": [{"pattern": "("}]}, "quality.rules"),
        ({"step": "unsolved"}, "no column begins with 'solved_by_'"),
        ({"step": "diversity", "budget": 1, "seed": -1}, "seed"),
        ({"step": "where", "columns": {"n": {"least": 1}}}, "no test 'least'"),
    ]
    for step, why in wrong:
        with pytest.raises(sftprep.ConfigError, match=why):
            sftprep.select(path, step, dry_run=True)
    with pytest.raises(sftprep.SourceError, match="no such file"):
        sftprep.select(
            path, {"step": "greedy", "embedding": str(tmp_path / "no.npy")}, dry_run=True
        )


ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 12) | st.just(2**70),
    st.floats(),
    st.sampled_from(
        ["n", "t", "v", "tags", "n*", "n*2", "(", "", "s1", "nearest", "sqrt", "cosine"]
    ),
)
NESTED = st.recursive(
    ANYTHING,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["n", "t", "v", "min", "contains", "matches", "is", "pattern"]),
            inner,
            max_size=2,
        )
    ),
    max_leaves=4,
)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_no_step_breaks_whatever_it_says(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    rows = [
        chat(n=at, t="xy"[at % 2], v=[at, 1.0], tags=["a"] * at, solved_by_a=0) for at in range(5)
    ]
    path = write(tmp_path_factory.mktemp("select") / "chat.jsonl", rows)
    name = data.draw(st.sampled_from(sorted(KINDS)))
    options = {
        each.name: data.draw(NESTED, label=each.name)
        for each in dataclasses.fields(KINDS[name])
        if each.name not in {"file"} and data.draw(st.booleans())
    }
    good = {"score": "n", "embedding": "v", "budget": 2, "first": 1, "clusters": 2, "tags": "tags"}
    for key, value in good.items():
        if key in options and data.draw(st.booleans()):
            options[key] = value
    with contextlib.suppress(sftprep.ConfigError):
        report = sftprep.select(path, {"step": name, **options}, dry_run=True, threads=1)
        assert report.kept + sum(report.dropped.values()) == report.rows == 5


def test_the_command_writes_the_same_steps() -> None:
    assert from_text("greedy,sort=a*b,threshold=0.8,budget=6") == {
        "step": "greedy", "sort": "a*b", "threshold": 0.8, "budget": 6,
    }  # fmt: skip
    assert from_text('where,columns={"a": [1, 2], "b": "x,y"}') == {
        "step": "where", "columns": {"a": [1, 2], "b": "x,y"},
    }  # fmt: skip
    assert from_text('{"step": "top", "score": "a", "count": 1}')["count"] == 1
    for name in KINDS:
        assert name in cli.select.EXAMPLES or name == "difficulty"
    assert step_of("quality")[0] == "quality"


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [chat(score=at % 5, kind="ab"[at % 2]) for at in range(20)]
    path = write(tmp_path / "chat.jsonl", rows)
    out = tmp_path / "best.jsonl"
    steps = ["--min", "score=2", "--where", "kind=a", "--top", "score=50%"]
    assert cli.main(["select", str(path), *steps, "--out", str(out), "--domain", "kind"]) == 0
    shown = capsys.readouterr().out
    assert "domain entropy" in shown
    assert "select.bounds" in shown
    assert cli.main(["select", str(path), *steps, "--dry-run", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [each["step"] for each in report["facts"]["funnel"]] == [
        "read",
        "bounds",
        "where",
        "top",
    ]
    assert report["kept"] == len(out.read_text(encoding="utf-8").splitlines()) == 3
    assert cli.main(["select", str(path), "--dry-run"]) == 2
    assert "no step" in capsys.readouterr().err
    assert cli.main(["select", str(path), "--step", "top,score", "--dry-run"]) == 2
    assert "key=value" in capsys.readouterr().err
    assert sftprep.why(out, output_line=1)[0]["stage"] == "select"
