"""Selections as their sources describe them, in the plainest loops, for `select` to equal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

GPQA, AIME, MATH = "Idavidrein/gpqa", "qq8933/AIME_1983_2024", "qfq/openaimath"


def s1_quality(question: str, source: str) -> bool:
    """Whether the question is fit: no drawing (but for AIME), no image, no pN., no bold number."""
    if "[asy]" in question:
        return "AIME" in source
    if "![Image]" in question:
        return False
    if any(f"p{number}." in question for number in range(1, 1000)):
        return False
    parts = question.split("**")
    for at in range(len(parts) - 1):
        # a pair of stars: what is between has no space and no ], and a digit follows on the line
        after = "**".join(parts[at + 1 :]).split("\n")[0]
        if not any(char.isdigit() for char in after):
            continue
        for end in range(at + 1, len(parts)):
            inside = "**".join(parts[at + 1 : end + 1])
            closed = end < len(parts) - 1
            if closed and not any(char.isspace() or char == "]" for char in inside):
                return False
    return True


def s1_draw(rows: Sequence[dict[str, Any]], seed: int, budget: int, uniform: int) -> set[int]:
    """The rows that s1 draws of those that passed: benchmark rows first, then domain by domain."""
    np.random.seed(seed)
    chosen = {
        row["id"]
        for row in rows
        if row["correct"]
        and (row["source"] in (GPQA, AIME) or (MATH in row["source"] and row["trace_len"] > 5600))
    }
    gpqa = Counter(row["domain"] for row in rows if row["source"] == GPQA)
    aime = Counter(row["domain"] for row in rows if row["source"] == AIME)
    larger = 0.5 * sum(aime.values()) / sum(gpqa.values())
    for domain in gpqa:
        gpqa[domain] = int(gpqa[domain] * larger)
    both = gpqa + aime
    names, weights = list(both.keys()), np.array(list(both.values())) / sum(both.values())
    domains = list(dict.fromkeys(row["domain"] for row in rows))
    left = {domain: [row for row in rows if row["domain"] == domain] for domain in domains}
    while len(chosen) < budget:
        if len(chosen) < uniform:
            domain = np.random.choice(domains, size=1)[0]
        else:
            domain = np.random.choice(names, size=1, p=weights)[0]
        lengths = np.array([row["trace_len"] for row in left[domain]])
        ranks = len(lengths) - 1 - np.argsort(np.argsort(lengths))
        likely = np.power(2.0, -ranks)
        drawn = np.random.choice([row["id"] for row in left[domain]], p=likely / likely.sum())
        chosen.add(int(drawn))
        left[domain] = [row for row in left[domain] if row["id"] != drawn]
        if not left[domain]:
            domains.remove(domain)
            if domain in names:
                weights = np.delete(weights, names.index(domain))
                weights = weights / weights.sum()
                names.remove(domain)
    return chosen


def deita(scores: np.ndarray, vectors: np.ndarray, threshold: float, budget: int) -> list[int]:
    """Best first; a row is added unless it is closer than the threshold to one added before."""
    unit = vectors.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    kept: list[int] = []
    for row in sorted(range(len(scores)), key=lambda row: (-scores[row], row)):
        if len(kept) == budget:
            break
        if not kept or (unit[kept] @ unit[row]).max() <= threshold:
            kept.append(row)
    return kept


def instag(tags: Sequence[Sequence[str]], budget: int, rounds: int) -> list[int]:
    """Most tags first; a row is added if it brings a tag that none added before has."""
    order = sorted(range(len(tags)), key=lambda row: (-len(set(tags[row])), row))
    kept: list[int] = []
    for _ in range(rounds):
        known: set[str] = set()
        for row in order:
            if len(kept) < budget and row not in kept and not known.issuperset(tags[row]):
                kept.append(row)
                known.update(tags[row])
    return kept
