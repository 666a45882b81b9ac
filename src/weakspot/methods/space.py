"""The principal components that neighbours are sought in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Num

from weakspot.methods.distributed import ALONE, World, held_here, joined

_MOST_ROWS = 20_000  # that the components are taken from
_BLOCK = 65_536


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
            out[start : start + _BLOCK] = self._reduced(embeddings[start : start + _BLOCK])
        return out

    def of_rows(
        self, embeddings: Num[np.ndarray, "n d"], rows: Int[np.ndarray, " m"]
    ) -> Float[np.ndarray, "m q"]:
        """Of some examples, which are read in the order that they lie in: they may be mapped from a large file."""
        out = np.empty((len(rows), self.components.shape[1]))
        order = np.argsort(rows)
        for start in range(0, len(rows), _BLOCK):
            some = order[start : start + _BLOCK]
            out[some] = self._reduced(embeddings[rows[some]])
        return out

    def _reduced(self, block: Num[np.ndarray, "b d"]) -> Float[np.ndarray, "b q"]:
        away: np.ndarray = np.asarray(block, dtype=np.float64) - self.centre
        found: np.ndarray = away @ self.components
        return found

    def back(
        self, direction: Float[np.ndarray, " q"], offset: float
    ) -> tuple[Float[np.ndarray, " d"], float]:
        """A linear score of reduced examples as one of embeddings."""
        whole = self.components @ direction
        return whole, offset - float(self.centre @ whole)


def reduced(
    embeddings: Num[np.ndarray, "n d"],
    counts: Float[np.ndarray, " N"],
    n_components: int,
    seed: int,
    order: Int[np.ndarray, " N"] | None = None,
    world: World = ALONE,
) -> Space:
    """The principal components of the largest variance, from at most 20 000 examples.

    Args:
        embeddings: Of the examples that this process holds.
        counts: Of the examples of all processes.
        n_components: At most.
        seed: Of the sample.
        order: In which the examples of all processes are drawn and summed; by default as they come.
        world: The processes.
    """
    n = len(counts)
    rows = np.arange(n) if order is None else order
    if n > _MOST_ROWS:
        rows = rows[np.sort(np.random.default_rng(seed).choice(n, _MOST_ROWS, replace=False))]
    here, own = held_here(rows, len(embeddings), world)
    x, c = joined(embeddings[own], here, len(rows), world), counts[rows]
    return world.first(lambda: _components(x, c, n_components))


def _components(x: Float[np.ndarray, "m d"], c: Float[np.ndarray, " m"], n_components: int) -> Space:
    d = x.shape[1]
    centre = np.average(x, axis=0, weights=c)
    variance, directions = np.linalg.eigh(np.cov(x, rowvar=False, aweights=c, ddof=0).reshape(d, d))
    kept = np.argsort(-variance)[: min(n_components, d)]
    scale = np.sqrt(max(float(variance[kept].sum()), 1e-300))
    return Space(centre, directions[:, kept] / scale)
