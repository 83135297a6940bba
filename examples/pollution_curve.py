"""Draws what wrong answers in the training data cost: held-out loss against the share of them.

    pollution_curve.py OUT [--rates 0 0.1 0.2 0.4] [--seeds 3] [--steps 250]

A toy task (which colour has a thing, a fixed table) is trained from random weights on rows in which
a share of the answers is exchanged by `sftprep pollute`, and measured on rows of right answers. OUT
gets `curve.json` and `curve.svg`. Needs the extra `train`; some minutes on a CPU.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path
from typing import Any

import sftprep

COLOURS = ["red", "blue", "green", "white", "black", "yellow", "brown", "pink"]
THINGS = ["ball", "cat", "dog", "book", "car", "hat", "cake", "doll", "bird", "box", "kite", "cup"]
OWNERS = ["Tom", "Lily"]
ASKED = [
    "What colour is the {thing} of {owner}?",
    "Tell me the colour of {owner}'s {thing}.",
    "Which colour has {owner}'s {thing}?",
]
MODEL = {
    "model_type": "llama",
    "hidden_size": 48,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "tie_word_embeddings": True,
    "vocab_size": 7680,
}


def rows(count: int, seed: int) -> list[dict[str, Any]]:
    """Questions about the table with their right answers."""
    table = random.Random(0)
    colours = {(o, t): table.choice(COLOURS) for o in OWNERS for t in THINGS}
    dice = random.Random(seed)
    made = []
    for _ in range(count):
        owner, thing = dice.choice(OWNERS), dice.choice(THINGS)
        question = dice.choice(ASKED).format(thing=thing, owner=owner)
        answer = f"It is {colours[owner, thing]}."
        made.append(
            {
                "messages": [
                    {"role": "user", "content": question},
                    {"role": "assistant", "content": answer},
                ]
            }
        )
    return made


def write(path: Path, made: list[dict[str, Any]]) -> Path:
    """The rows as JSON Lines."""
    path.write_text("".join(f"{json.dumps(row)}\n" for row in made), encoding="utf-8")
    return path


def curve(out: Path, rates: list[float], seeds: int, steps: int) -> list[dict[str, Any]]:
    """Trains and measures; returns a point per rate and seed."""
    from sftprep.train.config import TrainConfig
    from sftprep.train.loop import train

    out.mkdir(parents=True, exist_ok=True)
    config = out / "model.json"
    config.write_text(json.dumps(MODEL), encoding="utf-8")
    options: dict[str, Any] = {"tokenizer": "builtin", "max_len": 256, "overwrite": True}
    clean = write(out / "clean.jsonl", rows(1500, 1))
    exam = write(out / "exam.jsonl", rows(200, 2))
    sftprep.pack(exam, out=out / "exam", **options)
    points = []
    for rate in rates:
        for seed in range(seeds):
            name = f"{rate:g}-{seed}"
            truth = sftprep.pollute(
                clean,
                out / f"{name}.jsonl",
                dimension="target_accuracy",
                rate=rate,
                seed=seed,
                overwrite=True,
            )
            sftprep.pack(truth.out, out=out / f"{name}-packs", seed=seed, **options)
            result = train(
                TrainConfig(
                    random_init=str(config),
                    shards=str(out / f"{name}-packs"),
                    eval_shards=str(out / "exam"),
                    out=str(out / f"{name}-run"),
                    steps=steps,
                    rows_per_step=2,
                    lr=5e-3,
                    seed=seed,
                    samples=0,
                    device="cpu",
                    quiet=True,
                )
            )
            loss = float(result["eval_loss"])
            points.append({"rate": rate, "seed": seed, "spoiled": truth.spoiled, "loss": loss})
            print(f"{rate:5.0%} of answers exchanged, seed {seed}: held-out loss {loss:.3f}")
    return points


def picture(points: list[dict[str, Any]]) -> str:
    """The curve as SVG: a dot per run, a line through the means."""
    rates = sorted({each["rate"] for each in points})
    top = max(each["loss"] for each in points) * 1.1
    right = max(rates) or 1.0

    def place(rate: float, loss: float) -> tuple[float, float]:
        return 60 + 380 * rate / right, 260 - 230 * loss / top

    means = []
    for rate in rates:
        losses = [each["loss"] for each in points if each["rate"] == rate]
        means.append((rate, sum(losses) / len(losses)))
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*each) for each in means))
    told = "; ".join(f"{rate:.0%}: {loss:.3f}" for rate, loss in means)
    out = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 460 300" role="img" '
        'aria-labelledby="t d" font-family="sans-serif" font-size="12">'
        '<title id="t">Held-out loss against the share of exchanged answers</title>'
        f'<desc id="d">{told}</desc><rect width="460" height="300" fill="white"/>'
        f'<polyline points="{line}" fill="none" stroke="#0b63c5" stroke-width="2"/>'
    ]
    for each in points:
        x, y = place(each["rate"], each["loss"])
        out.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="#b35900" fill-opacity="0.7"/>')
    for rate, loss in means:
        x, y = place(rate, loss)
        out.append(f'<text x="{x:.1f}" y="278" text-anchor="middle">{rate:.0%}</text>')
        out.append(f'<text x="{x:.1f}" y="{y - 10:.1f}" text-anchor="middle">{loss:.2f}</text>')
    out.append('<text x="250" y="295" text-anchor="middle">answers exchanged</text></svg>')
    return "".join(out)


def main() -> None:
    """Reads the options, draws the curve."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--rates", type=float, nargs="+", default=[0.0, 0.1, 0.2, 0.4])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=250)
    options = parser.parse_args()
    points = curve(options.out, options.rates, options.seeds, options.steps)
    (options.out / "curve.json").write_text(json.dumps(points, indent=2) + "\n", encoding="utf-8")
    (options.out / "curve.svg").write_text(picture(points) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
