"""IFD by `sftprep score` beside the row-by-row loop of the papers' scripts: same model, same rows.

    compare_ifd.py [--rounds 3] [--rows 300] [--threads 1] [--model DIR]

A pass is one forward of every row; IFD takes two. CPU seconds are those of all work but imports
and loading the model, of one process per side and round, the sides in turns; ours reads the rows,
hashes the model and writes the score file as well. The loop is a forward per text with
transformers' own loss (`superfilter` is published like that; the published `cherry` also takes a
softmax per token in Python, which is left out here in its favour). The scores of both are compared.
The result is `benches/results/compare_ifd.json`.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

from compare_prepare import RESULTS, ROOT, data_folder, machine

NAMES = ("cherry", "superfilter")
PASSES = 2


def load_rows(path: Path) -> list[dict[str, str]]:
    """The rows of the sample."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def run_sftprep(name: str, rows: Path, model: Path) -> dict[str, Any]:
    """Our side; reading the rows and writing the file are part of it."""
    import sftprep
    from sftprep.scores import measures, run
    from sftprep.scores import model as scoring
    from sftprep.scores.columns import read

    assert measures.run is not run  # imported before the clock starts
    real = scoring.Scorer.__init__
    loading: list[float] = []

    def started(self: scoring.Scorer, *given: Any, **options: Any) -> None:
        begun = time.process_time()
        real(self, *given, **options)
        loading.append(time.process_time() - begun)

    scoring.Scorer.__init__ = started  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "x.scores.arrow"
        before = time.process_time()
        sftprep.score(rows, model=model, ifd=name, out=out, use_cache=False, device="cpu")
        after = time.process_time()
        values = read(out).columns[f"ifd_{name}"].tolist()
    return {"cpu_s": after - before - sum(loading), "scores": values}


def run_loop(name: str, rows: Path, model: Path) -> dict[str, Any]:
    """The loop: two forwards per row, one row at a time."""
    sys.path.insert(0, str(ROOT / "tests"))
    import torch
    from reference import ifd as slow
    from transformers import AutoModelForCausalLM, AutoTokenizer

    net: Any = AutoModelForCausalLM.from_pretrained(model).eval()
    tokenizer: Any = AutoTokenizer.from_pretrained(model)
    window = net.config.max_position_embeddings

    def mean_loss(before: str, answer: str, limit: int) -> float:
        ids = tokenizer.encode(
            before + answer, return_tensors="pt", truncation=True, max_length=limit
        )
        labels = ids.clone()
        labels[0, : len(tokenizer.encode(before)) if before else 0] = -100
        with torch.no_grad():
            return float(net(ids, labels=labels).loss)

    start = time.process_time()
    scores = []
    for row in load_rows(rows):
        answer = row["output"]
        if name == "cherry":
            prompt = slow.alpaca_prompt(row["instruction"], row["input"])
            header, room = slow.HEADER, slow.HEADER_TOKENS
        else:
            given = row["input"]
            prompt, header, room = f"{row['instruction']}\n" + given + "\n" * bool(given), "", 1
        taken = len(tokenizer.encode(prompt, truncation=True, max_length=window))
        if not answer or taken >= window:
            scores.append(float("nan"))
            continue
        alone = mean_loss(header, answer, window - taken + room)
        both = mean_loss(prompt, answer, window)
        ratio = both / alone if name == "cherry" else float(torch.tensor(both - alone).exp())
        scores.append(ratio)
    return {"cpu_s": time.process_time() - start, "scores": scores}


def side(which: str, name: str, rows: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Runs one side in a process of its own."""
    command = [
        sys.executable, __file__, "--side", which, "--name", name, "--data", str(rows),
        "--model", str(options.model),
    ]  # fmt: skip
    environment = os.environ | {
        "OMP_NUM_THREADS": str(options.threads), "CUDA_VISIBLE_DEVICES": "",
        "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1",
    }  # fmt: skip
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def compared(rounds: list[dict[str, dict[str, Any]]], rows: int) -> dict[str, Any]:
    """Rows per CPU second and pass of both sides, and how far their scores are apart."""
    ratios = [each["loop"]["cpu_s"] / each["sftprep"]["cpu_s"] for each in rounds]
    ours, theirs = (rounds[0][name]["scores"] for name in ("sftprep", "loop"))
    both = [
        (a, b) for a, b in zip(ours, theirs, strict=True) if not (math.isnan(a) or math.isnan(b))
    ]
    return {
        "rows_per_cpu_s_and_pass": {
            name: round(rows * PASSES / statistics.median(r[name]["cpu_s"] for r in rounds), 1)
            for name in ("sftprep", "loop")
        },
        "speed_up": {"min": round(min(ratios), 2), "median": round(statistics.median(ratios), 2)},
        "scored": len(both),
        "largest_relative_difference": max(abs(a / b - 1) for a, b in both),
    }


def main() -> None:
    """Measures both sides in turns and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=300)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--model", type=Path, default=data_folder() / "models" / "stories260k")
    parser.add_argument("--out", type=Path, default=RESULTS / "compare_ifd.json")
    parser.add_argument("--side", choices=("sftprep", "loop"), help=argparse.SUPPRESS)
    parser.add_argument("--name", choices=NAMES, help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side is not None:
        job = {"sftprep": run_sftprep, "loop": run_loop}[options.side]
        print(json.dumps(job(options.name, options.data, options.model)))
        return
    import torch
    import transformers

    source = data_folder() / "quality" / "planted" / "alpaca_10k.jsonl.gz"
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.jsonl"
        with gzip.open(source, "rb") as packed, rows.open("wb") as plain:
            plain.writelines(islice(packed, options.rows))
        found = {}
        for name in NAMES:
            rounds = [
                {which: side(which, name, rows, options) for which in ("sftprep", "loop")}
                for _ in range(options.rounds)
            ]
            found[name] = compared(rounds, options.rows)
    result = {
        "machine": machine(),
        "versions": {each.__name__: each.__version__ for each in (torch, transformers)},
        "settings": {"rows": options.rows, "threads": options.threads, "rounds": options.rounds},
        "model": options.model.name,
        **found,
    }
    options.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
