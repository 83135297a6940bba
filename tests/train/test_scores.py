"""Scores of a model: both definitions of IFD against slow loops, perplexity, embeddings."""

from __future__ import annotations

import gzip
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="scores of a model need torch")
transformers = pytest.importorskip("transformers", reason="scores of a model need transformers")

from reference import ifd as slow  # noqa: E402

import sftprep  # noqa: E402
from sftprep.scores.columns import read, spearman  # noqa: E402
from sftprep.scores.model import Scorer, Text  # noqa: E402

ROWS = 60


def make_model(folder: Path, kind: str = "llama", **more: Any) -> Path:
    """A tiny random model with a tokenizer of its own."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([slow.alpaca_prompt(f"Say {n}.", "x") for n in range(9)], trainer)
    if more.pop("bos", True):
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", 0)]
        )
    from train.helpers import MODELS, SIZES

    options = {**SIZES, **MODELS.get(kind, {}), "vocab_size": 512, **more}
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(kind, **options)
    model = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():  # sharper guesses than random weights make
        for weight in model.parameters():
            weight.mul_(3)
    model.save_pretrained(folder)
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>"
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"))


def rows_of(count: int) -> list[dict[str, str]]:
    """Rows with and without inputs, short and long, some that cannot be scored."""
    rows = []
    for n in range(count):
        row = {
            "instruction": f"Say number {n} in other words, please." + " And again." * (n % 7),
            "input": f"{n} is {n * n}" if n % 3 == 0 else "",
            "output": f"It is {n}." + f" Then comes {n + 1}, and so on." * (n % 5),
        }
        rows.append(row)
    rows += [
        {"instruction": "Say nothing.", "input": "", "output": ""},
        {"instruction": "Say much.", "input": "", "output": "Much and more. " * 400},
        {"instruction": "Read much. " * 400, "input": "", "output": "Yes."},
    ]
    return rows


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def scored(
    data: Path, model: Path, out: Path, **options: Any
) -> tuple[sftprep.ScoreReport, dict[str, Any]]:
    options = {"use_cache": False, "device": "cpu"} | options
    report = sftprep.score(data, model=model, out=out, **options)
    return report, read(out).columns


def compare(
    name: str, rows: list[dict[str, str]], model: Path, found: dict[str, Any], window: int
) -> int:
    """Holds a column against the slow loop; returns the rows that have a score in both."""
    net = transformers.AutoModelForCausalLM.from_pretrained(model).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    loop = getattr(slow, name)
    ours, wanted = [], []
    values, reasons = found[f"ifd_{name}"], found[f"ifd_{name}.reason"]
    for row, value, reason in zip(rows, values, reasons, strict=True):
        truth = loop(net, tokenizer, row, window)
        if math.isnan(value):
            assert reason.startswith("score.")
            # What the loop cuts or leaves out is what has a reason here, and nothing else.
            assert truth is None or truth[1] or reason == "score.cut", (row, truth, reason)
            continue
        assert reason is None
        assert truth is not None
        assert not truth[1]
        ours.append(value)
        wanted.append(truth[0])
    a, b = np.array(ours), np.array(wanted)
    if name == "cherry":
        assert np.abs(a - b).max() <= 1e-4
    else:
        assert np.abs(a / b - 1).max() <= 1e-3
    if len(ours) > 2:
        order = spearman(a, b)
        assert order is not None
        assert order >= 0.9999
    return len(ours)


@pytest.mark.parametrize("name", ["cherry", "superfilter"])
def test_ifd_is_that_of_the_slow_loop(name: str, tiny: Path, tmp_path: Path) -> None:
    rows = rows_of(24)
    data = written(tmp_path / "rows.jsonl", rows)
    report, found = scored(data, tiny, tmp_path / "x.scores.arrow", ifd=name)
    assert compare(name, rows, tiny, found, 512) == 24
    column = report.column(f"ifd_{name}")
    assert column["scored"] == 24
    assert column["reasons"] == {"score.cut": 1, "score.empty": 1, "score.prompt": 1}
    about = read(tmp_path / "x.scores.arrow").about[f"ifd_{name}"]
    assert about["sftprep.definition"] == f"ifd={name}"
    assert about["sftprep.window"] == "512"
    assert all(about[f"sftprep.{key}"] for key in ("model", "tokenizer", "template"))


def test_without_a_bos_token_an_answer_of_one_token_is_short(tmp_path: Path) -> None:
    model = make_model(tmp_path / "model", bos=False)
    rows = [
        {"instruction": "Say a.", "input": "", "output": "a"},
        {"instruction": "Say it.", "input": "", "output": "It is a."},
    ]
    data = written(tmp_path / "rows.jsonl", rows)
    _, found = scored(data, model, tmp_path / "x.arrow", ifd=["superfilter", "cherry"])
    assert found["ifd_superfilter.reason"] == ["score.short", None]
    assert found["ifd_cherry.reason"] == [None, None]
    for name in ("cherry", "superfilter"):
        compare(name, rows, model, found, 512)


@pytest.mark.parametrize("kind", ["gpt2", "gemma2", "qwen3"])
def test_models_of_other_families(kind: str, tmp_path: Path) -> None:
    """GPT-2 has learned positions; Gemma 2 caps its logits behind the head, as no other does."""
    more = {
        "gpt2": {"n_positions": 512, "n_embd": 32, "n_layer": 2, "n_head": 4},
        "gemma2": {"final_logit_softcapping": 1.0, "query_pre_attn_scalar": 8},
    }
    model = make_model(tmp_path / "model", kind, **more.get(kind, {}))
    rows = rows_of(8)
    data = written(tmp_path / "rows.jsonl", rows)
    _, found = scored(data, model, tmp_path / "x.arrow", ifd=["cherry", "superfilter"])
    for name in ("cherry", "superfilter"):
        assert compare(name, rows, model, found, 512) == 8


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cherry", "superfilter"])
def test_ifd_on_a_real_model_and_real_rows(name: str, data: Path, tmp_path: Path) -> None:
    model, source = data / "models/stories260k", data / "quality/planted/alpaca_10k.jsonl.gz"
    if not (model.is_dir() and source.is_file()):
        pytest.skip(f"no model at {model}, or no rows at {source}")
    count = 300 if os.environ.get("SFTPREP_REQUIRE_DATA") == "1" else ROWS
    with gzip.open(source, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line, _ in zip(file, range(count), strict=False)]
    place = written(tmp_path / "rows.jsonl", rows)
    _, found = scored(place, model, tmp_path / "x.arrow", ifd=name)
    assert compare(name, rows, model, found, 512) > count / 3


def test_batches_change_nothing_but_rounding(tiny: Path, tmp_path: Path) -> None:
    data = written(tmp_path / "rows.jsonl", rows_of(20))
    options = {"ifd": "cherry", "embed": "prompt"}
    _, one = scored(data, tiny, tmp_path / "1.arrow", batch_tokens=1, **options)
    _, many = scored(data, tiny, tmp_path / "2.arrow", batch_tokens=50_000, **options)
    np.testing.assert_allclose(one["ifd_cherry"], many["ifd_cherry"], rtol=1e-5)
    np.testing.assert_allclose(one["embedding"], many["embedding"], rtol=1e-4, atol=1e-5)
    scored(data, tiny, tmp_path / "3.arrow", batch_tokens=50_000, **options)
    assert (tmp_path / "2.arrow").read_bytes() == (tmp_path / "3.arrow").read_bytes()


def test_embeddings_are_means_of_last_hidden_states(tiny: Path, tmp_path: Path) -> None:
    rows = rows_of(3)[:3]
    data = written(tmp_path / "rows.jsonl", rows)
    report, found = scored(data, tiny, tmp_path / "x.arrow", embed="answer")
    net = transformers.AutoModelForCausalLM.from_pretrained(tiny).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny)
    for row, vector in zip(rows, found["embedding"], strict=True):
        ids = tokenizer(row["output"], return_tensors="pt")["input_ids"]
        with torch.no_grad():
            states = net(ids, output_hidden_states=True).hidden_states[-1]
        np.testing.assert_allclose(vector, states[0].mean(0).numpy(), rtol=1e-4, atol=1e-5)
    assert report.column("embedding")["kind"] == "vector:32"
    raw = written(tmp_path / "raw.jsonl", [{"text": "No prompt."}])
    _, found = scored(raw, tiny, tmp_path / "p.arrow", embed="prompt")
    assert found["embedding.reason"] == ["score.empty"]
    assert np.isnan(found["embedding"]).all()


def test_perplexity_is_that_of_the_trained_tokens(tiny: Path, tmp_path: Path) -> None:
    turns = [("user", "Hello."), ("assistant", "Hi!"), ("user", "Bye."), ("assistant", "See you.")]
    messages = [{"role": role, "content": text} for role, text in turns]
    rows = [{"messages": messages}, {"messages": messages[:1]}, {"messages": messages[:2] * 90}]
    data = written(tmp_path / "rows.jsonl", rows)
    report, found = scored(
        data, tiny, tmp_path / "x.arrow", perplexity=True, chat_template="chatml"
    )
    encoder = sftprep.Encoder(sftprep.Tokenizer.from_file(tiny), chat_template="chatml")
    row = encoder.encode(rows[0])
    net = transformers.AutoModelForCausalLM.from_pretrained(tiny).eval()
    ids = torch.from_numpy(row.input_ids.astype(np.int64))[None]
    labels = torch.from_numpy(row.labels.astype(np.int64))[None]
    with torch.no_grad():
        wanted = float(torch.exp(net(ids, labels=labels).loss))
    assert found["perplexity"][0] == pytest.approx(wanted, rel=1e-4)
    assert found["trained_tokens"][0] == (row.labels != -100).sum()
    assert found["perplexity.reason"][0] is None
    assert found["perplexity.reason"][1].startswith("label.")
    assert found["perplexity.reason"][2] == "score.cut"
    assert report.column("perplexity")["scored"] == 1


def test_conversations_are_prompt_and_last_answer(tiny: Path, tmp_path: Path) -> None:
    chat = [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "Say 1."},
        {"role": "assistant", "content": "1"},
        {"role": "user", "content": "Say 2."},
        {"role": "assistant", "content": "It is 2."},
    ]
    alpaca = {"instruction": "Be short.\nSay 1.\n1\nSay 2.", "input": "", "output": "It is 2."}
    one = written(tmp_path / "chat.jsonl", [{"messages": chat}])
    two = written(tmp_path / "alpaca.jsonl", [alpaca])
    _, found = scored(one, tiny, tmp_path / "1.arrow", ifd="cherry")
    _, wanted = scored(two, tiny, tmp_path / "2.arrow", ifd="cherry")
    assert found["ifd_cherry"] == pytest.approx(wanted["ifd_cherry"], rel=1e-6)


def test_known_scores_are_not_computed_again(tiny: Path, tmp_path: Path) -> None:
    rows = rows_of(10)
    data, cache = written(tmp_path / "rows.jsonl", rows), tmp_path / "cache"
    options = {"ifd": ["cherry", "superfilter"], "use_cache": True, "cache_dir": cache}
    first, one = scored(data, tiny, tmp_path / "1.arrow", **options)
    assert (first.computed, first.cached) == (26, 0)
    again, _ = scored(data, tiny, tmp_path / "2.arrow", **options)
    assert (again.computed, again.cached) == (0, 26)
    assert (tmp_path / "1.arrow").read_bytes() == (tmp_path / "2.arrow").read_bytes()
    # A row that changed, one that moved, one twice: only the first is new.
    rows[3]["output"] += " No."
    written(data, [*rows[::-1], rows[0]])
    third, three = scored(data, tiny, tmp_path / "3.arrow", **options)
    assert (third.computed, third.cached) == (2, 26)
    at = three["row"].tolist().index(len(rows))
    assert three["ifd_cherry"][at] == one["ifd_cherry"][0] == three["ifd_cherry"][at + 1]
    # Another window is another definition; a damaged segment is computed again.
    assert scored(data, tiny, tmp_path / "4.arrow", max_len=400, **options)[0].computed == 26
    for segment in cache.glob("*/*.npz"):
        segment.write_bytes(segment.read_bytes()[:-40])
    last, _ = scored(data, tiny, tmp_path / "5.arrow", **options)
    assert (last.computed, last.cached) == (26, 0)
    dry = sftprep.score(data, model=tiny, ifd="cherry", cache_dir=cache, dry_run=True, device="cpu")
    assert (dry.computed, dry.cached, dry.out, dry.columns) == (0, 14, None, [])


def test_another_model_has_scores_of_its_own(tiny: Path, tmp_path: Path) -> None:
    data = written(tmp_path / "rows.jsonl", rows_of(3))
    other = make_model(tmp_path / "other", rms_norm_eps=0.5)
    options = {"ifd": "cherry", "use_cache": True, "cache_dir": tmp_path / "cache"}
    _, one = scored(data, tiny, tmp_path / "1.arrow", **options)
    report, two = scored(data, other, tmp_path / "2.arrow", **options)
    assert report.cached == 0
    assert one["ifd_cherry"][0] != two["ifd_cherry"][0]


def test_the_cache_is_bounded(tmp_path: Path) -> None:
    from sftprep.scores.cache import Cache

    size = 0
    for number in range(40):
        cache = Cache(tmp_path, {"number": str(number // 20)}, 1, limit=20_000)
        cache.put(f"row {number}", np.array([float(number)]))
        cache.flush()
        size = sum(path.stat().st_size for path in tmp_path.glob("*/*.npz"))
    assert 10_000 < size <= 20_000
    assert Cache(tmp_path, {"number": "1"}, 1).get("row 39") is not None


def test_what_is_computed_survives_an_interrupt(tiny: Path, tmp_path: Path) -> None:
    from sftprep.scores import measures

    data, cache = written(tmp_path / "rows.jsonl", rows_of(30)), tmp_path / "cache"

    class Interrupts:
        def __enter__(self) -> Interrupts:
            return self

        def __exit__(self, *_: object) -> None: ...

        def update(self, progress: sftprep.Progress) -> None:
            if progress.rows > 16:
                raise KeyboardInterrupt

        def note(self, message: str) -> None: ...

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(measures, "_BLOCK_ROWS", 8)
        sftprep.score(
            data, model=tiny, ifd="cherry", out=tmp_path / "x.arrow", device="cpu",
            cache_dir=cache, progress=Interrupts(),
        )  # fmt: skip
    assert not (tmp_path / "x.arrow").exists()
    options = {"ifd": "cherry", "use_cache": True, "cache_dir": cache}
    report, found = scored(data, tiny, tmp_path / "x.arrow", **options)
    assert report.cached >= 8
    _, wanted = scored(data, tiny, tmp_path / "y.arrow", ifd="cherry")
    np.testing.assert_allclose(found["ifd_cherry"], wanted["ifd_cherry"], rtol=1e-5)


def test_the_command(tiny: Path, tmp_path: Path) -> None:
    data = written(tmp_path / "rows.jsonl", rows_of(5))
    command = [
        sys.executable, "-m", "sftprep", "score", str(data), "--model", str(tiny), "--ifd",
        "cherry", "--out", str(tmp_path / "x.scores.arrow"), "--cache", str(tmp_path / "cache"),
        "--device", "cpu", "--quiet",
    ]  # fmt: skip
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["rows"] == 8
    assert report["columns"][1]["name"] == "ifd_cherry"
    assert -1 <= report["columns"][1]["length_correlation"] <= 1
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 2
    assert "output.exists" in again.stderr
    more = subprocess.run([*command, "--overwrite"], capture_output=True, text=True, check=False)
    assert "0 computed, 8 known from before" in more.stdout
    assert "does not know the language" in more.stdout


def test_bad_models_and_options(tiny: Path, tmp_path: Path) -> None:
    data = written(tmp_path / "rows.jsonl", rows_of(2))

    def error(**options: Any) -> sftprep.SftprepError:
        given = {"model": tiny, "out": tmp_path / "x.arrow", "use_cache": False, "device": "cpu"}
        with pytest.raises(sftprep.SftprepError) as found:
            sftprep.score(data, **(given | options))
        return found.value

    assert error(ifd="other").field == "--ifd"
    assert "they are different numbers" in str(error(ifd="other"))
    assert error().field == "--ifd"
    assert error(ifd="cherry", model=None).field == "--model"
    assert error(ifd="cherry", model=tmp_path / "none").code == "train.model"
    assert error(ifd="cherry", out=None).field == "out"
    assert error(ifd="cherry", out=tmp_path / "x.csv").field == "out"
    assert error(ifd="cherry", out=tmp_path / "none" / "x.arrow").code == "output.io"
    assert error(ifd="cherry", dtype="int8").field == "--dtype"
    (tmp_path / "empty").mkdir()
    assert "does not load" in str(error(ifd="cherry", model=tmp_path / "empty"))
    # A tokenizer with more tokens than the model has embeddings.
    small = make_model(tmp_path / "small", vocab_size=200)
    assert "the model has 200 embeddings" in str(error(ifd="cherry", model=small))
    # Weights that are no numbers any more give reasons, no NaN.
    net = transformers.AutoModelForCausalLM.from_pretrained(tiny)
    with torch.no_grad():
        net.get_input_embeddings().weight.fill_(math.nan)
    broken = make_model(tmp_path / "broken")
    net.save_pretrained(broken)
    report, _ = scored(data, broken, tmp_path / "y.arrow", ifd="cherry", embed="prompt")
    assert report.column("ifd_cherry")["reasons"]["score.not_finite"] == 2
    assert report.column("embedding")["scored"] == 0


def test_memory_that_is_too_small(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = Scorer(tiny, device="cpu")

    def fail(_: Any) -> list[float]:
        raise torch.OutOfMemoryError("no more")

    monkeypatch.setattr(scorer, "_losses", fail)
    with pytest.raises(sftprep.TrainError) as found:
        list(scorer.losses([Text([1, 2, 3], [1, 2], 3)], lambda *_: None))
    assert found.value.code == "train.memory"
    assert "--batch-tokens" in str(found.value)


def test_ctrl_c_ends_the_command(tiny: Path, tmp_path: Path) -> None:
    data = written(tmp_path / "rows.jsonl", rows_of(4000))
    command = [
        sys.executable, "-m", "sftprep", "score", str(data), "--model", str(tiny), "--ifd",
        "cherry", "--out", str(tmp_path / "x.arrow"), "--cache", str(tmp_path / "cache"),
        "--device", "cpu", "--log-json",
    ]  # fmt: skip
    child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert child.stderr is not None
    for line in child.stderr:
        if json.loads(line)["event"] == "progress":
            break
    child.send_signal(signal.SIGINT)
    started = time.monotonic()
    child.communicate(timeout=60)
    assert child.returncode == 130
    assert time.monotonic() - started < 20
    assert not (tmp_path / "x.arrow").exists()


def test_rows_of_the_first_experience() -> None:
    from sftprep.scores.experience import choose

    groups = np.array([0] * 1000 + [1] * 5 + [2] * 10)
    losses = np.concatenate([np.linspace(0, 5, 1000), np.zeros(5), np.arange(10)])
    chosen = list(choose(groups, losses, 10))
    first = [at for at in chosen if at < 1000]
    # The outer hundredths are left out, the rest is taken in even steps.
    assert first == list(range(10, 10 + 10 * 98, 98))
    assert [at for at in chosen if 1000 <= at < 1005] == list(range(1000, 1005))
    assert [at for at in chosen if at >= 1005] == list(range(1005, 1015))


@pytest.mark.slow
def test_a_first_experience(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sftprep.scores import experience

    rows = rows_of(40)
    data = written(tmp_path / "rows.jsonl", rows)
    real = experience.experienced

    def small(*given: Any) -> Path:
        return real(*given, clusters=4, per_cluster=3, lr=1e-2)

    monkeypatch.setattr(experience, "experienced", small)
    options = {"ifd": "cherry", "experience": tmp_path / "first"}
    report, found = scored(data, tiny, tmp_path / "1.arrow", **options)
    chosen = (tmp_path / "first/rows.jsonl").read_text().splitlines()
    assert 4 <= len(chosen) <= 12
    trained = tmp_path / "first" / "run" / "model"
    assert any(str(trained) in note for note in report.notes)
    assert compare("cherry", rows, trained, found, 512) == 40
    _, before = scored(data, tiny, tmp_path / "2.arrow", ifd="cherry")
    assert np.abs(before["ifd_cherry"][:40] - found["ifd_cherry"][:40]).max() > 1e-4
    # Used again for the same rows, refused for others.
    written_at = trained.stat().st_mtime_ns
    scored(data, tiny, tmp_path / "3.arrow", **options)
    assert trained.stat().st_mtime_ns == written_at
    other = written(tmp_path / "other.jsonl", rows[:30])
    with pytest.raises(sftprep.ConfigError, match="model of another run: rows was"):
        scored(other, tiny, tmp_path / "4.arrow", **options)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    with pytest.raises(sftprep.OutputError, match="not empty"):
        scored(data, tiny, tmp_path / "5.arrow", **(options | {"experience": tmp_path / "full"}))
    few = written(tmp_path / "few.jsonl", rows[:3])
    with pytest.raises(sftprep.ConfigError, match="less than the 4 clusters"):
        scored(few, tiny, tmp_path / "6.arrow", **(options | {"experience": tmp_path / "few"}))


@pytest.mark.slow
def test_the_bench_runs(data: Path, tmp_path: Path) -> None:
    if not (data / "models/stories260k").is_dir() or not (data / "quality/planted").is_dir():
        pytest.skip(f"no model or no rows in {data}")
    script = Path(__file__).resolve().parents[2] / "benches" / "python" / "compare_ifd.py"
    out = tmp_path / "result.json"
    command = [sys.executable, str(script), "--rounds", "1", "--rows", "12", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    result = json.loads(out.read_text())
    for name in ("cherry", "superfilter"):
        assert result[name]["scored"] > 4
        assert result[name]["largest_relative_difference"] < 1e-3
        assert result[name]["speed_up"]["min"] > 0
