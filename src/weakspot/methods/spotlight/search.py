"""Where to look: one published run from the origin, or many starts, the best of which is polished at exact size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import minimize
from sklearn.cluster import KMeans

from weakspot.methods.spotlight.kernel import precision_of_size, weights
from weakspot.methods.spotlight.problem import Plan, Problem, Run, Watch

CLUSTERS, TOP_LOSSES = 64, 192
CLIMB_STEPS = 1500
START_LOG_PRECISION = np.log(1e-4)


class Engine(Protocol):
    """Climbs from many starts; see `plain` and `lazy`."""

    def climb(
        self,
        problem: Problem,
        plan: Plan,
        centres: Float[np.ndarray, "k d"],
        precisions: Float[np.ndarray, " k"],
        watch: Watch | None = None,
    ) -> Sequence[Run]: ...


def cluster_centres(x: Float[np.ndarray, "n d"], seed: int) -> Float[np.ndarray, "k d"]:
    """k-means centres of the embeddings, whatever the order of their rows.

    Rows are visited by their distance from the mean, so that the same draws fall on the same examples when
    rows are permuted or the embedding is turned.
    """
    order = np.argsort(np.einsum("nd,nd->n", x, x), kind="stable")
    k = min(CLUSTERS, len(np.unique(x, axis=0)))
    means = KMeans(k, n_init=1, max_iter=20, random_state=seed).fit(x[order])
    return np.asarray(means.cluster_centers_, dtype=np.float64)


def multistart(
    problem: Problem,
    engine: Engine,
    clusters: Float[np.ndarray, "k d"],
    plan: Plan,
    published: tuple[Problem, Plan, Float[np.ndarray, " d"], float],
    starts: int,
    watch: Watch | None = None,
) -> Run:
    """The best spotlight of size T that candidates, climbs, the published run and a last polish lead to.

    The published run takes part, so that its loss at size T is never beaten by less than nothing.
    """
    top = np.argsort(-problem.losses, kind="stable")[:TOP_LOSSES]
    centres = np.concatenate([clusters, problem.x[top].astype(np.float64)])
    for factor in (4.0, 2.0):
        centres = _shift(
            problem, centres, min(factor * problem.size, (factor * problem.size + problem.total) / 2)
        )
    finalists = centres[_spread_out(problem, centres, starts)]
    precisions = np.array(
        [precision_of_size(_squares(problem, m), problem.counts, 2 * problem.size) for m in finalists]
    )
    runs = list(engine.climb(problem, plan, finalists, np.maximum(precisions, 1e-12), watch))
    other, other_plan, origin, precision = published
    runs += engine.climb(other, other_plan, origin[None], np.array([precision]), watch)

    ends = [(loss_at_size(problem, run.centre)[0], run) for run in runs if run.centre is not None]
    ends += [(loss_at_size(problem, m)[0], _still(m)) for m in finalists]
    _, best = max(ends, key=lambda end: end[0])
    assert best.centre is not None
    centre, precision = _polish(problem, best.centre)
    return Run(centre, precision, best.objective, best.size, best.learning_rate, complete=True)


def loss_at_size(
    problem: Problem, centre: Float[np.ndarray, " d"]
) -> tuple[float, Float[np.ndarray, " d"], float]:
    """L, its gradient by the centre, and p, where p is always solved for S = T.

    Moving the centre changes p by dp = -p·Σ c·dD / Σ c·D, sums over the support, so the gradient is
    2p/S · Σ c·(y - κ)·(x - m) with κ = Σ c·y·D / Σ c·D.
    """
    squares = _squares(problem, centre)
    p = precision_of_size(squares, problem.counts, problem.size)
    rows = np.flatnonzero(p * squares < 1)
    c, y, d = problem.counts[rows], problem.losses[rows], squares[rows]
    w = weights(d, p)
    size = float(c @ w)
    loss = float((c * y) @ w) / size
    spread = float(c @ d)
    kappa = float((c * y) @ d) / spread if spread > 0 else loss
    g = c * (y - kappa)
    gradient = 2 * p / size * (problem.x[rows].T.astype(np.float64) @ g - g.sum() * centre)
    return problem.sign * loss, problem.sign * gradient, p


def _squares(problem: Problem, centre: Float[np.ndarray, " d"]) -> Float[np.ndarray, " n"]:
    m = centre.astype(problem.x.dtype)
    difference = problem.x - m
    squares: np.ndarray = np.einsum("nd,nd->n", difference, difference).astype(np.float64)
    return squares


def _shift(problem: Problem, centres: Float[np.ndarray, "k d"], size: float) -> Float[np.ndarray, "k d"]:
    """One loss-weighted mean-shift step of every centre at a common size."""
    out = np.empty_like(centres)
    gain = problem.sign * problem.losses
    gain = gain - gain.min()
    for j, m in enumerate(centres):
        squares = _squares(problem, m)
        w = problem.counts * weights(squares, precision_of_size(squares, problem.counts, size)) * gain
        total = w.sum()
        rows = np.flatnonzero(w)
        out[j] = (w[rows] @ problem.x[rows]) / total if total > 0 else m
    return out


def _spread_out(problem: Problem, centres: Float[np.ndarray, "k d"], count: int) -> Int[np.ndarray, " s"]:
    """The best candidates that do not repeat each other: no centre within half a radius of a better one's."""
    scored = [loss_at_size(problem, m) for m in centres]
    chosen: list[int] = []
    for j in np.argsort([-loss for loss, _, _ in scored], kind="stable"):
        radius = 0.5 / np.sqrt(max(scored[j][2], 1e-12))
        if all(np.linalg.norm(centres[j] - centres[i]) > radius for i in chosen):
            chosen.append(int(j))
        if len(chosen) == count:
            break
    return np.array(chosen, dtype=np.intp)


def _still(centre: Float[np.ndarray, " d"]) -> Run:
    nothing = np.empty(0)
    return Run(centre, 0.0, nothing, nothing, nothing, complete=True)


def _polish(problem: Problem, centre: Float[np.ndarray, " d"]) -> tuple[Float[np.ndarray, " d"], float]:
    """L-BFGS on the centre alone, p following from the size; kept only if it gains."""

    def downhill(m: np.ndarray) -> tuple[float, np.ndarray]:
        loss, gradient, _ = loss_at_size(problem, m)
        return -loss, -gradient

    before, _, p = loss_at_size(problem, centre)
    end = minimize(downhill, centre, jac=True, method="L-BFGS-B", options={"maxiter": 100})
    if -end.fun > before and np.isfinite(end.x).all():
        centre = end.x
        p = loss_at_size(problem, centre)[2]
    return centre, p
