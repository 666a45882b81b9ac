"""Balls of nearest neighbours, the scan statistic over them, and its largest values under permutation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import csr_matrix, vstack

from weakspot.methods.distributed import SINGLE_PROCESS, ProcessGroup, gather_rows

_BLOCK = 2**24  # distances held at a time
_ROUNDING = 1e-9  # relative: examples that tie with the last one up to this are in the ball, too
_QUARTER = 4
MIN_EXAMPLES = 8
"""The fewest examples of a label for which a ball may hold a quarter of them."""

_PARTIAL_DRAW_RATIO = 4  # a label with more than 4 times the examples in balls draws values for these only
_MIN_DEVIATION_SHARE = 0.9  # the share of its mean deviation that a ball must keep while it grows
_MIN_LEFT = 0.5  # the share of a ball that earlier slices must have left


@dataclass(frozen=True, eq=False)
class Balls:
    """Holds the balls among the examples of one label.

    Attributes:
        rows: (m,) the row numbers of the label's examples.
        counts: (m,) how often each of these examples counts.
        deviations: (m,) residuals minus the label's mean, divided by their standard deviation.
        centres: (b,) the position in `rows` of each ball's centre.
        covered: (h,) positions in `rows` of the examples that lie in any ball.
        members: (b, h) sparse, the counts of the covered examples in each ball.
    """

    rows: Int[np.ndarray, " m"]
    counts: Float[np.ndarray, " m"]
    deviations: Float[np.ndarray, " m"]
    centres: Int[np.ndarray, " b"]
    covered: Int[np.ndarray, " h"]
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
        local_positions: Int[np.ndarray, " h"] | None = None,
        processes: ProcessGroup = SINGLE_PROCESS,
    ) -> Balls:
        """Make balls of the nearest examples around each centre, in every size of at most half the label.

        If a label is too small for all sizes, balls hold a quarter of it.

        Args:
            x: (h, q) the reduced examples of the label that this process holds.
            rows: (m,) the examples of the label, as row numbers over all processes.
            residuals: (N,) of the examples of all processes.
            counts: (N,) of the examples of all processes.
            sizes: How many examples a ball holds, by their counts; ties in distance are all included.
            centres: (c,) positions in `rows` around which balls lie.
            local_positions: (h,) positions in `rows` of the examples that this process holds; by default all.
            processes: The processes, each of which gets all balls.
        """
        c, r = counts[rows], residuals[rows]
        mean = np.average(r, weights=c)
        spread = np.sqrt(np.average((r - mean) ** 2, weights=c))
        deviations = (r - mean) / spread if spread > 0 else np.zeros(len(r))
        fitting = [size for size in sizes if 2 * size <= c.sum()]
        if not fitting and c.sum() >= MIN_EXAMPLES:
            fitting = [int(c.sum() // _QUARTER)]
        local_positions = np.arange(len(rows)) if local_positions is None else local_positions
        local = np.isin(centres, local_positions)
        local_centres = x[np.searchsorted(local_positions, centres[local])]
        all_centres = gather_rows(local_centres, np.flatnonzero(local), len(centres), processes)
        balls = _neighbours(x, local_positions, all_centres, c, fitting, processes)
        ball_sizes = np.asarray(balls.sum(axis=1)).ravel()
        # With many ties a ball may hold the whole label, and nothing is left to compare it with.
        partial = ball_sizes < c.sum() * (1 - _ROUNDING)
        balls, centres_of_balls = balls[partial], np.tile(centres, len(fitting))[partial]
        covered = np.unique(balls.indices).astype(np.int64)
        return cls(rows, c, deviations, centres_of_balls, covered, balls[:, covered])

    def statistic(
        self, deviations: Float[np.ndarray, "h s"], available: Bool[np.ndarray, " h"]
    ) -> Float[np.ndarray, "b s"]:
        """Return the scan statistic z = Σ c·v / √(Σ c) of each ball, over its remaining examples.

        Args:
            deviations: (h, s) the deviations v of the covered examples, in s permutations.
            available: (h,) which of them no earlier slice has taken.

        Returns:
            (b, s); minus infinity if less than half of the ball is left.
        """
        weight = self.members @ available.astype(np.float64)
        ball_sizes = np.asarray(self.members.sum(axis=1)).ravel()
        enough = weight >= np.maximum(_MIN_LEFT * ball_sizes, 1e-300)
        z = self.members @ (deviations * available[:, None])
        z = z / np.sqrt(np.where(enough, weight, 1.0))[:, None]
        z[~enough] = -np.inf
        return np.asarray(z)

    def largest(self, available: Bool[np.ndarray, " m"]) -> tuple[int, float]:
        """Return the ball with the largest statistic over the remaining examples, and that statistic."""
        z = self.statistic(self.deviations[self.covered, None], available[self.covered])[:, 0]
        ball = int(np.argmax(z))
        return ball, float(z[ball])

    def distances_from_centre(
        self,
        ball: int,
        x: Float[np.ndarray, "h q"],
        local_positions: Int[np.ndarray, " h"],
        processes: ProcessGroup = SINGLE_PROCESS,
    ) -> Float[np.ndarray, " m"]:
        """Return the squared distances (m,) of the label's examples from the centre of a ball.

        Args:
            ball: The ball's number.
            x: (h, q) the reduced examples of the label that this process holds.
            local_positions: (h,) their positions among the label's examples.
            processes: The processes.
        """
        is_centre = local_positions == self.centres[ball]
        centre = gather_rows(x[is_centre], np.zeros(is_centre.sum(), dtype=np.int64), 1, processes)
        return gather_rows(
            ((x - centre) ** 2).sum(axis=1)[:, None], local_positions, len(self.rows), processes
        )[:, 0]

    def grow(
        self, ball: int, distances: Float[np.ndarray, " m"], available: Bool[np.ndarray, " m"]
    ) -> Bool[np.ndarray, " m"]:
        """Return the examples of a ball after it has grown around its centre as far as it stays as bad.

        Balls of few examples locate a failure, whose extent may be several times theirs. A ball grows to the largest
        radius within which the mean deviation is at least nine tenths of the ball's own, with at most half of the label
        inside.

        Args:
            ball: The ball's number.
            distances: (m,) squared distances from its centre.
            available: (m,) which of the label's examples no earlier slice has taken.

        Returns:
            (m,) which of the remaining examples are inside.
        """
        nearest = np.argsort(distances, kind="stable")
        counts, distances = self.counts[nearest], distances[nearest]
        weights = counts * available[nearest]
        mean = np.cumsum(weights * self.deviations[nearest]) / np.maximum(np.cumsum(weights), 1e-300)
        last_of_ball = self.members[ball].nnz - 1
        as_bad = mean >= _MIN_DEVIATION_SHARE * mean[last_of_ball]
        half = np.cumsum(counts) <= counts.sum() / 2
        # Ties in distance are all inside or all outside.
        edge = np.append(np.diff(distances) > _ROUNDING * distances[-1], True)
        end = np.flatnonzero(as_bad & half & edge).max(initial=last_of_ball)
        inside = np.zeros(len(nearest), dtype=bool)
        inside[nearest[: end + 1]] = True
        return np.asarray(inside & available)


def permutation_maxima(
    labels: list[Balls],
    available_by_label: list[Bool[np.ndarray, " m"]],
    draws: int,
    random: np.random.Generator,
) -> Float[np.ndarray, " s"]:
    """Return the largest statistic over all balls, for each of several permutations of the residuals within labels.

    Only the remaining examples are permuted: those of earlier slices have been set aside.

    Args:
        labels: The balls of each label.
        available_by_label: (m,) for each label, which of its examples no earlier slice has taken.
        draws: The number of permutations, s.
        random: The generator that draws them.

    Returns:
        (s,) the largest statistics.
    """
    largest = np.full(draws, -np.inf)
    for balls, available in zip(labels, available_by_label, strict=True):
        deviations = balls.deviations[available]
        covered = np.flatnonzero(available[balls.covered])
        if not balls.members.shape[0] or not len(covered):
            continue
        draw_part = _PARTIAL_DRAW_RATIO * len(covered) < len(deviations)
        step = max(1, _BLOCK // max(balls.members.shape))
        for start in range(0, draws, step):
            size = min(step, draws - start)
            permuted = np.zeros((len(balls.covered), size))
            for j in range(size):
                drawn = (
                    random.choice(deviations, len(covered), replace=False)
                    if draw_part
                    else random.permutation(deviations)
                )
                permuted[covered, j] = drawn[: len(covered)]
            of_balls = balls.statistic(permuted, available[balls.covered]).max(axis=0)
            largest[start : start + size] = np.maximum(largest[start : start + size], of_balls)
    return largest


def _neighbours(
    x: Float[np.ndarray, "h q"],
    local_positions: Int[np.ndarray, " h"],
    centres: Float[np.ndarray, "c q"],
    counts: Float[np.ndarray, " m"],
    sizes: list[int],
    processes: ProcessGroup,
) -> csr_matrix:
    """Return the counts of the nearest examples that make up each size around each centre, ordered by size first.

    Each process contributes the distances of its nearest examples; together they determine the radius of a ball, and
    each process then reports which of its own examples lie within it.

    Args:
        x: (h, q) the reduced examples that this process holds.
        local_positions: (h,) their positions among the label's examples.
        centres: (c, q) the reduced centres.
        counts: (m,) of the label's examples.
        sizes: The sizes of the balls, in examples.
        processes: The processes.

    Returns:
        (sizes · c, m) sparse.
    """
    square = (x**2).sum(axis=1)
    longest, most_rows = processes.max(np.array([square.max(initial=0.0), len(x)]))
    each = max(1, _BLOCK // int(most_rows))
    blocks: list[list[csr_matrix]] = [[] for _ in sizes]
    near = min(max(sizes, default=0), len(counts))
    for start in range(0, len(centres) if sizes else 0, each):
        block = centres[start : start + each]
        distances = square - 2 * block @ x.T + (block**2).sum(axis=1)[:, None]
        n_local = min(near, len(x))
        nearest = np.argpartition(distances, n_local - 1, axis=1)[:, :n_local]
        candidates = np.stack(
            [np.take_along_axis(distances, nearest, 1).T, counts[local_positions][nearest].T], axis=1
        )
        distance, weights = processes.gather(candidates).transpose(1, 2, 0)
        order = np.argsort(distance, axis=1)[:, :near]
        reached = np.cumsum(np.take_along_axis(weights, order, 1), axis=1)
        for size, of_size in zip(sizes, blocks, strict=True):
            last = (reached < size).sum(axis=1).clip(max=near - 1)
            radius = np.take_along_axis(distance, np.take_along_axis(order, last[:, None], 1), 1)
            rows, columns = np.nonzero(distances <= radius + _ROUNDING * longest)
            rows, columns = processes.gather(np.stack([rows, local_positions[columns]], axis=1)).T
            of_size.append(csr_matrix((counts[columns], (rows, columns)), shape=(len(block), len(counts))))
    return vstack(
        [block for of_size in blocks for block in of_size] or [csr_matrix((0, len(counts)))], format="csr"
    )
