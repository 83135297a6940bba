"""The step `diversity` of s1: rows drawn by domain, long answers first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sftprep.errors import ConfigError
from sftprep.quality.expression import Values
from sftprep.quality.filters import Condition, check_condition, met
from sftprep.quality.pool import Needs, Pool, Rows


@dataclass(frozen=True, kw_only=True)
class Diversity:
    """Rows drawn until there are enough: a domain, then a row of it, long ones more often.

    Rows of ``always`` are chosen first. Until there are ``uniform`` rows, each domain is as likely
    as any other; after that a domain is drawn by its weight. Within a domain a row is drawn with a
    probability of 2 to the minus rank of its length, the longest having rank 0. A drawn row is not
    drawn again, and a domain without rows is left out. The draws are those of numpy's legacy
    generator, in the order of the published notebook; a row of ``always`` that is drawn again
    counts once, as there.
    """

    code: ClassVar[str] = "select.not_drawn"
    budget: int
    domain: str = "domain"
    length: str = "trace_len"
    uniform: int | None = None
    always: Sequence[Condition] = ()
    source: str = "source"
    benchmarks: Mapping[str, float] | None = None
    weights: Mapping[str, float] | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        """Checks numbers and conditions."""
        if self.budget < 0:
            raise ConfigError(f"budget is {self.budget}", field="diversity.budget")
        for at, condition in enumerate(self.always):
            check_condition(condition, f"diversity.always[{at}]")
        if self.benchmarks is not None and self.weights is not None:
            raise ConfigError("give benchmarks or weights, not both", field="diversity.weights")
        for field in ("benchmarks", "weights"):
            for name, weight in (getattr(self, field) or {}).items():
                if not isinstance(weight, int | float) or not 0 <= weight < np.inf:
                    raise ConfigError(f"it is {weight}", field=f"diversity.{field}.{name}")
        if self.benchmarks is not None and 1 not in self.benchmarks.values():
            raise ConfigError(
                "no benchmark has the weight 1",
                field="diversity.benchmarks",
                hint="others are scaled to the rows of the one with weight 1",
            )

    def needs(self) -> Needs:
        """Domain, length, and what the conditions speak of."""
        columns = {self.length, *(name for each in self.always for name in each)}
        texts = {self.domain, *([self.source] if self.benchmarks else [])}
        return Needs(columns=columns, texts=texts)

    def apply(self, pool: Pool, seed: int) -> None:
        """Draws, and takes the other rows out."""
        domains = pool.texts(self.domain, "diversity.domain")
        lengths = pool.numbers(self.length, "diversity.length")
        rows = pool.rows()
        rows = pool.drop_missing(self.length, lengths, rows, keep=False)
        bare = np.array([row for row in rows.tolist() if domains[row] is None], np.int64)
        pool.drop(bare, "select.no_score", f"there is no {self.domain}")
        rows = pool.rows()
        chosen = self._always(pool, rows)
        weights = self._weights(pool, rows, domains)
        drawn = _draw(
            rows,
            [domains[row] or "" for row in rows.tolist()],
            lengths,
            chosen=chosen,
            budget=self.budget,
            uniform=self.budget if self.uniform is None else self.uniform,
            weights=weights,
            seed=seed if self.seed is None else self.seed,
        )
        taken = np.zeros(len(pool.stage), bool)
        taken[list(drawn)] = True
        out = rows[~taken[rows]]
        pool.drop(
            out,
            self.code,
            (f"domain {domains[row]}, {self.length} {lengths[row]:g}" for row in out.tolist()),
            score=lengths[out],
        )
        pool.notes["seed_rows"] = len(chosen)

    def _always(self, pool: Pool, rows: Rows) -> list[int]:
        seeds = np.zeros(len(pool.stage), bool)
        for at, condition in enumerate(self.always):
            seeds |= met(pool, condition, f"diversity.always[{at}]")
        return [int(row) for row in rows[seeds[rows]]]

    def _weights(self, pool: Pool, rows: Rows, domains: Sequence[str | None]) -> dict[str, float]:
        """Per domain its weight after the uniform part; the order is that of the draws."""
        if self.weights is not None:
            here = {domains[row] for row in rows.tolist()}
            return {name: weight for name, weight in self.weights.items() if name in here}
        if self.benchmarks is None:
            return {}
        sources = pool.texts(self.source, "diversity.source")
        counts = {
            name: Counter(domains[row] for row in rows.tolist() if sources[row] == name)
            for name in self.benchmarks
        }
        whole = next(name for name, ratio in self.benchmarks.items() if ratio == 1)
        target = sum(counts[whole].values())
        total: Counter[str | None] | None = None
        for name, ratio in self.benchmarks.items():
            count = counts[name]
            if ratio != 1 and count:
                scale = ratio * target / sum(count.values())
                count = Counter({domain: int(n * scale) for domain, n in count.items()})
            # a domain whose count became 0 keeps its place, which decides the order of the draws
            total = count if total is None else total + count
        return {domain or "": float(count) for domain, count in (total or {}).items()}


def _draw(
    rows: Rows,
    domain_of: Sequence[str],
    lengths: Values,
    *,
    chosen: Sequence[int],
    budget: int,
    uniform: int,
    weights: Mapping[str, float],
    seed: int,
) -> set[int]:
    random = np.random.RandomState(seed)
    left: dict[str, list[int]] = {}
    for row, domain in zip(rows.tolist(), domain_of, strict=True):
        left.setdefault(domain, []).append(row)
    everywhere = list(left)
    weighted = [name for name, weight in weights.items() if weight > 0]
    shares = np.array([weights[name] for name in weighted], float)
    shares = shares / shares.sum() if weighted else shares
    drawn = set(chosen)
    while len(drawn) < budget and everywhere:
        if len(drawn) < uniform or not weighted:
            domain = everywhere[random.choice(len(everywhere), size=1)[0]]
        else:
            domain = weighted[random.choice(len(weighted), size=1, p=shares)[0]]
        mine = left[domain]
        # whole numbers, as there: how equal lengths are sorted depends on the type
        whole = lengths[mine].astype(np.int64)
        ranks = len(mine) - 1 - np.argsort(np.argsort(whole))
        likely = np.power(2.0, -ranks)
        at = random.choice(len(mine), p=likely / likely.sum())
        drawn.add(mine.pop(at))
        if not mine:
            everywhere.remove(domain)
            if domain in weighted:
                shares = np.delete(shares, weighted.index(domain))
                shares = shares / shares.sum() if len(shares) else shares
                weighted.remove(domain)
    return drawn
