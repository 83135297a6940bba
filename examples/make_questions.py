"""Makes reading questions as JSON Lines: who of two has what, or is where.

    make_questions.py OUT.jsonl [--count 4500] [--seed 0] [--skip OTHER.jsonl]

Every question names two people and what they have or where they are, and asks for one of them. The
answer is a whole sentence. Rows of OTHER are not made again, so that they can be held out.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

PEOPLE = [
    "Tom",
    "Lily",
    "Ben",
    "Sue",
    "Tim",
    "Mia",
    "Max",
    "Anna",
    "Sam",
    "Lucy",
    "Dan",
    "Amy",
    "Jack",
    "Ella",
    "Bob",
    "Kate",
]
THINGS = [
    "ball",
    "cat",
    "dog",
    "book",
    "car",
    "hat",
    "cake",
    "doll",
    "bird",
    "box",
    "kite",
    "fish",
    "cup",
    "toy",
    "flower",
    "apple",
]
PLACES = ["park", "house", "garden", "shop", "school", "kitchen", "forest", "beach"]


def question(dice: random.Random) -> tuple[str, str]:
    """A text with a question, and its answer."""
    a, b = dice.sample(PEOPLE, 2)
    if dice.random() < 0.6:
        x, y = dice.sample(THINGS, 2)
        facts = [f"{a} has the {x}.", f"{b} has the {y}."]
        who, what = dice.choice([(a, x), (b, y)])
        asked = dice.choice([f"Who has the {what}?", f"What does {who} have?"])
        answer = f"{who} has the {what}."
    else:
        x, y = dice.sample(PLACES, 2)
        facts = [f"{a} is in the {x}.", f"{b} is in the {y}."]
        who, where = dice.choice([(a, x), (b, y)])
        asked = dice.choice([f"Who is in the {where}?", f"Where is {who}?"])
        answer = f"{who} is in the {where}."
    return f"{facts[0]} {facts[1]} {asked}", answer


def make(count: int, seed: int, taken: set[str]) -> list[tuple[str, str]]:
    """Different questions, none of them taken."""
    dice, found = random.Random(seed), {}
    while len(found) < count:
        text, answer = question(dice)
        if text not in taken:
            found[text] = answer
    return list(found.items())


def main() -> None:
    """Writes the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=4500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--skip", type=Path)
    options = parser.parse_args()
    taken: set[str] = set()
    if options.skip is not None:
        rows = map(json.loads, options.skip.read_text("utf-8").splitlines())
        taken = {row["messages"][0]["content"] for row in rows}
    with options.out.open("w", encoding="utf-8") as file:
        for text, answer in make(options.count, options.seed, taken):
            messages = [
                {"role": "user", "content": text},
                {"role": "assistant", "content": answer},
            ]
            file.write(json.dumps({"messages": messages}) + "\n")


if __name__ == "__main__":
    main()
