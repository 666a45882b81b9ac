"""The scan as an estimator: predictions in, slices out, each with a p-value of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from weakspot.methods.base import Callback, Method, embeddings_for, parameters_of
from weakspot.methods.discriminant import discriminant, graded
from weakspot.methods.distributed import check_alike, held_here, world_of
from weakspot.methods.order import order_of
from weakspot.methods.parts import check_at_least, counts_of, losses_of, slices_of
from weakspot.methods.residuals import groups, residuals
from weakspot.methods.scan.balls import SMALLEST, Balls, largest_by_chance
from weakspot.methods.space import reduced
from weakspot.predictions import Predictions
from weakspot.predictions.validation import check_finite
from weakspot.slices import Slices
from weakspot.tasks import Task

_APPLIED = ("directions", "offsets", "labels")  # parameters by which other examples are judged
_CENTRES = 4000  # around which balls lie, in all labels together


class _Hotspot(NamedTuple):
    group: int  # of examples, in which it lies
    members: Int[np.ndarray, " k"]  # positions among the group's rows
    statistic: float
    p_value: float


class Scan(Method):
    """Places in embedding space where the model does worse than on other examples of the same label.

    Within each label, the balls of the nearest neighbours of every example are scanned for the one whose residuals
    (1 - p of the label) exceed the label's mean by most standard errors; its examples are set aside, and the next is
    sought. A discriminant of a ball's members against the others of the label says how much any example belongs.
    Nothing is optimised, and the p-value is exact for the whole search: residuals are permuted within labels, and all
    balls are scanned again.

    Kulldorff: A spatial scan statistic, Communications in Statistics 26 (1997).

    n_slices       at most
    sizes          of the balls, in examples; those that hold more than half of a label are left out there, and where
                   all do, they hold a quarter of it
    n_components   principal components that neighbours are sought in
    draws          permutations for the p-values; 0 for none
    seed           of the permutations, and of the centres where there are more than 4000 examples
    sharded        `fit` gets this process's rows only, the others of the torch.distributed group hold the
                   rest, and `slices_` covers and describes this process's rows

    Fitted:

    p_values_      (k,) how often chance alone makes a slice as hot; None without draws
    statistics_    (k,) of the balls: standard errors above the label's mean
    slices_        one slice per ball, hottest first
    """

    word = "scan"
    noun = "Hotspot"

    def __init__(
        self,
        n_slices: int = 5,
        sizes: Sequence[int] = (20, 40),
        n_components: int = 32,
        draws: int = 199,
        seed: int = 0,
        sharded: bool = False,
    ) -> None:
        self.n_slices = n_slices
        self.sizes = sizes
        self.n_components = n_components
        self.draws = draws
        self.seed = seed
        self.sharded = sharded

    def check(self, n: float, task: Task | None) -> None:
        check_at_least(self, n_slices=1, n_components=1, draws=0)
        if not isinstance(self.sizes, Sequence) or not all(_is_size(size) for size in self.sizes):
            raise ValueError(f"sizes={self.sizes} must be a list of numbers of examples, 2 or more: [20, 40]")
        if not self.sizes:
            raise ValueError("sizes=[] holds no ball; give numbers of examples: [20, 40]")
        if n < SMALLEST:
            raise ValueError(f"a scan needs {SMALLEST} examples or more, and there are {n:.10g}")

    def fit(self, p: Predictions, callback: Callback | None = None) -> Scan:
        """Find the hottest balls of `p`; `callback(stage, done, total)` is told of progress."""
        world = world_of(self.sharded)
        check_alike(p, world)
        counts = world.gather(counts_of(p))
        self.check(counts.sum(), p.task)
        tell = callback or (lambda stage, done, total: None)
        random = np.random.default_rng(self.seed)
        check_finite("embeddings", p.embeddings, p.ids)
        bad, codes = world.gather(residuals(p, world)), world.gather(groups(p))
        # in which rows are summed and drawn
        order = order_of(p.embeddings, losses_of(p, world), counts_of(p), world)
        space = reduced(p.embeddings, counts, self.n_components, self.seed, order, world)
        tell("neighbours", 0, self.n_slices + 1)
        scanned = []
        by_label = order[np.argsort(codes[order], kind="stable")]
        # one label at a time: the reduced examples of all of them may not fit in memory
        for rows in np.split(by_label, np.flatnonzero(np.diff(codes[by_label])) + 1):
            here, own = held_here(rows, len(p), world)
            x = space.of_rows(p.embeddings, own)
            centres = _centres(len(rows), len(counts), random)
            scanned.append(Balls.of(x, rows, bad, counts, tuple(self.sizes), centres, here, world))
        found = world.first(lambda: self._hotspots(scanned, random, tell))
        scores = []
        for one in found:
            rows = scanned[one.group].rows
            here, own = held_here(rows, len(p), world)
            x, members = space.of_rows(p.embeddings, own), np.isin(here, one.members)
            scores.append(space.back(*discriminant(x, members, counts[rows[here]], world)))
        parameters = {
            "directions": np.array([one[0] for one in scores]).reshape(len(found), p.embeddings.shape[1]),
            "offsets": np.array([one[1] for one in scores], dtype=np.float64),
            "labels": np.array([codes[scanned[one.group].rows[0]] for one in found], dtype=np.int64),
            "statistics": np.array([one.statistic for one in found], dtype=np.float64),
            "p_values": np.array([one.p_value for one in found], dtype=np.float64),
        }
        parameters = world.first(lambda: parameters)
        weights = graded(p, *(parameters[name] for name in _APPLIED)).T
        self.slices_ = slices_of(self, p, weights, parameters)
        self.statistics_ = parameters["statistics"]
        self.p_values_ = parameters["p_values"] if self.draws else None
        return self

    def _hotspots(self, scanned: list[Balls], random: np.random.Generator, tell: Callback) -> list[_Hotspot]:
        """The hottest ball, then the hottest of what it leaves, and so on."""
        left = [np.ones(len(balls.rows), dtype=bool) for balls in scanned]
        found: list[_Hotspot] = []
        for j in range(self.n_slices):
            tell("scanning", j + 1, self.n_slices + 1)
            best = _hottest(scanned, left)
            if best is None:
                break
            group, members, z = best
            p_value = np.nan
            if self.draws:
                chance = largest_by_chance(scanned, left, self.draws, random)
                p_value = float((1 + (chance >= z).sum()) / (1 + self.draws))
                p_value = max([p_value, *(earlier.p_value for earlier in found)])
            found.append(_Hotspot(group, np.flatnonzero(members), z, p_value))
            left[group] = left[group] & ~members
        tell("scanning", self.n_slices + 1, self.n_slices + 1)
        return found

    def membership(self, p: Predictions) -> Float[np.ndarray, "n k"]:
        """By where an example lies, and its label; by the first alone where labels are unknown."""
        directions, offsets, labels = parameters_of(self._fitted(), *_APPLIED)
        embeddings_for(p.embeddings, directions.shape[1], "the hotspots")
        return graded(p, directions, offsets, labels)

    @classmethod
    def p_searched(cls, slices: Slices) -> list[float | None]:
        p_values = slices.parameters.get("p_values", np.full(len(slices), np.nan))
        return [None if np.isnan(p) else float(p) for p in p_values]


def _is_size(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and bool(value >= 2)


def _centres(m: int, n: int, random: np.random.Generator) -> Int[np.ndarray, " c"]:
    """All examples of a group, or a sample of them in proportion to its size."""
    share = max(1, round(_CENTRES * m / n))
    return np.arange(m) if n <= _CENTRES or m <= share else np.sort(random.choice(m, share, replace=False))


def _hottest(
    scanned: list[Balls], left: list[Bool[np.ndarray, " m"]]
) -> tuple[int, Bool[np.ndarray, " m"], float] | None:
    """The group, members and statistic of the hottest ball; None where none is worse than its label."""
    best = None
    for group, (balls, here) in enumerate(zip(scanned, left, strict=True)):
        if balls.members.shape[0]:
            members, z = balls.hottest(here)
            if z > (best[2] if best else 0.0):
                best = group, members, z
    return best
