"""Balls of nearest neighbours, the scan statistic over them, and the p-value of its largest value."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import csr_matrix, vstack

_BLOCK = 2**24  # distances held at a time
_ROUNDING = 1e-9  # relative: examples as far as that are in the ball, too
_QUARTER = 4
SMALLEST = 8
"""Examples of a group in which anything can be scanned."""

_LEFT = 0.5  # of a ball that must not have been taken by an earlier one


@dataclass(frozen=True, eq=False)
class Balls:
    """The balls of one group of examples.

    Attributes:
        rows: (m,) the group's examples in the whole set.
        members: (b, m) sparse, the count of every example in its balls.
        deviations: (m,) residuals less the group's mean, over their standard deviation.
    """

    rows: Int[np.ndarray, " m"]
    members: csr_matrix
    deviations: Float[np.ndarray, " m"]

    @classmethod
    def of(
        cls,
        x: Float[np.ndarray, "n q"],
        rows: Int[np.ndarray, " m"],
        residuals: Float[np.ndarray, " n"],
        counts: Float[np.ndarray, " n"],
        sizes: tuple[int, ...],
        centres: Int[np.ndarray, " c"],
    ) -> Balls:
        """Around each centre the nearest examples, in every size that leaves half of the group outside.

        In a group that is too small for all of them, a quarter of it.

        Args:
            x: Of all examples, reduced.
            rows: Those of the group.
            residuals, counts: Of all examples.
            sizes: How many examples a ball holds, with their counts; equally far ones are all in it.
            centres: Positions in `rows` around which balls lie.
        """
        c, r = counts[rows], residuals[rows]
        mean = np.average(r, weights=c)
        spread = np.sqrt(np.average((r - mean) ** 2, weights=c))
        deviations = (r - mean) / spread if spread > 0 else np.zeros(len(r))
        fitting = [size for size in sizes if 2 * size <= c.sum()]
        if not fitting and c.sum() >= SMALLEST:
            fitting = [int(c.sum() // _QUARTER)]
        members = [_neighbours(x[rows], x[rows[centres]], c, size) for size in fitting]
        balls = vstack(members, format="csr") if members else csr_matrix((0, len(rows)))
        held = np.asarray(balls.sum(axis=1)).ravel()
        # where many examples are equally far, a ball may hold the group: it is compared with nothing
        return cls(rows, balls[held < c.sum() * (1 - _ROUNDING)], deviations)

    def statistic(
        self, deviations: Float[np.ndarray, "m s"], left: Bool[np.ndarray, " m"]
    ) -> Float[np.ndarray, "b s"]:
        """Σ v / √k over the examples of each ball that are left; minus infinity where less than half of them are."""
        weight = self.members @ left.astype(np.float64)
        whole = np.asarray(self.members.sum(axis=1)).ravel()
        enough = weight >= np.maximum(_LEFT * whole, 1e-300)
        z = self.members @ (deviations * left[:, None])
        z = z / np.sqrt(np.where(enough, weight, 1.0))[:, None]
        z[~enough] = -np.inf
        return np.asarray(z)


def largest_by_chance(
    groups: list[Balls], left: list[Bool[np.ndarray, " m"]], draws: int, random: np.random.Generator
) -> Float[np.ndarray, " s"]:
    """The largest statistic over all balls of all groups, of residuals permuted within the groups.

    Only what is left is permuted: what was taken earlier is no longer part of the question.
    """
    best = np.full(draws, -np.inf)
    for balls, here in zip(groups, left, strict=True):
        some = np.flatnonzero(here)
        if not balls.members.shape[0] or not len(some):
            continue
        step = max(1, _BLOCK // max(balls.members.shape))
        for start in range(0, draws, step):
            size = min(step, draws - start)
            permuted = np.zeros((len(balls.rows), size))
            permuted[some] = random.permuted(np.tile(balls.deviations[some, None], size), axis=0)
            found = balls.statistic(permuted, here).max(axis=0)
            best[start : start + size] = np.maximum(best[start : start + size], found)
    return best


def _neighbours(
    x: Float[np.ndarray, "m q"], centres: Float[np.ndarray, "c q"], counts: Float[np.ndarray, " m"], size: int
) -> csr_matrix:
    """(c, m): the counts of the nearest examples that make up `size`, around each centre."""
    square = (x**2).sum(axis=1)
    each = max(1, _BLOCK // len(x))
    blocks = []
    for start in range(0, len(centres), each):
        some = centres[start : start + each]
        distances = square - 2 * some @ x.T + (some**2).sum(axis=1)[:, None]
        near = min(size, len(x))
        order = np.argpartition(distances, near - 1, axis=1)[:, :near]
        sorted_ = np.take_along_axis(
            order, np.argsort(np.take_along_axis(distances, order, 1), axis=1), axis=1
        )
        last = (np.cumsum(counts[sorted_], axis=1) < size).sum(axis=1).clip(max=near - 1)
        radius = np.take_along_axis(distances, np.take_along_axis(sorted_, last[:, None], 1), 1)
        inside = distances <= radius + _ROUNDING * square.max()
        blocks.append(csr_matrix(inside * counts))
    return vstack(blocks, format="csr")
