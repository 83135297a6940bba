"""Everything about the trainer that needs a GPU, in under nine minutes, as one JSON file.

    run.py --out result.json [--toy] [--only kernel,check,train,trl] [--seconds 520]

- `kernel`: the packed attention hook against fp32 attention per document, forward and backward.
- `check`: the isolation check on CUDA: passes on the hook, fires on attention over the whole row.
- `train`: tokens/s, MFU (useful operations / 989 TFLOP/s), data stall and time to the first batch,
  for the shapes of Qwen2.5-0.5B and 1.5B (all weights) and Llama-3.1-8B (LoRA), random weights.
- `trl`: TRL's SFTTrainer on the same rows without flash-attn (sdpa, flex), if trl is installed.

Rows are made here: documents of about 1,000 tokens, half of them trained. `--toy` runs every part
on the CPU with tiny shapes, as the tests do. A part that fails is reported, and the rest goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
import traceback
from itertools import pairwise
from pathlib import Path
from typing import Any

PARTS = ("kernel", "check", "train", "trl")
_QWEN = {"model_type": "qwen2", "vocab_size": 151936, "tie_word_embeddings": True}
SHAPES: dict[str, dict[str, Any]] = {
    "0.5B": {
        "config": {
            **_QWEN,
            "hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24,
            "num_attention_heads": 14, "num_key_value_heads": 2, "max_position_embeddings": 32768,
        },
        "options": {"micro_rows": 4, "rows_per_step": 8},
        "target": 0.35,
    },
    "1.5B": {
        "config": {
            **_QWEN,
            "hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28,
            "num_attention_heads": 12, "num_key_value_heads": 2, "max_position_embeddings": 32768,
        },
        "options": {"micro_rows": 2, "rows_per_step": 4},
        "target": 0.45,
    },
    "8B-LoRA": {
        "config": {
            "model_type": "llama", "vocab_size": 128256, "hidden_size": 4096,
            "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
            "num_key_value_heads": 8, "max_position_embeddings": 131072, "rms_norm_eps": 1e-5,
        },
        "options": {"lora": 16, "micro_rows": 2, "rows_per_step": 4},
        "target": 0.50,
    },
}  # fmt: skip
TOY = {
    "toy": {
        "config": {
            "model_type": "qwen2", "vocab_size": 8000, "hidden_size": 32, "intermediate_size": 64,
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        },
        "options": {"micro_rows": 2, "rows_per_step": 4, "device": "cpu", "compile": "no"},
        "target": 0.0,
    }
}  # fmt: skip


def kernel(toy: bool) -> dict[str, Any]:
    """Largest relative error of the hook, forward and backward, per shape."""
    import torch

    from sftprep.train.attention import attend, uses_varlen

    device, dtype = ("cpu", torch.float32) if toy else ("cuda", torch.bfloat16)
    out: dict[str, Any] = {}
    for heads, kv, width, window in ((4, 4, 64, None), (14, 2, 64, None), (8, 2, 128, 100)):
        torch.manual_seed(0)
        lengths = [1, 63, 64, 200, 17] if toy else [1, 127, 128, 1000, 17, 2823]
        total = sum(lengths)
        borders = torch.tensor([0, *torch.tensor(lengths).cumsum(0).tolist(), total, total])
        borders = borders.to(device, torch.int32)
        shapes = ((1, heads, total, width), (1, kv, total, width), (1, kv, total, width))
        # The same 16-bit numbers on both sides, so that only the kernels differ.
        exact = [torch.randn(x, device=device).to(dtype).float() for x in shapes]
        up = torch.randn(1, total, heads, width, device=device).to(dtype).float()
        results = []
        for precision in (torch.float32, dtype):
            inputs = [x.to(precision).detach().requires_grad_() for x in exact]
            states, _ = attend(
                torch.nn.Identity(), *inputs, scaling=width**-0.5, cu_seq_lens_q=borders,
                max_length_q=max(lengths), sliding_window=window,
            )  # fmt: skip
            (states.float() * up).sum().backward()
            results.append([states.detach().float(), *(x.grad.float() for x in inputs)])
        errors = [float((a - b).abs().max() / a.abs().max()) for a, b in zip(*results, strict=True)]
        name = f"{heads} heads, {kv} kv, width {width}, window {window}"
        out[name] = {
            "varlen": uses_varlen(torch.empty(1, device=device, dtype=dtype)),
            "forward": errors[0], "backward": max(errors[1:]), "passed": max(errors) < 2e-2,
        }  # fmt: skip
    return out


def check(toy: bool, shards: Path) -> dict[str, Any]:
    """The isolation check: what it measures on the hook, and what it says of a planted leak."""
    import torch
    from transformers import AttentionInterface

    from sftprep import ShardDataset
    from sftprep.errors import TrainError
    from sftprep.train.checks import check_isolation, check_loss
    from sftprep.train.config import TrainConfig
    from sftprep.train.data import Stager
    from sftprep.train.model import Ranks, load, prepare

    shape = TOY["toy"] if toy else {"config": SHAPES["0.5B"]["config"] | {"num_hidden_layers": 4}}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.json"
        path.write_text(json.dumps(shape["config"]))
        given = TrainConfig(
            random_init=str(path), shards=str(shards), device="cpu" if toy else "cuda", compile="no"
        )
        rows, ranks = ShardDataset(shards), Ranks.join(given.device)
        model = load(given, rows.manifest, torch.float32)
        trainee = prepare(model, given, ranks)
    size = shape["config"]["vocab_size"]
    micro = Stager(rows, size, 1, ranks.device, pad=not toy).stage([0])
    if micro.ready is not None:
        micro.ready.synchronize()
    out: dict[str, Any] = {"moved": check_isolation(trainee, micro, size)}
    out["loss_off"] = check_loss(trainee, micro)

    def dense(_m: Any, q: Any, k: Any, v: Any, _mask: Any, **_: Any) -> tuple[Any, None]:
        states = torch.nn.functional.scaled_dot_product_attention(
            q, k, v, is_causal=True, enable_gqa=True
        )
        return states.transpose(1, 2), None

    AttentionInterface.register("dense", dense)
    model.set_attn_implementation("dense")
    try:
        check_isolation(trainee, micro, size)
        out["planted_leak"] = "not caught"
    except TrainError as error:
        out["planted_leak"] = error.message
    out["passed"] = out["planted_leak"] != "not caught"
    return out


def train(name: str, shape: dict[str, Any], shards: Path, steps: int) -> dict[str, Any]:
    """One shape: the median step of the second half, once everything is compiled."""
    import statistics

    from sftprep.runlog import read
    from sftprep.train import data, loop
    from sftprep.train.config import TrainConfig

    first: list[float] = []
    real = data.Loader.__next__

    def timed(self: data.Loader) -> data.Micro:
        micro = real(self)
        if not first:
            if micro.ready is not None:
                micro.ready.synchronize()
            first.append(time.perf_counter() - self.started)
        return micro

    data.Loader.__next__ = timed  # type: ignore[method-assign]
    # Neither the export nor the checkpoint of a random model is of interest.
    loop.export = lambda *_: Path("/nonexistent")  # type: ignore[assignment]
    loop.Checkpoints.save = lambda *_: None  # type: ignore[method-assign, assignment]
    with tempfile.TemporaryDirectory() as folder:
        path, out = Path(folder) / "config.json", Path(folder) / "run"
        path.write_text(json.dumps(shape["config"]))
        given = TrainConfig(
            random_init=str(path), shards=str(shards), out=str(out), steps=steps, samples=0,
            log_every=2, quiet=True, **shape["options"],
        )  # fmt: skip
        loop.train(given)
        lines = [line for line in read(out / "metrics.jsonl") if "loss" in line]
    late = lines[len(lines) // 2 :]
    middle = {
        key: statistics.median(line[key] for line in late)
        for key in ("tokens_per_s", "seconds", "stall")
    }
    mfus = [line["mfu"] for line in late if line["mfu"]]
    return {
        "shape": name, **middle, "mfu": statistics.median(mfus) if mfus else None,
        "target_mfu": shape["target"], "first_batch_s": first[0],
        "memory_bytes": late[-1]["memory_bytes"], "losses": [line["loss"] for line in lines],
        "options": shape["options"],
    }  # fmt: skip


def trl(attention: str, shape: dict[str, Any], shards: Path, steps: int) -> dict[str, Any]:
    """TRL on the rows of :func:`train`, in its order, in bf16 over fp32 weights."""
    import statistics
    import warnings

    warnings.simplefilter("ignore")

    import torch
    from datasets import Dataset
    from torch.utils.data import SequentialSampler
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    from sftprep import ShardDataset
    from sftprep.train.data import Order

    toy = shape["options"].get("device") == "cpu"
    options, rows = shape["options"], ShardDataset(shards)
    per_step = options["rows_per_step"]
    order = Order(rows, 0, per_step, steps * per_step)
    numbers = [row for step in range(steps) for row in order.rows(step)]
    data = Dataset.from_list([{k: v.tolist() for k, v in rows[n].items()} for n in numbers])
    torch.manual_seed(0)
    wanted = AutoConfig.for_model(**shape["config"])
    model = AutoModelForCausalLM.from_config(
        wanted, dtype=torch.float32, attn_implementation=attention
    )
    tokenizer = AutoTokenizer.from_pretrained(rows.path)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    clocks: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            if not toy:
                torch.cuda.synchronize()
            clocks.append(time.perf_counter())

    class Trainer(SFTTrainer):
        def _get_train_sampler(self, *_: Any) -> SequentialSampler:
            return SequentialSampler(data)

    with tempfile.TemporaryDirectory() as out:
        settings = SFTConfig(
            output_dir=out, per_device_train_batch_size=options["micro_rows"], max_steps=steps,
            gradient_accumulation_steps=per_step // options["micro_rows"], learning_rate=1e-5,
            adam_beta2=0.95, max_grad_norm=1.0, optim="adamw_torch_fused", padding_free=True,
            packing=False, max_length=None, use_cpu=toy, bf16=not toy, gradient_checkpointing=False,
            torch_compile=not toy, report_to="none", logging_steps=1, save_strategy="no",
            disable_tqdm=True, dataset_kwargs={"skip_prepare_dataset": True},
        )  # fmt: skip
        trainer = Trainer(
            model=model, args=settings, train_dataset=data, processing_class=tokenizer,
            callbacks=[Clock()],
        )  # fmt: skip
        trainer.train()
    times = [b - a for a, b in pairwise(clocks)]
    late = range(len(numbers) // per_step // 2, steps)
    speeds = [sum(rows.sums(n).tokens for n in order.rows(step)) / times[step - 1] for step in late]
    losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    peak = 0 if toy else torch.cuda.max_memory_allocated()
    return {
        "attention": attention, "tokens_per_s": statistics.median(speeds), "losses": losses,
        "memory_bytes": peak,
    }  # fmt: skip


def make_shards(folder: Path, max_len: int, rows: int, vocab_size: int) -> Path:
    """Random ids in documents of log-normal length, the second half of each trained."""
    import sftprep

    dice, source, total = random.Random(0), folder / "rows.jsonl", 0
    with source.open("w") as file:
        while total < rows * max_len:
            length = min(max(int(dice.lognormvariate(6.6, 0.8)), 16), max_len)
            if max_len < 1000:
                length = dice.randint(8, max_len)
            ids = [dice.randrange(10, vocab_size) for _ in range(length)]
            labels = [-100] * (length // 2) + ids[length // 2 :]
            file.write(json.dumps({"input_ids": ids, "labels": labels}) + "\n")
            total += length
    sftprep.pack(source, out=folder / "packs", tokenizer="builtin", max_len=max_len)
    return folder / "packs"


def part(name: str, arguments: dict[str, Any]) -> Any:
    """One job, in the process that calls it."""
    shards = Path(arguments["shards"])
    if name == "kernel":
        return kernel(arguments["toy"])
    if name == "check":
        return check(arguments["toy"], shards)
    shape = (TOY if arguments["toy"] else SHAPES)[arguments["shape"]]
    if name == "train":
        return train(arguments["shape"], shape, shards, arguments["steps"])
    return trl(arguments["attention"], shape, shards, arguments["steps"])


def isolated(name: str, arguments: dict[str, Any], seconds: float) -> Any:
    """A job in a process of its own, whose memory and patches end with it."""
    command = [sys.executable, __file__, "--part", name, "--arguments", json.dumps(arguments)]
    started = time.perf_counter()
    try:
        done = subprocess.run(
            command, capture_output=True, text=True,
            timeout=max(seconds, 1), check=False, env=os.environ | {"HF_HUB_OFFLINE": "1"},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"error": f"not done after {seconds:.0f} s"}
    took = {"wall_s": round(time.perf_counter() - started, 1)}
    if done.returncode:
        return {"error": done.stderr[-2000:], **took}
    return json.loads(done.stdout.splitlines()[-1]) | took


def main() -> None:
    """Runs the parts within the time and writes the result after each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("gpu.json"))
    parser.add_argument("--toy", action="store_true", help="tiny shapes on the CPU")
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--seconds", type=float, default=520.0, help="for everything")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--arguments", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        try:
            print(json.dumps(part(options.part, json.loads(options.arguments))))
        except Exception:
            traceback.print_exc()
            sys.exit(1)
        return
    import torch
    import transformers

    end = time.monotonic() + options.seconds
    shapes = TOY if options.toy else SHAPES
    result: dict[str, Any] = {
        "device": "cpu (toy)" if options.toy else torch.cuda.get_device_name(),
        "python": platform.python_version(),
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
    }
    with tempfile.TemporaryDirectory() as folder:
        max_len = 64 if options.toy else 4096
        shards = make_shards(Path(folder), max_len, 8 if options.toy else 64, 4000)
        common = {"toy": options.toy, "shards": str(shards), "steps": options.steps}
        jobs = [("kernel", {}), ("check", {}), *(("train", {"shape": x}) for x in shapes)]
        first = next(iter(shapes))
        jobs += [("trl", {"shape": first, "attention": x}) for x in ("sdpa", "flex_attention")]
        for name, more in jobs:
            if name not in options.only.split(","):
                continue
            if name == "trl" and options.toy and more["attention"] == "flex_attention":
                continue  # it has no backward on the CPU
            found = isolated(name, common | more, end - time.monotonic())
            key = "-".join([name, *(str(x) for x in more.values())])
            result[key] = found
            options.out.write_text(json.dumps(result, indent=2) + "\n")
            print(key, json.dumps({k: v for k, v in found.items() if k != "losses"}), flush=True)
    ours = result.get(f"train-{first}", {}).get("tokens_per_s")
    theirs = [
        found["tokens_per_s"]
        for key, found in result.items()
        if key.startswith("trl-") and "tokens_per_s" in found
    ]
    if ours and theirs:
        result["speed_up_over_trl"] = ours / max(theirs)
    options.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
