"""Embeddings made ready for a search: projected, centred, and of unit spread."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from sklearn.decomposition import PCA

from weakspot.methods.spotlight.kernel import ROWS, quadratic
from weakspot.methods.spotlight.world import World


@dataclass(frozen=True)
class Prepared:
    """mean + unit·working are the embeddings, or their principal components.

    Centred first, so that no digits are lost to a far-off origin; of RMS distance 1, so that a search does
    not depend on the embedding's unit. The working copy is float32: half the reads of float64.
    """

    embeddings: Float[np.ndarray, "n D"]
    working: Float[np.ndarray, "n d"]
    mean: Float[np.ndarray, " d"]
    unit: float
    pca: PCA | None

    @property
    def components(self) -> Float[np.ndarray, "r D"] | None:
        return None if self.pca is None else self.pca.components_.astype(np.float64)

    def quadratic(
        self, centre: Float[np.ndarray, " D"], precision: Float[np.ndarray, " *shape"]
    ) -> Float[np.ndarray, " n"]:
        """(x - m)ᵀ P (x - m), all in the embedding's own units; float64."""
        return quadratic(self.embeddings, centre, precision, self.components)

    def home(self, centre: Float[np.ndarray, " d"]) -> Float[np.ndarray, " D"]:
        """A working centre in the embedding's own space and units."""
        out: np.ndarray = self.mean + self.unit * centre
        if self.pca is not None:
            out = self.pca.mean_.astype(np.float64) + out @ self.pca.components_.astype(np.float64)
        return out


def prepare(
    embeddings: Float[np.ndarray, "n D"], n_components: int | None, seed: int, world: World
) -> Prepared:
    """Raises ValueError if all embeddings are equal."""
    pca, x = None, embeddings
    if n_components is not None:
        if not 1 <= n_components <= min(embeddings.shape):
            raise ValueError(f"n_components={n_components} must lie between 1 and {min(embeddings.shape)}")
        pca = PCA(n_components, random_state=seed).fit(embeddings)
        x = pca.transform(embeddings)
    mean, unit = _mean_and_spread(x, world)
    if unit == 0:
        raise ValueError(f"all {len(x)} embeddings are equal: there are no regions to tell apart")
    working = np.empty(x.shape, dtype=np.float32)
    for start in range(0, len(x), ROWS):
        working[start : start + ROWS] = (x[start : start + ROWS] - mean) / unit
    return Prepared(embeddings, working, mean, unit, pca)


def _mean_and_spread(x: Float[np.ndarray, "n d"], world: World) -> tuple[Float[np.ndarray, " d"], float]:
    """The mean and the RMS distance to it; 0 if that is no more than the rounding of float32."""

    def total(values: np.ndarray) -> np.ndarray:
        return world.sum(torch.from_numpy(values)).numpy()

    n = total(np.array([float(len(x))]))[0]
    sums = np.zeros(x.shape[1])
    for start in range(0, len(x), ROWS):
        sums += x[start : start + ROWS].sum(axis=0, dtype=np.float64)
    mean = total(sums) / n
    spread = float(np.sqrt(total(quadratic(x, mean, np.ones(())).sum(keepdims=True))[0] / n))
    return mean, spread if spread > 1e-7 * np.linalg.norm(mean) else 0.0
