"""Makes reading questions as JSON Lines: who has what, is where, or likes to do what.

    make_questions.py OUT.jsonl [--count 4500] [--seed 0] [--skip OTHER.jsonl]

Every question names two people and says one thing of each, of different kinds, and asks for one of
the two. The answer is a whole sentence. Rows of OTHER are not made again: they can be held out.
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
DEEDS = ["run", "jump", "sing", "play", "swim", "read", "draw", "dance"]
# What is said of somebody, and how it is asked for from both ends.
KINDS = (
    ("{who} has the {what}.", "Who has the {what}?", "What does {who} have?", THINGS),
    ("{who} is in the {what}.", "Who is in the {what}?", "Where is {who}?", PLACES),
    ("{who} likes to {what}.", "Who likes to {what}?", "What does {who} like?", DEEDS),
)


def question(dice: random.Random) -> tuple[str, str]:
    """A text with a question, and its answer."""
    said = []
    for who, (fact, *asked, words) in zip(
        dice.sample(PEOPLE, 2), dice.sample(KINDS, 2), strict=True
    ):
        values = {"who": who, "what": dice.choice(words)}
        said.append((fact.format(**values), dice.choice(asked).format(**values)))
    answer, asked_for = dice.choice(said)
    return " ".join([said[0][0], said[1][0], asked_for]), answer


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
