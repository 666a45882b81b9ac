"""Balls of nearest neighbours, the scan statistic over them, and the p-value of its largest value."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import csr_matrix, vstack

from weakspot.methods.distributed import ALONE, World, joined

_BLOCK = 2**24  # distances held at a time
_ROUNDING = 1e-9  # relative: examples as far as that are in the ball, too
_QUARTER = 4
SMALLEST = 8
"""Examples of a group in which anything can be scanned."""

_FEW = 4  # times as many examples as lie in balls, and only these are drawn from a permutation
_LEFT = 0.5  # of a ball that must not have been taken by an earlier one


@dataclass(frozen=True, eq=False)
class Balls:
    """The balls of one group of examples.

    Attributes:
        rows: (m,) the group's examples in the whole set.
        deviations: (m,) residuals less the group's mean, over their standard deviation.
        held: (h,) positions in `rows` of the examples that lie in any ball.
        members: (b, h) sparse, the count of each of these in every ball.
    """

    rows: Int[np.ndarray, " m"]
    deviations: Float[np.ndarray, " m"]
    held: Int[np.ndarray, " h"]
    members: csr_matrix

    @classmethod
    def of(
        cls,
        x: Float[np.ndarray, "h q"],
        rows: Int[np.ndarray, " m"],
        residuals: Float[np.ndarray, " N"],
        counts: Float[np.ndarray, " N"],
        sizes: tuple[int, ...],
        centres: Int[np.ndarray, " c"],
        here: Int[np.ndarray, " h"] | None = None,
        world: World = ALONE,
    ) -> Balls:
        """Around each centre the nearest examples, in every size that leaves half of the group outside.

        In a group that is too small for all of them, a quarter of it.

        Args:
            x: Of the group's examples that this process holds, reduced.
            rows: The examples of the group, by their numbers among those of all processes.
            residuals, counts: Of the examples of all processes.
            sizes: How many examples a ball holds, with their counts; equally far ones are all in it.
            centres: Positions in `rows` around which balls lie.
            here: Positions in `rows` of what this process holds; all, by default.
            world: The processes, each of which gets all balls.
        """
        c, r = counts[rows], residuals[rows]
        mean = np.average(r, weights=c)
        spread = np.sqrt(np.average((r - mean) ** 2, weights=c))
        deviations = (r - mean) / spread if spread > 0 else np.zeros(len(r))
        fitting = [size for size in sizes if 2 * size <= c.sum()]
        if not fitting and c.sum() >= SMALLEST:
            fitting = [int(c.sum() // _QUARTER)]
        here = np.arange(len(rows)) if here is None else here
        ours = np.isin(centres, here)
        known = x[np.searchsorted(here, centres[ours])]
        around = joined(known, np.flatnonzero(ours), len(centres), world)
        balls = _neighbours(x, here, around, c, fitting, world)
        whole = np.asarray(balls.sum(axis=1)).ravel()
        # where many examples are equally far, a ball may hold the group: it is compared with nothing
        balls = balls[whole < c.sum() * (1 - _ROUNDING)]
        held = np.unique(balls.indices).astype(np.int64)
        return cls(rows, deviations, held, balls[:, held])

    def statistic(
        self, deviations: Float[np.ndarray, "h s"], left: Bool[np.ndarray, " h"]
    ) -> Float[np.ndarray, "b s"]:
        """Σ v / √k over the examples of each ball that are left; minus infinity where less than half of them are."""
        weight = self.members @ left.astype(np.float64)
        whole = np.asarray(self.members.sum(axis=1)).ravel()
        enough = weight >= np.maximum(_LEFT * whole, 1e-300)
        z = self.members @ (deviations * left[:, None])
        z = z / np.sqrt(np.where(enough, weight, 1.0))[:, None]
        z[~enough] = -np.inf
        return np.asarray(z)

    def hottest(self, left: Bool[np.ndarray, " m"]) -> tuple[Bool[np.ndarray, " m"], float]:
        """The examples that are left in the ball of the largest statistic, and that."""
        z = self.statistic(self.deviations[self.held, None], left[self.held])[:, 0]
        j = int(np.argmax(z))
        inside = np.zeros(len(self.rows), dtype=bool)
        inside[self.held[self.members[j].indices]] = True
        return inside & left, float(z[j])


def largest_by_chance(
    groups: list[Balls], left: list[Bool[np.ndarray, " m"]], draws: int, random: np.random.Generator
) -> Float[np.ndarray, " s"]:
    """The largest statistic over all balls of all groups, of residuals permuted within the groups.

    Only what is left is permuted: what was taken earlier is no longer part of the question. Of a permutation no more is
    drawn than lies in balls.
    """
    best = np.full(draws, -np.inf)
    for balls, here in zip(groups, left, strict=True):
        some = balls.deviations[here]
        held = np.flatnonzero(here[balls.held])
        if not balls.members.shape[0] or not len(held):
            continue
        few = _FEW * len(held) < len(some)
        step = max(1, _BLOCK // max(balls.members.shape))
        for start in range(0, draws, step):
            size = min(step, draws - start)
            permuted = np.zeros((len(balls.held), size))
            for j in range(size):
                drawn = random.choice(some, len(held), replace=False) if few else random.permutation(some)
                permuted[held, j] = drawn[: len(held)]
            found = balls.statistic(permuted, here[balls.held]).max(axis=0)
            best[start : start + size] = np.maximum(best[start : start + size], found)
    return best


def _neighbours(
    x: Float[np.ndarray, "h q"],
    here: Int[np.ndarray, " h"],
    centres: Float[np.ndarray, "c q"],
    counts: Float[np.ndarray, " m"],
    sizes: list[int],
    world: World,
) -> csr_matrix:
    """(c · sizes, m): the counts of the nearest examples that make up each size, around each centre; by size first.

    Each process names its nearest examples, the nearest of these make a ball, and each says which of its own are in.
    """
    square = (x**2).sum(axis=1)
    longest, rows_held = world.largest(np.array([square.max(initial=0.0), len(x)]))
    each = max(1, _BLOCK // int(rows_held))
    blocks: list[list[csr_matrix]] = [[] for _ in sizes]
    near = min(max(sizes, default=0), len(counts))
    for start in range(0, len(centres) if sizes else 0, each):
        some = centres[start : start + each]
        distances = square - 2 * some @ x.T + (some**2).sum(axis=1)[:, None]
        few = min(near, len(x))
        nearest = np.argpartition(distances, few - 1, axis=1)[:, :few]
        told = np.stack([np.take_along_axis(distances, nearest, 1).T, counts[here][nearest].T], axis=1)
        away, weights = world.gather(told).transpose(1, 2, 0)
        order = np.argsort(away, axis=1)[:, :near]
        reached = np.cumsum(np.take_along_axis(weights, order, 1), axis=1)
        for size, found in zip(sizes, blocks, strict=True):
            last = (reached < size).sum(axis=1).clip(max=near - 1)
            radius = np.take_along_axis(away, np.take_along_axis(order, last[:, None], 1), 1)
            rows, columns = np.nonzero(distances <= radius + _ROUNDING * longest)
            rows, columns = world.gather(np.stack([rows, here[columns]], axis=1)).T
            found.append(csr_matrix((counts[columns], (rows, columns)), shape=(len(some), len(counts))))
    return vstack(
        [block for found in blocks for block in found] or [csr_matrix((0, len(counts)))], format="csr"
    )
