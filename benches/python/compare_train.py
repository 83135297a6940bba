"""Compares `sftprep train` with TRL's SFTTrainer: same packed rows, order, weights and settings.

    compare_train.py [--rounds 3] [--steps 12] [--max-len 2048] [--hidden 256] [--threads 1]

Both sides run in processes of their own, in turns, in the environment of this script, which needs
torch, transformers, trl and datasets. TRL gets the rows with `seq_lengths`, `padding_free=True` and
PyTorch's attention, which is what it does without the flash-attn package. CPU seconds are those
from the end of the first step to the end of the last: imports, loading and checks are left out.
The result is `benches/results/compare_train.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

from compare_prepare import RESULTS, data_folder, machine, unpack

SETTINGS = {"lr": 1e-3, "rows_per_step": 4, "warmup": 0.0, "beta2": 0.95, "clip": 1.0}


def config_file(folder: Path, hidden: int, vocab_size: int) -> Path:
    """A small Llama."""
    values = {
        "model_type": "llama", "vocab_size": vocab_size, "hidden_size": hidden,
        "intermediate_size": 3 * hidden, "num_hidden_layers": 6,
        "num_attention_heads": hidden // 32, "num_key_value_heads": hidden // 64,
        "max_position_embeddings": 8192, "tie_word_embeddings": True, "pad_token_id": 0,
    }  # fmt: skip
    path = folder / "config.json"
    path.write_text(json.dumps(values))
    return path


def run_sftprep(shards: Path, config: Path, steps: int, out: Path) -> dict[str, Any]:
    """Our side."""
    from sftprep.train import loop
    from sftprep.train.config import TrainConfig

    clocks: list[float] = []
    real = loop.Run._step

    def step(self: loop.Run, number: int) -> None:
        real(self, number)
        clocks.append(time.process_time())

    loop.Run._step = step  # type: ignore[method-assign]
    given = TrainConfig(
        random_init=str(config), shards=str(shards), out=str(out), steps=steps, samples=0,
        quiet=True, device="cpu", **SETTINGS,
    )  # fmt: skip
    loop.train(given)
    from sftprep.runlog import read

    losses = [line["loss"] for line in read(out / "metrics.jsonl") if "loss" in line]
    return {"cpu_s": clocks[-1] - clocks[0], "losses": losses}


def run_trl(shards: Path, config: Path, steps: int, out: Path) -> dict[str, Any]:
    """Their side, on the rows that our side reads, in that order."""
    warnings.simplefilter("ignore")
    import torch
    from datasets import Dataset
    from torch.utils.data import SequentialSampler
    from transformers import TrainerCallback
    from trl import SFTConfig, SFTTrainer

    from sftprep import ShardDataset
    from sftprep.train.config import TrainConfig
    from sftprep.train.data import Order
    from sftprep.train.model import load

    rows = ShardDataset(shards)
    order = Order(rows, 0, SETTINGS["rows_per_step"], steps * SETTINGS["rows_per_step"])
    numbers = [row for step in range(steps) for row in order.rows(step)]
    data = Dataset.from_list([{k: v.tolist() for k, v in rows[n].items()} for n in numbers])
    model = load(
        TrainConfig(random_init=str(config), shards=str(shards)), rows.manifest, torch.float32
    )
    model.set_attn_implementation("sdpa")
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(rows.path)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    clocks: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            clocks.append(time.process_time())

    class Trainer(SFTTrainer):
        def _get_train_sampler(self, *_: Any) -> SequentialSampler:
            return SequentialSampler(data)

    settings = SFTConfig(
        output_dir=str(out), per_device_train_batch_size=1,
        gradient_accumulation_steps=SETTINGS["rows_per_step"], max_steps=steps,
        learning_rate=SETTINGS["lr"], lr_scheduler_type="cosine", warmup_steps=0,
        adam_beta2=SETTINGS["beta2"], max_grad_norm=SETTINGS["clip"], weight_decay=0.0,
        optim="adamw_torch_fused", padding_free=True, packing=False, max_length=None,
        use_cpu=True, bf16=False, gradient_checkpointing=False, report_to="none",
        logging_steps=1, save_strategy="no", disable_tqdm=True, dataloader_num_workers=0,
        dataset_kwargs={"skip_prepare_dataset": True},
    )  # fmt: skip
    trainer = Trainer(
        model=model, args=settings, train_dataset=data, processing_class=tokenizer,
        callbacks=[Clock()],
    )  # fmt: skip
    trainer.train()
    losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    return {"cpu_s": clocks[-1] - clocks[0], "losses": losses}


def side(name: str, shards: Path, config: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Runs one side in a process of its own."""
    command = [
        sys.executable, __file__, "--side", name, "--shards", str(shards), "--config", str(config),
        "--steps", str(options.steps), "--threads", str(options.threads),
    ]  # fmt: skip
    environment = os.environ | {
        "OMP_NUM_THREADS": str(options.threads), "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"
    }  # fmt: skip
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Measures both sides in turns and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--max-len", type=int, default=2048)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--side", choices=("sftprep", "trl"), help=argparse.SUPPRESS)
    parser.add_argument("--shards", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--config", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side is not None:
        with tempfile.TemporaryDirectory() as out:
            job = {"sftprep": run_sftprep, "trl": run_trl}[options.side]
            result = job(options.shards, options.config, options.steps, Path(out) / "run")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
        print(json.dumps(result | {"peak_bytes": peak}))
        return

    import torch
    import transformers
    import trl

    import sftprep

    with tempfile.TemporaryDirectory() as folder:
        source, shards = Path(folder) / "rows.jsonl", Path(folder) / "packs"
        unpack(3000, source)
        assert data_folder().is_dir()
        sftprep.pack(source, out=shards, tokenizer="builtin", max_len=options.max_len)
        rows = sftprep.ShardDataset(shards)
        config = config_file(Path(folder), options.hidden, rows.manifest["tokenizer"]["vocab_size"])
        from sftprep.train.data import Order

        per_step = SETTINGS["rows_per_step"]
        order = Order(rows, 0, per_step, options.steps * per_step)
        counted = [n for step in range(1, options.steps) for n in order.rows(step)]
        tokens = sum(rows.sums(n).tokens for n in counted)
        rounds = [
            {name: side(name, shards, config, options) for name in ("sftprep", "trl")}
            for _ in range(options.rounds)
        ]
    first = rounds[0]
    ratios = [r["trl"]["cpu_s"] / r["sftprep"]["cpu_s"] for r in rounds]
    result = {
        "machine": machine(),
        "versions": {x.__name__: x.__version__ for x in (torch, transformers, trl)},
        "settings": {**SETTINGS, "tokens": tokens}
        | {key: getattr(options, key) for key in ("steps", "max_len", "hidden", "threads")},
        "tokens_per_cpu_s": {
            name: round(tokens / statistics.median(r[name]["cpu_s"] for r in rounds))
            for name in ("sftprep", "trl")
        },
        "speed_up": {"min": round(min(ratios), 3), "median": round(statistics.median(ratios), 3)},
        "peak_mb": {
            name: round(statistics.median(r[name]["peak_bytes"] for r in rounds) / 1e6)
            for name in ("sftprep", "trl")
        },
        "losses": {name: first[name]["losses"] for name in ("sftprep", "trl")},
        "largest_loss_difference": max(
            abs(a - b)
            for a, b in zip(first["sftprep"]["losses"], first["trl"]["losses"], strict=True)
        ),
    }  # fmt: skip
    path = RESULTS / "compare_train.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
