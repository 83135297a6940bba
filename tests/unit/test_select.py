"""``sftprep select``: every step against the plainest loop, every dropped row with its reason."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet
import pytest

import sftprep
from sftprep import _core

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("SFTPREP_TEST_DATA", ROOT.parent / "shared" / "data")) / "quality"
sys.path.insert(0, str(ROOT / "tests" / "reference"))
import selection as reference  # noqa: E402


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def chat(question: str = "What?", answer: str = "That.", **more: object) -> dict[str, Any]:
    return {"instruction": question, "output": answer, **more}


def ledger(report: sftprep.StageReport) -> list[dict[str, Any]]:
    assert report.ledger is not None
    with pa.ipc.open_file(report.ledger) as reader:
        rows: list[dict[str, Any]] = reader.read_all().to_pylist()
    return rows


def chosen(path: Path, steps: Any, **options: Any) -> list[int]:  # noqa: ANN401
    """Indices of the rows that stay; the books are checked on the way."""
    out = path.with_name("chosen.jsonl")
    report = sftprep.select(path, steps, out=out, overwrite=True, **options)
    book = ledger(report)
    assert len(book) == report.rows == report.kept + sum(report.dropped.values())
    for row in book:
        assert (row["decision"] == "dropped") == (row["code"] is not None and row["detail"] != "")
    kept = [at for at, row in enumerate(book) if row["decision"] == "kept"]
    lines = path.read_text(encoding="utf-8").splitlines()
    assert out.read_text(encoding="utf-8").splitlines() == [lines[at] for at in kept]
    funnel = report.facts["funnel"]
    assert funnel[-1]["after"] == report.kept
    for before, after in itertools.pairwise(funnel):
        assert after["before"] == before["after"]
        assert after["before"] - after["after"] == sum(after["dropped"].values())
    return kept


def test_bounds_take_ties_and_keep_the_order(tmp_path: Path) -> None:
    scores = [4.5, 4.4999, 5, 0, 4.5, None, 4.5]
    path = write(tmp_path / "chat.jsonl", [chat(meta={"score": each}) for each in scores])
    name = {"step": "bounds", "score": "meta.score"}
    assert chosen(path, {**name, "min": 4.5}) == [0, 2, 4, 6]
    assert chosen(path, {**name, "above": 4.5}) == [2]
    assert chosen(path, {**name, "max": 4.5}) == [0, 1, 3, 4, 6]
    assert chosen(path, {**name, "below": 4.5, "missing": "keep"}) == [1, 3, 5]
    assert chosen(path, {"column": "meta.score", "min": 4.5, "max": 4.5}) == [0, 4, 6]
    report = sftprep.select(path, {**name, "min": 4.5}, out=tmp_path / "o.jsonl")
    book = ledger(report)
    assert book[1]["code"] == "select.bounds"
    assert book[1]["score"] == 4.4999
    assert book[5]["code"] == "select.no_score"
    assert book[5]["detail"] == "there is no meta.score"


def test_top_takes_so_many_of_what_is_left(tmp_path: Path) -> None:
    ifd = [0.2, 1.2, 0.9, 0.9, 0.5, 1.0, 0.9, 0.1, 3, 0.3]
    path = write(tmp_path / "chat.jsonl", [chat(ifd=each) for each in ifd])
    cherry = [{"score": "ifd", "max": 1}, {"step": "top", "score": "ifd", "share": 0.25}]
    assert chosen(path, cherry) == [2, 5]  # a quarter of the 8 that are left
    of_all = [
        {"score": "ifd", "below": 1},
        {"step": "top", "score": "ifd", "share": 0.3, "of": "rows"},
    ]
    assert chosen(path, of_all) == [2, 3, 6]  # three of ten, though seven are left
    assert chosen(path, {"step": "top", "score": "ifd", "count": 2, "lowest": True}) == [0, 7]
    assert chosen(path, {"top": {"score": "ifd", "count": 99}}) == list(range(10))
    hundred = write(tmp_path / "hundred.jsonl", [chat(n=at) for at in range(100)])
    assert len(chosen(hundred, {"step": "top", "score": "n", "share": 0.29})) == 29


def test_scores_may_be_formulas_and_things_worked_out(tmp_path: Path) -> None:
    rows = [chat(answer="x" * n, a=n, b=-n, **{"c-d": n}) for n in (3, 1, 2)]
    path = write(tmp_path / "chat.jsonl", rows)
    for score in ("a*2", "-b", "(a - b) / 2", "answer_chars", "a + 0 * answer_chars", "c-d"):
        assert chosen(path, {"step": "top", "score": score, "count": 1}) == [0], score
    assert chosen(path, {"score": "1 / (a - 1)", "min": 0}) == [0, 2]  # no number, no score
    for wrong in ("a +", "open('x')", "a ** b", "a if b else a", "[a]", "'a'", "a" * 2_000):
        with pytest.raises(sftprep.ConfigError):
            sftprep.select(path, {"step": "top", "score": wrong, "count": 1}, dry_run=True)


def test_conditions(tmp_path: Path) -> None:
    rows = [
        chat(lang="en", n=3, tags=["a"], ok=True),
        chat(lang="de", n=5, tags=["b", "c"], ok=False),
        chat(lang="fr", n=None, tags=[], ok=True),
        chat(n=7),
    ]
    path = write(tmp_path / "chat.jsonl", rows)
    for condition, expected in [
        ({"lang": "en"}, [0]),
        ({"lang": ["en", "de"]}, [0, 1]),
        ({"lang": {"not": "en"}}, [1, 2]),
        ({"lang": {"matches": "^[de]"}}, [0, 1]),
        ({"n": {"min": 3, "below": 7}}, [0, 1]),
        ({"n": 7}, [3]),
        ({"ok": True}, [0, 2]),
        ({"ok": True, "n": 3}, [0]),
        ({"tags": {"contains": "c"}}, [1]),
    ]:
        assert chosen(path, {"step": "where", "columns": condition}) == expected, condition
    assert chosen(path, {"step": "complete", "columns": ["lang", "n"]}) == [0, 1]


def alpaca(tmp_path: Path) -> Path:
    source = DATA / "alpaca" / "alpaca_data.jsonl.gz"
    if not source.exists():
        if os.environ.get("SFTPREP_REQUIRE_DATA") == "1":
            pytest.fail(f"{source} is missing")
        pytest.skip(f"{source} is missing")
    path = tmp_path / "alpaca.jsonl"
    path.write_bytes(gzip.decompress(source.read_bytes()))
    return path


def test_published_selections_give_their_rows(tmp_path: Path) -> None:
    path = alpaca(tmp_path)
    file = DATA / "alpaca" / "selections.json"
    lists = json.loads(file.read_text(encoding="utf-8"))
    counts = {
        "cherry_alpaca_5_percent": 3_111,
        "alpagasus_claude_t45": 5_305,
        "alpagasus_helpfulness_t45": 2_022,
        "alpagasus_random_9k": 9_229,
        "mergeit_kept": 4_940,
    }
    assert {name: len(rows) for name, rows in lists.items()} == counts
    for name, rows in lists.items():
        step = {"step": "rows", "file": str(file), "name": name, "first": 0}
        assert chosen(path, step) == sorted(rows), name
    # the same subset as its authors publish it: as rows
    lines = path.read_text(encoding="utf-8").splitlines()
    name = "alpagasus_claude_t45"
    published = [json.loads(lines[at]) for at in reversed(lists[name])]
    (tmp_path / "claude.json").write_text(json.dumps(published), encoding="utf-8")
    assert chosen(path, {"step": "rows", "file": tmp_path / "claude.json"}) == sorted(lists[name])


def test_lists_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    rows = [chat(f"Question {at}?", id=10**17 + at) for at in range(4)] + [
        chat("Question 0?", id=4)
    ]
    path = write(tmp_path / "chat.jsonl", rows)
    assert chosen(path, {"step": "rows", "rows": [5, 1], "first": 1}) == [0, 4]
    assert chosen(path, {"step": "rows", "rows": [10**17 + 2, 4], "by": "id"}) == [2, 4]
    assert chosen(path, {"step": "rows", "rows": ["Question 0?"], "by": "instruction"}) == [0]
    assert chosen(path, {"step": "rows", "rows": ["Question 0?"] * 2, "by": "instruction"}) == [
        0,
        4,
    ]
    (tmp_path / "ids.txt").write_text("4\n", encoding="utf-8")
    assert chosen(path, {"step": "rows", "file": tmp_path / "ids.txt", "by": "id"}) == [4]
    assert chosen(path, {"step": "rows", "rows": [], "first": 0}) == []
    for step, why in [
        ({"rows": [0, 1]}, "from 0 or from 1"),
        ({"rows": [0], "first": 1}, "row 0 is on the list"),
        ({"rows": [5], "first": 0}, "row 5 is on the list"),
        ({"rows": [1, 1], "first": 0}, "twice"),
        ({"rows": ["x"]}, "holds texts"),
        ({"rows": ["x"], "by": "id"}, "1 of 1 on the list are no rows"),
        ({"rows": ["x", 1], "by": "id"}, "int, str"),
        ({"rows": {"a": [1]}, "name": "b"}, "'b' is none of them"),
        ({}, "either rows or file"),
    ]:
        with pytest.raises(sftprep.ConfigError, match=why):
            sftprep.select(path, {"step": "rows", **step}, dry_run=True)
    with pytest.raises(sftprep.SourceError, match="no such file"):
        sftprep.select(path, {"step": "rows", "file": tmp_path / "none.json"}, dry_run=True)


def s1_rows() -> list[dict[str, Any]]:
    """5,000 rows like those of s1: domains of different sizes, traces of different lengths."""
    random = np.random.default_rng(7)
    odd = ["See p12. below", "a ![Image](x)", "[asy] draw", "say **x1** now", "no **digits** here",
           "**a b1** is fine", "p1000. is none", "2 ** 3 ** 4", "**]1**", "**9**"]  # fmt: skip
    sources = [reference.GPQA, reference.AIME, f"{reference.MATH}/algebra", "forum", "physics"]
    rows = []
    for at in range(5_000):
        question = f"Question {at}?"
        if random.random() < 0.1:
            question += f" {odd[random.integers(len(odd))]}"
        source = sources[random.choice(5, p=[0.02, 0.03, 0.1, 0.6, 0.25])]
        row = chat(question, id=at, source=source, domain=f"d{min(int(random.exponential(6)), 40)}")
        row |= {"trace_len": int(random.lognormal(8, 0.8)), "correct": bool(random.random() < 0.6)}
        row |= {f"solved_by_{size}b": bool(random.random() < 0.3) for size in (7, 32)}
        rows.append(row)
    for at in range(0, 5_000, 500):
        rows[at]["trace_len"] = None  # the call of the teacher failed
    return rows


S1 = [
    {"step": "complete", "columns": ["trace_len", "domain"]},
    {"step": "quality", "source": "source"},
    "difficulty",
    {
        "step": "diversity",
        "budget": 300,
        "uniform": 200,
        "always": [
            {"correct": True, "source": [reference.GPQA, reference.AIME]},
            {
                "correct": True,
                "source": {"contains": reference.MATH},
                "trace_len": {"above": 5600},
            },
        ],
        "benchmarks": {reference.GPQA: 0.5, reference.AIME: 1},
    },
]


@pytest.mark.parametrize("seed", [0, 1, 42])
def test_s1_draws_what_the_notebook_draws(tmp_path: Path, seed: int) -> None:
    rows = s1_rows()
    path = write(tmp_path / "s1.jsonl", rows)
    left = [row for row in rows if row["trace_len"] is not None]
    counts = [len(left)]
    left = [row for row in left if reference.s1_quality(row["instruction"], row["source"])]
    counts.append(len(left))
    left = [row for row in left if not (row["solved_by_7b"] or row["solved_by_32b"])]
    counts.append(len(left))
    expected = reference.s1_draw(left, seed, 300, 200)
    assert chosen(path, S1, seed=seed) == sorted(expected)
    report = sftprep.select(path, S1, seed=seed, dry_run=True)
    funnel = report.facts["funnel"]
    assert [each["after"] for each in funnel] == [5_000, *counts, 300]
    assert report.dropped["select.pattern"] == counts[0] - counts[1] > 100
    assert report.dropped["select.solved"] == counts[1] - counts[2]
    # the selection is longer and spread more evenly over the domains
    assert funnel[-1]["mean_length"] > funnel[-2]["mean_length"] * 1.2
    assert funnel[-1]["domain_entropy"] > funnel[-2]["domain_entropy"] + 0.1


def test_s1_goes_on_when_a_domain_is_used_up(tmp_path: Path) -> None:
    rows = [chat(domain=f"d{at % 3}", trace_len=at, source="x") for at in range(9)]
    path = write(tmp_path / "s1.jsonl", rows)
    step = {"step": "diversity", "budget": 8}
    assert len(chosen(path, step)) == 8
    assert len(chosen(path, {**step, "budget": 20})) == 9
    weights = {"d1": 1.0, "d0": 0.0, "elsewhere": 2.0}
    only = chosen(path, {**step, "budget": 3, "uniform": 0, "weights": weights})
    assert only == [1, 4, 7]
    assert len(chosen(path, {**step, "budget": 5, "uniform": 0, "weights": weights})) == 5


def test_deita_on_the_public_scores(tmp_path: Path) -> None:
    path = alpaca(tmp_path)
    lines = path.read_text(encoding="utf-8").splitlines()
    table = json.loads((DATA / "alpaca" / "deita_scores_mergeit.json").read_text(encoding="utf-8"))
    assert table["columns"] == ["alpaca_row", "quality_score", "complexity_score"]
    assert len(table["rows"]) == 4_940
    rows = [
        json.loads(lines[at]) | {"quality": quality, "complexity": complexity}
        for at, quality, complexity in table["rows"]
    ]
    path = write(tmp_path / "deita.jsonl", rows)
    # vectors that need no model: words thrown into 64 directions, the same on every machine
    vectors = np.zeros((len(rows), 64), np.float32)
    for at, row in enumerate(rows):
        for word in f"{row['instruction']} {row['input']}".lower().split():
            seed = int.from_bytes(word.encode()[:8].ljust(8), "little")
            place = seed * 0x9E3779B97F4A7C15 % 2**64
            vectors[at, place >> 58] += 1 if place >> 57 & 1 else -1
        vectors[at, 0] += 0.5
    np.save(tmp_path / "words.npy", vectors)
    scores = np.array([row["quality"] * row["complexity"] for row in rows])
    step = {
        "step": "greedy",
        "sort": "complexity*quality",
        "embedding": str(tmp_path / "words.npy"),
    }
    for threshold, budget in [(0.9003, 4_940), (0.6003, 1_000), (0.5003, 4_940)]:
        expected = reference.deita(scores, vectors, threshold, budget)
        assert 300 < len(expected) < 4_940
        got = chosen(path, {**step, "threshold": threshold, "budget": budget})
        assert got == sorted(expected), threshold
    book = ledger(sftprep.select(path, {**step, "threshold": 0.6003}, out=tmp_path / "o.jsonl"))
    for row in book:
        if row["code"] == "select.similar":
            partner = book[row["partner_row"] - 1]
            assert partner["decision"] == "kept"
            assert row["score"] > 0.6003
            assert scores[row["partner_row"] - 1] >= scores[row["row"] - 1]


def test_instag_takes_rows_with_new_tags(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    tags = [
        [f"t{tag}" for tag in random.integers(0, 60, random.integers(0, 6))] for _ in range(400)
    ]
    path = write(tmp_path / "chat.jsonl", [chat(tags=each) for each in tags])
    step = {"step": "greedy", "novelty": "tags", "tags": "tags"}
    assert chosen(path, step) == sorted(reference.instag(tags, 400, 1))
    assert chosen(path, {**step, "budget": 15}) == sorted(reference.instag(tags, 15, 1))
    all_rounds = {**step, "budget": 150, "rounds": 0}
    assert chosen(path, all_rounds) == sorted(reference.instag(tags, 150, 400))
    assert len(reference.instag(tags, 400, 1)) < 150


def test_clusters_and_facilities(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    middles = random.normal(0, 50, (6, 8))
    of = random.integers(0, 6, 300)
    vectors = (middles[of] + random.normal(0, 1, (300, 8))).astype(np.float32)
    rows = [chat(v=vector.tolist(), n=at) for at, vector in enumerate(vectors)]
    path = write(tmp_path / "chat.jsonl", rows)
    step = {"step": "kmeans", "embedding": "v", "clusters": 6, "per_cluster": 2}
    for pick in ({}, {"pick": "random"}, {"pick": "best", "score": "n"}, {"pca": 0.95}):
        got = chosen(path, {**step, **pick}, seed=1)
        assert sorted(of[got]) == sorted([*range(6)] * 2), pick
        assert chosen(path, {**step, **pick}, seed=1, threads=1) == got
    best = chosen(path, {**step, "pick": "best", "score": "n"}, seed=1)
    assert best == sorted(at for each in range(6) for at in np.flatnonzero(of == each)[-2:])
    location = {"step": "facility_location", "embedding": "v", "metric": "euclidean"}
    got = chosen(path, {**location, "budget": 6})
    assert sorted(of[got]) == [*range(6)]
    assert len(chosen(path, {**location, "clusters": 6, "per_cluster": 3}, seed=1)) == 18
    many = chosen(path, {**location, "clusters": "sqrt", "per_cluster": 5, "pca": 0.95}, seed=42)
    assert 30 <= len(many) <= 60  # sqrt(300 / 2) = 12 clusters
    picks, gains, nearest, _ = _core.facility_location(vectors, "euclidean", 6)
    assert sorted(picks) == got
    assert (np.diff(gains) <= 1e-9).all()
    book = ledger(sftprep.select(path, {**location, "budget": 6}, out=tmp_path / "o.jsonl"))
    for at, row in enumerate(book):
        if row["code"]:
            assert row["partner_row"] == nearest[at] + 1


def score_file(path: Path, rows: int, hashes: list[Any], **columns: Any) -> Path:  # noqa: ANN401
    table = pa.table({"row": list(range(1, rows + 1)), "row_hash": hashes, **columns})
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table)
    return path


def test_scores_are_joined_by_row_and_content(tmp_path: Path) -> None:
    from sftprep.quality.stage import Stage

    rows = [chat(f"Question {at}?", ifd=9) for at in range(4)]
    path = write(tmp_path / "chat.jsonl", rows)
    hashes = Stage("look", path, derived=["row_hash"])["row_hash"]
    columns = {
        "ifd": pa.array([0.5, None, 0.9, 1.5], pa.float64()),
        "ifd.reason": pa.array([None, "the answer is cut", None, None]),
        "v": pa.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]),
    }
    file = score_file(tmp_path / "s.arrow", 4, hashes, **columns)
    assert chosen(path, {"score": "ifd", "max": 1}, scores=file) == [0, 2]
    book = ledger(
        sftprep.select(path, {"score": "ifd", "max": 1}, scores=file, out=tmp_path / "o.jsonl")
    )
    assert (book[1]["code"], book[1]["detail"]) == ("select.no_score", "ifd: the answer is cut")
    greedy = {"step": "greedy", "embedding": "v", "threshold": 0.99}
    assert chosen(path, greedy, scores=file) == [0, 2, 3]
    assert chosen(path, {"score": "answer_chars", "min": 1}, scores=file) == [0, 1, 2, 3]
    broken = tmp_path / "broken.jsonl"
    broken.write_text(path.read_text(encoding="utf-8") + "{broken\n", encoding="utf-8")
    whole = score_file(tmp_path / "b.arrow", 5, [*hashes, None], x=[1.0, 2.0, 3.0, 4.0, None])
    report = sftprep.select(
        broken, {"score": "x", "min": 2}, scores=whole, dry_run=True, max_reject_rate=1.0
    )
    assert (report.kept, report.rejected) == (3, {"row.json": 1})
    short = score_file(tmp_path / "t.arrow", 2, hashes[:2], x=[1.0, 2.0])
    assert chosen(path, {"score": "x", "min": 0}, scores=short) == [0, 1]
    turned = score_file(tmp_path / "u.arrow", 4, hashes[::-1], x=[1.0] * 4)
    with pytest.raises(sftprep.SourceError, match="row 1 says something else"):
        sftprep.select(path, {"score": "x", "min": 0}, scores=turned, dry_run=True)
    longer = score_file(tmp_path / "w.arrow", 5, [*hashes, hashes[0]], x=[1.0] * 5)
    with pytest.raises(sftprep.SourceError, match="row 5, there are 4"):
        sftprep.select(path, {"score": "x", "min": 0}, scores=longer, dry_run=True)
    with pytest.raises(sftprep.SourceError, match="no columns row and row_hash"):
        sftprep.select(path, {"score": "ifd", "min": 0}, scores=path, dry_run=True)


def test_any_kind_of_file_and_rows_that_fit_nothing(tmp_path: Path) -> None:
    rows = [chat(f"Question {at}?", n=at, tags=["a", "b"][: at % 3]) for at in range(6)]
    steps = [{"score": "n", "min": 1}, {"step": "greedy", "novelty": "tags", "tags": "tags"}]
    pa.parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    (tmp_path / "a.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
    with gzip.open(tmp_path / "a.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(f"{json.dumps(row)}\n" for row in rows)
    lines = []
    for name in ("a.parquet", "a.json", "a.jsonl.gz"):
        out = tmp_path / f"{name}.jsonl"
        assert sftprep.select(tmp_path / name, steps, out=out).kept == 1
        lines.append(json.loads(out.read_text(encoding="utf-8")))
    assert lines == [rows[2]] * 3
    odd = write(
        tmp_path / "odd.jsonl", [*rows, {"instruction": 5, "output": "x", "n": 9}, {"n": 0}]
    )
    report = sftprep.select(odd, {"score": "n", "min": 5}, out=tmp_path / "o.jsonl")
    assert (report.kept, report.dropped) == (2, {"select.bounds": 6})
    assert sum(report.not_compared.values()) == 1
    assert [row["code"] for row in ledger(report)][5:] == [None, "format.type", "select.bounds"]
    both = sftprep.select([tmp_path / "a.json", odd], {"score": "n", "min": 5}, dry_run=True)
    assert [(each["rows"], each["kept"]) for each in both.sources] == [(6, 1), (8, 2)]
