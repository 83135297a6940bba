"""Plug-ins: columns from functions, checked; built-in hooks; a judge behind a stub server."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pytest
from conftest import ROOT

import sftprep
from sftprep import cli
from sftprep.scores.columns import read
from sftprep.scores.judge import Judge, rating

ROWS: list[Any] = [
    {"instruction": "Say one.", "input": "", "output": "One."},
    {"instruction": "Say two.", "input": "2", "output": "Two?"},
    {"instruction": "Say three.", "input": "", "output": ""},
    {"instruction": 4, "output": "Four."},
]


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    lines = [json.dumps(row) for row in ROWS] + ["{no json"]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


Scored = Callable[..., dict[str, Any]]


@pytest.fixture
def scored(rows: Path, tmp_path: Path) -> Scored:
    def run(plugin: Any, **options: Any) -> dict[str, Any]:  # noqa: ANN401
        given = {"max_reject_rate": 0.5, "use_cache": False, "overwrite": True} | options
        sftprep.score(rows, plugin=plugin, out=tmp_path / "x.scores.arrow", **given)
        return read(tmp_path / "x.scores.arrow").columns

    return run


def test_a_function_gets_arrow_and_gives_columns(scored: Scored) -> None:
    seen = []

    def plugin(batch: pa.RecordBatch) -> dict[str, Any]:
        assert isinstance(batch, pa.RecordBatch)
        seen.append(batch.to_pydict())
        texts = batch.column("answer_text").to_pylist()
        return {
            "length": np.array([len(text) for text in texts]),
            "asks": [text.endswith("?") for text in texts],
            "first": pa.array([text[:1] or None for text in texts]),
            "first.reason": [None if text else "it says nothing" for text in texts],
            "root": [math.sqrt(len(text) - 1) if text else math.inf for text in texts],
            "place": np.array([[len(text), 1.5] for text in texts]),
        }

    found = scored(plugin)
    assert found["row"].tolist() == [1, 2, 3, 4, 5]
    assert found["line"].tolist() == [1, 2, 3, 4, 5]
    assert found["source"] == ["rows"] * 5
    np.testing.assert_equal(found["length"], [4, 4, 0, math.nan, math.nan])
    assert found["length.reason"] == [None, None, None, "format.type", "row.json"]
    assert found["asks"] == [False, True, False, None, None]
    assert found["first"] == ["O", "T", None, None, None]
    assert found["first.reason"][2] == "it says nothing"
    assert found["root.reason"][2] == "score.not_finite"
    assert np.isnan(found["root"][2])
    assert found["place"][:2].tolist() == [[4, 1.5], [4, 1.5]]
    assert np.isnan(found["place"][3:]).all()
    (batch,) = seen
    assert batch["prompt_text"] == ["Say one.", "Say two.\n2", "Say three."]
    assert json.loads(batch["messages"][1]) == [
        {"role": "user", "content": "Say two.\n2"},
        {"role": "assistant", "content": "Two?"},
    ]
    assert json.loads(batch["json"][0]) == ROWS[0]
    assert batch["row_hash"] == found["row_hash"][:3]
    assert len(set(batch["row_hash"])) == 3


def test_the_file_is_arrow(scored: Scored, tmp_path: Path) -> None:
    scored(lambda batch: {"one": [1.0] * len(batch)})
    table = pa.ipc.open_file(tmp_path / "x.scores.arrow").read_all()
    assert table.schema.metadata[b"sftprep.scores"] == b"1"
    ((name, path),) = json.loads(table.schema.metadata[b"sftprep.inputs"])
    assert (name, Path(path).name) == ("rows", "rows.jsonl")
    assert table.schema.field("one").metadata[b"sftprep.definition"].startswith(b"plugin=")
    assert table.column("one").to_pylist() == [1.0, 1.0, 1.0, None, None]
    assert table.schema.field("row").type == pa.int64()


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (None, "returned NoneType"),
        ([1.0, 2.0, 3.0], "returned list"),
        ({}, "returned no column"),
        ({"x": [1.0]}, "returned 1 values as x"),
        ({"x": 1.0}, "returned float as x"),
        ({"x": [1.0, "a", 2.0]}, "returned str 'a' in x"),
        ({"x": [True, 2, False]}, "returned float '2.0' in x"),
        ({"x": [{}, {}, {}]}, "returned dict"),
        ({"row": [1, 2, 3]}, "a column called 'row'"),
        ({"a b": [1, 2, 3]}, "a column called 'a b'"),
        ({"x.reason": ["a", "b", "c"]}, "returned x.reason without x"),
        ({"x": [[1.0], [1.0, 2.0], [1.0]]}, "in x"),
    ],
)
def test_what_comes_back_is_checked(returned: object, said: str, scored: Scored) -> None:
    with pytest.raises(sftprep.ScoreError) as found:
        scored(lambda _: returned)
    assert found.value.code == "score.plugin"
    assert said in str(found.value)
    assert "rows 1 to 3" in str(found.value)


def test_an_exception_is_named_with_plugin_and_rows(scored: Scored) -> None:
    def broken(_: pa.RecordBatch) -> dict[str, Any]:
        raise KeyError("no such thing")

    with pytest.raises(sftprep.ScoreError, match=r"broken raised KeyError at rows 1 to 3") as found:
        scored(broken)
    assert isinstance(found.value.__cause__, KeyError)


def test_columns_are_the_same_in_every_batch(tmp_path: Path) -> None:
    path = tmp_path / "many.jsonl"
    path.write_text("".join(json.dumps({"text": f"{n}"}) + "\n" for n in range(2500)))
    sizes: list[int] = []

    def plugin(batch: pa.RecordBatch) -> dict[str, Any]:
        sizes.append(len(batch))
        return {"x" if len(sizes) < 3 else "y": [float(row.as_py()) for row in batch["row"]]}

    with pytest.raises(sftprep.ScoreError, match="rows 2049 to 2500"):
        sftprep.score(path, plugin=plugin, out=tmp_path / "x.arrow")
    assert sizes == [1024, 1024, 452]
    sizes.clear()
    sftprep.score(path, plugin=lambda batch: {"x": batch.column("row")}, out=tmp_path / "x.arrow")
    assert read(tmp_path / "x.arrow").columns["x"].tolist() == list(range(1, 2501))


def test_two_columns_of_one_name_are_refused(scored: Scored) -> None:
    plugin = [lambda batch: {"x": [1.0] * len(batch)}] * 2
    with pytest.raises(sftprep.ConfigError, match="two columns called 'x'"):
        scored(plugin)


def test_plugins_by_name(
    rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.py").write_text("def fine(batch):\n    return {'x': [1.0] * len(batch)}\n")
    (tmp_path / "bad.py").write_text("raise RuntimeError('not today')\n")
    monkeypatch.syspath_prepend(tmp_path)
    out = tmp_path / "x.arrow"
    command = ["score", str(rows), "--out", str(out), "--max-reject-rate", "0.5", "--overwrite"]
    for plugin in ("mine:fine", f"{tmp_path}/mine.py:fine"):
        assert cli.main([*command, "--plugin", plugin, "--quiet", "--json"]) == 0
        report = json.loads(capsys.readouterr().out)
        assert report["columns"][1]["scored"] == 3
        assert report["columns"][1]["reasons"] == {"format.type": 1, "row.json": 1}
    for plugin, code, said in (
        ("mine", 2, "is no plug-in"),
        ("mine:gone", 3, "has no function 'gone'"),
        ("nowhere_at_all:x", 3, "cannot be loaded: ModuleNotFoundError"),
        (f"{tmp_path}/gone.py:x", 3, "there is no such file"),
        (f"{tmp_path}/bad.py:x", 3, "RuntimeError: not today"),
        ("sentence:nowhere", 2, "there is no such folder"),
    ):
        assert cli.main([*command, "--plugin", plugin, "--quiet"]) == code, plugin
        assert said in capsys.readouterr().err


def test_without_pyarrow_it_is_said(rows: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sftprep.scores import plugins

    monkeypatch.setattr(plugins.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(sftprep.ConfigError, match="pyarrow is not installed"):
        sftprep.score(rows, plugin=lambda batch: {}, out="x.arrow")


def test_the_example(scored: Scored) -> None:
    found = scored(f"{ROOT}/examples/plugin.py:overlap")
    np.testing.assert_allclose(found["overlap"][:3], [0.5, 1 / 3, 0.0])
    assert found["asks_back"][:3] == [False, True, False]


def test_mojibake(scored: Scored, rows: Path) -> None:
    pytest.importorskip("ftfy", reason="the hook needs ftfy")
    text = rows.read_text("utf-8").replace("Two?", "schÃ¶n, âœ” voilÃ \\u00a0!")
    rows.write_text(text, encoding="utf-8")
    found = scored("ftfy")
    assert found["mojibake"] == [False, True, False, None, None]
    assert found["mojibake_badness"][1] > 0 == found["mojibake_badness"][0]


def test_language(scored: Scored, rows: Path) -> None:
    pytest.importorskip("lingua", reason="the hook needs lingua")
    german = "Der schnelle braune Fuchs springt über den faulen Hund."
    rows.write_text(rows.read_text("utf-8").replace("Two?", german), encoding="utf-8")
    found = scored("language")
    assert found["language"][1] == "de"
    assert found["language_confidence"][1] > 0.6
    assert found["language"][2] == "en"  # no answer: the prompt
    assert found["language"][3:] == [None, None]


def test_sentence_embeddings(scored: Scored, tmp_path: Path) -> None:
    model2vec = pytest.importorskip("model2vec", reason="the hook needs model2vec")
    tokenizers = pytest.importorskip("tokenizers")
    words = ["[UNK]", "say", "one", "two", "three"]
    vocabulary = {word: at for at, word in enumerate(words)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = tokenizers.normalizers.Lowercase()
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    vectors = np.eye(5, 3, dtype=np.float32)
    model2vec.StaticModel(vectors, tokenizer).save_pretrained(tmp_path / "model")
    found = scored(f"sentence:{tmp_path / 'model'}")
    assert found["sentence_embedding"].shape == (5, 3)
    assert found["sentence_embedding"][0] @ found["sentence_embedding"][1] != 0
    assert np.isnan(found["sentence_embedding"][3]).all()


class Stub:
    """A judge on the loopback: what it answers is decided by a function of the question."""

    def __init__(self, answer: Callable[[str, int], tuple[int, Any]]) -> None:
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.times: list[float] = []
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                size = int(self.headers["Content-Length"])
                body = json.loads(self.rfile.read(size))
                stub.asked.append({"path": self.path, **body})
                stub.headers.append(dict(self.headers))
                stub.times.append(time.monotonic())
                question = body["messages"][-1]["content"]
                same = [b for b in stub.asked if b["messages"][-1]["content"] == question]
                code, text = answer(question, len(same))
                choice = {"choices": [{"message": {"content": text}}]}
                data = text if isinstance(text, bytes) else json.dumps(choice).encode()
                self.send_response(code)
                if code == 429:
                    self.send_header("Retry-After", "0.05")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1"


@contextmanager
def judge(answer: Callable[[str, int], tuple[int, Any]]) -> Iterator[Stub]:
    stub = Stub(answer)
    thread = threading.Thread(target=stub.server.serve_forever, daemon=True)
    thread.start()
    yield stub
    stub.server.shutdown()
    stub.server.server_close()
    thread.join()


def test_a_judge_rates(
    rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SFTPREP_JUDGE_KEY", "secret")
    out = tmp_path / "x.arrow"
    with judge(lambda text, _: (200, "Score: 4.5\nWell." if "One" in text else "3")) as stub:
        command = [
            "score", str(rows), "--out", str(out), "--max-reject-rate", "0.5", "--json", "--quiet",
            "--judge", stub.url, "--judge-model", "m", "--cache", str(tmp_path / "cache"),
            "--overwrite",
        ]  # fmt: skip
        assert cli.main(command) == 0
        found = read(out)
        np.testing.assert_equal(found.columns["judge_accuracy"][:3], [4.5, 3, math.nan])
        assert found.columns["judge_accuracy.reason"] == [
            None, None, "score.empty", "format.type", "row.json",
        ]  # fmt: skip
        about = found.about["judge_accuracy"]
        assert about["sftprep.definition"] == "judge=accuracy"
        assert about["sftprep.model"] == "m"
        assert len(stub.asked) == 2
        (two,) = [b for b in stub.asked if "Two" in b["messages"][-1]["content"]]
        assert two["path"] == "/v1/chat/completions"
        assert two["model"] == "m"
        assert "Say two.\n\nInput:\n2\n\nAnswer:\nTwo?" in two["messages"][-1]["content"]
        assert stub.headers[0]["Authorization"] == "Bearer secret"
        assert "secret" not in out.read_bytes().decode("latin-1")
        # Nothing is asked for twice.
        assert cli.main(command) == 0
        assert len(stub.asked) == 2
        assert json.loads(capsys.readouterr().out.split("\n}\n")[1] + "}")["cached"] == 2


def test_a_judge_is_asked_again(rows: Path, tmp_path: Path) -> None:
    """429 with Retry-After, 500, and what is no completion: passing; a refusal to rate is not."""

    def answer(text: str, time: int) -> tuple[int, Any]:
        if "One" in text:
            return [(429, ""), (500, ""), (200, b"{}"), (200, "5")][min(time, 4) - 1]
        return 200, "I cannot rate this."

    with judge(answer) as stub:
        given = Judge(url=stub.url, model="m", pause=0.01)
        report = sftprep.score(
            rows, judge=given, out=tmp_path / "x.arrow", max_reject_rate=0.5,
            cache_dir=tmp_path / "cache",
        )  # fmt: skip
        assert report.column("judge_accuracy")["reasons"]["score.judge"] == 1
        assert read(tmp_path / "x.arrow").columns["judge_accuracy"][0] == 5
        assert len(stub.asked) == 5
        assert (report.computed, report.cached) == (1, 0)
        # Only the failed one is asked for again.
        again = sftprep.score(
            rows, judge=given, out=tmp_path / "y.arrow", max_reject_rate=0.5,
            cache_dir=tmp_path / "cache",
        )  # fmt: skip
        assert (again.computed, again.cached) == (0, 1)
        assert len(stub.asked) == 6


def test_a_judge_that_fails(rows: Path, tmp_path: Path) -> None:
    path = tmp_path / "many.jsonl"
    lines = [json.dumps({"instruction": f"Say {n}.", "output": f"{n}"}) for n in range(50)]
    path.write_text("\n".join(lines))
    options: dict[str, Any] = {"out": tmp_path / "x.arrow", "use_cache": False}
    with judge(lambda *_: (401, "")) as stub:
        with pytest.raises(sftprep.ScoreError, match="HTTP 401") as found:
            sftprep.score(path, judge=Judge(url=stub.url, model="m"), **options)
        assert found.value.code == "score.judge"
        assert len(stub.asked) <= 8
    with judge(lambda *_: (503, "")) as stub:
        given = Judge(url=stub.url, model="m", retries=1, pause=0.01, parallel=2)
        with pytest.raises(sftprep.ScoreError, match="never rated"):
            sftprep.score(path, judge=given, **options)
        assert len(stub.asked) < 30
    gone = Judge(url=stub.url, model="m", retries=0, timeout=2)
    with pytest.raises(sftprep.ScoreError, match="never rated"):
        sftprep.score(path, judge=gone, **options)
    assert not (tmp_path / "x.arrow").exists()


def test_the_pace_of_a_judge(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    lines = [json.dumps({"instruction": f"Say {n}.", "output": f"{n}"}) for n in range(6)]
    path.write_text("\n".join(lines))
    with judge(lambda *_: (200, "1")) as stub:
        given = Judge(url=stub.url, model="m", per_minute=1200)
        sftprep.score(path, judge=given, out=tmp_path / "x.arrow", use_cache=False)
        assert stub.times[-1] - stub.times[0] >= 4.5 * 0.05


def test_options_of_a_judge() -> None:
    for change in (
        {"url": "localhost"}, {"model": ""}, {"retries": -1}, {"per_minute": math.inf},
        {"parallel": 0},
    ):  # fmt: skip
        with pytest.raises(sftprep.ConfigError):
            Judge(**({"url": "http://x", "model": "m"} | change)).check()


@pytest.mark.parametrize(
    ("text", "value"),
    [("4", 4), ("\n\n 4.5 / 5", 4.5), ("Accuracy: 0", 0), ("**5**", 5), ("3\n1 of 2", 3)],
)
def test_ratings(text: str, value: float) -> None:
    assert rating(text) == value


@pytest.mark.parametrize("text", ["", "good", "7", "10/10", "-1", "no\n4"])
def test_what_is_no_rating(text: str) -> None:
    with pytest.raises(Exception, match="no rating"):
        rating(text)
