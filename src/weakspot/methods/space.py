"""The principal components that neighbours are sought in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Num

_MOST_ROWS = 20_000  # that the components are taken from
_BLOCK = 65_536
_HALF = 0.5  # of the covariance within labels that is divided out: 0 leaves a space as it is, 1 makes variances equal
_SHRINKAGE = 0.1  # of that covariance towards a multiple of the identity
_RIDGE = 1e-9  # of the mean square of a dimension
_LINEAR = 0.999  # of the outputs' variance that a linear function of the embedding explains


@dataclass(frozen=True, eq=False)
class Space:
    """A linear reduction, of unit scale: the mean square norm of the reduced examples is 1.

    Attributes:
        centre: (d,)
        components: (d, q)
    """

    centre: Float[np.ndarray, " d"]
    components: Float[np.ndarray, "d q"]

    def of(self, embeddings: Num[np.ndarray, "n d"]) -> Float[np.ndarray, "n q"]:
        out = np.empty((len(embeddings), self.components.shape[1]))
        for start in range(0, len(embeddings), _BLOCK):
            away = np.asarray(embeddings[start : start + _BLOCK], dtype=np.float64) - self.centre
            out[start : start + _BLOCK] = away @ self.components
        return out

    def back(
        self, direction: Float[np.ndarray, " q"], offset: float
    ) -> tuple[Float[np.ndarray, " d"], float]:
        """A linear score of reduced examples as one of embeddings."""
        whole = self.components @ direction
        return whole, offset - float(self.centre @ whole)


def sampled(order: Int[np.ndarray, " n"], seed: int) -> Int[np.ndarray, " m"]:
    """At most 20 000 of some rows, in their order."""
    n = len(order)
    return (
        order
        if n <= _MOST_ROWS
        else order[np.sort(np.random.default_rng(seed).choice(n, _MOST_ROWS, replace=False))]
    )


def reduced(
    embeddings: Num[np.ndarray, "n d"], counts: Float[np.ndarray, " n"], n_components: int, seed: int
) -> Space:
    """The principal components of the largest variance, from at most 20 000 examples."""
    n, d = embeddings.shape
    rows = sampled(np.arange(n), seed)
    x, c = np.asarray(embeddings[rows], dtype=np.float64), counts[rows]
    centre = np.average(x, axis=0, weights=c)
    variance, directions = np.linalg.eigh(np.cov(x, rowvar=False, aweights=c, ddof=0).reshape(d, d))
    kept = np.argsort(-variance)[: min(n_components, d)]
    scale = np.sqrt(max(float(variance[kept].sum()), 1e-300))
    return Space(centre, directions[:, kept] / scale)


def decided_by(embeddings: Num[np.ndarray, "n d"], outputs: Float[np.ndarray, "n C"]) -> bool:
    """Whether outputs are a linear function of the embedding, as they are of what a model's last layer receives.

    A function is fitted to some examples and judged on as many others. Of fewer than two examples for each dimension
    every output would be a linear function, so there the answer is no.
    """
    n, d = embeddings.shape
    half = min(n // 2, 2 * d + 100)
    if half <= d:
        return False
    rows = np.linspace(0, n - 1, 2 * half).astype(np.int64)
    x, z = (np.asarray(a[rows], dtype=np.float64) for a in (embeddings, outputs))
    z = z - z.mean(axis=1, keepdims=True) if z.shape[1] > 1 else z  # softmax does not see a constant
    fit, judge = slice(0, None, 2), slice(1, None, 2)
    centre, level = x[fit].mean(axis=0), z[fit].mean(axis=0)
    away = x[fit] - centre
    square = away.T @ away
    square += (_RIDGE * np.trace(square) / d + 1e-300) * np.eye(d)  # units may be dead
    function = np.linalg.solve(square, away.T @ (z[fit] - level))
    wrong = z[judge] - level - (x[judge] - centre) @ function
    spread = ((z[judge] - z[judge].mean(axis=0)) ** 2).sum()
    return bool((wrong**2).sum() <= (1 - _LINEAR) * spread) and bool(spread > 0)


def whitened(
    space: Space,
    x: Float[np.ndarray, "n q"],
    codes: Int[np.ndarray, " n"],
    counts: Float[np.ndarray, " n"],
) -> Space:
    """The space in which examples of the same label vary less unevenly; nothing is lost on the way.

    Where a model decides by the embedding, the examples of a label lie along one direction above all, that of the
    model's certainty, and the nearest neighbours of an example are those of which the model is as certain.

    Args:
        space: That is to be whitened, half-way: variances become their square roots.
        x: Examples in it.
        codes, counts: Their labels, and how often each counts.
    """
    q = x.shape[1]
    covariance = np.zeros((q, q))
    for code in np.unique(codes):
        rows = codes == code
        away = x[rows] - np.average(x[rows], axis=0, weights=counts[rows])
        covariance += (away * counts[rows][:, None]).T @ away / counts.sum()
    even = float(np.trace(covariance)) / q
    if even < 1e-100:
        return space  # examples of the same label are all in one place
    variance, directions = np.linalg.eigh((1 - _SHRINKAGE) * covariance + _SHRINKAGE * even * np.eye(q))
    change = (directions * variance ** (-_HALF / 2)) @ directions.T
    away = (x - np.average(x, axis=0, weights=counts)) @ change
    change /= np.sqrt(max(float(np.average((away**2).sum(axis=1), weights=counts)), 1e-300))
    return Space(space.centre, space.components @ change)
