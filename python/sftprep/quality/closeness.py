"""Steps that compare rows with each other: greedy, kmeans, facility_location."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from sftprep import _core
from sftprep.errors import ConfigError
from sftprep.quality.pool import Needs, Pool, Rows, vectors

_CHOSEN, _SIMILAR, _NOTHING_NEW, _BEYOND = range(4)
_ITERATIONS = 300
_MOST = 2**31


def _embedding_needs(embedding: object) -> Needs:
    named = isinstance(embedding, str) and not embedding.endswith(".npy")
    return Needs(columns={str(embedding)} if named else set())


@dataclass(frozen=True, kw_only=True)
class Greedy:
    """The best rows first, each only if it brings something new: another direction, or a tag."""

    sort: str | None = None
    novelty: Literal["cosine", "tags"] = "cosine"
    embedding: Any = None
    tags: str | None = None
    threshold: float = 0.9
    budget: int | None = None
    rounds: int = 1
    lowest: bool = False

    def __post_init__(self) -> None:
        """Checks that there is what novelty is judged by."""
        if self.novelty not in ("cosine", "tags"):
            raise ConfigError(
                f"there is no novelty {self.novelty!r}",
                field="greedy.novelty",
                hint="cosine or tags",
            )
        if self.novelty == "cosine" and self.embedding is None:
            raise ConfigError(
                "there are no vectors",
                field="greedy.embedding",
                hint="name a column of lists of numbers, or a .npy file with one line per row",
            )
        if self.novelty == "tags" and self.tags is None:
            raise ConfigError(
                "there are no tags", field="greedy.tags", hint="name a column of lists of texts"
            )
        if self.budget is not None and self.budget < 0:
            raise ConfigError(f"budget is {self.budget}", field="greedy.budget")
        if self.rounds < 0:
            raise ConfigError(
                f"rounds is {self.rounds}",
                field="greedy.rounds",
                hint="0 goes on until the budget is reached",
            )

    def needs(self) -> Needs:
        """What rows are sorted and compared by."""
        needs = Needs(formulas={self.sort: "greedy.sort"} if self.sort else {})
        if self.novelty == "cosine":
            needs.add(_embedding_needs(self.embedding))
        elif self.tags:
            needs.columns.add(self.tags)
        return needs

    def apply(self, pool: Pool, seed: int) -> None:
        """Goes through the rows and takes out those that bring nothing."""
        rows = pool.rows()
        values = np.full(len(pool.stage), np.nan)
        if self.sort is not None:
            values = pool.formula(self.sort, "greedy.sort")
            rows = pool.drop_missing(self.sort, values, rows, keep=False)
        if self.novelty == "cosine":
            self._cosine(pool, rows, values)
        else:
            self._tags(pool, rows, values)

    def _order(self, rows: Rows, values: NDArray[np.float64]) -> Rows:
        if self.sort is None:
            return np.arange(len(rows))
        keys = values[rows] if self.lowest else -values[rows]
        return np.argsort(keys, kind="stable")

    def _cosine(self, pool: Pool, rows: Rows, values: NDArray[np.float64]) -> None:
        mine, rows = vectors(pool, self.embedding, rows, "greedy.embedding")
        order = self._order(rows, values)
        budget = _MOST if self.budget is None else self.budget
        fate, partner, cosine = _core.novel_vectors(
            mine, order, self.threshold, budget, pool.threads
        )
        close = fate == _SIMILAR
        details = (
            f"cosine {each:.4f} to a row that was chosen before, above {self.threshold:g}"
            for each in cosine[close]
        )
        pool.drop(
            rows[order[close]],
            "select.similar",
            details,
            score=cosine[close],
            partner=rows[partner[close]],
        )
        self._beyond(pool, rows[order[fate == _BEYOND]], values)

    def _tags(self, pool: Pool, rows: Rows, values: NDArray[np.float64]) -> None:
        assert self.tags is not None
        column = pool.column(self.tags, "greedy.tags")
        known: dict[str, int] = {}
        tags = [
            [known.setdefault(tag, len(known)) for tag in _tags_of(column[row], row, self.tags)]
            for row in rows.tolist()
        ]
        order = self._order(rows, values)
        if self.sort is None:  # rows with many tags first, as InsTag does
            order = np.argsort([-len(set(each)) for each in tags], kind="stable")
        budget = _MOST if self.budget is None else self.budget
        rounds = self.rounds or _MOST
        fate = _core.novel_tags(tags, order, budget, rounds)
        pool.drop(
            rows[order[fate == _NOTHING_NEW]],
            "select.no_new_tag",
            "rows that were chosen before have all of its tags",
        )
        self._beyond(pool, rows[order[fate == _BEYOND]], values)

    def _beyond(self, pool: Pool, rows: Rows, values: NDArray[np.float64]) -> None:
        detail = f"{self.budget} rows were chosen before it"
        pool.drop(rows, "select.budget", detail, score=values[rows])


def _tags_of(cell: Any, row: int, name: str) -> list[str]:  # noqa: ANN401 - a cell
    if cell is None:
        return []
    if isinstance(cell, list):
        return [str(each) for each in cell]
    raise ConfigError(
        f"{name} of row {row + 1} is {cell!r:.60}, no list of texts",
        field="greedy.tags",
        hint='tags are lists: ["math", "algebra"]',
    )


@dataclass(frozen=True, kw_only=True)
class KMeans:
    """Some rows of each cluster: the nearest to its centre, drawn ones, or the best."""

    clusters: int
    per_cluster: int
    embedding: Any
    pick: Literal["nearest", "random", "best"] = "nearest"
    score: str | None = None
    pca: float | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        """Checks the numbers."""
        _positive("kmeans.clusters", self.clusters)
        _positive("kmeans.per_cluster", self.per_cluster)
        if self.pick not in ("nearest", "random", "best"):
            raise ConfigError(
                f"there is no pick {self.pick!r}",
                field="kmeans.pick",
                hint="nearest, random or best",
            )
        if (self.pick == "best") != (self.score is not None):
            raise ConfigError(
                "pick=best needs a score, and nothing else does", field="kmeans.score"
            )

    def needs(self) -> Needs:
        """The vectors, and the score of the best."""
        needs = _embedding_needs(self.embedding)
        needs.formulas |= {self.score: "kmeans.score"} if self.score else {}
        return needs

    def apply(self, pool: Pool, seed: int) -> None:
        """Clusters the rows and takes out what is not picked."""
        rows = pool.rows()
        values = np.full(len(pool.stage), np.nan)
        if self.score is not None:
            values = pool.formula(self.score, "kmeans.score")
            rows = pool.drop_missing(self.score, values, rows, keep=False)
        mine, rows = vectors(pool, self.embedding, rows, "kmeans.embedding")
        seed = seed if self.seed is None else self.seed
        of, distance = _core.kmeans(
            _reduced(mine, self.pca), self.clusters, seed, _ITERATIONS, pool.threads
        )
        random = np.random.default_rng(seed)
        keys = {"nearest": distance, "best": -values[rows]}.get(self.pick)
        if keys is None:
            keys = random.random(len(rows))
        order = np.lexsort((keys, of))
        starts = np.searchsorted(of[order], of[order])
        out = order[np.arange(len(order)) - starts >= self.per_cluster]
        details = (
            f"cluster {cluster}: {self.per_cluster} rows of it are taken" for cluster in of[out]
        )
        pool.drop(rows[out], "select.budget", details, score=np.sqrt(distance[out]))
        pool.notes["clusters"] = len(np.unique(of))


@dataclass(frozen=True, kw_only=True)
class FacilityLocation:
    """Rows such that every row has one much like it among them, of all or within each cluster."""

    code: ClassVar[str] = "select.budget"
    embedding: Any
    metric: Literal["cosine", "euclidean"] = "cosine"
    budget: int | None = None
    clusters: int | Literal["sqrt"] | None = None
    per_cluster: int | None = None
    pca: float | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        """Checks that there is one budget."""
        if self.metric not in ("cosine", "euclidean"):
            raise ConfigError(
                f"there is no metric {self.metric!r}",
                field="facility_location.metric",
                hint="cosine or euclidean",
            )
        if (self.budget is None) == (self.clusters is None) or (self.clusters is None) != (
            self.per_cluster is None
        ):
            raise ConfigError(
                "give either budget, or clusters and per_cluster", field="facility_location"
            )
        if self.budget is not None and self.budget < 0:
            raise ConfigError(f"budget is {self.budget}", field="facility_location.budget")
        if self.clusters not in (None, "sqrt"):
            _positive("facility_location.clusters", self.clusters)
        if self.per_cluster is not None:
            _positive("facility_location.per_cluster", self.per_cluster)

    def needs(self) -> Needs:
        """The vectors."""
        return _embedding_needs(self.embedding)

    def apply(self, pool: Pool, seed: int) -> None:
        """Chooses, and takes the others out."""
        mine, rows = vectors(pool, self.embedding, pool.rows(), "facility_location.embedding")
        mine = _reduced(mine, self.pca)
        if self.clusters is None:
            assert self.budget is not None
            self._choose(pool, mine, rows, self.budget)
            return
        # "sqrt" is the number of clusters that MergeIT takes: the root of half of the rows
        count = int(math.sqrt(len(rows) / 2)) if self.clusters == "sqrt" else self.clusters
        seed = seed if self.seed is None else self.seed
        of, _ = _core.kmeans(mine, max(count, 1), seed, _ITERATIONS, pool.threads)
        for cluster in np.unique(of):
            inside = np.flatnonzero(of == cluster)
            assert self.per_cluster is not None
            self._choose(pool, mine[inside], rows[inside], self.per_cluster)
        pool.notes["clusters"] = len(np.unique(of))

    def _choose(self, pool: Pool, mine: NDArray[np.float32], rows: Rows, budget: int) -> None:
        if not len(rows):
            return
        picks, _, nearest, alike = _core.facility_location(mine, self.metric, budget, pool.threads)
        out = np.setdiff1d(np.arange(len(rows)), picks)
        if not len(picks):
            pool.drop(rows, self.code, "the budget is 0")
            return
        details = (
            f"{len(picks)} rows stand for all; the one most like it has {self.metric} "
            f"similarity {each:.4f}"
            for each in alike[out]
        )
        pool.drop(rows[out], self.code, details, score=alike[out], partner=rows[nearest[out]])


def _positive(field: str, value: object) -> None:
    if not isinstance(value, int) or value < 1:
        raise ConfigError(f"{field} is {value!r}, it must be 1 or more", field=field)


def _reduced(values: NDArray[np.float32], share: float | None) -> NDArray[np.float32]:
    """The vectors along as many principal directions as explain that share of their variance."""
    if share is None or len(values) < 2:  # noqa: PLR2004 - nothing varies
        return values
    if not 0 < share <= 1:
        raise ConfigError(f"pca is {share}, it must be above 0 and at most 1", field="pca")
    middle = values.astype(np.float64) - values.mean(axis=0, dtype=np.float64)
    variance, directions = np.linalg.eigh(middle.T @ middle)
    variance, directions = np.maximum(variance[::-1], 0), directions[:, ::-1]
    if variance.sum() == 0:
        return values
    explained = np.cumsum(variance) / variance.sum()
    count = int(np.searchsorted(explained, share - 1e-12)) + 1
    return np.ascontiguousarray(middle @ directions[:, :count], dtype=np.float32)
