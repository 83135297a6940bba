"""TRL's SFTTrainer on packed shards: nothing is prepared again, and every document stays alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, conversation

import sftprep
from sftprep.doctor import TRL_READ, trl_findings, trl_recipe
from sftprep.errors import ConfigError, ShardError, SourceError

GOOD: dict[str, Any] = {
    "dataset_kwargs": {"skip_prepare_dataset": True},
    "max_length": None,
    "padding_free": True,
    "model_init_kwargs": {"attn_implementation": "flash_attention_2"},
}

# Runs in a process of its own: the packages behind it warn, patch and fill caches. Three steps of
# two rows each. What it prints: the losses of each way to feed the same rows, and those of
# documents that each went through the model alone.
PROGRAM = r'''
import functools, json, sys, warnings
warnings.simplefilter("ignore")
import datasets, torch, transformers, trl
import sftprep
from sftprep.doctor import trl_recipe

packs, folder = sys.argv[1:]
torch.set_num_threads(1)
rows = sftprep.ShardDataset(packs)
torch.manual_seed(0)
tiny = transformers.LlamaForCausalLM(transformers.LlamaConfig(
    vocab_size=512, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
    num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=1024,
))
tiny.save_pretrained(f"{folder}/model")

calls, batches, FORBID = [], [], True
for name in ("map", "filter", "shuffle", "select", "select_columns", "sort", "flatten_indices"):
    def spy(self, *args, _name=name, _real=getattr(datasets.Dataset, name), **kwargs):
        calls.append(_name)
        if FORBID and _name in {"map", "filter"}:
            raise AssertionError(f"Dataset.{_name} ran")
        return _real(self, *args, **kwargs)
    setattr(datasets.Dataset, name, spy)

common = dict(
    max_steps=3, per_device_train_batch_size=2, use_cpu=True, bf16=False, logging_steps=1,
    report_to="none", save_strategy="no", disable_tqdm=True, gradient_checkpointing=False, seed=7,
)
plain = trl.SFTConfig
trl.SFTConfig = functools.partial(plain, learning_rate=1e-2, lr_scheduler_type="constant", **common)


def recipe(attention):
    text = trl_recipe(packs, model=f"{folder}/model", out=f"{folder}/run", attention=attention)
    before, names = len(calls), {}
    exec(text, names)
    trainer = names["trainer"]
    assert calls[before:] == [], calls[before:]
    assert trainer.train_dataset._data.table.column_names == ["input_ids", "labels", "seq_lengths"]
    return [line["loss"] for line in trainer.state.log_history if "loss" in line]


def by_hand(rate, skip, watch=False):
    """The same rows out of Python lists, the way users hand over data of their own."""
    data = datasets.Dataset.from_list(
        [{name: values.tolist() for name, values in row.items()} for row in rows]
    )
    more = {"dataset_kwargs": {"skip_prepare_dataset": True}} if skip else {}
    config = plain(
        output_dir=f"{folder}/run", max_length=None, padding_free=True, learning_rate=rate,
        lr_scheduler_type="constant", **common, **more,
        model_init_kwargs={"attn_implementation": "sdpa"},
    )
    trainer = trl.SFTTrainer(
        model=f"{folder}/model", train_dataset=data, args=config,
        processing_class=transformers.AutoTokenizer.from_pretrained(packs),
    )
    if watch:
        collate = trainer.data_collator
        def seen(examples):
            batches.append(examples)
            return collate(examples)
        trainer.data_collator = seen
    trainer.train()
    return [line["loss"] for line in trainer.state.log_history if "loss" in line]


def alone(model):
    """The loss of the watched batches when each document goes through the model by itself."""
    losses = []
    for examples in batches[:3]:
        total = count = documents = 0
        for row in examples:
            ids, labels = torch.tensor(row["input_ids"]), torch.tensor(row["labels"])
            at = 0
            for length in row["seq_lengths"]:
                piece = slice(at, at + length)
                with torch.no_grad():
                    logits = model(ids[piece][None]).logits[0, :-1]
                wanted = labels[piece][1:]
                total += torch.nn.functional.cross_entropy(logits, wanted, reduction="sum").item()
                count += int((wanted != -100).sum())
                at += length
                documents += 1
        assert documents > 2 * len(examples)
        losses.append(total / count)
    return losses


found = {
    "recipe": recipe("sdpa"),
    "recipe_eager": recipe("eager"),
    "by_hand": by_hand(1e-2, skip=True),
    "frozen": by_hand(0.0, skip=True, watch=True),
}
found["prepared"] = by_hand(1e-2, skip=False)
found["alone"] = alone(transformers.LlamaForCausalLM.from_pretrained(f"{folder}/model").eval())

# and the settings that the doctor calls errors do what it says
FORBID = False
trl.SFTConfig = plain
def spoiled(**settings):
    before = len(calls)
    config = plain(output_dir=f"{folder}/run", learning_rate=0.0, **common, **settings)
    trainer = trl.SFTTrainer(
        model=f"{folder}/model", train_dataset=datasets.load_from_disk(packs), args=config,
        processing_class=transformers.AutoTokenizer.from_pretrained(packs),
    )
    lengths = [len(row) for row in trainer.train_dataset["input_ids"]]
    columns = trainer.train_dataset.column_names
    batch = trainer.data_collator([trainer.train_dataset[0]])
    starts = int((batch["position_ids"] == 0).sum()) if "position_ids" in batch else None
    return {
        "calls": calls[before:], "longest": max(lengths), "columns": columns, "starts": starts,
    }

found["truncated"] = spoiled(max_length=100)
found["packed_again"] = spoiled(packing=True, max_length=512)
found["padded"] = spoiled(max_length=None)
found["documents"] = len(rows[0]["seq_lengths"])
for name, settings in {
    "padding_free_and_max_length": {"padding_free": True, "max_length": 100},
    "assistant_only_loss": {"assistant_only_loss": True, "max_length": None},
}.items():
    try:
        spoiled(**settings)
        found[name] = ""
    except ValueError as error:
        found[name] = str(error)
print(json.dumps(found))
'''


@pytest.fixture(scope="module")
def packs(tmp_path_factory: pytest.TempPathFactory, tokenizer_dir: Path) -> Path:
    """Rows of many documents each."""
    folder = tmp_path_factory.mktemp("trl")
    rows = [conversation(index, 1 + index % 2) for index in range(120)]
    text = "".join(f"{json.dumps(row)}\n" for row in rows)
    (folder / "chat.jsonl").write_text(text, encoding="utf-8")
    sftprep.pack(folder / "chat.jsonl", out=folder / "packs", tokenizer=tokenizer_dir, max_len=512)
    return folder / "packs"


@pytest.fixture(scope="module")
def found(packs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the program printed."""
    for name in ("torch", "trl", "datasets"):
        if find_spec(name) is None:
            pytest.skip(f"needs {name}")
    folder = tmp_path_factory.mktemp("run")
    environment = os.environ | {
        "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false",
        "PYTHONPATH": os.pathsep.join([str(ROOT / "python"), os.environ.get("PYTHONPATH", "")]),
        "HF_DATASETS_CACHE": str(folder / "cache"),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(packs), str(folder)],
        env=environment, capture_output=True, text=True, timeout=600, check=False, cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def test_the_recipe_prepares_nothing_and_its_losses_are_those_of_the_same_rows(
    found: dict[str, Any],
) -> None:
    assert len(found["recipe"]) == 3
    assert found["recipe"] == found["by_hand"] == found["prepared"]
    assert found["recipe"] == pytest.approx(found["recipe_eager"], rel=1e-5)
    assert len(set(found["recipe"])) == 3


def test_each_document_has_the_loss_that_it_has_alone(found: dict[str, Any]) -> None:
    assert found["frozen"] == pytest.approx(found["alone"], rel=1e-5)


def test_the_settings_that_are_called_errors_are(found: dict[str, Any], packs: Path) -> None:
    assert "map" in found["truncated"]["calls"]
    assert "filter" in found["truncated"]["calls"]
    assert found["truncated"]["longest"] == 100
    assert "seq_lengths" in found["truncated"]["columns"]
    assert "map" in found["packed_again"]["calls"]
    # a packed row has become one document: no start of a document is left within it
    assert found["documents"] > 2
    assert found["packed_again"]["starts"] == 1
    assert found["padded"]["starts"] is None
    assert "max_length" in found["padding_free_and_max_length"]
    assert "conversational" in found["assistant_only_loss"]
    for settings in (
        {"max_length": 100},
        {"packing": True, "max_length": 512},
        {"max_length": None},
        {"padding_free": True, "max_length": 100},
        {**GOOD, "assistant_only_loss": True},
    ):
        assert [each for each in trl_findings(packs, settings) if each.severity == "error"]


def test_good_settings_have_no_findings(packs: Path) -> None:
    own = [each for each in trl_findings(packs) if not each.setting.startswith("trl ")]
    assert own == []
    found = [each for each in trl_findings(packs, GOOD) if not each.setting.startswith("trl ")]
    assert found == []


@pytest.mark.parametrize(
    ("settings", "severity", "said"),
    [
        ({}, "error", "padding_free=False"),
        ({"padding_free": False}, "error", "see each other"),
        ({"packing": True}, "note", "nothing is packed"),
        ({"packing": True, "dataset_kwargs": None}, "error", "packed again"),
        ({"packing": True, "padding_free": False, "packing_strategy": "wrapped"}, "error", "see"),
        ({"max_length": 64}, "error", "refuses"),
        ({"max_length": 64, "dataset_kwargs": "{}", "padding_free": False}, "error", "are cut"),
        ({"max_length": 512, "dataset_kwargs": {}, "padding_free": False}, "warning", "map, filt"),
        ({"dataset_kwargs": {}}, "note", "skip_prepare_dataset"),
        ({"shuffle_dataset": True, "dataset_kwargs": {}}, "warning", "table of indices"),
        ({"assistant_only_loss": True}, "error", "no messages"),
        ({"completion_only_loss": True}, "note", "labels of the shards"),
        ({"average_tokens_across_devices": False}, "warning", "per device"),
        ({"parallelism_config": {"cp_size": 2}}, "error", "context parallelism"),
        ({"model_init_kwargs": {}}, "note", "square"),
        ({"train_sampling_strategy": "group_by_length"}, "warning", "lengths"),
        ({"eval_packing": True, "dataset_kwargs": {}}, "error", "evaluation"),
    ],
)
def test_findings(packs: Path, settings: dict[str, Any], severity: str, said: str) -> None:
    given = settings if not settings else {**GOOD, **settings}
    found = [each for each in trl_findings(packs, given) if each.severity == severity]
    assert any(said in str(each) for each in found), found


def test_loss_weights_are_reported(tmp_path: Path, tokenizer_dir: Path) -> None:
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "weight": 0.5}]
    (tmp_path / "rows.jsonl").write_text(json.dumps({"messages": turns}) + "\n")
    sftprep.pack(tmp_path / "rows.jsonl", out=tmp_path / "out", tokenizer=tokenizer_dir)
    assert "loss weights" in str(trl_findings(tmp_path / "out", GOOD)[0])


def test_the_command(packs: Path, tmp_path: Path, sftprep: Any) -> None:  # noqa: ANN401
    done = sftprep("doctor", "--trl", packs)
    assert (done.returncode, done.stdout) == (0, trl_recipe(packs))
    compile(done.stdout, "recipe", "exec")
    settings = tmp_path / "sft.toml"
    settings.write_text("packing = true\nmax_length = 512\n[dataset_kwargs]\n", encoding="utf-8")
    assert tomllib.loads(settings.read_text())["packing"]
    done = sftprep("doctor", "--trl", packs, "--settings", settings)
    assert done.returncode == 2
    assert "error: packing=True: each packed row is taken for one document" in done.stdout
    good = [f"--set={name}={json.dumps(value)}" for name, value in GOOD.items()]
    done = sftprep("doctor", "--trl", packs, *good)
    assert done.returncode == 0, done.stdout
    done = sftprep(
        "doctor", "--trl", packs, "--settings", settings, *good, "--set", "packing=false"
    )
    assert done.returncode == 0, done.stdout


def test_what_is_no_dataset_or_no_settings(packs: Path, tmp_path: Path) -> None:
    from sftprep.doctor import read_settings

    with pytest.raises(ShardError):
        trl_recipe(tmp_path)
    with pytest.raises(SourceError):
        read_settings(tmp_path / "nowhere.json")
    for name, text in (("a.json", "{"), ("b.json", "[1]"), ("c.toml", "=")):
        (tmp_path / name).write_text(text)
        with pytest.raises(ConfigError):
            read_settings(tmp_path / name)
    with pytest.raises(ConfigError, match="dataset_kwargs"):
        trl_findings(packs, {"dataset_kwargs": [1]})


def test_the_version_that_was_read_is_the_one_that_is_tested(found: dict[str, Any]) -> None:
    from importlib.metadata import version

    if version("trl") != TRL_READ:
        pytest.skip(f"trl {version('trl')} is not {TRL_READ}, which doctor.py speaks of")
