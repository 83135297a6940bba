"""Whole runs by the command line: what they write, what they say, and what they refuse."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the trainer needs torch")
pytest.importorskip("transformers", reason="the trainer needs transformers")

from sftprep import ShardDataset, cli  # noqa: E402
from sftprep.cli import train as command  # noqa: E402
from sftprep.errors import ConfigError, SftprepError, TrainError  # noqa: E402
from sftprep.models.generate import Budget, generate  # noqa: E402
from sftprep.runlog import read  # noqa: E402
from sftprep.train import config as settings  # noqa: E402
from sftprep.train import loop  # noqa: E402
from train.helpers import SIZES, run, steps_of, weights_of  # noqa: E402


def test_every_option_has_a_flag_and_a_help() -> None:
    names = {field.name for field in settings.fields(settings.TrainConfig)}
    assert set(command._HELP) == names
    assert set(settings.CHOICES) < names


@pytest.fixture(scope="module")
def done(configs: dict[str, Path], shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run by the command line."""
    out = tmp_path_factory.mktemp("done") / "run"
    arguments = [
        "train", "--random-init", configs["llama"], "--shards", shards, "--out", out,
        "--eval-shards", shards, "--eval-every", 20, "--steps", 40, "--rows-per-step", 2,
        "--lr", 1e-2, "--device", "cpu", "--source", shards.parent / "one.jsonl",
    ]  # fmt: skip
    # The first row is also made of the other source, whose rows are then not where they should be.
    assert cli.main([str(x) for x in arguments[:-2]]) == 0
    return out


def test_the_loss_falls_and_everything_is_written(done: Path, shards: Path) -> None:
    lines = steps_of(done)
    assert [line["step"] for line in lines] == list(range(40))
    assert lines[-1]["loss"] < 0.5 * lines[0]["loss"]
    rows = ShardDataset(shards)
    epoch = sum(rows.sums(number).trained_tokens for number in range(len(rows)))
    assert sum(line["trained_tokens"] for line in lines) == pytest.approx(
        epoch * lines[-1]["epoch"], rel=0.1
    )
    evals = [line for line in read(done / "metrics.jsonl") if "eval_loss" in line]
    assert [line["step"] for line in evals] == [19, 39]
    assert evals[-1]["eval_tokens"] == epoch
    assert set(evals[-1]["sources"]) == {"one", "two"}
    both = evals[-1]["sources"].values()
    mean = sum(x["loss"] * x["tokens"] for x in both) / epoch
    assert mean == pytest.approx(evals[-1]["eval_loss"], rel=1e-9)
    picture = ET.fromstring((done / "loss.svg").read_text())
    assert sum(part.tag.endswith("circle") for part in picture) == 2
    answers = [json.loads(x) for x in (done / "samples.jsonl").read_text().splitlines()]
    assert len(answers) == 3
    assert all(set(x) == {"prompt", "answer", "wanted"} for x in answers)
    assert settings.read(done / "config.json").steps == 40
    assert sorted(x.name for x in (done / "checkpoints").iterdir()) == ["step-40"]


def test_the_export_is_the_model_that_was_evaluated(
    done: Path, shards: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["eval", str(done / "model"), "--shards", str(shards), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    last = [line for line in read(done / "metrics.jsonl") if "eval_loss" in line][-1]
    assert found["eval_loss"] == pytest.approx(last["eval_loss"], rel=1e-6)
    assert cli.main(["eval", str(done / "model"), "--shards", str(shards)]) == 0
    assert "two " in capsys.readouterr().out
    # Plain transformers reads it, with tokenizer and template, and stops where a turn ends.
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(done / "model")
    model = AutoModelForCausalLM.from_pretrained(done / "model")
    assert model.config.use_cache
    assert tokenizer.convert_tokens_to_ids("<|im_end|>") in model.generation_config.eos_token_id
    text = tokenizer.apply_chat_template([{"role": "user", "content": "a"}], tokenize=False)
    assert text.startswith("<|im_start|>user")


def test_generate_answers(done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    prompt = "What is 3 plus 0? 你好 🙂"
    assert cli.main(["generate", str(done / "model"), prompt, "--max-tokens", "12"]) == 0
    ours = capsys.readouterr().out
    tokenizer = AutoTokenizer.from_pretrained(done / "model")
    model = AutoModelForCausalLM.from_pretrained(done / "model")
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True
    )
    ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
    theirs = model.generate(ids, max_new_tokens=12, do_sample=False, pad_token_id=0)
    ended = [
        x
        for x in theirs[0, ids.shape[1] :].tolist()
        if x not in model.generation_config.eos_token_id
    ]
    assert ours.rstrip("\n") == tokenizer.decode(ended).rstrip("\n")


class Scripted(torch.nn.Module):
    """Says the tokens of a list, one after the other, whatever it is told."""

    device = torch.device("cpu")

    def __init__(self, says: list[int]) -> None:
        super().__init__()
        self.says, self.heard = list(says), []

    def forward(self, input_ids: Any, past_key_values: Any, **_: Any) -> Any:
        self.heard = (past_key_values or []) + input_ids[0].tolist()
        logits = torch.zeros(1, 1, 20)
        logits[0, 0, self.says.pop(0)] = 1.0
        return type("Out", (), {"logits": logits, "past_key_values": self.heard})


@pytest.mark.parametrize(
    ("says", "low", "high", "waits", "end", "expected"),
    [
        ([4, 9, 5, 0], 0, 9, 1, [9], [4, 9, 5]),  # within the budget: as it is
        ([4, 9, 5, 6, 9, 7, 0], 3, 9, 1, [9], [4, 8, 5, 6, 9, 7]),  # too short: wait, go on
        ([4, 0, 5, 6, 9, 7, 0], 3, 9, 1, [9], [4, 8, 5, 6, 9, 7]),  # a stop is an early end too
        ([4, 9, 5, 9, 7, 0], 9, 20, 1, [9], [4, 8, 5, 9, 7]),  # put off only so often
        ([4, 5, 6, 7, 0], 0, 3, 1, [9], [4, 5, 6, 9, 7]),  # too long: the end is forced
        ([4, 9, 3, 5, 6, 9, 3, 7, 0], 3, 9, 1, [9, 3], [4, 8, 5, 6, 9, 3, 7]),  # an end of two
    ],
)
def test_thinking_keeps_to_its_budget(
    says: list[int], low: int, high: int, waits: int, end: list[int], expected: list[int]
) -> None:
    budget = Budget(low=low, high=high, waits=waits, end=end, wait=[8])
    model = Scripted(says)
    assert generate(model, [1, 2], stop={0}, most=30, budget=budget) == expected
    assert model.heard == [1, 2, *expected]  # the cache holds what was said, and nothing else


def test_interpolation_is_the_weighted_mean(
    done: Path, options: dict[str, Any], tmp_path: Path
) -> None:
    run(options, dtype="fp32", steps=1)
    a, b, out = done, Path(options["out"]), tmp_path / "between" / "model"
    arguments = ["interpolate", a / "model", b / "model", "--alpha", "0.25", "--out", out]
    assert cli.main([str(x) for x in arguments]) == 0
    first, second, mixed = (weights_of(path) for path in (a, b, tmp_path / "between"))
    for name, value in mixed.items():
        torch.testing.assert_close(value, 0.75 * first[name] + 0.25 * second[name])
    assert (out / "tokenizer.json").is_file()
    assert cli.main([str(x) for x in arguments]) == 2  # the output exists


def test_embeddings_grow_by_the_mean_and_stay_tied(
    options: dict[str, Any], tmp_path: Path, configs: dict[str, Path]
) -> None:
    for tied in (True, False):
        path = tmp_path / f"{tied}.json"
        small = {"model_type": "llama", "vocab_size": 300, "tie_word_embeddings": tied}
        path.write_text(json.dumps(SIZES | small))
        with pytest.raises(TrainError, match="tokenizer has 400 tokens, the model 300 embeddings"):
            run(options, random_init=str(path), out=str(tmp_path / "refused"))
        from sftprep.train.model import load

        given = settings.TrainConfig(
            random_init=str(path), shards=options["shards"], resize_embeddings=True
        )
        model = load(given, ShardDataset(options["shards"]).manifest, torch.float64)
        table, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
        assert (table is head) == tied
        for weight in (table, head):
            assert weight.shape[0] == 400
            assert torch.allclose(weight[300:], weight[:300].mean(0).expand(100, -1))
        run(
            options,
            random_init=str(path),
            out=str(tmp_path / f"run-{tied}"),
            resize_embeddings=True,
        )


def test_lora_trains_little_and_is_merged(
    options: dict[str, Any], done: Path, tmp_path: Path
) -> None:
    pytest.importorskip("peft", reason="LoRA needs peft")
    more = {"random_init": "", "model": str(done / "model"), "dtype": "fp32", "lora": 4, "lr": 1e-2}
    run(options | more, eval_shards=options["shards"], steps=8)
    out = Path(options["out"])
    before, after = weights_of(done), weights_of(out)
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert not any("embed" in name or "norm" in name for name in changed)
    last = [line for line in read(out / "metrics.jsonl") if "eval_loss" in line][-1]
    evaluated = tmp_path / "eval.json"
    with pytest.MonkeyPatch.context() as patch, evaluated.open("w") as file:
        patch.setattr("sys.stdout", file)
        cli.main(["eval", str(out / "model"), "--shards", options["shards"], "--json"])
    found = json.loads(evaluated.read_text())
    assert found["eval_loss"] == pytest.approx(last["eval_loss"], rel=1e-5)


@pytest.mark.parametrize("how", ["none", "half", "full"])
def test_recomputed_activations_change_nothing(
    options: dict[str, Any], how: str, tmp_path: Path
) -> None:
    losses = []
    for name, more in (("plain", {}), (how, {"activation_checkpointing": how, "loss_chunk": 16})):
        run(options | more, out=str(tmp_path / f"run-{name}"), steps=3)
        losses.append([line["loss"] for line in steps_of(tmp_path / f"run-{name}")])
    assert losses[0] == pytest.approx(losses[1], rel=1e-12)


def test_bf16_keeps_fp32_weights(options: dict[str, Any]) -> None:
    run(options, dtype="bf16", steps=8, lr=1e-2)
    lines = steps_of(options["out"])
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert {value.dtype for value in weights_of(options["out"]).values()} == {torch.float32}


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [0.5, 1, 1, 1, 1, 1]),
        ("linear", [0.5, 1, 1, 0.775, 0.55, 0.325]),
        ("cosine", [0.5, 1, 1, 0.868, 0.55, 0.232]),
    ],
)
def test_schedules(schedule: str, expected: list[float]) -> None:
    given = settings.TrainConfig(schedule=schedule, warmup=0.34, min_lr=0.1)
    found = [loop.schedule(given, step, 6) for step in range(6)]
    assert found == pytest.approx(expected, abs=1e-3)


def test_a_model_that_diverges_is_stopped(options: dict[str, Any], done: Path) -> None:
    with pytest.raises(TrainError, match=r"the loss is (nan|inf).*made of (one|two):\d+") as caught:
        broken = {"random_init": "", "model": str(done / "model"), "clip": 0.0}
        run(options | broken, lr=1e300, steps=6, schedule="constant", warmup=0.0)
    assert caught.value.code == "train.diverged"
    events = [line for line in read(Path(options["out"]) / "metrics.jsonl") if "event" in line]
    assert events[0]["event"] == "diverged"


def test_a_spike_names_its_rows(options: dict[str, Any]) -> None:
    real = loop.Run._report

    def report(self: Any, done: int) -> None:
        if done == 36:
            self.pending = [(step, loss + 9, norm) for step, loss, norm in self.pending]
        real(self, done)

    loop.Run._report = report
    try:
        run(options, steps=38, lr=1e-4)
    finally:
        loop.Run._report = real
    events = [line for line in read(Path(options["out"]) / "metrics.jsonl") if "event" in line]
    assert [(event["event"], event["step"]) for event in events] == [("spike", 35)]
    assert all(source.split(":")[0] in {"one", "two"} for source in events[0]["sources"])


@pytest.mark.parametrize("where", ["cuda", "cpu"])
def test_out_of_memory_says_what_to_change(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def full(*_: Any) -> None:
        if where == "cpu":
            torch.empty(1 << 60)  # torch itself says that this is too much
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(loop.Run, "_step", full)
    with pytest.raises(TrainError, match="out of memory with micro-batches of 1 x 256") as caught:
        run(options)
    assert caught.value.code == "train.memory"
    assert "--micro-rows" in str(caught.value.hint)


def test_another_error_is_not_taken_for_it(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(*_: Any) -> None:
        raise RuntimeError("shapes cannot be multiplied")

    monkeypatch.setattr(loop.Run, "_step", wrong)
    with pytest.raises(RuntimeError, match="shapes cannot"):
        run(options)


def test_nothing_to_train_is_refused(
    options: dict[str, Any], tmp_path: Path, tokenizer_dir: Path, write_rows: Callable[..., Path]
) -> None:
    import sftprep

    source = write_rows([{"messages": [{"role": "user", "content": "a"}]}] * 9)
    try:
        sftprep.pack(source, out=tmp_path / "none", tokenizer=tokenizer_dir, max_reject_rate=1.0)
    except SftprepError:  # rows without an answer are rejected: an empty label mask from ids then
        rows = [{"input_ids": [3, 4, 5], "labels": [-100, -100, -100]}] * 9
        sftprep.pack(
            write_rows(rows, "ids.jsonl"), out=tmp_path / "none", tokenizer=tokenizer_dir,
            max_reject_rate=1.0, overwrite=True,
        )  # fmt: skip
    with pytest.raises(TrainError, match="no token of the shards is trained") as caught:
        run(options, shards=str(tmp_path / "none"))
    assert caught.value.code == "train.labels"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"shards": ""}, "--shards is missing"),
        ({"model": "x"}, "either --model or --random-init"),
        ({"random_init": "nowhere"}, "there is no such model"),
        ({"lr": -1.0}, "-1.0 is not a finite number from 0 on"),
        ({"lr": float("nan")}, "nan is not a finite number"),
        ({"micro_rows": 3}, "4 rows per step do not share out to 1 ranks x 3 rows"),
        ({"steps": 0, "epochs": 0.0}, "0 epochs"),
        ({"schedule": "step"}, "'step' is none of cosine"),
        ({"device": "cuda"}, "there is no CUDA device"),
    ],
)
def test_wrong_options_are_named(
    options: dict[str, Any], change: dict[str, Any], said: str
) -> None:
    if change.get("device") == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.raises((ConfigError, TrainError), match=said):
        run(options | change)


def test_options_come_from_a_file_and_flags_win(tmp_path: Path) -> None:
    path = tmp_path / "options.json"
    path.write_text(json.dumps({"lr": 1, "steps": 5, "quiet": True}))
    assert settings.read(path).lr == 1
    for text, said in (
        ("{", "cannot be read"),
        ('{"a": 1}', "no option 'a'"),
        ('{"lr": "x"}', "lr is"),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError, match=said):
            settings.read(path)


def test_raw_text_then_questions_on_one_model(
    options: dict[str, Any], tmp_path: Path, tokenizer_dir: Path, write_rows: Callable[..., Path]
) -> None:
    import sftprep

    texts = [{"text": f"Two and {n} is {n + 2}. The quick brown fox jumps."} for n in range(60)]
    sftprep.pack(
        write_rows(texts), out=tmp_path / "text", tokenizer=tokenizer_dir, max_len=128,
        strategy="wrapped",
    )  # fmt: skip
    run(
        options,
        shards=str(tmp_path / "text"),
        out=str(tmp_path / "base"),
        dtype="fp32",
        epochs=4.0,
        steps=0,
        lr=5e-3,
    )
    base = steps_of(tmp_path / "base")
    assert base[-1]["loss"] < base[0]["loss"]
    run(options, random_init="", model=str(tmp_path / "base" / "model"), dtype="fp32", lr=5e-3)
    assert steps_of(options["out"])[0]["loss"] < base[0]["loss"]
