"""Principal components, to which methods reduce embeddings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Num

from weakspot.methods.distributed import SINGLE_PROCESS, ProcessGroup, gather_rows, local_rows

_MOST_ROWS = 20_000  # the most rows that the components are computed from
_BLOCK = 65_536
_ROUNDING = 1e-7  # of the largest standard deviation


@dataclass(frozen=True, eq=False)
class PrincipalComponents:
    """A linear reduction z = (x - centre) · components, scaled so that the mean square norm of z is 1.

    Attributes:
        centre: (d,) the mean.
        components: (d, q) the directions, divided by the common scale; some are zero if x has lower rank.
    """

    centre: Float[np.ndarray, " d"]
    components: Float[np.ndarray, "d q"]

    def transform(self, embeddings: Num[np.ndarray, "n d"]) -> Float[np.ndarray, "n q"]:
        """Reduce embeddings (n, d), a block of rows at a time."""
        out = np.empty((len(embeddings), self.components.shape[1]))
        for start in range(0, len(embeddings), _BLOCK):
            out[start : start + _BLOCK] = self._transform_block(embeddings[start : start + _BLOCK])
        return out

    def transform_rows(
        self, embeddings: Num[np.ndarray, "n d"], rows: Int[np.ndarray, " m"]
    ) -> Float[np.ndarray, "m q"]:
        """Reduce some rows, read in the order of storage: they may be memory-mapped from a large file."""
        out = np.empty((len(rows), self.components.shape[1]))
        order = np.argsort(rows)
        for start in range(0, len(rows), _BLOCK):
            block = order[start : start + _BLOCK]
            out[block] = self._transform_block(embeddings[rows[block]])
        return out

    def _transform_block(self, block: Num[np.ndarray, "b d"]) -> Float[np.ndarray, "b q"]:
        differences: np.ndarray = np.asarray(block, dtype=np.float64) - self.centre
        reduced: np.ndarray = differences @ self.components
        return reduced

    def score_of_embeddings(
        self, direction: Float[np.ndarray, " q"], offset: float
    ) -> tuple[Float[np.ndarray, " d"], float]:
        """Rewrite a linear score of reduced examples, direction · z + offset, as a linear score of embeddings.

        Returns:
            (d,) the direction and the offset of the same score.
        """
        in_embedding = self.components @ direction
        return in_embedding, offset - float(self.centre @ in_embedding)


def fit_principal_components(
    embeddings: Num[np.ndarray, "n d"],
    counts: Float[np.ndarray, " N"],
    n_components: int,
    seed: int,
    order: Int[np.ndarray, " N"] | None = None,
    processes: ProcessGroup = SINGLE_PROCESS,
) -> PrincipalComponents:
    """Find the principal components with the largest variance, from at most 20 000 examples.

    Args:
        embeddings: (n, d) of the examples that this process holds.
        counts: (N,) of the examples of all processes.
        n_components: The largest number of components.
        seed: The seed of the sample.
        order: (N,) the order in which all processes' examples are drawn and summed; by default the order of the rows.
        processes: The processes.
    """
    n = len(counts)
    rows = np.arange(n) if order is None else order
    if n > _MOST_ROWS:
        rows = rows[np.sort(np.random.default_rng(seed).choice(n, _MOST_ROWS, replace=False))]
    positions, own = local_rows(rows, len(embeddings), processes)
    x, c = gather_rows(embeddings[own], positions, len(rows), processes), counts[rows]
    return processes.broadcast(lambda: _eigenvectors(x, c, n_components))


def _eigenvectors(
    x: Float[np.ndarray, "m d"], c: Float[np.ndarray, " m"], n_components: int
) -> PrincipalComponents:
    """Return the leading eigenvectors of the covariance (d, d), via the Gram matrix (m, m) if m < d."""
    m, d = x.shape
    centre = np.average(x, axis=0, weights=c)
    weighted = (x - centre) * np.sqrt(c / c.sum())[:, None]
    q = min(n_components, m, d)
    if d <= m:
        variance, directions = _leading(weighted.T @ weighted, q)
    else:
        variance, combinations = _leading(weighted @ weighted.T, q)
        directions = weighted.T @ combinations
        lengths = np.linalg.norm(directions, axis=0)
        # Shorter ones consist of rounding errors and are not directions.
        there = lengths > _ROUNDING * lengths.max()
        directions = np.where(there, directions / np.where(there, lengths, 1.0), 0.0)
        directions = np.pad(directions, ((0, 0), (0, min(n_components, d) - q)))
    scale = np.sqrt(max(float(variance.sum()), 1e-300))
    return PrincipalComponents(centre, directions / scale)


def _leading(
    symmetric: Float[np.ndarray, "s s"], q: int
) -> tuple[Float[np.ndarray, " q"], Float[np.ndarray, "s q"]]:
    """Return the q largest eigenvalues, largest first, and their eigenvectors."""
    values, vectors = np.linalg.eigh(symmetric)
    return values[: -q - 1 : -1], vectors[:, : -q - 1 : -1]
